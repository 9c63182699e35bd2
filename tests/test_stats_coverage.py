"""Intervals cover the truth of simulated readers: the short form of training.bench.coverage.

100 studies a method: a true 95 % interval covers in fewer than 85 of them once in 20,000 methods.
The families of whole reader studies have 25 of each, and 19 must cover, which fails as rarely.
The seeds are fixed, so the numbers do not change from run to run. The long form has 1,000 studies.
"""

import numpy as np
import pytest

from bmcore.stats.estimate import proportion
from training.bench import coverage, simulated_studies

RUNS = 100
FAMILIES = {
    "agreement": coverage._agreement_checks,
    "measurements": coverage._measurement_checks,
    "auc": coverage._auc_checks,
    "binary": coverage._binary_checks,
    "marks": coverage._marks_checks,
    "reliance": coverage._reliance_checks,
    "time": coverage._time_checks,
    "ends": coverage._end_checks,
    "missing reads": coverage._missing_checks,
    "against the models": coverage._standalone_checks,
    "published studies": coverage._published_checks,
}
SLOW = {
    "missing reads",
    "against the models",
    "published studies",
}  # whole studies: fewer of them here


@pytest.mark.parametrize("family", FAMILIES)
def test_the_intervals_of_a_family_cover_the_truth(family):
    slow = family in SLOW
    runs, least = (25, 0.76) if slow else (RUNS, 0.85)
    rows = [coverage.cover(check, runs, seed=1) for check in FAMILIES[family]()]
    assert len(rows) >= 2
    assert [row.text() for row in rows if row.given < 0.95 * runs] == []
    assert [row.text() for row in rows if row.share < least] == []
    low, high = (0.9, 0.99) if slow else (0.92, 0.98)
    assert low <= np.mean([row.share for row in rows]) <= high


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


def test_every_preset_names_its_source_and_what_is_assumed():
    presets = simulated_studies.PRESETS
    assert len(presets) == 5
    for preset in presets:
        assert any(ch.isdigit() for ch in preset.source)
        assert preset.assumed


def test_the_simulated_truth_of_shares_and_preferences_is_the_claimed_one():
    rng = np.random.default_rng(2)
    right, truth = simulated_studies.right_answers(rng, 400, 400, (0.6, 0.72))
    assert right.mean(axis=(1, 2)) == pytest.approx([0.6, 0.72], abs=0.03)
    assert truth == pytest.approx(0.12)
    # A study of 20,000 cases estimates the chance that is taken for the truth of the preset.
    found = simulated_studies.preference_study(rng, 1, 20_000, 0.84)
    assert found.value == pytest.approx(simulated_studies._marginal_chance(0.84), abs=0.01)


def test_missing_reads_are_missing_as_their_names_say():
    rng = np.random.default_rng(0)
    assert simulated_studies.missing(rng, 5, 60, "scattered").mean() == pytest.approx(0.8, abs=0.06)
    assert simulated_studies.missing(rng, 5, 60, "drop-out")[0].sum(axis=1).tolist() == [
        *(60, 60, 60, 60, 6)
    ]
    split = simulated_studies.missing(rng, 4, 60, "split-plot")
    assert split.sum(axis=2).tolist() == [[30] * 4] * 2
