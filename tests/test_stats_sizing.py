"""Readers and cases that a study needs: components against simulation, power against counting."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from bmcore.stats import delong, mrmc, sample_size, sizing
from bmcore.stats.sizing import PRESETS, Question, Variation
from training.bench.coverage import Confidence

LIKE = Variation("as in the coverage run", "", 0.02, 0.01, 0.3, 0.3, 0.2, 0.2)


def test_both_below_is_the_bivariate_normal_probability():
    for z, r in ((0.3, 0.2), (1.4, 0.7), (-0.5, 0.4), (0.0, 0.9)):
        expected = multivariate_normal.cdf([z, z], cov=[[1, r], [r, 1]])
        assert sizing._both(z, r) == pytest.approx(expected, abs=1e-6)
    assert sizing._both(0.7, 0.0) == pytest.approx(norm.cdf(0.7) ** 2)
    assert sizing._both(0.7, 1.0) == pytest.approx(norm.cdf(0.7))


@pytest.fixture(scope="module")
def simulated():
    """Mean components of 400 simulated studies of 6 readers, 30 positive and 40 negative cases."""
    model = Confidence(6, 30, 40, (1.2, 1.2))
    areas, shares = [], []
    for seed in range(400):
        scores, truth, _ = model.draw(np.random.default_rng(seed))
        areas.append(mrmc.compare_auc(scores, truth).components)
        right = (scores[:, :, truth] > 0.4).astype(float)
        flat = right.reshape(12, -1)
        covariance = (np.cov(flat) / 30).reshape(2, 6, 2, 6)
        shares.append(mrmc.components(right.mean(axis=2), covariance))
    return areas, shares


def test_the_components_of_aucs_are_those_of_simulated_studies(simulated):
    auc = float(Confidence(6, 30, 40, (1.2, 1.2)).auc[0])
    expected = sizing.auc_components(LIKE, auc, 30, 40)
    for name in ("var", "cov1", "cov2", "cov3"):
        found = np.mean([getattr(c, name) for c in simulated[0]])
        assert found == pytest.approx(getattr(expected, name), rel=0.06)
    for name in ("reader", "interaction"):
        values = [getattr(c, name) for c in simulated[0]]
        error = np.std(values) / math.sqrt(len(values))
        assert abs(np.mean(values) - getattr(expected, name)) < 3.5 * error


def test_the_components_of_shares_are_those_of_simulated_studies(simulated):
    share = float(Confidence(6, 30, 40, (1.2, 1.2)).sensitivity(0.4)[0])
    expected = sizing.share_components(LIKE, share, 30)
    for name in ("var", "cov1", "cov2", "cov3"):
        found = np.mean([getattr(c, name) for c in simulated[1]])
        assert found == pytest.approx(getattr(expected, name), rel=0.06)


def test_the_power_is_how_often_simulated_studies_find_the_difference():
    model = Confidence(5, 40, 40, (1.0, 1.5))
    found = 0
    for seed in range(400):
        scores, truth, _ = model.draw(np.random.default_rng([7, seed]))
        found += mrmc.compare_auc(scores, truth).differences_random[0, 1].p < 0.05
    low, high = model.auc
    question = Question("AUC", low, high - low)
    row = sizing.power_table(question, LIKE, readers=(5,), cases=(80,))[0]
    assert row.curve[0].power == pytest.approx(found / 400, abs=0.07)


def test_the_table_finds_the_cases_that_reach_the_power():
    question = Question("accuracy", 0.6, 0.12)
    preset = PRESETS["readers alike, cases differ much"]
    rows = sizing.power_table(question, preset)
    needed = [r.needed.cases for r in rows]
    assert all(a is None or b <= a for a, b in itertools.pairwise(needed))
    six = next(r for r in rows if r.readers == 6)
    powers = [p.power for p in six.curve]
    assert powers == sorted(powers)
    base = sizing.components(question, preset, 1000)
    assert sample_size.power(base, 1000, 0.12, 6, six.needed.cases).power >= 0.8
    fewer = sizing.power_table(
        Question("sensitivity", 0.6, 0.12, prevalence=0.2), preset, readers=(6,)
    )
    assert fewer[0].needed.cases > 3 * six.needed.cases  # only every fifth case counts


def test_few_readers_are_cautioned_in_words():
    rows = sizing.power_table(
        Question("AUC", 0.75, 0.07), PRESETS["readers differ, cases differ much"]
    )
    assert ["90-93 %" in r.caution for r in rows] == [True, True] + [False] * 5
    fixed = sizing.power_table(
        Question("AUC", 0.75, 0.07, fixed_readers=True),
        PRESETS["readers differ, cases differ much"], readers=(1, 2),
    )  # fmt: skip
    assert "these very readers" in fixed[0].caution
    assert rows[0].needed.cases is None or rows[0].needed.cases > fixed[1].needed.cases


def test_a_pilot_takes_the_place_of_a_preset():
    model = Confidence(5, 40, 50, (1.0, 1.4))
    scores, truth, _ = model.draw(np.random.default_rng(1))
    study = mrmc.compare_auc(scores, truth)
    row = sizing.power_table(
        Question("AUC", 0.76, 0.08), pilot=(study.components, 90), readers=(6,)
    )[0]
    direct = sample_size.power(study.components, 90, 0.08, 6, 20)
    assert row.curve[0] == direct
    areas = study.figures
    covariance = delong.auc_covariance(scores.reshape(10, -1), truth)[1]
    assert sizing.pilot_of(areas, covariance) == study.components


def test_the_published_pilot_gives_the_printed_power():
    # RJafroc on these data: six readers and 112 cases, power 0.556 (tests/test_stats_mrmc.py).
    question = Question("AUC", 0.897, 0.04380032)
    row = sizing.power_table(question, pilot=sizing.VAN_DYKE, readers=(6,), cases=(112,))[0]
    assert round(row.curve[0].power, 3) == 0.556


def components(var, cov1, cov2, cov3, interaction):
    none = math.nan
    return mrmc.Components(none, none, none, var, cov1, cov2, cov3, none, interaction)


PILOT = components(0.001, 0.0005, 0.0005, 0.0003, 0.0002)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_without_a_difference_the_power_is_alpha(fixed, alpha):
    found = sample_size.power(PILOT, 100, 0, 5, 100, alpha=alpha, fixed_readers=fixed)
    assert found.power == alpha
    least = sample_size.power(PILOT, 100, 1e-7, 5, 100, alpha=alpha, fixed_readers=fixed)
    assert least.power == pytest.approx(alpha, abs=1e-6)
    needed = sample_size.cases_needed(PILOT, 100, 0, 5, alpha=alpha, fixed_readers=fixed)
    assert (needed.cases, needed.power) == (None, alpha)
    assert "difference of 0" in needed.why and "more readers" not in needed.why


def test_readers_that_do_not_differ_have_the_power_of_a_normal_test():
    """No spread from reader to reader: F with df infinite, whose power is that of z."""
    alike = components(0.001, 0.0005, 0.0008, 0.0003, 0.0)
    found = sample_size.power(alike, 100, 0.05, 5, 100)
    z = math.sqrt(found.noncentrality)
    assert math.isinf(found.df)
    assert found.noncentrality == pytest.approx(5 * 0.05**2 / 2 / (0.0005 + 4 * 0.0005))
    expected = norm.sf(1.959964 - z) + norm.sf(1.959964 + z)
    assert found.power == pytest.approx(expected, abs=1e-6)
    near = components(0.001, 0.0005, 0.00079999, 0.0003, 0.0)
    assert sample_size.power(near, 100, 0.05, 5, 100).power == pytest.approx(found.power, abs=1e-3)


def test_power_of_what_cannot_be_is_refused_in_words():
    for effect in (math.nan, math.inf):
        with pytest.raises(ValueError, match="effect must be a number"):
            sample_size.power(PILOT, 100, effect, 5, 100)
    for none in (components(0, 0, 0, 0, 0), components(math.nan, 0, 0, 0, 0)):
        for fixed in (False, True):
            with pytest.raises(ValueError, match="nothing changed between"):
                sample_size.power(none, 100, 0.05, 5, 100, fixed_readers=fixed)
    for target in (0, 1, math.nan):
        with pytest.raises(ValueError, match="power must lie between 0 and 1"):
            sample_size.cases_needed(PILOT, 100, 0.05, 5, target)


def test_what_cannot_be_is_refused_in_words():
    with pytest.raises(ValueError, match="measure must be one of"):
        Question("kappa", 0.6, 0.1)
    with pytest.raises(ValueError, match=r"between 0\.5 and 1 in both arms"):
        Question("AUC", 0.95, 0.1)
    with pytest.raises(ValueError, match="least that matters"):
        Question("AUC", 0.8, 0.0)
    with pytest.raises(ValueError, match="prevalence"):
        Question("AUC", 0.8, 0.1, prevalence=1.0)
    with pytest.raises(ValueError, match="either a preset or a pilot"):
        sizing.power_table(Question("AUC", 0.8, 0.1))
    with pytest.raises(ValueError, match="sum to 1"):
        Variation("x", "", 0, 0, 0.3, 0.3, 0.3, 0.3)
    with pytest.raises(ValueError, match="need a preset"):
        sizing.components(Question("AUC", 0.8, 0.1), None, 10)
