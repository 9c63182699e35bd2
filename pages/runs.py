"""What the models are at: which case runs, which wait, how long it takes, and a way to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.parts import loaders, runs
from pages.parts.access import guard
from pages.parts.access.guard import may, page
from pages.parts.words import count, duration, escaped, when

if TYPE_CHECKING:
    from bmcore.review.runs import Run
    from bmcore.running.line import Line

QUIET_S = 120.0


@guard.fragment("runs.see", run_every=1.0)
def follow() -> None:
    """The line as it is now."""
    line = runs.look()
    leads = may("runs.cancel")
    if not line.busy:
        draw_rest(line)
    else:
        draw_running(line, leads)
        draw_waiting(line, leads)
    draw_passed_over(line)
    draw_failed(line)


def draw_passed_over(line: Line) -> None:
    """Cases asked for with many others that needed no run."""
    if line.passed_over:
        st.caption(
            f"In the last 24 hours {count(line.passed_over, 'case')} of those asked for together "
            "needed no run: these models had read them already."
        )


def draw_rest(line: Line) -> None:
    """Nothing is under way."""
    st.info("The models have nothing to do.", icon=":material/check:")
    if line.usual_s is not None:
        st.caption(f"One case takes {duration(line.usual_s)} on this computer.")


def draw_running(line: Line, leads: bool) -> None:
    """How far the running case is, and the whole."""
    st.subheader(runs.line_words(line), anchor=False)
    state = line.running
    if state is None or state.run is None:
        st.progress(0.0, "The models are starting")
        return
    with st.container(horizontal=True, vertical_alignment="center", key="running"):
        words = f"{escaped(state.run.subject)}: {runs.words(state)}"
        st.progress(min(1.0, max(0.0, state.fraction)), words, width="stretch")
        if runs.is_mine(state.run) or leads:
            _cancel_one(state.run)
    if state.quiet_s > QUIET_S:
        st.caption("No progress for a while: this computer may be busy with other work.")


def draw_waiting(line: Line, leads: bool) -> None:
    """Who waits, nearest first; one can be chosen and taken out."""
    with st.container(horizontal=True, key="stop"):
        if st.button("Cancel what I asked for", key="cancel_mine", icon=":material/close:"):
            guard.check("runs.see")
            runs.cancel(own=True)
            st.rerun()
        if leads and st.button("Cancel everything", key="cancel_all", icon=":material/close:"):
            guard.check("runs.cancel")
            runs.cancel()
            st.rerun()
    if not line.waiting:
        return
    table = pd.DataFrame(
        {
            "Case": [run.subject for run in line.waiting],
            "Asked for by": [_who(run, leads) for run in line.waiting],
            "Since": [when(run.submitted_at) for run in line.waiting],
        }
    )
    st.markdown(f"**Waiting: {count(line.waiting_count, 'case')}**")
    chosen = st.dataframe(
        table,
        hide_index=True,
        key="waiting",
        on_select="rerun",
        selection_mode="multi-row",
        height="content" if len(table) <= 10 else 420,
        alt="The cases that wait for the models, nearest first",
    )["selection"]["rows"]
    if line.waiting_count > len(table):
        st.caption(f"The first {len(table)} of {line.waiting_count:,} are shown.")
    st.caption("Single cases go before whole lists; between people, turns alternate.")
    picked = [line.waiting[n] for n in chosen if n < len(line.waiting)]
    picked = [run for run in picked if leads or runs.is_mine(run)]
    if picked and st.button(f"Cancel {count(len(picked), 'case')}", key="cancel_some"):
        guard.check("runs.see")
        runs.cancel([run.subject for run in picked], own=not leads)
        st.rerun()


def _cancel_one(run: Run) -> None:
    if st.button("Cancel", key="cancel_running", disabled=run.cancelling, icon=":material/close:"):
        guard.check("runs.see" if runs.is_mine(run) else "runs.cancel")
        runs.cancel([run.subject])
        st.rerun()


def _who(run: Run, leads: bool) -> str:
    if runs.is_mine(run):
        return "you"
    return run.asked_by if leads else "somebody else"


def draw_failed(line: Line) -> None:
    """The last cases that the models could not read, and why."""
    if not line.failed:
        return
    number = line.counts.get("failed", 0)
    with st.expander(f"{count(number, 'case')} could not be read", icon=":material/error:"):
        for run in line.failed:
            st.markdown(f"**{escaped(run.subject)}**")
            st.text(run.message)
        if number > len(line.failed):
            st.caption(f"The last {len(line.failed)}; the work list shows all under “Failed”.")


with page("Model runs", "runs.see"):
    st.header("Model runs", anchor=False)
    if loaders.models().info is None:
        st.warning("No models can be used here.", icon=":material/extension_off:")
    follow()
