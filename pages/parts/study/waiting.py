"""A sheet whose case the models have not read yet: what is going on, and the way on.

Nothing is lost here: what was locked stays, and the sheet opens by itself once the models are done.
"""

from __future__ import annotations

from enum import StrEnum

import streamlit as st

from bmcore.domain import BmcoreError, Prediction
from bmcore.review import access, start
from bmcore.review.allocation import Place
from pages.parts import loaders, runs
from pages.parts.access import guard
from pages.parts.study.context import StudyContext

_SEEN = "The investigator sees this on the page “Run a study”. What you have locked is safe."


class Wait(StrEnum):
    """Why a sheet with the models cannot be answered now."""

    NO_MODELS = "no models can be used"
    OTHER_MODELS = "the loaded models are not those of the study"
    DAMAGED = "the stored answer cannot be read"
    FAILED = "the models could not read the case"
    UNDER_WAY = "the models are at work"
    UNREAD = "nobody has started the models"


def answer(reading: StudyContext, case_id: str) -> Prediction | Wait:
    """The models' answer that an arm with the models shows, or why there is none."""
    info = loaders.models().info
    if info is None:
        return Wait.NO_MODELS
    if start.other_models(loaders.store(), reading.study.study, info.digest) is not None:
        return Wait.OTHER_MODELS
    try:
        found = loaders.prediction(case_id)
    except BmcoreError:
        return Wait.DAMAGED
    return _work(case_id) if found is None else found


def _work(case_id: str) -> Wait:
    state = runs.state(case_id)
    if state.busy:
        return Wait.UNDER_WAY
    return Wait.FAILED if state.state == "failed" else Wait.UNREAD


def draw(reading: StudyContext, place: Place, wait: Wait) -> None:
    """What is going on, in words, and the button that starts the models where that helps."""
    if wait is Wait.NO_MODELS:
        st.warning("No models can be used on this computer now, so this step has to wait.")
        st.caption(_SEEN)
    elif wait is Wait.OTHER_MODELS:
        st.warning(
            "The models were changed since the study was locked, so this step has to wait until "
            "those of the study are back."
        )
        st.caption(_SEEN)
    elif wait is Wait.DAMAGED:
        st.error("The models' answer on this case cannot be read, so this step has to wait.")
        st.caption(_SEEN)
    else:
        _draw_work(reading, place, wait)
    _watch(reading, place.case_id, wait)


def _draw_work(reading: StudyContext, place: Place, wait: Wait) -> None:
    if wait is Wait.UNDER_WAY:
        st.info(
            "The models are reading this case. This step opens by itself as soon as they are done; "
            "you can look at the images meanwhile.",
            icon=":material/hourglass:",
        )
        return
    if wait is Wait.FAILED:
        st.error("The models could not read this case.", icon=":material/error:")
        st.text(runs.state(place.case_id).message)
    else:
        st.info("The models have not read this case yet.", icon=":material/hourglass:")
    if access.allowed(guard.user(), "study.run", reading.standing(place)):
        words = "Try again" if wait is Wait.FAILED else "Run the models now"
        if st.button(words, type="primary", key="run_study_case", icon=":material/play_arrow:"):
            guard.check("study.run", at=reading.standing(place))
            runs.submit(place.case_id)
            st.rerun()
    st.caption(f"{_SEEN} This step opens by itself as soon as the models are done.")


@guard.fragment("study.see", run_every=1.0)
def _watch(reading: StudyContext, case_id: str, wait: Wait) -> None:
    """Draw the page anew as soon as something has changed, whoever changed it."""
    if answer(reading, case_id) is not wait:
        st.rerun(scope="app")
    if wait is Wait.UNDER_WAY:
        state = runs.state(case_id)
        words = runs.words(state) if state.busy else "Waiting to start."
        st.progress(min(1.0, max(0.0, state.fraction)), words)
