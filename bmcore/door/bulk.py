"""A folder of patients: first a preview of every examination in it, then cases, one by one.

What is wrong with one patient stops no other. A journal in ``HOME/imports`` remembers, by a keyed
hash and without a name, what has become which case, so that an import that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bmcore import disk
from bmcore.domain import (
    SEQUENCES,
    BmcoreError,
    ClinicalRecord,
    Finding,
    refuse,
)
from bmcore.door import take
from bmcore.door.found import ExaminationRow, faults
from bmcore.door.look import look, opened
from bmcore.intake import gatekeeper, layouts, library
from bmcore.intake.clinical import ClinicalTable
from bmcore.intake.dicom.deidentify import pseudonyms_of
from bmcore.intake.dicom.files import is_archive
from bmcore.intake.layouts import LayoutCase
from bmcore.intake.neutral import public_id
from bmcore.intake.nifti import choose_files, read_raw
from bmcore.intake.nifti_file import is_nifti
from bmcore.intake.raw import RawStudy
from bmcore.plain import load_json

NEW, THERE, ASKS, REFUSED = "new", "in the library", "asks", "refused"


@dataclass(frozen=True)
class Item:
    """One entry of the folder. case: where a layout says which file is what."""

    name: str
    path: Path
    case: LayoutCase | None = None


@dataclass(frozen=True)
class Row:
    """One examination in the preview.

    state: NEW, THERE (with its case_id), ASKS (a sequence is not sure) or REFUSED. series:
    sequence -> label, or file of a layout. joined: how the record was found, in words. said: what
    was noticed or asked, a sentence each. key: of the journal.
    """

    item: Item
    state: str
    patient: str = ""
    study: str | None = None
    series: Mapping[str, str] = field(default_factory=dict)
    case_id: str = ""
    record: ClinicalRecord = field(default_factory=ClinicalRecord)
    joined: str = ""
    said: tuple[str, ...] = ()
    key: str = ""

    @property
    def sequences(self) -> tuple[str, ...]:
        return tuple(name for name in SEQUENCES if name in self.series)


@dataclass(frozen=True)
class Wishes:
    """How to read a folder. layout: its name, None to find out. convention: of labels of masks.
    likeliest: take the likeliest series where one is not sure, instead of leaving the case."""

    layout: str | None = None
    convention: str = ""
    likeliest: bool = False


# --- the preview ---------------------------------------------------------------------------------


def items(folder: Path, layout: str | None = None) -> tuple[str, list[Item]]:
    """(name of the layout or "", the entries): cases of a layout, else folders and archives.

    InputRefused where the folder is not there or holds neither.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise refuse("the folder is not there", file=folder, hint="check the path.")
    recognised = (layout, layouts.find(folder, layout)) if layout else layouts.recognise(folder)
    if recognised is not None:
        return recognised[0], [Item(c.own_id, folder / c.own_id, c) for c in recognised[1]]
    there = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and not p.is_symlink())
    below = [p for p in there if p.is_dir() or is_archive(p)]
    loose = [p for p in there if p.is_file() and p not in below]
    if loose and (not below or any(is_nifti(p) or _looks_dicom(p) for p in loose)):
        return "", [Item(folder.resolve().name, folder)]  # one patient, whose files lie here
    if not below:
        raise refuse(
            "the folder holds no patient",
            file=folder,
            found="nothing" if not there else f"{len(there)} other files",
            expected="a folder or a zip for each patient, or a data set in a layout that is known",
        )
    return "", [Item(path.name, path) for path in below]


def _looks_dicom(path: Path) -> bool:
    from bmcore.intake.dicom import holds_dicom

    return path.name.upper() == "DICOMDIR" or holds_dicom([path])


def preview(home: Path, item: Item, table: ClinicalTable | None, wishes: Wishes) -> Iterator[Row]:
    """The examinations of one entry; what cannot be read is one row with the reasons."""
    try:
        rows = list(_rows(home, item, wishes))
    except BmcoreError as error:
        yield Row(item, REFUSED, said=tuple(f.sentence for f in error.findings))
        return
    for row in rows:
        yield _joined(row, table) if row.state != REFUSED else row


def _rows(home: Path, item: Item, wishes: Wishes) -> Iterator[Row]:
    if item.case is not None:
        yield _of_layout(home, item, item.case)
        return
    found = look([item.path], home=home)
    stamp = _stamp(item.path)
    single = [e for e in found.examinations if "+" not in e.label]
    several = [e for e in single if e.proposed] or single
    for examination in several:
        key = _key(home, stamp, examination.case_id or examination.label)
        yield _of_examination(home, item, examination, key, wishes)


def _of_layout(home: Path, item: Item, case: LayoutCase) -> Row:
    stamp = "\0".join(f"{kind}:{_stamp(path)}" for kind, path in sorted(case.files.items()))
    key = _key(home, case.own_id, stamp)
    said = tuple(note.sentence for note in case.notes)
    series = {kind: path.name for kind, path in case.files.items()}
    row = Row(item, NEW, case.patient, None, series, public_id(case.own_id) or "", said=said,
              key=key)  # fmt: skip
    if "t1c" not in case.files:
        what = "there is no T1 after contrast, and nothing can be said without it."
        return replace(row, state=REFUSED, said=(what, *said))
    return known(home, row)


def _of_examination(home: Path, item: Item, found: ExaminationRow, key: str, wishes: Wishes) -> Row:
    rows = {name: found.row(label) for name, label in found.proposed.items()}
    usable = {name: row.label for name, row in rows.items() if row is not None and row.usable}
    broken = tuple(
        f"{row.name} was left out: {'; '.join(row.problems) or row.reason}."
        for name, row in rows.items()
        if row is not None and name not in usable
    )
    made = Row(item, NEW, found.patient, found.label, usable, found.case_id, key=key)
    made = replace(made, said=(*broken, *found.notes))
    wrong = faults(found, usable)
    if wrong:
        return replace(made, state=REFUSED, said=(*wrong, *made.said))
    asked = tuple(q for name, q in found.questions.items() if name in usable)
    if asked and not wishes.likeliest:
        return known(home, replace(made, state=ASKS, said=(*asked, *made.said)))
    taken = tuple(f"Taken as the most likely: {question}" for question in asked)
    return known(home, replace(made, said=(*taken, *made.said)))


def known(home: Path, row: Row) -> Row:
    """The row as THERE where the journal or the library has it."""
    before = _journal(home, row.key)
    there = {entry.case_id for entry in library.list_cases(home)}
    case_id = before if before in there else row.case_id if row.case_id in there else ""
    return replace(row, state=THERE, case_id=case_id) if case_id else row


def _joined(row: Row, table: ClinicalTable | None) -> Row:
    """With the clinical record of exactly one of its ids."""
    if table is None:
        return row
    case = row.item.case
    plain = row.patient.removeprefix("patient ")
    ids = [plain, row.item.name, row.case_id, *((case.own_id, *case.ids) if case else ())]
    own = {i: table.record_for(i) for i in dict.fromkeys(ids) if i}
    found = {i: record for i, record in own.items() if record is not None}
    if not found:
        return replace(row, joined="no row of the table")
    if len(set(found.values())) > 1:
        words = f"two rows of the table fit: {' and '.join(found)}"
        return replace(row, state=ASKS, joined=words, said=(f"{words}.", *row.said))
    name = next(iter(found))
    return replace(row, record=found[name], joined=f"row of {name}")


def without_doubles(rows: Iterable[Row]) -> list[Row]:
    """Of rows that are one examination, the first stays; the others say where it is."""
    first: dict[str, Row] = {}
    kept = []
    for row in rows:
        twin = first.get(row.case_id) if row.case_id else None
        if twin is not None and row.state in (NEW, THERE) and twin.state in (NEW, THERE):
            said = f"The same examination lies in {twin.item.name}; it is brought in once."
            row = replace(row, state=THERE, said=(said, *row.said))
        elif row.case_id and row.state in (NEW, THERE):
            first[row.case_id] = row
        kept.append(row)
    return kept


def check_table(table: ClinicalTable) -> None:
    """InputRefused for a table whose rows name no case: its record would go to every patient."""
    if any(key.startswith("row-") for key in table.records):
        raise refuse(
            "the clinical table does not say which row is whose",
            expected="a column with the id of the patient, the folder or the case",
            hint="add that column, headed case_id.",
        )


# --- the import ----------------------------------------------------------------------------------


def bring(
    home: Path, row: Row, wishes: Wishes, on_step: Callable[[str, float], None] | None = None
) -> str:
    """Make a case of a row of the preview; its id. InputRefused with the reasons."""
    from bmcore.imaging import preprocess
    from bmcore.inference import admission

    tell = on_step or (lambda words, fraction: None)
    tell("Reading the images", 0.0)
    raw = _raw(home, row, wishes)
    made = admission.admit(raw, row.record, home, tell)
    doubts = preprocess.inspect(made.case)
    findings = gatekeeper.collect(made.case.findings, doubts, _kept(row))
    gatekeeper.stop(findings)
    tell("Storing the images", 0.97)
    case = replace(made.case, findings=findings)
    entry = library.add_volumes(home, case, raw.technical, case_id=row.case_id or None)
    _remember(home, row.key, entry.case_id)
    return entry.case_id


def _raw(home: Path, row: Row, wishes: Wishes) -> RawStudy:
    case = row.item.case
    if case is None:
        with opened([row.item.path]) as brought:
            return take.raw(brought, row.series, row.study, home)[0]
    why = {name: "by the layout of the data set" for name in case.files if name in SEQUENCES}
    choice = choose_files(case.files, why=why)
    return read_raw(choice, own=True, convention=wishes.convention or case.mask)


def _kept(row: Row) -> Iterable[Finding]:
    """What a layout says of a case, without its id."""
    notes = row.item.case.notes if row.item.case is not None else ()
    return (replace(note, file=None, found=None) for note in notes)


# --- the journal ---------------------------------------------------------------------------------


def _stamp(path: Path) -> str:
    """A text that changes when a file, or any file below a folder, does."""
    found = disk.stat_of(path)
    if found is not None and stat.S_ISREG(found.st_mode):
        return f"{path.name}:{found.st_size}:{found.st_mtime_ns}"
    digest = hashlib.sha256(path.name.encode())
    for place, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            own = Path(place, name)
            if not own.is_symlink():
                told = disk.stat_of(own)
                if told is None:
                    continue  # taken away while the folder was read; the next look tells
                line = f"{own.relative_to(path)}:{told.st_size}:{told.st_mtime_ns}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _key(home: Path, *parts: str) -> str:
    return pseudonyms_of(home).mark("import", "\0".join(parts))


def _journal(home: Path, key: str) -> str | None:
    path = Path(home) / "imports" / f"{key}.json"
    try:
        return str(load_json(path)["case"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # never imported, or a journal that was cut off: it is done again


def _remember(home: Path, key: str, case_id: str) -> None:
    folder = disk.private_folder(Path(home) / "imports")
    disk.write(folder / f"{key}.json", json.dumps({"case": case_id}))
