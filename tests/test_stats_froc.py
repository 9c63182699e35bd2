"""FROC curves that can be drawn by hand."""

import numpy as np
import pytest

from bmcore.stats.bootstrap import Resampling
from bmcore.stats.froc import Detection, Detections, find_candidates, froc

MM = (1.0, 1.0, 1.0)
FAST = Resampling(resamples=300, seed=1)


def candidate(peak, *hits, besides=False):
    return Detection(peak, peak / 2, 6.0, hits, besides)


def test_a_curve_of_two_cases_step_by_step():
    # Case 1: lesions A and B, A found at .9, B at .4, a false part at .6.
    # Case 2: one lesion, never found; false parts at .8 and .3.
    cases = [
        Detections((8.0, 4.0), (candidate(0.9, 0), candidate(0.6), candidate(0.4, 1))),
        Detections((12.0,), (candidate(0.8), candidate(0.3))),
    ]
    curve = froc(cases, rates=(0.25, 0.5, 1.0, 4.0), resampling=FAST)
    assert list(curve.thresholds) == [np.inf, 0.9, 0.8, 0.6, 0.4, 0.3]
    assert list(curve.false_per_case) == [0, 0, 0.5, 1, 1, 1.5]
    assert list(curve.sensitivity) == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    values = [e.value for e in curve.sensitivity_at]
    assert values == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert curve.threshold_at == (0.9, 0.8, 0.4, 0.3)
    assert (curve.cases, curve.lesions) == (2, 3) and curve.sensitivity_at[0].n == 2


def test_lesions_below_the_least_size_neither_count_nor_make_a_candidate_false():
    cases = [Detections((8.0, 4.0), (candidate(0.9, 1), candidate(0.5, 0)))]
    curve = froc(cases, smallest_mm=5, resampling=FAST)
    assert curve.lesions == 1 and curve.false_per_case.max() == 0
    assert curve.sensitivity[-1] == 1
    beside = [Detections((8.0,), (candidate(0.9, besides=True), candidate(0.5)))]
    assert froc(beside, resampling=FAST).false_per_case[-1] == 1


def test_the_score_may_be_the_peak_or_the_mean():
    first, second = Detection(0.9, 0.3, 5, (0,)), Detection(0.8, 0.7, 5, ())
    cases = [Detections((8.0,), (first, second))]
    assert froc(cases, "peak", resampling=FAST).false_per_case[1] == 0
    assert froc(cases, "mean", resampling=FAST).false_per_case[1] == 1
    with pytest.raises(ValueError, match="peak, mean"):
        froc(cases, "median")


def test_without_a_lesion_there_is_no_sensitivity():
    empty = froc([Detections((), (candidate(0.9),))], resampling=FAST)
    assert not any(e.defined for e in empty.sensitivity_at) and empty.lesions == 0
    assert not froc([], resampling=FAST).sensitivity_at[0].defined


def test_patients_are_resampled_with_all_their_lesions():
    # Ten patients: five with 9 lesions, all found, five with one lesion, not found.
    found = Detections((8.0,) * 9, tuple(candidate(0.9, i) for i in range(9)))
    cases = [found] * 5 + [Detections((8.0,), ())] * 5
    at = froc(cases, resampling=Resampling(2000)).sensitivity_at[0]
    # By the mean of nine tenths of binomial draws: k of 10 rich patients give 9k / (8k + 10).
    assert at.value == pytest.approx(0.9) and at.n == 10
    assert at.low == pytest.approx(9 * 2 / (8 * 2 + 10), abs=0.02)
    assert at.high == pytest.approx(9 * 8 / (8 * 8 + 10), abs=0.02)


def test_candidates_of_a_drawn_volume():
    reference, chance = np.zeros((30, 30, 30), bool), np.zeros((30, 30, 30), np.float32)
    reference[3:8, 3:8, 3:8] = True  # found, by a part that only touches its side
    reference[20:25, 20:25, 20:25] = True  # missed
    reference[3, 20, 20] = True  # one voxel: does not count
    chance[8:12, 3:8, 3:8] = 0.4
    chance[9, 5, 5] = 0.9
    chance[2:5, 19:22, 19:22] = 0.7  # touches only the one voxel
    chance[20:23, 3:6, 3:6] = 0.2  # false
    chance[28:30, 28, 28] = 0.9  # two voxels: dropped
    found = find_candidates(chance, reference, MM)
    assert len(found.diameters_mm) == 2
    kinds = sorted((round(c.peak, 2), c.hits, c.besides) for c in found.candidates)
    assert kinds == [(0.2, (), False), (0.7, (), True), (0.9, (0,), False)]
    mean = next(c.mean for c in found.candidates if c.hits)
    assert mean == pytest.approx((99 * 0.4 + 0.9) / 100, abs=1e-6)
    assert len(find_candidates(chance, reference, MM, lowest=0.5).candidates) == 1
    with pytest.raises(ValueError, match="alike"):
        find_candidates(chance, reference[1:], MM)
