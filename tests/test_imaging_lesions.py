"""Lesions: counted, measured, named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from bmcore.anatomy import templates
from bmcore.domain import Volume
from bmcore.geometry import transform
from bmcore.imaging.lesions import at_edge, find_lesions, label_lesions, largest_diameter_mm
from tests.volumes_fixture import SHAPE, affine, ball, turned

GRID = affine()


def empty() -> np.ndarray:
    return np.zeros(SHAPE, np.uint8)


def test_no_lesion_gives_no_row():
    mask = empty()
    mask[5:9, 5:9, 5:9] = 2  # oedema alone is no lesion
    assert find_lesions(mask, GRID) == () and not label_lesions(mask, GRID).any()


def test_volumes_of_a_drawn_lesion():
    mask = empty()
    mask[10:20, 10:20, 10:20] = 2
    mask[12:18, 12:18, 12:18] = 3
    mask[14:16, 14:16, 14:16] = 1
    (lesion,) = find_lesions(mask, affine((1, 1, 2)))
    assert lesion.volume_mm3 == 6**3 * 2 and lesion.necrosis_mm3 == 2**3 * 2
    assert lesion.enhancing_mm3 == (6**3 - 2**3) * 2
    assert lesion.oedema_mm3 == (10**3 - 6**3) * 2
    assert lesion.centroid_voxel == (14.5, 14.5, 14.5) and lesion.centroid_mm == (14.5, 14.5, 29)


def test_voxels_that_touch_at_a_corner_are_one_lesion_and_a_gap_makes_two():
    mask = empty()
    mask[10:12, 10:12, 10:12] = 3
    mask[12:14, 12:14, 12:14] = 1
    assert len(find_lesions(mask, GRID)) == 1
    mask[15:18, 15:18, 15:18] = 3
    assert len(find_lesions(mask, GRID)) == 2


def test_parts_of_one_or_two_voxels_are_ignored():
    mask = empty()
    mask[5, 5, 5] = mask[10, 10, 10:12] = 3
    mask[15, 15, 15:18] = 3
    (lesion,) = find_lesions(mask, GRID)
    assert lesion.volume_mm3 == 3


def test_numbers_follow_volume_and_agree_with_the_labels():
    mask = empty()
    mask[5:8, 5:8, 5:8] = 3  # 27
    mask[20:25, 20:25, 20:25] = 3  # 125
    mask[30:34, 5:9, 5:9] = 1  # 64
    lesions, labels = find_lesions(mask, GRID), label_lesions(mask, GRID)
    assert [x.volume_mm3 for x in lesions] == [125, 64, 27]
    for lesion in lesions:
        where = np.argwhere(labels == lesion.number)
        assert len(where) == lesion.volume_mm3
        np.testing.assert_allclose(where.mean(0), lesion.centroid_voxel)


def test_numbers_do_not_depend_on_the_voxel_order():
    mask = empty()
    for corner in ((5, 5, 5), (25, 5, 5), (5, 30, 20)):  # three of equal size
        mask[tuple(slice(c, c + 4) for c in corner)] = 3
    volume = Volume(mask, affine((1, 1, 1.5), (-20, 30, 7)))
    first = find_lesions(volume.data, volume.affine)
    for codes in ("LPS", "LAS", "SPL"):
        other = turned(volume, codes)
        found = find_lesions(other.data, other.affine)
        np.testing.assert_allclose(
            [x.centroid_mm for x in first], [x.centroid_mm for x in found], atol=1e-6
        )
        assert [x.side for x in first] == [x.side for x in found]


def test_oedema_belongs_to_the_nearest_lesion_in_mm():
    mask = empty()
    mask[5:8, 10:13, 5:8] = 3
    mask[30:33, 10:13, 5:8] = 3
    mask[9:12, 10:13, 5:8] = 2  # 27 voxels beside the first
    mask[27:29, 10:13, 5:8] = 2  # 18 voxels beside the second
    lesions = find_lesions(mask, GRID)
    assert {x.centroid_voxel[0]: x.oedema_mm3 for x in lesions} == {6: 27, 31: 18}
    # across 4 voxels of 1 mm or 2 voxels of 6 mm: the first is nearer
    mask = empty()
    mask[10:13, 10:13, 10] = 3
    mask[17:20, 10:13, 13] = 3
    mask[16, 11, 11] = 2
    by_mm = {x.centroid_voxel[2]: x.oedema_mm3 for x in find_lesions(mask, affine((1, 1, 6)))}
    assert by_mm == {10: 6, 13: 0}


@pytest.mark.parametrize(
    ("voxels", "sizes", "mm"),
    [
        ([(0, 0, 0)], (1, 1, 1), 1),
        ([(0, 0, 0), (4, 0, 0)], (1, 1, 1), 5),  # 4 between the centres, and one voxel
        ([(0, 0, z) for z in range(3)], (1, 1, 5), 15),  # three slices of 5 mm
        ([(x, y, 0) for x in range(4) for y in range(5)], (1, 1, 1), 6),  # sqrt(9 + 16) + 1
        ([(i, i, i) for i in range(3)], (2, 2, 2), np.sqrt(3) * 4 + 2),
    ],
)
def test_largest_diameter_of_points_lines_and_plates(voxels, sizes, mm):
    assert largest_diameter_mm(voxels, affine(sizes)) == pytest.approx(mm)


def test_largest_diameter_of_a_ball_and_of_a_wide_flat_plate():
    voxels = np.argwhere(ball((40, 40, 40), (15.2, 15.2, 15.2), (20, 20, 20)))
    assert largest_diameter_mm(voxels, GRID) == pytest.approx(31, abs=0.5)  # 30 between centres
    plate = np.argwhere(ball((300, 300, 1), (140, 140, 1), (150, 150, 0)))
    assert largest_diameter_mm(plate, GRID) == pytest.approx(281, abs=0.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 400), st.tuples(*[st.integers(1, 25)] * 3))
def test_the_hull_finds_the_greatest_of_all_distances(seed, count, box):
    rng = np.random.default_rng(seed)
    voxels = np.unique(rng.integers(0, box, (count, 3)), axis=0)
    if len(voxels) < 2:
        return
    shear = affine()
    shear[:3, :3] = [[1, 0.2, 0], [0, 1, 0.3], [0.1, 0, 1]]
    for grid in (GRID, shear):
        greatest = pdist(transform(grid, voxels)).max()
        edge = np.linalg.norm(grid[:3, :3], axis=0)
        extra = largest_diameter_mm(voxels, grid) - greatest
        assert edge.min() - 1e-9 <= extra <= edge.max() + 1e-9


@pytest.fixture(scope="module")
def mni():
    """The template's brain at 3 mm."""
    t = templates()
    return t.brain[::3, ::3, ::3], t.affine @ np.diag([3.0, 3.0, 3.0, 1.0])


def _lesion_at(mni, point_mm):
    brain, grid = mni
    centre = transform(np.linalg.inv(grid), point_mm)
    mask = np.zeros(brain.shape, np.uint8)
    middle = np.rint(centre).astype(int)
    mask[tuple(slice(c - 1, c + 2) for c in middle)] = 3
    return mask


@pytest.mark.parametrize("origin_mm", [(0, 0, 0), (500, -300, 80)])
@pytest.mark.parametrize(
    ("point_mm", "side", "region"),
    [
        ((-35, 35, 20), "left", "frontal"),
        ((30, -70, -40), "right", "cerebellum"),
        ((0, -25, -30), "midline", "brainstem"),
    ],
)
def test_side_and_lobe_come_from_the_brain_wherever_the_world_begins(
    mni, point_mm, side, region, origin_mm
):
    brain, grid = mni
    mask = _lesion_at(mni, point_mm)
    moved = grid.copy()
    moved[:3, 3] += origin_mm
    for codes in ("RAS", "LPS"):
        m = turned(Volume(mask, moved), codes)
        b = turned(Volume(brain.astype(np.uint8), moved), codes)
        (lesion,) = find_lesions(m.data, m.affine, b.data > 0)
        assert (lesion.side, lesion.region) == (side, region)


def test_without_a_brain_the_side_is_told_from_the_grid_and_the_lobe_is_unknown():
    mask = empty()
    mask[30:34, 20:24, 10:14] = 3
    grid = affine(origin_mm=(-400, 0, 0))  # all world x are negative
    (lesion,) = find_lesions(mask, grid)
    assert (lesion.side, lesion.region) == ("right", "unknown")
    other = turned(Volume(mask, grid), "LPS")
    assert find_lesions(other.data, other.affine)[0].side == "right"


def test_a_brain_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match="must match the mask"):
        find_lesions(empty(), GRID, np.ones((3, 3, 3), bool))
    with pytest.raises(ValueError, match="3D"):
        label_lesions(np.zeros((4, 4), np.uint8), GRID)


def test_a_lesion_within_three_millimetres_of_the_outside_of_the_brain_is_marked():
    brain = np.zeros((40, 40, 40), bool)
    brain[5:35, 5:35, 5:35] = True
    mask = np.zeros(brain.shape, np.uint8)
    mask[7:10, 18:22, 18:22] = 3  # its first voxel is the third inside
    mask[18:21, 18:21, 18:21] = 3
    lesions = find_lesions(mask, np.eye(4), brain)
    marked = at_edge(lesions, mask, np.eye(4), brain)
    near = {lesion.number: lesion.at_edge for lesion in marked}
    where = {lesion.number: lesion.centroid_voxel[0] for lesion in marked}
    assert {n: where[n] < 12 for n in where} == near
    coarse = np.diag([0.5, 0.5, 0.5, 1])  # the same voxels are nearer in mm
    assert [lesion.at_edge for lesion in at_edge(lesions, mask, coarse, brain)].count(True) == 1
    mask[7:10] = 0
    mask[9:12, 18:22, 18:22] = 3  # five voxels inside: 5 mm off, or 2.5
    lesions = find_lesions(mask, np.eye(4), brain)
    assert not any(lesion.at_edge for lesion in at_edge(lesions, mask, np.eye(4), brain))
    assert any(lesion.at_edge for lesion in at_edge(lesions, mask, coarse, brain))
