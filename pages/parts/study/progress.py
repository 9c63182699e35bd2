"""How far a study is, without any effect: sheets, widths of intervals, flags."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from bmcore.domain import ARM_WORDS
from bmcore.review.reading_session import ReadingSession
from bmcore.review.study import Study
from bmcore.stats.estimate import percent
from pages.parts import loaders
from pages.parts.agreement import source
from pages.parts.study import conduct
from pages.parts.study.context import COMPARED
from pages.parts.words import day, escaped, when

if TYPE_CHECKING:
    from bmcore.review.record import StudyRecord


def draw(desk: ReadingSession) -> None:
    """How the study stands, progress of each reader, flags and skips, and the width of the primary
    endpoint's interval or, once the study is over, the way to its results."""
    from bmcore.review.record import read_record

    study = desk.version.study
    now = conduct.draw(desk)
    counts, last = desk.progress(), desk.last_activity()
    total = sum(sum(v for s, v in c.items() if s != "flagged") for c in counts.values())
    done = sum(c["unaided locked"] + c["aided locked"] for c in counts.values())
    st.progress(done / total, f"{done} of {total} readings locked, all readers together")
    rows = [
        {
            "Reader": study.reader(reader).name,
            "Role": study.reader(reader).role,
            "To do": c["not started"],
            "Begun": c["draft"],
            "Locked": c["unaided locked"] + c["aided locked"],
            "Skipped": c["skipped"],
            "Flagged": c["flagged"],
            "Last activity": when(last[reader]) if reader in last else "never",
            "Deadline": _deadline(now.deadline(reader), c),
        }
        for reader, c in counts.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    _draw_notes(desk, study)
    record = read_record(loaders.store(), study.study)
    if record.finished:
        _draw_over(study)
    else:
        st.markdown("**How precise the primary endpoint is so far**")
        _draw_width(record)


def _deadline(due: date | None, counts: Mapping[str, int]) -> str:
    if due is None:
        return ""
    waiting = counts["not started"] + counts["draft"]
    late = waiting and datetime.now().astimezone().date() > due
    return f"{day(due)}, late" if late else day(due)


def _draw_notes(desk: ReadingSession, study: Study) -> None:
    notes = desk.notes()
    st.markdown("**Flags and skips**")
    if not notes:
        st.caption("None.")
        return
    rows = [
        {
            "Reader": study.reader(n.place.reader).name,
            "Case": n.place.case_id,
            "Arm": ARM_WORDS[n.place.arm],
            "What": n.kind,
            "Note": n.text,
            "When": when(n.at),
        }
        for n in reversed(notes)
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def _draw_over(study: Study) -> None:
    st.success("The study is over: its results are open.", icon=":material/check:")
    if st.button("See the results", key="results of study", icon=":material/groups:"):
        st.session_state[source.KEPT] = study.study
        st.switch_page("pages/agreement.py")


def _draw_width(record: StudyRecord) -> None:
    from bmcore.analysis import collect
    from bmcore.analysis.results import running, width_words

    study = record.study
    endpoint = study.primary_endpoint
    first, second = endpoint.compare
    name = endpoint.name[:1].upper() + endpoint.name[1:]
    st.caption(
        f"{escaped(name)}, {COMPARED[first]} and {COMPARED[second]}. The difference "
        "itself stays hidden until the study is over, so that nobody stops or goes on because of "
        "it."
    )
    known = source.known_primaries()
    if not known:
        st.caption("No primary is known here yet. Bring a table of them under Reference.")
    data, marks = collect.for_progress(
        loaders.home(), loaders.store(), record, known, source.predictions()
    )
    found = running(data, marks)
    if found.finding is None:
        st.info(escaped(" ".join(found.words)))
        return
    left, right = st.columns(2, width=520)
    left.metric(
        f"Width of the {percent(found.finding.endpoint.level)} interval", width_words(found.finding)
    )
    right.metric("Cases that count so far", f"{found.cases} of {len(study.cases)}")
    st.caption(
        "The whole length of the interval of the difference, by the method of the final analysis. "
        "About half as long with four times the cases."
    )
