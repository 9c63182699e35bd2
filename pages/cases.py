"""Work list: what there is, in which state; add a case; open one."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.parts import loaders
from pages.parts.add_case import add_case_form
from pages.parts.guard import page
from pages.parts.words import STATE_WORDS, clinical


def work_list() -> pd.DataFrame:
    """One row a case, in the order of the library."""
    from bmcore.reading import jobs

    votes = loaders.votes_per_case()
    rows = []
    for entry in loaders.entries():
        state = jobs.state(loaders.home(), entry.case_id)
        done = state.state == "none" and loaders.has_prediction(entry.case_id)
        rows.append(
            {
                "Case": entry.case_id,
                "State": STATE_WORDS["done" if done else state.state],
                "Patient": clinical(entry.clinical),
                "Sequences": ", ".join(loaders.short_names(entry.sequences)),
                "Notes on the files": len(entry.findings),
                "Votes": votes.get(entry.case_id, 0),
                "Origin": "Demo, synthetic" if entry.demo else "Added here",
            }
        )
    return pd.DataFrame(rows)


def draw_list(table: pd.DataFrame) -> None:
    event = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="work_list",
        height="content" if len(table) <= 12 else 460,
    )
    rows = event["selection"]["rows"]
    chosen = table["Case"].iloc[rows[0]] if rows and rows[0] < len(table) else None
    label = f"Open {chosen}" if chosen else "Open a case: choose its row first"
    if st.button(label, type="primary", disabled=chosen is None, icon=":material/radiology:"):
        st.switch_page("pages/review.py", query_params={"case": str(chosen)})


with page("Cases"):
    st.header("Cases", anchor=False)
    cases = work_list()
    if cases.empty:
        st.info("There are no cases yet. Add the first one below.")
    else:
        draw_list(cases)
    with st.expander("Add a case", icon=":material/add:", expanded=cases.empty):
        add_case_form()
