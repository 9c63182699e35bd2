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

ONE_VALUE = 0.9  # share of the border with one value
DIP = 0.65  # how far the dark fifth falls below the scalp's again on the way inwards
_LOOK_MM = 2.0
_DEPTHS_MM = tuple(range(1, 16, 2))
_LATER = 2  # steps of depth: what lies deeper than 5 mm is bone, or brain

# Measured on T1 post-gadolinium: a dip of 1.00 to 1.05 in case 01, 04 and 14 synthetic brains; 0.24
# to 0.46 in four sequences of a head whose air was set to 0.


def needs_alignment(images: Mapping[str, Volume]) -> bool:
    """True where the sequences lie on several grids, or T1 post-gadolinium still has its skull."""
    reference = images["t1c"]
    return not all(same_grid(reference, v) for v in images.values()) or not stripped(reference)


def stripped(head: Volume) -> bool:
    """True where the background reaches to the brain: one constant value at the border, and what
    is not background is no larger than a brain and has no dark bone below its surface."""
    sizes = voxel_sizes_mm(np.asarray(head.affine))
    steps = np.maximum(1, np.rint(_LOOK_MM / sizes)).astype(int)
    data = np.asarray(head.data)[tuple(slice(None, None, s) for s in steps)].astype(np.float32)
    sizes = sizes * steps
    faces = np.concatenate(
        [np.moveaxis(data, axis, 0)[place].ravel() for axis in range(3) for place in (0, -1)]
    )
    values, counts = np.unique(faces, return_counts=True)
    if counts.max() < ONE_VALUE * faces.size:
        return False
    shown = foreground(data)
    millilitres = float(shown.sum()) * float(np.prod(sizes)) / 1000
    if not shown.any() or millilitres > LARGEST_ML:
        return False
    return _dip(data - values[counts.argmax()], filled(largest_part(shown)), sizes) >= DIP


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
