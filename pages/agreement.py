"""How far readers agree, how often they are right, and what the models change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.access.guard import page
from pages.parts.agreement import filters, large, source, view
from pages.parts.case import reader
from pages.parts.words import count, escaped

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

NO_VOTES = (
    "There are no votes yet. Open a case on the Review page and store the first one. Agreement can "
    "be computed once two readers have voted on the same cases."
)
NO_ANSWERS = "No reading of this study is locked yet. Readers find their lists on the Study page."


def offer_all(cases: frozenset[str], alone: bool) -> None:
    """Say which cases are left out and why, and let the user see them all the same. alone: nothing
    else is on the page."""
    many = len(cases)
    named = ", ".join(sorted(cases)[:5]) + (f" and {many - 5} more" if many > 5 else "")
    with st.container(border=True):
        st.markdown(
            f"**{count(many, 'case')} that you have not read with the models "
            f"{'is' if many == 1 else 'are'} left out:** {escaped(named)}"
        )
        st.caption(
            f"{'The results' if alone else 'Results on them'} would tell you what the models said, "
            "or which primary is known. Once they are shown, you cannot vote on these cases "
            "without the models any more."
        )
        if st.button(
            "Show the results on all cases",
            key="show_all_results",
            type="primary" if alone else "secondary",
        ):
            guard.check("agreement.see")
            with st.spinner("Writing down what you are shown"):
                source.note_what_is_shown(source.in_results(cases), "results")
            st.rerun()


def draw(picked: source.Picked, bar: DeltaGenerator) -> None:
    """Summary first, then a tab a topic. bar: the row of boxes at the top."""
    from bmcore.analysis.results_file import offered
    from bmcore.review import row_mapping
    from bmcore.review.votes import current

    with bar:
        choice = filters.draw(offered(picked.source))
        if st.button("Make the report", type="primary", icon=":material/description:"):
            st.switch_page("pages/reports.py")
    st.caption(f"{filters.words(choice)} {view.HOW_TO_READ}")
    results = source.results(picked, choice)
    view.draw_summary(results)
    topics = view.tabs(results)
    names = list(topics) + ["All votes"] * (picked.record is None)
    for place, name in zip(st.tabs(names), names, strict=True):
        with place:
            keys = topics.get(name, ())
            for key in keys:
                section = results.section(key)
                view.draw_section(section, results.summary, several=len(keys) > 1)
            if name == "All votes":
                store = loaders.store()
                stored = store.votes()
                view.draw_votes(
                    stored,
                    {v.id for v in current(stored)},
                    store.shown_to(reader.acting()),
                    store.read(row_mapping.unknown_order),
                )


with page("Agreement", "agreement.see"):
    st.header("Agreement", anchor=False)
    bar = st.container(horizontal=True, vertical_alignment="bottom")
    with bar:
        name = source.pick()
    out = source.left_out() if name == source.FREE else frozenset()
    if source.is_large(name):
        if out:
            offer_all(out, alone=True)
        else:
            large.draw(bar)
        st.stop()
    picked = source.gather(name, out)
    if picked.running and picked.record is not None:
        from bmcore.analysis.results import running

        view.draw_running(picked.record, running(picked.source, picked.marks).words)
    elif not picked.source.readings:
        if out and loaders.store().count_votes():
            offer_all(out, alone=True)
        else:
            st.info(NO_VOTES if picked.record is None else NO_ANSWERS)
    else:
        if out:
            offer_all(out, alone=False)
        draw(picked, bar)
