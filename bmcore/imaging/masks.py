"""What is asked of masks everywhere: the tumour core, connected parts, the box."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import Label

NEIGHBOURS = np.ones((3, 3, 3), bool)  # 26-neighbourhood: faces, edges and corners touch
CORE = (Label.NETC, Label.ET)


def tumour_core(labels: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Where labels 0-3 are tumour core: necrosis or enhancing tumour."""
    return np.isin(labels, CORE)


def connected(mask: npt.NDArray) -> tuple[npt.NDArray[np.int32], int]:
    """The number of each voxel's part (26-neighbourhood), 0 outside, and how many parts."""
    parts, count = ndimage.label(mask, NEIGHBOURS)
    return parts, int(count)


def box_of(mask: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box around a mask (i, j, k). IndexError where it is empty."""
    return ndimage.find_objects(mask.astype(np.uint8))[0]
