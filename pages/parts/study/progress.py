"""How far a study is, without any effect: sheets, widths of intervals, flags."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import streamlit as st

from bmcore.domain import Primary
from bmcore.review.answers import StudyAnswer
from bmcore.review.reading_session import ReadingSession
from bmcore.review.study import Study
from pages.parts.access.guard import named
from pages.parts.agreement import source
from pages.parts.study.context import ARM_WORDS
from pages.parts.words import escaped, when


def draw(desk: ReadingSession) -> None:
    """Progress of each reader, the width of the primary endpoint's interval, flags and skips."""
    study = desk.version.study
    counts = desk.progress()
    total = sum(sum(v for s, v in c.items() if s != "flagged") for c in counts.values())
    done = sum(c["unaided locked"] + c["aided locked"] for c in counts.values())
    st.progress(done / total, f"{done} of {total} sheets locked, all readers together")
    rows = [
        {
            "Reader": study.reader(reader).name,
            "Role": study.reader(reader).role,
            "To do": c["not started"],
            "Begun": c["draft"],
            "Locked": c["unaided locked"] + c["aided locked"],
            "Skipped": c["skipped"],
            "Flagged": c["flagged"],
        }
        for reader, c in counts.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    _draw_notes(desk, study)
    st.markdown("**How precise the primary endpoint is so far**")
    _draw_width(desk, study)


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
            "Read": ARM_WORDS[n.place.arm],
            "What": n.kind,
            "Note": n.text,
            "When": when(n.at),
        }
        for n in reversed(notes)
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def _draw_width(desk: ReadingSession, study: Study) -> None:
    first, second = study.primary_endpoint.compare
    st.caption(
        f"{escaped(study.primary_endpoint.measure)}, {ARM_WORDS[first]} and "
        f"{ARM_WORDS[second]}. The difference itself stays hidden until the study is over, so that "
        "nobody stops or goes on because of it."
    )
    truths = _references()
    n, width = interval_width(study, desk.answers(), truths)
    if not truths:
        st.info("No reference primaries are known here. Add a table of them to see the width.")
        return
    if width is None:
        read = "1 case is" if n == 1 else f"{n} cases are"
        st.info(f"{read} read in both arms so far; the width needs at least two.")
        return
    left, right = st.columns(2, width=520)
    left.metric("Width of the 95 % interval", f"{100 * width:.0f} points")
    right.metric("Cases read in both arms", f"{n} of {len(study.cases)}")
    st.caption(
        "Share of right primaries, in percentage points: the whole length of the interval of the "
        "difference, bootstrap over patients. About half as long with four times the cases."
    )


def _references() -> Mapping[str, Primary]:
    """The known primaries, and those of a table that is looked at and not kept."""
    from bmcore.intake.clinical import read_clinical

    found = dict(source.known_primaries())
    with st.expander("Reference primaries"):
        file = st.file_uploader(
            "Table with one row a case (CSV or Excel)", type=["csv", "xlsx"], key="references"
        )
        st.caption("It is used for this number alone and is not stored.")
    if file is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"table{Path(file.name).suffix.lower()}"
            path.write_bytes(file.getvalue())
            with named({path.name: file.name}):
                table = read_clinical(path)
        found |= {c: p for c, p in table.primaries.items() if p is not None}
    return found


def interval_width(
    study: Study, answers: list[StudyAnswer], truths: Mapping[str, Primary]
) -> tuple[int, float | None]:
    """(cases read in both arms, length of the 95 % interval of the difference of accuracy).

    First readings of cases with a reference; the mean over readers and cases of right in the
    second arm less right in the first, percentile bootstrap over cases. None with fewer than two.
    """
    from bmcore.stats.bootstrap import mean

    asked = next(q.id for q in study.questions if q.kind == "primary")
    right = {
        (a.site, a.reader, a.case_id, a.arm): a.value["choice"] == truths[a.case_id]
        for a in answers
        if a.question == asked and a.occasion == 0 and a.case_id in truths
    }
    first, second = study.primary_endpoint.compare
    pairs = [
        (case, float(right[site, reader, case, second]) - float(is_right))
        for (site, reader, case, arm), is_right in right.items()
        if arm == first and (site, reader, case, second) in right
    ]
    cases = [case for case, _ in pairs]
    if len(set(cases)) < 2:
        return len(set(cases)), None
    found = mean([value for _, value in pairs], cases)
    return len(set(cases)), found.high - found.low if found.has_interval else None
