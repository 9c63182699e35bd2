"""A folder of patients: one preview table, the start of the import, and what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from bmcore.domain import SEQUENCE_NAMES
from bmcore.door import arrival, work
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import count, escaped

if TYPE_CHECKING:
    from bmcore.door.arrival import Arrival
    from bmcore.door.bulk import Row

_STATES = {
    "new": "New",
    "in the library": "In the library",
    "asks": "Not sure",
    "refused": "Cannot be used",
}


def draw_preview(of: Arrival) -> None:
    """The table of what was found, and the button that brings in what is new."""
    from bmcore.door import bulk, patients

    rows = patients.rows(of)
    told = ", ".join(f"{n} {_STATES[s].lower()}" for s, n in patients.counts(rows).items())
    st.markdown(f"**{count(len(rows), 'examination').capitalize()} found:** {told}")
    st.caption("Nothing is stored yet. One that cannot be used does not stop the others.")
    _table(rows)
    unsure = {n: row for n, row in enumerate(rows) if row.state == bulk.ASKS and row.sequences}
    likeliest = False
    if unsure:
        likeliest = st.checkbox(
            f"Also bring in those that are not sure ({len(unsure)}), with the most likely series",
            key=f"likeliest {of.id}",
        )
    new = sum(row.state == bulk.NEW for row in rows) + (len(unsure) if likeliest else 0)
    start, again = st.columns([2, 3], vertical_alignment="center")
    label = f"Bring in {count(new, 'examination')}" if new else "There is nothing new to bring in"
    if start.button(label, type="primary", key="bring", disabled=not new, width="stretch"):
        guard.check("cases.add")
        asked = {"likeliest": list(unsure) if likeliest else []}
        work.submit(loaders.home(), of, work.BRING, asked)
        st.rerun()
    if again.button("Look again", key="look_again", icon=":material/refresh:"):
        guard.check("cases.add")
        work.submit(loaders.home(), of, work.PREVIEW)
        st.rerun()


def _table(rows: list[Row]) -> None:
    table = pd.DataFrame(
        {
            "Folder": [row.item.name for row in rows],
            "Patient": [row.patient.removeprefix("patient ") for row in rows],
            "Sequences": [", ".join(SEQUENCE_NAMES[s] for s in row.sequences) for row in rows],
            "State": [_STATES[row.state] for row in rows],
            "Noticed": [" ".join(row.said) for row in rows],
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        height="content" if len(table) <= 12 else 480,
        column_config={"Noticed": st.column_config.TextColumn(width="large")},
        alt="Patients in the folder: one row per examination",
    )


def draw_brought(of: Arrival) -> None:
    """What is in the library now, and what failed, with every reason."""
    from bmcore.door import patients

    done = patients.outcomes(of)
    failed = [one for one in done if not one.case_id]
    if len(failed) < len(done):
        there = count(len(done) - len(failed), "examination")
        loaders.case_added()
        st.success(f"{there.capitalize()} in the library now.", icon=":material/check:")
    if failed:
        st.error(
            f"{count(len(failed), 'examination').capitalize()} could not be brought in:",
            icon=":material/block:",
        )
    for one in failed:
        for sentence in one.said:
            st.markdown(f"- **{escaped(one.name)}**: {escaped(sentence)}")
    close, again = st.columns([2, 3], vertical_alignment="center")
    if close.button("Close", type="primary", key="close_many", width="stretch"):
        guard.check("cases.add")
        arrival.drop(of)
        st.rerun()
    if again.button("Back to the preview", key="back_many", icon=":material/arrow_back:"):
        guard.check("cases.add")
        work.submit(loaders.home(), of, work.PREVIEW)
        st.rerun()
