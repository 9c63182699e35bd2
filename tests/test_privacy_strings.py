"""No name, date or text that files bring is found in anything that is stored or goes out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import openpyxl
import pytest
import streamlit as st
from typer.testing import CliRunner

from bmcore.cli import app
from bmcore.domain import Finding, Prediction, Severity
from bmcore.inference import archive, pipeline
from bmcore.intake import library
from bmcore.models.bundles import load_bundle
from bmcore.review import masks, runs
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.running import tasks, worker
from bmcore.settings import settings
from tests import pages_fixture, pages_home, people_fixture, planted
from tests.test_pages_app import fill_vote, open_page, press, sign_in

PAGE, FOLDER, OLD = "case-0001", "case-0002", "Old-1"
CASES = [PAGE, FOLDER, OLD]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``brought`` holds what a user has; ``left`` all that the program wrote of it."""
    root = tmp_path_factory.mktemp("road")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMCORE_HOME", str(root / "left" / "home"))
        patch.setenv("BMCORE_BUNDLE", str(root / "brought" / "models"))
        patch.setenv("BMCORE_DEMO", "0")
        patch.setattr(pipeline, "predict", predicted)
        settings.cache_clear()
        st.cache_resource.clear()
        walk(root / "brought", root / "left")
        yield root
    settings.cache_clear()
    st.cache_resource.clear()


def predicted(case, bundle, on_progress=None) -> Prediction:
    made = pages_fixture.make_prediction(case, load_bundle(settings().bundle).info)
    return replace(made, findings=case.findings)


def walk(brought: Path, left: Path) -> None:
    """The whole road: bring files, let the models read them, vote, lock sheets, take it all out."""
    home = left / "home"
    pages_home.make_bundle(brought / "models")
    (brought / "models" / f"{planted.STUDY_FILES['models']}.txt").write_text("who trained it")
    bring_by_page(brought)
    assert library.add_case(home, write_folder(brought), same_patient=True).case_id == FOLDER
    bring_old_case(home, brought)
    with open_store(people_fixture.url(home)) as store:
        runs.ask(store, runs.PREDICT, list(CASES), "Ada")
        while (run := runs.take(store)) is not None:
            worker.work(home, store, run, tasks.known())
        assert runs.counts(store, runs.PREDICT) == {"done": len(CASES)}
    fail_in_the_log(home)
    vote_by_page(PAGE)
    study(brought, left)
    predict_by_command(brought, left)


def bring_by_page(brought: Path) -> None:
    """Through the form of the Cases page, names, table and all."""
    case = pages_fixture.make_case()
    page = open_page("cases")
    uploads = [
        (f"{planted.FILES[n]}.nii.gz", planted.file_bytes(v), "application/gzip")
        for n, v in case.sequences.items()
    ]
    page = next(u for u in page.file_uploader if u.key == "uploads").set_value(uploads).run()
    page = next(c for c in page.checkbox if c.key == "same_patient").check().run()
    assert not page.exception and not page.error, [e.value for e in page.error]
    assert next(t for t in page.text_input if "pseudonym" in t.label).value == PAGE
    table = write_table(brought / f"{planted.TABLE_FILE}.csv")
    upload = (table.name, table.read_bytes(), "text/csv")
    page = next(u for u in page.file_uploader if u.key == "clinical_file").set_value(upload).run()
    for box in page.selectbox:  # the user's own names are shown to the user
        if str(box.key).startswith("sequence"):
            shown = box.label.replace("\\", "")  # without the escapes of Markdown
            assert shown in {name for name, *_ in uploads}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(st, "switch_page", lambda *_, **__: None)  # a page alone knows no other
        page = next(b for b in page.button if b.key == "add_case").click().run()
    assert not page.exception and not page.error, [e.value for e in (*page.error, *page.text)]


def write_table(path: Path) -> Path:
    head = ["age", "sex", *planted.TABLE]
    path.write_text(",".join(head) + "\n" + ",".join(["61", "female", *planted.TABLE.values()]))
    return path


def write_folder(brought: Path) -> Path:
    """A folder of one patient, plain and zipped files, two that are no sequence."""
    folder = brought / planted.FOLDER
    folder.mkdir()
    case = pages_fixture.make_case()
    for number, (name, volume) in enumerate(case.sequences.items()):
        volume = replace(volume, data=np.asarray(volume.data) + 1)
        zipped = bool(number % 2)
        path = folder / f"{planted.FILES[name]}.nii{'.gz' if zipped else ''}"
        path.write_bytes(planted.file_bytes(volume, zipped))
    for name in planted.LEFT_OUT:
        (folder / f"{name}.nii").write_bytes(planted.file_bytes(case.grid, zipped=False))
    (folder / f"{planted.STUDY_FILES['note']}.txt").write_text("a letter")
    return folder


def bring_old_case(home: Path, brought: Path) -> None:
    """A case as an earlier version stored it: files as they came, names in record and findings."""
    case = pages_home.add_case(home, brought / "old", OLD)
    folder = home / "cases" / OLD
    record = json.loads((folder / "case.json").read_text())
    for name, volume in case.sequences.items():
        (folder / f"{OLD}-{name}.nii.gz").write_bytes(planted.file_bytes(volume))
    mask = pages_fixture.make_prediction(case).mask
    nib.save(planted.image(mask), folder / f"{OLD}-seg.nii.gz")
    record["original_names"] = {n: f"{planted.OLD[n]}.nii" for n in (*case.sequences, "seg")}
    record["sha256"] = {p.name: library.file_digest(p) for p in folder.glob("*.nii.gz")}
    record["findings"] = [
        {"severity": "info", "what": "the file was not used", "file": planted.OLD["unused"]},
        {"severity": "warning", "what": "twins", "file": f"{planted.OLD['t2w']}.nii",
         "found": f"the same values as {planted.OLD['t1c']}.nii"},
    ]  # fmt: skip
    for new in ("content_sha256", "sources"):
        record.pop(new)
    (folder / "case.json").write_text(json.dumps(record))
    assert library.load_case(home, OLD).findings[0].file == planted.OLD["unused"]


def fail_in_the_log(home: Path) -> None:
    """An exception whose message quotes what a user brought."""
    from pages.parts.access import guard

    try:
        try:
            raise KeyError(planted.EXCEPTION[0])
        except KeyError as error:
            raise ValueError(f"could not read {planted.EXCEPTION[1]!r}") from error
    except ValueError:
        told = guard.unexpected()
    log = guard.log_file().read_text()
    assert told.split("reference ")[1][:8] in log and "ValueError" in log
    assert "fail_in_the_log" in log and guard.log_file().is_relative_to(home)


def vote_by_page(case_id: str) -> None:
    page = sign_in(open_page("review", case=case_id))
    fill_vote(page)
    assert not press(page, "Store vote").error


def study(brought: Path, left: Path) -> None:
    """A study over all three cases: read to its end, packed, reported, masks exported."""
    home = left / "home"
    plan = people_fixture.make_study(CASES)
    people_fixture.start(home, plan, with_accounts=False)
    asked = brought / "study.yaml"
    asked.write_text(json.dumps(people_fixture.plan_data(CASES)))
    with open_store(people_fixture.url(home)) as store:
        for person in ("ra", "rb"):
            people_fixture.read_all(store, plan, person)
        desk = ReadingSession(store, plan.study)
        digest = load_bundle(settings().bundle).info.digest
        written = masks.write_consensus(
            desk, home, left / "masks", masks.Rule("majority", "Prof Iris"),
            lambda case: (library.load_case(home, case), archive.latest(home, case, digest)),
        )  # fmt: skip
    assert all(w.path for w in written), written
    run("package", "--study", asked, "--out", left / "package.zip")
    run("unpack", left / "package.zip", "--home", left / "unpacked", "--author", "Dr Ada")
    truth = brought / f"{planted.TRUTH_FILE}.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["case", "primary", *planted.TABLE])
    book.active.append([PAGE, "melanoma", *planted.TABLE.values()])
    book.active.append([planted.TRUTH_OTHER, "rcc", *planted.TABLE.values()])
    book.save(truth)
    for name, more in {"free": [], "study": ["--study", plan.study]}.items():
        run("report", "--out", left / f"report-{name}", "--truth", truth, *more)


def predict_by_command(brought: Path, left: Path) -> None:
    table = brought / f"{planted.TABLE_FILE}.csv"
    folder = brought / planted.FOLDER
    run("predict", folder, "--out", left / "predicted", "--clinical", table, "--same-patient")
    files = [folder / f"{name}.nii" for name in planted.FILES.values()]
    files = [p if p.exists() else p.with_name(f"{p.name}.gz") for p in files]
    run("predict", *files, "--out", left / "from files", "--same-patient")


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def test_there_are_fifty_strings_and_each_is_found_where_it_was_planted(road: Path) -> None:
    assert len(set(planted.STRINGS)) >= 50
    told = {line.rsplit(": ", 1)[0] for line in planted.found_in(road / "brought")}
    old = {line.rsplit(": ", 1)[0] for line in planted.found_in(road / "left" / "home/cases" / OLD)}
    elsewhere = {planted.GZIP_NAME, planted.GZIP_COMMENT, *planted.EXCEPTION}
    assert set(planted.STRINGS) - told - old - elsewhere == set()


def test_no_planted_string_is_left_in_any_file_of_the_program(road: Path) -> None:
    left = [
        line
        for line in planted.found_in(road / "left")
        # what an earlier version stored of the old case stays as it is in its own home
        if f": home/cases/{OLD}/" not in line and f": home/predictions/{OLD}/" not in line
    ]
    assert left == []
    kinds = {p.suffix for p in (road / "left").rglob("*") if p.is_file()}
    assert {".gz", ".npz", ".zip", ".pdf", ".html", ".csv", ".json", ".sqlite", ".log", ".bmv",
            ".png"} <= kinds  # fmt: skip


def test_what_was_brought_can_still_be_traced(road: Path) -> None:
    entry = library.get_entry(road / "left" / "home", FOLDER)
    first = sorted((road / "brought" / planted.FOLDER).glob("*.nii*"))
    numbers = {n: int(source["given"].split()[1]) for n, source in entry.sources.items()}
    for name, number in numbers.items():
        assert entry.sources[name]["given"].endswith(f" of {len(first)}")
        assert first[number - 1].name.startswith(planted.FILES[name])
        assert entry.sources[name]["sha256"] == library.file_digest(first[number - 1])


def test_the_images_themselves_are_what_they_were(road: Path) -> None:
    home = road / "left" / "home"
    for path in sorted((road / "brought" / planted.FOLDER).glob("*.nii*")):
        name = next((n for n, f in planted.FILES.items() if path.name.startswith(f)), None)
        if name is None:
            continue
        before = nib.load(path)
        stored = nib.load(home / "cases" / FOLDER / f"{FOLDER}-{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(before.dataobj), np.asarray(stored.dataobj))
        np.testing.assert_array_equal(before.affine, stored.affine)
        assert before.get_data_dtype() == stored.get_data_dtype()
        assert len(stored.header.extensions) == 0


def test_the_text_of_the_pdf_holds_none_either(road: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")
    for path in (road / "left").rglob("*.pdf"):
        words = subprocess.run(["pdftotext", path, "-"], capture_output=True, check=True).stdout
        assert not [t for t in planted.STRINGS if any(f in words for f in planted.forms(t))]


def test_a_site_may_keep_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMCORE_KEEP_NAMES", "1")
    settings.cache_clear()
    try:
        entry = library.add_case(tmp_path / "home", write_folder(tmp_path), same_patient=True)
    finally:
        settings.cache_clear()
    assert entry.case_id == planted.FOLDER
    assert entry.original_names["t1c"].startswith(planted.FILES["t1c"])
    header = nib.load(entry.files["t1c"]).header
    assert bytes(header["descrip"].item()) == b"" and not header.extensions


def test_findings_of_an_earlier_version_lose_their_names_when_they_leave() -> None:
    from bmcore.intake.neutral import old_findings

    names = {"t1c": "Anna.nii"}
    old = (Finding(Severity.INFO, "not used", "Berta.nii"), Finding(Severity.INFO, "a", "Anna.nii"))
    assert [f.file for f in old_findings(old, names)] == ["a file", "t1c"]


def test_findings_that_name_a_sequence_keep_it_when_they_leave() -> None:
    """Nothing is known of the names in a record of today."""
    from bmcore.intake.neutral import old_findings

    said = (Finding(Severity.WARNING, "is dark", "t1c"), Finding(Severity.INFO, "a note", None))
    assert old_findings(said, {}) == said
