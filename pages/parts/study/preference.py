"""Two segmentations side by side as A and B: which one is better? Which is which stays here.

The browser receives drawn slices alone: no mask, and nothing that names or numbers one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from bmcore.domain import BmcoreError, Volume
from bmcore.geometry import transform
from bmcore.imaging.slices import auto_window, render_slice, slice_at, slice_count
from bmcore.review import preference, start
from bmcore.review.preference import Pair, PreferenceDesk
from bmcore.review.reading_session import ReadingSession
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.study import context
from pages.parts.study.context import StudyContext
from pages.parts.words import escaped

_COMPARING = "comparing"
PLANES = ("axial", "coronal", "sagittal")
WORDS = {"left": "A is better", "right": "B is better", "tie": "No difference"}


def desk(reading: StudyContext) -> PreferenceDesk:
    return PreferenceDesk(loaders.store(), reading.study.study)


def is_open(reading: StudyContext) -> bool:
    """A comparison is on the screen, not the list."""
    return _COMPARING in st.query_params and desk(reading).next(reading.reader.id) is not None


def offer(reading: StudyContext) -> bool:
    """On the list, once it is done: the comparisons that are left; False where there are none."""
    if reading.study.preference is None or desk(reading).next(reading.reader.id) is None:
        return False
    left = len(desk(reading).left(reading.reader.id))
    cases = "1 case" if left == 1 else f"{left} cases"
    st.info(f"Your list is done. Last, compare two segmentations of {cases}.")
    if st.button("Compare the next two", type="primary", key="compare"):
        st.query_params[_COMPARING] = "1"
        st.rerun()
    return True


def draw(reading: StudyContext) -> None:
    """The comparison whose turn it is."""
    own = desk(reading)
    guard.check("case.open", at=own.standing(reading.reader.id))
    pair = own.next(reading.reader.id)
    assert pair is not None and reading.study.preference is not None
    planned = len(preference.pairs(reading.study, reading.reader.id))
    number = planned - len(own.left(reading.reader.id)) + 1
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    left.subheader(f"Comparison {number} of {planned}", anchor=False)
    if right.button("Back to the list", key="to_list", icon=":material/list:"):
        st.query_params.pop(_COMPARING, None)
        st.rerun()
    models = _models(reading)
    try:
        masks = tuple(
            preference.mask(loaders.home(), pair.case_id, c, models)
            for c in (pair.left, pair.right)
        )
    except BmcoreError as error:
        st.error(escaped(" ".join(f.sentence for f in error.findings)))
        return
    own.show(reading.reader.id, pair, preference.evidence_of(loaders.home(), pair, models))
    _draw_pair(reading, pair, masks)


def _models(reading: StudyContext) -> str | None:
    """The digest of the study's models; None where none, or others, are loaded."""
    info = loaders.models().info
    if info is None:
        return None
    others = start.other_models(loaders.store(), reading.study.study, info.digest)
    return None if others is not None else info.digest


@guard.fragment("study.see")
def _draw_pair(reading: StudyContext, pair: Pair, masks: tuple[Volume, ...]) -> None:
    token = f"{reading.key} {pair.case_id}"
    volume = loaders.case(pair.case_id).sequences["t1c"]
    first, second, controls = st.columns([4, 4, 3], gap="medium")
    with controls:
        plane = st.segmented_control("Plane", PLANES, default=PLANES[0], key=f"plane {token}")
        plane = plane or PLANES[0]
        last = slice_count(volume, plane) - 1
        middle = _telling(volume, masks, plane)
        at = st.slider("Slice", 0, last, middle, key=f"slice {plane} {token}")
        hidden = st.toggle("Hide the segmentations", key=f"hide {token}")
        _draw_choice(reading, pair, masks)
    window = auto_window(volume)
    for place, name, mask in zip((first, second), "AB", masks, strict=True):
        place.markdown(f"**{name}**")
        picture = render_slice(volume, plane, at, None if hidden else mask, window=window)
        place.image(picture, caption=name, width="stretch")


def _draw_choice(reading: StudyContext, pair: Pair, masks: tuple[Volume, ...]) -> None:
    token = f"{reading.key} {pair.case_id}"
    assert reading.study.preference is not None
    chosen = st.radio(
        escaped(reading.study.preference.text),
        list(WORDS),
        index=None,
        format_func=WORDS.__getitem__,
        key=f"better {token}",
    )
    if st.button("Lock my choice", type="primary", icon=":material/lock:", key=f"choose {token}"):
        if chosen is None:
            st.error("Choose first.")
            return
        own = desk(reading)
        hashes = (preference.digest(masks[0]), preference.digest(masks[1]))
        try:
            guard.check("case.open", at=own.standing(reading.reader.id))
            own.choose(reading.reader.id, pair.case_id, chosen, hashes)
        except BmcoreError as error:
            context.note_refused(reading, f"Not locked. {context.refusal_words(error)}")
        st.rerun(scope="app")  # the whole page: another window may be ahead of this one


def _telling(volume: Volume, masks: tuple[Volume, ...], plane: str) -> int:
    """The slice through the middle of what differs; through the middle where nothing does."""
    differs = np.argwhere(masks[0].data != masks[1].data)
    where = differs if len(differs) else np.argwhere(masks[0].data)
    if not len(where):
        return slice_count(volume, plane) // 2
    middle = where[np.argsort(where[:, 2])[len(where) // 2]]
    return slice_at(volume, plane, transform(masks[0].affine, middle[None])[0])


def draw_counts(session: ReadingSession) -> None:
    """For the investigator: how many comparisons are made, and nothing of what was chosen."""
    study = session.version.study
    if study.preference is None:
        return
    counts = PreferenceDesk(loaders.store(), study.study).counts()
    rows = [
        {"Reader": study.reader(r).name, "Compared": f"{made} of {planned}"}
        for r, (made, planned) in counts.items()
    ]
    st.markdown("**Blinded preference**")
    st.dataframe(pd.DataFrame(rows), hide_index=True)
