"""``predict`` with DICOM: what is asked, what is printed, and what is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bmcore.cli import app
from bmcore.domain import Case
from bmcore.imaging import extraction, skull
from bmcore.intake.nifti import write_volume
from bmcore.settings import settings
from tests import dicom_fixture
from tests import reading_fixture as fixture

NAME = "Zoltanescu"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fixture.tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Case]:
    """Replaces the models by a made-up prediction; the list receives the cases asked for."""
    from bmcore.inference import pipeline

    cases: list[Case] = []

    def predict(case: Case, bundle: object, on_progress: object = None) -> object:
        cases.append(case)
        made = fixture.prediction(case.case_id, clinical_record=case.clinical)
        return fixture.replace(made, findings=case.findings)

    monkeypatch.setattr(pipeline, "predict", predict)
    monkeypatch.setattr(skull, "needs_alignment", lambda images: False)  # the images are no heads
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield cases
    settings.cache_clear()


@pytest.fixture
def predict(tmp_path, bundle, predicted):
    def run(*words: object) -> Result:
        out = ("--out", tmp_path / "out", "--bundle", bundle)
        return CliRunner().invoke(app, [str(word) for word in ("predict", *words, *out)])

    return run


def written(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "out" / "prediction.json").read_text())


def test_a_folder_of_four_series(tmp_path, predict, predicted):
    sources = dicom_fixture.four(tmp_path / NAME, PatientName=f"{NAME}^X", PatientID="P-77")
    result = predict(tmp_path / NAME)
    assert result.exit_code == 0, result.stderr
    for name, source in sources.items():
        assert dicom_fixture.agrees(predicted[0].sequences[name], source)
    assert "Examination 1: 2023-01-01" in result.stderr and "contrast tag" in result.stderr
    assert 'series 2 "T1 AX GD": taken as T1 post-gadolinium (t1c)' in result.stdout
    told = written(tmp_path)
    assert told["inputs"]["t1c"]["given"] == "series 2 of 4"
    assert len(told["inputs"]["t1c"]["content_sha256"]) == 64
    assert told["inputs"]["t1c"]["series_uid"].startswith("2.25.")
    stored = b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir() if p.suffix != ".gz")
    stored += repr(predicted[0].findings).encode()
    for secret in (NAME, "P-77", "2023-01-01", "20230101", "T1 AX GD", dicom_fixture.made_uid(1)):
        assert secret.encode() not in stored, secret


def test_a_zip_and_the_same_name_again(tmp_path, predict, predicted):
    dicom_fixture.four(tmp_path / "a")
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "a")
    assert predict(tmp_path / "a.zip").exit_code == 0
    assert predict(tmp_path / "a", "--force").exit_code == 0
    assert predicted[0].case_id == predicted[1].case_id
    assert predict(tmp_path / "a", "--force", "--case-id", "mine").exit_code == 0
    assert predicted[2].case_id == "mine"


def test_two_examinations_are_asked_and_nothing_is_written(tmp_path, predict, predicted):
    dicom_fixture.four(tmp_path / "a", 1)
    dicom_fixture.four(tmp_path / "a", 5)
    result = predict(tmp_path / "a")
    assert result.exit_code == 2 and not (tmp_path / "out").exists() and not predicted
    assert "2 examinations of one patient" in result.stderr
    assert "name one with --study" in result.stderr
    result = predict(tmp_path / "a", "--study", "2", "--series", "t1n=none")
    assert result.exit_code == 0 and set(predicted[0].sequences) == {"t1c", "t2w", "t2f"}


def two_orders(folder: Path, **later: object) -> dict:
    """One visit of one patient whose T2 and FLAIR are of another order, with its own study UID."""
    made = {}
    for number, name in enumerate(dicom_fixture.TIMES, start=1):
        own = {"StudyInstanceUID": "1.2.3.4.9", **later} if number > 2 else {}
        made[name] = dicom_fixture.volume(number)
        dicom_fixture.save(dicom_fixture.slices(made[name], name, number, **own), folder / name)
    return made


def test_two_orders_of_one_visit_are_read_as_one_where_the_user_says_so(
    tmp_path, predict, predicted
):
    sources = two_orders(tmp_path / "a")
    result = predict(tmp_path / "a")
    assert result.exit_code == 2 and "--study 1 --study 2" in result.stderr
    paths = ("--t1c", tmp_path / "a" / "t1c", "--t2f", tmp_path / "a" / "t2f")
    assert "--study 1 --study 2" in predict(*paths).stderr and not predicted
    for words in ((tmp_path / "a", "--same-patient"), (tmp_path / "a", "--study=1", "--study=2")):
        result = predict(*words, "--force")
        assert result.exit_code == 0, result.stderr
        assert set(predicted[-1].sequences) == set(sources)
    result = predict(*paths, "--same-patient", "--force")
    assert result.exit_code == 0, result.stderr
    assert set(predicted[-1].sequences) == {"t1c", "t2f"}
    assert "2 examinations were read as one, as you said" in result.stdout
    assert predicted[0].case_id == predicted[1].case_id == predicted[2].case_id


@pytest.mark.parametrize(
    "later",
    [{"AcquisitionTime": "190000"}, {"AcquisitionDate": "20230109", "StudyDate": "20230109"}],
)
def test_another_visit_is_read_with_the_first_only_where_both_are_named(
    tmp_path, predict, predicted, later
):
    two_orders(tmp_path / "a", **later)
    result = predict(tmp_path / "a", "--same-patient")
    assert result.exit_code == 2 and "2 examinations of one patient" in result.stderr
    assert "--study 1 --study 2" not in result.stderr and not predicted
    result = predict(tmp_path / "a", "--study", "1", "--study", "2")
    assert result.exit_code == 0 and "not measured in one visit" in result.stdout


def test_two_patients_are_never_read_as_one(tmp_path, predict, predicted):
    two_orders(tmp_path / "a", PatientID="P2")
    for words in (
        ("--same-patient",),
        ("--study", "1", "--study", "2"),
        ("--study=1", "--study=9"),
    ):
        result = predict(tmp_path / "a", *words)
        assert result.exit_code == 2 and not predicted


def test_series_by_number_and_what_is_not_understood(tmp_path, predict, predicted):
    sources = dicom_fixture.four(tmp_path / "a")
    result = predict(tmp_path / "a", "--series", "t1c=1", "--series", "t1n=2")
    assert result.exit_code == 0
    assert dicom_fixture.agrees(predicted[0].sequences["t1c"], sources["t1n"])
    assert "taken as T1 post-gadolinium (t1c) as you named it" in result.stdout
    for word in ("t1c", "t1c=", "t9=1"):
        result = predict(tmp_path / "a", "--series", word, "--force")
        assert result.exit_code == 2 and "--series is not understood" in result.stderr


def test_a_folder_for_each_sequence(tmp_path, predict, predicted):
    sources = dicom_fixture.four(tmp_path / "a")
    result = predict("--t1c", tmp_path / "a" / "S12", "--t2f", tmp_path / "a" / "S14")
    assert result.exit_code == 0, result.stderr
    assert set(predicted[0].sequences) == {"t1c", "t2f"}
    assert dicom_fixture.agrees(predicted[0].sequences["t1c"], sources["t1c"])
    result = predict("--t1c", tmp_path / "a", "--force", "--t2w", tmp_path / "a" / "S11")
    assert result.exit_code == 2


def test_another_patients_series_for_one_sequence_is_asked(tmp_path, predict, predicted):
    dicom_fixture.four(tmp_path / "a")
    dicom_fixture.four(tmp_path / "b", PatientID="P2")
    result = predict("--t1c", tmp_path / "a" / "S12", "--t2f", tmp_path / "b" / "S14")
    assert result.exit_code == 2 and "2 patients" in result.stderr and not predicted


def test_other_grids_are_refused_where_nothing_can_align_them(tmp_path, predict, monkeypatch):
    monkeypatch.setattr(skull, "needs_alignment", lambda images: True)
    monkeypatch.setattr(extraction, "available", lambda: ())
    dicom_fixture.four(tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "S13")
    other = dicom_fixture.volume(9, affine=dicom_fixture.oblique(origin=(0.0, 0.0, 0.0)))
    dicom_fixture.save(dicom_fixture.slices(other, "t2w", 3), tmp_path / "a" / "S13")
    result = predict(tmp_path / "a")
    assert result.exit_code == 2 and "t2w is on a different grid from t1c" in result.stderr
    assert (
        "no brain extraction is installed" in result.stderr
        and "as the README says" in result.stderr
    )


def test_nifti_by_sequence_and_in_one_with_dicom(tmp_path, predict, predicted):
    dicom_fixture.four(tmp_path / "a")
    for name, volume in fixture.head().sequences.items():
        write_volume(volume, tmp_path / "n" / f"scan {name} x.nii.gz", np.float32)
    paths = {name: tmp_path / "n" / f"scan {name} x.nii.gz" for name in ("t1c", "t2f")}
    result = predict("--t1c", paths["t1c"], "--t2f", paths["t2f"])
    assert result.exit_code == 0, result.stderr
    assert set(predicted[0].sequences) == {"t1c", "t2f"}
    result = predict("--t1c", paths["t1c"], "--t2f", tmp_path / "a" / "S14", "--force")
    assert result.exit_code == 2 and "DICOM and other files were named together" in result.stderr
    result = predict(paths["t1c"], "--series", "t1c=1", "--force")
    assert result.exit_code == 2 and "are for DICOM" in result.stderr


def test_a_path_for_a_sequence_wins_over_the_name_of_another_file(tmp_path, predict, predicted):
    head = fixture.head().sequences
    write_volume(head["t1c"], tmp_path / "n" / "a_t1c.nii.gz", np.float32)
    write_volume(head["t2f"], tmp_path / "n" / "a_t2f.nii.gz", np.float32)
    write_volume(head["t1n"], tmp_path / "other.nii.gz", np.float32)
    result = predict(tmp_path / "n", "--t1c", tmp_path / "other.nii.gz")
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(predicted[0].sequences["t1c"].data, head["t1n"].data)
    assert np.array_equal(predicted[0].sequences["t2f"].data, head["t2f"].data)


def test_nothing_named_is_refused(predict):
    result = predict()
    assert result.exit_code == 2 and "no image was named" in result.stderr
