"""The images of a case on one grid: turned, never resampled, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib

from bmcore.domain import Finding, Severity, Volume
from bmcore.geometry import (
    allowed_gap_mm,
    axis_codes,
    describe_difference,
    largest_gap_mm,
    same_grid,
    transform,
    voxel_sizes_mm,
)


def on_one_grid(
    volumes: dict[str, Volume],
    files: Mapping[str, Path],
    problems: list[Finding],
    notes: list[Finding],
) -> dict[str, Volume]:
    """The volumes on the grid of t1c, else of the first; adds to ``problems`` what lies elsewhere
    and to ``notes`` what was turned."""
    reference = "t1c" if "t1c" in volumes else next(iter(volumes), None)
    if reference is None:
        return volumes
    first = volumes[reference]
    placed = {}
    for name, volume in volumes.items():
        turned = volume if same_grid(first, volume) else _turned_like(volume, first)
        gap = largest_gap_mm(first, turned)
        if gap is not None and gap <= allowed_gap_mm(first):
            placed[name] = turned
            if axis_codes(volume.affine) != axis_codes(first.affine):
                notes.append(_was_turned(name, reference, volume, first, files))
            if not same_grid(first, turned):
                placed[name] = Volume(turned.data, first.affine)
                notes.append(_was_near(name, reference, turned, first, files))
            continue
        differs = describe_difference(first, turned)
        problems.append(
            Finding(
                Severity.REFUSED,
                f"{name} is on a different grid from {reference} ({files[reference].name}): "
                f"{differs}",
                files[name].name,
                found=describe_grid(volume),
                expected=describe_grid(first),
                hint="register and resample the sequences onto one grid first.",
            )
        )
    return placed


def off_grid(volumes: Mapping[str, Volume], hint: str) -> list[Finding]:
    """A refusal for each volume that is on a different grid from t1c, with how it differs."""
    first = volumes["t1c"]
    return [
        Finding(
            Severity.REFUSED,
            f"{name} is on a different grid from t1c: {describe_difference(first, volume)}",
            name,
            found=describe_grid(volume),
            expected=describe_grid(first),
            hint=hint,
        )
        for name, volume in volumes.items()
        if not same_grid(first, volume)
    ]


def _was_turned(
    name: str, reference: str, volume: Volume, first: Volume, files: Mapping[str, Path]
) -> Finding:
    return Finding(
        Severity.INFO,
        f"the voxel order was turned to that of {reference}, without resampling",
        files[name].name,
        found=axis_codes(volume.affine),
        expected=axis_codes(first.affine),
    )


def _was_near(
    name: str, reference: str, volume: Volume, first: Volume, files: Mapping[str, Path]
) -> Finding:
    return Finding(
        Severity.INFO,
        f"the grid of {name} was taken as that of {reference}: no voxel lies further from its "
        f"partner than half a voxel ({allowed_gap_mm(first):.2f} mm, at most 1 mm)",
        files[name].name,
        found=describe_difference(first, volume),
        expected="the same grid",
    )


def _turned_like(volume: Volume, like: Volume) -> Volume:
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(volume.affine), nib.io_orientation(like.affine)
    )
    data = nib.apply_orientation(volume.data, turn)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.shape)
    return Volume(data, affine)


def describe_grid(volume: Volume) -> str:
    """A grid in words: shape, voxel size in mm, orientation, world place of the first voxel."""
    sizes = " x ".join(f"{s:.2f}" for s in voxel_sizes_mm(volume.affine))
    start = ", ".join(f"{v:.1f}" for v in transform(volume.affine, (0, 0, 0)))
    shape = " x ".join(map(str, volume.shape))
    return f"{shape} voxels of {sizes} mm, {axis_codes(volume.affine)}, from ({start}) mm"
