"""A case on blocks of about 4 mm: enough to see what is where, and cheap to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.geometry import Affine, voxel_sizes_mm

BLOCK_MM = 4.0
SPREAD = 1.349  # interquartile range of a normal distribution of standard deviation 1


@dataclass(frozen=True, eq=False)
class Coarse:
    """images: sequence -> float32 (i, j, k), means of blocks, in voxel order RAS+.

    brain: bool (i, j, k), blocks of which at least half is brain. affine: of the blocks.
    """

    images: Mapping[str, npt.NDArray[np.float32]]
    brain: npt.NDArray[np.bool_]
    affine: Affine

    @property
    def sizes_mm(self) -> npt.NDArray[np.float64]:
        return voxel_sizes_mm(self.affine)

    def standard(self, sequence: str) -> npt.NDArray[np.float32]:
        """The image with median 0 and spread 1 inside the brain; all 0 where it has no spread."""
        image = self.images[sequence]
        low, middle, high = np.percentile(image[self.brain], (25, 50, 75))
        spread = (high - low) / SPREAD
        if not spread > 1e-6 * max(1.0, abs(float(middle))):
            return np.zeros_like(image)
        return ((image - middle) / spread).astype(np.float32)


def coarse(
    images: Mapping[str, npt.NDArray], brain: npt.NDArray[np.bool_], affine: Affine
) -> Coarse:
    """Average ``images`` (i, j, k; RAS+ voxel order) over blocks of whole voxels.

    affine: of the images. Axes whose voxels are larger than 4 mm keep them; what does not fill a
    block at the upper ends is left out.
    """
    steps = np.maximum(1, np.rint(BLOCK_MM / voxel_sizes_mm(affine))).astype(int)
    steps = np.minimum(steps, brain.shape)
    small = affine @ np.diag([*steps, 1.0])
    small[:3, 3] = affine[:3, :3] @ ((steps - 1) / 2) + affine[:3, 3]
    means = {name: _blocks(image, steps) for name, image in images.items()}
    return Coarse(means, _blocks(brain, steps) >= 0.5, small)


def _blocks(data: npt.NDArray, steps: npt.NDArray[np.int_]) -> npt.NDArray[np.float32]:
    """Means over blocks, one axis after the other, the slowest in memory first."""
    out = np.asarray(data)
    for axis in range(3):
        step = int(steps[axis])
        count = out.shape[axis] // step
        out = np.moveaxis(out, axis, 0)[: count * step]
        total = np.zeros((count, *out.shape[1:]), np.float32)
        for offset in range(step):
            total += out[offset::step]
        out = np.moveaxis(total / step, 0, axis)
    return out
