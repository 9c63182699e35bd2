"""What is where in a brain: the MNI152 templates that nilearn ships, and the lobes in words.

The templates are read from the installed nilearn package (ICBM152 2009a nonlinear symmetric, 1 mm;
Fonov et al., NeuroImage 2011, 54:313-327) and are never copied into the project.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.geometry import Affine, transform, voxel_sizes_mm

LOBES = ("frontal", "parietal", "temporal", "occipital", "cerebellum", "brainstem", "deep")


@dataclass(frozen=True, eq=False)
class Templates:
    """Tissue fractions 0-1, float32 (197, 233, 189), RAS+ 1 mm; ``affine`` leads to MNI mm."""

    t1: npt.NDArray[np.float32]
    grey: npt.NDArray[np.float32]
    white: npt.NDArray[np.float32]
    brain: npt.NDArray[np.bool_]
    affine: Affine


def _template_file(kind: str) -> Path:
    spec = importlib.util.find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("nilearn is not installed; run 'make app' or pip install nilearn")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    return folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"


def _fraction(kind: str) -> tuple[npt.NDArray[np.float32], Affine]:
    image = nib.load(_template_file(kind))
    data = np.asarray(image.dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    return data / data.max(), np.asarray(image.affine, np.float64)  # type: ignore[attr-defined,arg-type]


@lru_cache(maxsize=1)
def templates() -> Templates:
    """The three templates and the filled brain they cover; read once a process (about 0.5 s)."""
    t1, affine = _fraction("t1")
    grey, _ = _fraction("gm")
    white, _ = _fraction("wm")
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(t1 > 0.05, iterations=2))
    return Templates(t1, grey, white, np.asarray(brain), affine)


def lobe(mni_mm: npt.ArrayLike) -> list[str]:
    """Name the lobe of each point (n, 3) in MNI mm, one of LOBES.

    Planes through the main sulci stand for their course (central sulcus, Sylvian fissure,
    parieto-occipital sulcus, tentorium); good to about 1 cm, meant for words, not for surgery.
    """
    p = np.atleast_2d(np.asarray(mni_mm, float))
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    tentorium = -8 - 0.3 * x - 0.3 * np.clip(-75 - y, 0, None)
    sylvian = np.minimum(-10 + 0.5 * (15 - y), 16)
    lateral_temporal = (x > 30) & (z < sylvian) & (y > -54)
    medial_temporal = (x > 14) & (z < -10) & (y < 12)
    conditions = [
        (x <= 14) & (y > -42) & (y < -12) & (z < -8),
        (y < -34) & (z < tentorium),
        (x < 32) & (y > -28) & (y < 20) & (z > -10) & (z < 20),
        y < -62 - 0.45 * np.clip(z, 0, None),
        (y < 22) & (lateral_temporal | medial_temporal | ((z < -6) & (x > 30) & (y > -62))),
        y > -2 - 0.45 * (z - 10),
    ]
    names = ["brainstem", "cerebellum", "deep", "occipital", "temporal", "frontal"]
    return [str(n) for n in np.select(conditions, names, default="parietal")]


@lru_cache(maxsize=1)
def mni_box() -> npt.NDArray[np.float64]:
    """Corners (2, 3) in MNI mm of the box that holds 99 % of the template's brain."""
    t = templates()
    return _box(t.brain, t.affine)


def _box(brain: npt.NDArray[np.bool_], affine: Affine) -> npt.NDArray[np.float64]:
    points = transform(affine, np.argwhere(brain)[::7])
    return np.percentile(points, (0.5, 99.5), axis=0)


def _axes(affine: Affine) -> Affine:
    """World to the image's own axes, in the order and direction of the world's that they follow.

    The identity where the voxels lie along the world's axes; a turn back where they are oblique.
    """
    along = affine[:3, :3] / voxel_sizes_mm(affine)
    turn = nib.io_orientation(affine)
    order = np.argsort(turn[:, 0])
    out = np.eye(4)
    out[:3, :3] = np.linalg.inv(along[:, order] * turn[order, 1])
    return out


def brain_to_mni(brain: npt.NDArray[np.bool_], affine: Affine) -> Affine:
    """4x4 affine from the world (RAS mm) of ``brain`` (i, j, k) to approximate MNI mm.

    Fits the box that holds 99 % of the brain, along the voxels' axes, onto that of the template,
    axis by axis: slices are laid out by the head, not by the scanner. World origins differ between
    data sets (SRI24 files of BraTS start at a corner), so left and right must come from the brain
    itself, never from the sign of a world coordinate.
    ValueError on an empty mask.
    """
    if not brain.any():
        raise ValueError("the brain mask is empty")
    own = _axes(affine)
    low, high = _box(brain, own @ affine)
    low_mni, high_mni = mni_box()
    scale = (high_mni - low_mni) / np.maximum(high - low, 1e-6)
    out = np.diag([*scale, 1.0])
    out[:3, 3] = low_mni - scale * low
    return out @ own
