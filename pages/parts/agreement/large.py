"""The Agreement page where there are very many votes: results that the worker computed and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import loaders, runs
from pages.parts.access import guard
from pages.parts.agreement import filters, view
from pages.parts.case import reader
from pages.parts.words import duration, when

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from bmcore.analysis.readings import Choice
    from bmcore.running.kept_results import Kept

A_PAGE = 200  # votes of the list


def draw(bar: DeltaGenerator) -> None:
    """The kept results, when they were computed, and the way to newer ones."""
    from bmcore.analysis.readings import Choice
    from bmcore.running import kept_results

    whole = kept_results.find(loaders.home(), Choice())
    if whole is None:
        _wait(Choice(), ask=True)
        return
    with bar:
        choice = filters.draw(whole.offered)
        if st.button("Make the report", type="primary", icon=":material/description:"):
            st.switch_page("pages/reports.py")
    kept = whole if choice == Choice() else kept_results.find(loaders.home(), choice)
    if kept is None:
        _wait(choice, ask=True)
        return
    _draw_age(kept, choice)
    st.caption(f"{filters.words(choice)} {view.HOW_TO_READ}")
    view.draw_summary(kept.results)
    topics = view.tabs(kept.results)
    for place, name in zip(st.tabs([*topics, "All votes"]), [*topics, "All votes"], strict=True):
        with place:
            keys = topics.get(name, ())
            for key in keys:
                section = kept.results.section(key)
                view.draw_section(section, kept.results.summary, several=len(keys) > 1)
            if name == "All votes":
                _draw_votes()


def _draw_age(kept: Kept, choice: Choice) -> None:
    """When the results were computed, whether something has changed since, and a refresh."""
    from bmcore.running import kept_results

    home, store = loaders.home(), loaders.store()
    with st.container(horizontal=True, vertical_alignment="center", key="results_age"):
        old = kept.stamp != kept_results.stamp(home, store, loaders.digest())
        words = f"Computed {when(kept.computed_at)} from {kept.votes:,} votes"
        st.caption(f"{words}{_since(kept) if old else ', up to date'}.", width="content")
        if old and not kept_results.state(home, store, choice).busy:
            takes = f"Takes {duration(kept.seconds)}; the page stays as it is meanwhile."
            if st.button("Recompute", key="refresh", icon=":material/refresh:", help=takes):
                guard.check("agreement.see")
                kept_results.ask(home, store, choice, guard.user().name)
                st.rerun()
    if old and kept_results.state(home, store, choice).busy:
        _wait(choice, ask=False)


def _since(kept: Kept) -> str:
    """What has changed since the results were computed."""
    new = loaders.store().count_votes() - kept.votes
    if new > 0:
        return f"; {new:,} new vote{'s' * (new > 1)} since then"
    return "; readers, cases, models or known primaries have changed since then"


def _wait(choice: Choice, ask: bool) -> None:
    """Ask the worker where nobody has, and follow it."""
    from bmcore.running import kept_results

    home, store = loaders.home(), loaders.store()
    state = kept_results.state(home, store, choice)
    if state.state in ("failed", "cancelled"):
        st.error("The results could not be computed.", icon=":material/error:")
        st.text(state.message)
        if st.button("Try again", key="results_again"):
            guard.check("agreement.see")
            kept_results.ask(home, store, choice, guard.user().name)
            st.rerun()
        return
    if ask and not state.busy:
        kept_results.ask(home, store, choice, guard.user().name)
    _follow(choice)


@guard.fragment("agreement.see", run_every=1.0)
def _follow(choice: Choice) -> None:
    from bmcore.running import kept_results

    state = kept_results.state(loaders.home(), loaders.store(), choice)
    if not state.busy:
        st.rerun(scope="app")
    st.progress(min(1.0, max(0.0, state.fraction)), f"Results: {runs.words(state)}")


def _draw_votes() -> None:
    """The votes stored last; the reports hold them all."""
    from bmcore.review import row_mapping

    store = loaders.store()
    votes = store.newest_votes(A_PAGE)
    replaced = store.superseded(votes)
    in_force = {v.id for v in votes} - replaced
    unsure = store.read(row_mapping.unknown_order)
    view.draw_votes(list(reversed(votes)), in_force, store.shown_to(reader.acting()), unsure)
    st.caption(f"The last {len(votes):,} of {store.count_votes():,}; a report holds them all.")
