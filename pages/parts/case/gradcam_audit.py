"""Beside a Grad-CAM map: can it be believed? Three checks in words, and the deletion curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.parts.case import charts

if TYPE_CHECKING:
    from bmcore.inference.audit import Audit

METHOD_WORDS = {
    "gradcam": "Grad-CAM",
    "integrated gradients": "integrated gradients, since Grad-CAM does not pass its check",
}
ICONS = {
    "passes": ":green[:material/check_circle:]",
    "fails": ":red[:material/cancel:]",
    "cannot tell": ":gray[:material/help:]",
}


def draw(found: Audit | None) -> None:
    """What the check of the shown map found; a switch hides it, for all maps. None: not checked."""
    if found is None:
        st.caption("This map came with the study; whether it can be believed was not checked here.")
        return
    asked = st.toggle("Check whether this map can be believed", value=True, key="audit_on")
    if not asked:
        return
    st.markdown(f"This map was made by **{METHOD_WORDS[found.method]}**.")
    if found.empty:
        st.caption("The map is empty, so there is nothing to check.")
        return
    _draw_verdict([check.verdict for check in found.checks])
    for check in found.checks:
        st.markdown(
            f"{ICONS[check.verdict]} **{check.question} "
            f"{check.verdict[:1].upper()}{check.verdict[1:]}**,  \n"
            f":small[because {check.because}.]"
        )
    if found.curve:
        st.plotly_chart(
            charts.deletion(found.curve, found.random_low, found.random_mean, found.random_high),
            key="deletion",
            config={"displayModeBar": False},
            alt="Probability of the primary while the lesion is flattened, map against random",
        )
        st.caption(
            "The places that the map marks most are made grey first. If they are what the net "
            "used, the dark line falls below the grey band of random orders."
        )


def _draw_verdict(verdicts: list[str]) -> None:
    """The three verdicts in one sentence."""
    failed, unsure = verdicts.count("fails"), verdicts.count("cannot tell")
    if failed:
        words = f"Do not rely on this map: it fails {failed} of {len(verdicts)} checks."
        st.warning(words, icon=":material/report:")
    elif unsure:
        st.info("This map cannot be checked.", icon=":material/help:")
    else:
        st.success("This map passes all checks.", icon=":material/check_circle:")
