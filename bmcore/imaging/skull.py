"""Whether the skull was taken away already: the gate before brain extraction, never passed twice.

A net for brain extraction that is given a brain without skull cuts into it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import Volume
from bmcore.geometry import same_grid, voxel_sizes_mm
from bmcore.imaging.brain import LARGEST_ML, filled, foreground, largest_part
from bmcore.imaging.masks import box_of

ONE_VALUE = 0.9  # share of the border with one value
DIP = 0.65  # how far the dark fifth falls below the scalp's again on the way inwards
AROUND_MM = (5.0, 25.0)  # from the brain's surface to where scalp lies
FAINT = 0.15  # of the brain's median: fainter is noise
THICK = 0.05  # share of that shell that is scalp, in a direction that has some
SIDES = 0.7  # share of the directions that have some
LEAST_SIDE = 0.002  # share of the shell in a direction that is looked at
_SIDES = 72
_LOOK_MM = 2.0
_DEPTHS_MM = tuple(range(1, 16, 2))
_LATER = 2  # steps of depth: what lies deeper than 5 mm is bone, or brain

# Measured on T1 post-gadolinium: a dip of 1.00 to 1.05 in case 01, 04 and 14 synthetic brains; 0.24
# to 0.46 in four sequences of a head whose air was set to 0.


def needs_alignment(images: Mapping[str, Volume]) -> bool:
    """True where the sequences lie on several grids, or any of them still has its skull."""
    reference = images["t1c"]
    if not all(same_grid(reference, v) for v in images.values()) or not stripped(reference):
        return True
    others = (volume for name, volume in images.items() if name != "t1c")
    return any(not stripped(v) and surrounds(v, reference) for v in others)


def surrounds(head: Volume, brain: Volume) -> bool:
    """True where ``head`` shows something on all sides of ``brain``, an image without skull on the
    same grid: its skull. T2 without skull has bright water above darker brain, as a head has scalp
    above bone; but it ends where the brain does.
    """
    data, sizes = _looked_at(head)
    inside = filled(largest_part(foreground(_looked_at(brain)[0])))
    values, counts = np.unique(_border(data), return_counts=True)
    bright = np.abs(data - values[counts.argmax()])
    bright = bright > FAINT * np.median(bright[inside]) if inside.any() else bright > 0
    if not bright.any() or not inside.any():
        return False
    away = ndimage.distance_transform_edt(~inside, sampling=sizes)
    shell = np.zeros(inside.shape, bool)
    shell[box_of(bright)] = True  # what a sequence does not cover says nothing
    shell &= (away > AROUND_MM[0]) & (away <= AROUND_MM[1])
    places = (np.argwhere(shell) - ndimage.center_of_mass(inside)) * sizes
    side = _directions(places)
    seen = np.bincount(side, bright[shell], minlength=_SIDES)
    there = np.bincount(side, minlength=_SIDES)
    asked = there >= LEAST_SIDE * len(places)
    return bool(len(places) and (seen[asked] > THICK * there[asked]).mean() >= SIDES)


def _directions(places: npt.NDArray[np.float64]) -> npt.NDArray[np.int_]:
    """The number of the direction of each place (n, 3) from 0: six heights by twelve turns, each
    as wide as the others."""
    height = places[:, 2] / np.maximum(np.linalg.norm(places, axis=1), 1e-9)
    turn = np.arctan2(places[:, 1], places[:, 0]) / (2 * np.pi) % 1
    return np.minimum((height + 1) * 3, 5).astype(int) * 12 + np.minimum(turn * 12, 11).astype(int)


def stripped(head: Volume) -> bool:
    """True where the background reaches to the brain: one constant value at the border, and what
    is not background is no larger than a brain and has no dark bone below its surface."""
    data, sizes = _looked_at(head)
    faces = _border(data)
    values, counts = np.unique(faces, return_counts=True)
    if counts.max() < ONE_VALUE * faces.size:
        return False
    shown = foreground(data)
    millilitres = float(shown.sum()) * float(np.prod(sizes)) / 1000
    if not shown.any() or millilitres > LARGEST_ML:
        return False
    return _dip(data - values[counts.argmax()], filled(largest_part(shown)), sizes) >= DIP


def _looked_at(head: Volume) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Every n-th voxel, about _LOOK_MM apart, and how far they are apart (mm)."""
    sizes = voxel_sizes_mm(np.asarray(head.affine))
    steps = np.maximum(1, np.rint(_LOOK_MM / sizes)).astype(int)
    data = np.asarray(head.data)[tuple(slice(None, None, s) for s in steps)].astype(np.float32)
    return data, sizes * steps


def _border(data: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.concatenate(
        [np.moveaxis(data, axis, 0)[place].ravel() for axis in range(3) for place in (0, -1)]
    )


def _dip(
    data: npt.NDArray[np.float32], whole: npt.NDArray[np.bool_], sizes_mm: npt.NDArray[np.float64]
) -> float:
    """The 20th percentile at a depth over the highest one nearer to the surface, where it is least.

    Scalp is bright and bone below it dark, so that a head's is low; a brain only gets brighter
    inwards. 1 where nothing lies deep.
    """
    depth = ndimage.distance_transform_edt(np.pad(whole, 1), sampling=sizes_mm)[1:-1, 1:-1, 1:-1]
    shells = [(depth > d) & (depth <= d + 2) for d in _DEPTHS_MM]
    levels = [float(np.percentile(data[s], 20)) for s in shells if s.any()]
    falls = [
        level / max(levels[:place])
        for place, level in enumerate(levels)
        if place >= _LATER and max(levels[:place]) > 0
    ]
    return min(falls, default=1.0)
