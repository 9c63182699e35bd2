"""The cases of one installation: a folder for each below ``HOME/cases``, never half there.

Images are written anew from their geometry and voxels, and a record names no file, so that nothing
of a patient's name comes along; where the site asks for it (``BMCORE_KEEP_NAMES``) the names of the
files are kept.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from nibabel.spatialimages import HeaderDataError

from bmcore import disk
from bmcore.domain import Case, ClinicalRecord, Finding, InputRefused, Severity, Volume, refuse
from bmcore.intake import case_names, gatekeeper, neutral, removal
from bmcore.intake.case_record import RECORD, CaseEntry, file_digest, read_record, write_record
from bmcore.intake.clean_file import content_digest, write_clean
from bmcore.intake.nifti import (
    Choice,
    Source,
    choose_files,
    clean_case_id,
    read_case,
    read_choice,
    write_volume,
)
from bmcore.plain import local_time
from bmcore.settings import settings

_TRACES = ("predictions", "drafts", "maps")
_STALE_S = 24 * 3600
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def add_case(
    home: Path,
    files: Source,
    case_id: str | None = None,
    clinical: ClinicalRecord | None = None,
    demo: bool = False,
    *,
    why: Mapping[str, str] | None = None,
    same_patient: bool = False,
    check: Callable[[Case], tuple[Finding, ...]] | None = None,
) -> CaseEntry:
    """Check the files as ``read_case`` does and keep their images below ``home/cases``.

    files: as for ``read_case``. case_id: where None, that of a public data set, else the next free
    number. why: sequence -> reason, where ``files`` is a mapping. same_patient: whoever
    brings them said that the files belong together, whatever their names. check: looks at the
    images; what it finds is kept with the case, what it raises stops it. The same images under the
    same id give the entry that is there; other images, or other clinical values, under an id in use
    raise InputRefused.
    """
    choice = choose_files(files, why=why, same_patient=same_patient)
    case = read_choice(choice, case_id, clinical)
    if check is not None:
        case = replace(case, findings=gatekeeper.collect(case.findings, check(case)))
    gatekeeper.stop(case.findings)
    with _draft(home) as draft:
        content = {n: write_clean(p, draft / f"{n}.nii.gz") for n, p in choice.files.items()}
        name = case.case_id if case_id or settings().keep_names else neutral.public_id(case.case_id)
        if name is not None:
            return _enter(_of_files(case, choice, name, draft.parent, demo), content, draft)
        with case_names.lock(home):
            name = _known_as(home, content) or next_id(home)
            return _enter(_of_files(case, choice, name, draft.parent, demo), content, draft)


def add_volumes(
    home: Path,
    case: Case,
    sources: Mapping[str, Mapping[str, str]] | None = None,
    *,
    case_id: str | None = None,
    names: Mapping[str, str] | None = None,
) -> CaseEntry:
    """Keep the images of ``case`` as they are in memory, for instance without the skull they had.

    Its findings must name no file. sources: sequence -> what may be stored of where it came from.
    case_id: the next free number where None. names: sequence -> its file's name, where they are
    kept. Images under an id in use are treated as ``add_case`` does.
    """
    gatekeeper.stop(case.findings)
    images = {**case.sequences}
    if case.truth is not None and case.truth.mask is not None:
        images["seg"] = case.truth.mask
    with _draft(home) as draft:
        content = {}
        for name, volume in images.items():
            written = write_volume(volume, draft / "made" / f"{name}.nii.gz", _dtype(volume))
            content[name] = write_clean(written, draft / f"{name}.nii.gz")
        shutil.rmtree(draft / "made")
        with case_names.lock(home):
            name = case_id or _known_as(home, content) or next_id(home)
            entry = CaseEntry(
                case_id=clean_case_id(name),
                folder=draft.parent / clean_case_id(name),
                sequences=tuple(case.sequences),
                clinical=case.clinical,
                findings=case.findings,
                demo=False,
                added=datetime.now(UTC).replace(microsecond=0),
                original_names=dict(names or {}) if settings().keep_names else {},
                sources=sources or {},
                origin=case.origin,
            )
            _check_opens({s: draft / f"{s}.nii.gz" for s in content}, entry)
            return _enter(entry, content, draft)


def _dtype(volume: Volume) -> npt.DTypeLike:
    return np.uint8 if np.asarray(volume.data).dtype == np.uint8 else np.float32


@contextmanager
def _draft(home: Path) -> Iterator[Path]:
    """A folder beside the cases to write a new one in; removed unless it was moved away."""
    cases = disk.private_folder(disk.open_home(Path(home)) / "cases")
    _sweep(cases)
    draft = cases / f".incoming-{uuid.uuid4().hex}"
    draft.mkdir(mode=disk.FOLDER_MODE)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def next_id(home: Path, also: Iterable[str] = ()) -> str:
    """A name for a new case that tells nothing of the patient: the next free case-0001 ...

    also: further ids in use, for instance those of the votes. The number of a case that was
    removed, or is being removed, stays in use.
    """
    there = {entry.case_id for entry in list_cases(home)} | traces(home)
    gone = {*case_names.reserved(home), *removal.in_between(home)}
    return neutral.next_id(there | gone | set(also))


def traces(home: Path) -> set[str]:
    """Ids of cases, here or not, that the models have read or that a reader has marked."""
    found = (p for name in _TRACES for p in disk.below(Path(home) / name))
    return {p.name for p in found if p.is_dir() and p.name[0] != "."}


def list_cases(home: Path) -> list[CaseEntry]:
    """All cases, oldest first; reads only the small records."""
    there = disk.below(Path(home) / "cases")
    found = (_entry_now(p) for p in there if p.is_dir() and not p.name.startswith("."))
    return sorted((e for e in found if e is not None), key=lambda e: (e.added, e.case_id))


def _entry_now(folder: Path) -> CaseEntry | None:
    """``any_entry``, read again only where the file system says that the record was written to."""
    try:
        at = (folder / RECORD).stat()
        return _entry_of(folder, at.st_ino, at.st_mtime_ns, at.st_ctime_ns, at.st_size)
    except (FileNotFoundError, InputRefused):
        return any_entry(folder)


@lru_cache(maxsize=20_000)
def _entry_of(folder: Path, *stamp: int) -> CaseEntry:
    return read_record(folder)


def any_entry(folder: Path) -> CaseEntry | None:
    """The entry of a case's folder, also where its record is damaged; None where it is gone."""
    try:
        return read_record(folder)
    except InputRefused as error:
        found = disk.stat_of(folder)
        if found is None:
            return None
        at = datetime.fromtimestamp(found.st_mtime, UTC)
        return CaseEntry(folder.name, folder, (), ClinicalRecord(), error.findings, False, at)


def find_entry(home: Path, case_id: str) -> CaseEntry | None:
    """The entry of a case, also where its record is damaged; None where there is no such case."""
    return _entry_now(Path(home) / "cases" / case_id) if _ID.fullmatch(case_id) else None


def record_stamps(home: Path) -> dict[str, str]:
    """{case: a text that changes when its record does}; reads no record."""
    stamps: dict[str, str] = {}
    try:
        with os.scandir(Path(home) / "cases") as folders:
            names = [f.name for f in folders if not f.name.startswith(".") and f.is_dir()]
    except FileNotFoundError:
        return stamps
    for name in names:
        try:
            found = os.stat(os.path.join(home, "cases", name, RECORD))  # noqa: PTH116,PTH118
            stamps[name] = f"{found.st_mtime_ns:x}-{found.st_size:x}"
        except FileNotFoundError:
            stamps[name] = "none"
    return stamps


def get_entry(home: Path, case_id: str) -> CaseEntry:
    """The entry of one case; InputRefused where there is none or its record is damaged."""
    folder = Path(home) / "cases" / case_id
    if not _ID.fullmatch(case_id) or not folder.is_dir():
        raise refuse(f"there is no case {case_id[:80]!r}", hint="choose a case of the work list.")
    return read_record(folder)


def load_case(home: Path, case_id: str) -> Case:
    """Read the images of a case again. InputRefused where a file was changed or is gone."""
    entry = get_entry(home, case_id)
    changed = [
        Finding(
            Severity.REFUSED,
            "the stored file was changed or is gone",
            name,
            hint="remove the case and add it again.",
        )
        for name, digest in entry.sha256.items()
        if not (entry.folder / name).is_file() or file_digest(entry.folder / name) != digest
    ]
    if changed:
        raise InputRefused(*changed)
    case = read_case(entry.files, case_id, entry.clinical, own=True)
    doubt = case.side_doubt if entry.origin is None else entry.origin.side_doubt
    truth = case.truth
    if truth is not None and entry.reference:
        told = f"brought by {entry.reference['by']}, SHA-256 {entry.reference['sha256']}"
        truth = replace(truth, provenance=told)
    found = replace(case, findings=entry.findings, origin=entry.origin, side_doubt=doubt)
    return replace(found, truth=truth)


def images_on_disk(home: Path, case_id: str) -> str:
    """As ``CaseEntry.images_sha256``, but of the files as they are now; "" for a missing one."""
    entry = get_entry(home, case_id)
    there = {n: entry.files.get(n) for n in entry.sequences}
    images = {n: p for n, p in there.items() if p is not None}
    if entry.content_sha256:
        content = {n: _digest_now(images.get(n), content_digest) for n in there}
        return replace(entry, content_sha256=content).images_sha256
    files = {p.name: _digest_now(p, file_digest) for p in images.values()}
    return replace(entry, sha256=files).images_sha256


def _digest_now(path: Path | None, of: Callable[[Path], str]) -> str:
    """A digest of the file, worked out again only where the file system says that it was written
    to; "" where it is missing or can no longer be read."""
    try:
        at = path.stat() if path is not None else None
    except FileNotFoundError:
        at = None
    if path is None or at is None:
        return ""
    return _digest_of(path, of, at.st_ino, at.st_mtime_ns, at.st_ctime_ns, at.st_size)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, of: Callable[[Path], str], *stamp: int) -> str:
    try:
        return of(path)
    except (OSError, EOFError, ValueError, zlib.error, HeaderDataError):
        return ""  # no longer an image: another digest than the one in the record


def update_clinical(home: Path, case_id: str, record: ClinicalRecord) -> CaseEntry:
    """Replace the clinical record of a case."""
    with changing(home):
        entry = replace(get_entry(home, case_id), clinical=record)
        write_record(entry, entry.folder)
    return entry


def changing(home: Path) -> FileLock:
    """Held from reading the record of a case until it is written again."""
    return FileLock(Path(home) / "case-records.lock", mode=disk.FILE_MODE)


def _enter(entry: CaseEntry, content: Mapping[str, str], draft: Path) -> CaseEntry:
    """Name the files in ``draft`` as the entry says and move it into the library; the entry as it
    is there."""
    name = entry.case_id
    for sequence in content:
        (draft / f"{sequence}.nii.gz").rename(draft / f"{name}-{sequence}.nii.gz")
    entry = replace(
        entry,
        sha256={p.name: file_digest(p) for p in (draft / f"{name}-{n}.nii.gz" for n in content)},
        content_sha256=content,
    )
    write_record(entry, draft)
    case_names.check(draft.parent.parent, name, entry.images_sha256)
    try:
        disk.move_in(draft, entry.folder)
    except OSError:
        if not entry.folder.exists():
            raise
        return _already_there(entry)
    return entry


def _check_opens(files: Mapping[str, Path], entry: CaseEntry) -> None:
    """InputRefused for what ``load_case`` could not open."""
    try:
        read_case(files, entry.case_id, entry.clinical, own=True)
    except InputRefused as error:
        sequences = {path.name: sequence for sequence, path in files.items()}
        raise InputRefused(*gatekeeper.as_named(error.findings, sequences)) from error


def _of_files(case: Case, choice: Choice, name: str, cases: Path, demo: bool) -> CaseEntry:
    """The entry of images that were brought as files."""
    keep = settings().keep_names
    findings = case.findings if keep else neutral.without_names(case, choice, name).findings
    return CaseEntry(
        case_id=name,
        folder=cases / name,
        sequences=tuple(case.sequences),
        clinical=case.clinical,
        findings=findings,
        demo=demo,
        added=datetime.now(UTC).replace(microsecond=0),
        original_names={n: p.name for n, p in choice.files.items()} if keep else {},
        sources=neutral.sources(choice),
    )


def _known_as(home: Path, content: Mapping[str, str]) -> str | None:
    """The name under which these images are in the library already."""
    return next((e.case_id for e in list_cases(home) if e.content_sha256 == content), None)


def _already_there(entry: CaseEntry) -> CaseEntry:
    there = read_record(entry.folder)
    if _content(there) != entry.content_sha256:
        raise refuse(
            f"there is already a case {entry.case_id} with other images",
            found=f"{len(there.sha256)} files added {local_time(there.added)}",
            expected="an id that is not in use",
            hint="give the new case another id.",
        )
    nothing_new = entry.clinical in (there.clinical, ClinicalRecord())
    if nothing_new or entry.demo:
        return there
    raise refuse(
        f"there is already a case {entry.case_id} with the same images and other clinical values",
        hint="change the clinical values of the case that is there.",
    )


def _content(entry: CaseEntry) -> Mapping[str, str]:
    """``content_sha256``, worked out where an earlier version added the case."""
    return entry.content_sha256 or {n: content_digest(path) for n, path in entry.files.items()}


def without_names(entry: CaseEntry, work: Path) -> CaseEntry:
    """The entry as it may leave the site: images only, no reference mask, no name of a file.

    Images that an earlier version copied as they came are written anew below ``work``.
    """
    images = {n: path for n, path in entry.files.items() if n != "seg"}
    findings = neutral.old_findings(entry.findings, entry.original_names)
    if not entry.content_sha256:
        folder = disk.private_folder(work / entry.case_id)
        old, images = images, {n: folder / path.name for n, path in images.items()}
        content = {n: write_clean(path, images[n]) for n, path in old.items()}
        digests = {path.name: file_digest(path) for path in images.values()}
        entry = replace(entry, folder=folder, content_sha256=content, sha256=digests)
    return replace(
        entry,
        findings=findings,
        original_names={n: path.name for n, path in images.items()},  # earlier versions read it
        sha256={path.name: entry.sha256[path.name] for path in images.values()},
        content_sha256={n: entry.content_sha256[n] for n in images},
        sources={},
        reference={},
    )


def _sweep(cases: Path) -> None:
    """Remove drafts that a killed process left behind a day ago or earlier."""
    for draft in cases.glob(".incoming-*"):
        found = disk.stat_of(draft)  # None: whoever wrote it has just moved it to its place
        if found is not None and time.time() - found.st_mtime > _STALE_S:
            shutil.rmtree(draft, ignore_errors=True)
