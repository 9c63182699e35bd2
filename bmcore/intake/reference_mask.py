"""Reference masks that are brought after the case: looked at, then kept with where they come from.

A mask belongs to the case that its file, or the folder it lies in, is named after. It must lie on
the case's grid (turned in voxel order at most), or, where bmcore aligned the case, on the grid that
T1 post-gadolinium came on. It is kept in the case's folder under the hash of its content, so that
one it replaces stays; the record names the one in force. Names of files are not kept, unless the
site keeps them.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bmcore import disk, zips
from bmcore.domain import BmcoreError, Finding, InputRefused, Label, Severity, Volume, refuse
from bmcore.geometry import resample, same_grid
from bmcore.intake.case_record import CaseEntry, file_digest, write_record
from bmcore.intake.images import read_images
from bmcore.intake.library import changing, get_entry
from bmcore.intake.nifti import write_volume
from bmcore.intake.nifti_file import ONE_LABEL
from bmcore.intake.one_grid import on_one_grid
from bmcore.settings import settings

MOST_FILES, MOST_BYTES = 2_000, 256 * 2**20
NEW, SAME, REPLACES = "new", "as before", "replaces"
_ENDING = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_TAIL = re.compile(r"[-_. ](seg|mask|label|labels|gt|truth|reference|groundtruth)$", re.IGNORECASE)


@dataclass(frozen=True)
class Brought:
    """What a user brought: one mask, or a zip of several. name: as the user named it; convention:
    of labels, see ``read_mask``; case_id: of a single mask, where its name does not tell."""

    path: Path
    name: str
    convention: str = ""
    case_id: str | None = None


@dataclass(frozen=True)
class MaskFound:
    """One mask, before it is kept. file: in the archive, as the user named it; what: NEW, SAME or
    REPLACES, else why it cannot be kept. digest: SHA-256 of the file; content: of the labels on the
    case's grid; ml: label -> volume; notes: what was turned, rounded or read otherwise."""

    file: str
    case_id: str | None
    what: str
    digest: str = ""
    content: str = ""
    ml: Mapping[int, float] | None = None
    notes: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        return self.what in (NEW, SAME, REPLACES)


def look(brought: Brought, home: Path, cases: Collection[str]) -> tuple[MaskFound, ...]:
    """What each mask is and becomes, in the order of their names. cases: the ids that are here.

    Refused where the file is no mask and no archive of masks.
    """
    found = [_look(one, brought, home, cases)[0] for one in _files(brought)]
    if not found:
        raise refuse(
            "this archive holds no mask", file=brought.name, expected="files .nii or .nii.gz"
        )
    several = {c for c in (f.case_id for f in found) if c and _times(found, c) > 1}
    return tuple(
        replace(f, what="another mask of the same case is in the archive")
        if f.case_id in several
        else f
        for f in found
    )


def mask_of(brought: Brought, home: Path, case_id: str) -> Volume:
    """The mask for one case on the case's grid, labels 0-3; InputRefused where there is none."""
    for one in _files(brought):
        found, mask = _look(one, brought, home, {case_id})
        if found.case_id == case_id and mask is not None:
            return mask
    raise refuse(f"no mask for case {case_id} is in this file", file=brought.name)


def keep(brought: Brought, home: Path, found: Sequence[MaskFound], by: str) -> int:
    """Keep the masks that were looked at and are new or replace one; how many. by: who does."""
    wanted = {f.case_id: f for f in found if f.what in (NEW, REPLACES)}
    kept = 0
    for number, one in enumerate(_files(brought), start=1):
        again, mask = _look(one, brought, home, [c for c in wanted if c])
        asked = wanted.get(again.case_id)
        if mask is None or asked is None or asked.digest != again.digest:
            continue
        kept += _keep(home, asked, mask, _source(brought, again, number, by))
    return kept


def provenance(cases: Sequence[CaseEntry]) -> list[Mapping[str, str]]:
    """Of every reference mask that was brought: case, by, at, sha256 and more."""
    return [{"case": e.case_id, **e.reference} for e in cases if e.reference]


@dataclass(frozen=True)
class _File:
    """One file on the disk, and its name as the user gave it."""

    path: Path
    name: str


def _files(brought: Brought) -> Iterator[_File]:
    """Each mask in turn, one at a time on the disk."""
    if not brought.name.lower().endswith(".zip"):
        yield _File(brought.path, brought.name)
        return
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bmcore-") as folder,
            zips.opened(brought.path, MOST_FILES) as archive,
        ):
            names = sorted(n for n in archive.namelist() if _is_mask(n))
            for name in names:
                ending = ".nii.gz" if name.lower().endswith(".gz") else ".nii"
                path = Path(folder) / f"mask{ending}"
                path.write_bytes(zips.content(archive, name, MOST_BYTES))
                yield _File(path, name)
                path.unlink()
    except zips.FAULTS as fault:
        if isinstance(fault, BmcoreError):
            raise
        raise refuse(
            "this archive cannot be read", file=brought.name, found=f"{fault}"[:160]
        ) from fault


def _is_mask(name: str) -> bool:
    parts = name.split("/")
    hidden = any(p.startswith((".", "__MACOSX")) for p in parts)
    return bool(_ENDING.search(name)) and not hidden


def _case_of(name: str, cases: Collection[str]) -> str | None:
    """The case that a path names: the file, without an ending such as -seg, or a folder above."""
    *folders, last = name.replace("\\", "/").split("/")
    stem = _ENDING.sub("", last)
    for words in (stem, _TAIL.sub("", stem), *reversed(folders)):
        if words in cases:
            return words
    return None


def _look(
    one: _File, brought: Brought, home: Path, cases: Collection[str]
) -> tuple[MaskFound, Volume | None]:
    case_id = brought.case_id or _case_of(one.name, cases)
    if case_id is None or case_id not in cases:
        return MaskFound(one.name, None, "no case of this name is here"), None
    digest = file_digest(one.path)
    try:
        entry = get_entry(home, case_id)
        mask, notes = _placed(one, entry, brought.convention)
    except InputRefused as error:
        told = " ".join(replace(f, file=None).sentence for f in error.findings)
        return MaskFound(one.name, case_id, told, digest), None
    content = _content(mask)
    ml = _millilitres(mask)
    if not any(ml.values()):
        note = Finding(Severity.WARNING, "the mask is empty: the case counts as without a lesion")
        notes = (*notes, note)
    what = NEW
    if entry.has_reference_mask:
        what = SAME if content == _content_in_force(entry) else REPLACES
    return MaskFound(one.name, case_id, what, digest, content, ml, notes), mask


def _placed(one: _File, entry: CaseEntry, convention: str) -> tuple[Volume, tuple[Finding, ...]]:
    """The mask on the grid of the case; refused where it lies elsewhere."""
    volumes, problems, notes = read_images({"seg": one.path}, convention=convention)
    if problems:
        raise InputRefused(*(_on_the_page(p) for p in problems))
    notes = [_on_the_page(note) for note in notes]
    came = volumes["seg"]
    grid = _grid(entry)
    if entry.origin is not None and not same_grid(grid, came):
        first = Volume(np.broadcast_to(np.uint8(0), entry.origin.shape), entry.origin.affine)
        mask = _on(first, came, one, problems, notes)
        if mask is not None:
            data = resample(np.asarray(mask.data), mask.affine, grid.affine, grid.shape, order=0)
            what = (
                "the mask was drawn on the grid that T1 Gd came on, and was brought onto the case's"
            )
            notes.append(Finding(Severity.INFO, what))
            return Volume(data, grid.affine), tuple(notes)
        problems.clear()
    mask = _on(grid, came, one, problems, notes)
    if mask is None:
        raise InputRefused(*(replace(p, hint="draw it on the case's T1 Gd.") for p in problems))
    return mask, tuple(notes)


def _on(
    grid: Volume, mask: Volume, one: _File, problems: list[Finding], notes: list[Finding]
) -> Volume | None:
    files = {"t1c": Path("the case"), "seg": Path(one.name)}
    return on_one_grid({"t1c": grid, "seg": mask}, files, problems, notes).get("seg")


def _on_the_page(problem: Finding) -> Finding:
    """What the command line says of its options is said of the page."""
    if "--label-convention" not in (problem.hint or ""):
        return problem
    return replace(problem, hint="say under “What the labels mean” how it is meant.")


def _grid(entry: CaseEntry) -> Volume:
    """The case's grid, from the header of T1 post-gadolinium alone."""
    image: Any = nib.load(entry.files["t1c"])
    shape = tuple(int(n) for n in image.shape[:3])
    return Volume(np.broadcast_to(np.uint8(0), shape), np.asarray(image.affine, np.float64))


def _content_in_force(entry: CaseEntry) -> str:
    image: Any = nib.load(entry.files["seg"])
    return _content(Volume(np.asarray(image.dataobj).astype(np.uint8), image.affine))


def _content(mask: Volume) -> str:
    """SHA-256 of the labels alone, in the case's voxel order."""
    labels = np.ascontiguousarray(mask.data, np.uint8)
    return hashlib.sha256(f"{labels.shape}".encode() + labels.tobytes()).hexdigest()


def _millilitres(mask: Volume) -> dict[int, float]:
    a_voxel = abs(float(np.linalg.det(mask.affine[:3, :3]))) / 1000
    data = np.asarray(mask.data)
    return {int(label): float((data == label).sum()) * a_voxel for label in Label if label}


def _times(found: Sequence[MaskFound], case_id: str) -> int:
    return sum(f.case_id == case_id for f in found)


def _source(brought: Brought, found: MaskFound, number: int, by: str) -> dict[str, str]:
    """Where a mask comes from, as it is kept; names only where the site keeps names."""
    one_label = any(note.what == ONE_LABEL for note in found.notes)
    source = {
        "by": by,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": found.digest,
        "content": found.content,
        "convention": brought.convention or ("lesion" if one_label else "2023"),
        "from": f"file {number} of an archive" if found.file != brought.name else "one file",
    }
    return source | ({"name": found.file} if settings().keep_names else {})


def _keep(home: Path, found: MaskFound, mask: Volume, source: Mapping[str, str]) -> int:
    """Write the mask beside the others of the case, then the record that names it."""
    assert found.case_id is not None
    with changing(home):
        entry = get_entry(home, found.case_id)
        suffix = f"seg-{found.content[:16]}"
        path = entry.folder / f"{entry.case_id}-{suffix}.nii.gz"
        write_volume(mask, path, np.uint8)
        disk.sync(path)
        before = dict(entry.reference)
        replaced = [*before.pop("replaced", []), *([before] if before else [])]
        reference = {**source, "suffix": suffix, "replaced": replaced}
        hashes = {**entry.sha256, path.name: file_digest(path)}
        write_record(replace(entry, sha256=hashes, reference=reference), entry.folder)
    return 1
