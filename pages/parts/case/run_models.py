"""Start the models on a case and follow the work."""

from __future__ import annotations

import streamlit as st

from pages.parts import loaders, runs
from pages.parts.access import guard
from pages.parts.words import duration

QUIET_S = 120.0  # no sign of life for so long is said; the work may be waiting for the processor


def run_models(case_id: str) -> None:
    """The button, or the progress while the work is going on; the page is drawn anew at the end."""
    problem = loaders.models().problem
    if problem:
        st.warning(
            "No models can be used here, so there will be no answers. Reading, marking and voting "
            "work as ever.",
            icon=":material/extension_off:",
        )
        with st.expander("Why (for whoever looks after this computer)"):
            st.text(problem)
        return
    state = runs.state(case_id)
    if state.busy:
        _follow(case_id)
        return
    if state.state == "failed":
        st.error("The models could not read this case.", icon=":material/error:")
        st.text(state.message)
    elif state.state == "cancelled":
        st.caption("The run of the models on this case was cancelled.")
    again = state.state == "failed"
    label = "Try again" if again else "Run the models on this case"
    if st.button(label, type="primary", key="run_models", icon=":material/play_arrow:"):
        guard.check("case.run", case_id)
        runs.submit(case_id)
        st.rerun()
    usual = runs.usual_s()
    takes = "a minute or two" if usual is None else f"{duration(usual)}, as the last cases did"
    st.caption(f"This takes {takes}. You can read the images and vote meanwhile.")


@guard.fragment("case.open", case=lambda case_id: case_id, run_every=0.5)
def _follow(case_id: str) -> None:
    state = runs.state(case_id)
    if not state.busy:
        st.rerun(scope="app")
    st.progress(min(1.0, max(0.0, state.fraction)), runs.words(state))
    if state.quiet_s > QUIET_S:
        st.caption("No progress for a while: this computer may be busy with other work.")
    if st.button("Cancel", key="cancel_run", icon=":material/close:"):
        guard.check("case.run", case_id)
        runs.cancel([case_id])
        st.rerun(scope="app")
