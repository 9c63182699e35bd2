"""Probabilities for another case mix, and the balanced decision."""

import numpy as np
import pytest

from bmcore.domain import PRIMARIES, InputRefused, Primary
from bmcore.inference import case_mix
from bmcore.models.case_mix import (
    EVEN,
    LEAST,
    CaseMix,
    balanced,
    balanced_primary,
    exchange,
    from_counts,
    of_two_kinds,
    parse,
)
from tests import reading_fixture

HERE = CaseMix((0.13, 0.07, 0.085, 0.205, 0.43, 0.08))
THERE = CaseMix((0.4, 0.2, 0.05, 0.1, 0.15, 0.1))


def posterior(x, mix):
    """Six Gaussians of spread 1, mean 2 in their own direction: the exact answer."""
    log = np.log(np.array(mix.shares)) + 2 * x
    e = np.exp(log - log.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_the_exchanged_answer_is_the_exact_answer_of_the_other_site():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 6)) + 2 * np.eye(6)[rng.integers(0, 6, 500)]
    np.testing.assert_allclose(
        exchange(posterior(x, HERE), HERE, THERE), posterior(x, THERE), atol=1e-12
    )
    np.testing.assert_allclose(exchange(posterior(x, HERE)[0], HERE, HERE), posterior(x, HERE)[0])


def test_the_balanced_decision_finds_rare_primaries_more_often():
    rng = np.random.default_rng(1)
    y = rng.choice(6, 4000, p=HERE.shares)
    x = rng.normal(size=(4000, 6)) * 1.5 + 1.5 * np.eye(6)[y]
    p = posterior(x * 1.5 / 2 / 1.5**2, HERE)
    likeliest, even = p.argmax(axis=1), balanced(p, HERE)
    found = [[(said[y == k] == k).mean() for k in range(6)] for said in (likeliest, even)]
    assert np.mean(found[1]) > np.mean(found[0]) + 0.02 and found[1][1] > found[0][1]
    assert (likeliest == y).mean() > (even == y).mean()
    np.testing.assert_array_equal(even, exchange(p, HERE, EVEN).argmax(axis=1))
    rare = np.array([0.05, 0.2, 0.05, 0.15, 0.5, 0.05])
    assert balanced_primary(rare, HERE) is Primary.GI and rare.argmax() == 4


def test_a_setting_in_patients_shares_or_percent_is_the_same_case_mix():
    said = "breast=13, gi=7, sclc=8.5, melanoma=20.5, nsclc=43, rcc=8"
    for text in (said, said.replace(",", " %,") + "%", " NSCLC = 43,gi=7,breast=13,sclc=8.5,rcc=8,"
                 "melanoma=20.5"):  # fmt: skip
        mix = parse(text)
        assert mix is not None
        np.testing.assert_allclose(mix.shares, HERE.shares, atol=1e-9)
    assert parse("  ") is None
    assert "Breast 13%" in HERE.words


@pytest.mark.parametrize(
    "text",
    ["breast", "breast=x", "lung=3", "breast=-1, gi=2", "gi=1, gi=2", "breast=0", "gi=nan",
     "breast=1e308, gi=1e308", "breast=30%, nsclc=.7", "breast=30, nsclc=.7", "breast=140%",
     "breast=60%, gi=60%", "breast=30%, gi=70"],
)  # fmt: skip
def test_what_is_no_case_mix_is_refused_in_words(text):
    with pytest.raises(InputRefused, match="shares of the primaries cannot be read"):
        parse(text)


def test_numbers_of_two_kinds_are_refused_and_small_percentages_are_not():
    for mixed in ({"breast": 30, "nsclc": 0.7}, {"gi": 0.3, "rcc": 12.0, "sclc": 40}):
        assert of_two_kinds(mixed)
        text = ", ".join(f"{name}={n}" for name, n in mixed.items())
        with pytest.raises(InputRefused, match="all patients, all shares of 1, or all percentages"):
            parse(text)
    assert not of_two_kinds({"breast": 60, "nsclc": 39.5, "rcc": 0.5})
    with pytest.raises(ValueError, match="number of patients"):
        from_counts({"breast": 1e308, "nsclc": 1e308})
    percent = from_counts({"breast": 60, "nsclc": 39.5, "rcc": 0.5})
    np.testing.assert_allclose(percent.shares[0], 0.6, atol=0.003)
    assert from_counts({"breast": 0.6, "nsclc": 0.4}).words == from_counts(
        {"breast": 3, "nsclc": 2}
    ).words  # fmt: skip
    with pytest.raises(InputRefused, match="write % behind each of them or behind none"):
        parse("breast=30%, nsclc=.7")
    rounded = parse("breast=17%, gi=17%, sclc=17%, melanoma=17%, nsclc=17%, rcc=17%")  # 102 %
    np.testing.assert_allclose(rounded.shares, EVEN.shares)


def test_nothing_is_ruled_out_by_a_case_mix():
    mix = from_counts({"nsclc": 5000})
    assert min(mix.shares) == pytest.approx(LEAST, rel=0.01) and sum(mix.shares) == pytest.approx(1)
    with pytest.raises(ValueError, match="six numbers"):
        CaseMix((1.0, 0, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="sum to 1"):
        CaseMix((0.2,) * 6)
    assert len(PRIMARIES) == len(EVEN.shares)


def test_a_study_restates_the_answers_for_its_own_case_mix_whatever_the_site_has_set():
    learnt = (0.1, 0.1, 0.1, 0.1, 0.5, 0.1)
    there = reading_fixture.prediction(training_shares=learnt, site_shares=HERE.shares)
    mine = case_mix.restated(there, THERE)
    assert mine.site_shares == THERE.shares
    # fused .05 .05 .10 .20 .55 .05, each times share there / share learnt, scaled to 1
    weighed = np.array([0.05, 0.05, 0.1, 0.2, 0.55, 0.05]) * np.array(THERE.shares) / learnt
    np.testing.assert_allclose(mine.fused.at_site, weighed / weighed.sum())
    assert mine.fused.probabilities == there.fused.probabilities
    none = case_mix.restated(mine, None)
    assert none.site_shares is None and all(a.at_site is None for a in none.answers)
    old = case_mix.restated(reading_fixture.prediction(), THERE)  # shares learnt are not known
    assert old.site_shares is None and old.fused.at_site is None
    silent = case_mix.restated(reading_fixture.prediction(lesions=0, training_shares=learnt), THERE)
    assert silent.image.at_site is None and silent.clinical.at_site is not None
