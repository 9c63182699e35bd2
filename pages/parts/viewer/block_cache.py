"""Image blocks and thumbnails on disk, so that a case opens without decompressing its files.

They lie in ``HOME/cache/viewer/CASE``. A name holds the hash of the file that a block was made from
as the case knows it, and the file's time and size: another file gives another name. Everything here
can be deleted at any time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bmcore import disk
from bmcore.domain import Volume, refuse
from pages.parts.viewer import payload

if TYPE_CHECKING:
    from bmcore.intake.library import CaseEntry

_FORMAT = 2  # a new number makes every stored block anew
THUMB_PIXELS = 96
_PREVIEW = "preview"


def images(home: Path, entry: CaseEntry) -> payload.Images:
    """The images of a case; makes the block of t1c where it is not there yet.

    InputRefused where a file is missing, damaged or not the one that was added.
    """
    source = payload.read_header(block(home, entry, "t1c"))["source"]
    return payload.Images(
        entry.case_id,
        {s: _block_id(entry, s) for s in entry.sequences},
        tuple(source["shape"]),
        np.array(source["affine"], float),
        lambda sequence: block(home, entry, sequence),
        lambda: _preview(home, entry),
    )


def block(home: Path, entry: CaseEntry, sequence: str) -> bytes:
    """The block of one sequence, from disk or made now and kept."""
    path = _path(home, entry, sequence)
    kept = disk.content_of(path)
    if kept is not None:
        return kept
    volume = _read(entry, sequence)
    made, preview = payload.image_blocks(
        volume, sequence, _block_id(entry, sequence), with_grid=True
    )
    if sequence == "t1c":
        if preview is not None:
            _write(_path(home, entry, _PREVIEW), preview)
        _write(_thumb(home, entry), _picture(volume))
    _write(path, made)
    return made


def ensure(home: Path, entry: CaseEntry, sequence: str) -> None:
    """Make the block of one sequence where it is not there yet."""
    if not _path(home, entry, sequence).is_file():
        block(home, entry, sequence)


def _preview(home: Path, entry: CaseEntry) -> bytes | None:
    return disk.content_of(_path(home, entry, _PREVIEW))


def _path(home: Path, entry: CaseEntry, what: str) -> Path:
    sequence = "t1c" if what == _PREVIEW else what
    return _folder(home, entry) / f"{what}-{_stamp(entry, sequence)}.bmv"


def thumbnail(home: Path, entry: CaseEntry) -> bytes | None:
    """A small PNG of t1c; None while it has not been made (``block`` of t1c makes it)."""
    return disk.content_of(_thumb(home, entry))


def picture(home: Path, case_id: str, t1c_sha256: str) -> str | None:
    """The name of the picture's file of a case in its folder of the cache; None where there is
    none. Reads no record."""
    try:
        stamp = _stamp_of(home / "cases" / case_id / f"{case_id}-t1c.nii.gz", t1c_sha256)
    except FileNotFoundError:
        return None
    name = f"thumb-{stamp}.png"
    return name if (home / "cache" / "viewer" / case_id / name).is_file() else None


def _file(entry: CaseEntry, sequence: str) -> Path:
    return entry.folder / f"{entry.case_id}-{sequence}.nii.gz"


def _stamp(entry: CaseEntry, sequence: str) -> str:
    path = _file(entry, sequence)
    try:
        return _stamp_of(path, entry.sha256.get(path.name, ""))
    except FileNotFoundError:
        raise refuse(
            "the stored file is gone",
            file=path.name,
            hint="remove the case and add it again.",
        ) from None


def _stamp_of(path: Path, sha256: str) -> str:
    stat = path.stat()
    return f"{sha256[:12]}-{stat.st_mtime_ns:x}-{stat.st_size:x}-{_FORMAT}"


def _block_id(entry: CaseEntry, sequence: str) -> str:
    return f"{entry.case_id}/{sequence}/{_stamp(entry, sequence)}"


def _folder(home: Path, entry: CaseEntry) -> Path:
    return home / "cache" / "viewer" / entry.case_id


def _thumb(home: Path, entry: CaseEntry) -> Path:
    return _folder(home, entry) / f"thumb-{_stamp(entry, 't1c')}.png"


def _read(entry: CaseEntry, sequence: str) -> Volume:
    from bmcore.intake.nifti_file import read_volume

    path = _file(entry, sequence)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if entry.sha256.get(path.name, digest) != digest:
        raise refuse(
            "the stored file was changed",
            file=path.name,
            hint="remove the case and add it again.",
        )
    return read_volume(path)[0]


def _picture(volume: Volume) -> bytes:
    import io

    from PIL import Image

    from bmcore.imaging.slices import thumbnail as render

    out = io.BytesIO()
    Image.fromarray(render(volume, THUMB_PIXELS)).save(out, "PNG")
    return out.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Beside, then renamed; what an older file of the same kind left goes away."""
    disk.private_folder(path.parent)
    disk.write(path, content)
    kind = path.name.split("-")[0]
    for old in path.parent.glob(f"{kind}-*"):
        if old != path:
            old.unlink(missing_ok=True)
