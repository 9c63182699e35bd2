"""Agreement: printed tables to their printed digits, and other people's code where it overlaps."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

from bmcore.stats import agreement
from bmcore.stats.bootstrap import Resampling

# Fleiss 1971, table 1: 30 patients, six psychiatrists; how many gave each of five diagnoses
# (depression, personality disorder, schizophrenia, neurosis, other).
FLEISS_1971 = np.array(
    """0 0 0 6 0/0 3 0 0 3/0 1 4 0 1/0 0 0 0 6/0 3 0 3 0/2 0 4 0 0/0 0 4 0 2/2 0 3 1 0/2 0 0 4 0
    0 0 0 0 6/1 0 0 5 0/1 1 0 4 0/0 3 3 0 0/1 0 0 5 0/0 2 0 3 1/0 0 5 0 1/3 0 0 1 2/5 1 0 0 0
    0 2 0 4 0/1 0 2 0 3/0 0 0 0 6/0 1 0 5 0/0 2 0 1 3/2 0 0 4 0/1 0 0 4 1/0 5 0 1 0/4 0 0 0 2
    0 2 0 4 0/1 0 5 0 0/0 0 0 0 6""".replace("\n", "/")
    .replace("//", "/")
    .replace("/", " ")
    .split(),
    dtype=int,
).reshape(30, 5)


def ratings_of(counts):
    return np.array([np.repeat(np.arange(counts.shape[1]), row) for row in counts])


def test_fleiss_kappa_gives_the_printed_value_of_fleiss_1971():
    found = agreement.fleiss_kappa_of_counts(FLEISS_1971)
    assert round(found.value, 3) == 0.430
    assert found.n == 30
    assert 0 < found.low < found.value < found.high < 1


def test_fleiss_kappa_is_the_same_from_ratings_as_from_counts_and_as_in_statsmodels():
    found = agreement.fleiss_kappa(ratings_of(FLEISS_1971), 5)
    assert found == agreement.fleiss_kappa_of_counts(FLEISS_1971)
    assert found.value == pytest.approx(inter_rater.fleiss_kappa(FLEISS_1971), abs=1e-12)


def test_the_fleiss_interval_is_close_to_a_bootstrap_of_the_cases():
    rng = np.random.default_rng(3)
    found = agreement.fleiss_kappa_of_counts(FLEISS_1971)
    draws = [inter_rater.fleiss_kappa(FLEISS_1971[rng.integers(0, 30, 30)]) for _ in range(1000)]
    assert (found.high - found.low) / 2 == pytest.approx(2.045 * np.std(draws), rel=0.12)


def test_a_case_with_one_answer_counts_for_the_shares_but_not_for_the_agreement():
    # 3 readers; the last case has one answer. By hand, pi = means of the rows' shares:
    # rows (1,0), (1/3,2/3), (0,1), (1,0) -> pi = (7/12, 5/12); pe = 49/144 + 25/144 = 74/144.
    # pa over the first three cases = (1 + 1/3 + 1) / 3 = 7/9.
    ratings = np.array([[0, 0, 0], [0, 1, 1], [1, 1, 1], [0, -1, -1]])
    found = agreement.fleiss_kappa(ratings, 2)
    assert found.value == pytest.approx((7 / 9 - 74 / 144) / (1 - 74 / 144))
    assert found.n == 3


def test_cohen_kappa_and_its_interval_match_the_sas_printout():
    # The 3 x 3 table and its printed numbers: SAS, as quoted in the tests of statsmodels.
    table = np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
    a, b = (np.repeat(ix.ravel(), table.ravel()) for ix in np.indices(table.shape))
    plain = agreement.cohen_kappa(a, b, 3, scale="plain")
    assert [round(v, 4) for v in (plain.value, plain.low, plain.high)] == [0.4842, 0.2137, 0.7547]
    weighted = agreement.cohen_kappa(a, b, 3, weights="linear", scale="plain")
    assert [round(v, 4) for v in (weighted.value, weighted.low, weighted.high)] == [
        0.4701,
        0.1845,
        0.7558,
    ]


def test_cohen_kappa_gives_the_printed_values_of_cohen_1968():
    # Cohen 1968, table 1: shares of 200 cases, disagreement weights 0 1 3 / 1 0 6 / 3 6 0; kappa
    # .492 (as in Cohen 1960), weighted kappa .348.
    shares = np.array([[0.44, 0.07, 0.09], [0.05, 0.20, 0.05], [0.01, 0.03, 0.06]])
    table = np.rint(shares * 200).astype(int)
    a, b = (np.repeat(ix.ravel(), table.ravel()) for ix in np.indices(table.shape))
    assert round(agreement.cohen_kappa(a, b, 3).value, 3) == 0.492
    own = 1 - np.array([[0, 1, 3], [1, 0, 6], [3, 6, 0]]) / 6
    found = agreement.cohen_kappa(a, b, 3, own)
    assert round(found.value, 3) == 0.348
    assert "own weights" in found.method
    with pytest.raises(ValueError, match="symmetric"):
        agreement.cohen_kappa(a, b, 3, np.eye(2))


@pytest.mark.parametrize(("name", "theirs"), [("linear", "linear"), ("quadratic", "quadratic")])
def test_weighted_kappa_matches_scikit_learn_and_statsmodels(name, theirs):
    rng = np.random.default_rng(5)
    a = rng.integers(0, 5, 120)
    b = np.clip(a + rng.integers(-1, 2, 120), 0, 4)
    found = agreement.cohen_kappa(a, b, 5, weights=name, scale="plain")
    assert found.value == pytest.approx(cohen_kappa_score(a, b, weights=theirs), abs=1e-12)
    table = np.zeros((5, 5))
    np.add.at(table, (a, b), 1)
    power = {"linear": "linear", "quadratic": "fc"}[name]
    other = inter_rater.cohens_kappa(table, wt=power)
    half = (found.high - found.low) / 2
    assert half == pytest.approx(1.959964 * other.std_kappa, rel=1e-5)


def test_the_default_interval_is_the_plain_error_on_fishers_z():
    rng = np.random.default_rng(8)
    a = rng.integers(0, 3, 40)
    b = np.where(rng.random(40) < 0.6, a, rng.integers(0, 3, 40))
    plain = agreement.cohen_kappa(a, b, 3, scale="plain")
    error = (plain.high - plain.low) / 2 / 1.959964
    found = agreement.cohen_kappa(a, b, 3)
    half = 2.0226909 * math.sqrt(40 / 39) * error / (1 - plain.value**2)
    assert math.atanh(found.high) - math.atanh(found.value) == pytest.approx(half, rel=1e-5)
    assert found.value - found.low > found.high - found.value
    with pytest.raises(ValueError, match="scale"):
        agreement.cohen_kappa(a, b, 3, scale="log")


def test_the_interval_of_kappa_covers_the_truth_in_about_95_of_100_studies():
    # Two readers name one of three classes; each keeps the true class with probability 0.7 and
    # else picks one of the three at random: po = .8 * .8 + 2 * .1 * .1 = .66, pe = 1/3, so kappa
    # is .49. 600 studies of 150 cases: the standard error of the coverage is 0.9 %.
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(600):
        true = rng.integers(0, 3, 150)
        read = [np.where(rng.random(150) < 0.7, true, rng.integers(0, 3, 150)) for _ in range(2)]
        found = agreement.cohen_kappa(read[0], read[1], 3)
        inside += found.low <= 0.49 <= found.high
    assert 0.92 <= inside / 600 <= 0.975


def test_two_readers_who_always_agree_get_one_without_an_invented_interval():
    found = agreement.cohen_kappa([0, 1, 2, 0], [0, 1, 2, 0], 3)
    assert found.value == 1
    assert not found.has_interval
    assert "no disagreement" in found.method


def test_kappa_is_not_defined_where_everyone_says_the_same_of_every_case():
    for found in (
        agreement.cohen_kappa([2, 2, 2], [2, 2, 2], 3),
        agreement.fleiss_kappa(np.full((3, 4), 2), 3),
    ):
        assert math.isnan(found.value)
        assert "not defined" in found.method


def test_percent_agreement_of_two_readers_has_the_wilson_interval():
    # 7 of 10 agree; Wilson 95 %: 0.3968 to 0.8922 (Newcombe 1998, by his formula for 7/10).
    a = np.zeros(10, int)
    b = np.array([0] * 7 + [1] * 3)
    found = agreement.percent_agreement(np.column_stack([a, b]))
    assert found.value == pytest.approx(0.7)
    assert (round(found.low, 4), round(found.high, 4)) == (0.3968, 0.8922)
    assert "Wilson" in found.method


def test_percent_agreement_of_three_readers_is_the_mean_share_of_agreeing_pairs():
    ratings = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 1, -1], [2, -1, -1]])
    found = agreement.percent_agreement(ratings, Resampling(resamples=500))
    assert found.value == pytest.approx((1 + 1 / 3 + 0 + 1) / 4)
    assert found.n == 4
    assert "effective sample size" in found.method
    assert found.low < found.value < found.high


def test_the_matrix_says_who_did_not_answer_and_refuses_two_answers():
    rows = [("b", "Noor", "lung"), ("a", "Noor", "skin"), ("a", "Ida", "lung"), ("b", "Ida", None)]
    matrix = agreement.rating_matrix(rows, ["lung", "skin"])
    assert matrix.cases == ("a", "b")
    assert matrix.readers == ("Ida", "Noor")
    assert matrix.codes.tolist() == [[0, 1], [-1, 0]]
    first, second = matrix.pair("Ida", "Noor")
    assert (first.tolist(), second.tolist()) == ([0], [1])
    with pytest.raises(ValueError, match="two answers"):
        agreement.rating_matrix([*rows, ("a", "Ida", "skin")], ["lung", "skin"])
    with pytest.raises(ValueError, match="not one of"):
        agreement.rating_matrix([("a", "Ida", "bone")], ["lung", "skin"])


def test_no_case_is_a_named_state_and_not_zero():
    for found in (
        agreement.percent_agreement(np.zeros((0, 3), int)),
        agreement.fleiss_kappa(np.zeros((0, 3), int), 6),
        agreement.cohen_kappa([], [], 6),
        agreement.percent_agreement(np.array([[0, -1], [-1, 2]])),
    ):
        assert not found.defined
        assert found.n == 0
        assert found.text() == "not defined, n = 0"


@pytest.mark.parametrize(
    ("ratings", "kappa"),
    [
        ([[0, 1]] * 12, -1.0),  # never alike
        ([[0, 0, 1]] * 12, -0.5),  # one pair of three alike: (1/3 - 5/9) / (1 - 5/9)
        ([[0, 1, 1], [1, 0, 0]] * 6, -1 / 3),
    ],
)
def test_one_pattern_of_agreement_on_every_case_gives_no_interval(ratings, kappa):
    found = agreement.fleiss_kappa(np.array(ratings), 2)
    counts, _ = inter_rater.aggregate_raters(np.array(ratings))
    assert found.value == pytest.approx(kappa) == pytest.approx(inter_rater.fleiss_kappa(counts))
    assert not found.has_interval
    assert "every case shows the same pattern of agreement" in found.method
    other = agreement.fleiss_kappa(np.array([*ratings, [0] * len(ratings[0])]), 2)
    assert other.low < other.value < other.high
