"""HD95 and NSD on surface elements weighted by their area, as BraTS-METS scores them.

The convention of DeepMind's ``surface-distance`` (Nikolov et al. 2021, J Med Internet Res
23:e26151), which the challenge's scoring code calls: elements of the surface sit at the corners
between eight voxels, with the area that the surface through the middles of the voxels' edges has
there; distances run between such corners. ``segmentation`` has the other convention (MONAI's), in
which every surface voxel counts once.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.stats.segmentation import (
    SURFACE_CONVENTION,
    WORST_HD95_MM,
    Mask,
    Spacing,
    box_around,
)

Floats = npt.NDArray[np.float64]
CONVENTION = "surface elements weighted by area (DeepMind's surface-distance, as BraTS-METS)"
# What a model card's "surfaces" says -> in words; a card without it counted surface voxels.
CONVENTIONS = {"voxels": SURFACE_CONVENTION, "elements": CONVENTION}
_CORNERS = tuple(itertools.product((0, 1), repeat=3))


def hd95_mm(prediction: Mask, reference: Mask, spacing_mm: Spacing) -> float:
    """The greater of the two directions' 95th percentile of the distance, by area, in mm.

    Empty masks as in ``segmentation``: both 0, one 374 mm. ValueError on shapes that differ.
    """
    found = _distances(prediction, reference, spacing_mm)
    if found is None:
        same = bool(np.any(prediction)) == bool(np.any(reference))
        return 0.0 if same else WORST_HD95_MM
    return max(_percentile(d, a, 0.95) for d, a in found)


def surface_dice(
    prediction: Mask, reference: Mask, spacing_mm: Spacing, tolerance_mm: float = 1.0
) -> float:
    """NSD: share of the area of both surfaces that lies within ``tolerance_mm`` of the other."""
    found = _distances(prediction, reference, spacing_mm)
    if found is None:
        return float(bool(np.any(prediction)) == bool(np.any(reference)))
    near = sum(float(area[d <= tolerance_mm].sum()) for d, area in found)
    return near / sum(float(area.sum()) for _, area in found)


@cache
def element_areas(spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """(256,) area of the surface inside a cell of eight voxel centres, by which of them are set
    (bit i for corner i of the cell, axes outermost first), in mm2."""
    return np.array([_area(code, np.asarray(spacing_mm)) for code in range(256)])


def _distances(
    prediction: Mask, reference: Mask, spacing_mm: Spacing
) -> list[tuple[Floats, Floats]] | None:
    """Distances and areas of the elements of either surface to the other; None: an empty mask."""
    a, b = np.asarray(prediction, bool), np.asarray(reference, bool)
    if a.ndim != 3 or a.shape != b.shape:
        raise ValueError(f"both masks must be 3D on one grid, but are {a.shape} and {b.shape}")
    if not a.any() or not b.any():
        return None
    edges = tuple(float(x) for x in spacing_mm)
    box = box_around(a | b)
    codes = [_codes(mask[box]) for mask in (a, b)]
    areas = element_areas((edges[0], edges[1], edges[2]))
    surfaces = [(code > 0) & (code < 255) for code in codes]
    out = []
    for own, other in ((0, 1), (1, 0)):
        to_other = ndimage.distance_transform_edt(~surfaces[other], sampling=edges)
        out.append((to_other[surfaces[own]], areas[codes[own][surfaces[own]]]))
    return out


def _codes(mask: Mask) -> npt.NDArray[np.int64]:
    """Which of the eight voxels around each corner of the grid are set, a number a corner."""
    padded = np.pad(mask, 1).astype(np.int64)
    size = [s - 1 for s in padded.shape]
    total = np.zeros(size, dtype=np.int64)
    for bit, (i, j, k) in enumerate(_CORNERS):
        total += padded[i : i + size[0], j : j + size[1], k : k + size[2]] << bit
    return total


def _percentile(distances: Floats, areas: Floats, share: float) -> float:
    order = np.argsort(distances, kind="stable")
    reached = areas[order].cumsum() / areas.sum()
    at = min(int(np.searchsorted(reached, share)), len(order) - 1)
    return float(distances[order][at])


def _area(code: int, spacing: Floats) -> float:
    total = 0.0
    for loop in _loops(code):
        points = np.array(loop) * spacing
        for one, other in itertools.pairwise(points[1:]):
            total += float(np.linalg.norm(np.cross(one - points[0], other - points[0]))) / 2
    return total


def _loops(code: int) -> list[list[tuple[float, ...]]]:
    """The closed lines of the surface on the cell's faces, through the middles of its edges. Where
    a face has its set corners across from each other, they stay apart."""
    inside = {c: bool(code >> bit & 1) for bit, c in enumerate(_CORNERS)}
    joined: dict[tuple[float, ...], list[tuple[float, ...]]] = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        ring = _ring(axis, side)
        crossing = [
            (i, (ring[i], ring[(i + 1) % 4]))
            for i in range(4)
            if inside[ring[i]] != inside[ring[(i + 1) % 4]]
        ]
        middles = [tuple((x + y) / 2 for x, y in zip(*ends, strict=True)) for _, ends in crossing]
        if len(crossing) == 4 and not inside[ring[1]]:
            middles = middles[1:] + middles[:1]
        for one, other in zip(middles[::2], middles[1::2], strict=True):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    loops = []
    left = set(joined)
    while left:
        start = min(left)
        loop, last, here = [start], start, joined[start][0]
        while here != start:
            loop.append(here)
            ahead = joined[here]
            last, here = here, ahead[1] if ahead[0] == last else ahead[0]
        left -= set(loop)
        loops.append(loop)
    return loops


def _ring(axis: int, side: int) -> list[tuple[int, ...]]:
    """The four corners of a face, one after the other around it."""
    ring = []
    for pair in ((0, 0), (0, 1), (1, 1), (1, 0)):
        corner = list(pair)
        corner.insert(axis, side)
        ring.append(tuple(corner))
    return ring
