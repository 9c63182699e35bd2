"""Intervals cover the truth of simulated readers: the short form of training.bench.coverage.

100 studies a method: a true 95 % interval covers in fewer than 85 of them once in 20,000 methods.
The seeds are fixed, so the numbers do not change from run to run. The long form has 1,000 studies.
"""

import numpy as np
import pytest

from bmcore.stats.estimate import proportion
from training.bench import coverage

RUNS = 100
FAMILIES = {
    "agreement": coverage._agreement_checks,
    "measurements": coverage._measurement_checks,
    "auc": coverage._auc_checks,
    "binary": coverage._binary_checks,
    "marks": coverage._marks_checks,
    "reliance": coverage._reliance_checks,
    "time": coverage._time_checks,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_intervals_of_a_family_cover_the_truth(family):
    rows = [coverage.cover(check, RUNS, seed=1) for check in FAMILIES[family]()]
    assert len(rows) >= 2
    assert [row.text() for row in rows if row.given < 0.95 * RUNS] == []
    assert [row.text() for row in rows if row.share < 0.85] == []
    assert 0.92 <= np.mean([row.share for row in rows]) <= 0.98


def test_every_family_is_in_the_long_form():
    assert len(coverage.checks()) == sum(len(family()) for family in FAMILIES.values())


def test_an_interval_that_is_too_narrow_is_found():
    def draw(rng):
        return proportion(int(rng.binomial(50, 0.6)), 50, level=0.8), 0.6

    row = coverage.cover(coverage.Check("narrow", "50 cases", draw), 300)
    assert row.share < 0.85


def test_the_simulated_readers_have_the_truth_that_is_claimed():
    # Kappa of the votes, and the area of the confidences, from one very large study.
    rng = np.random.default_rng(0)
    table = coverage.votes(rng, 200_000, 2, 0.7)
    assert (table[:, 0] == table[:, 1]).mean() == pytest.approx(coverage.agreeing(0.7), abs=0.004)
    model = coverage.Confidence(2000, 60, 60, (1.0, 1.4))
    scores, truth, own = model.draw(rng)
    above = [(s[:, truth][:, :, None] > s[:, ~truth][:, None]).mean() for s in scores]
    assert above == pytest.approx(model.auc.tolist(), abs=0.06)
    assert own.mean(axis=1) == pytest.approx([1.0, 1.4], abs=0.02)


def test_the_long_form_fails_on_a_new_shortfall_and_names_the_known_ones(monkeypatch, capsys):
    def draw(rng):
        return proportion(int(rng.binomial(50, 0.6)), 50, level=0.8), 0.6

    monkeypatch.setattr("sys.argv", ["coverage", "--runs", "100"])
    monkeypatch.setattr(coverage, "checks", lambda: [coverage.Check("ICC(2,1)", "new", draw)])
    with pytest.raises(SystemExit) as ended:
        coverage.main()
    assert ended.value.code == 1
    known = coverage.Check("ICC(2,1)", "5 readers, 50 cases", draw)
    monkeypatch.setattr(coverage, "checks", lambda: [known])
    coverage.main()
    assert capsys.readouterr().out.rstrip().endswith("known")
    names = {(check.name, check.setting) for family in FAMILIES.values() for check in family()}
    assert names >= coverage.KNOWN
