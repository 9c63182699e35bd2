"""Obuchowski-Rockette and U-statistics: the printed analysis of Van Dyke, and equivalences."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bmcore.stats import binary_mrmc, delong, mrmc, sample_size, ustatistics
from tests.vandyke_fixture import PRINTED, SCORES, TRUTH


@pytest.fixture(scope="module")
def vandyke():
    return mrmc.compare_auc(SCORES, TRUTH, "jackknife")


def test_the_reader_aucs_are_the_printed_ones(vandyke):
    assert np.round(vandyke.figures, 8).tolist() == PRINTED["auc"]


def test_mean_squares_and_components_are_the_printed_ones(vandyke):
    parts = vandyke.components
    mean_squares = (parts.ms_condition, parts.ms_reader, parts.ms_interaction)
    assert tuple(round(x, 8) for x in mean_squares) == PRINTED["ms"]
    assert round(parts.reader, 8) == PRINTED["reader"]
    assert round(parts.interaction, 8) == PRINTED["interaction"]
    covariances = (parts.var, parts.cov1, parts.cov2, parts.cov3)
    assert tuple(round(x, 8) for x in covariances) == PRINTED["cov"]


def test_random_readers_give_the_printed_test_and_intervals(vandyke):
    # Analysis 1: F 4.46 on 1 and 15.26, p .0517; 1 - 2: -0.04380 (-0.08796, 0.00036), t -2.11.
    assert round(vandyke.f_random, 2) == 4.46
    assert round(vandyke.df_random, 2) == 15.26
    assert round(vandyke.p_random, 4) == 0.0517
    found = vandyke.differences_random[0, 1]
    assert round(found.difference.value, 5) == 0.04380
    assert (round(found.difference.low, 5), round(found.difference.high, 5)) == (-0.00036, 0.08796)
    assert (round(found.statistic, 2), round(found.p, 4)) == (2.11, 0.0517)
    limits = [(round(e.low, 8), round(e.high, 8)) for e in vandyke.random]
    assert limits == [(0.82522360, 0.96885048), (0.89413783, 0.98753689)]


def test_fixed_readers_give_the_printed_test_and_intervals(vandyke):
    # Analysis 2: chi-squared 5.47595, p .0193; 1 - 2: (-0.08049, -0.00711), z -2.34.
    assert round(vandyke.chi2_fixed, 5) == 5.47595
    assert round(vandyke.p_fixed, 4) == 0.0193
    found = vandyke.differences_fixed[0, 1].difference
    assert (round(found.low, 5), round(found.high, 5)) == (0.00711, 0.08049)
    limits = [(round(e.low, 8), round(e.high, 8)) for e in vandyke.fixed]
    assert limits == [(0.84943008, 0.94464399), (0.90795637, 0.97371835)]


def test_each_reader_gets_the_printed_difference(vandyke):
    # Part d of analysis 2: standard error via the interval, p-values.
    each = vandyke.by_reader[0, 1]
    assert [round(c.difference.value, 5) for c in each] == [
        *(0.02818, 0.04654, 0.01787, 0.02625, 0.10016)
    ]
    assert [round(c.p, 4) for c in each] == [0.2693, 0.0768, 0.5668, 0.1290, 0.0230]
    assert [round(c.difference.low, 5) for c in each] == [
        *(-0.02182, -0.00501, -0.04330, -0.00764, 0.01381)
    ]


def test_power_and_sample_size_follow_the_printed_ones(vandyke):
    # RJafroc on these data, six readers: 112 cases give power 0.556, noncentrality 4.80, 23.1
    # degrees of freedom, critical F 4.28; 111 cases give power 0.5526116.
    found = sample_size.power(vandyke.components, 114, 0.04380032, 6, 112)
    assert round(found.power, 3) == 0.556
    assert round(found.noncentrality, 2) == 4.80
    assert (round(found.df, 1), round(found.critical, 2)) == (23.1, 4.28)
    again = sample_size.power(vandyke.components, 114, 0.04380032, 6, 111)
    assert again.power == pytest.approx(0.5526116, abs=5e-6)
    needed = sample_size.cases_needed(vandyke.components, 114, 0.04380032, 10)
    assert needed.cases is not None
    args = (vandyke.components, 114, 0.04380032, 10)
    assert sample_size.power(*args, needed.cases).power >= 0.8
    assert sample_size.power(*args, needed.cases - 1).power < 0.8


def test_a_study_that_too_few_readers_can_never_settle_says_so(vandyke):
    needed = sample_size.cases_needed(vandyke.components, 114, 0.01, 2)
    assert needed.cases is None
    assert "more readers are needed" in needed.why
    fixed = sample_size.cases_needed(vandyke.components, 114, 0.01, 2, fixed_readers=True)
    assert fixed.cases is not None
    with pytest.raises(ValueError, match="two readers"):
        sample_size.power(vandyke.components, 114, 0.05, 1, 100)


def test_the_conjectured_variance_errs_on_the_safe_side_of_simulated_binormal_readers():
    rng = np.random.default_rng(4)
    truth = np.arange(200) < 80
    areas = [
        delong.auc_covariance(rng.normal(size=200) + 1.19 * truth, truth)[0][0] for _ in range(2000)
    ]
    assert 1.0 < sample_size.auc_variance(0.8, 80, 120) / np.var(areas) < 1.4
    parts = sample_size.conjecture(0.8, 80, 120, (0.5, 0.4, 0.3), 0.02)
    assert parts.interaction == pytest.approx(0.0002)
    assert 0.05 < sample_size.power(parts, 200, 0.05, 5, 200).power < 1
    with pytest.raises(ValueError, match="correlations"):
        sample_size.conjecture(0.8, 80, 120, (0.2, 0.4, 0.5), 0.02)


def test_delong_covariance_is_close_to_the_jackknife_and_the_area_is_scikit_learns(vandyke):
    found = mrmc.compare_auc(SCORES, TRUTH)
    for a, b in zip(found.random, vandyke.random, strict=True):
        assert a.low == pytest.approx(b.low, abs=0.002)
    for t, j in itertools.product(range(2), range(5)):
        area = roc_auc_score(TRUTH, SCORES[t, j])
        assert found.figures[t, j] == pytest.approx(area, abs=1e-12)


def test_delong_variance_follows_its_definition():
    # By the kernels: S10 and S01 are the variances of the placement values.
    rng = np.random.default_rng(0)
    truth = rng.random(40) < 0.4
    scores = rng.integers(0, 6, (2, 40)).astype(float)
    positive, negative = scores[:, truth], scores[:, ~truth]
    psi = (np.sign(positive[:, :, None] - negative[:, None, :]) + 1) / 2
    v10, v01 = psi.mean(axis=2), psi.mean(axis=1)
    expected = np.cov(v10) / truth.sum() + np.cov(v01) / (~truth).sum()
    areas, covariance = delong.auc_covariance(scores, truth)
    assert areas == pytest.approx(psi.mean(axis=(1, 2)))
    assert covariance == pytest.approx(expected)


def test_one_reader_under_two_conditions_is_delongs_paired_test():
    one = mrmc.compare_auc(SCORES[:, :1], TRUTH)
    direct = delong.auc_difference(SCORES[1, 0], SCORES[0, 0], TRUTH)
    found = one.differences_fixed[0, 1]
    assert found.p == pytest.approx(direct.p)
    assert found.difference.low == pytest.approx(direct.difference.low)
    assert math.isnan(one.differences_random[0, 1].p)
    assert "one reader" in one.differences_random[0, 1].difference.method
    assert math.isnan(one.p_random)


def test_fixed_readers_are_the_contrast_of_delongs_covariance_matrix():
    areas, covariance = delong.auc_covariance(SCORES.reshape(10, -1), TRUTH)
    contrast = np.r_[-np.ones(5), np.ones(5)] / 5
    error = math.sqrt(contrast @ covariance @ contrast)
    found = mrmc.compare_auc(SCORES, TRUTH).differences_fixed[0, 1]
    assert found.difference.value == pytest.approx(contrast @ areas)
    assert found.statistic == pytest.approx(contrast @ areas / error)


def test_the_unbiased_variance_is_the_sum_over_disjoint_pairs_done_by_hand():
    rng = np.random.default_rng(3)
    kernel = rng.random((3, 4, 5))
    products = [
        kernel[a] * kernel[b]
        for a in np.ndindex(3, 4, 5)
        for b in np.ndindex(3, 4, 5)
        if all(x != y for x, y in zip(a, b, strict=True))
    ]
    expected = kernel.mean() ** 2 - np.mean(products)
    assert ustatistics.unbiased_variance(kernel) == pytest.approx(expected)
    assert ustatistics.unbiased_variance(kernel[0, 0]) == pytest.approx(
        kernel[0, 0].var(ddof=1) / 5
    )
    with pytest.raises(ValueError, match="two or more"):
        ustatistics.unbiased_variance(kernel[:1])


def test_the_plug_in_variance_is_that_of_a_brute_force_bootstrap_of_readers_and_cases():
    rng = np.random.default_rng(5)
    kernel = rng.random((4, 6, 7)) + rng.random((4, 1, 1)) + rng.random((1, 6, 1))
    means = []
    for _ in range(20000):
        rows = [rng.integers(0, size, size) for size in kernel.shape]
        means.append(kernel[np.ix_(*rows)].mean())
    assert ustatistics.plugin_variance(kernel) == pytest.approx(np.var(means), rel=0.04)


def test_the_one_shot_variance_is_unbiased_over_many_studies():
    # Readers' shift, cases and noise; the truth is the variance of the mean over 3,000 studies.
    rng = np.random.default_rng(6)
    means, variances = [], []
    for _ in range(3000):
        truth = np.arange(24) < 10
        scores = rng.normal(size=(1, 24)) + rng.normal(size=(3, 24)) + truth
        scores[:, truth] += 0.5 * rng.normal(size=(3, 1))
        above = scores[:, truth][:, None, :] - scores[:, ~truth][:, :, None]
        kernel = (above > 0).astype(float)
        means.append(kernel.mean())
        variances.append(ustatistics.unbiased_variance(kernel))
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.08)


def test_u_statistics_and_obuchowski_rockette_agree_on_van_dyke(vandyke):
    found = ustatistics.compare_auc(SCORES, TRUTH)
    mine, other = found.differences_random[0, 1], vandyke.differences_random[0, 1]
    assert mine.difference.value == pytest.approx(other.difference.value)
    assert mine.p == pytest.approx(other.p, abs=0.01)
    fixed = found.differences_fixed[0, 1]
    assert fixed.p == pytest.approx(vandyke.differences_fixed[0, 1].p, abs=0.005)
    assert "one-shot" in mine.difference.method
    for a, b in zip(found.random, vandyke.random, strict=True):
        assert a.low == pytest.approx(b.low, abs=0.01)


def test_one_reader_by_u_statistics_is_not_a_sample_of_readers():
    found = ustatistics.compare_auc(SCORES[:, :1], TRUTH)
    assert math.isnan(found.differences_random[0, 1].p)
    assert found.differences_fixed[0, 1].difference.has_interval


def test_readers_against_the_model_keep_the_model_fixed():
    rng = np.random.default_rng(9)
    model = rng.normal(size=114) + 2 * TRUTH
    random, fixed = ustatistics.readers_against_model(SCORES[0], model, TRUTH)
    areas = [roc_auc_score(TRUTH, s) for s in SCORES[0]]
    expected = np.mean(areas) - roc_auc_score(TRUTH, model)
    assert random.difference.value == pytest.approx(expected)
    assert random.difference.low < fixed.difference.low  # readers vary too
    one = ustatistics.readers_against_model(SCORES[0, :1], model, TRUTH)
    paired = delong.auc_difference(SCORES[0, 0], model, TRUTH)
    assert math.isnan(one[0].p)
    assert one[1].difference.low == pytest.approx(paired.difference.low, abs=0.002)
    same = ustatistics.readers_against_model(SCORES[0, :1], SCORES[0, 0], TRUTH)[1]
    assert same.difference.value == 0
    assert math.isnan(same.p)
    with pytest.raises(ValueError, match="model"):
        ustatistics.readers_against_model(SCORES[0], model[:5], TRUTH)


def test_binary_shares_of_one_reader_are_plain_paired_shares():
    yes = (SCORES >= 3).astype(float)
    found = binary_mrmc.compare_rates(yes[:, :1], TRUTH, "sensitivity")
    right = yes[:, 0][:, TRUTH]
    change = right[1] - right[0]
    each = found.by_reader[0, 1][0]
    assert each.difference.value == pytest.approx(change.mean())
    assert each.statistic == pytest.approx(change.mean() / math.sqrt(change.var(ddof=1) / 45))


def test_binary_u_statistics_and_obuchowski_rockette_agree_for_fixed_readers():
    # The mean over fixed readers is a plain mean over cases, and both know its exact variance.
    yes = (SCORES >= 3).astype(float)
    for measure in binary_mrmc.MEASURES:
        ours = binary_mrmc.compare_rates(yes, TRUTH, measure)
        theirs = binary_mrmc.compare_rates_u(yes, TRUTH, measure)
        for a, b in zip(ours.fixed, theirs.fixed, strict=True):
            assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))
    specificity = binary_mrmc.compare_rates(yes, TRUTH, "specificity")
    assert specificity.figures[0, 0] == pytest.approx((SCORES[0, 0, ~TRUTH] < 3).mean())


def test_a_case_that_one_reader_left_open_is_left_out_for_all():
    holes = SCORES.copy()
    holes[1, 2, 80] = np.nan
    found = mrmc.compare_auc(holes, TRUTH)
    whole = mrmc.compare_auc(np.delete(SCORES, 80, axis=2), np.delete(TRUTH, 80))
    assert found.random[0] == whole.random[0]
    assert found.random[0].n == 113


def test_identical_conditions_have_no_difference_and_no_invented_interval():
    same = mrmc.compare_auc(np.stack([SCORES[0], SCORES[0]]), TRUTH)
    found = same.differences_fixed[0, 1]
    assert found.difference.value == 0
    assert not found.difference.has_interval
    assert math.isnan(found.p)
    assert "no spread was seen" in found.difference.method


def test_auc_states():
    assert math.isnan(delong.auc([1.0, 2.0], [1, 1]).value)
    perfect = delong.auc([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1])
    assert perfect.value == 1
    assert perfect.low < 0.5 and perfect.high == 1
    lonely = delong.auc([1.0, 2.0, 1.5], [0, 0, 1])
    assert lonely.value == 0.5
    assert "one case of a kind" in lonely.method
    assert delong.auc([1.0, np.nan, 3.0, 2.0], [0, 1, 1, 0]).n == 3
    assert math.isnan(delong.auc_difference([1.0, 2.0], [2.0, 1.0], [1, 0]).p)
    with pytest.raises(ValueError, match="two cases of each kind"):
        mrmc.compare_auc(SCORES[:, :, :69], TRUTH[:69])
    with pytest.raises(ValueError, match="covariance must be"):
        mrmc.compare_auc(SCORES, TRUTH, "bootstrap")
    with pytest.raises(ValueError, match="measure"):
        binary_mrmc.compare_rates(SCORES, TRUTH, "youden")
    with pytest.raises(ValueError, match="decisions must be"):
        binary_mrmc.compare_rates(SCORES, TRUTH, "accuracy")
    for compare in (binary_mrmc.compare_rates, binary_mrmc.compare_rates_u):
        for unread in (np.full((2, 2, 5), np.nan), np.zeros((2, 2, 0))):
            with pytest.raises(ValueError, match="accuracy needs two cases that everyone has read"):
                compare(unread, np.ones(unread.shape[2], bool), "accuracy")
    with pytest.raises(ValueError, match="two cases of each kind"):
        mrmc.compare_auc(np.full((2, 2, 5), np.nan), np.arange(5) < 2)


def test_confidence_in_another_answer_counts_against_the_category():
    scores = delong.class_scores([2, 0, 2, -1], [90, 80, 40, 0], 2)
    assert scores[:3].tolist() == [91, -81, 41]  # 1 more, so that a confidence of 0 counts too
    assert math.isnan(scores[3])
    with pytest.raises(ValueError, match="between 0 and 100"):
        delong.class_scores([1], [120], 1)
