"""The form that adds a case: files, which sequence each is, the clinical record."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from bmcore.domain import (
    SEQUENCE_NAMES,
    SEQUENCES,
    Case,
    ClinicalRecord,
    Finding,
    Severity,
    refuse,
)
from bmcore.intake import child, gatekeeper
from bmcore.intake.belongs import different_people, said_to_belong
from bmcore.intake.sequence_name import ASIDE, Proposal
from bmcore.settings import settings
from pages.parts import loaders
from pages.parts.access.guard import error_boundary, named
from pages.parts.case import clinical_form
from pages.parts.words import escaped

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

MOST_FILES = 12
SKIP = "leave out"


def add_case_form() -> None:
    """Draw the form; on success the Review page opens with the new case."""
    uploads = st.file_uploader(
        "Two to four NIfTI files (.nii, .nii.gz) of one patient, T1 post-gadolinium among them. "
        "For DICOM, a zip or a folder use the tab “Scans of any kind”.",
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
            "position in space are kept: no file names, no text from headers. Text burnt into an "
            "image stays in it."
            if not settings().keep_names
            else "All files must lie on one grid (registered to each other). This site keeps the "
            "names of the files: remove patients' names from them before you upload."
        )
        return
    child.warm()
    chosen = _sequences(uploads)
    together = _belong(uploads, chosen)
    name = st.text_input("Name of the case (a pseudonym)", _suggested_name(uploads), max_chars=64)
    record, read_as = clinical_form.draw(name)
    looked = _looked(uploads)
    if st.button("Add case", type="primary", key="add_case", disabled=not together):
        with error_boundary():
            _store(uploads, chosen, name, record, _Said(read_as, looked))


@dataclass(frozen=True)
class _Said:
    """How the table was read, and whether doubts about the pictures were looked at."""

    read_as: tuple[Finding, ...]
    looked: bool


def _belong(uploads: Sequence[UploadedFile], chosen: dict[int, str]) -> bool:
    """False while names point at different patients or dates and nobody said otherwise."""
    used = [Path(uploads[n].name) for n, s in chosen.items() if s not in ("", SKIP)]
    apart = different_people(used)
    if apart is None:
        return True
    st.warning(escaped(f"{apart.what[:1].upper()}{apart.what[1:]}: {apart.found}."))
    return st.checkbox("All these files are of one patient at one time point", key="same_patient")


def _looked(uploads: Sequence[UploadedFile]) -> bool:
    """The doubts about the pictures of these files, with a box; True once it is ticked."""
    doubts = st.session_state.get(_doubts_key(uploads), ())
    if not doubts:
        return False
    st.warning("The images raise doubts. Look at them before adding the case.")
    st.text("\n".join(doubts))
    return st.checkbox("I have looked at the images: add the case with these notes", key="looked")


def _doubts_key(uploads: Sequence[UploadedFile]) -> str:
    return "doubts " + " ".join(sorted(u.file_id for u in uploads))


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
    """A select box a file, set to the guess, with its reason; unset where the name leaves a doubt.
    The position of each file to its sequence."""
    proposals = _proposals(uploads)
    st.caption("Check which sequence each file is; names only suggest it.")
    options = [*SEQUENCES, SKIP]
    chosen = {}
    columns = st.columns(max(4, len(uploads)))
    for number, upload in enumerate(uploads):
        sequence, _, reason = proposals[upload.name]
        guess = {ASIDE: SKIP}.get(sequence or "", sequence)
        answer = columns[number].selectbox(
            escaped(upload.name),
            options,
            index=options.index(guess) if guess else None,
            format_func=lambda s: SEQUENCE_NAMES.get(s, "Leave this file out"),
            placeholder="Please choose",
            key=f"sequence {upload.file_id}",
        )
        if not answer:
            columns[number].caption(f"**Please choose:** its name {escaped(reason)}")
        else:
            columns[number].caption(escaped(_reason(answer, guess, reason)))
        chosen[number] = answer or ""
    return chosen


def _proposals(uploads: Sequence[UploadedFile]) -> dict[str, Proposal]:
    """What the names propose; where two files are proposed for one sequence, both are left open."""
    from bmcore.intake.naming import propose_all

    found = propose_all([u.name for u in uploads])
    told = [p.sequence for p in found.values()]
    return {
        name: Proposal(None, 0.0, f"{p.reason}, as another one does")
        if p.sequence in SEQUENCES and told.count(p.sequence) > 1
        else p
        for name, p in found.items()
    }


def _reason(answer: str, guess: str | None, reason: str) -> str:
    return f"Its name {reason}." if answer == guess else "Chosen by hand."


def _store(
    uploads: Sequence[UploadedFile],
    chosen: dict[int, str],
    name: str,
    record: ClinicalRecord | None,
    said: _Said,
) -> None:
    """Check the choices, add the case and open it."""
    from bmcore.imaging.preprocess import inspect
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
        files, names, why = {}, {}, {}
        proposals = _proposals(uploads)
        for number, sequence in used.items():
            files[sequence] = _as_file(uploads[number], number, sequence, Path(folder))
            names[files[sequence].name] = names[sequence] = uploads[number].name
            guess, _, reason = proposals[uploads[number].name]
            why[sequence] = f"its name {reason}" if guess == sequence else "chosen by hand"

        def check(case: Case) -> tuple[Finding, ...]:
            found = inspect(case)
            doubts = [f for f in found if f.severity is Severity.WARNING]
            if doubts and not said.looked:
                told = gatekeeper.as_named(doubts, names)
                st.session_state[_doubts_key(uploads)] = [f.sentence for f in told]
                st.rerun()
            belong = different_people(Path(uploads[n].name) for n in used)
            own = () if belong is None else (said_to_belong(belong),)
            return (*found, *own, *said.read_as)

        with named(names):
            entry = library.add_case(
                loaders.home(), files, name.strip(), record, why=why, check=check
            )
    loaders.case_added()
    st.switch_page("pages/review.py", query_params={"case": entry.case_id})


def _as_file(upload: UploadedFile, number: int, sequence: str, folder: Path) -> Path:
    """The upload as a file, named by its sequence unless the site keeps names."""
    from bmcore.inference.files import folder_name

    ending = ".nii.gz" if upload.name.lower().endswith(".gz") else ".nii"
    name = f"{sequence}{ending}"
    if settings().keep_names:
        name = folder_name(upload.name, "the name of the file")
    path = folder / str(number) / name
    path.parent.mkdir()
    path.write_bytes(upload.getvalue())
    return path
