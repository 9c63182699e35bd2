"""The third step: the outline of the brain over T1 post-gadolinium, looked at before it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from bmcore.door import work
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import escaped

if TYPE_CHECKING:
    from bmcore.door.arrival import Arrival

_PLANES = {"axial": "Axial", "coronal": "Coronal", "sagittal": "Sagittal"}


def draw(of: Arrival) -> None:
    """Pictures, what is doubtful in words, and the button that adds the case."""
    from bmcore.door import steps

    ready = steps.aligned(of)
    if ready.outline:
        st.markdown("**Does the line follow the edge of the brain?**")
        st.caption(
            "The models see only what lies inside the line. Look at the vertex, the temporal "
            "poles, the cerebellum, and at lesions near the surface."
        )
    else:
        st.markdown("**Are these the images that you meant?**")
    for column, plane in zip(st.columns(3), _PLANES, strict=True):
        shown = steps.outline_picture(of, plane).read_bytes()
        column.image(shown, caption=_PLANES[plane], width="stretch")
    doubts = [words for severity, words in ready.findings if severity == "warning"]
    for words in doubts:
        st.warning(escaped(words), icon=":material/warning:")
    if not doubts:
        st.success(ready.sentence, icon=":material/check:")
    with st.expander("What was noted on the way"):
        for severity, words in ready.findings:
            if severity != "warning":
                st.markdown(f"- {escaped(words)}")
        took = ", ".join(
            f"{escaped(step)} {seconds:.0f} s" for step, seconds in ready.steps_s.items()
        )
        st.caption(took)
    label = "Add the case" if not doubts else "I have looked at this: add the case"
    add, back = st.columns([2, 3], vertical_alignment="center")
    if add.button(label, type="primary", key="store", icon=":material/add:", width="stretch"):
        guard.check("cases.add")
        work.submit(loaders.home(), of, work.STORE)
        st.rerun()
    if back.button("Back to the series", key="back", icon=":material/arrow_back:"):
        work.forget(of, work.ALIGN)
        st.rerun()
    if ready.outline:
        _correct(of)


def _correct(of: Arrival) -> None:
    """The brush, for where the outline is wrong; what was painted is looked at again."""
    from bmcore.door import steps
    from pages.parts.arrival import brush

    with st.expander("Correct the outline with the brush", icon=":material/brush:"):
        painted = brush.draw(of)
    if painted is not None:
        guard.check("cases.add")
        steps.paint(of, painted)
        work.submit(loaders.home(), of, work.ALIGN)
        st.rerun()
