"""How far readers agree, how often they are right, and what the models change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import loaders
from pages.parts.access.guard import page
from pages.parts.agreement import filters, large, source, view
from pages.parts.case import reader

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

NO_VOTES = (
    "There are no votes yet. Open a case on the Review page and store the first one. Agreement can "
    "be computed once two readers have voted on the same cases."
)
NO_ANSWERS = "No reading of this study is locked yet. Readers find their lists on the Study page."


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
    if source.is_large(name):
        large.draw(bar)
        st.stop()
    picked = source.gather(name)
    if picked.running and picked.record is not None:
        from bmcore.analysis.results import running

        view.draw_running(picked.record, running(picked.source, picked.marks).words)
    elif not picked.source.readings:
        st.info(NO_VOTES if picked.record is None else NO_ANSWERS)
    else:
        draw(picked, bar)
