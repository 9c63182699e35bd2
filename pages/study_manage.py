"""For the investigator: start and amend a study, follow it, resolve disagreements, write masks."""

from __future__ import annotations

import streamlit as st

from bmcore.review import plan
from bmcore.review.reading_session import ReadingSession
from pages.parts import loaders
from pages.parts.access.guard import check, error_boundary, page
from pages.parts.study import (
    adjudication,
    consensus_masks,
    practice,
    preference,
    progress,
    readiness,
    references,
    sizing,
)
from pages.parts.study import plan as study_plan

TABS = (
    "Progress",
    "Plan and amendments",
    "Reference",
    "Disagreements",
    "Consensus masks",
    "New study",
    "Sizing",
)

with page("Run a study", "study.manage"):
    st.header("Run a study", anchor=False)
    study_plan.draw_told()
    names = plan.studies(loaders.store())
    if not names:
        study_plan.draw_new(first=True)
        with (
            st.expander("Reference primaries and masks", icon=":material/fact_check:"),
            error_boundary(),
        ):
            references.draw()
        with st.expander("How many readers and cases?", icon=":material/calculate:"):
            sizing.draw()
    else:
        asked = st.query_params.get("study")
        name = names[0]
        if len(names) > 1:
            index = names.index(asked) if asked in names else 0
            name = st.selectbox("Study", names, index=index, width=420)
        desk = ReadingSession(loaders.store(), name)
        tabs = st.tabs(TABS, key="manage", on_change="rerun")
        with tabs[0], error_boundary():
            readiness.draw_in_the_way(desk.version.study)
            progress.draw(desk)
            practice.draw_results(desk)
            preference.draw_counts(desk)
        with tabs[1], error_boundary():
            study_plan.draw_versions(name)
        with tabs[2], error_boundary():
            if tabs[2].open:
                references.draw()
        with tabs[3], error_boundary():
            if tabs[3].open:
                check("study.decide")
                adjudication.draw(desk)
        with tabs[4], error_boundary():
            if tabs[4].open:
                check("masks.export")
                consensus_masks.draw(desk)
        with tabs[5], error_boundary():
            if tabs[5].open:
                study_plan.draw_new()
        with tabs[6], error_boundary():
            if tabs[6].open:
                sizing.draw()
