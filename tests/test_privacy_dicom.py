"""No name, date or text that DICOM files bring is found in anything that is stored or goes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from bmcore.cli import app
from bmcore.domain import Prediction
from bmcore.door import arrival
from bmcore.inference import pipeline
from bmcore.intake import library
from bmcore.models.bundles import load_bundle
from bmcore.review import runs
from bmcore.review.store import open_store
from bmcore.running import tasks, worker
from bmcore.settings import settings
from pages.parts import runs as page_runs
from tests import pages_home, people_fixture, planted, planted_dicom, road_fixture
from tests import reading_fixture as reading
from tests.test_pages_app import open_page, words


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``brought`` holds what a user has; ``left`` all that the program wrote of it."""
    root = tmp_path_factory.mktemp("dicom road")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMCORE_HOME", str(root / "left" / "home"))
        patch.setenv("BMCORE_BUNDLE", str(root / "brought" / "models"))
        patch.setenv("BMCORE_DEMO", "0")
        patch.setattr(pipeline, "predict", predicted)
        patch.setattr(st, "switch_page", lambda *_, **__: None)  # a page alone knows no other
        patch.setattr(page_runs, "submit", lambda _: None)
        road_fixture.quick(patch)
        settings.cache_clear()
        st.cache_resource.clear()
        walk(root / "brought", root / "left")
        yield root
    settings.cache_clear()
    st.cache_resource.clear()


def predicted(case, bundle, on_progress=None) -> Prediction:
    made = reading.prediction(case.case_id, clinical_record=case.clinical)
    info = load_bundle(settings().bundle).info
    return replace(made, findings=case.findings, bundle=info, sequences=tuple(case.sequences))


def walk(brought: Path, left: Path) -> None:
    """An upload of a folder by the page, a zip that is refused, bulk import, predict, a report."""
    home = left / "home"
    pages_home.make_bundle(brought / "models")
    place = planted_dicom.write_folder(brought)
    packed = planted_dicom.write_zip(place, brought)
    by_page(home, place)
    (case_id,) = (entry.case_id for entry in library.list_cases(home))
    refused_by_page(home, packed)
    with open_store(people_fixture.url(home)) as store:
        runs.ask(store, runs.PREDICT, [case_id], "Ada")
        worker.work(home, store, runs.take(store), tasks.known())
        assert runs.counts(store, runs.PREDICT) == {"done": 1}
    table = brought / "clinical.csv"
    table.write_text(f"case_id,age\n{planted_dicom.TAGS['PatientID']},61\n")
    run("import", brought, "--clinical", table, "--yes", code=1)
    run("predict", packed, "--out", left / "predicted")
    run("report", "--out", left / "report")


def by_page(home: Path, place: Path) -> None:
    road_fixture.upload(home, road_fixture.OWNER, road_fixture.below(place))
    page = open_page("cases")
    assert planted_dicom.FOLDER in words(page).replace(
        "\\", ""
    )  # whoever brings files sees how they are called
    press(press(page, "align"), "store")
    open_page("cases")
    assert arrival.of(home, road_fixture.OWNER) == []


def press(page: AppTest, key: str) -> AppTest:
    assert not page.exception and not page.error, [e.value for e in (*page.error, *page.text)]
    return next(b for b in page.button if b.key == key).click().run()


def refused_by_page(home: Path, packed: Path) -> None:
    """A zip with a path out of it: the refusal names files, and is gone with them."""
    import zipfile

    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(f"../{planted_dicom.FILE}.dcm", b"x")
    road_fixture.upload(home, road_fixture.OWNER, {packed.name: packed.read_bytes()})
    page = open_page("cases")
    told = words(page).replace("\\", "").replace("\u2060", "")  # as it is seen
    assert "a path outside the archive" in told and planted_dicom.FILE in told
    next(b for b in page.button if b.label == "Choose other files").click().run()
    assert arrival.of(home, road_fixture.OWNER) == []
    packed.unlink()
    planted_dicom.write_zip(packed.parent / planted_dicom.FOLDER, packed.parent)


def run(*asked: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in asked])
    assert result.exit_code == code, result.output
    return result.output


def test_there_are_fifty_strings_and_each_is_found_where_it_was_planted(road: Path) -> None:
    assert len(set(planted_dicom.STRINGS)) >= 50
    told = planted.found_in(road / "brought", planted_dicom.STRINGS)
    found = {line.rsplit(": ", 1)[0] for line in told}
    assert set(planted_dicom.STRINGS) - found == set()


def test_no_planted_string_is_left_in_any_file_of_the_program(road: Path) -> None:
    assert planted.found_in(road / "left", planted_dicom.STRINGS) == []
    kinds = {p.suffix for p in (road / "left").rglob("*") if p.is_file()}
    assert {".gz", ".pdf", ".html", ".csv", ".json", ".sqlite", ".key"} <= kinds
    assert list((road / "left" / "home" / "uploads").iterdir()) == []


def test_the_pages_show_none_of_them_once_the_case_is_there(road: Path) -> None:
    (entry,) = library.list_cases(road / "left" / "home")
    cases, review = open_page("cases"), open_page("review", case=entry.case_id)
    assert not review.exception and entry.case_id in cases.dataframe[0].value.to_csv()
    for page in (cases, review):
        shown = words(page) + str([frame.value.to_csv() for frame in page.dataframe])
        held = [t for t in planted_dicom.STRINGS for f in planted.forms(t) if f in shown.encode()]
        assert held == []


def test_the_same_examination_by_any_road_is_one_case_with_its_record(road: Path) -> None:
    (entry,) = library.list_cases(road / "left" / "home")
    assert entry.case_id.startswith("p") and len(entry.sequences) == 4
