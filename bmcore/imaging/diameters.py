"""Two diameters of a lesion on an axial slice, as RANO-BM measures it, and where the lesion lies.

The longest diameter of the lesion on one axial slice, and the longest one at a right angle to it on
the same slice (Lin et al., Lancet Oncol 2015, 16:e270-278). "Axial" is the plane of the image that
lies nearest to the patient's: an oblique image is measured as it was taken. A diameter is the
distance between voxel centres plus one voxel along it, as in ``lesions.largest_diameter_mm``, so
that both can stand side by side; it is one of the convex outline, as a calliper spans a notch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial

from bmcore.domain import Volume
from bmcore.geometry import Affine, to_ras, transform, voxel_sizes_mm
from bmcore.imaging.lesions import label_lesions

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AxialDiameters:
    """The longest diameter and the longest across it, in mm, on one slice.

    slice: number of the axial slice from below. ends_mm: four world points (RAS), the ends of the
    first and then of the second diameter.
    """

    longest_mm: float
    across_mm: float
    slice: int
    ends_mm: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class LesionExtent:
    """Where a lesion lies. box: its first and last voxel along right, anterior and superior."""

    number: int
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    axial: AxialDiameters


def lesion_extents(mask: Volume) -> tuple[LesionExtent, ...]:
    """Extent and axial diameters of each lesion of ``mask`` (labels 0-3), numbered as
    ``lesions.label_lesions`` does."""
    labels, affine = to_ras(label_lesions(mask.data, mask.affine), mask.affine)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        starts = np.array([side.start for side in box])
        axial = axial_diameters(labels[box] == number, starts, affine)
        sides = tuple((int(side.start), int(side.stop - 1)) for side in box)
        found.append(LesionExtent(number, sides, axial))  # type: ignore[arg-type]
    return tuple(found)


def axial_diameters(
    lesion: npt.NDArray[np.bool_], starts: Sequence[int] | npt.NDArray, affine: Affine
) -> AxialDiameters:
    """The two diameters on the slice where the longest one is longest.

    lesion: bool (i, j, k) in RAS voxel order, not empty; starts: the voxel of its corner in the
    image that ``affine`` (voxel to world, RAS voxel order) is of. ValueError where it is empty.
    """
    sizes = voxel_sizes_mm(affine)[:2]
    heights = np.flatnonzero(lesion.any(axis=(0, 1)))
    if not heights.size:
        raise ValueError("a lesion without voxels has no diameter")
    # Of equally long ones the middle one counts.
    near = sorted(map(int, heights), key=lambda height: (abs(height - heights.mean()), -height))
    found = [(k, *_longest(np.argwhere(lesion[:, :, k]) * sizes, sizes)) for k in near]
    k, outline, ends = max(found, key=lambda one: float(np.linalg.norm(one[2][1] - one[2][0])))
    longest = float(np.linalg.norm(ends[1] - ends[0]))
    across = _widest_chord(outline, (ends[1] - ends[0]) / longest, sizes)
    flat = np.concatenate([ends, across]) / sizes
    voxels = np.c_[flat + np.asarray(starts)[:2], np.full(4, starts[2] + k)]
    places = transform(affine, voxels)
    return AxialDiameters(
        longest,
        float(np.linalg.norm(across[1] - across[0])),
        int(starts[2] + k),
        tuple((float(x), float(y), float(z)) for x, y, z in places),
    )


def _longest(points: Points, sizes: Points) -> tuple[Points, Points]:
    """Convex outline (n, 2) of the voxel centres ``points`` (m, 2) in mm, ends of the diameter."""
    outline = points
    if len(points) > 2 and np.linalg.matrix_rank(points - points[0]) == 2:
        outline = points[spatial.ConvexHull(points).vertices]
    gaps = spatial.distance.cdist(outline, outline)
    a, b = np.unravel_index(gaps.argmax(), gaps.shape)
    way = outline[b] - outline[a]
    unit = way / gaps[a, b] if gaps[a, b] else np.array([1.0, 0.0])
    half = unit * _one_voxel(unit, sizes) / 2
    return outline, np.array([outline[a] - half, outline[b] + half])


def _one_voxel(unit: Points, sizes: Points) -> float:
    return float(np.sqrt(((unit * sizes) ** 2).sum()))


def _widest_chord(outline: Points, along: Points, sizes: Points) -> Points:
    """Ends (2, 2) of the longest chord at a right angle to ``along`` (unit vector).

    The width of a convex outline is a concave function along the way, with kinks where its corners
    lie: it is greatest at one of them.
    """
    across = np.array([-along[1], along[0]])
    place, height = outline @ along, outline @ across
    best = (-1.0, 0.0, 0.0, 0.0)
    for at in place:
        low, high = _cut(place, height, at)
        best = max(best, (high - low, float(at), low, high))
    _, at, low, high = best
    half = _one_voxel(across, sizes) / 2
    return np.array([at * along + (low - half) * across, at * along + (high + half) * across])


def _cut(place: Points, height: Points, at: float) -> tuple[float, float]:
    """Lowest and highest point of a closed outline where ``place`` is ``at``."""
    found = []
    for n in range(len(place)):
        a, b = place[n], place[(n + 1) % len(place)]
        if min(a, b) - 1e-9 <= at <= max(a, b) + 1e-9:
            share = (at - a) / (b - a) if abs(b - a) > 1e-9 else 0.0
            found += [height[n] + share * (height[(n + 1) % len(height)] - height[n])]
            if abs(b - a) <= 1e-9:
                found.append(height[(n + 1) % len(height)])
    return float(min(found)), float(max(found))
