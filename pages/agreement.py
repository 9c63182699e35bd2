"""How far readers agree, how often they are right, and what the models change."""

from __future__ import annotations

import streamlit as st

from pages.parts import agreement_filter, agreement_source, agreement_view, loaders
from pages.parts.guard import page

NO_VOTES = (
    "There are no votes yet. Open a case on the Review page and store the first one. Agreement can "
    "be computed once two readers have voted on the same cases."
)
NO_ANSWERS = "No sheet of this study is locked yet. Readers find their lists on the Study page."


def draw(picked: agreement_source.Picked) -> None:
    """Summary first, then a tab a topic."""
    from bmcore.review.votes import current

    with st.container(horizontal=True, vertical_alignment="center"):
        choice = agreement_filter.draw(picked.source)
        if st.button("Make a report of this", type="primary", icon=":material/description:"):
            st.switch_page("pages/reports.py")
        st.caption(agreement_filter.words(choice))
    results = agreement_source.results(picked, choice)
    agreement_view.draw_summary(results)
    names = list(agreement_view.TABS) + ["All votes"] * (picked.record is None)
    for place, name in zip(st.tabs(names), names, strict=True):
        with place:
            keys = agreement_view.TABS.get(name, ())
            for key in keys:
                agreement_view.draw_section(results.section(key), several=len(keys) > 1)
            if name == "All votes":
                stored = loaders.store().votes()
                agreement_view.draw_votes(stored, {v.id for v in current(stored)})


with page("Agreement", "agreement.see"):
    st.header("Agreement", anchor=False)
    picked = agreement_source.gather(agreement_source.pick())
    if picked.running and picked.record is not None:
        from bmcore.report.study_results import running

        agreement_view.draw_running(picked.record, running(picked.source).words)
    elif not picked.source.readings:
        st.info(NO_VOTES if picked.record is None else NO_ANSWERS)
    else:
        draw(picked)
