"""Axial diameters of lesions (RANO-BM) and where lesions lie, in any voxel order."""

from __future__ import annotations

import numpy as np
import pytest

from bmcore.domain import Volume
from bmcore.geometry import transform
from bmcore.imaging.diameters import axial_diameters, lesion_extents
from bmcore.imaging.lesions import find_lesions
from tests.volumes_fixture import turned


def plate(shape: tuple[int, int, int] = (40, 44, 20)) -> np.ndarray:
    """12 by 6 voxels on slices 8 and 9, a smaller part on slice 10; a speck elsewhere."""
    mask = np.zeros(shape, np.uint8)
    mask[10:22, 20:26, 8:10] = 3
    mask[10:15, 20:26, 10] = 1
    mask[30:33, 5:8, 3:6] = 3
    return mask


SIZES = np.diag([0.5, 2.0, 3.0, 1.0])


def test_a_rectangle_has_its_diagonal_and_the_chord_across_it() -> None:
    """12 by 6 voxels of 0.5 x 2 mm: 5.5 x 10 mm between centres, and a voxel along each way."""
    first, second = lesion_extents(Volume(plate(), SIZES))
    diagonal = np.hypot(5.5, 10)
    along = np.array([5.5, 10]) / diagonal
    voxel, voxel_across = np.hypot(*(along * (0.5, 2))), np.hypot(*(along[::-1] * (0.5, 2)))
    assert first.axial.longest_mm == pytest.approx(diagonal + voxel)
    assert first.axial.across_mm == pytest.approx(5.5 * diagonal / 10 + voxel_across)
    assert first.axial.slice in (8, 9)
    assert first.box == ((10, 21), (20, 25), (8, 10))
    assert second.box == ((30, 32), (5, 7), (3, 5)) and second.axial.slice == 4


def test_the_longest_axial_diameter_is_at_most_the_one_in_space() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        mask = np.zeros((24, 24, 24), np.uint8)
        grid = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"), -1)
        mask[((grid - 12) ** 2 / rng.uniform(4, 60, 3)).sum(-1) < 1] = 3
        for lesion, found in zip(
            find_lesions(mask, np.eye(4)), lesion_extents(Volume(mask, np.eye(4))), strict=True
        ):
            assert found.axial.longest_mm <= lesion.largest_diameter_mm + 1e-9


@pytest.mark.parametrize("codes", ["LPS", "SAL", "AIR"])
def test_the_diameters_do_not_hang_on_the_voxel_order(codes: str) -> None:
    volume = Volume(plate(), SIZES)
    straight, other = lesion_extents(volume), lesion_extents(turned(volume, codes))
    for a, b in zip(straight, other, strict=True):
        assert (a.box, a.axial.slice) == (b.box, b.axial.slice)
        assert a.axial.longest_mm == pytest.approx(b.axial.longest_mm)
        assert a.axial.across_mm == pytest.approx(b.axial.across_mm)


def test_the_ends_are_as_far_apart_as_is_said_and_at_a_right_angle_also_where_tilted() -> None:
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (30, 30, 12)], indexing="ij"), -1)
    shape = (np.abs(grid - (14, 15, 6)) * (1, 1.6, 1.4)).sum(-1) + rng.random((30, 30, 12)) < 10
    (found,) = lesion_extents(Volume(shape * np.uint8(3), tilt @ np.diag([1, 1, 2.5, 1])))
    ends = np.array(found.axial.ends_mm)
    first, second = ends[1] - ends[0], ends[3] - ends[2]
    assert np.linalg.norm(first) == pytest.approx(found.axial.longest_mm)
    assert np.linalg.norm(second) == pytest.approx(found.axial.across_mm)
    assert abs(first @ second) < 1e-6 * found.axial.longest_mm * found.axial.across_mm
    assert found.axial.across_mm <= found.axial.longest_mm
    back = transform(np.linalg.inv(tilt @ np.diag([1, 1, 2.5, 1])), ends)
    assert back[:, 2] == pytest.approx(found.axial.slice)


def test_a_disc_has_its_diameter_both_ways_and_an_empty_lesion_is_an_error() -> None:
    grid = np.stack(np.meshgrid(np.arange(61), np.arange(61), [0], indexing="ij"), -1)
    disc = np.hypot(grid[..., 0] - 30, grid[..., 1] - 30) <= 20
    found = axial_diameters(disc, (0, 0, 0), np.eye(4))
    assert found.longest_mm == pytest.approx(41, abs=0.01)
    assert found.across_mm == pytest.approx(41, abs=0.9)
    one = axial_diameters(np.ones((1, 1, 1), bool), (5, 6, 7), np.eye(4))
    assert one.across_mm == 1
    assert one.longest_mm == pytest.approx(1) and one.slice == 7
    line = axial_diameters(np.ones((5, 1, 1), bool), (0, 0, 0), np.diag([2, 3, 1, 1]))
    assert (line.longest_mm, line.across_mm) == (10, 3)
    with pytest.raises(ValueError, match="without voxels"):
        axial_diameters(np.zeros((2, 2, 2), bool), (0, 0, 0), np.eye(4))
