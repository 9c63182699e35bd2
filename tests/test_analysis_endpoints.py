"""The plan's endpoint is what headline, progress and report tell, whatever was read or skipped."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bmcore.analysis import endpoint_words, endpoints
from bmcore.analysis.readings import CaseFacts, LesionMarks, Person, Reading, StudyData
from bmcore.analysis.results import results, running
from bmcore.domain import PRIMARIES, InputRefused
from bmcore.report.figures.results import figures_of
from bmcore.review.study import parse_study
from bmcore.stats.endpoint import compute
from bmcore.stats.endpoint_choice import Endpoint
from pages.parts.agreement import charts
from tests import study_fixture as drawn

ARMS = ("unaided", "aided")
PRIMARY = {"measure": "accuracy", "compare": list(ARMS)}


def plan(n_readers: int = 4, n_cases: int = 60, **endpoint: object):
    """A study of some readers and cases with one endpoint."""
    return parse_study(
        {
            **drawn.study().model_dump(mode="json"),
            "readers": [
                {"id": f"r{n}", "name": f"R{n}", "role": "radiologist", "years": 5.0}
                for n in range(n_readers)
            ],
            "cases": [f"C{n:02d}" for n in range(n_cases)],
            "primary_endpoint": {**PRIMARY, **endpoint},
        },
        "here",
    )


def data(study, seed: int = 0, gain: float = 0.25, **changes: object) -> StudyData:
    """Simulated readings: right with .5 unaided and ``gain`` more aided; three classes."""
    rng = np.random.default_rng(seed)
    truths = [("breast", "melanoma", "nsclc")[n % 3] for n in range(len(study.cases))]
    readings = []
    for r in study.readers:
        for n, case in enumerate(study.cases):
            luck = rng.random()
            for arm in ARMS:
                right = luck < 0.5 + gain * (arm == "aided") + rng.normal(0, 0.03)
                wrong = ("breast", "melanoma", "nsclc")[(n + 1) % 3]
                readings.append(
                    Reading(
                        reader=r.name,
                        case_id=case,
                        arm=arm,
                        occasion=0,
                        primary=truths[n] if right else wrong,
                        confidence=int(rng.integers(20, 100)),
                        order=n + 1,
                        active_s=float(rng.uniform(30, 60) * (0.7 if arm == "aided" else 1)),
                    )
                )
    people = tuple(Person(r.name, r.role, r.years) for r in study.readers)
    facts = {c: CaseFacts(c, truth=t) for c, t in zip(study.cases, truths, strict=True)}
    return replace(StudyData(study.title, ARMS, people, facts, tuple(readings), study), **changes)


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        (
            {"measure": "AUC for melanoma"},
            "'AUC for melanoma' is not computed; use one of accuracy",
        ),
        ({"measure": "Non-inferiority of accuracy, margin 5 points"}, "is not computed"),
        ({"measure": "AUC"}, "AUC must name the primary it is for, under primary"),
        ({"measure": "AUC", "primary": "liver"}, "primary: 'liver' is none of breast"),
        ({"aim": "non-inferiority"}, "needs a margin above 0"),
        ({"aim": "non-inferiority", "margin": 5.0}, r"below 1 \(5 points are 0.05\)"),
        ({"margin": 0.05}, "superiority has no margin"),
        ({"measure": "AUC of 5 points"}, "primary, aim and margin .* keys of their own"),
        (
            {"measure": "decision time", "aim": "non-inferiority", "margin": 5.0},
            r"below 1 \(5 per cent are 0.05\)",
        ),
        ({"lesions_mm": [10, 5]}, "lesions_mm must run from a smaller"),
        ({"measure": "wAFROC"}, "wAFROC needs a rating of each mark"),
        ({"measure": "lesion sensitivity"}, "needs lesion marks"),
        ({"measure": "agreement"}, "choose fixed"),
        ({"readers": "some"}, "readers"),
        ({"alpha": 0.5}, "alpha must lie"),
        ({"primary": "breast"}, "accuracy is not for one primary"),
        ({"compare": ["unaided", "aided_explained"]}, "which the study does not have"),
    ],
)
def test_what_cannot_be_computed_is_refused_when_the_plan_is_read(endpoint, sentence):
    with pytest.raises(InputRefused, match=sentence):
        plan(**endpoint)


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ({"lesions_mm": [5, 10]}, "Right answers"),
        ({"cannot_tell": "left_out"}, "Right answers"),
        ({"false_marks": "normal"}, "Right answers"),
        ({"measure": "wAFROC", "lesions_mm": [10, None]}, "WAFROC"),
        ({"measure": "false lesions", "lesions_mm": [5, 10]}, "False lesions per case"),
        ({"measure": "decision time", "lesions_mm": [None, 10]}, "Decision time"),
    ],
)
def test_a_key_that_the_measure_does_not_read_is_refused_and_names_nothing_in_an_old_plan(
    endpoint, name
):
    asked = [
        *drawn.study().model_dump(mode="json")["questions"],
        {"id": "m", "kind": "marks", "text": "Mark each lesion", "rated": True},
    ]
    asked = [q for q in asked if q["kind"] != "lesions"]
    whole = {**plan().model_dump(mode="json"), "questions": asked}
    whole["primary_endpoint"] = {**PRIMARY, **endpoint}
    (key,) = endpoint.keys() - {"measure"}
    with pytest.raises(InputRefused, match=rf"{key}.*leave it out|read {key}, so it must be left"):
        parse_study(whole, "here")
    old = parse_study(whole, "locked", locked=True)
    choice = old.primary_endpoint.choice
    assert choice == Endpoint(choice.measure, ARMS)
    assert endpoint_words.title(choice) == name
    plain = {k: v for k, v in whole["primary_endpoint"].items() if k != key}
    assert parse_study({**whole, "primary_endpoint": plain}, "here").digest != old.digest


def test_readers_like_these_need_two_readers_in_the_plan():
    with pytest.raises(InputRefused, match="random readers need two"):
        plan(n_readers=1)
    alone = parse_study(
        {
            **plan(n_readers=2).model_dump(mode="json"),
            "readers": [{"id": "r0", "name": "R0", "role": "radiologist", "years": 5.0}],
            "primary_endpoint": {**PRIMARY, "readers": "fixed"},
        },
        "here",
    )
    assert alone.primary_endpoint.choice == Endpoint("accuracy", ARMS, readers="fixed")


def test_a_study_that_asks_for_marks_in_both_arms_may_have_an_endpoint_on_lesions():
    asked = [*drawn.study().model_dump(mode="json")["questions"]]
    asked.append({"id": "m", "kind": "marks", "text": "Mark each lesion"})
    study = drawn.study(
        questions=asked, primary_endpoint={"measure": "lesion sensitivity", "compare": list(ARMS)}
    )
    assert study.primary_endpoint.choice == Endpoint("lesion sensitivity", ARMS)


def test_the_hash_of_a_plan_from_before_stays_what_it_was():
    old = {
        **drawn.study().model_dump(mode="json", exclude={"secondary_endpoints", "multiplicity"}),
        "primary_endpoint": {"measure": "Accuracy", "compare": list(ARMS)},
    }
    known = "7a5af063e80e26762e0685ab7d3c12998f33f5dc2ba4d2ab9aea6f1150711748"
    assert parse_study(old, "locked", locked=True).digest == known
    with pytest.raises(InputRefused, match="'Accuracy' is not computed"):
        parse_study(old, "new")


def old_plan(words: str):
    whole = plan().model_dump(mode="json", exclude={"secondary_endpoints", "multiplicity"})
    whole["primary_endpoint"] = {"measure": words, "compare": list(ARMS)}
    return parse_study(whole, "locked", locked=True)


def test_an_old_plan_in_words_is_computed_only_where_the_words_have_one_meaning():
    said = data(old_plan("Accuracy of the most likely primary"))
    assert endpoints.primary(said).choice == Endpoint("accuracy", ARMS)
    for words in ("AUC for melanoma", "Balanced accuracy", "Non-inferiority of accuracy"):
        found = results(data(old_plan(words)))
        assert found.summary[0].startswith("Whether the models help cannot be said: the plan names")
        assert words in found.summary[0] and "amend" in found.summary[0]
        assert "cannot be given yet" in running(data(old_plan(words))).words[0]


def test_the_headline_is_the_endpoint_of_the_plan_and_no_other():
    said = data(plan(measure="AUC", primary="melanoma"))
    answer = endpoints.primary(said)
    rows = endpoints.as_readings(said)
    expected = compute(Endpoint("AUC", ARMS, "melanoma"), rows)
    assert answer.finding is not None and answer.finding.difference == expected.difference
    # The commonest primary of the cases is another one: the headline must not be about it.
    assert said.category == "breast"
    assert "AUC for Melanoma" in results(said).summary[0]
    balanced = data(plan(measure="balanced accuracy"))
    assert "balanced accuracy" in results(balanced).summary[0]


@pytest.mark.parametrize(
    ("endpoint", "gain", "words"),
    [
        ({"aim": "superiority"}, 0.25, "More right answers with the models than without"),
        ({"aim": "superiority"}, -0.3, "Fewer right answers with the models than without"),
        ({"aim": "superiority"}, 0.0, "No difference in right answers"),
        (
            {"aim": "non-inferiority", "margin": 0.1},
            0.02,
            "Right answers with the models are not inferior to without the models "
            "(margin 10 points)",
        ),
        (
            {"aim": "non-inferiority", "margin": 0.02},
            -0.2,
            "That right answers with the models are not inferior to without the models is not "
            "shown (margin 2 points)",
        ),
        ({"aim": "equivalence", "margin": 0.1}, 0.0, "are equivalent to without the models"),
        ({"measure": "decision time"}, 0.0, "Shorter decision time with the models"),
    ],
)
def test_the_sentence_says_the_aim_the_verdict_and_the_margin(endpoint, gain, words):
    assert words in endpoints.primary(data(plan(**endpoint), gain=gain)).sentence


def test_a_reader_who_stops_after_three_cases_does_not_take_the_result_away():
    study = plan(n_readers=5)
    whole = data(study)
    first = {f"C{n:02d}" for n in range(3)}
    kept = tuple(r for r in whole.readings if r.reader != "R4" or r.case_id in first)
    full = endpoints.primary(whole).finding
    part = endpoints.primary(replace(whole, readings=kept)).finding
    assert full is not None and part is not None
    assert part.difference.has_interval and part.difference.n == 60
    assert part.difference.value == pytest.approx(full.difference.value, abs=0.05)
    assert part.width < 1.6 * full.width
    section = results(replace(whole, readings=kept)).section("endpoint")
    read = {x.labels[:2]: x.labels[2:] for x in section.table("read").lines}
    assert read["R4", "With the models"] == ("3 of 60", "57")
    names = [x.labels[0] for x in section.table("endpoint_difference").lines]
    assert names[0] == "As planned"
    assert any("80 %" in n for n in names) and any("every reader" in n for n in names)


def test_cannot_tell_ranks_the_same_whatever_confidence_stands_beside_it():
    study = plan(measure="AUC", primary="melanoma")
    said = data(study)
    found = []
    for sure in (0, 60, 90):
        readings = tuple(
            replace(r, primary="cannot_tell", confidence=sure)
            if r.case_id in ("C01", "C04", "C07", "C10")
            else r
            for r in said.readings
        )
        other = replace(said, readings=readings)
        table = results(other).section("accuracy").table("accuracy")
        area = [x.cells[3].value for x in table.lines if x.labels[0] == "R0"]
        found.append((endpoints.primary(other).finding.difference.value, *area))
    assert found[0] == found[1] == found[2]
    names = [
        x.labels[0] for x in results(said).section("endpoint").table("endpoint_difference").lines
    ]
    assert "Cannot tell in the middle" in names and "Cannot tell left out" in names


@pytest.mark.parametrize(
    "endpoint",
    [
        {},
        {"measure": "balanced accuracy"},
        {"measure": "macro AUC"},
        {"measure": "sensitivity", "primary": "melanoma", "readers": "fixed"},
        {"measure": "decision time", "alpha": 0.1},
        {"measure": "accuracy", "aim": "equivalence", "margin": 0.2},
        {"measure": "agreement", "readers": "fixed"},
    ],
)
def test_the_width_while_running_is_that_of_the_final_method(endpoint):
    said = data(plan(**endpoint))
    final = endpoints.primary(said).finding
    seen = running(said)
    assert seen.interval_width == final.width > 0
    words = " ".join(seen.words)
    assert f"{final.endpoint.level:.0%}" in words
    assert f"{100 * abs(final.difference.value):.0f} points" not in words


def test_secondary_endpoints_are_claimed_in_the_plans_order_or_by_holm():
    others = [
        {"measure": "decision time", "compare": list(ARMS)},
        {"measure": "agreement", "compare": list(ARMS), "readers": "fixed"},
        {"measure": "sensitivity", "primary": "breast", "compare": list(ARMS)},
    ]

    def claimed(rule: str, gain: float) -> list[str]:
        whole = {**plan().model_dump(mode="json"), "secondary_endpoints": others}
        study = parse_study({**whole, "multiplicity": rule}, "here")
        table = results(data(study, gain=gain)).section("endpoint").table("secondary")
        assert table.lines[0].labels[0] == "Decision time"
        return [x.labels[2] for x in table.lines]

    shown = claimed("fixed sequence", 0.25)
    assert shown[0] == "superiority shown"
    if shown[1] == "superiority not shown":
        assert shown[2] in ("exploratory: an endpoint before it was not shown", shown[1])
    assert claimed("holm", 0.25)[0] == "superiority shown"
    assert claimed("holm", 0.0)[0] == "exploratory: the primary endpoint was not shown"
    with pytest.raises(InputRefused, match="named twice"):
        whole = plan().model_dump(mode="json")
        parse_study({**whole, "secondary_endpoints": [others[0], others[0]]}, "here")


def always(study, unaided: bool, aided: bool) -> StudyData:
    """Every reading of a phase right, or every one wrong."""
    drawn_ = data(study)
    truths = {c: str(facts.truth) for c, facts in drawn_.cases.items()}
    right = {"unaided": unaided, "aided": aided}
    readings = tuple(
        replace(r, primary=truths[r.case_id] if right[r.arm] else "rcc") for r in drawn_.readings
    )
    return replace(drawn_, readings=readings)


def test_a_change_of_every_reading_is_a_result():
    found = results(always(plan(), False, True))
    assert found.summary[0].startswith("More right answers with the models")
    assert "+100 points (+88 to +100), n = 60" in found.summary[0].replace("\xa0", " ")
    assert running(always(plan(), False, True)).interval_width == pytest.approx(0.12, abs=0.01)


def test_what_was_shown_without_any_change_is_claimed():
    same = {"compare": list(ARMS), "aim": "non-inferiority", "margin": 0.3}
    others = [
        {"measure": "specificity", "primary": "breast", **same},
        {"measure": "sensitivity", "primary": "breast", **same},
    ]
    whole = plan(aim="non-inferiority", margin=0.3).model_dump(mode="json")
    for rule in ("fixed sequence", "holm"):
        study = parse_study({**whole, "secondary_endpoints": others, "multiplicity": rule}, "here")
        table = results(always(study, True, True)).section("endpoint").table("secondary")
        assert [x.labels[2] for x in table.lines] == ["non-inferiority shown"] * 2


def test_the_level_of_a_small_alpha_is_not_rounded_up_to_100_per_cent():
    assert "99.99% interval" in running(data(plan(alpha=0.0001))).words[0]


def test_equal_results_without_an_interval_are_told_in_words():
    study = plan(measure="AUC", primary="breast")
    sure = replace(always(study, True, True))
    sure = replace(sure, readings=tuple(replace(r, confidence=100) for r in sure.readings))
    assert "no result differs between the phases" in results(sure).summary[0]
    assert "the results do not vary so far" in running(sure).words[0]


def test_a_case_without_a_mark_counts_as_all_missed():
    cases = [f"C{n:02d}" for n in range(12)]
    asked = [*drawn.study().model_dump(mode="json")["questions"]]
    asked.append({"id": "m", "kind": "marks", "text": "Mark each lesion"})
    study = parse_study(
        {
            **plan(2, 12).model_dump(mode="json"),
            "questions": asked,
            "primary_endpoint": {
                "measure": "lesion sensitivity", "compare": list(ARMS), "readers": "fixed",
                "lesions_mm": [0, 10],
            },
        },
        "here",
    )  # fmt: skip
    hits = {}
    for n, case in enumerate(cases):
        for reader in ("R0", "R1"):
            hits["unaided", reader, case] = (frozenset({2}) if n % 2 else frozenset(), 0)
            hits["aided", reader, case] = (frozenset({1, 2}), 1)
    marks = LesionMarks(hits, dict.fromkeys(cases, (20.0, 6.0)))
    finding = endpoints.primary(data(study), marks).finding
    assert finding is not None
    unaided, aided = finding.arms
    assert (unaided.value, aided.value) == (0.5, 1.0)  # of the lesions under 10 mm alone
    rows = endpoints.as_readings(data(study), marks)
    none = next(r for r in rows if (r.arm, r.case) == ("unaided", "C00"))
    assert none.marks == (-math.inf, -math.inf)


def test_an_endpoint_that_needs_every_class_says_which_is_missing():
    said = data(plan(measure="balanced accuracy"))
    cases = {c: replace(f, truth="rcc") if c == "C00" else f for c, f in said.cases.items()}
    sentence = endpoints.primary(replace(said, cases=cases)).sentence
    assert "1 case of Renal cell read in both phases" in sentence


def test_too_few_cases_are_told_as_such():
    said = data(plan(n_cases=6, measure="accuracy"))
    answer = endpoints.primary(said)
    assert answer.sentence == (
        "Whether the models help cannot be said yet: 6 cases read in both phases, 10 needed."
    )
    known = {c: replace(f, truth=f.truth if c < "C02" else None) for c, f in said.cases.items()}
    assert (
        "2 cases with a known primary read in both phases, 10 needed (6 read in all)"
        in endpoints.primary(replace(said, cases=known)).sentence
    )
    melanoma = data(plan(n_cases=12, measure="sensitivity", primary="melanoma"))
    assert (
        "4 cases of the kind read in both phases, 5 needed" in endpoints.primary(melanoma).sentence
    )


def test_mixed_models_are_in_the_report_where_they_are_asked_for():
    said = data(plan(2, 12, readers="fixed"))
    assert "effects" not in {s.key for s in results(said).sections}
    section = results(said, mixed_models=True).section("effects")
    assert "exploratory" in section.title
    learning = section.table("learning_aided")
    assert [x.labels[0] for x in learning.lines] == [
        "Earlier phase", "Later phase", "Later minus earlier",
    ]  # fmt: skip
    assert learning.lines[0].cells[0].has_interval
    few = data(plan(2, 6, readers="fixed"))
    assert "Needs two readers" in results(few, mixed_models=True).section("effects").sentence


def test_confidences_are_held_against_right_answers_and_cannot_tell_counts_for_nothing():
    said = data(plan())
    table = results(said).section("confidence").table("calibration_readers")
    all_of = table.lines[0]
    assert all_of.labels == ("All readers", "Without the models")
    right = [r for r in said.readings if r.arm == "unaided"]
    share = np.mean([r.primary == said.cases[r.case_id].truth for r in right])
    mean = np.mean([r.confidence for r in right]) / 100
    assert all_of.cells[2].value == pytest.approx(mean - share)
    unsure = tuple(replace(r, primary="cannot_tell", confidence=100) for r in said.readings[:8])
    other = replace(said, readings=(*unsure, *said.readings[8:]))
    again = results(other).section("confidence").table("calibration_readers").lines[0].cells[2]
    kept = [r for r in other.readings if r.arm == "unaided" and r.primary != "cannot_tell"]
    share = np.mean([r.primary == said.cases[r.case_id].truth for r in kept])
    assert again.value == pytest.approx(np.mean([r.confidence for r in kept]) / 100 - share)


# --- against the models alone ---------------------------------------------------------------------


def with_models(study, right: float, **changes: object) -> StudyData:
    """``data`` with the models' answers: right in that share of the cases, beginning with C00."""
    plain = data(study, **changes)
    facts = {}
    for n, (case, one) in enumerate(plain.cases.items()):
        named = one.truth if n < right * len(plain.cases) else "rcc"
        share = {named: 0.7}
        given = tuple(share.get(str(p), 0.06) for p in PRIMARIES)
        facts[case] = replace(one, answers={"fused": given})
    return replace(plain, cases=facts)


def test_a_plan_may_compare_readers_with_the_models_alone():
    study = plan(compare=["models", "unaided"])
    told = results(with_models(study, 0.9))
    first = told.section("endpoint")
    assert first.sentence.startswith("Fewer right answers without the models than by the models")
    assert told.summary[0] == first.sentence
    arms = {line.labels[0]: line.cells[0].value for line in first.tables[0].lines}
    assert arms["By the models alone"] == pytest.approx(0.9)
    analyses = next(t for t in first.tables if t.key == "endpoint_difference")
    assert len(analyses.lines) == 4
    width = running(with_models(study, 0.9))
    assert width.finding.width == pytest.approx(
        first.tables[1].lines[0].cells[0].high - first.tables[1].lines[0].cells[0].low
    )
    assert "60 cases answered by the models and by 4 readers" in width.words[0]


def test_auc_and_lesions_are_compared_with_the_models_too():
    auc = with_models(plan(measure="AUC", primary="melanoma", compare=["unaided", "models"]), 1.0)
    section = endpoints.endpoint_section(auc)
    assert section.tables[0].lines[1].cells[0].value == 1.0
    asked = [*drawn.study().model_dump(mode="json")["questions"]]
    asked.append({"id": "m", "kind": "marks", "text": "Mark each lesion", "arms": ["unaided"]})
    study = drawn.study(
        questions=asked,
        primary_endpoint={"measure": "lesion sensitivity", "compare": ["models", "unaided"]},
    )
    choice = study.primary_endpoint.choice
    marks = LesionMarks({("models", "models", "A"): (frozenset({1}), 2)}, {"A": (5.0, 9.0)})
    rows = endpoints.of_models(replace(auc, cases={"A": CaseFacts("A"), "B": CaseFacts("B")}),
                               marks, choice)  # fmt: skip
    assert [(r.case, r.marks, r.false_marks) for r in rows] == [("A", (1.0, -math.inf), (1.0, 1.0))]


def test_without_the_models_answers_it_says_so():
    told = endpoints.endpoint_section(data(plan(compare=["models", "unaided"])))
    assert told.sentence == (
        "How readers do against the models alone cannot be said: the models' answers on these "
        "cases are not here."
    )
    few = with_models(plan(n_cases=6, compare=["models", "unaided"]), 0.5)
    assert (
        "6 cases answered by the models and by readers, 10 needed"
        in endpoints.primary(few).sentence
    )


def test_what_only_readers_do_is_refused_against_the_models_when_the_plan_is_read():
    with pytest.raises(InputRefused, match="decision time is of readers only"):
        plan(measure="decision time", compare=["models", "unaided"])


# --- ROC curves -----------------------------------------------------------------------------------


def test_the_average_roc_curves_stand_with_their_bands_in_results_page_and_report():
    study = plan(n_readers=3, n_cases=30)
    shown = with_models(study, 0.8)
    table = results(shown).section("accuracy").table("roc")
    assert [c.arm for c in table.curves] == [*ARMS, "models"]
    category = shown.category
    for line, curve in zip(table.lines, table.curves, strict=True):
        assert all(a <= b <= c for a, b, c in zip(curve.low, curve.y, curve.high, strict=True))
        assert line.cells[1].value == pytest.approx(np.interp(0.1, curve.x, curve.y))
        # Complete design: the mean AUC is the area under the mean curve, up to the grid.
        assert line.cells[0].value == pytest.approx(np.trapezoid(curve.y, curve.x), abs=0.02)
    direct = compute(Endpoint("AUC", ARMS, category), endpoints.as_readings(shown))
    assert table.lines[0].cells[0].value == pytest.approx(direct.arms[0].value)
    drawn_there = figures_of(table, table.drawings[0])
    lines = [x for x in drawn_there[0][1].axes[0].get_lines() if len(x.get_xdata()) > 2]
    assert [tuple(x.get_ydata()) for x in lines] == [c.y for c in table.curves]
    on_page = charts.roc(table)
    assert [tuple(t.y) for t in on_page.data if t.name] == [c.y for c in table.curves]
    few = results(with_models(plan(n_readers=3, n_cases=12), 0.8)).section("accuracy")
    assert "roc" not in {t.key for t in few.tables}  # four cases of the rarer kind
