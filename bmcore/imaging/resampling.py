"""Images onto another grid: one rule for all, and the smoothing that belongs to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.geometry import Affine, voxel_sizes_mm

WORKING_MM = 1.0


def onto(
    data: npt.NDArray,
    affine: Affine,
    target: Affine,
    shape: tuple[int, int, int],
    outside: str = "nearest",
) -> npt.NDArray[np.float32]:
    """``data`` (i, j, k) at the voxels of a grid of WORKING_MM; linear between voxels.

    Axes much finer than the target are first smoothed to its resolution: full width at half maximum
    sqrt(target² - source²), the usual match of two Gaussian point spreads. outside: what fills what
    lies past the last voxel centre, "nearest" (the border value) or "constant" (0).
    """
    sizes = voxel_sizes_mm(np.asarray(affine))
    width = np.sqrt(np.maximum(WORKING_MM**2 - sizes**2, 0)) / sizes
    data = np.asarray(data, np.float32)
    if width.max() > 1:
        data = ndimage.gaussian_filter(data, width / 2.355, mode="nearest", truncate=2)
    matrix = np.linalg.inv(affine) @ target
    return np.asarray(
        ndimage.affine_transform(
            data, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=1, mode=outside
        ),
        np.float32,
    )
