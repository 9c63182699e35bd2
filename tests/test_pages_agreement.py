"""The Agreement and the Reports page of a study: the numbers of the engine, none before the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
from typer.testing import CliRunner

from bmcore.analysis.collect import case_facts, light_predictions, of_study
from bmcore.analysis.readings import Choice
from bmcore.analysis.results import results
from bmcore.cli import app
from bmcore.domain import PRIMARIES, Answer, BundleInfo
from bmcore.inference.references import truths
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.settings import settings
from pages.parts.words import escaped
from tests import pages_fixture, pages_home
from tests import study_fixture as drawn
from tests.test_pages_app import open_page, press, words


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BundleInfo]:
    folder = tmp_path_factory.mktemp("models")
    return folder, pages_home.make_bundle(folder)


@pytest.fixture(scope="module")
def cases(models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the twelve cases, their primaries and predictions, and no study yet."""
    from bmcore.inference import archive

    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("files")
    rows = ["case_id,primary", *(f"{c},{t}" for c, t in drawn.TRUTH.items())]
    (home / "truth.csv").write_text("\n".join(rows) + "\n")
    for case_id in drawn.CASES:
        case = pages_home.add_case(home, work, case_id)
        top = drawn.MODEL[case_id]
        chances = tuple(0.75 if str(p) == top else 0.05 for p in PRIMARIES)
        found = pages_fixture.make_prediction(case, models[1])
        archive.keep(home, replace(found, fused=Answer("fused", chances)))
    return home


@pytest.fixture
def home(cases: Path, models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BMCORE_HOME", str(cases))
    monkeypatch.setenv("BMCORE_DATABASE_URL", f"sqlite:///{tmp_path / 'study.sqlite'}")
    monkeypatch.setenv("BMCORE_BUNDLE", str(models[0]))
    monkeypatch.setenv("BMCORE_DEMO", "0")
    settings.cache_clear()
    st.cache_resource.clear()
    yield cases
    settings.cache_clear()
    st.cache_resource.clear()


def expected(home: Path, info: BundleInfo, choice: Choice = Choice()):
    from bmcore.intake import library

    found = light_predictions(home, info.digest)
    facts = case_facts(library.list_cases(home), found, truths(home))
    with open_store(settings().url) as store:
        record = read_record(store, "drawn")
        source, marks = of_study(home, store, record, facts, found)
    return results(source, choice, marks)


def read(stop_after: int | None = None) -> None:
    with open_store(settings().url) as store:
        drawn.read(store, drawn.study(), stop_after)


def tables_on(page) -> list[list[tuple[str, ...]]]:
    return [[tuple(row) for row in frame.value.to_numpy()] for frame in page.dataframe]


def test_the_page_shows_the_numbers_of_the_engine_and_those_of_the_report(home: Path, models):
    read()
    page = open_page("agreement")
    assert not page.exception and not page.error
    found = expected(home, models[1])
    assert page.subheader[0].value == escaped(found.summary[0])
    shown = tables_on(page)
    listed = [table.texts() for section in found.sections for table in section.tables]
    assert len(shown) == len(listed) > 10
    assert sorted(shown) == sorted(listed)
    page = press(open_page("reports"), "Build report")
    assert not page.exception and not page.error
    assert len(page.get("download_button")) == 10
    files = page.session_state["report files"][1]
    html = files["report.html"].decode()
    for sentence in found.summary:
        assert sentence.replace("'", "&#x27;") in html
    for texts in listed:
        for row in texts:
            for text in row:
                assert f">{text}<".replace("'", "&#x27;") in html


def test_the_filter_by_role_leaves_the_other_reader_out(home: Path, models):
    read()
    page = open_page("agreement")
    page.multiselect(key="filter_roles").set_value(["oncologist"]).run()
    assert not page.exception and not page.error
    told = str(tables_on(page))
    assert "Bo Ek" in told and "Ada Lund" not in told
    assert "Only readers: oncologist." in words(page)
    only = expected(home, models[1], Choice(roles=("oncologist",)))
    assert escaped(only.summary[0]) == page.subheader[0].value


def test_a_running_study_shows_how_far_it_is_and_no_number_of_its_result(home: Path, models):
    read(stop_after=23)
    page = open_page("agreement")
    assert not page.exception and not page.error
    told = words(page)
    assert "The study is running: 46 of 48 readings are closed." in told
    assert "percentage points wide so far, on 11 cases read in both phases by 2 readers" in told
    assert "Answers and effects are shown once" in told
    assert not page.get("plotly_chart")
    (rows,) = tables_on(page)
    assert rows == [("Ada Lund", 24, 23, 0, 1), ("Bo Ek", 24, 23, 0, 1)]
    page = press(open_page("reports"), "Build report")
    files = page.session_state["report files"][1]
    told = b"".join(files[name] for name in ("report.html", "report.json", "answers.csv"))
    assert drawn.CANARY.encode() not in told
    assert "The study is running" in words(page)


def test_a_study_without_a_sheet_and_too_few_cases_are_said_in_words(home: Path):
    from bmcore.review import plan

    with open_store(settings().url) as store:
        plan.lock(store, drawn.study(), "Ida Lund")
    page = open_page("agreement")
    assert "0 of 48 readings are closed" in words(page)
    assert "too few cases are read in both phases" in words(page)
    page.selectbox(key="readings_of").set_value("Free votes").run()
    assert "There are no votes yet" in words(page)


def test_the_command_gives_the_results_of_the_button_and_the_same_bytes_again(
    home: Path, tmp_path: Path
):
    read()
    command = ["report", "--study", "drawn", "--date", "2026-11-26", "--out"]
    for name in ("first", "second"):
        done = CliRunner().invoke(app, [*command, str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    first = {p.name: p.read_bytes() for p in (tmp_path / "first").iterdir()}
    assert first == {p.name: p.read_bytes() for p in (tmp_path / "second").iterdir()}
    told = json.loads(first["report.json"])
    assert told["created_at"] == "2026-11-26T00:00:00+00:00"
    assert (told["chain"]["problems"], told["study"]["finished"]) == ([], True)
    page = press(open_page("reports"), "Build report")
    built = json.loads(page.session_state["report files"][1]["report.json"])
    assert built["results"] == told["results"]
    unknown = ["report", "--study", "nobody", "--out", str(tmp_path / "x")]
    assert CliRunner().invoke(app, unknown).exit_code == 2
