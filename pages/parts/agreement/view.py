"""The results on the screen: a sentence, a chart where one helps, and the table with its note."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.parts.agreement import charts
from pages.parts.words import escaped, when

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from bmcore.analysis.results import Results
    from bmcore.analysis.tables import Drawing, ResultTable, Section
    from bmcore.review.record import StudyRecord
    from bmcore.review.votes import Vote

HOW_TO_READ = "In brackets the 95 % interval; n counts cases."
TABS = {
    "Main result": ("endpoint",),
    "Agreement": ("agreement",),
    "Right or wrong": ("accuracy",),
    "With the models": ("comparison", "reliance"),
    "Confidence": ("confidence",),
    "Lesions": ("lesions",),
    "Time and learning": ("time",),
    "Other questions": ("free",),
    "Preference": ("preference",),
    "Subgroups": ("subgroups",),
}


def tabs(results: Results) -> dict[str, tuple[str, ...]]:
    """{name: keys of its sections} of the tabs that have something to show."""
    there = {section.key for section in results.sections}
    return {name: keys for name, keys in TABS.items() if set(keys) <= there}


def draw_summary(results: Results) -> None:
    """The most important finding first and large."""
    first, *others = results.summary
    st.subheader(escaped(first), anchor=False)
    for sentence in others:
        st.markdown(escaped(sentence))


def draw_section(section: Section, told: Sequence[str], several: bool) -> None:
    """One topic; with a heading where a tab holds several. told: sentences already on the page."""
    if several:
        st.subheader(escaped(section.title), anchor=False)
    if section.sentence and section.sentence not in told:
        st.markdown(escaped(section.sentence))
    for table in section.tables:
        st.markdown(f"**{escaped(table.title)}**")
        drawn = _charts(table)
        if len(drawn) == 1 and len(table.header) <= 4 and table.drawings[0].kind != "kappa_map":
            left, right = st.columns((2, 3), gap="large")
            with left:
                _chart(*drawn[0])
            with right:
                _table(table)
        else:
            for place, chart in zip(
                st.columns(max(2, len(drawn))) if drawn else (), drawn, strict=False
            ):
                with place:
                    _chart(*chart)
            _table(table)


def _chart(figure: go.Figure, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=alt)


def _table(table: ResultTable) -> None:
    rows = table.texts()
    # Two columns of one name cannot be shown, so a name seen before gets a blank behind it.
    names: list[str] = []
    for name in table.header:
        names.append(name + "\u200b" * names.count(name))
    frame = pd.DataFrame(rows, columns=names)
    st.dataframe(frame, hide_index=True, height="content" if len(rows) <= 12 else 420)
    notes = [table.note] if table.note else []
    reasons = table.reasons()
    if reasons:
        notes.append(f"Why a number is missing: {'; '.join(reasons)}.")
    if notes:
        st.caption(escaped(" ".join(notes)))


def _charts(table: ResultTable) -> list[tuple[go.Figure, str, str]]:
    """(figure, key, words for who cannot see it); none where the numbers are missing."""
    drawn = [chart for drawing in table.drawings for chart in _drawn(table, drawing)]
    return [(figure, key, alt) for figure, key, alt in drawn if figure is not None]


def _drawn(table: ResultTable, drawing: Drawing) -> list[tuple[go.Figure | None, str, str]]:
    column = table.columns[drawing.column]
    if drawing.kind == "kappa_map":
        return [_kappa_map(table, arm) for arm in dict.fromkeys(x.keys[0] for x in table.lines)]
    if drawing.kind == "calibration":
        alt = "Share of right answers against stated confidence; the table has the numbers"
        return [(charts.calibration(table), table.key, alt)]
    if drawing.kind == "roc":
        return [(charts.roc(table), table.key, f"{drawing.words}; the table has the numbers")]
    if drawing.kind == "along_the_list":
        figure = charts.along_the_list(table, drawing.column)
        key = f"{table.key} {drawing.column}"
        return [(figure, key, f"{drawing.words}; the table has the numbers")]
    if drawing.kind == "first_line":
        rows = charts.rows_of_first_line(table)
        alt = f"{table.title}, {table.lines[0].labels[0].lower()}, with intervals"
    else:
        rows = charts.rows_of(table, drawing.column, drawing.only)
        alt = f"{table.title}, with intervals; the table has the numbers"
    return [(charts.intervals(rows, column, drawing.guide), table.key, alt)]


def _kappa_map(table: ResultTable, arm: str) -> tuple[go.Figure | None, str, str]:
    from bmcore.analysis.tables import ARM_NAMES

    alt = f"Cohen's kappa of each two readers, {ARM_NAMES[arm].lower()}; see the table"
    figure = charts.kappa_map(table, arm)
    if figure is not None:
        figure.update_layout(title={"text": ARM_NAMES[arm], "font": {"size": 14}})
        figure.update_layout(margin={"t": 40})
    return figure, f"map {arm}", alt


def draw_running(record: StudyRecord, words: tuple[str, ...]) -> None:
    """What may be known before the last sheet: how far each reader is, and the interval's width."""
    total, left = len(record.sheets), record.open_sheets
    st.subheader(
        f"The study is running: {total - left} of {total} readings are closed.", anchor=False
    )
    st.progress((total - left) / total)
    for sentence in words:
        st.markdown(escaped(sentence))
    st.info(
        "Answers and effects are shown once every reading of every reader is locked or skipped, so "
        "that nobody steers a study by its results."
    )
    rows = []
    for reader in record.study.readers:
        states = [s.state for s in record.sheets if s.place.reader == reader.id]
        counts = {name.capitalize(): states.count(name) for name in ("locked", "skipped", "open")}
        rows.append({"Reader": reader.name, "Readings": len(states), **counts})
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def draw_votes(votes: list[Vote], in_force: set[int], seen: set[str], unsure: set[int]) -> None:
    """All votes, the newest first; earlier votes of a reader stay visible.

    seen: cases whose answers of the models the user has seen; those of others stay hidden.
    unsure: old votes that may have been given after the models' answers were seen.
    """
    from bmcore.analysis.tables import ARM_NAMES
    from bmcore.review.votes import CHOICE_NAMES, ROLE_NAMES

    rows = [
        {
            "Case": v.case_id,
            "Reader": v.reader,
            "Role": ROLE_NAMES[v.role],
            "When read": ARM_NAMES[v.phase],
            "Primary": CHOICE_NAMES[v.primary],
            "Confidence": v.confidence,
            "Segmentation 1-5": str(v.segmentation_quality or ""),
            "Models' answer": (
                ""
                if not v.model_primary
                else CHOICE_NAMES[v.model_primary]
                if v.case_id in seen
                else "hidden"
            ),
            "Counts": "yes" if v.id in in_force else "replaced",
            "Order": "not known" if v.id in unsure else "",
            "Comment": v.comment,
            "Stored": when(v.created_at),
        }
        for v in reversed(votes)
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content" if len(rows) < 10 else 380)
    if any(v.model_primary and v.case_id not in seen for v in votes):
        st.caption("The models' answers on cases that you have not read with them are hidden.")
    if unsure:
        st.caption(
            "Order not known: stored by an earlier version, perhaps after the models' answers had "
            "been seen."
        )
