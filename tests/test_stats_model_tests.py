"""Paired tests, decision curves and subgroups, each against theory or a hand-made table."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bmcore.stats import bootstrap, classification, decision, model_tests, subgroups
from bmcore.stats.bootstrap import Resampling
from bmcore.stats.estimate import Estimate

FAST = Resampling(resamples=400, seed=4)


def two_answers(n, shift, seed=0, classes=3):
    """Scores of two models on the same patients; the first carries ``shift`` more of the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    shared = rng.normal(size=(n, classes)) + 0.7 * np.eye(classes)[truth]
    logits = [shared + rng.normal(size=(n, classes)) for _ in range(2)]
    logits[0] += shift * np.eye(classes)[truth]
    p = [np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in logits]
    return truth, p[0], p[1]


# --- DeLong and permutation ---------------------------------------------------------------------


def test_delong_of_two_classes_is_the_textbook_formula():
    truth, a, b = two_answers(40, 0.5, classes=2)
    found = model_tests.delong(truth, a, b)
    v10, v01 = [], []
    for p in (a[:, 1], b[:, 1]):
        x, y = p[truth == 1], p[truth == 0]
        won = (x[:, None] > y) + 0.5 * (x[:, None] == y)
        v10.append(won.mean(axis=1))
        v01.append(won.mean(axis=0))
    s = np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])
    error = math.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])
    gap = v10[0].mean() - v10[1].mean()
    assert found.difference.value == pytest.approx(gap)
    assert found.difference.high == pytest.approx(gap + 1.959964 * error)
    assert found.p_value == pytest.approx(2 * scipy_stats.norm.sf(abs(gap) / error))


def test_delong_permutation_and_bootstrap_agree_on_a_clear_and_on_an_absent_difference():
    truth, a, b = two_answers(200, 1.5)
    found = model_tests.delong(truth, a, b)
    drawn = bootstrap.paired_difference(
        classification.auc_statistic(truth, a), classification.auc_statistic(truth, b),
        np.arange(200),
    )  # fmt: skip
    assert found.difference.value == pytest.approx(drawn.value)
    assert found.difference.low == pytest.approx(drawn.low, abs=0.015)
    assert found.difference.high == pytest.approx(drawn.high, abs=0.015)
    assert found.p_value < 0.001
    assert model_tests.permutation_auc(truth, a, b, 999) == pytest.approx(0.001)
    truth, a, b = two_answers(200, 0.0, seed=3)
    assert model_tests.delong(truth, a, b).p_value > 0.05
    assert model_tests.permutation_auc(truth, a, b, 500) > 0.05


def test_p_values_under_no_difference_are_even():
    """120 draws without a difference: about 5 % fall below .05, and half below .5."""
    by_delong, by_lot = [], []
    for seed in range(120):
        truth, a, b = two_answers(80, 0.0, seed=seed)
        by_delong.append(model_tests.delong(truth, a, b).p_value)
        by_lot.append(model_tests.permutation_auc(truth, a, b, 200, seed))
    for values in (by_delong, by_lot):
        assert np.mean(np.array(values) < 0.05) < 0.12  # binomial(120, .05): 99.9 % below .12
        assert 0.33 < np.mean(np.array(values) < 0.5) < 0.67


def test_the_same_answers_do_not_differ_and_too_few_patients_are_not_tested():
    truth, a, _ = two_answers(30, 0.0)
    same = model_tests.delong(truth, a, a)
    assert (same.difference.value, same.p_value) == (0, 1) and not same.difference.has_interval
    assert model_tests.permutation_auc(truth, a, a, 100) == 1
    alone = model_tests.delong([0, 0, 1], a[:3], a[3:6])
    assert math.isnan(alone.p_value) and not alone.difference.defined
    assert math.isnan(model_tests.permutation_auc([1, 1, 1], a[:3], a[3:6]))
    with pytest.raises(ValueError, match="must be"):
        model_tests.delong(truth, a, a[1:])


@pytest.mark.parametrize(("other", "gap"), [("tied", 0.5), ("reversed", 1.0)])
def test_opposite_ends_have_no_variance_and_are_not_called_alike(other, gap):
    truth = np.repeat([0, 1], 50)
    best = np.eye(2)[truth]
    found = model_tests.delong(truth, best, np.full((100, 2), 0.5) if other == "tied" else 1 - best)
    assert found.difference.value == gap and not found.difference.has_interval
    assert math.isnan(found.p_value)
    assert "no test" in found.method and "alike" not in found.difference.method
    lost = np.full((100, 2), 0.5) if other == "tied" else 1 - best
    assert model_tests.permutation_auc(truth, best, lost, 999) == pytest.approx(0.001)
    same = model_tests.delong(truth, best, best * 0.9 + 0.05)
    assert (same.difference.value, same.p_value) == (0, 1)


def test_the_permutation_of_means_counts_sign_changes():
    # Three patients, all better by 1: of 8 sign patterns 2 are as far out: p near 1/4.
    assert model_tests.permutation_mean([1, 1, 1], [0, 0, 0], 4000) == pytest.approx(0.25, abs=0.03)
    assert model_tests.permutation_mean([1, 2], [1, 2]) == 1
    assert math.isnan(model_tests.permutation_mean([], []))


# --- decision curves ----------------------------------------------------------------------------


def test_net_benefit_of_a_table_made_by_hand():
    # Threshold .2: acted on are .9, .5, .3: two right, one false: 2/5 - 1/5 * .25 = .35.
    # All: 2/5 - 3/5 * .25 = .25. Threshold .6: one right: 1/5; all: 2/5 - 3/5 * 1.5 = -.5.
    p, ill = [0.9, 0.5, 0.3, 0.1, 0.05], [1, 0, 1, 0, 0]
    curve = decision.decision_curve(ill, p, (0.2, 0.6), resampling=FAST)
    assert [e.value for e in curve.model] == pytest.approx([0.35, 0.2])
    assert [e.value for e in curve.treat_all] == pytest.approx([0.25, -0.5])
    assert [e.value for e in curve.gain] == pytest.approx([0.10, 0.2])
    assert curve.model[0].n == 5 and "net benefit" in curve.model[0].method


def test_a_model_without_information_gains_nothing_over_the_better_default():
    ill = np.arange(200) < 60
    curve = decision.decision_curve(ill, np.full(200, 0.3), resampling=FAST)
    assert max(e.value for e in curve.gain) <= 1e-12
    perfect = decision.decision_curve(ill, ill.astype(float), resampling=FAST)
    assert all(e.value == pytest.approx(0.3) for e in perfect.model)


def test_thresholds_of_nought_and_one_and_unequal_lengths_are_refused():
    for wrong in ((0.0,), (1.0,), ()):
        with pytest.raises(ValueError, match="between 0 and 1"):
            decision.decision_curve([1], [0.5], wrong)
    with pytest.raises(ValueError, match="alike"):
        decision.decision_curve([1, 0], [0.5])
    with pytest.raises(ValueError, match="between 0 and 1"):
        decision.decision_curve([1], [0.5], (math.nan,))
    for wrong in (5.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="probability must lie between 0 and 1"):
            decision.decision_curve([1, 0], [wrong, 0.5])
    assert not decision.decision_curve([], []).model[0].defined


# --- subgroups ----------------------------------------------------------------------------------


def test_small_subgroups_get_words_and_no_number():
    values = np.arange(10.0)
    groups = ["female"] * 7 + ["male"] * 3

    def measure(at):
        return {"mean": Estimate(values[at].mean(), np.nan, np.nan, len(at), "mean")}

    rows = subgroups.subgroup_table(groups, ("female", "male", "not known"), measure, minimum=5)
    assert rows[0].numbers and rows[0].numbers["mean"].value == 3 and rows[0].words == ""
    assert (rows[1].n, rows[1].numbers, rows[1].words) == (3, None, "too few (n = 3)")
    assert rows[2].words == "too few (n = 0)"
    with pytest.raises(ValueError, match="male"):
        subgroups.subgroup_table(groups, ("female",), measure)


def test_bands_hold_their_lower_edge_and_missing_is_named():
    assert subgroups.bands((50, 65), " years") == (
        "under 50 years", "50 to under 65 years", "65 years or more",
    )  # fmt: skip
    assert subgroups.band(49.9, (50, 65)) == "under 50"
    assert subgroups.band(50, (50, 65)) == "50 to under 65"
    assert subgroups.band(65, (50, 65)) == "65 or more"
    assert subgroups.band(None, (50, 65)) == "not known"
    assert subgroups.band(float("nan"), (50, 65)) == "not known"


# --- the bootstrap ------------------------------------------------------------------------------


def test_the_weighted_median_is_numpys_of_the_repeated_rows():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=9), rng.integers(0, 4, (50, 9))
    weights = weights[weights.sum(axis=1) > 0]
    found = bootstrap.median_statistic(values)(weights.astype(float))
    assert found == pytest.approx([np.median(np.repeat(values, w)) for w in weights])
    assert bootstrap.median([3.0, 1.0, 2.0], resampling=FAST).value == 2
    assert bootstrap.mean([3.0, 1.0], resampling=FAST).value == 2
    assert not bootstrap.median([], resampling=FAST).defined


def test_the_size_of_a_block_changes_no_draw(monkeypatch):
    rows = np.arange(37)
    whole = np.concatenate(list(bootstrap.draw_weights(rows, FAST)))
    monkeypatch.setattr(bootstrap, "_CELLS_A_BLOCK", 37 * 33)
    parts = list(bootstrap.draw_weights(rows, FAST))
    assert len(parts) > 10 and (np.concatenate(parts) == whole).all()


def test_the_auc_by_pairs_and_by_ranks_is_one_number(monkeypatch):
    rng = np.random.default_rng(2)
    score, positive = np.round(rng.random(90), 1), rng.random(90) < 0.3
    weights = rng.integers(0, 4, (20, 90)).astype(float)
    by_pairs = classification.weighted_auc(positive, score)(weights)
    monkeypatch.setattr(classification, "_PAIRS_BELOW", 0)
    assert (classification.weighted_auc(positive, score)(weights) == by_pairs).all()


def test_with_two_classes_the_readers_delong_and_this_one_agree():
    from bmcore.stats import delong

    truth, a, b = two_answers(50, 0.4, seed=9, classes=2)
    theirs = delong.auc_covariance(np.stack([a[:, 1], b[:, 1]]), truth == 1)
    ours = model_tests.delong(truth, a, b).difference
    variance = theirs[1][0, 0] + theirs[1][1, 1] - 2 * theirs[1][0, 1]
    assert ours.value == pytest.approx(theirs[0][0] - theirs[0][1])
    assert (ours.high - ours.value) / 1.959964 == pytest.approx(math.sqrt(variance))
