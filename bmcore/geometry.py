"""Affines and grids: pure functions on numpy arrays. World is RAS+ mm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from bmcore.domain import Volume

Affine = npt.NDArray[np.float64]


def check_affine(affine: npt.ArrayLike) -> Affine:
    """Return ``affine`` as float64 4x4; ValueError if it is not finite, invertible and affine."""
    a = np.array(affine, dtype=np.float64)
    if a.shape != (4, 4):
        raise ValueError(f"an affine must be 4x4, but is {a.shape}")
    if not np.isfinite(a).all():
        raise ValueError("an affine must be finite, but holds NaN or infinity")
    if not np.allclose(a[3], (0, 0, 0, 1)):
        raise ValueError(f"the last row of an affine must be 0 0 0 1, but is {a[3]}")
    if abs(np.linalg.det(a[:3, :3])) < 1e-9:
        raise ValueError("an affine must be invertible, but two axes coincide or one has no length")
    return a


def voxel_sizes_mm(affine: Affine) -> npt.NDArray[np.float64]:
    """Edge lengths (3,) of a voxel in mm."""
    return np.sqrt((affine[:3, :3] ** 2).sum(axis=0))


def axis_codes(affine: Affine) -> str:
    """Orientation in letters, for instance ``RAS`` or ``LPS``."""
    return "".join(nib.aff2axcodes(affine))


def transform(affine: Affine, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Apply ``affine`` to points (..., 3)."""
    return np.asarray(points, float) @ affine[:3, :3].T + affine[:3, 3]


def same_grid(a: Volume, b: Volume, tolerance_mm: float = 0.05) -> bool:
    """True where shapes agree and no corner voxel lies further apart than ``tolerance_mm``."""
    if a.shape != b.shape:
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.shape])).reshape(3, -1).T
    gap = transform(a.affine, corners) - transform(b.affine, corners)
    return bool(np.abs(gap).max() <= tolerance_mm)


def to_ras(data: npt.NDArray, affine: Affine) -> tuple[npt.NDArray, Affine]:
    """Turn to the closest RAS+ voxel order by flips and swaps only; exactly invertible."""
    turn = nib.io_orientation(affine)
    turned = nib.apply_orientation(data, turn)
    return turned, affine @ nib.orientations.inv_ornt_aff(turn, data.shape)


def from_ras(data: npt.NDArray, affine: Affine) -> npt.NDArray:
    """Turn an array of RAS+ voxel order back to the order of ``affine``; undoes ``to_ras``."""
    own = nib.io_orientation(affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), own)
    return np.ascontiguousarray(nib.apply_orientation(data, turn))


def resample(
    data: npt.NDArray,
    affine: Affine,
    target_affine: Affine,
    target_shape: tuple[int, int, int],
    order: int = 1,
) -> npt.NDArray:
    """Sample ``data`` on another grid through world space; 0 outside. ``order`` 0 for labels."""
    matrix = np.linalg.inv(affine) @ target_affine
    return ndimage.affine_transform(
        data, matrix[:3, :3], matrix[:3, 3], output_shape=target_shape, order=order, cval=0
    )
