"""Start the models on a case and follow the work."""

from __future__ import annotations

import streamlit as st

from pages.parts import loaders
from pages.parts.guard import shield
from pages.parts.words import seconds_left


def run_models(case_id: str) -> None:
    """The button, or the progress while the work is going on; the page is drawn anew at the end."""
    from bmcore.reading import jobs

    problem = loaders.models().problem
    if problem:
        st.warning("The models cannot be used, so there will be no answers. You can still vote.")
        st.text(problem)
        return
    state = jobs.state(loaders.home(), case_id)
    if state.busy:
        _follow(case_id)
        return
    if state.state == "failed":
        st.error("The models could not read this case.")
        st.text(state.message)
    again = state.state == "failed"
    label = "Try again" if again else "Run the models on this case"
    if st.button(label, type="primary", key="run_models", icon=":material/play_arrow:"):
        jobs.submit(loaders.home(), case_id)
        st.rerun()
    st.caption("This takes about a minute. You can read the images and vote meanwhile.")


@st.fragment(run_every=1.0)
def _follow(case_id: str) -> None:
    from bmcore.reading import jobs

    with shield():
        state = jobs.state(loaders.home(), case_id)
        if not state.busy:
            st.rerun(scope="app")
        words = state.message if state.state == "queued" else state.stage
        left = seconds_left(state.eta_s)
        st.progress(min(1.0, max(0.0, state.fraction)), f"{words}{', ' + left if left else ''}")
