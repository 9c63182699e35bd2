"""The cases of one installation: a folder for each below ``HOME/cases``, never half there."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from bmcore.domain import (
    SEQUENCES,
    Case,
    ClinicalRecord,
    Finding,
    InputRefused,
    Severity,
    refuse,
)
from bmcore.intake.nifti import Source, choose_files, read_case
from bmcore.plain import load_json

_FORMAT = 1
_RECORD = "case.json"
_STALE_S = 24 * 3600


@dataclass(frozen=True)
class CaseEntry:
    """What the work list needs of a case; no image is read for it.

    sequences: those that are there. added: UTC. original_names: sequence (or "seg") -> name of the
    file as it was given. sha256: file in ``folder`` -> digest. An entry whose record on disk is
    damaged has no sequences and one REFUSED finding.
    """

    case_id: str
    folder: Path
    sequences: tuple[str, ...]
    clinical: ClinicalRecord
    findings: tuple[Finding, ...]
    demo: bool
    added: datetime
    original_names: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def pseudonym(self) -> str:
        return self.case_id

    @property
    def has_reference_mask(self) -> bool:
        return "seg" in self.original_names

    @property
    def images_sha256(self) -> str:
        """SHA-256 (hex) over the stored hashes of the sequences; the reference mask is left out."""
        images = {n: self.sha256.get(f"{self.case_id}-{n}.nii.gz", "") for n in self.sequences}
        text = json.dumps(images, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def readable(self) -> bool:
        return bool(self.sequences)


def add_case(
    home: Path,
    files: Source,
    case_id: str | None = None,
    clinical: ClinicalRecord | None = None,
    demo: bool = False,
) -> CaseEntry:
    """Check the files as ``read_case`` does and keep a copy below ``home/cases``.

    files: as for ``read_case``. The same files under the same id give the entry that is there;
    other files, or other clinical values, under an id in use raise InputRefused.
    """
    case = read_case(files, case_id, clinical)
    choice = choose_files(files)
    cases = Path(home) / "cases"
    cases.mkdir(parents=True, exist_ok=True)
    _sweep(cases)
    draft = cases / f".incoming-{uuid.uuid4().hex}"
    draft.mkdir()
    try:
        digests = {}
        for name, path in choice.files.items():
            target = draft / f"{case.case_id}-{name}.nii.gz"
            _copy_zipped(path, target)
            digests[target.name] = _digest(target)
        entry = CaseEntry(
            case_id=case.case_id,
            folder=cases / case.case_id,
            sequences=tuple(case.sequences),
            clinical=case.clinical,
            findings=case.findings,
            demo=demo,
            added=datetime.now(UTC).replace(microsecond=0),
            original_names={n: p.name for n, p in choice.files.items()},
            sha256=digests,
        )
        _write_record(entry, draft)
        try:
            draft.rename(entry.folder)
        except OSError:
            if not entry.folder.exists():
                raise
            return _already_there(entry)
        return entry
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def list_cases(home: Path) -> list[CaseEntry]:
    """All cases, oldest first; reads only the small records."""
    cases = Path(home) / "cases"
    if not cases.is_dir():
        return []
    folders = [p for p in cases.iterdir() if p.is_dir() and not p.name.startswith(".")]
    entries = []
    for folder in folders:
        try:
            entries.append(_read_record(folder))
        except InputRefused as error:
            at = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
            nothing = ClinicalRecord()
            entries.append(CaseEntry(folder.name, folder, (), nothing, error.findings, False, at))
    return sorted(entries, key=lambda e: (e.added, e.case_id))


def get_entry(home: Path, case_id: str) -> CaseEntry:
    """The entry of one case; InputRefused where there is none or its record is damaged."""
    folder = Path(home) / "cases" / case_id
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", case_id)
    if plain is None or not folder.is_dir():
        raise refuse(f"there is no case {case_id[:80]!r}", hint="choose a case of the work list.")
    return _read_record(folder)


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
        if not (entry.folder / name).is_file() or _digest(entry.folder / name) != digest
    ]
    if changed:
        raise InputRefused(*changed)
    files = {n: entry.folder / f"{case_id}-{n}.nii.gz" for n in entry.original_names}
    case = read_case(files, case_id, entry.clinical, own=True)
    return replace(case, findings=entry.findings)


def images_on_disk(home: Path, case_id: str) -> str:
    """As ``CaseEntry.images_sha256``, but of the files as they are now; "" for a missing one."""
    entry = get_entry(home, case_id)
    found = {
        name: _digest_now(entry.folder / name) if (entry.folder / name).is_file() else ""
        for name in entry.sha256
    }
    return replace(entry, sha256=found).images_sha256


def _digest_now(path: Path) -> str:
    """The file's hash; computed again only where the file system says that it was written to."""
    at = path.stat()
    return _digest_of(path, at.st_ino, at.st_mtime_ns, at.st_ctime_ns, at.st_size)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, *stamp: int) -> str:
    return _digest(path)


def update_clinical(home: Path, case_id: str, record: ClinicalRecord) -> CaseEntry:
    """Replace the clinical record of a case."""
    entry = replace(get_entry(home, case_id), clinical=record)
    _write_record(entry, entry.folder)
    return entry


def _already_there(entry: CaseEntry) -> CaseEntry:
    there = _read_record(entry.folder)
    if there.sha256 != entry.sha256:
        raise refuse(
            f"there is already a case {entry.case_id} with other images",
            found=f"{len(there.sha256)} files added {there.added:%Y-%m-%d %H:%M} UTC",
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


def _copy_zipped(source: Path, target: Path) -> None:
    """Copy as gzip. Compressed anew only where the source is not gzip; same bytes every time."""
    with source.open("rb") as plain:
        zipped = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        with target.open("wb") as out:
            if zipped:
                shutil.copyfileobj(plain, out)
                return
            with gzip.GzipFile("", "wb", 6, out, mtime=0) as packer:
                shutil.copyfileobj(plain, packer)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_record(entry: CaseEntry, folder: Path) -> None:
    record = {
        "format": _FORMAT,
        "pseudonym": entry.pseudonym,
        "sequences": list(entry.sequences),
        "clinical": asdict(entry.clinical),
        "findings": [asdict(f) for f in entry.findings],
        "demo": entry.demo,
        "added": entry.added.isoformat(),
        "original_names": dict(entry.original_names),
        "sha256": dict(entry.sha256),
    }
    beside = folder / f".{_RECORD}.{uuid.uuid4().hex}"
    try:
        beside.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        beside.replace(folder / _RECORD)
    finally:
        beside.unlink(missing_ok=True)


def _read_record(folder: Path) -> CaseEntry:
    try:
        record = load_json(folder / _RECORD)
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']}, but this version reads {_FORMAT}")
        if record["pseudonym"] != folder.name:
            raise ValueError(f"it belongs to case {record['pseudonym']}")
        return CaseEntry(
            case_id=folder.name,
            folder=folder,
            sequences=tuple(s for s in SEQUENCES if s in record["sequences"]),
            clinical=ClinicalRecord(**record["clinical"]),
            findings=tuple(
                Finding(**{**f, "severity": Severity(f["severity"])}) for f in record["findings"]
            ),
            demo=bool(record["demo"]),
            added=datetime.fromisoformat(record["added"]).astimezone(UTC),
            original_names=record["original_names"],
            sha256=record["sha256"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise refuse(
            "the record of the case is damaged",
            file=f"{folder.name}/{_RECORD}",
            found=f"{type(error).__name__}: {error}"[:160],
            hint="remove the folder of the case and add the case again.",
        ) from error


def _sweep(cases: Path) -> None:
    """Remove drafts that a killed process left behind a day ago or earlier."""
    for draft in cases.glob(".incoming-*"):
        if draft.is_dir() and time.time() - draft.stat().st_mtime > _STALE_S:
            shutil.rmtree(draft, ignore_errors=True)
