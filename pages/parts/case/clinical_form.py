"""The clinical record of a new case: typed in, or read from a table whose columns are shown."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import streamlit as st

from bmcore.domain import ClinicalRecord, Finding, refuse
from bmcore.intake import gatekeeper
from bmcore.intake.clinical import FIELD_WORDS, ClinicalTable, read_clinical
from bmcore.intake.clinical_values import WORDS, Word
from pages.parts.access.guard import error_boundary, named

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

NOT_KNOWN = "not known"


def draw(case_name: str) -> tuple[ClinicalRecord | None, tuple[Finding, ...]]:
    """The clinical record from the form or from a table, and how the table was read; None while
    the input is not usable."""
    st.markdown("**Clinical data** (all optional; empty means not known)")
    form, other = st.tabs(["Type it in", "Read it from a table"])
    table = other.file_uploader(
        "CSV or XLSX with one row, or with a row named as the case",
        type=["csv", "xlsx"],
        key="clinical_file",
    )
    if table is not None:
        form.info("The table is used. Remove it to type the values in.")
        with other, error_boundary():
            return _from_table(table, case_name)
        return None, ()
    left, middle, right = form.columns(3)
    age = left.number_input("Age (years)", 0.0, 120.0, value=None, step=1.0, format="%.0f")
    sex = middle.selectbox("Sex", ["female", "male"], index=None, placeholder=NOT_KNOWN)
    outside = right.selectbox(
        "Known metastases outside the brain", ["yes", "no"], index=None, placeholder=NOT_KNOWN
    )
    smoking = left.selectbox(
        "Smoking", ["never", "former", "current"], index=None, placeholder=NOT_KNOWN
    )
    pack_years = middle.number_input("Pack-years", 0.0, 300.0, value=None, step=1.0, format="%.0f")
    with error_boundary():
        record = ClinicalRecord(
            age, sex, smoking, pack_years, None if outside is None else outside == "yes"
        )
        for finding in gatekeeper.of_record(record):
            form.warning(finding.sentence)
        return record, ()
    return None, ()


def _from_table(table: UploadedFile, case_name: str) -> tuple[ClinicalRecord, tuple[Finding, ...]]:
    """The record of the case; how each column is read is shown, and unexplained codes are asked."""
    read = _read_table(table, {})
    legends = _ask_codes(read)
    if legends:
        read = _read_table(table, legends)
    st.dataframe(
        [{"Column": r.heading, "Taken as": r.field and FIELD_WORDS[r.field], "Read as": r.how}
         for r in read.readings]
        + [{"Column": h, "Taken as": "", "Read as": "not understood, not used"}
           for h in read.unrecognised],
        hide_index=True,
    )  # fmt: skip
    for finding in read.findings:
        st.text(finding.sentence)
    own = read.record_for(case_name)
    if own is not None:
        return own, read.as_findings(case_name)
    raise refuse(
        f"no row of the table belongs to case {case_name or '(no name yet)'}",
        file=table.name,
        found=f"{len(read.records)} rows, for instance {', '.join(read.like(case_name))}",
        expected="one row, or a row with exactly the name of the case",
        hint="give the case the name that it has in the table.",
    )


def _ask_codes(read: ClinicalTable) -> dict[str, dict[str, Word]]:
    """A box for each code whose meaning the table does not say; the answers by field."""
    answers: dict[str, dict[str, Word]] = {}
    for column in read.asked:
        meanings = {_in_words(value): value for value in WORDS[column.field].values()}
        for code in column.codes:
            said = st.selectbox(
                f"Column {column.heading}: what does {code} mean?",
                list(meanings),
                index=None,
                placeholder="not read until you say",
                key=f"code {column.field} {code}",
            )
            if said is not None:
                answers.setdefault(column.field, {})[code] = meanings[said]
    return answers


def _in_words(value: Word) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none of the six" if value is None else str(value)


def _read_table(table: UploadedFile, legends: dict[str, dict[str, Word]]) -> ClinicalTable:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{PurePosixPath(table.name).suffix}"
        path.write_bytes(table.getvalue())
        with named({path.name: table.name}):
            return read_clinical(path, legends)
