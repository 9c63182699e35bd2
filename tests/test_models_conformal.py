"""Conformal sets: the promised coverage holds in simulation, and only because of the quantile."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bmcore.domain import PRIMARIES, Primary
from bmcore.models import conformal
from bmcore.models.conformal import Conformal, fit, scores
from bmcore.models.folds import stratified_folds
from bmcore.models.mlr import MLR, MLRConfig

PRIOR = np.array([0.13, 0.07, 0.085, 0.205, 0.43, 0.08])  # of the style CLINIC


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def patients(n, rng, strength=1.5, sharpness=1.0):
    """True classes from PRIOR, one noisy number a class, and the exact posterior.

    Sharpness bends the probabilities: above 1 the model is overconfident, so they are wrong.
    """
    y = rng.choice(6, n, p=PRIOR)
    x = rng.normal(size=(n, 6)) + strength * np.eye(6)[y]
    return softmax(sharpness * (np.log(PRIOR) + strength * x)), y


def marginal(p, y, coverage):
    """One threshold over all primaries, as bundles of the first version have."""
    return replace(fit(p, y, coverage), labels=None)


def simulate(coverage, n=200, repeats=400, threshold=None, **model):
    """Mean coverage over repetitions of (calibrate on n, look at 200 others), and mean set size."""
    rng = np.random.default_rng(0)
    hits, sizes = [], []
    for _ in range(repeats):
        fitted = marginal(*patients(n, rng, **model), coverage)
        p, y = patients(200, rng, **model)
        limit = fitted.thresholds[0] if threshold is None else threshold(fitted)
        inside = scores(p) <= limit
        hits.append(inside[np.arange(y.size), y].mean())
        sizes.append(inside.sum(axis=1).mean())
    return float(np.mean(hits)), float(np.mean(sizes))


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_coverage_is_the_chosen_one_even_where_the_probabilities_are_wrong(coverage, sharpness):
    """400 x 200 patients: the standard error is about .002, the finite-sample excess 1/201."""
    found, _ = simulate(coverage, sharpness=sharpness)
    assert coverage - 0.006 < found < coverage + 0.015


def test_a_broken_quantile_fails_the_coverage_test():
    """The quantile of 1 - coverage, and two percent too low: both leave the tolerance above."""
    for wrong in (0.1, 0.88):
        found, _ = simulate(0.9, threshold=lambda f, q=wrong: float(np.quantile(f.known, q)))
        assert not 0.894 < found < 0.915


def test_small_samples_need_the_finite_sample_rank():
    """n = 19 at 0.9: rank 18 covers 18/20; the plain empirical quantile would fall short."""
    ours, _ = simulate(0.9, n=19, repeats=1500)
    naive, _ = simulate(
        0.9,
        n=19,
        repeats=1500,
        threshold=lambda f: float(np.quantile(f.known, 0.9, method="lower")),
    )
    assert ours > 0.893 and naive < 0.893


def test_sets_grow_as_the_model_gets_worse():
    sizes = [simulate(0.9, repeats=60, strength=s)[1] for s in (3.0, 2.0, 1.0, 0.0)]
    assert sizes == sorted(sizes) and sizes[0] < 1.5 and sizes[-1] > 3.5


def test_held_out_scores_of_the_regression_give_the_coverage_for_the_model_fitted_on_all():
    """As the training does it: scores from cross-validation, used with a model of all patients."""
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(6, 4))

    def draw(n):
        y = rng.choice(6, n, p=PRIOR)
        return centres[y] + rng.normal(size=(n, 4)) * 1.5, y

    config = MLRConfig(c=0.3)
    hits = []
    for _ in range(12):
        x, y = draw(120)
        fold, held_out = stratified_folds(y, 5, 0), np.zeros((y.size, 6))
        for k in range(5):
            model = MLR(config=config).fit(x[fold != k], y[fold != k])
            held_out[fold == k] = model.predict_proba(x[fold == k])
        fitted = marginal(held_out, y, 0.9)
        new_x, new_y = draw(400)
        inside = fitted.members(MLR(config=config).fit(x, y).predict_proba(new_x))
        hits.append(inside[np.arange(new_y.size), new_y].mean())
    assert 0.87 < np.mean(hits) < 0.94  # 12 samples of 120: standard error about .008


def covered(threshold_of, n=500, repeats=120):
    """Mean coverage of each primary at 0.9 (6,), over repetitions."""
    rng = np.random.default_rng(1)
    hits, count = np.zeros(6), np.zeros(6)
    for _ in range(repeats):
        fitted = threshold_of(*patients(n, rng, strength=1.0), 0.9)
        p, y = patients(300, rng, strength=1.0)
        inside = fitted.members(p)[np.arange(y.size), y]
        hits += np.bincount(y, inside, 6)
        count += np.bincount(y, minlength=6)
    return hits / count


def test_each_primary_is_covered_and_not_only_all_on_average():
    """500 calibration patients, of whom about 35 have the rarest primary. One threshold for all
    leaves that one far below; own and shared thresholds keep each between .85 and .95."""
    each = covered(fit)
    assert (each > 0.85).all() and (each < 0.95).all()
    assert covered(marginal).min() < 0.85


def test_common_primaries_have_their_own_threshold_and_rare_ones_share_one():
    y = np.repeat(np.arange(6), [100, 10, 12, 60, 200, 15])
    p = np.random.default_rng(0).dirichlet(np.ones(6), y.size)
    fitted = fit(p, y)
    assert fitted.groups.tolist() == [0, 6, 6, 3, 4, 6]
    assert fitted.patients.tolist() == [100, 37, 37, 60, 200, 37]
    t = fitted.thresholds
    assert t[1] == t[2] == t[5] and len(set(t)) == 4
    own = np.sort(scores(p)[y == 3, 3])
    assert t[3] == own[math.ceil(61 * 0.9) - 1]
    few = fit(p[100:105], np.full(5, 1))  # nobody with another primary: nothing rules them out
    assert np.isinf(few.thresholds).all()


def test_a_set_by_hand():
    """Scores of .5 .3 .1 .05 .03 .02 are 0 .5 .8 .9 .95 .98; ties share a score."""
    p = np.array([[0.1, 0.5, 0.05, 0.3, 0.03, 0.02], [0.25, 0.25, 0.25, 0.25, 0, 0]])
    expected = [[0.8, 0, 0.9, 0.5, 0.95, 0.98], [0, 0, 0, 0, 1, 1]]
    np.testing.assert_allclose(scores(p), expected)
    known = Conformal(np.linspace(0.1, 0.9, 9), 0.5)
    assert known.thresholds[0] == pytest.approx(0.5)  # the fifth of nine
    assert known.prediction_set(p[0]) == (Primary.GI, Primary.MELANOMA)
    assert known.at(0.8).prediction_set(p[0]) == (Primary.GI, Primary.MELANOMA, Primary.BREAST)
    assert len(known.prediction_set(p[1])) == 4


def test_the_order_of_the_primaries_decides_nothing():
    """.4 + .3 + .2 and .2 + .3 + .4 differ in the last digit: the same set all the same."""
    row = [0.4, 0.3, 0.2, 0.05, 0.03, 0.02]
    fitted = fit([row] * 40, [3] * 40)
    turned = [0.2, 0.3, 0.4, 0.05, 0.03, 0.02]
    assert scores([row])[0, 3] != scores([turned])[0, 3]  # else this test says nothing
    assert Primary.MELANOMA in fitted.prediction_set(row)
    assert set(fitted.prediction_set(turned)) == set(fitted.prediction_set(row))
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(6), 500)
    order = np.array([rng.permutation(6) for _ in p])
    known = scores(np.take_along_axis(p, order, axis=1))[:, 0]
    for one, turn, limit in zip(p, order, known, strict=True):
        held = Conformal(np.full(9, limit), 0.9).members(one[None])[0]
        assert held[turn[0]]  # the one whose score is the threshold


def test_the_set_is_never_empty_and_full_where_the_patients_are_too_few():
    sure = np.array([0.97, 0.01, 0.01, 0.01, 0, 0])
    assert Conformal(np.zeros(50)).prediction_set(sure) == (Primary.BREAST,)
    few = Conformal(np.zeros(5), 0.9)  # 6 * .9 = 5.4: the sixth of five
    assert few.thresholds[0] == np.inf and set(few.prediction_set(sure)) == set(PRIMARIES)


def test_tensors_come_back_and_impossible_ones_are_refused():
    fitted = fit(*patients(50, np.random.default_rng(0)), 0.8)
    again = Conformal.from_tensors(fitted.tensors())
    np.testing.assert_array_equal(again.known, fitted.known)
    np.testing.assert_array_equal(again.labels, fitted.labels)
    np.testing.assert_array_equal(again.thresholds, fitted.thresholds)
    assert (again.coverage, again.n) == (0.8, 50)
    old = Conformal.from_tensors({k: v for k, v in fitted.tensors().items() if k != "labels"})
    assert old.labels is None and np.ptp(old.thresholds) == 0
    for wrong in ({}, {"scores": np.array([2.0]), "coverage": np.array([0.9])},
                  {"scores": np.array([0.2]), "coverage": np.array([1.0])}):  # fmt: skip
        with pytest.raises(ValueError, match=r"tensors must be|between 0 and 1"):
            Conformal.from_tensors(wrong)


@pytest.mark.parametrize(
    ("p", "y"),
    [
        (np.full((3, 5), 0.2), [0, 1, 2]),
        (np.full((3, 6), 1 / 6), [0, 1]),
        (np.full((3, 6), 1 / 6), [0, 1, 6]),
        (np.full((3, 6), 0.5), [0, 1, 2]),
        (np.full((1, 6), np.nan), [0]),
    ],
)
def test_wrong_shapes_and_rows_that_are_no_probabilities_are_refused(p, y):
    with pytest.raises(ValueError):
        fit(p, y, conformal.COVERAGE)


@pytest.mark.parametrize("label", [None, math.nan, 0.5, -1, 6, "breast"])
def test_a_label_that_is_no_primary_is_refused_in_words(label):
    with pytest.raises(ValueError, match="leave out patients without a known primary"):
        fit(np.full((2, 6), 1 / 6), [0, label])
