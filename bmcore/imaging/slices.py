"""Slices as pictures: radiological convention, true proportions, labels and heat on top."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from bmcore.domain import Label, Volume
from bmcore.geometry import check_affine, same_grid, to_ras, transform, voxel_sizes_mm

PLANES: Mapping[str, int] = MappingProxyType({"sagittal": 0, "coronal": 1, "axial": 2})

# Three colours of Okabe and Ito's palette, told apart with the common colour vision deficiencies.
LABEL_COLOURS: Mapping[int, tuple[int, int, int]] = MappingProxyType(
    {Label.NETC: (0, 114, 178), Label.SNFH: (240, 228, 66), Label.ET: (213, 94, 0)}
)
HEAT_STOPS = ((0, 0, 0), (120, 0, 90), (230, 60, 20), (255, 190, 0), (255, 255, 220))
MASK_OPACITY = 0.45
HEAT_OPACITY = 0.7


def slice_count(volume: Volume, plane: str) -> int:
    """How many slices ``volume`` has in ``plane`` ("axial", "coronal" or "sagittal")."""
    order = _axes(volume)
    return volume.shape[order[_axis(plane)]]


def slice_at(volume: Volume, plane: str, point_mm: npt.ArrayLike) -> int:
    """The number of the slice that holds the world point (RAS mm), kept inside of the volume."""
    _, affine = to_ras(volume.data, volume.affine)
    voxel = transform(check_affine(np.linalg.inv(affine)), point_mm)
    last = slice_count(volume, plane) - 1
    return int(np.clip(np.rint(voxel[_axis(plane)]), 0, last))


def auto_window(volume: Volume) -> tuple[float, float]:
    """Grey-value limits that show the brain: percentiles 1 and 99.7 of what is not background.

    The same for every voxel order: every so many voxels along the patient's axes are looked at.
    """
    step = max(1, round((volume.data.size / 500_000) ** (1 / 3)))
    data, _ = to_ras(volume.data, volume.affine)
    sample = np.asarray(data[::step, ::step, ::step], np.float32)
    inside = sample[sample > sample.min()]
    inside = inside[inside != 0]
    if inside.size < 2:
        return float(sample.min()), float(sample.min()) + 1.0
    low, high = (float(v) for v in np.percentile(inside, (1, 99.7)))
    return low, high if high > low else low + 1.0


def render_slice(
    volume: Volume,
    plane: str,
    position: int,
    mask: Volume | None = None,
    heat: Volume | None = None,
    window: tuple[float, float] | None = None,
) -> npt.NDArray[np.uint8]:
    """Draw one slice: uint8 (h, w, 3), one pixel = the smaller voxel edge of the plane, in mm.

    position: number of the slice, 0 is the most left (sagittal), most posterior (coronal) or
    lowest (axial) one, whatever the voxel order of the file; see ``slice_count``, ``slice_at``.
    The patient's right is on the left of the picture; up is anterior (axial) or superior; in
    sagittal slices anterior is on the left.
    mask: labels 0-3, drawn in LABEL_COLOURS. heat: 0-1, as opaque as it is high. Both on the
    grid of ``volume``. window: grey values shown black and white; None chooses them.
    ValueError for an unknown plane, a slice that is not there, another grid, an empty window.
    """
    low, high = window or auto_window(volume)
    if not high > low:
        raise ValueError(f"the window must rise, but goes from {low} to {high}")
    count = slice_count(volume, plane)
    if not 0 <= position < count:
        raise ValueError(f"{plane} slices go from 0 to {count - 1}, but {position} was asked for")
    grey = np.clip((_plane(volume, plane, position) - low) / (high - low), 0, 1)
    picture = np.repeat((grey * 255)[..., None], 3, axis=-1)
    if mask is not None:
        labels = _plane(_checked(mask, volume), plane, position, nearest=True)
        for label, colour in LABEL_COLOURS.items():
            here = labels == label
            picture[here] = (1 - MASK_OPACITY) * picture[here] + MASK_OPACITY * np.array(colour)
    if heat is not None:
        values = np.clip(_plane(_checked(heat, volume), plane, position), 0, 1)
        opacity = HEAT_OPACITY * values[..., None]
        colours = _heat_table()[np.rint(values * 255).astype(int)]
        picture = (1 - opacity) * picture + opacity * colours
    return np.rint(picture).astype(np.uint8)


def thumbnail(volume: Volume, pixels: int) -> npt.NDArray[np.uint8]:
    """A small square picture (pixels, pixels) of an axial slice at 6/10 of the head's height.

    Cropped to what is brighter than a tenth of the window, black around it; the patient's right is
    on the left. The slice depends on the image alone, so a thumbnail never tells where a lesion is.
    """
    data, affine = to_ras(volume.data, volume.affine)
    low, high = auto_window(volume)
    floor = min(low, 0.0) + 0.1 * (high - min(low, 0.0))
    heights = np.flatnonzero((data > floor).any(axis=(0, 1)))
    at = round(float(np.quantile(heights, 0.6))) if heights.size else data.shape[2] // 2
    window = (min(low, 0.0), floor + 0.65 * (high - floor))  # brighter than a reading window: small
    picture = render_slice(Volume(data, affine), "axial", at, window=window)[..., 0]
    rows, columns = (np.flatnonzero((picture > 25).any(axis=axis)) for axis in (1, 0))
    if rows.size and columns.size:
        picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(picture.shape)
    square = np.zeros((side, side), np.float32)
    top, left = ((side - n) // 2 for n in picture.shape)
    square[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    small = _stretch(_stretch(square, 0, pixels, False), 1, pixels, False)
    return np.rint(small).astype(np.uint8)


def _axis(plane: str) -> int:
    if plane not in PLANES:
        raise ValueError(f"the plane must be one of {', '.join(PLANES)}, but is {plane!r}")
    return PLANES[plane]


def _axes(volume: Volume) -> list[int]:
    """The voxel axis that runs right, the one that runs anterior, the one that runs superior."""
    import nibabel as nib

    turn = nib.io_orientation(volume.affine)
    return [int(np.flatnonzero(turn[:, 0] == axis)[0]) for axis in range(3)]


def _checked(other: Volume, volume: Volume) -> Volume:
    if not same_grid(other, volume):
        raise ValueError(
            f"mask and heat must lie on the image's grid, but {other.shape} is not {volume.shape} "
            "or lies elsewhere"
        )
    return other


def _plane(
    volume: Volume, plane: str, position: int, nearest: bool = False
) -> npt.NDArray[np.float32]:
    """The slice as rows from top to bottom, columns from left to right, with square pixels."""
    data, affine = to_ras(volume.data, volume.affine)
    axis = _axis(plane)
    flat = np.asarray(np.moveaxis(data, axis, 0)[position], np.float32)
    sizes = np.delete(voxel_sizes_mm(affine), axis)
    counts = np.maximum(1, np.rint(np.array(flat.shape) * sizes / sizes.min())).astype(int)
    for side in (0, 1):
        if counts[side] != flat.shape[side]:
            flat = _stretch(flat, side, int(counts[side]), nearest)
    return flat[::-1, ::-1].T


def _stretch(
    flat: npt.NDArray[np.float32], side: int, count: int, nearest: bool
) -> npt.NDArray[np.float32]:
    length = flat.shape[side]
    at = np.clip((np.arange(count) + 0.5) * length / count - 0.5, 0, length - 1)
    if nearest:
        return flat.take(np.rint(at).astype(int), side)
    low = np.floor(at).astype(int)
    part = (at - low).astype(np.float32)
    part = part[:, None] if side == 0 else part[None, :]
    high = np.minimum(low + 1, length - 1)
    return flat.take(low, side) * (1 - part) + flat.take(high, side) * part


@lru_cache(maxsize=1)
def _heat_table() -> npt.NDArray[np.float64]:
    stops = np.array(HEAT_STOPS, float)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(np.linspace(0, 1, 256), at, stops[:, c]) for c in range(3)], -1)
