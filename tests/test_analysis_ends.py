"""Results at the ends: few cases, readers who dropped out, readers who never err or never agree."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bmcore.analysis import preferences
from bmcore.analysis.comparison import comparison_section
from bmcore.analysis.readings import CaseFacts, Person, Reading, StudyData, reading_arrays
from bmcore.analysis.results import results
from bmcore.analysis.tables import Column, Line, cell_text
from bmcore.report.chapters.results import fused_in_words
from bmcore.review.study import parse_study
from bmcore.stats import delong
from bmcore.stats.calibration import calibration
from bmcore.stats.estimate import Estimate, decimals, per_cent
from tests import study_fixture as drawn

TRUTHS = ("breast", "melanoma", "nsclc")


def study(n_readers, n_cases, answer, arms=("unaided", "aided")) -> StudyData:
    """answer(reader, case, arm): changes to a right reading of confidence 50, None for no reading;
    readers and cases by their numbers. A crossover."""
    plan = parse_study(
        {
            **drawn.study().model_dump(mode="json"),
            "readers": [
                {"id": f"r{n}", "name": f"R{n}", "role": "radiologist", "years": 5.0}
                for n in range(n_readers)
            ],
            "cases": [f"C{n:02d}" for n in range(n_cases)],
            "design": {"kind": "crossover", "arms": list(arms), "washout_days": 1},
            "primary_endpoint": {"measure": "accuracy", "compare": list(arms[:2])},
        },
        "here",
    )
    readings = []
    for r in range(n_readers):
        for n, case in enumerate(plan.cases):
            for arm in arms:
                changes = answer(r, n, arm)
                if changes is None:
                    continue
                said = {"primary": TRUTHS[n % 3], "confidence": 50, "order": n + 1, **changes}
                readings.append(Reading(reader=f"R{r}", case_id=case, arm=arm, occasion=0, **said))
    people = tuple(Person(r.name, r.role, r.years) for r in plan.readers)
    facts = {c: CaseFacts(c, truth=TRUTHS[n % 3]) for n, c in enumerate(plan.cases)}
    return StudyData(plan.title, arms, people, facts, tuple(readings), plan)


def table(made, section, key):
    return made.section(section).table(key)


def test_readers_who_swap_two_confidences_do_not_break_the_results():
    made = results(study(2, 10, lambda r, n, arm: {"confidence": 100 * ((r + n) % 2)}))
    found = table(made, "confidence", "confidence_icc")
    assert found.texts()[0][1] == "not defined, n = 10"
    assert found.reasons() == ("the cases do not differ beyond the readers' disagreement",)


def test_readers_who_never_agree_get_no_interval_and_the_reason():
    made = results(study(2, 12, lambda r, n, arm: {"primary": TRUTHS[r]}))
    found = table(made, "agreement", "agreement")
    assert found.texts()[0][2:] == ("no interval, n = 12",) * 3
    assert found.reasons() == ("every case shows the same pattern of agreement",)


def dropped(r, n, arm):
    """The last of five readers stopped after three cases."""
    drawn_ = np.random.default_rng([r, n, len(arm)])
    if r == 4 and n >= 3:
        return None
    return {
        "confidence": int(drawn_.integers(0, 100)),
        "quality": int(drawn_.integers(1, 6)),
        "active_s": float(drawn_.uniform(20, 60)),
    }


@pytest.mark.parametrize(
    ("section", "key", "line", "column"),
    [
        ("agreement", "quality", 0, 3),
        ("confidence", "confidence_icc", 0, 0),
        ("time", "time_ratio", 0, 0),
    ],
)
def test_a_drop_out_who_stands_in_the_way_of_a_number_is_named(section, key, line, column):
    found = table(results(study(5, 30, dropped)), section, key)
    cell = found.lines[line].cells[column]
    assert (cell.defined, cell.n) == (False, 3)
    words = "only 3 of 30 cases have every reader, 10 needed: R4 has 3"
    assert words in cell.method and words in found.reasons()
    four = table(results(study(4, 30, dropped)), section, key).lines[line].cells[column]
    assert four.has_interval and four.n == 30


def test_readers_of_different_cases_are_told_as_such():
    halves = study(2, 30, lambda r, n, arm: {} if (n < 18) == (r == 0) or n < 5 else None)
    found = table(results(halves), "confidence", "confidence_icc")
    assert found.reasons() == (
        "only 5 of 30 cases have every reader, 10 needed: the readers have different cases",
    )
    few = table(results(study(2, 3, lambda r, n, arm: {})), "confidence", "confidence_icc")
    assert few.texts()[0][1] == "too few: n = 3, 10 needed"


def test_the_effect_of_reasons_names_who_stands_in_the_way():
    arms = ("unaided", "aided", "aided_explained")
    given = study(3, 12, lambda r, n, arm: {} if r < 2 or n < 2 else None, arms)
    found = table(results(given), "reliance", "explanation")
    for cell in found.lines[0].cells:
        assert cell.method.endswith("only 2 of 12 cases have every reader, 5 needed: R2 has 2")
    assert math.isnan(found.lines[0].p)


def test_no_p_stands_beside_too_few():
    seconds = (30.0, 45.0, 38.0)
    made = results(study(2, 3, lambda r, n, arm: {"active_s": seconds[n] + r + len(arm) * n}))
    for key in ("trend", "time_ratio"):
        for line in table(made, "time", key).texts():
            assert line[-2:] == ("too few: n = 3, 10 needed", "\u2013")


def test_three_wild_times_do_not_break_the_results():
    made = results(study(2, 3, lambda r, n, arm: {"active_s": (0.1, 3600.0, 0.1)[n]}))
    assert table(made, "time", "trend").texts()[0][2].startswith("too few")


def test_why_confidence_and_time_have_no_sentence_is_said_truly():
    def fits(r, n, arm):
        right = (n + r) % 2 == 0
        return {"confidence": 100 * right, "active_s": 60.0} | ({} if right else {"primary": "gi"})

    made = results(study(2, 40, fits))
    assert made.section("confidence").sentence == (
        "All readers, without the models: stated confidence minus right answers is the same in "
        "every case, so it has no interval."
    )
    assert "it has no interval" in made.section("time").sentence
    few = results(study(2, 6, fits))
    assert few.section("confidence").sentence == (
        "Whether sure readers are right can be said once 10 cases with a known primary are read; "
        "there are 6."
    )
    assert few.section("time").sentence == "Times are shown once there are 10 cases."
    cell = table(made, "confidence", "calibration_readers").lines[0].cells[1]
    assert "the probabilities separate the outcomes" in cell.method


def test_an_alpha_that_cannot_be_told_from_0_is_refused_and_no_level_is_100_per_cent():
    given = study(2, 12, lambda r, n, arm: {})
    with pytest.raises(ValueError, match="cannot be told from 0"):
        comparison_section(given, reading_arrays(given), "breast", 1.0)
    note = comparison_section(given, reading_arrays(given), "breast", 0.9999).tables[0].note
    assert "The intervals here are 99.99% intervals." in note


ALL_ARMS = ("unaided", "aided", "aided_explained")


def test_readers_who_are_always_right_have_the_one_interval_of_the_ends_on_every_tab():
    made = results(study(2, 12, lambda r, n, arm: {}, ALL_ARMS))
    told = "+0\u00a0points (-24 to +24), n\u00a0=\u00a012"
    (planned,) = (r for r in table(made, "endpoint", "endpoint_difference").texts()[:1])
    assert planned[1] == told
    assert table(made, "comparison", "comparison").texts()[0][2:5] == (told,) * 3
    assert table(made, "reliance", "explanation").texts()[0][1:3] == (told,) * 2


def test_a_change_of_everything_has_the_interval_and_the_p_of_the_ends_too():
    def turned(r, n, arm):
        return {} if arm == "aided_explained" else {"primary": "gi"}

    made = results(study(2, 12, turned, ALL_ARMS))
    (effect,) = table(made, "reliance", "explanation").lines[:1]
    compared = table(made, "comparison", "comparison").lines[4]
    for cell in (*effect.cells, *compared.cells):
        assert (cell.value, cell.high) == (1.0, 1.0) and 0.4 < cell.low < 0.6
    assert effect.p == pytest.approx(compared.p) and effect.p < 0.001


def test_nothing_missing_is_none_and_not_all():
    made = results(study(2, 12, lambda r, n, arm: {} if r or n else None))
    told = table(made, "endpoint", "read").texts()
    assert [row[2:] for row in told if row[0] == "R1"] == [("12 of 12", "none")] * 2
    assert [row[2:] for row in told if row[0] == "R0"] == [("11 of 12", "1")] * 2


def test_for_whom_an_interval_holds_stands_beside_it():
    made = results(study(2, 12, lambda r, n, arm: {} if n else {"primary": "gi"}))
    for key in ("endpoint_arms", "endpoint_difference"):
        (column,) = table(made, "endpoint", key).columns
        assert column.name.endswith(", readers like these")
    for section, key in (("accuracy", "accuracy"), ("confidence", "calibration")):
        assert "these very readers" in table(made, section, key).note


def test_a_fit_is_not_claimed_from_an_interval_that_holds_no_difference():
    made = results(study(2, 12, lambda r, n, arm: {} if n % 2 else {"primary": "gi"}))
    assert made.section("confidence").sentence.startswith(
        "No difference between stated confidence and the share of right answers is shown, "
    )


def test_a_preference_is_not_claimed_from_an_interval_that_holds_a_half():
    def line(value, low, high, p):
        cell = Estimate(value, low, high, 20, "made up")
        return [Line(("the models rather than the reference",), (cell,), p)]

    def said(*numbers):
        return preferences._sentence(line(*numbers), (), True)

    assert said(0.6, 0.4, 0.8, 0.3).startswith(
        "No preference for the models rather than the reference is shown: 60"
    )
    assert said(0.8, 0.6, 0.9, 0.01).startswith("Readers prefer the models rather than the refer")
    assert said(0.2, 0.1, 0.4, 0.01).startswith(
        "Readers prefer the reference rather than the models: they chose the latter in 20"
    )


def test_what_calibration_lacks_is_told_in_answers_and_in_cases():
    made = results(study(2, 12, lambda r, n, arm: {} if n % 3 else {"primary": "gi"}))
    found = table(made, "confidence", "calibration_readers")
    assert "16 right and 8 wrong answers, but 10 of each are needed" in found.reasons()
    assert "n counts cases" in found.note
    said = calibration(np.full(12, 0.2), np.arange(12) < 6, kinds=("with it", "without"))
    assert said.slope.method.endswith("6 with it and 6 without, but 10 of each are needed")


def test_an_area_of_a_half_without_spread_does_not_speak_of_the_ends():
    found = delong.auc(np.ones(12), np.arange(12) < 6)
    assert (found.value, found.has_interval) == (0.5, False)
    assert found.method.endswith("no interval: no spread was seen by which chance could be judged")


def test_an_area_of_one_has_its_interval_beside_the_roc_curve_too():
    def sure(r, n, arm):
        return {"confidence": 100, "primary": TRUTHS[n % 3]}

    line = table(results(study(2, 30, sure)), "accuracy", "roc").lines[0]
    assert line.cells[0].value == 1.0 and 0.7 < line.cells[0].low < 1


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (Estimate(0.1, math.nan, math.nan, 12, "x; no interval: nothing varied"),
         "cannot be said: on 12 cases nothing varied."),
        (Estimate(0.1, 0.0, 0.2, 9, "x"),
         "can be said once 10 cases have a known primary; there are 9."),
    ],
)  # fmt: skip
def test_why_nothing_is_said_of_the_images_is_the_true_reason(difference, words):
    assert fused_in_words(difference) == f"Whether the images add to the clinical data {words}"


def test_one_number_is_rounded_in_one_way_everywhere():
    share = Column("", "share")
    for seven_eighths in (0.875, 0.875 - 1e-15, 0.875 + 1e-15):
        assert per_cent(seven_eighths) == "88"
        assert cell_text(share, Estimate(seven_eighths, 0.625, 0.995, 24, "x")) == (
            "88\u00a0% (63 to 99.5), n\u00a0=\u00a024"
        )
    assert [per_cent(x) for x in (0.0, 0.0004, 0.004, 0.5, 0.9997, 1.0)] == [
        "0", "0.04", "0.4", "50", "99.97", "100",
    ]  # fmt: skip
    assert [decimals(x, sign="+") for x in (-12.5, -1e-12, 12.5)] == ["-13", "+0", "+13"]
