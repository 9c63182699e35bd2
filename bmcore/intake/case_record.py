"""The record of a case in the library: ``case.json`` and what the work list needs of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bmcore import disk
from bmcore.domain import SEQUENCES, ClinicalRecord, Finding, Severity, refuse
from bmcore.origin import Origin
from bmcore.plain import load_json

_FORMAT = 1
RECORD = "case.json"


@dataclass(frozen=True)
class CaseEntry:
    """What the work list needs of a case; no image is read for it.

    sequences: those that are there. added: UTC. sha256: file in ``folder`` -> digest.
    content_sha256: sequence (or "seg") -> digest of the image before gzip, the same at every site;
    empty in a case that an earlier version added. sources: sequence -> which file it was ("file 2
    of 5") and that file's digest. original_names: sequence -> its name, where names are kept.
    origin: where the images lay before they were brought onto one grid without skull, if they were.
    reference: of a reference mask that was brought after the case, see ``reference_mask``: which
    file it is ("suffix"), its hash, by whom, when, and those that it replaced.
    An entry whose record on disk is damaged has no sequences and one REFUSED finding.
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
    content_sha256: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    origin: Origin | None = None
    reference: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pseudonym(self) -> str:
        return self.case_id

    @property
    def date_shifted(self) -> str:
        """The day of the examination (ISO), moved as all of this patient; "" where none is kept."""
        return next((s["date_shifted"] for s in self.sources.values() if "date_shifted" in s), "")

    @property
    def has_reference_mask(self) -> bool:
        return "seg" in self.files

    @property
    def files(self) -> dict[str, Path]:
        """Sequence, or "seg" for the reference mask, -> its file."""
        names = {n: f"{self.case_id}-{n}.nii.gz" for n in (*SEQUENCES, "seg")}
        if self.reference:
            names["seg"] = f"{self.case_id}-{self.reference['suffix']}.nii.gz"
        return {n: self.folder / name for n, name in names.items() if name in self.sha256}

    @property
    def images_sha256(self) -> str:
        """SHA-256 (hex) over the digests of the sequences; the reference mask is left out.

        The same images give the same one at every site. A case that an earlier version added has
        no digests of its images, and that of its files stands in.
        """
        stored = {n: self.sha256.get(f"{self.case_id}-{n}.nii.gz", "") for n in self.sequences}
        images = {n: self.content_sha256.get(n, digest) for n, digest in stored.items()}
        text = json.dumps(images, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def readable(self) -> bool:
        return bool(self.sequences)


def write_record(entry: CaseEntry, folder: Path) -> None:
    disk.write(folder / RECORD, record_text(entry))


def record_text(entry: CaseEntry) -> str:
    """The record of a case as it stands in ``case.json``."""
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
        "content_sha256": dict(entry.content_sha256),
        "sources": {name: dict(source) for name, source in entry.sources.items()},
        "origin": None if entry.origin is None else entry.origin.as_dict(),
        **({"reference": dict(entry.reference)} if entry.reference else {}),
    }
    return json.dumps(record, indent=1, ensure_ascii=False)


def read_record(folder: Path) -> CaseEntry:
    try:
        record = load_json(folder / RECORD)
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
            content_sha256=record.get("content_sha256", {}),  # absent in an earlier version's
            sources=record.get("sources", {}),
            origin=None if record.get("origin") is None else Origin.from_dict(record["origin"]),
            reference=_reference(record.get("reference", {})),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise refuse(
            "the record of the case is damaged",
            file=f"{folder.name}/{RECORD}",
            found=f"{type(error).__name__}: {error}"[:160],
            hint="remove the folder of the case and add the case again.",
        ) from error


def _reference(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """ValueError where the name of a file in it is none of ours."""
    if found and not re.fullmatch("seg-[0-9a-f]{16}", str(found["suffix"])):
        raise ValueError(f"a reference mask of suffix {found['suffix']!r}")
    return found


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
