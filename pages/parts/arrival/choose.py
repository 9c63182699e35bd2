"""The second step: what was found, and which series is which sequence; doubts are asked."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import streamlit as st

from bmcore.domain import SEQUENCE_NAMES, SEQUENCES
from bmcore.door import found, work
from bmcore.door.found import NONE
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.case import clinical_form
from pages.parts.words import count, escaped

if TYPE_CHECKING:
    from bmcore.door.arrival import Arrival
    from bmcore.door.found import ExaminationRow, Found

_ORDER = ("t1c", "t1n", "t2w", "t2f")


def draw(of: Arrival) -> None:
    """The table, the boxes and the clinical record; on the button the sequences are aligned."""
    from bmcore.door.steps import FOUND

    told = found.load(of.folder / FOUND)
    for note in told.notes:
        st.caption(escaped(note))
    examination = _examination(told)
    if examination is None:
        return
    _table(examination, told)
    chosen = _boxes(of, examination)
    for note in examination.notes:
        st.warning(escaped(note), icon=":material/warning:")
    name = st.text_input(
        "Name of the case (a pseudonym)",
        _suggested(of, examination),
        max_chars=64,
        key=f"case name {of.id}",
    )
    record, read_as = clinical_form.draw(name)
    open_boxes = [SEQUENCE_NAMES[s] for s, label in chosen.items() if label is None]
    settled = {s: label for s, label in chosen.items() if label is not None}
    faults = found.faults(examination, settled)
    if open_boxes:
        faults = [f"Choose a series for {', '.join(open_boxes)}, or leave it out.", *faults]
    if faults:
        st.info(escaped(" ".join(faults)), icon=":material/rule:")
    ready = not faults and record is not None and bool(name.strip())
    if st.button(
        "Align and find the brain", type="primary", key="align", disabled=not ready,
        icon=":material/arrow_forward:",
    ) and record is not None:  # fmt: skip
        guard.check("cases.add")
        asked = {
            "study": examination.label, "series": settled, "case_id": name.strip(),
            "clinical": asdict(record), "read_as": [asdict(f) for f in read_as],
        }  # fmt: skip
        work.submit(loaders.home(), of, work.ALIGN, asked)
        st.rerun()
    st.caption(
        "Next, the sequences are brought onto one grid and the skull is taken away: about a minute."
    )


def _examination(told: Found) -> ExaminationRow | None:
    """The examination that is meant; asked where there are several."""
    if len(told.examinations) == 1:
        return told.examinations[0]
    labels = [e.label for e in told.examinations]
    likeliest = told.likeliest
    people = len({e.patient for e in told.examinations})
    single = [label for label in labels if "+" not in label]
    many = f"{count(people, 'patient')}, {count(len(single), 'examination')}"
    chosen = st.radio(
        f"These files hold {many}. Which one is it? A case is one patient at one time.",
        labels,
        index=labels.index(likeliest.label) if likeliest else None,
        format_func=lambda label: escaped(
            next(e for e in told.examinations if e.label == label).title
        ),
        key="examination",
    )
    return told.examination(chosen) if chosen else None


def _table(examination: ExaminationRow, told: Found) -> None:
    """All series with what they were taken for and why; those that are no sequence below."""
    rows = sorted(
        examination.series,
        key=lambda row: (row.sequence is None, _ORDER.index(row.sequence) if row.sequence else 9),
    )
    what = "Series" if told.kind == "dicom" else "File"
    st.markdown(f"**What was found** {':small[' + escaped(examination.title) + ']'}")
    st.dataframe(
        [
            {
                what: row.name,
                "Taken as": SEQUENCE_NAMES[row.sequence] if row.sequence else "set aside",
                "Sure": None if row.sequence is None else round(100 * row.confidence),
                "Why": "; ".join(("Cannot be used: " + "; ".join(row.problems),) if row.problems
                                 else (row.reason,)),
                "Images": row.images,
                "Size": row.size,
            }
            for row in rows
        ],
        hide_index=True,
        column_config={
            "Sure": st.column_config.ProgressColumn(
                format="%d %%", min_value=0, max_value=100, width="small"
            ),
            "Why": st.column_config.TextColumn(width="large"),
        },
        alt="What was found: one row per series",
    )  # fmt: skip


def _boxes(of: Arrival, examination: ExaminationRow) -> dict[str, str | None]:
    """A box a sequence, with a slice of what is chosen; unset where it is not sure."""
    offered = [row for row in examination.series if row.usable and row.size]
    words = {row.label: row.name for row in offered}
    st.markdown("**Which series is which sequence?**")
    columns = st.columns(4)
    chosen: dict[str, str | None] = {}
    for column, sequence in zip(columns, _ORDER, strict=True):
        proposed = examination.proposed.get(sequence)
        sure = proposed in words and sequence not in examination.questions
        row = examination.row(proposed) if proposed else None
        options = [*words, NONE]
        start = options.index(proposed) if proposed in words and sure else None
        if proposed is None and sequence != "t1c":
            start = options.index(NONE)
        with column:
            picked = st.selectbox(
                SEQUENCE_NAMES[sequence],
                options,
                index=start,
                format_func=lambda label: (
                    "Missing, or leave it out" if label == NONE else words[label]
                ),
                placeholder="Please choose",
                key=f"series {of.id} {examination.label} {sequence}",
            )
            chosen[sequence] = picked
            _picture(of, examination.label, picked or proposed)
            if picked is None and sequence in examination.questions:
                st.caption(f":material/help: {escaped(examination.questions[sequence])}")
            elif row is not None and not row.usable and picked in (None, NONE):
                why = "; ".join(row.problems) or row.reason
                st.caption(f":material/warning: {escaped(f'{row.name} cannot be used: {why}')}")
            elif picked is None:
                st.caption(":material/help: No series was recognised. Is it one of these?")
    return {sequence: chosen[sequence] for sequence in SEQUENCES}


def _picture(of: Arrival, examination: str, label: str | None) -> None:
    from bmcore.door.steps import series_picture

    path = None if label in (None, NONE) else series_picture(of, examination, str(label))
    if path is not None and path.exists():
        st.image(path.read_bytes(), width=150)


def _suggested(of: Arrival, examination: ExaminationRow) -> str:
    """The pseudonym of the patient and the examination, else the next free number."""
    from bmcore.intake import library
    from bmcore.review.absent import known_cases

    key = f"suggested name {of.id} {examination.label}"
    if key not in st.session_state:
        known = known_cases(loaders.store())
        st.session_state[key] = examination.case_id or library.next_id(loaders.home(), known)
    return str(st.session_state[key])
