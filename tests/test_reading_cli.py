"""The command line: exit codes, one line a problem, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bmcore import __version__
from bmcore.cli import app
from bmcore.domain import RESEARCH_NOTICE, Case, ClinicalRecord, Primary
from bmcore.intake.nifti import write_volume
from bmcore.settings import settings
from tests import reading_fixture as fixture

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fixture.tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The folder of one small head in the Yale layout."""
    return write_head(tmp_path / "BraTS-MET-00999-000")


def write_head(folder: Path) -> Path:
    folder.mkdir()
    for name, volume in fixture.head().sequences.items():
        write_volume(volume, folder / f"{folder.name}-{name}.nii.gz", np.float32)
    return folder


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """Replaces the models by a made-up prediction; the list receives the cases asked for."""
    from bmcore.inference import pipeline

    cases: list[Case] = []

    def predict(case: Case, bundle: object, on_progress: object = None) -> object:
        cases.append(case)
        return fixture.prediction(case.case_id, clinical_record=case.clinical)

    monkeypatch.setattr(pipeline, "predict", predict)
    return cases


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def errors(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line != RESEARCH_NOTICE]


def test_help_takes_less_than_a_second_and_says_research_only() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "bmcore", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1  # seconds of one core; 0.35 were measured
    assert done.returncode == 0
    assert "not a medical device" in " ".join(done.stdout.split())
    assert {"predict", "phantom", "report"} <= set(done.stdout.split())


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, bmcore.cli; print([m for m in ('torch','monai','shap','captum','matplotlib',"
        "'sqlalchemy','scipy.stats','sklearn','pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout.strip()) == (0, f"bmcore {__version__}")


def test_predict_writes_three_files_and_shows_the_three_answers(
    tmp_path: Path, files: Path, bundle: Path, predicted: list[Case]
) -> None:
    out = tmp_path / "out"
    result = run("predict", files, "--out", out, "--bundle", bundle, "--age", 61, "--sex", "female")
    assert result.exit_code == 0, result.stderr
    assert sorted(p.name for p in out.iterdir()) == [
        "lesions.csv",
        "mask.nii.gz",
        "prediction.json",
    ]
    summary = json.loads((out / "prediction.json").read_text())
    assert summary["case_id"] == "BraTS-MET-00999-000"
    assert predicted[0].clinical == ClinicalRecord(age_years=61, sex="female")
    for words in ("Clinical only", "Image only", "Fused", "Melanoma", "55%", "peak memory", "GiB"):
        assert words in result.stdout
    assert "no calibration stored with these models" in result.stdout
    assert RESEARCH_NOTICE in result.stderr and RESEARCH_NOTICE not in result.stdout


def test_predict_says_in_words_which_answers_stand_and_exits_0_when_they_abstain(
    tmp_path: Path, files: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bmcore.inference import pipeline
    from tests.test_reading_archive import weighed

    monkeypatch.setattr(pipeline, "predict", lambda *_: weighed())
    result = run("predict", files, "--out", tmp_path / "out", "--bundle", bundle)
    assert result.exit_code == 0, result.stderr
    assert "in 9 of 10 cases): Non-small cell lung" in result.stdout
    assert "Image only: abstains, outside what the models know." in result.stdout
    assert "Fused: abstains, no answer stands out." in result.stdout
    assert "no calibration stored" not in result.stdout


def test_the_answer_says_what_it_rests_on_and_names_no_file(
    tmp_path: Path, files: Path, bundle: Path, predicted: list[Case]
) -> None:
    named = files.rename(tmp_path / "Hans Mustermann")
    for path in named.iterdir():
        path.rename(named / f"Mustermann_{path.name.split('-')[-1]}")
    table = tmp_path / "Mustermann.csv"
    table.write_text("age,sex,Name of Mustermann\n61,female,Hans\n")
    out = tmp_path / "out"
    words = ("--out", out, "--bundle", bundle, "--clinical", table, "--smoking", "never")
    result = run("predict", named, *words)
    assert result.exit_code == 0, result.stderr
    assert "Mustermann" in result.stdout  # on the screen, in the user's own words
    told = json.loads((out / "prediction.json").read_text())
    assert "Mustermann" not in json.dumps(told) and "Hans" not in json.dumps(told)
    assert told["case_id"] == predicted[0].case_id
    assert re.fullmatch("case-[0-9a-f]{8}", told["case_id"])
    assert told["clinical_record"] == {
        "age_years": 61.0, "sex": "female", "smoking": "never", "pack_years": None,
        "extracranial_metastases": None,
    }  # fmt: skip
    t1c = next(named.glob("*t1c*"))
    assert told["inputs"]["t1c"]["sha256"] == hashlib.sha256(t1c.read_bytes()).hexdigest()
    assert told["inputs"]["t1c"]["given"] == "file 1 of 4"
    assert datetime.fromisoformat(told["created_at"]).utcoffset() == timedelta(0)
    assert told["bmcore"] == __version__ and len(told["bundle"]["digest"]) == 64
    again = run("predict", named, *words)
    assert again.exit_code == 2 and "--force" in errors(again)[0]
    assert json.loads((out / "prediction.json").read_text()) == told
    assert run("predict", named, *words, "--force").exit_code == 0


def test_the_names_of_the_files_are_kept_only_where_the_site_says_so(
    tmp_path: Path, files: Path, bundle: Path, predicted: list[Case], monkeypatch
) -> None:
    named = files.rename(tmp_path / "Study-7")
    for path in named.iterdir():
        path.rename(named / path.name.replace(files.name, "Study-7"))
    monkeypatch.setenv("BMCORE_KEEP_NAMES", "1")
    settings.cache_clear()
    try:
        assert run("predict", named, "--out", tmp_path / "o", "--bundle", bundle).exit_code == 0
    finally:
        settings.cache_clear()
    told = json.loads((tmp_path / "o" / "prediction.json").read_text())
    assert told["case_id"] == "Study-7"
    assert told["inputs"]["t1c"]["file"] == "Study-7-t1c.nii.gz"


def test_every_option_reaches_the_record_and_the_options_win_over_the_table(
    tmp_path: Path, files: Path, bundle: Path, predicted: list[Case]
) -> None:
    table = tmp_path / "clinical.csv"
    table.write_text(
        "case_id,age,sex,smoking\nBraTS-MET-00999-000,70,male,never\nother,20,female,current\n"
    )
    result = run(
        "predict", files, "--out", tmp_path / "out", "--bundle", bundle, "--clinical", table,
        "--smoking", "former", "--pack-years", 12.5, "--extracranial-metastases", "no",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert predicted[0].clinical == ClinicalRecord(70, "male", "former", 12.5, False)


def test_a_table_without_this_case_is_refused_not_guessed(
    tmp_path: Path, files: Path, bundle: Path, predicted: list[Case]
) -> None:
    table = tmp_path / "clinical.csv"
    table.write_text("case_id,age\nsomebody-else,70\n")
    words = ("--out", tmp_path / "out", "--bundle", bundle, "--clinical", table)
    result = run("predict", files, *words)
    assert result.exit_code == 2 and not predicted
    assert len(errors(result)) == 1 and "no row" in errors(result)[0]
    assert run("predict", files, *words, "--case-id", "somebody-else").exit_code == 0
    assert (predicted[0].case_id, predicted[0].clinical.age_years) == ("somebody-else", 70)


def test_all_problems_are_told_at_once_one_a_line_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    result = run(
        "predict", tmp_path / "empty", "--out", out, "--bundle", tmp_path / "none", "--age", 400
    )
    assert result.exit_code == 2
    lines = errors(result)
    assert len(lines) == 3 and all(line.startswith("error: ") for line in lines)
    assert "age_years" in lines[0] and "NIfTI" in lines[1] and "bundle" in lines[2]
    assert result.stdout == "" and not out.exists()


def test_a_changed_bundle_is_refused(tmp_path: Path, files: Path, bundle: Path) -> None:
    import shutil

    changed = tmp_path / "changed"
    shutil.copytree(bundle, changed)
    with (changed / "cnn.safetensors").open("ab") as stream:
        stream.write(b"x")
    result = run("predict", files, "--out", tmp_path / "out", "--bundle", changed)
    assert result.exit_code == 2 and not (tmp_path / "out").exists()
    assert "cnn" in errors(result)[0]


def test_results_never_lie_among_the_inputs(tmp_path: Path, files: Path, bundle: Path) -> None:
    before = sorted(files.iterdir())
    result = run("predict", files, "--out", files, "--bundle", bundle)
    assert result.exit_code == 2 and "input images" in errors(result)[0]
    assert sorted(files.iterdir()) == before


def test_a_refusal_in_the_middle_leaves_an_earlier_result_as_it_was(
    tmp_path: Path, files: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bmcore.domain import refuse
    from bmcore.inference import archive, pipeline

    out = tmp_path / "out"
    archive.write_outputs(fixture.prediction(), out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def broken(*_: object) -> object:
        raise refuse("the brain\nis empty")

    monkeypatch.setattr(pipeline, "predict", broken)
    result = run("predict", files, "--out", out, "--bundle", bundle, "--force")
    assert result.exit_code == 2
    assert errors(result)[-1] == "error: the brain is empty."
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert not [p for p in tmp_path.rglob("*") if "bmcore-out" in p.name]


def test_a_missing_case_exits_2_in_a_real_process(tmp_path: Path) -> None:
    words = ["predict", str(tmp_path / "no"), "--out", str(tmp_path / "o")]
    done = subprocess.run(
        [sys.executable, "-m", "bmcore", *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert "the file or folder is not there" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert not (tmp_path / "o").exists()


@pytest.fixture
def quick_phantom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phantom that is only a box with one lesion; the real one has tests of its own."""
    from bmcore.phantom import cohort
    from bmcore.phantom.grids import YALE_AFFINE
    from bmcore.phantom.tissue import GRID

    def draw_case(seed: int, style: object = None) -> cohort.PhantomCase:
        box = np.zeros(GRID, np.float32)
        box[40:120, 40:160, 30:110] = 100 + seed % 7
        labels = np.zeros(GRID, np.uint8)
        labels[60:66, 60:66, 60:66] = 3
        images = {name: box + n * (box > 0) for n, name in enumerate(("t1n", "t1c", "t2w", "t2f"))}
        record = ClinicalRecord(age_years=50, sex="male")
        affine = YALE_AFFINE.copy()
        return cohort.PhantomCase(seed, images, labels, affine, Primary.RCC, record, 1)

    monkeypatch.setattr(cohort, "draw_case", draw_case)


def test_phantom_writes_the_yale_layout_and_never_into_a_folder_in_use(
    tmp_path: Path, quick_phantom: None
) -> None:
    out = tmp_path / "cohort"
    result = run("phantom", "--cases", 1, "--seed", 3, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "1 synthetic case in" in result.stdout
    from bmcore.intake.datasets import YaleDataset

    dataset = YaleDataset(out)
    assert len(dataset.case_ids) == 1
    assert dataset.load(dataset.case_ids[0]).truth is not None
    again = run("phantom", "--cases", 1, "--out", out)
    assert again.exit_code == 2 and "new or empty" in errors(again)[0]


def test_demo_cases_are_made_once_and_a_removed_one_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_phantom: None
) -> None:
    import shutil

    from bmcore.inference import demo
    from bmcore.intake.library import list_cases, load_case

    monkeypatch.setattr(demo, "DEMO_SEEDS", {"Demo-1": 1})
    assert demo.ensure_demo_cases(tmp_path) == ["Demo-1"]
    (entry,) = list_cases(tmp_path)
    assert (
        entry.demo and entry.has_reference_mask and entry.sequences == ("t1n", "t1c", "t2w", "t2f")
    )
    assert load_case(tmp_path, "Demo-1").clinical == entry.clinical
    assert demo.truths(tmp_path) == {"Demo-1": Primary.RCC}
    assert demo.ensure_demo_cases(tmp_path) == []
    shutil.rmtree(entry.folder)
    assert demo.ensure_demo_cases(tmp_path) == [] and list_cases(tmp_path) == []


def test_a_start_that_was_stopped_half_way_goes_on_and_a_name_in_use_is_left_alone(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch, quick_phantom: None
) -> None:
    from bmcore.inference import demo
    from bmcore.intake.library import add_case, list_cases

    monkeypatch.setattr(demo, "DEMO_SEEDS", {"Demo-1": 1, "Demo-2": 2})
    add_case(tmp_path, files, "Demo-1")  # the user's own case
    demo._make(tmp_path, "Demo-2", 2)  # made, but the process ended before it was noted
    assert demo.ensure_demo_cases(tmp_path) == ["Demo-2"]
    assert {e.case_id: e.demo for e in list_cases(tmp_path)} == {"Demo-1": False, "Demo-2": True}
    assert demo.truths(tmp_path) == {"Demo-2": Primary.RCC}


def test_demo_cases_survive_two_starts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from bmcore.inference import demo

    made: list[str] = []

    def make(home: Path, case_id: str, seed: int) -> Primary:
        time.sleep(0.05)
        made.append(case_id)
        return Primary.RCC

    monkeypatch.setattr(demo, "_make", make)
    threads = [threading.Thread(target=demo.ensure_demo_cases, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["Demo-1", "Demo-2", "Demo-3"]


@pytest.fixture
def home(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BMCORE_BUNDLE", str(bundle))
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


def test_report_covers_the_votes_and_the_latest_predictions(
    tmp_path: Path, home: Path, files: Path
) -> None:
    from bmcore.inference import archive
    from bmcore.intake.library import add_case
    from bmcore.models.bundles import load_bundle

    info = load_bundle(settings().bundle).info
    entry = add_case(home, files)
    archive.keep(home, replace(fixture.prediction(entry.case_id), bundle=info))
    table = tmp_path / "truth.csv"
    table.write_text(f"case_id,primary\n{entry.case_id},melanoma\n")
    result = run("report", "--out", tmp_path / "report", "--truth", table)
    assert result.exit_code == 0, result.stderr
    names = {p.name for p in (tmp_path / "report").iterdir()}
    assert {"report.pdf", "report.html", "votes.csv", "report.json"} <= names
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert entry.case_id in json.dumps(told) and "melanoma" in json.dumps(told)
