"""The map of one lesion for one primary: read from its file, or asked of the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from bmcore.domain import PRIMARY_NAMES, Prediction, Primary
from pages.parts import loaders, runs, viewer
from pages.parts.access import guard

if TYPE_CHECKING:
    from bmcore.inference.checked_maps import CheckedMap

Place = tuple[int, Primary]


def find(prediction: Prediction, place: Place) -> CheckedMap | None:
    """The map with its check; None while it has not been made. Nothing is computed here."""
    images = loaders.entry(prediction.case_id).images_sha256
    stamp = f"{prediction.bundle.digest} {images} {viewer.payload.content_id(prediction.mask)}"
    found = _found(loaders.home(), stamp, place, prediction)
    if found is None:
        _found.clear(loaders.home(), stamp, place, prediction)  # it may be there at the next look
    return found


@st.cache_resource(max_entries=12, show_spinner=False)
def _found(folder: Any, stamp: str, place: Place, _prediction: Prediction) -> Any:
    return _shelf(_prediction).find(place)


def _shelf(prediction: Prediction) -> Any:
    from bmcore.inference.checked_maps import Shelf

    images = loaders.entry(prediction.case_id).images_sha256
    return Shelf(loaders.home(), images, prediction)


def ask(prediction: Prediction, place: Place) -> None:
    """Let the worker make the map; whoever calls may see the models' reasons on this case."""
    _shelf(prediction).ask(place)
    runs.submit_maps(prediction.case_id)


@guard.fragment("runs.see", run_every=1.0)
def follow(case_id: str, number: int, primary: Primary) -> None:
    """Say that the map is being made, and draw the page anew once it is there."""
    prediction = loaders.prediction(case_id)
    if prediction is None or find(prediction, (number, primary)) is not None:
        st.rerun(scope="app")
    assert prediction is not None
    words = f"The map for lesion {number} and {PRIMARY_NAMES[primary]}"
    state = runs.maps_state(case_id)
    if state.busy:
        st.info(f"{words} is being made and checked. It appears here by itself.",
                icon=":material/hourglass_top:")  # fmt: skip
        return
    st.error(f"{words} could not be made.", icon=":material/error:")
    if state.message:
        st.text(state.message)
    if st.button("Try again", key="map_again"):
        ask(prediction, (number, primary))
        st.rerun()
