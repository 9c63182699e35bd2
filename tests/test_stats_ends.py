"""Intervals where nothing or everything was seen, where readers are constant or identical."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from bmcore.stats import (
    agreement,
    binary_mrmc,
    bootstrap,
    classification,
    clustered,
    comparison,
    continuous,
    delong,
    estimate,
    froc,
    mrmc,
    paired,
    reliability,
    segmentation,
)
from training.bench import bootstrap_kinds

Z2 = stats.norm.ppf(0.975) ** 2


@pytest.mark.parametrize(("hits", "n"), [(0, 13), (13, 13), (3, 3), (1, 40), (20, 41)])
def test_exact_and_score_intervals_are_those_of_statsmodels(hits, n):
    for found, method in (
        (estimate.proportion(hits, n), "wilson"),
        (estimate.exact_proportion(hits, n), "beta"),
    ):
        expected = proportion_confint(hits, n, method=method)
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
        assert found.low < found.high


def test_none_in_four_scans_is_the_rule_of_three_for_poisson_counts():
    # -ln(.025) = 3.6889 events at most, Garwood 1936; two events: 0.2422 to 7.2247.
    none = segmentation.false_lesions_per_case([0, 0, 0, 0])
    assert (none.low, round(none.high, 4)) == (0, round(3.6889 / 4, 4))
    two = estimate.poisson_rate(2, 1)
    assert (round(two.low, 4), round(two.high, 4)) == (0.2422, 7.2247)
    some = segmentation.false_lesions_per_case([0, 1, 0, 3])
    assert "bootstrap" in some.method
    with pytest.raises(ValueError, match="0 or more"):
        estimate.poisson_rate(-1, 3)
    assert not estimate.poisson_rate(0, 0).defined


def test_ten_cases_with_three_identical_readers_do_not_agree_for_certain():
    same = np.repeat(np.arange(10)[:, None] % 3, 3, axis=1)
    found = agreement.percent_agreement(same)
    assert (found.value, found.high, found.n) == (1, 1, 10)
    assert found.low == pytest.approx(10 / (10 + Z2))
    for one in (agreement.fleiss_kappa(same, 3), reliability.krippendorff_alpha(same, 3)):
        assert one.value == pytest.approx(1)
        assert "no disagreement was seen" in one.method


def test_a_constant_reader_has_a_kappa_of_zero_without_an_interval_and_the_reason():
    zeros = np.zeros(12, int)
    other = np.array([0] * 10 + [1, 1])
    for a, b in ((zeros, other), (other, zeros)):
        for weights in ("none", "linear"):
            found = agreement.cohen_kappa(a, b, 3, weights)
            assert found.value == pytest.approx(0)
            assert not found.has_interval
            assert "one reader gave the same answer to every case" in found.method


def test_degenerate_resamples_of_alpha_are_counted_and_told():
    table = np.zeros((12, 3), int)
    table[0, 0] = 1
    found = reliability.krippendorff_alpha(table, 2)
    assert "of 2000 resamples not defined and left out" in found.method


def test_shares_of_a_class_have_wilsons_interval_and_the_n_of_the_class():
    truth = np.array([0] * 13 + [1] * 3 + [2] * 5)
    named = np.array([1] * 13 + [1] * 3 + [2] * 5)
    rates = classification.per_class(truth, named, 3)
    none, all_, _ = rates["sensitivity"]
    assert (none.value, none.n, all_.value, all_.n) == (0, 13, 1, 3)
    assert none.high == pytest.approx(Z2 / (13 + Z2))
    assert all_.low == pytest.approx(3 / (3 + Z2))
    assert rates["ppv"][1].n == 16
    assert rates["npv"][0].n == 21
    assert not rates["ppv"][0].defined
    assert "never changed the number" in rates["f1"][2].method
    right = classification.accuracy([0, 0, 1], [0, 0, 1])
    assert right.low == pytest.approx(3 / (3 + Z2))


def test_a_balanced_accuracy_of_one_has_an_interval_from_its_classes():
    truth = np.array([0] * 10 + [1] * 10)
    found = classification.balanced_accuracy(truth, truth, 2)
    assert (found.value, found.high) == (1, 1)
    # Two halves with the same Wilson interval: half of the reach times the root of two.
    assert 1 - found.low == pytest.approx((1 - 10 / (10 + Z2)) / math.sqrt(2))
    assert not estimate.mean_of_shares([], "none").defined


def test_lesions_of_one_patient_count_as_one_patient_at_the_ends():
    found = segmentation.detection_by_size([6.0] * 9, [1] * 9, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    hit = found[1].sensitivity
    assert (hit.value, hit.n) == (1, 3)
    assert hit.low == pytest.approx(3 / (3 + Z2))
    case = froc.Detections((8.0, 9.0), (froc.Detection(0.9, 0.5, 8.0, (0, 1)),))
    curve = froc.froc([case] * 5)
    assert curve.sensitivity_at[0].value == 1
    assert curve.sensitivity_at[0].low == pytest.approx(5 / (5 + Z2))


def test_a_clustered_share_has_the_effective_sample_size_of_its_variance():
    hits, of = np.array([3.0, 0, 2, 1, 4, 0]), np.array([4.0, 2, 2, 3, 4, 1])
    found = clustered.ratio(hits, of, "share")
    p = 10 / 16
    variance = ((hits - p * of) ** 2).sum() / 16**2 * 6 / 5
    size = p * (1 - p) / variance * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 5)) ** 2
    expected = estimate.proportion(p * size, size)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.n == 6
    with pytest.raises(ValueError, match="between 0 and of"):
        clustered.ratio([2], [1], "share")


def test_a_clustered_share_covers_near_the_ends():
    rng = np.random.default_rng(3)
    inside = []
    for _ in range(600):
        of = rng.integers(1, 6, 25)
        hits = rng.binomial(of, rng.beta(18, 2, 25))  # mean .9, patients differ
        found = clustered.ratio(hits, of, "share")
        inside.append(found.low <= 0.9 <= found.high)
    assert 0.92 <= np.mean(inside) <= 0.985


def test_an_area_of_one_has_a_score_interval_that_solves_its_equation():
    found = delong.auc([1, 2, 3, 4, 5, 6.0], [0, 0, 0, 1, 1, 1])
    low = found.low
    half = 3 - 1
    spread = 1 + half * ((1 - low) / (2 - low) + low / (1 + low))
    assert (1 - low) ** 2 == pytest.approx(Z2 * low * (1 - low) * spread / 9)
    mirrored = delong.auc([4, 5, 6, 1, 2, 3.0], [0, 0, 0, 1, 1, 1])
    assert (mirrored.low, mirrored.high) == pytest.approx((0, 1 - low))


def test_the_score_interval_of_an_area_near_one_covers():
    rng = np.random.default_rng(5)
    truth = np.arange(24) < 10
    inside = []
    for _ in range(800):
        found = delong.auc(rng.normal(size=24) + 3.3 * truth, truth)
        inside.append(found.low <= stats.norm.cdf(3.3 / math.sqrt(2)) <= found.high)
    assert 0.93 <= np.mean(inside) <= 0.99


def test_the_model_aucs_of_one_and_their_macro_mean_have_intervals():
    p = np.eye(3)[np.arange(30) % 3] * 0.8 + 0.2 / 3
    areas = classification.auc(np.arange(30) % 3, p)
    expected = delong.area_at_the_end(1.0, 10, 20, "one")
    for one in (*areas.per_class, areas.macro):
        assert (one.value, one.high) == (1, 1)
        assert one.low == pytest.approx(expected.low)


def test_readers_who_are_always_right_have_wilsons_interval_on_cases():
    truth = np.arange(30) < 15
    yes = np.broadcast_to(truth.astype(float), (2, 4, 30))
    for compare in (binary_mrmc.compare_rates, binary_mrmc.compare_rates_u):
        found = compare(yes, truth, "sensitivity")
        for one in (*found.random, *found.fixed):
            assert one.low == pytest.approx(15 / (15 + Z2))
        for change in (found.differences_random[0, 1], found.differences_fixed[0, 1]):
            assert change.difference.high == pytest.approx(Z2 / (15 + Z2))
            assert math.isnan(change.p)
    areas = mrmc.compare_auc(yes, truth)
    assert areas.random[0].low == pytest.approx(delong.area_at_the_end(1, 15, 15, "a").low)


def test_no_discordant_case_is_tangos_score_interval_whatever_the_share_right():
    # Tango's limits d solve |0 - d| / sqrt(variance at d) = z; with b = c = 0 the constrained
    # estimate gives n d^2 = z^2 (d - d^2) at the upper limit, so d = z^2 / (n + z^2).
    first = np.array([True] * 20 + [False] * 20)
    found = paired.rate_difference(first, first)
    assert found.high == pytest.approx(Z2 / (40 + Z2))
    d = found.high
    assert 40 * d**2 == pytest.approx(Z2 * (d - d**2))


def test_a_bootstrap_whose_resamples_are_all_alike_has_no_interval():
    found = bootstrap.mean([7.0, 7.0, 7.0])
    assert found.value == 7
    assert not found.has_interval
    assert "drawing the cases anew 2000 times never changed the number" in found.method


def test_the_bca_interval_is_that_of_scipy():
    values = np.random.default_rng(4).exponential(1, 40)
    many = bootstrap.Resampling(resamples=20_000)
    mine = bootstrap.patient_bootstrap(
        bootstrap.mean_statistic(values),
        np.arange(40),
        many,
        bca=True,
    )
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert mine.low == pytest.approx(theirs.low, abs=0.015)
    assert mine.high == pytest.approx(theirs.high, abs=0.015)
    assert "BCa 95%" in mine.method
    plain = bootstrap.patient_bootstrap(bootstrap.mean_statistic(values), np.arange(40), many)
    assert mine.high > plain.high + 0.02 and mine.low > plain.low
    rows = np.repeat(np.arange(40), 2)
    twice = bootstrap.patient_bootstrap(
        bootstrap.mean_statistic(np.repeat(values, 2)),
        rows,
        many,
        bca=True,
    )
    assert (twice.low, twice.high, twice.n) == pytest.approx((mine.low, mine.high, 40))
    same = bootstrap.patient_bootstrap(bootstrap.mean_statistic(np.ones(9)), np.arange(9), bca=True)
    assert not same.has_interval


def test_bca_covers_better_than_percentiles_where_losses_are_skewed():
    found = bootstrap_kinds.coverage(bootstrap_kinds.brier, runs=150, resamples=400)
    assert found["BCa"][0] > found["percentile"][0]
    one, truth = bootstrap_kinds.f1(np.random.default_rng(0), 200_000)
    assert one.of(np.ones((1, 200_000)))[0][0] == pytest.approx(truth, abs=0.005)


@pytest.mark.parametrize(
    ("level", "words"),
    [(0.95, "95%"), (1 - 0.05, "95%"), (1 - 2 * 0.05, "90%"), (0.975, "97.5%"), (0.9999, "99.99%"),
     (1 - 1e-9, "99.9999999%")],
)  # fmt: skip
def test_a_level_is_never_shown_as_100_per_cent(level, words):
    assert estimate.percent(level) == words
    assert estimate.proportion(3, 9, level).method.endswith(words)


@pytest.mark.parametrize("level", [1.0, 0.0, 1 - 1e-20, 1.5, math.nan])
def test_a_level_that_no_finite_interval_has_is_refused_in_words(level):
    for call in (
        lambda: estimate.proportion(3, 9, level),
        lambda: comparison.interval(0.2, 0.1, 9, "mean", level=level),
        lambda: continuous.icc([[1, 2], [3, 5], [4, 4]], level=level),
    ):
        with pytest.raises(ValueError, match="cannot be told from 0, has no interval"):
            call()
