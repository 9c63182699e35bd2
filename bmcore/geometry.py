"""Affines and grids: pure functions on numpy arrays. World is RAS+ mm.

nibabel and SciPy are imported where they are used: ``domain`` imports this module, and everything
imports ``domain``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]


class OnGrid(Protocol):
    """What lies on a grid of voxels, for instance a ``OnGrid``."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def affine(self) -> Affine: ...


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
    import nibabel as nib

    return "".join(nib.aff2axcodes(affine))


def inverse(affine: Affine) -> Affine:
    """The way back; LinAlgError where there is none."""
    return np.asarray(np.linalg.inv(affine), float)


def transform(affine: Affine, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Apply ``affine`` to points (..., 3)."""
    return np.asarray(points, float) @ affine[:3, :3].T + affine[:3, 3]


def same_grid(a: OnGrid, b: OnGrid, tolerance_mm: float = 0.05) -> bool:
    """True where shapes agree and no corner voxel lies further apart than ``tolerance_mm``."""
    gap = largest_gap_mm(a, b)
    return gap is not None and gap <= tolerance_mm


def largest_gap_mm(a: OnGrid, b: OnGrid) -> float | None:
    """The largest distance along a world axis of a corner voxel from its partner; None where the
    shapes differ."""
    if a.shape != b.shape:
        return None
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.shape])).reshape(3, -1).T
    gap = transform(a.affine, corners) - transform(b.affine, corners)
    return float(np.abs(gap).max())


def allowed_gap_mm(volume: OnGrid) -> float:
    """How far voxels may lie from those of ``volume`` and still count as the same grid.

    Half the shortest edge of a voxel, at most 1 mm: the nearest voxel is the partner everywhere.
    """
    return min(1.0, float(voxel_sizes_mm(volume.affine).min()) / 2)


def describe_difference(a: OnGrid, b: OnGrid) -> str:
    """How the grid of ``b`` differs from that of ``a``, in mm and degrees."""
    axes = [v.affine[:3, :3] / voxel_sizes_mm(v.affine) for v in (a, b)]
    cosine = (np.trace(axes[0].T @ axes[1]) - 1) / 2
    degrees = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    middles = [transform(v.affine, (np.array(v.shape) - 1) / 2) for v in (a, b)]
    shift = middles[1] - middles[0]
    along = ", ".join(f"{s:+.2f}" for s in shift)
    told = [f"turned by {degrees:.2f} degrees", f"middles {np.linalg.norm(shift):.2f} mm apart "
            f"({along} to the right, front and top)"]  # fmt: skip
    gap = largest_gap_mm(a, b)
    if gap is None:
        told.append("another number of voxels")
    else:
        told.append(f"corners up to {gap:.2f} mm apart")
    change = voxel_sizes_mm(b.affine) - voxel_sizes_mm(a.affine)
    if np.abs(change).max() > 1e-4:
        told.append("voxel edges differ by " + ", ".join(f"{c:+.4f}" for c in change) + " mm")
    return "; ".join(told)


def to_ras(data: npt.NDArray, affine: Affine) -> tuple[npt.NDArray, Affine]:
    """Turn to the closest RAS+ voxel order by flips and swaps only; exactly invertible."""
    import nibabel as nib

    turn = nib.io_orientation(affine)
    turned = nib.apply_orientation(data, turn)
    return turned, affine @ nib.orientations.inv_ornt_aff(turn, data.shape)


def from_ras(data: npt.NDArray, affine: Affine) -> npt.NDArray:
    """Turn an array of RAS+ voxel order back to the order of ``affine``; undoes ``to_ras``."""
    import nibabel as nib

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
    from scipy import ndimage

    matrix = np.linalg.inv(affine) @ target_affine
    return ndimage.affine_transform(
        data, matrix[:3, :3], matrix[:3, 3], output_shape=target_shape, order=order, cval=0
    )
