"""Synthetic patients on grids like a scanner's: the same places in mm, the same volumes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bmcore.geometry import axis_codes, transform, voxel_sizes_mm
from bmcore.imaging.preprocess import prepare, restore, to_working_grid
from bmcore.intake.datasets import YaleDataset
from bmcore.phantom.cohort import write_cohort
from bmcore.phantom.grids import (
    Grid,
    draw_native_grid,
    image_on,
    labels_on,
    phantom_affine,
)
from bmcore.phantom.tissue import GRID


@pytest.fixture
def ball() -> np.ndarray:
    """A ball of label 3, radius 12 mm, in GRID."""
    place = np.indices(GRID).transpose(1, 2, 3, 0) - np.array([60, 110, 80])
    return np.where((place**2).sum(-1) <= 12**2, 3, 0).astype(np.uint8)


def test_a_ball_keeps_its_place_and_volume_on_every_native_grid(ball: np.ndarray) -> None:
    seen = set()
    centre = transform(phantom_affine(), [60, 110, 80])
    for seed in range(6):
        grid = draw_native_grid(np.random.default_rng(seed))
        seen.add(axis_codes(grid.affine))
        assert np.linalg.norm(grid.affine[:3, 2]) == pytest.approx(grid.thickness_mm)
        mask = labels_on(grid, ball)
        assert set(np.unique(mask)) == {0, 3}
        found = transform(grid.affine, ndimage.center_of_mass(mask))
        assert np.linalg.norm(found - centre) < 0.35 * grid.thickness_mm + 0.3
        volume = (mask > 0).sum() * voxel_sizes_mm(grid.affine).prod()
        assert volume == pytest.approx((ball > 0).sum(), rel=0.12)  # slices up to 5 mm
    assert len(seen) >= 4  # several planes and voxel orders


def test_a_thick_slice_is_the_mean_over_its_thickness() -> None:
    image = np.zeros(GRID, np.float32)
    image[:, :, 80] = 4.0  # one bright layer of 1 mm
    affine = phantom_affine()
    affine[:3, 2] *= 4
    affine[2, 3] = phantom_affine()[2, 3] + 1.5  # slices hold layers 0-3, 4-7 ...
    thick = image_on(Grid((GRID[0], GRID[1], GRID[2] // 4), affine, 4.0), image)
    assert thick[50, 50, 20] == pytest.approx(1.0)
    assert not thick[50, 50, [19, 21]].any()


def test_a_native_cohort_is_read_prepared_and_led_back_to_its_own_grid(tmp_path: Path) -> None:
    write_cohort(1, 3, tmp_path, grid="native")
    dataset = YaleDataset(tmp_path)
    case = dataset.load(dataset.case_ids[0])
    assert case.truth is not None and case.truth.mask is not None
    prepared = prepare(case)
    labels = to_working_grid(case.truth.mask, prepared)
    back = restore(labels, prepared)
    assert back.shape == case.grid.shape
    tumour, again = np.asarray(case.truth.mask.data) == 3, back.data == 3
    assert 2 * (tumour & again).sum() / (tumour.sum() + again.sum()) > 0.9
    file = next(tmp_path.rglob("*-seg.nii.gz"))
    assert nib.load(file).header.get_data_dtype() == np.int16
