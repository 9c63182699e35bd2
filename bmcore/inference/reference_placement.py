"""The reference mask that came with a case, on the grid of its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bmcore.domain import Finding, Severity, Truth, Volume, refuse
from bmcore.geometry import (
    Affine,
    describe_difference,
    inverse,
    resample,
    same_grid,
    transform,
    voxel_sizes_mm,
)
from bmcore.imaging.heads import Alignment

OUTSIDE = 0.01  # share of what is marked that may lie beyond the image it was drawn on


def place(
    truth: Truth | None,
    volumes: Mapping[str, Volume],
    alignment: Alignment | None,
) -> tuple[Truth | None, tuple[Finding, ...]]:
    """The mask by its nearest voxels where the case is, and what was done to it.

    It counts as drawn on the sequence whose grid it has, else in the world of T1 post-gadolinium.
    InputRefused where it does not lie in that image.
    """
    if truth is None or truth.mask is None:
        return truth, ()
    mask, reference = truth.mask, volumes["t1c"]
    drawn_on = next((s for s in ("t1c", *volumes) if same_grid(volumes[s], mask)), None)
    if drawn_on is None:
        _check_placed(mask, reference)
    if alignment is None:
        if drawn_on is not None:
            return truth, ()
        placed = _onto(mask, np.eye(4), reference.affine, reference.shape)
    else:
        shape: tuple[int, int, int] = alignment.brain.shape  # type: ignore[assignment]
        move = alignment.moves.get(drawn_on or "t1c", np.eye(4))
        placed = _onto(mask, move, alignment.affine, shape)
    return replace(truth, mask=placed), () if drawn_on else (_was_resampled(mask, reference),)


def _check_placed(mask: Volume, reference: Volume) -> None:
    marked = transform(mask.affine, np.argwhere(np.asarray(mask.data)))
    there = transform(inverse(reference.affine), marked)
    beyond = ((there < -0.5) | (there > np.array(reference.shape) - 0.5)).any(axis=1)
    if len(marked) and beyond.mean() > OUTSIDE:
        raise refuse(
            "the reference mask does not lie in T1 post-gadolinium",
            file="seg",
            found=f"{beyond.mean():.0%} of what it marks lies outside the image",
            expected="a mask drawn on one of the images of the case",
            hint="check that it belongs to this examination; save it on T1 post-gadolinium.",
        )


def _onto(mask: Volume, move: Affine, affine: Affine, shape: tuple[int, int, int]) -> Volume:
    """move: from the world of ``affine`` to that of the mask."""
    data = resample(np.asarray(mask.data), mask.affine, move @ affine, shape, order=0)
    return Volume(data, affine)


def _was_resampled(mask: Volume, reference: Volume) -> Finding:
    coarser = voxel_sizes_mm(reference.affine).max() > voxel_sizes_mm(mask.affine).max() + 0.01
    return Finding(
        Severity.WARNING if coarser else Severity.INFO,
        "the reference mask was on a different grid from the images, and was brought onto theirs "
        "by its nearest voxels" + ("; small lesions may be lost" if coarser else ""),
        "seg",
        found=describe_difference(reference, mask),
        expected="the grid of T1 post-gadolinium",
        hint="look at the mask over the images.",
    )
