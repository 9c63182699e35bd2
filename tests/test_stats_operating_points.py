"""Rates at a fixed rate, the first few named, trainings in the interval, the rule of verdicts."""

import numpy as np
import pytest

from bmcore.stats.bootstrap import Resampling, mean_statistic
from bmcore.stats.estimate import Estimate
from bmcore.stats.operating_points import among_first, sensitivity_at, specificity_at
from bmcore.stats.repeats import over_trainings
from bmcore.stats.verdict import BETTER, NOT_SHOWN, WORSE, of_differences

QUICK = Resampling(resamples=200)


def test_rates_by_hand():
    """Ten of each. At most one of the others may be flagged: the threshold lies above 0.7."""
    others = np.array([0.9, 0.7, 0.6, 0.5, 0.4, 0.3, 0.3, 0.2, 0.1, 0.1])
    own = np.array([0.95, 0.92, 0.91, 0.8, 0.75, 0.7, 0.65, 0.3, 0.2, 0.1])
    positive, score = np.repeat([False, True], 10), np.concatenate([others, own])
    found = sensitivity_at(positive, score, 0.9, QUICK)
    assert found.value == pytest.approx(0.5) and found.low <= 0.5 <= found.high and found.n == 20
    # nine of ten are found from 0.2 on, where eight others are flagged; two are left alone
    assert specificity_at(positive, score, 0.9, QUICK).value == pytest.approx(0.2)


def test_equal_scores_share_a_threshold_and_few_cases_have_no_rate():
    positive = np.repeat([False, True], 20)
    same = sensitivity_at(positive, np.ones(40), 0.9, QUICK)
    assert same.value == 0  # all or nobody
    assert not sensitivity_at(positive[17:24], np.ones(7), 0.9, QUICK).defined


def test_the_first_two_named():
    p = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])
    truth = np.array([0, 2, 0, 1])
    # of two classes at the same place each counts half
    assert [among_first(truth, p, k).value for k in (1, 2, 3)] == [0.375, 0.5, 1.0]


def test_a_model_that_always_says_the_same_names_the_truth_by_chance():
    """As the mean over draws among equals: scikit-learn's top-k accuracy with jittered ties."""
    from sklearn.metrics import top_k_accuracy_score

    assert [among_first(np.arange(6), np.full((6, 6), 1 / 6), k).value for k in (1, 2, 5, 6)] == (
        pytest.approx([1 / 6, 2 / 6, 5 / 6, 1])
    )
    rng = np.random.default_rng(0)
    p, truth = rng.integers(1, 5, (60, 6)) / 20, np.r_[np.arange(6), rng.integers(0, 6, 54)]
    drawn = [
        top_k_accuracy_score(truth, p + 1e-6 * rng.random(p.shape), k=2, labels=np.arange(6))
        for _ in range(500)
    ]
    assert among_first(truth, p, 2).value == pytest.approx(np.mean(drawn), abs=0.01)
    apart = rng.random((60, 6))
    assert among_first(truth, apart, 2).value == top_k_accuracy_score(
        truth, apart, k=2, labels=np.arange(6)
    )
    for wrong in ((truth, np.full((60, 6), np.nan), 2), (truth[1:], p, 2), (truth, p, 0)):
        with pytest.raises(ValueError, match="truth must be"):
            among_first(*wrong)


@pytest.mark.parametrize("rate", [sensitivity_at, specificity_at])
def test_scores_that_are_none_and_rates_that_cannot_be_are_refused(rate):
    positive, score = np.repeat([False, True], 10), np.arange(20.0)
    for wrong in (2, -0.1, np.nan):
        with pytest.raises(ValueError, match="rate must lie between 0 and 1"):
            rate(positive, score, wrong, QUICK)
    score[3] = np.nan
    with pytest.raises(ValueError, match="1 scores that are none"):
        rate(positive, score, 0.9, QUICK)
    with pytest.raises(ValueError, match="alike"):
        rate(positive, score[1:], 0.9, QUICK)


def test_the_interval_holds_the_chance_of_the_training():
    """Twelve trainings that differ by far more than the patients do."""
    rng = np.random.default_rng(0)
    shifts = rng.normal(0, 0.3, 12)
    values = [rng.normal(shift, 0.1, 100) for shift in shifts]
    one = over_trainings([mean_statistic(values[0])], 100)
    all_of_them = over_trainings([mean_statistic(v) for v in values], 100)
    assert one.high - one.low < 0.06
    assert all_of_them.value == pytest.approx(np.mean(values))
    spread = np.quantile(shifts, 0.975) - np.quantile(shifts, 0.025)
    assert 0.5 < (all_of_them.high - all_of_them.low) / spread < 1.3
    assert "mean of 12 trainings" in all_of_them.method
    with pytest.raises(ValueError, match="at least one training"):
        over_trainings([], 100)


def pair(auc, loss):
    def estimate(low, high):
        return Estimate((low + high) / 2, low, high, 50, "by hand")

    return {"macro_auc": estimate(*auc), "log_loss": estimate(*loss)}


def test_better_and_worse_need_both_intervals():
    assert of_differences(pair((0.01, 0.1), (-0.2, -0.01))) == BETTER
    assert of_differences(pair((0.01, 0.1), (-0.2, 0.01))) == NOT_SHOWN
    assert of_differences(pair((-0.01, 0.1), (-0.2, -0.01))) == NOT_SHOWN
    assert of_differences(pair((-0.1, -0.01), (0.01, 0.2))) == WORSE
    plain = {k: e.as_dict() for k, e in pair((0.01, 0.1), (-0.2, -0.01)).items()}
    assert of_differences(plain) == BETTER
    assert of_differences({"macro_auc": plain["macro_auc"]}) is None
    assert of_differences(plain | {"log_loss": {"low": None, "high": None}}) == NOT_SHOWN
