"""Start the models on a case and follow the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import duration, escaped, seconds_left

if TYPE_CHECKING:
    from bmcore.inference.jobs import JobState

QUIET_S = 120.0  # no sign of life for so long is said; the work may be waiting for the processor


def run_models(case_id: str) -> None:
    """The button, or the progress while the work is going on; the page is drawn anew at the end."""
    from bmcore.inference import jobs

    problem = loaders.models().problem
    if problem:
        st.warning(
            "No models can be used here, so there will be no answers. Reading, marking and voting "
            "work as ever.",
            icon=":material/extension_off:",
        )
        with st.expander("Why, for who looks after this computer"):
            st.text(problem)
        return
    state = jobs.state(loaders.home(), case_id)
    if state.busy:
        _follow(case_id)
        return
    if state.state == "failed":
        st.error("The models could not read this case.", icon=":material/error:")
        st.text(state.message)
    again = state.state == "failed"
    label = "Try again" if again else "Run the models on this case"
    if st.button(label, type="primary", key="run_models", icon=":material/play_arrow:"):
        guard.check("case.run", case_id)
        jobs.submit(loaders.home(), case_id)
        st.rerun()
    usual = jobs.usual_s(loaders.home())
    takes = "a minute or two" if usual is None else f"{duration(usual)}, as the last cases did"
    st.caption(f"This takes {takes}. You can read the images and vote meanwhile.")


@guard.fragment("case.open", case=lambda case_id: case_id, run_every=1.0)
def _follow(case_id: str) -> None:
    from bmcore.inference import jobs

    state = jobs.state(loaders.home(), case_id)
    if not state.busy:
        st.rerun(scope="app")
    st.progress(min(1.0, max(0.0, state.fraction)), progress_words(state))
    if jobs.silent_s(loaders.home(), case_id) > QUIET_S:
        st.caption("No progress for a while: this computer may be busy with other work.")


def progress_words(state: JobState) -> str:
    """For instance "Finding the tumour, about 40 s left"."""
    if state.state == "queued":
        return escaped(state.message) or "Waiting to start."
    left = seconds_left(state.eta_s)
    return f"{escaped(state.stage) or 'Starting'}, {left or 'working out how long it takes'}"
