"""Masks that can be drawn: cubes, shifted cubes, lost cubes."""

import numpy as np
import pytest

from bmcore.stats import segmentation as seg

MM = (1.0, 1.0, 1.0)


def cube(shape, start, edge):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(s, s + edge) for s in start)] = True
    return mask


def test_a_cube_shifted_by_its_half_has_dice_one_half():
    a, b = cube((20, 20, 20), (2, 5, 5), 8), cube((20, 20, 20), (6, 5, 5), 8)
    assert seg.dice(a, b) == 0.5
    assert seg.volume_error_mm3(a, b, MM) == 0


def test_hd95_of_a_shifted_plate_is_the_shift_in_mm():
    # A plate one voxel thick shifted by 3 voxels of 2 mm: each voxel is 6 mm from the other plate.
    a, b = np.zeros((2, 20, 20, 20), bool)
    a[5, 4:15, 4:15] = True
    b[8, 4:15, 4:15] = True
    assert seg.hd95_mm(a, b, (2, 1, 1)) == 6
    assert seg.surface_dice(a, b, (2, 1, 1), tolerance_mm=5.9) == 0
    assert seg.surface_dice(a, b, (2, 1, 1), tolerance_mm=6) == 1


def test_one_voxel_more_all_round_is_within_a_tolerance_of_its_corner_distance():
    inner, outer = cube((20, 20, 20), (6, 6, 6), 6), cube((20, 20, 20), (5, 5, 5), 8)
    # 1 mm off at faces, sqrt(2) at edges, sqrt(3) at corners of the outer cube. Surface voxels:
    # inner 6^3 - 4^3 = 152, all within 1 mm; outer 8^3 - 6^3 = 296, of which 6 * 36 = 216 are.
    assert seg.surface_dice(inner, outer, MM) == pytest.approx((152 + 216) / (152 + 296))
    assert seg.surface_dice(inner, outer, MM, tolerance_mm=1.8) == 1


def test_the_box_around_a_mask_holds_all_of_it_and_everything_where_there_is_nothing():
    mask = cube((20, 20, 20), (2, 5, 6), 8)
    assert seg.box_around(mask) == (slice(2, 10), slice(5, 13), slice(6, 14))
    wider = (slice(0, 13), slice(2, 16), slice(3, 17))  # by a ball of 2 voxels and one more
    assert seg.box_around(mask, np.ones((5, 5, 5), bool)) == wider
    assert mask[seg.box_around(np.zeros_like(mask))].shape == mask.shape


def test_distances_agree_with_monai():
    torch = pytest.importorskip("torch")
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice

    rng = np.random.default_rng(0)
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal((2, 24, 24, 24)), (0, 3, 3, 3))
    a, b = field[0] > 0.02, (field[0] + 0.3 * field[1]) > 0.02
    tensors = [torch.tensor(m[None, None].astype(np.float32)) for m in (a, b)]
    theirs = compute_hausdorff_distance(*tensors, percentile=95, spacing=[1.0, 1.0, 1.5])
    assert seg.hd95_mm(a, b, (1, 1, 1.5)) == pytest.approx(float(theirs), abs=1e-4)
    nsd = compute_surface_dice(*tensors, class_thresholds=[1.0], spacing=[1.0, 1.0, 1.5])
    assert seg.surface_dice(a, b, (1, 1, 1.5)) == pytest.approx(float(nsd), abs=1e-4)


def test_empty_masks_follow_brats():
    empty, full = np.zeros((8, 8, 8), bool), cube((8, 8, 8), (2, 2, 2), 3)
    assert (seg.dice(empty, empty), seg.hd95_mm(empty, empty, MM)) == (1, 0)
    assert (seg.dice(full, empty), seg.hd95_mm(full, empty, MM)) == (0, 374)
    assert (seg.surface_dice(empty, empty, MM), seg.surface_dice(empty, full, MM)) == (1, 0)
    nothing = seg.lesion_wise(empty, empty)
    assert (nothing.dice, nothing.hd95_mm, nothing.lesions, nothing.false_lesions) == (1, 0, (), 0)
    invented = seg.lesion_wise(full, empty)
    assert (invented.dice, invented.hd95_mm, invented.false_lesions) == (0, 374, 1)


def test_missed_and_false_lesions_count_as_the_worst():
    # Two reference cubes, one found exactly, one missed; one predicted cube far from both.
    shape = (40, 40, 40)
    first, second = cube(shape, (3, 3, 3), 5), cube(shape, (25, 25, 25), 5)
    false = cube(shape, (3, 30, 30), 4)
    score = seg.lesion_wise(first | false, first | second)
    assert (score.found, score.missed, score.false_lesions) == (1, 1, 1)
    assert score.dice == pytest.approx(1 / 3)
    assert score.hd95_mm == pytest.approx((0 + 374 + 374) / 3)


def test_pieces_two_voxels_apart_are_one_lesion_and_four_apart_are_two():
    # Dilated by one voxel each, faces with a gap of 2 voxels touch; with a gap of 4 they do not.
    shape = (30, 12, 12)
    left = cube(shape, (3, 4, 4), 4)
    near, far = cube(shape, (9, 4, 4), 4), cube(shape, (11, 4, 4), 4)
    assert len(seg.lesion_wise(left | near, left | near).lesions) == 1
    assert len(seg.lesion_wise(left | far, left | far).lesions) == 2
    half = seg.lesion_wise(left, left | near)
    assert half.dice == pytest.approx(2 * 64 / (64 + 128))
    assert half.missed == 0


def test_a_predicted_lesion_beside_the_reference_is_not_false():
    # It touches the dilated lesion without overlap: Dice 0, but not a false lesion.
    shape = (20, 12, 12)
    reference, beside = cube(shape, (3, 4, 4), 4), cube(shape, (7, 4, 4), 4)
    score = seg.lesion_wise(beside, reference)
    assert (score.found, score.false_lesions, score.dice) == (1, 0, 0)


def test_a_single_voxel_is_ignored_and_two_are_not():
    shape = (20, 20, 20)
    big, dot = cube(shape, (3, 3, 3), 5), cube(shape, (15, 15, 15), 1)
    assert seg.lesion_wise(big, big | dot).dice == 1
    assert seg.lesion_wise(big | dot, big | dot).false_lesions == 0
    two = dot.copy()
    two[16, 15, 15] = True
    assert seg.lesion_wise(big, big | two).missed == 1
    assert seg.lesion_wise(big, big | two, smallest_voxels=3).missed == 0


def test_a_large_prediction_over_two_lesions_is_compared_with_each():
    shape = (30, 12, 12)
    left, right = cube(shape, (3, 4, 4), 4), cube(shape, (15, 4, 4), 4)
    bridge = np.zeros(shape, bool)
    bridge[3:19, 4:8, 4:8] = True
    score = seg.lesion_wise(bridge, left | right)
    assert score.dice == pytest.approx(2 * 64 / (64 + 256))
    assert score.false_lesions == 0


def test_the_diameter_of_a_cube_is_its_diagonal_and_of_a_plate_its_own():
    assert seg.largest_diameter_mm(cube((30, 30, 30), (2, 2, 2), 11), MM) == pytest.approx(
        10 * 3**0.5 + 1
    )
    plate = np.zeros((30, 30, 30), bool)
    plate[4, 2:27, 2:27] = True
    assert seg.largest_diameter_mm(plate, MM) == pytest.approx(24 * 2**0.5 + 1)
    assert seg.largest_diameter_mm(cube((9, 9, 9), (4, 4, 4), 1), (2, 2, 2)) == 2


def test_detection_by_size_and_false_lesions_a_case():
    bins = seg.detection_by_size(
        [3, 4, 7, 8, 9, 30], [0, 1, 1, 1, 0, 1], ["p", "q", "p", "q", "r", "r"]
    )
    assert [b.lesions for b in bins] == [2, 3, 0, 1]
    assert [b.sensitivity.value for b in bins[:2]] == pytest.approx([0.5, 2 / 3])
    assert not bins[2].sensitivity.defined
    assert seg.false_lesions_per_case([0, 0, 3, 1]).value == 1
    assert not seg.false_lesions_per_case([]).defined


def test_a_region_is_the_union_of_its_labels():
    labels = np.arange(8).reshape(2, 2, 2) % 4
    assert seg.region(labels, (1, 3)).sum() == 4
    with pytest.raises(ValueError, match="one grid"):
        seg.dice(np.ones((2, 2, 2), bool), np.ones((3, 2, 2), bool))


def test_both_empty_is_perfect_and_one_empty_is_the_worst_for_every_number():
    empty, full = np.zeros((8, 8, 8), bool), cube((8, 8, 8), (2, 2, 2), 3)
    for mm in (MM, (0.5, 0.5, 5.0)):
        perfect = seg.lesion_wise(empty, empty, mm)
        missed, invented = seg.lesion_wise(empty, full, mm), seg.lesion_wise(full, empty, mm)
        assert (perfect.dice, perfect.hd95_mm) == (1, 0)
        assert (missed.dice, missed.hd95_mm, missed.missed, missed.false_lesions) == (0, 374, 1, 0)
        assert (invented.dice, invented.hd95_mm, invented.false_lesions) == (0, 374, 1)
        assert seg.surface_dice(full, empty, mm) == 0
    assert seg.volume_error_mm3(empty, empty, MM) == 0
    assert seg.volume_error_mm3(empty, full, (1, 1, 2)) == -54


def test_on_the_grid_of_the_challenge_the_ball_is_its_18_neighbour_element():
    from scipy.ndimage import generate_binary_structure

    for edge in (1.0, 1.02):
        ball = seg.dilation_ball((edge,) * 3)
        assert (ball == generate_binary_structure(3, 2)).all()


def test_what_is_joined_depends_on_mm_and_not_on_voxels():
    # Two plates 2 mm apart are one lesion, 4 mm apart two, on 1 mm, on 0.5 mm and on 1x1x3 mm.
    for step, mm in ((1, MM), (2, (0.5, 0.5, 0.5)), (1, (1, 1, 3))):
        shape = (30 * step, 12, 12)
        for gap, lesions in ((2, 1), (4, 2)):
            both = np.zeros(shape, bool)
            both[3 * step : 7 * step, 4:8, 4:8] = True
            both[(7 + gap) * step : (11 + gap) * step, 4:8, 4:8] = True
            assert len(seg.lesion_wise(both, both, mm).lesions) == lesions
    # Along a 3 mm axis 1 mm reaches no further voxel: an empty slice between keeps two lesions.
    apart = np.zeros((12, 12, 12), bool)
    apart[3:8, 3:8, 2:5] = apart[3:8, 3:8, 6:9] = True
    assert len(seg.lesion_wise(apart, apart, (1, 1, 3)).lesions) == 2
    assert len(seg.lesion_wise(apart, apart, MM).lesions) == 1


def test_lesion_scores_are_in_mm_on_voxels_that_are_not_cubes():
    shape = (12, 12, 12)
    lesion, moved = cube(shape, (3, 3, 3), 2), cube(shape, (3, 3, 4), 2)
    score = seg.lesion_wise(moved, lesion, (1, 1, 4)).lesions[0]
    assert score.volume_mm3 == 32 and score.dice == 0.5
    assert score.hd95_mm == 4  # half of the surface is one slice of 4 mm away
    assert score.diameter_mm == pytest.approx((1 + 1 + 16) ** 0.5 + 2)


def reference_scores(prediction, reference):
    """The published algorithm in its own order: whole volumes, one lesion after the other."""
    from scipy import ndimage

    near, all_round = (ndimage.generate_binary_structure(3, n) for n in (2, 3))
    dilated = ndimage.binary_dilation(reference, near)
    lesions = ndimage.label(dilated, all_round)[0] * reference
    parts = ndimage.label(prediction, all_round)[0]
    right, dices = set(), []
    for number in range(1, lesions.max() + 1):
        own = lesions == number
        touched = set(np.unique(parts * ndimage.binary_dilation(own, near))) - {0}
        right |= touched
        if own.sum() > 1:
            found = np.isin(parts, list(touched))
            dices.append(2 * (found & own).sum() / (found.sum() + own.sum()))
    false = set(np.unique(parts)) - right - {0}
    n = len(dices) + len(false)
    return (sum(dices) / n if n else 1.0), len(dices), len(false)


@pytest.mark.parametrize("seed", range(6))
def test_the_boxed_algorithm_gives_the_numbers_of_the_published_one(seed):
    from scipy.ndimage import gaussian_filter

    fields = gaussian_filter(
        np.random.default_rng(seed).standard_normal((2, 32, 30, 28)), (0, 2, 2, 2)
    )
    truth, found = fields[0] > 0.08, (fields[0] + 0.6 * fields[1]) > 0.08
    expected, lesions, false = reference_scores(found, truth)
    score = seg.lesion_wise(found, truth)
    assert score.dice == pytest.approx(expected)
    assert (len(score.lesions), score.false_lesions) == (lesions, false)
    assert len(score.false_diameters_mm) == false and lesions > 3


def test_false_lesions_are_counted_by_their_own_size():
    shape = (40, 40, 40)
    real, dot, ball = (
        cube(shape, (3, 3, 3), 5),
        cube(shape, (30, 3, 3), 1),
        cube(shape, (3, 30, 3), 8),
    )
    score = seg.lesion_wise(real | dot | ball, real)
    assert sorted(score.false_diameters_mm) == pytest.approx([1, 7 * 3**0.5 + 1])
    bins = seg.false_lesions_by_size(score.false_diameters_mm, [0, 0], cases=4)
    assert [b.lesions for b in bins] == [1, 0, 1, 0]
    assert [b.per_case.value for b in bins] == [0.25, 0, 0.25, 0]
    assert bins[0].per_case.n == 4
