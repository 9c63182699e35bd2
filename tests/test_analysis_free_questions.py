"""Results on free questions are those of the statistics on the same answers, case by case."""

from __future__ import annotations

import csv
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from bmcore.analysis.readings import from_study
from bmcore.analysis.results import results
from bmcore.domain import Primary
from bmcore.report.build import build
from bmcore.report.dossier import DossierInputs
from bmcore.report.write import write
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.stats import agreement, bootstrap, clustered, continuous
from tests import free_fixture as free
from tests import study_fixture as drawn

UNAIDED, AIDED = "Without the models", "With the models"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    where = tmp_path_factory.mktemp("free") / "study.sqlite"
    with open_store(f"sqlite:///{where}") as store:
        drawn.read(store, free.study(), more=free.said)
        yield read_record(store, "drawn")


@pytest.fixture(scope="module")
def found(record):
    return results(from_study(record, drawn.facts()))


def cells(found, table):
    return {x.labels: x.cells for x in found.section("free").table(table).lines}


def test_a_plan_without_free_questions_has_no_such_section(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'study.sqlite'}") as store:
        drawn.read(store, drawn.study())
        plain = results(from_study(read_record(store, "drawn"), drawn.facts()))
    assert "free" not in {s.key for s in plain.sections}


def test_shares_of_options_are_clustered_on_cases(found):
    even = np.arange(12) % 2 == 0
    hit = np.array([even, np.ones(12, bool)])
    expected = clustered.share(hit, np.ones((2, 12), bool), "x")
    shown = cells(found, "next shares")["biopsy", UNAIDED][0]
    assert (shown.value, shown.low, shown.high) == (expected.value, expected.low, expected.high)
    assert shown.value == 0.75 and shown.n == 12
    assert cells(found, "next shares")["radiotherapy", AIDED][0].value == 0
    assert cells(found, "seen shares")["necrosis", AIDED][0].value == 0.25
    assert cells(found, "seen shares")["oedema", AIDED][0].value == 1


def test_numbers_have_a_mean_a_paired_difference_and_an_agreement(found):
    ada = np.arange(12) + 10.0
    both = np.array([ada, ada + 0.5])
    where = np.nonzero(np.ones((2, 12)))
    expected = bootstrap.mean(both[where], where[1], what="mean")
    shown = cells(found, "large mean")["All readers", UNAIDED][0]
    assert (shown.value, shown.low) == (expected.value, expected.low)
    assert cells(found, "large mean")["Bo Ek", AIDED][0].value == pytest.approx(18.0)
    change = cells(found, "large change")[(f"{AIDED} minus without the models",)][0]
    assert change.value == pytest.approx(2.0)
    icc = cells(found, "large agreement")[(UNAIDED,)][0]
    assert icc.value == continuous.icc(both.T).value < 1
    assert cells(found, "rely agreement")[(UNAIDED,)][1].value == 1


def test_readers_agree_on_choices_as_the_statistics_say(found):
    codes = np.array([[0, 2] * 6, [0] * 12])
    assert cells(found, "next agreement")["all answers", AIDED][0] == (
        agreement.percent_agreement(codes.T)
    )
    assert cells(found, "seen agreement")["necrosis", AIDED][0].value == 1


def test_readings_and_codebook_have_a_column_a_question(record, tmp_path):
    source = from_study(record, drawn.facts())
    at = datetime(2026, 11, 26, tzinfo=UTC)
    known = {case: Primary(t) for case, t in drawn.TRUTH.items()}
    made = build([], {}, known, None, DossierInputs(created_at=at, data=source, record=record))
    files = {p.name: p for p in write(made, tmp_path / "out")}
    rows = list(csv.DictReader(files["readings.csv"].open()))
    one = next(
        r for r in rows if (r["case"], r["reader"], r["arm"]) == (drawn.CASES[1], "Bo Ek", "aided")
    )
    assert (one["q_next"], one["q_seen"], one["q_large"]) == ("biopsy", "oedema|necrosis", "13.5")
    assert one["q_rely"] == "2" and one["q_note"] == ""
    frame = pd.read_parquet(files["readings.parquet"])
    assert str(frame["q_large"].dtype) == "Float64" and str(frame["q_rely"].dtype) == "Int64"
    book = {r["column"]: r for r in csv.DictReader(files["codebook.csv"].open())}
    assert book["q_large"]["unit or values"] == "0-120 mm"
    assert "Largest lesion" in files["report.html"].read_text()
