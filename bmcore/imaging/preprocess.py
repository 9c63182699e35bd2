"""Case to Prepared, and the exact way back to the input's grid.

The working grid: voxel order RAS+, 1 mm, cropped to the brain, each axis a multiple of 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.domain import (
    SEQUENCES,
    Case,
    Finding,
    Placement,
    Prepared,
    Severity,
    Volume,
    refuse,
)
from bmcore.geometry import Affine, resample, to_ras, voxel_sizes_mm
from bmcore.imaging.brain import find_brain
from bmcore.imaging.coarse import coarse
from bmcore.imaging.coverage import gaps, without_flat
from bmcore.imaging.masks import box_of
from bmcore.imaging.operated import doubts as operated
from bmcore.imaging.orientation import place as place_head
from bmcore.imaging.picture import doubts
from bmcore.imaging.resampling import WORKING_MM, onto
from bmcore.imaging.standardise import standardise
from bmcore.imaging.together import apart
from bmcore.imaging.together import findings as together
from bmcore.imaging.together import side_doubt as mirrored

TOLERANCE_MM = 0.02  # voxel edges this close to 1 mm are taken as they are
MARGIN = 4  # voxels kept around the brain
MULTIPLE = 16  # what four halvings of the nets need
RESAMPLED = "the images were resampled to 1 mm"


@dataclass(frozen=True, eq=False)
class Looked:
    """What the pictures of a case say.

    images: sequence -> (i, j, k) in voxel order RAS+, those with contrast. brain: there. affine: of
    both. placement: what can be said of sides and lobes. findings: what the pictures say of their
    names, each other and the side; outline: how plausible the brain is.
    """

    images: Mapping[str, npt.NDArray]
    brain: npt.NDArray[np.bool_]
    affine: Affine
    placement: Placement
    findings: tuple[Finding, ...]
    outline: tuple[Finding, ...] = ()


def look(case: Case) -> Looked:
    """Find the brain of a case and what speaks against its images, before anything is resampled.

    InputRefused where no brain is found, or T1 post-gadolinium has no contrast.
    """
    images = {name: to_ras(v.data, v.affine)[0] for name, v in case.sequences.items()}
    _, affine = to_ras(case.grid.data, case.grid.affine)
    brain, outline = find_brain(images, affine)
    if not brain.any():
        raise refuse(
            f"no brain was found in case {case.case_id}",
            found="no voxel that differs from the background",
            expected="a head MRI, best with the skull removed",
            hint="look at the images in a viewer.",
        )
    images, flat = without_flat(images, brain)
    placement, said = _look(images, brain, affine, case.side_doubt)
    return Looked(images, brain, affine, placement, (*flat, *said), outline)


def inspect(case: Case) -> tuple[Finding, ...]:
    """What the pictures of a case say, as ``prepare`` notices it, without preparing them.

    For the door: a doubt is asked about before a case is kept. InputRefused as ``look``.
    """
    return look(case).findings


def prepare(case: Case, looked: Looked | None = None) -> Prepared:
    """Bring a case onto the working grid.

    Turns to RAS+ (flips and swaps only), resamples to 1 mm where a voxel edge differs by more than
    TOLERANCE_MM, finds the brain, crops to it with a margin, pads each axis to a multiple of 16
    (the crop may reach past the image: zeros) and standardises each sequence inside the brain.
    Oblique axes are kept: voxel axes stay those of the scan. A sequence without contrast counts as
    missing. What the pictures say of their names, of each other and of the side is among the
    findings. looked: of the same case, where ``look`` was asked before. InputRefused as ``look``.
    """
    looked = looked or look(case)
    images, brain, affine = dict(looked.images), looked.brain, looked.affine
    findings = (*looked.outline, *looked.findings)
    if np.abs(voxel_sizes_mm(affine) - WORKING_MM).max() > TOLERANCE_MM:
        target, shape = _one_mm_grid(affine, brain.shape)
        findings += (_resampled(affine),)
        images = {n: onto(d, affine, target, shape) for n, d in images.items()}
        brain = resample(brain.astype(np.float32), affine, target, shape) > 0.5
        affine = target
    start, size = _window(brain)
    brain = crop_or_pad(brain, start, size)
    stack = np.zeros((len(SEQUENCES), *brain.shape), np.float32)
    for place, name in enumerate(SEQUENCES):
        if name in images:
            stack[place] = standardise(crop_or_pad(images[name], start, size), brain)
    return Prepared(
        case_id=case.case_id,
        images=stack,
        present=tuple(s in images for s in SEQUENCES),  # type: ignore[arg-type]
        brain=brain,
        affine=_moved(affine, start),
        source_shape=case.grid.shape,
        source_affine=np.asarray(case.grid.affine),
        findings=findings,
        placement=looked.placement,
    )


def _look(
    images: dict[str, npt.NDArray],
    brain: npt.NDArray[np.bool_],
    affine: Affine,
    side_doubt: str | None,
) -> tuple[Placement, tuple[Finding, ...]]:
    """What the pictures themselves say, on blocks of 4 mm (below 1 s a case)."""
    small = coarse(images, brain, affine)
    if not small.brain.any():
        return Placement(side=side_doubt is None), ()
    found = apart(small)
    placement, findings = place_head(small, side_doubt or mirrored(found, len(small.images)))
    said = (*findings, *gaps(small), *together(found), *doubts(small), *operated(small))
    return placement, said


def restore(mask: npt.NDArray, prepared: Prepared) -> Volume:
    """Labels (i, j, k) of the working grid on the input's grid, same dtype; 0 outside the crop.

    Exact, voxel for voxel, where the input was not resampled; else the nearest working voxel.
    """
    return _back(mask, prepared, order=0)


def restore_map(values: npt.NDArray, prepared: Prepared) -> Volume:
    """A map of real numbers (i, j, k) on the input's grid, float32; 0 outside the crop.

    Exact where the input was not resampled; else linear between working voxels.
    """
    return _back(np.asarray(values, np.float32), prepared, order=1)


def on_working_grid(volume: Volume, prepared: Prepared) -> npt.NDArray[np.float32]:
    """An image of the case in its own unit on the working grid (i, j, k), as ``prepare`` brings it
    there before it standardises."""
    data, affine = to_ras(volume.data, volume.affine)
    if np.abs(voxel_sizes_mm(affine) - WORKING_MM).max() > TOLERANCE_MM:
        target, shape = _one_mm_grid(affine, data.shape)
        data, affine = onto(data, affine, target, shape), target
    shift = np.linalg.inv(affine) @ prepared.affine
    start, size = np.rint(shift[:3, 3]).astype(int), np.array(prepared.brain.shape)
    return crop_or_pad(np.asarray(data, np.float32), start, size)


def to_working_grid(volume: Volume, prepared: Prepared) -> npt.NDArray:
    """Labels on the input's grid, such as a reference mask, on the working grid (same dtype).

    The inverse of ``restore``: exact where the input was not resampled. ValueError where
    ``volume`` does not lie on the input's grid.
    """
    if volume.shape != prepared.source_shape or not np.allclose(
        volume.affine, prepared.source_affine, atol=1e-2
    ):
        raise ValueError("the volume does not lie on the input's grid")
    working: tuple[int, int, int] = prepared.brain.shape  # type: ignore[assignment]
    if _signed_shift(np.linalg.inv(prepared.affine) @ prepared.source_affine) is not None:
        return _copy_through(volume.data, volume.affine, prepared.affine, working)
    return resample(volume.data, volume.affine, prepared.affine, working, order=0)


def crop_or_pad(
    data: npt.NDArray, start: npt.NDArray[np.int_], size: npt.NDArray[np.int_]
) -> npt.NDArray:
    """The box of ``size`` voxels from voxel ``start`` (may be negative); zeros past the image."""
    out = np.zeros(tuple(size), data.dtype)
    low = np.maximum(start, 0)
    high = np.minimum(start + size, data.shape)
    if (high <= low).any():
        return out
    here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    there = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    out[there] = data[here]
    return out


def _back(data: npt.NDArray, prepared: Prepared, order: int) -> Volume:
    data = np.asarray(data)
    if data.shape != prepared.brain.shape:
        raise ValueError(f"shape {data.shape} is not that of the working grid, which is "
                         f"{prepared.brain.shape}")  # fmt: skip
    source = prepared.source_affine
    if _signed_shift(np.linalg.inv(source) @ prepared.affine) is not None:
        out = _copy_through(data, prepared.affine, source, prepared.source_shape)
    else:
        out = resample(data, prepared.affine, source, prepared.source_shape, order)
    return Volume(out, source)


def _signed_shift(matrix: Affine) -> Affine | None:
    """``matrix`` rounded, where it only swaps and flips axes and shifts by whole voxels."""
    whole = np.rint(matrix)
    turn = np.abs(whole[:3, :3])
    if not np.allclose(matrix[:3, :3], whole[:3, :3], atol=1e-5):
        return None
    if not np.allclose(matrix[:3, 3], whole[:3, 3], atol=1e-2):
        return None
    return whole if (turn.sum(0) == 1).all() and (turn.sum(1) == 1).all() else None


def _copy_through(
    data: npt.NDArray, affine: Affine, target: Affine, shape: tuple[int, int, int]
) -> npt.NDArray:
    """Copy voxels onto a grid that differs by flips, swaps and whole-voxel shifts only."""
    matrix = _signed_shift(np.linalg.inv(affine) @ target)  # target voxel -> data voxel
    assert matrix is not None
    axes = np.abs(matrix[:3, :3]).argmax(axis=0)  # data axis of each target axis
    turned = np.transpose(data, axes)
    start = np.zeros(3, int)
    for place, axis in enumerate(axes):
        offset = int(matrix[axis, 3])
        if matrix[axis, place] < 0:
            turned = np.flip(turned, place)
            start[place] = turned.shape[place] - 1 - offset
        else:
            start[place] = offset
    return crop_or_pad(turned, start, np.array(shape))


def _one_mm_grid(affine: Affine, shape: tuple[int, ...]) -> tuple[Affine, tuple[int, int, int]]:
    """The grid of 1 mm voxels along the same axes whose outer corner is that of the image."""
    sizes = voxel_sizes_mm(affine)
    counts = np.maximum(1, np.ceil(np.array(shape) * sizes / WORKING_MM - 1e-6)).astype(int)
    step = WORKING_MM / sizes
    matrix = np.diag([*step, 1.0])
    matrix[:3, 3] = step / 2 - 0.5
    return affine @ matrix, (int(counts[0]), int(counts[1]), int(counts[2]))


def _window(brain: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    box = box_of(brain)
    low = np.array([s.start for s in box]) - MARGIN
    high = np.array([s.stop for s in box]) + MARGIN
    size = -(-(high - low) // MULTIPLE) * MULTIPLE
    return low - (size - (high - low)) // 2, size


def _moved(affine: Affine, start: npt.NDArray[np.int_]) -> Affine:
    out = np.array(affine, float)
    out[:3, 3] = affine[:3, :3] @ start + affine[:3, 3]
    return out


def _resampled(affine: Affine) -> Finding:
    sizes = voxel_sizes_mm(affine)
    thick = sizes.max() > 2.5
    return Finding(
        Severity.WARNING if thick else Severity.INFO,
        RESAMPLED + ("; the slices are thick, small lesions may be lost" if thick else ""),
        found=" x ".join(f"{s:.2f}" for s in sizes) + " mm",
        expected="1 mm in each direction",
        hint="use thin-slice images if there are any." if thick else None,
    )
