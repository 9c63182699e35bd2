"""Lesion marks, paired answers, readers against the reference, reliance and decision time."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from bmcore.stats import afroc, decision_time, learning, mrmc, paired, reader, reliance
from bmcore.stats.estimate import proportion


def test_the_weighted_figure_of_merit_by_hand():
    # Case 0 normal with a false mark rated 2, case 1 normal without marks; case 2 has lesions rated
    # 3 and missed, case 3 a lesion rated 2. Against false 2: 1, 0 | .5; against none: 1, .5 | 1.
    # Weighted: (.5 + .5 + .75 + 1) / 4; each lesion alike: (1 + 0 + .5 + 1 + .5 + 1) / 6.
    none = -math.inf
    marks = afroc.Marks([[[2.0, none, 5.0, none]]], [[[3.0, none, 2.0]]], [2, 2, 3])
    assert afroc.afroc(marks)[0][0].value == pytest.approx(2.75 / 4)
    assert afroc.afroc(marks, weighted=False)[0][0].value == pytest.approx(4 / 6)
    # With false marks of all cases: against 5 every lesion loses; against none as above.
    assert afroc.afroc(marks, "all")[0][0].value == pytest.approx((2.75 + 0 + 1.75) / 8)


def test_one_lesion_a_case_and_no_false_mark_beside_it_is_the_area_under_the_roc_curve():
    rng = np.random.default_rng(1)
    truth = np.arange(60) >= 35
    scores = rng.integers(0, 6, (2, 3, 60)) + truth
    false = np.where(truth, -np.inf, scores)
    marks = afroc.Marks(false, scores[:, :, truth], np.flatnonzero(truth))
    found = afroc.compare_afroc(marks)
    roc = mrmc.compare_auc(scores, truth, "jackknife")
    assert found.figures == pytest.approx(roc.figures)
    assert found.figures[0, 0] == pytest.approx(roc_auc_score(truth, scores[0, 0]))
    # The jackknife leaves out cases of both kinds alike, so the covariances are the same too.
    assert found.components.cov2 == pytest.approx(roc.components.cov2)
    assert found.p_random == pytest.approx(roc.p_random)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("false_from", ["normal", "all"])
def test_leaving_a_case_out_in_one_step_equals_doing_the_sum_again(false_from, weighted):
    rng = np.random.default_rng(2)
    where = np.sort(rng.integers(4, 12, 20))
    marks = afroc.Marks(rng.normal(size=(1, 1, 12)), rng.normal(size=(1, 1, 20)) + 0.5, where)
    _, without = afroc.figures(marks, false_from, weighted)
    for case in range(12):
        keep = where != case
        rest = afroc.Marks(
            np.delete(marks.false_marks, case, axis=2),
            marks.lesions[:, :, keep],
            where[keep] - (where[keep] > case),
        )
        if false_from == "normal" and case >= 4 and case not in where:
            continue
        again = afroc.figures(rest, false_from, weighted)[0][0]
        assert without[0, case] == pytest.approx(again)


def test_lesion_marks_states():
    with pytest.raises(ValueError, match="NaN"):
        afroc.Marks(np.full((1, 1, 2), np.nan), np.zeros((1, 1, 1)), [0])
    with pytest.raises(ValueError, match="indices of the 2 cases"):
        afroc.Marks(np.zeros((1, 1, 2)), np.zeros((1, 1, 1)), [2])
    ill_only = afroc.Marks(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), [0, 1])
    found = afroc.afroc(ill_only)[0][0]
    assert math.isnan(found.value)
    assert "0 cases whose false marks count" in found.method
    with pytest.raises(ValueError, match="false marks"):
        afroc.compare_afroc(ill_only)
    assert afroc.afroc(ill_only, "all")[0][0].value == 0.5


def readings(a, b, c, d):
    """Both right a times, only the first b, only the second c, both wrong d."""
    first = np.repeat([True, True, False, False], [a, b, c, d])
    return first, np.repeat([True, False, True, False], [a, b, c, d])


def test_mcnemar_gives_the_printed_p_values_of_fagerland_2013():
    # Airway hyper-responsiveness before and after stem-cell transplantation: 1, 1, 7, 12;
    # exact conditional .070, mid-p .039.
    found = paired.mcnemar(*readings(1, 1, 7, 12))
    assert (found.only_first, found.only_second) == (1, 7)
    assert round(found.exact, 3) == 0.070
    assert round(found.mid_p, 3) == 0.039


def test_mcnemar_is_statsmodels_exact_test():
    for b, c in [(3, 9), (5, 5), (0, 4), (12, 2)]:
        ours = paired.mcnemar(*readings(10, b, c, 8))
        theirs = statsmodels_mcnemar([[10, b], [c, 8]], exact=True)
        assert ours.exact == pytest.approx(theirs.pvalue)
        assert ours.mid_p < ours.exact


def test_the_paired_difference_gives_the_printed_interval_of_newcombe_1998():
    # Newcombe 1998, table II, method 10: (36, 12, 2, 0) of 50: 0.0569 to 0.3404.
    found = paired.rate_difference(*readings(36, 12, 2, 0))
    assert found.value == pytest.approx(0.2)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0569, 0.3404)


def test_paired_states():
    same = paired.mcnemar(*readings(3, 0, 0, 2))
    assert math.isnan(same.exact)
    assert math.isnan(same.mid_p)
    assert same.difference.value == 0
    assert same.difference.low < 0 < same.difference.high
    assert paired.rate_difference([], []).n == 0
    with pytest.raises(ValueError, match="right and wrong"):
        paired.mcnemar([0, 2], [1, 1])


def test_a_reader_against_the_reference():
    truth = np.array([0, 0, 1, 1, 2, 2, 0, 1])
    named = np.array([0, 1, 1, 1, 2, 7, -1, 1])
    sure = np.array([90, 20, 70, 60, 80, 50, 0, 95])
    found = reader.score_reader(named, truth, 1, sure)
    assert (found.accuracy.value, found.accuracy.n) == (5 / 7, 7)
    assert (found.sensitivity.value, found.sensitivity.n) == (1.0, 3)
    assert (found.specificity.value, found.specificity.n) == (3 / 4, 4)
    scores = np.where(named == 1, sure, -sure)[named >= 0]
    assert found.auc.value == pytest.approx(roc_auc_score(truth[named >= 0] == 1, scores))
    bare = reader.score_reader(named, truth, 5)
    assert math.isnan(bare.sensitivity.value)
    assert "no confidences" in bare.auc.method


def test_a_reader_against_the_model_counts_only_what_both_answered():
    truth = np.array([0, 0, 1, 1, 2])
    found = reader.against_model(np.array([0, 1, 1, -1, 2]), np.array([0, 0, 0, 1, 2]), truth)
    assert (found.only_first, found.only_second) == (1, 1)
    assert found.difference.n == 4
    with pytest.raises(ValueError, match="truth must be known"):
        reader.against_model(np.array([0]), np.array([0]), np.array([-1]))


# Ten cases, all truly 0. Model right on the first six. Reader: see the comments.
TRUTH = np.zeros(10, int)
MODEL = np.array([0, 0, 0, 0, 0, 0, 3, 3, 3, 3])
UNAIDED = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 3])
AIDED = np.array([0, 0, 1, 0, 0, 2, 3, 0, 1, 3])


def test_reliance_of_one_reader_by_hand():
    # helped: cases 0, 1. harmed: 5, 6, 8. ignored: 2 of the three wrong with right advice.
    # Model wrong on 6-9, of which 6, 7, 8 were right unaided: one moved to the model's answer.
    found = reliance.reliance(UNAIDED, AIDED, MODEL, TRUTH)
    assert (found.helped.value, found.helped.n) == (0.2, 10)
    assert (found.harmed.value, found.harmed.n) == (0.3, 10)
    assert (found.ignored.value, found.ignored.n) == (1 / 3, 3)
    assert (found.over_reliance.value, found.over_reliance.n) == (1 / 3, 3)
    assert (found.followed_error.value, found.followed_error.n) == (0.5, 4)
    assert found.helped.low < 0.2 < found.helped.high


def test_reliance_of_all_is_pooled_over_readings_with_cases_as_the_sample():
    unaided = np.stack([UNAIDED, UNAIDED[::-1]])
    aided = np.stack([AIDED, np.full(10, -1)])
    found = reliance.reliance_of_all(unaided, aided, MODEL, TRUTH)
    one = reliance.reliance(UNAIDED, AIDED, MODEL, TRUTH)
    assert found.helped.value == one.helped.value
    assert found.over_reliance.value == one.over_reliance.value
    # Only one reader answered twice, so a plain share of ten cases: Wilson's interval.
    plain = proportion(2, 10)
    assert (found.helped.low, found.helped.high) == pytest.approx((plain.low, plain.high))
    assert "10 readings by 2 readers" in found.helped.method


def test_reliance_states():
    never = reliance.reliance(TRUTH, TRUTH, TRUTH, TRUTH)
    assert never.helped.value == 0
    assert never.helped.high > 0
    assert math.isnan(never.over_reliance.value)
    assert never.over_reliance.n == 0
    pooled = reliance.reliance_of_all(TRUTH[None], TRUTH[None], TRUTH, TRUTH)
    assert pooled.harmed.value == 0
    assert pooled.harmed.high > 0.2
    with pytest.raises(ValueError, match="same cases"):
        reliance.reliance(UNAIDED[:5], AIDED, MODEL, TRUTH)


def test_the_effect_of_explanations_is_split_by_whether_the_model_was_right():
    before = np.stack([AIDED, AIDED, UNAIDED])
    after = np.where(MODEL == 0, 0, before)
    found = reliance.explanation_effect(before, after, MODEL, TRUTH)
    change = (after == 0).mean(axis=1) - (before == 0).mean(axis=1)
    assert found.random["cases"].difference.value == pytest.approx(change.mean())
    assert found.fixed["model_wrong"].difference.value == 0
    assert found.random["model_right"].difference.n == 6
    assert found.by_reader[0].only_first == 2
    assert found.by_reader[0].difference.value == pytest.approx(0.2)
    alone = reliance.explanation_effect(before[:1], after[:1], MODEL, TRUTH)
    assert math.isnan(alone.random["cases"].p)
    assert alone.fixed["cases"].difference.value == pytest.approx(0.2)


def test_decision_time_is_a_ratio_of_geometric_means():
    first, second = np.array([30.0, 60.0, 45.0, 90.0]), np.array([20.0, 30.0, 40.0, 50.0])
    found = decision_time.time_ratio(first, second)
    assert found.ratio.value == pytest.approx(np.exp(np.log(second / first).mean()))
    assert found.ratio.low < found.ratio.value < found.ratio.high < 1.2
    assert 0 < found.p < 0.1
    twice = decision_time.time_ratio_of_all(np.stack([first] * 3), np.stack([second] * 3))
    assert twice.ratio.value == pytest.approx(found.ratio.value)
    assert twice.ratio.low == pytest.approx(
        decision_time.time_ratio_of_all(
            first[None].repeat(2, 0), second[None].repeat(2, 0)
        ).ratio.low
    )


def test_decision_time_states():
    with pytest.raises(ValueError, match="above 0 s"):
        decision_time.time_ratio([0.0], [1.0])
    nothing = decision_time.time_ratio([np.nan], [1.0])
    assert math.isnan(nothing.ratio.value)
    assert nothing.ratio.n == 0
    single = decision_time.time_ratio([2.0], [1.0])
    assert single.ratio.value == 0.5
    assert not single.ratio.has_interval
    alone = decision_time.time_ratio_of_all(np.full((1, 5), 2.0), np.arange(1.0, 6.0)[None])
    assert "not a sample of readers" in alone.ratio.method


@pytest.mark.parametrize(
    "seconds", [(0.1, 3600.0, 0.1), (0.5, 20000.0, 0.5), (1.0, 1800.0, 2.0), (1e-3, 1.0, 1e3)]
)
def test_times_that_differ_wildly_give_no_limits_beyond_all_reason(seconds):
    found = learning.time_trend([1, 2, 3], seconds)
    assert not found.ratio.has_interval
    assert math.isnan(found.p)
    assert "million" in found.ratio.method
    swapped = decision_time.time_ratio([1e-200, 1e200], [1e200, 1e-200])
    assert swapped.ratio.value == 1 and not swapped.ratio.has_interval and math.isnan(swapped.p)
    assert not decision_time.time_ratio([1e-200, 1e-200], [1e200, 2e200]).ratio.defined
    calm = learning.time_trend(range(6), [30, 45, 40, 35, 42, 38])
    assert calm.ratio.low < calm.ratio.value < calm.ratio.high < 10
