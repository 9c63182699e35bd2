"""What the child process does for DICOM; see ``intake.child``. Plain values go in and come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path, PurePosixPath
from typing import Any

from bmcore.domain import InputRefused, refuse
from bmcore.intake.dicom import header, pixels

_ANSWER_BYTES = 2 * 2**20  # then the parent asks again for the rest
_MOST_BYTES = 3 * 2**20


Task = Callable[[Mapping[str, Any]], dict[str, Any]]


def _told(task: Task) -> Task:
    """Faults as a refusal: a traceback, which the parent would log, can hold a patient's data."""

    @wraps(task)
    def careful(job: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return task(job)
        except (InputRefused, MemoryError):
            raise
        except Exception as error:
            what, found = "the file is damaged and cannot be read", type(error).__name__
            raise refuse(what, found=found, hint="copy or export it again.") from None

    return careful


@_told
def headers_here(job: Mapping[str, Any]) -> dict[str, Any]:
    """A row for each of ``job["files"]``, or for the first of them where the answer grows long.

    A row holds the values of ``header.read_header``, or "other" (no DICOM) or "damaged" (why).
    """
    rows: list[dict[str, Any]] = []
    size = 0
    for name in job["files"]:
        row = _row(Path(name))
        length = len(json.dumps(row))
        if length > _MOST_BYTES:
            row, length = {"damaged": "its header is too long"}, 40
        if rows and size + length > _ANSWER_BYTES:
            break
        rows.append(row)
        size += length
    return {"rows": rows}


def _row(path: Path) -> dict[str, Any]:
    try:
        row = header.read_header(path)
    except header.NotDicom:
        return {"other": True}
    except header.Damaged as damage:
        return {"damaged": str(damage)}
    syntax = row["TransferSyntax"]
    if row["pixels"] and "fault" not in row["pixels"] and not pixels.can_decode(syntax):
        row["pixels"]["fault"] = "its pixels are in an encoding that is not read here"
    return row


@_told
def directory_here(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a DICOMDIR lists: for each image its path, as parts joined by "/", and its series."""
    from pydicom import config, dcmread

    config.settings.reading_validation_mode = config.IGNORE
    dataset = dcmread(job["path"], force=True)
    listed, series = [], ""
    for record in dataset.get("DirectoryRecordSequence") or []:
        kind = str(record.get("DirectoryRecordType", "")).strip()
        if kind == "SERIES":
            series = str(record.get("SeriesInstanceUID", ""))
        named = record.get("ReferencedFileID")
        if named:
            parts = [named] if isinstance(named, str) else [str(part) for part in named]
            listed.append([str(PurePosixPath(*parts)), series if kind == "IMAGE" else ""])
    return {"listed": listed[:20_000]}


@_told
def digests_here(job: Mapping[str, Any]) -> dict[str, Any]:
    """A hash of the pixels of each of ``job["pieces"]``."""
    return {"digests": [pixels.digest(piece) for piece in job["pieces"]]}


@_told
def voxels_here(job: Mapping[str, Any]) -> dict[str, Any]:
    """Write the voxels of ``job["pieces"]`` to ``job["out"]``."""
    return pixels.write_voxels(job["pieces"], Path(job["out"]))
