"""Period, carry-over, subgroups, learning; calibration; the average reader's ROC curve."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.stats import norm
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from bmcore.stats import calibration, delong, effects, mixed, reader_curves
from bmcore.stats.bootstrap import Resampling
from bmcore.stats.effects import Rows
from bmcore.stats.estimate import proportion


def design(seed=0, readers=4, cases=24):
    """A crossover: for each reader half of the cases are read first in the new arm."""
    rng = np.random.default_rng(seed)
    index = list(itertools.product(range(readers), range(cases), (False, True)))
    began = np.array([(j + i) % 2 == 0 for j, i, _ in index])
    second = np.array([s for *_, s in index])
    period = np.where(began == second, 1, 2)
    reader, case = rng.normal(0, 0.3, readers), rng.normal(0, 0.5, cases)
    noise = rng.normal(0, 0.4, len(index))
    outcome = np.array([reader[j] + case[i] for j, i, _ in index]) + noise + 0.5 * second
    rows = Rows(outcome, [f"R{j}" for j, *_ in index], [f"C{i}" for _, i, _ in index], second)
    return rows, period, began


def test_a_crossover_is_adjusted_for_its_period():
    rows, period, began = design()
    shifted = Rows(rows.outcome + 0.3 * (period == 2), rows.reader, rows.case, rows.second)
    found = effects.crossover(shifted, period, began)
    change = [
        shifted.outcome[rows.second & (began == b)].mean()
        - shifted.outcome[~rows.second & (began == b)].mean()
        for b in (False, True)
    ]
    assert found.arm.difference.value == pytest.approx(np.mean(change))
    assert found.period.difference.value == pytest.approx((change[0] - change[1]) / 2)
    assert found.arm.difference.low < 0.5 < found.arm.difference.high
    assert found.period.difference.low < 0.3 < found.period.difference.high
    assert found.arm.difference.n == 24
    assert abs(found.carry_over.difference.value) < 0.3


def test_a_crossover_that_is_none_says_so():
    rows, period, _ = design()
    one = effects.crossover(rows, np.ones(len(period)), period == 1)
    assert "every row has the same period" in one.arm.difference.method
    same = effects.crossover(rows, np.where(rows.second, 2, 1), np.zeros(len(period), bool))
    assert "same carry-over" in same.arm.difference.method
    tied = effects.crossover(rows, np.where(rows.second, 2, 1), period == 1)
    assert "cannot be told apart" in tied.arm.difference.method
    with pytest.raises(ValueError, match="alike in length"):
        Rows(np.zeros(3), ["a"], ["b"], np.zeros(3, bool))


def test_a_subgroup_has_its_own_effect_and_an_interaction():
    rows, *_ = design(3)
    group = ["large" if int(c[1:]) % 2 else "small" for c in rows.case]
    more = np.array([g == "large" for g in group]) & rows.second
    found = effects.interaction(
        Rows(rows.outcome + 0.8 * more, rows.reader, rows.case, rows.second), group
    )
    values = rows.outcome + 0.8 * more
    for name in ("large", "small"):
        inside = np.array([g == name for g in group])
        expected = values[inside & rows.second].mean() - values[inside & ~rows.second].mean()
        assert found.by_group[name].difference.value == pytest.approx(expected, abs=1e-6)
    gap = found.by_group["small"].difference.value - found.by_group["large"].difference.value
    assert found.against_first["small"].difference.value == pytest.approx(gap, abs=1e-6)
    assert found.p == pytest.approx(found.against_first["small"].p, rel=1e-3)  # one contrast
    assert found.p < 0.001
    three = [("a", "b", "c")[int(c[1:]) % 3] for c in rows.case]
    assert 0 < effects.interaction(rows, three).p < 1
    assert (
        "a single group"
        in effects.interaction(rows, ["x"] * len(three)).by_group["x"].difference.method
    )
    lopsided = ["new" if s else "old" for s in rows.second]
    assert (
        "not read in both arms"
        in effects.interaction(rows, lopsided).by_group["new"].difference.method
    )


def test_learning_is_the_slope_along_the_list():
    rows, *_ = design(5)
    place = np.array([int(c[1:]) + 1 for c in rows.case])
    outcome = np.where(rows.second, -0.02, 0.01) * place + np.random.default_rng(1).normal(
        0, 0.05, len(place)
    )
    outcome[3] = math.nan
    found = effects.learning(Rows(outcome, rows.reader, rows.case, rows.second), place)
    for one, value in ((found.control, 0.1), (found.new, -0.2), (found.difference, -0.3)):
        assert one.difference.low < value < one.difference.high
        assert one.difference.value == pytest.approx(value, abs=0.03)
    few = effects.learning(Rows(outcome[:4], rows.reader[:4], rows.case[:4], rows.second[:4]),
                           place[:4])  # fmt: skip
    assert "three places" in few.new.difference.method


def test_a_model_without_a_random_effect_is_refused():
    with pytest.raises(ValueError, match="needs a random effect"):
        mixed.fit([1.0, 2.0, 3.0], {}, {})


# --- calibration ---------------------------------------------------------------------------------


def test_slope_and_intercept_are_those_of_glm():
    # R 4.2.2: glm(y ~ qlogis(p)) slope 0.5146942414; glm with an offset, intercept
    # 0.1206194538. The errors here are clustered on patients: statsmodels' sandwich.
    i = np.arange(1, 41)
    p = np.round(0.05 + 0.9 * ((i * 7919) % 97) / 97, 3)
    y = ((i * 104729) % 101) / 101 < 1 / (1 + np.exp(-(0.3 + 0.7 * np.log(p / (1 - p)))))
    found = calibration.calibration(p, y)
    assert found.slope.value == pytest.approx(0.5146942414, abs=1e-7)
    assert found.intercept.value == pytest.approx(0.1206194538, abs=1e-7)
    assert found.excess.value == pytest.approx((20.112 - 21) / 40)
    design = np.column_stack([np.ones(40), np.log(p / (1 - p))])
    robust = GLM(y.astype(float), design, Binomial()).fit(cov_type="HC0")
    half = (found.slope.high - found.slope.low) / 2 / stats.t.ppf(0.975, 39)
    assert half == pytest.approx(robust.bse[1] * math.sqrt(40 / 39), rel=1e-6)
    assert len(found.curve) == 5
    assert sum(point.seen.n for point in found.curve) == 40


def test_calibration_of_a_drawing_is_found_and_its_states_are_named():
    rng = np.random.default_rng(2)
    p = rng.uniform(0.02, 0.98, 4000)
    right = calibration.calibration(p, rng.random(4000) < p)
    assert right.slope.low < 1 < right.slope.high
    assert right.intercept.low < 0 < right.intercept.high
    odds = np.log(p / (1 - p))
    extreme = calibration.calibration(1 / (1 + np.exp(-2 * odds)), rng.random(4000) < p)
    assert extreme.slope.value == pytest.approx(0.5, abs=0.06)
    few = calibration.calibration(p[:30], np.arange(30) < 4)
    assert "4 outcomes and 26 non-outcomes, but 10 of each are needed" in few.slope.method
    flat = calibration.calibration(np.full(40, 0.5), np.arange(40) % 2 == 0)
    assert "every probability is the same" in flat.slope.method
    apart = calibration.calibration(np.arange(40) / 50 + 0.1, np.arange(40) >= 20)
    assert "separate" in apart.slope.method
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration.calibration([1.2], [True])
    with pytest.raises(ValueError, match="alike"):
        calibration.calibration([0.2], [True, False])
    assert calibration.calibration([], []).curve == ()
    assert calibration.reader_probability(80.0) == 0.8
    with pytest.raises(ValueError, match="0-100"):
        calibration.reader_probability(101)


def test_calibration_errors_are_those_of_patients_not_of_rows():
    rng = np.random.default_rng(4)
    p = rng.uniform(0.1, 0.9, 60)
    y = rng.random(60) < p
    single = calibration.calibration(p, y)
    tenfold = calibration.calibration(np.repeat(p, 10), np.repeat(y, 10), np.repeat(range(60), 10))
    assert tenfold.slope.low == pytest.approx(single.slope.low, abs=1e-6)
    assert tenfold.slope.n == 60


# --- the average curve ---------------------------------------------------------------------------


def test_the_area_under_the_average_curve_is_the_average_area():
    rng = np.random.default_rng(6)
    truth = np.arange(80) < 32
    scores = np.round(rng.normal(size=(4, 80)) + 1.2 * truth, 1)
    fine = np.linspace(0, 1, 4801)  # 48 negatives: every corner lies on the grid
    found = reader_curves.average_curve(scores, truth, grid=fine, resampling=Resampling(100))
    areas = [delong.auc(row, truth).value for row in scores]
    assert found.area == pytest.approx(np.mean(areas), abs=0.002)
    assert found.readers == 4
    assert (found.low <= found.sensitivity + 1e-12).all()
    assert (found.high >= found.sensitivity - 1e-12).all()
    fixed = reader_curves.average_curve(scores, truth, fixed_readers=True)
    random = reader_curves.average_curve(scores, truth)
    assert (random.high - random.low).mean() > (fixed.high - fixed.low).mean()


def test_a_perfect_reader_has_a_band_that_is_wilsons():
    truth = np.arange(30) < 10
    found = reader_curves.average_curve(truth[None].astype(float), truth)
    assert (found.sensitivity == 1).all()
    assert found.low[50] == pytest.approx(proportion(10, 10).low)
    assert found.area == pytest.approx(1)


def test_a_reader_of_few_cases_does_not_enter_and_holes_are_passed_over():
    rng = np.random.default_rng(7)
    truth = np.arange(40) < 20
    scores = rng.normal(size=(3, 40)) + truth
    scores[2, 3:] = np.nan
    scores[1, ::5] = np.nan
    found = reader_curves.average_curve(scores, truth)
    assert found.readers == 2
    with pytest.raises(ValueError, match="no reader has read"):
        reader_curves.average_curve(scores[2:], truth)
    with pytest.raises(ValueError, match="truth"):
        reader_curves.average_curve(scores, truth[:3])


def test_the_pointwise_band_covers():
    inside = []
    for seed in range(60):
        rng = np.random.default_rng([9, seed])
        truth = np.arange(90) < 40
        scores = rng.normal(size=(5, 90)) + rng.normal(0, 0.4, 90) + 1.3 * truth
        found = reader_curves.average_curve(scores, truth, fixed_readers=True,
                                            resampling=Resampling(150))  # fmt: skip
        at = 20
        cut = norm.isf(found.grid[at]) * math.sqrt(1.16)
        expected = norm.sf((cut - 1.3) / math.sqrt(1.16))
        inside.append(found.low[at] <= expected <= found.high[at])
    assert np.mean(inside) >= 0.86


@pytest.mark.parametrize(
    ("said", "right", "n"),
    [(0.9, 12, 40), (1.0, 20, 40), (0.95, 10, 40), (0.97, 25, 60), (0.03, 30, 40), (0.0, 20, 40)],
)
def test_calibration_in_the_large_of_a_sure_and_wrong_reader_is_that_of_statsmodels(said, right, n):
    y = np.arange(n) < right
    found = calibration.calibration(np.full(n, said), y).intercept
    held = min(max(said, 0.005), 0.995)
    offset = np.full(n, math.log(held / (1 - held)))
    fit = GLM(y.astype(float), np.ones(n), Binomial(), offset=offset).fit(cov_type="HC0")
    # All alike: the log odds of the share less the log odds said.
    assert fit.params[0] == pytest.approx(math.log(right / (n - right)) - offset[0])
    assert found.value == pytest.approx(fit.params[0], abs=1e-8)
    half = (found.high - found.low) / 2 / stats.t.ppf(0.975, n - 1)
    assert half == pytest.approx(fit.bse[0] * math.sqrt(n / (n - 1)), rel=1e-6)


def test_slope_and_intercept_of_a_reader_who_is_sure_and_mostly_wrong_are_those_of_statsmodels():
    p = np.array([0.02] * 12 + [0.5] * 10 + [0.9] * 20 + [1.0] * 30)
    y = np.array([1, 0, 0] * 4 + [0, 1] * 5 + [0, 0, 0, 1] * 5 + [0, 1, 0] * 10, bool)
    found = calibration.calibration(p, y)
    odds = np.log(np.clip(p, 0.005, 0.995) / np.clip(1 - p, 0.005, 0.995))
    large = GLM(y.astype(float), np.ones(len(p)), Binomial(), offset=odds).fit()
    slope = GLM(y.astype(float), np.column_stack([np.ones(len(p)), odds]), Binomial()).fit()
    assert found.intercept.value == pytest.approx(large.params[0], abs=1e-7)
    assert found.slope.value == pytest.approx(slope.params[1], abs=1e-7)


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ([0.0] * 20 + [1.0] * 20, [0] * 20 + [1] * 20),
        ([0.1] * 20 + [0.9] * 20, [0] * 20 + [1] * 20),
        ([0.0] * 20 + [1.0] * 20, [1] * 20 + [0] * 20),
        ([0.0] * 30 + [1.0] * 10, [0] * 26 + [1] * 14),  # quasi: all of the sure ones are right
        (
            [0.0] * 15 + [0.5] * 10 + [1.0] * 15,
            [0] * 15 + [0, 1] * 5 + [1] * 15,
        ),  # a tie at the cut
    ],
)
def test_a_slope_under_separation_is_not_defined(said, seen):
    found = calibration.calibration(said, seen)
    assert not found.slope.defined
    assert "the probabilities separate the outcomes" in found.slope.method
    assert found.intercept.defined
    both = calibration.calibration([*said, 0.0, 0.0, 1.0, 1.0], [*seen, 0, 1, 0, 1])
    assert both.slope.low < both.slope.value < both.slope.high


def test_rows_of_a_single_patient_have_no_interval():
    found = calibration.calibration([0.2, 0.8] * 20, [0, 1, 1, 0] * 10, np.zeros(40))
    for one in (found.intercept, found.slope, found.excess):
        assert one.defined and not one.has_interval and one.n == 1
        assert "a single patient" in one.method
