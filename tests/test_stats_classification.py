"""Classification numbers against scikit-learn, and the bootstrap against theory."""

import math

import numpy as np
import pytest
from sklearn import metrics

from bmcore.stats import bootstrap, classification, estimate
from bmcore.stats.bootstrap import Resampling, paired_difference, patient_bootstrap

FAST = Resampling(resamples=400, seed=4)


@pytest.fixture(scope="module")
def answers():
    """240 patients, six classes; probabilities rounded to one digit so that ties are common."""
    rng = np.random.default_rng(8)
    p = rng.dirichlet(np.full(6, 0.7), 240)
    truth = np.array([rng.choice(6, p=0.5 * row + 0.5 / 6) for row in p])
    coarse = np.round(p, 1) + 0.01
    return truth, coarse / coarse.sum(axis=1, keepdims=True)


def test_accuracy_family_matches_scikit_learn(answers):
    truth, p = answers
    named = p.argmax(axis=1)
    assert classification.accuracy(truth, named, None, FAST).value == pytest.approx(
        metrics.accuracy_score(truth, named)
    )
    assert classification.balanced_accuracy(truth, named, 6, None, FAST).value == pytest.approx(
        metrics.balanced_accuracy_score(truth, named)
    )
    rates = classification.per_class(truth, named, 6, None, FAST)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, named)
    for name, theirs in (("ppv", precision), ("sensitivity", recall), ("f1", f1)):
        assert [e.value for e in rates[name]] == pytest.approx(list(theirs))
    binary = metrics.multilabel_confusion_matrix(truth, named)
    for c, ((tn, fp), (fn, _)) in enumerate(binary):
        assert rates["specificity"][c].value == pytest.approx(tn / (tn + fp))
        assert rates["npv"][c].value == pytest.approx(tn / (tn + fn))
    assert (
        classification.confusion_matrix(truth, named, 6) == metrics.confusion_matrix(truth, named)
    ).all()


def test_auc_brier_and_log_loss_match_scikit_learn_with_ties(answers):
    truth, p = answers
    areas = classification.auc(truth, p, None, FAST)
    theirs = [metrics.roc_auc_score(truth == c, p[:, c]) for c in range(6)]
    assert [e.value for e in areas.per_class] == pytest.approx(theirs)
    assert areas.macro.value == pytest.approx(np.mean(theirs))
    assert areas.macro.low < areas.macro.value < areas.macro.high
    assert classification.brier(truth, p, None, FAST).value == pytest.approx(
        metrics.brier_score_loss(truth, p, scale_by_half=False)
    )
    assert classification.log_loss(truth, p, None, FAST).value == pytest.approx(
        metrics.log_loss(truth, p)
    )


def test_bootstrap_auc_of_one_resample_is_the_auc_of_the_repeated_rows(answers):
    truth, p = answers
    weights = np.bincount(np.random.default_rng(2).integers(0, 240, 240), minlength=240)
    repeated = np.repeat(np.arange(240), weights)
    found = classification.auc_statistic(truth, p)(weights[None].astype(float))[0]
    theirs = [metrics.roc_auc_score(truth[repeated] == c, p[repeated, c]) for c in range(6)]
    assert found == pytest.approx(np.mean(theirs))


def test_the_calibration_error_of_a_two_bin_drawing():
    # Two cases say .9 (one right), two say .6 (both right): |.5 - .9| / 2 + |1 - .6| / 2 = .4
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    truth = np.array([0, 1, 0, 0])
    assert classification.calibration_error(truth, p, None, 10, FAST).value == pytest.approx(0.4)
    table = classification.reliability_table(truth, p)
    assert [row.n for row in table] == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]
    assert table[9].confidence == pytest.approx(0.9)
    assert table[9].accuracy.value == 0.5
    assert math.isnan(table[0].accuracy.value)


def test_the_interval_of_a_share_of_patients_is_wilsons():
    truth = np.zeros(200, int)
    named = np.array([0] * 130 + [1] * 70)
    found = classification.accuracy(truth, named)
    wilson = estimate.proportion(130, 200)
    assert found.low == pytest.approx(wilson.low, abs=0.01)
    assert found.high == pytest.approx(wilson.high, abs=0.01)


def test_patients_are_resampled_not_rows():
    # 20 patients with 10 identical rows each: the interval must be that of 20, not of 200.
    right = np.repeat([0, 1], 10)
    truth = np.zeros(200, int)
    named = np.repeat(right, 10)
    patients = np.repeat(np.arange(20), 10)
    clustered = classification.accuracy(truth, named, patients)
    single = classification.accuracy(np.zeros(20, int), right)
    naive = classification.accuracy(truth, named)
    assert clustered.n == 20
    assert (clustered.low, clustered.high) == pytest.approx((single.low, single.high))
    assert clustered.high - clustered.low > 2.5 * (naive.high - naive.low)


def test_a_mean_of_rows_is_drawn_by_patients_as_the_rows_would_be():
    rng = np.random.default_rng(4)
    patients = rng.integers(0, 30, 200)  # some with many rows, some with few
    values = rng.normal(size=200) + patients / 10
    found = bootstrap.mean(values, patients)
    rows = patient_bootstrap(bootstrap.mean_statistic(values), patients, what="mean")
    assert found.n == rows.n == len(np.unique(patients)) and found.method == rows.method
    for name in ("value", "low", "high"):
        assert getattr(found, name) == pytest.approx(getattr(rows, name), rel=1e-12)


def test_the_paired_difference_is_narrower_than_two_separate_intervals(answers):
    truth, p = answers
    worse = p[:, ::-1].copy()
    worse[:200] = p[:200]
    a = classification.accuracy_statistic(truth, p.argmax(axis=1))
    b = classification.accuracy_statistic(truth, worse.argmax(axis=1))
    found = paired_difference(a, b, np.arange(240), FAST)
    alone = patient_bootstrap(a, np.arange(240), FAST)
    expected = np.mean(truth == p.argmax(axis=1)) - np.mean(truth == worse.argmax(axis=1))
    assert found.value == pytest.approx(expected)
    assert found.high - found.low < alone.high - alone.low
    same = paired_difference(a, a, np.arange(240), FAST)
    assert same.value == 0
    assert not same.has_interval
    assert "drawing the cases anew 400 times never changed the number" in same.method


def test_an_answer_outside_the_classes_is_wrong_but_breaks_nothing():
    truth = np.array([0, 0, 1, 1])
    named = np.array([0, 7, 1, -1])
    assert classification.accuracy(truth, named).value == 0.5
    rates = classification.per_class(truth, named, 2, None, FAST)
    assert [e.value for e in rates["sensitivity"]] == [0.5, 0.5]
    assert [e.value for e in rates["ppv"]] == [1, 1]
    assert [e.value for e in rates["specificity"]] == [1, 1]


def test_a_class_that_never_occurs_is_not_defined_and_not_in_the_macro_mean():
    truth = np.array([0, 1, 0, 1, 0, 1])
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]] * 3)
    areas = classification.auc(truth, p, None, FAST)
    assert not areas.per_class[2].defined
    assert areas.macro.value == 1
    rates = classification.per_class(truth, p.argmax(axis=1), 3, None, FAST)
    assert not rates["ppv"][2].defined
    assert rates["specificity"][2].value == 1


def test_one_patient_has_a_wide_interval_and_none_is_not_defined():
    one = classification.accuracy([1], [1])
    assert one.value == 1
    assert one.low < 0.25  # Wilson for 1 of 1: 1 / (1 + 1.96 squared)
    empty = np.zeros(0, int)
    assert not classification.accuracy(empty, empty).defined
    assert not classification.brier(empty, np.zeros((0, 6))).defined
    assert not classification.auc(empty, np.zeros((0, 6))).macro.defined
    assert not classification.per_class(empty, empty, 6)["f1"][5].defined


def test_wrong_shapes_and_sums_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="sum to 1"):
        classification.brier([0], [[0.5, 0.6]])
    with pytest.raises(ValueError, match="alike"):
        classification.accuracy([0, 1], [0])
    with pytest.raises(ValueError, match="class"):
        classification.balanced_accuracy([6], [0], 6)


def test_an_estimate_cannot_be_upside_down_or_nameless():
    with pytest.raises(ValueError, match="low must not exceed high"):
        estimate.Estimate(0.5, 0.9, 0.1, 3, "m")
    with pytest.raises(ValueError, match="method"):
        estimate.Estimate(0.5, 0.1, 0.9, 3, " ")
    assert estimate.undefined(0, "none").as_dict()["value"] is None
    assert estimate.Estimate(0.5, 0.1, 0.9, 3, "m").text() == "0.50 (0.10 to 0.90), n = 3"
