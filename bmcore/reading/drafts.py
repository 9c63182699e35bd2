"""What one reader has marked and painted on one case, kept apart from the models' output.

``HOME/drafts/CASE/READER/marks.json`` and ``mask.nii.gz``; READER is a digest of the name, so that
any name is a safe folder and no folder tells who read. A draft is working material: the votes are
kept elsewhere. Each reader sees only the own one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from bmcore.domain import InputRefused, Volume, refuse
from bmcore.geometry import same_grid, to_ras
from bmcore.intake.nifti_file import read_bytes
from bmcore.plain import brief, load_json
from bmcore.reading.files import folder_name, staging, write_json

KINDS = ("accept", "reject", "missed", "length")
PHASES = ("unaided", "aided")
MAX_MARKS = 500
MAX_RUNS = 2_000_000  # two numbers a run; a corrected mask of a real case has some thousands
_MASK, _MARKS = "mask.nii.gz", "marks.json"
_FAR_MM = 5_000.0


@dataclass(frozen=True)
class Mark:
    """One thing a reader marked. points_mm: world RAS; two for a length, else one.

    kind: "accept" or "reject" judge the models' lesion of this number, "missed" is a lesion that
    the reader sees, "length" a measurement. plane: where a length was drawn. phase: "unaided"
    where it was made before the reader saw the models' answers. basis: the segmentation that it was
    given on (eight hex digits); another segmentation makes the verdict void.
    """

    id: str
    kind: str
    points_mm: tuple[tuple[float, float, float], ...]
    phase: str
    lesion: int | None = None
    plane: str | None = None
    basis: str | None = None

    @property
    def length_mm(self) -> float | None:
        """Distance between the two points of a length, else None."""
        return math.dist(*self.points_mm) if self.kind == "length" else None


def read_marks(raw: object, lesions: Sequence[int], phase: str, basis: str | None) -> list[Mark]:
    """Marks as the browser sends them, checked; InputRefused on anything else.

    lesions: numbers that can be judged. phase and basis go onto every mark.
    """
    if not isinstance(raw, list) or len(raw) > MAX_MARKS:
        found = f"{len(raw)} marks" if isinstance(raw, list) else type(raw).__name__
        raise refuse("the marks cannot be read", found=found, expected=f"at most {MAX_MARKS} marks")
    return [_mark(item, lesions, phase, basis) for item in raw]


def _mark(item: Any, lesions: Sequence[int], phase: str, basis: str | None) -> Mark:
    try:
        kind, lesion, plane = item["kind"], item.get("lesion"), item.get("plane")
        points = tuple((float(x), float(y), float(z)) for x, y, z in item["points"])
        identity = str(item["id"])
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise refuse("a mark cannot be read", found=brief(item)) from error
    if kind not in KINDS:
        raise refuse("a mark is of an unknown kind", found=brief(kind), expected=", ".join(KINDS))
    if len(points) != (2 if kind == "length" else 1):
        raise refuse(f"a mark of kind {kind} has {len(points)} points")
    if not all(math.isfinite(v) and abs(v) < _FAR_MM for point in points for v in point):
        raise refuse("a mark lies nowhere", found=brief(points), expected="world mm")
    if kind in ("accept", "reject"):
        if lesion not in lesions:
            raise refuse("a verdict names no lesion of this case", found=brief(lesion))
    else:
        lesion = None
    if plane not in (None, "axial", "coronal", "sagittal") or not 0 < len(identity) <= 40:
        raise refuse("a mark cannot be read", found=brief(item))
    return Mark(identity, kind, points, phase, lesion, plane, basis if lesion else None)


def save_marks(
    home: Path | str, case_id: str, reader: str, marks: Sequence[Mark]
) -> tuple[Mark, ...]:
    """Replace a reader's marks on a case. A mark that was there keeps its phase and basis."""
    known = {mark.id: mark for mark in load_marks(home, case_id, reader)}
    kept = tuple(known.get(mark.id, mark) for mark in marks)
    folder = _folder(home, case_id, reader)
    folder.mkdir(parents=True, exist_ok=True)
    values = {"format": 1, "reader": reader, "case": case_id, "marks": [asdict(m) for m in kept]}
    write_json(folder / _MARKS, values)
    return kept


def load_marks(home: Path | str, case_id: str, reader: str) -> tuple[Mark, ...]:
    """A reader's marks on a case, oldest first; empty where there are none."""
    path = _folder(home, case_id, reader) / _MARKS
    if not path.is_file():
        return ()
    try:
        values = load_json(path)["marks"]
        return tuple(
            Mark(**{**v, "points_mm": tuple(tuple(p) for p in v["points_mm"])}) for v in values
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise refuse(
            "the stored marks are damaged",
            file=path,
            found=f"{type(error).__name__}: {error}"[:160],
            hint="move the file away; new marks can then be stored.",
        ) from error


def decode_runs(runs: object, shape: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Labels (i, j, k) from run-length code [label, count, label, count, …], i fastest.

    InputRefused unless every label is 0-3, every count above 0, and the counts sum to ``shape``.
    """
    expected = f"label and count in turn, labels 0-3, {math.prod(shape)} voxels in all"
    if not isinstance(runs, list) or len(runs) % 2 or not 0 < len(runs) <= 2 * MAX_RUNS:
        raise refuse("the corrected segmentation cannot be read", expected=expected)
    if not all(type(v) is int for v in runs):
        raise refuse("the corrected segmentation holds other than whole numbers", expected=expected)
    if min(runs) < 0 or max(runs) > max(math.prod(shape), 3):  # 3: labels of a tiny volume
        raise refuse("the corrected segmentation has impossible numbers", expected=expected)
    labels, counts = np.array(runs[::2]), np.array(runs[1::2])
    if labels.max() > 3 or counts.min() < 1 or counts.sum() != math.prod(shape):
        raise refuse(
            "the corrected segmentation does not fit the case",
            found=f"labels up to {labels.max()}, {counts.sum()} voxels",
            expected=expected,
        )
    return np.repeat(labels.astype(np.uint8), counts).reshape(tuple(shape), order="F")


def save_mask(
    home: Path | str, case_id: str, reader: str, labels: npt.NDArray[np.uint8], like: Volume
) -> Volume:
    """Keep a corrected mask. labels: in RAS voxel order. Returned on the grid of ``like``."""
    turn = nib.io_orientation(like.affine)
    ras_shape = to_ras(np.broadcast_to(np.uint8(0), like.shape), like.affine)[0].shape
    if labels.shape != ras_shape:
        raise refuse(
            "the corrected segmentation lies on another grid",
            found=str(labels.shape),
            expected=str(ras_shape),
        )
    back = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), turn)
    mask = Volume(np.ascontiguousarray(nib.apply_orientation(labels, back)), like.affine)
    folder = _folder(home, case_id, reader)
    image = nib.Nifti1Image(np.asarray(mask.data), mask.affine)
    image.header["descrip"] = f"corrected {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC".encode()
    with staging(folder, "mask") as beside:
        nib.save(image, beside / _MASK)
        (beside / _MASK).replace(folder / _MASK)
    return mask


def load_mask(home: Path | str, case_id: str, reader: str, like: Volume) -> Volume | None:
    """A reader's corrected mask, or None; InputRefused if it does not lie on ``like``'s grid."""
    path = _folder(home, case_id, reader) / _MASK
    if not path.is_file():
        return None
    try:
        mask = read_bytes(path)
    except (OSError, InputRefused) as error:
        raise refuse(
            "the corrected segmentation cannot be read",
            file=path,
            found=f"{type(error).__name__}: {error}"[:160],
            hint="move the file away; the models' segmentation is then shown.",
        ) from error
    if not same_grid(mask, like):
        raise refuse("the corrected segmentation lies on another grid", file=path)
    return mask


def drop_mask(home: Path | str, case_id: str, reader: str) -> None:
    """Go back to the models' segmentation."""
    (_folder(home, case_id, reader) / _MASK).unlink(missing_ok=True)


def mask_stamp(home: Path | str, case_id: str, reader: str) -> int:
    """Changes whenever the corrected mask does; 0 where there is none."""
    path = _folder(home, case_id, reader) / _MASK
    return path.stat().st_mtime_ns if path.is_file() else 0


def _folder(home: Path | str, case_id: str, reader: str) -> Path:
    if not reader.strip():
        raise refuse("a draft needs a reader", hint="say who is reading.")
    digest = hashlib.sha256(reader.strip().casefold().encode()).hexdigest()[:16]
    return Path(home) / "drafts" / folder_name(case_id, "the case's name") / digest


def as_values(marks: Sequence[Mark]) -> list[Mapping[str, Any]]:
    """Marks as the viewer wants them."""
    return [
        {
            "id": m.id,
            "kind": m.kind,
            "points": [list(p) for p in m.points_mm],
            "lesion": m.lesion,
            "plane": m.plane,
        }
        for m in marks
    ]
