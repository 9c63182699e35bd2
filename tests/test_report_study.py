"""Results and dossier of a study: the numbers of bmcore.stats, and nothing before its end."""

import csv
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from bmcore.analysis.lesion_match import match_points
from bmcore.analysis.readings import Choice, from_study
from bmcore.analysis.results import results, running
from bmcore.analysis.tables import Column, cell_text
from bmcore.domain import InputRefused, Primary
from bmcore.inference.references import truths
from bmcore.report.build import build
from bmcore.report.dossier import DossierInputs
from bmcore.report.write import write
from bmcore.review import adjudicate, conduct, merge, plan
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.stats import agreement, binary_mrmc, paired, reader, reliance
from bmcore.stats.estimate import proportion
from bmcore.stats.reliability import gwet_ac, intra_reader, krippendorff_alpha
from tests import study_fixture as drawn

CODES = ("breast", "gi", "sclc", "melanoma", "nsclc", "rcc", "other", "cannot_tell")
ARMS = {"unaided": "Without the models", "aided": "With the models"}
NAMES = {"r01": "Ada Lund", "r02": "Bo Ek"}
AT = datetime(2026, 11, 26, 9, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'study.sqlite'}") as opened:
        yield opened


@pytest.fixture
def record(store):
    drawn.read(store, drawn.study())
    return read_record(store, "drawn")


def coded(who, arm):
    return np.array([CODES.index(drawn.said(who, c, arm)) for c in drawn.CASES])


TRUTH = np.array([CODES.index(drawn.TRUTH[c]) for c in drawn.CASES])
MODEL = np.array([CODES.index(drawn.MODEL[c]) for c in drawn.CASES])


def cells(found, section, table):
    return {x.labels: x.cells for x in found.section(section).table(table).lines}


def test_agreement_is_that_of_the_statistics_on_the_same_answers(record):
    found = results(from_study(record, drawn.facts()))
    both = np.column_stack([coded("r01", "unaided"), coded("r02", "unaided")])
    assert cells(found, "agreement", "agreement")[(ARMS["unaided"],)] == (
        agreement.percent_agreement(both),
        agreement.fleiss_kappa(both, 8),
        gwet_ac(both, 8),
        krippendorff_alpha(both, 8),
    )
    pair = cells(found, "agreement", "pairs")[ARMS["unaided"], "Ada Lund and Bo Ek"]
    assert pair[1] == agreement.cohen_kappa(both[:, 0], both[:, 1], 8)
    # drawn: both name the same on cases 6 to 11, and "other" on case 2
    assert pair[0].value == pytest.approx(7 / 12)


def test_right_answers_models_and_reliance_are_those_drawn(record):
    found = results(from_study(record, drawn.facts()))
    right = cells(found, "accuracy", "accuracy")
    assert right["Ada Lund", ARMS["unaided"]][0] == proportion(8, 12)
    assert right["Bo Ek", ARMS["aided"]][0] == proportion(9, 12)  # he always follows
    assert right["Models, fused", ""][0] == proportion(9, 12)
    score = reader.score_reader(
        coded("r02", "unaided"), TRUTH, CODES.index("melanoma"), np.full(12, 80)
    )
    assert found.category == "melanoma"
    assert right["Bo Ek", ARMS["unaided"]][1:3] == (score.sensitivity, score.specificity)
    for who, name in NAMES.items():
        expected = reliance.reliance(coded(who, "unaided"), coded(who, "aided"), MODEL, TRUTH)
        assert cells(found, "reliance", "reliance")[name, ARMS["aided"]] == (
            expected.helped,
            expected.harmed,
            expected.ignored,
            expected.over_reliance,
            expected.followed_error,
        )
    # Bo: helped on 2 and 5, harmed on 1 and 7
    bo = cells(found, "reliance", "reliance")["Bo Ek", ARMS["aided"]]
    assert [round(12 * e.value) for e in bo[:2]] == [2, 2]


def test_models_answer_for_the_case_mix_of_the_plan_beside_their_own(record):
    from bmcore.analysis.collect import for_plan
    from bmcore.models.case_mix import from_counts
    from tests import reading_fixture

    plain = drawn.facts()
    learnt = (0.1, 0.1, 0.1, 0.1, 0.5, 0.1)
    told = {c: reading_fixture.prediction(c, training_shares=learnt) for c in drawn.CASES}
    assert for_plan(plain, told, None) == plain
    assert "for the plan's case mix" not in str(results(from_study(record, plain)))
    # fused .05 .05 .10 .20 .55 .05: where melanoma is as common as NSCLC was, it is the likeliest
    mix = from_counts({"melanoma": 50, "nsclc": 10, "breast": 10, "gi": 10, "sclc": 10, "rcc": 10})
    facts = for_plan(plain, told, mix)
    right = cells(results(from_study(record, facts)), "accuracy", "accuracy")
    assert right["Models, fused, for the plan's case mix", ""][0] == proportion(6, 12)
    assert right["Models, fused", ""][0] == proportion(9, 12)


def test_the_phases_are_compared_by_mrmc_and_mcnemar(record):
    found = results(from_study(record, drawn.facts()))
    right = np.array([[coded(who, arm) == TRUTH for who in NAMES] for arm in ARMS], dtype=float)
    expected = binary_mrmc.compare_rates(right, np.ones(12, bool), "accuracy")
    table = found.section("comparison").table("comparison")
    line = next(x for x in table.lines if x.labels[1] == "Right answers")
    for cell, other in (
        (line.cells[0], expected.differences_random[0, 1].difference),
        (line.cells[2], expected.differences_fixed[0, 1].difference),
    ):  # a complete design: Obuchowski and Rockette's numbers
        assert (cell.value, cell.low, cell.high) == pytest.approx(
            (other.value, other.low, other.high), abs=1e-12
        )
        assert cell.n == other.n
    assert line.p == pytest.approx(expected.differences_random[0, 1].p, abs=1e-12)
    each = found.section("comparison").table("by_reader")
    mine = next(x for x in each.lines if x.labels[0] == "Ada Lund")
    mcnemar = paired.mcnemar(right[1, 0], right[0, 0])
    assert (mine.cells[0], mine.p) == (mcnemar.difference, mcnemar.mid_p)


def test_times_verdicts_and_confidence_are_those_drawn(record):
    found = results(from_study(record, drawn.facts()))
    assert cells(found, "time", "time")["Bo Ek", ARMS["unaided"]][0].value == 60
    accept, _, reject, _ = cells(found, "lesions", "verdicts")["Bo Ek", ARMS["aided"]]
    assert (accept.value, reject.value) == (0.5, 0.5)
    bins = cells(found, "confidence", "calibration")
    assert bins[ARMS["unaided"], "80 to 100"][1].value == 1  # 80 is said where it is right
    assert bins[ARMS["unaided"], "40 to 59"][1].value == 0


def test_a_filter_leaves_readers_cases_and_phases_out(record):
    source = from_study(record, drawn.facts())
    one = results(source, Choice(roles=("oncologist",), groups=(("sex", "female"),)))
    assert (one.readers, one.cases) == (1, 6)
    right = cells(one, "accuracy", "accuracy")["Bo Ek", ARMS["unaided"]][0]
    assert right == proportion(4, 6)  # cases 2 and 4 are missed among the even ones
    assert "needs a second reader" in one.section("agreement").sentence
    unaided = results(source, Choice(arms=("unaided",)))
    assert unaided.section("comparison").tables == ()
    assert "nothing to compare" in unaided.section("comparison").sentence


def test_hidden_repeats_give_the_agreement_of_a_reader_with_himself(store):
    drawn.read(store, drawn.study(repeats=4))
    found = results(from_study(read_record(store, "drawn"), drawn.facts()))
    same, kappa, _ = cells(found, "agreement", "repeats")[ARMS["unaided"], "Ada Lund"]
    assert same == intra_reader([0, 1, 2, 3], [0, 1, 2, 3], 8).percent
    assert kappa.method == "too few: n = 4, 10 needed"


def test_no_number_is_shown_without_an_interval_and_n(record):
    found = results(from_study(record, drawn.facts()))
    for section in found.sections:
        for table in section.tables:
            for line in table.lines:
                for column, estimate in zip(table.columns, line.cells, strict=True):
                    text = cell_text(column, estimate).replace("\u00a0", " ")
                    words = ("too few: ", "no interval, n = ", "not defined, n = ", "\u2013")
                    assert text.startswith(words) or (" to " in text and "n = " in text), text


# before the end


def files_of(record, tmp_path, name):
    source = from_study(record, drawn.facts())
    extra = DossierInputs(created_at=AT, data=source, record=record)
    known = {case: Primary(t) for case, t in drawn.TRUTH.items()}
    made = build([], {}, known, None, extra)
    return made, {p.name: p for p in write(made, tmp_path / name)}


def test_a_running_study_tells_the_width_of_the_interval_and_no_effect(store, tmp_path):
    drawn.read(store, drawn.study(), stop_after=23)  # one sheet of each reader is open
    record = read_record(store, "drawn")
    assert (record.finished, record.open_sheets) == (False, 2)
    source = from_study(record, drawn.facts())
    line = results(source).section("comparison").table("comparison").lines[0]
    effect = line.cells[0]
    seen = running(source)
    assert seen.interval_width == pytest.approx(effect.high - effect.low)
    assert seen.cases == effect.n >= 10
    made, files = files_of(record, tmp_path, "early")
    assert made.results is None
    assert made.failures == ()
    assert len(list(csv.reader(files["answers.csv"].open()))) == 1
    assert len(list(csv.reader(files["results.csv"].open()))) == 1
    told = json.loads(files["report.json"].read_text())
    assert told["results"]["interval_width"] == pytest.approx(seen.interval_width)
    assert set(told["results"]) == {"words", "interval_width", "cases"}
    assert all(set(case) == {"case_id"} for case in told["cases"])
    assert "fused_minus_clinical" not in told
    everything = files["report.html"].read_text() + files["report.json"].read_text()
    assert drawn.CANARY not in everything
    assert "2 of 48 readings are open" in everything
    assert cell_text(Column("", "points"), effect) not in everything


def test_after_the_last_sheet_everything_is_in_the_dossier(record, tmp_path):
    made, files = files_of(record, tmp_path, "done")
    expected = results(from_study(record, drawn.facts()))
    told = json.loads(files["report.json"].read_text())
    for section in expected.sections:
        for table in section.tables:
            lines = told["results"]["sections"][section.key]["tables"][table.key]["lines"]
            for line, shown in zip(table.lines, lines, strict=True):
                for column, estimate in zip(table.columns, line.cells, strict=True):
                    number = None if estimate is None else estimate.as_dict()
                    assert shown[column.name] == (number and {**number, "unit": column.unit})
    rows = list(csv.DictReader(files["results.csv"].open()))
    right = next(
        r for r in rows if r["about"] == "Ada Lund; Without the models"
        and r["measure"] == "Right answers"
    )  # fmt: skip
    assert (float(right["value"]), right["n"]) == (8 / 12, "12")
    assert len(list(csv.DictReader(files["answers.csv"].open()))) == 2 * 12 * 2 + 2 * 12 * 4
    page = files["report.html"].read_text()
    assert made.results.summary[0] in page
    assert "Versions of the plan" in page
    assert record.versions[0].digest in page


def test_corrections_skips_and_amendments_are_listed_as_deviations(store, tmp_path):
    plan_ = drawn.study()
    desk = drawn.read(store, plan_, stop_after=22)
    for who in NAMES:
        desk.skip(desk.next(who).item.place, "Motion.", f"skip {who}")
    place = desk.work("r01")[0].item.place
    desk.correct(place, "primary", {"choice": "gi", "confidence": 5}, "=Wrong line")
    plan.amend(store, plan_.model_copy(update={"title": "Renamed"}), "Ida Lund", "A better title.")
    conduct.pause(store, "drawn", "Ida Lund", "A strike.")
    conduct.resume(store, "drawn", "Ida Lund")
    store.add_reader("Cy Holm", "other")
    found = adjudicate.disagreements(store, "drawn")
    dispute = next(d for d in found if d.question == "primary" and d.arm == "unaided")
    value = {"choice": "sclc", "confidence": 77}
    adjudicate.decide(store, dispute, value, decided_by="Cy Holm", note="Biopsy.")
    record = read_record(store, "drawn")
    assert record.finished  # a skipped sheet is closed, and so is the same case's later one
    assert [s.state for s in record.sheets].count("skipped") == 4
    _, files = files_of(record, tmp_path, "deviations")
    page = files["report.html"].read_text()
    decided = ("Small cell lung (SCLC), 77 of 100", "1 x Other primary, ", "Biopsy.")
    told = ("A better title.", "Motion.", "=Wrong line", "skipped: 4", "A strike.", *decided)
    for words in told:
        assert words in page
    rows = list(csv.DictReader(files["answers.csv"].open()))
    (corrected,) = [row for row in rows if row["reason"]]
    assert corrected["reason"] == "'=Wrong line"
    assert sum(row["in_force"] == "no" for row in rows) == 1


def test_a_merged_database_holds_the_readings_of_both_sites(tmp_path):
    plan_ = drawn.study()
    urls = [f"sqlite:///{tmp_path / name}" for name in ("a.sqlite", "b.sqlite", "both.sqlite")]
    with open_store(urls[0]) as first:
        drawn.read(first, plan_)
        whole = results(from_study(read_record(first, "drawn"), drawn.facts()))
    with open_store(urls[1]) as second:
        second.add_reader("Cy Holm", "other")
    merge.merge(urls[:2], urls[2])
    with open_store(urls[2]) as both:
        plan.lock(both, plan_, "Ida Lund")
        record = read_record(both, "drawn")
        assert record.finished
        merged = results(from_study(record, drawn.facts()))
    assert merged.summary == whole.summary
    assert merged.section("accuracy") == whole.section("accuracy")


# lesions and truths


def test_a_mark_belongs_to_the_lesion_that_is_near():
    numbered = np.zeros((20, 20, 20), np.int32)
    numbered[5, 5, 5], numbered[15, 15, 15] = 1, 2
    inside, beside, far = (5.0, 5.0, 5.0), (5.0, 9.0, 5.0), (10.0, 10.0, 10.0)
    assert match_points([inside, beside], numbered, np.eye(4)) == (frozenset({1}), 0)
    assert match_points([far, (15.0, 15.0, 14.0)], numbered, np.eye(4)) == (frozenset({2}), 1)
    assert match_points([far], np.zeros_like(numbered), np.eye(4)) == (frozenset(), 1)


def test_the_primaries_come_from_a_table_in_the_home_folder(tmp_path):
    assert truths(tmp_path) == {}
    (tmp_path / "truth.csv").write_text("case_id,primary\nA,melanoma\nB,\n")
    (tmp_path / "more.csv").write_text("case_id,primary\nA,gi\nC,rcc\n")
    assert truths(tmp_path) == {"A": Primary.MELANOMA}
    assert truths(tmp_path, tmp_path / "more.csv") == {"A": Primary.GI, "C": Primary.RCC}


def test_a_study_that_is_not_locked_is_refused(store):
    with pytest.raises(InputRefused, match="is not locked"):
        read_record(store, "nobody")


def test_the_width_is_told_before_the_last_reader_has_begun(store):
    plan_ = drawn.study(
        readers=[
            *drawn.study().model_dump(mode="json")["readers"],
            {"id": "r03", "name": "Cy Holm", "role": "other", "years": 1.0},
        ]
    )
    drawn.read(store, plan_)
    source = from_study(read_record(store, "drawn"), drawn.facts())
    seen = running(source)
    alone = results(source).section("comparison").table("comparison").lines[0].cells[0]
    assert seen.interval_width == pytest.approx(alone.high - alone.low)
    assert "read in both phases by 2 readers" in seen.words[0]
