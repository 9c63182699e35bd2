"""Small volumes that can be drawn: an ellipsoid brain of random grey, on any voxel order."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import Case, Volume

SHAPE = (40, 48, 36)
ORIGIN_MM = (-20.0, -24.0, -18.0)  # the brain in the middle; an origin of 0 is a header's default
RADII = (14, 18, 13)
ORIENTATIONS = [
    "".join(letters)
    for order in itertools.permutations(("LR", "PA", "IS"))
    for letters in itertools.product(*order)
]
REALDATA = Path(
    os.environ.get("BMCORE_REALDATA", Path(__file__).parents[1] / ".." / "shared" / "realdata")
)
needs_realdata = pytest.mark.skipif(
    not REALDATA.is_dir(), reason="the folder of real MRI files is not here"
)


def affine(sizes_mm=(1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0)) -> np.ndarray:
    out = np.diag([*sizes_mm, 1.0])
    out[:3, 3] = origin_mm
    return out


def ball(shape=SHAPE, radii=RADII, centre=None) -> np.ndarray:
    """bool (i, j, k): an ellipsoid, by default in the middle of the grid."""
    middle = (np.array(shape) - 1) / 2 if centre is None else np.array(centre)
    grid = np.indices(shape).reshape(3, -1).T
    return ((((grid - middle) / np.array(radii)) ** 2).sum(1) <= 1).reshape(shape)


def brain_image(seed=0, shape=SHAPE, background=0.0, brain=None) -> np.ndarray:
    """float32: grey 50-150 without any symmetry inside the brain, ``background`` elsewhere."""
    rng = np.random.default_rng(seed)
    inside = ball(shape) if brain is None else brain
    return np.where(inside, rng.uniform(50, 150, shape), background).astype(np.float32)


def turned(volume: Volume, codes: str) -> Volume:
    """The same image in another voxel order, for instance "LPS"; no voxel moves in the world."""
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    data = nib.apply_orientation(volume.data, turn)
    return Volume(data, volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.shape))


def make_case(grid: np.ndarray | None = None, shape=SHAPE, codes="RAS", **image) -> Case:
    grid = affine(origin_mm=ORIGIN_MM) if grid is None else grid
    names = ("t1n", "t1c", "t2w", "t2f")
    volumes = {
        n: turned(Volume(brain_image(i, shape, **image), grid), codes) for i, n in enumerate(names)
    }
    return Case("TEST-1", volumes)


def save(volume: Volume, path: Path, dtype=np.float32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(volume.data, dtype), volume.affine), path)
    return path


def save_yale(folder: Path, case_id="BraTS-MET-00110-000", codes="RAS", mask=None) -> Path:
    """Four sequences, and a mask where given, as ``FOLDER/CASE/CASE-t1c.nii.gz`` and so on."""
    place = folder / case_id
    case = make_case(codes=codes)
    for name, volume in case.sequences.items():
        save(volume, place / f"{case_id}-{name}.nii.gz")
    if mask is not None:
        save(
            turned(Volume(mask, affine(origin_mm=ORIGIN_MM)), codes),
            place / f"{case_id}-seg.nii.gz",
            np.uint8,
        )
    return place
