"""The form that adds a case: files, which sequence each is, the clinical record."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import streamlit as st

from bmcore.domain import SEQUENCE_NAMES, SEQUENCES, ClinicalRecord, refuse
from bmcore.intake import child
from bmcore.settings import settings
from pages.parts import loaders
from pages.parts.access.guard import error_boundary, named
from pages.parts.words import escaped

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

MOST_FILES = 12
SKIP = "leave out"
NOT_KNOWN = "not known"


def add_case_form() -> None:
    """Draw the form; on success the Review page opens with the new case."""
    uploads = st.file_uploader(
        "Two to four NIfTI files of one patient, T1 post-gadolinium among them",
        type=["nii", "gz"],
        accept_multiple_files=True,
        key="uploads",
    )
    if len(uploads) > MOST_FILES:
        st.error(f"These are {len(uploads)} files; a case has two to four images.")
        return
    if not uploads:
        st.caption(
            "All files must lie on one grid (registered to each other). Only the images and their "
            "place in space are kept: no name of a file, no text of a header. What is burnt into "
            "an image stays in it."
            if not settings().keep_names
            else "All files must lie on one grid (registered to each other). This site keeps the "
            "names of the files: remove patients' names from them before you upload."
        )
        return
    child.warm()
    chosen = _sequences(uploads)
    name = st.text_input("Name of the case (a pseudonym)", _suggested_name(uploads), max_chars=64)
    record = _clinical(name)
    if st.button("Add case", type="primary", key="add_case"):
        with error_boundary():
            _store(uploads, chosen, name, record)


def _suggested_name(uploads: Sequence[UploadedFile]) -> str:
    """The next free number; what the files are called tells too much of a patient."""
    from bmcore.intake import library
    from bmcore.intake.naming import common_name
    from bmcore.review.absent import known_cases

    key = f"suggested name {uploads[0].file_id}"  # once: another default would undo what is typed
    if key not in st.session_state:
        if settings().keep_names:
            st.session_state[key] = common_name([u.name for u in uploads])
        else:
            known = known_cases(loaders.store())
            st.session_state[key] = library.next_id(loaders.home(), known)
    return str(st.session_state[key])


def _sequences(uploads: Sequence[UploadedFile]) -> dict[int, str]:
    """A select box a file, set to the guess; the position of each file to its sequence."""
    from bmcore.intake.naming import guess_sequences

    guesses = guess_sequences([u.name for u in uploads])
    st.caption("Check which sequence each file is; the guess comes from its name.")
    options = [*SEQUENCES, SKIP]
    chosen = {}
    columns = st.columns(max(4, len(uploads)))
    for number, upload in enumerate(uploads):
        guess = guesses[upload.name]
        answer = columns[number].selectbox(
            escaped(upload.name),
            options,
            index=options.index(guess) if guess else None,
            format_func=lambda s: SEQUENCE_NAMES.get(s, "Leave this file out"),
            placeholder="Please choose",
            key=f"sequence {upload.file_id}",
        )
        chosen[number] = answer or ""
    return chosen


def _clinical(case_name: str) -> ClinicalRecord | None:
    """The clinical record from the form or from a table; None while the input is not usable."""
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
        return None
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
        return ClinicalRecord(
            age, sex, smoking, pack_years, None if outside is None else outside == "yes"
        )
    return None


def _from_table(table: UploadedFile, case_name: str) -> ClinicalRecord:
    from bmcore.intake.clinical import read_clinical

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{PurePosixPath(table.name).suffix}"
        path.write_bytes(table.getvalue())
        with named({path.name: table.name}):
            read = read_clinical(path)
    for finding in read.findings:
        st.text(finding.sentence)
    own = read.record_for(case_name)
    if own is not None:
        return own
    raise refuse(
        f"no row of the table belongs to case {case_name or '(no name yet)'}",
        file=table.name,
        found=f"{len(read.records)} rows",
        expected="one row, or a row with the name of the case",
        hint="give the case the name that stands in the table.",
    )


def _store(
    uploads: Sequence[UploadedFile],
    chosen: dict[int, str],
    name: str,
    record: ClinicalRecord | None,
) -> None:
    """Check the choices, add the case and open it."""
    from bmcore.intake import library

    unclear = [uploads[n].name for n, s in chosen.items() if not s]
    if unclear:
        raise refuse(f"choose a sequence for {', '.join(unclear)}")
    used = {n: s for n, s in chosen.items() if s != SKIP}
    twice = {SEQUENCE_NAMES[s] for s in used.values() if list(used.values()).count(s) > 1}
    if twice:
        raise refuse(
            f"two files are set to {', '.join(sorted(twice))}",
            hint="give each file its own sequence, or leave one of them out.",
        )
    if not name.strip():
        raise refuse("the case needs a name", hint="use a pseudonym, never the patient's name.")
    if record is None:
        raise refuse("the clinical data cannot be used yet", hint="see the message beside them.")
    with st.spinner("Checking and storing the images"), tempfile.TemporaryDirectory() as folder:
        files, names = {}, {}
        for number, sequence in used.items():
            files[sequence] = _as_file(uploads[number], number, sequence, Path(folder))
            names[files[sequence].name] = uploads[number].name
        with named(names):
            entry = library.add_case(loaders.home(), files, name.strip(), record)
    st.switch_page("pages/review.py", query_params={"case": entry.case_id})


def _as_file(upload: UploadedFile, number: int, sequence: str, folder: Path) -> Path:
    """The upload as a file, named by its sequence unless the site keeps names."""
    from bmcore.reading.files import folder_name

    ending = ".nii.gz" if upload.name.lower().endswith(".gz") else ".nii"
    name = f"{sequence}{ending}"
    if settings().keep_names:
        name = folder_name(upload.name, "the name of the file")
    path = folder / str(number) / name
    path.parent.mkdir()
    path.write_bytes(upload.getvalue())
    return path
