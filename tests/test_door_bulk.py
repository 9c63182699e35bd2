"""A folder of patients: one table first, then cases; one that is broken stops no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bmcore.cli import app
from bmcore.domain import InputRefused
from bmcore.door import bulk, take
from bmcore.door.look import look, opened
from bmcore.imaging import preprocess, skull
from bmcore.intake import library
from bmcore.intake.nifti import write_volume
from bmcore.settings import settings
from tests import dicom_fixture as fixture
from tests.volumes_fixture import ball

ADA, BEN = {"PatientID": "4711", "PatientName": "Lovelacia^Ada"}, {"PatientID": "0815"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """These volumes are noise on one grid: nothing to align, nothing to compare."""
    monkeypatch.setattr(skull, "needs_alignment", lambda images: False)
    monkeypatch.setattr(preprocess, "inspect", lambda case: ())
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "250")
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


def patients(folder: Path) -> Path:
    """Two good ones (a folder and a zip), one with a slice missing, one without any image."""
    fixture.four(folder / "ward A" / "disc", 1, **ADA)
    fixture.four(folder / "B", 2, **BEN)
    shutil.make_archive(str(folder / "B"), "zip", folder / "B")
    shutil.rmtree(folder / "B")
    fixture.four(folder / "broken", 3, PatientID="9")
    (folder / "broken" / "S32" / "0005.dcm").unlink()
    (folder / "letters").mkdir()
    (folder / "letters" / "to whom.txt").write_text("dear colleague")
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["import", *(str(word) for word in words)])


def test_a_preview_comes_first_and_one_broken_patient_stops_nothing(tmp_path, home) -> None:
    folder, table = patients(tmp_path / "in"), tmp_path / "clinical.csv"
    table.write_text("case_id,age,sex\n4711,61,1\nB.zip,55,2\nother,1,1\n")
    told = run(folder, "--clinical", table, "--legend", "sex: 1=male, 2=female")
    assert told.exit_code == 1 and "Add --yes" in told.output
    assert library.list_cases(home) == []
    for words in ("row of 4711", "row of B.zip", "T1 native, T1 post-gadolinium, T2, FLAIR",
                  "slice missing between slice 4 and 5", "there is no MRI image in these files",
                  "to whom.txt", "column sex: taken as sex, read as by the legend"):  # fmt: skip
        assert words in told.output, (words, told.output)
    told = run(folder, "--clinical", table, "--legend", "sex: 1=male, 2=female", "--yes")
    assert told.exit_code == 1 and "2 of 4 examinations are in the library" in told.output
    entries = library.list_cases(home)
    assert {(e.clinical.age_years, e.clinical.sex) for e in entries} == {
        (61, "male"),
        (55, "female"),
    }
    assert all(e.case_id.startswith("p") and len(e.sequences) == 4 for e in entries)


def test_a_second_run_goes_on_where_the_first_was_stopped(tmp_path, home, monkeypatch) -> None:
    folder = tmp_path / "in"
    fixture.four(folder / "a", 1, **ADA)
    fixture.four(folder / "b", 2, **BEN)
    once = bulk._raw
    seen: list[str] = []

    def stopped(home, row, wishes):
        seen.append(row.item.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return once(home, row, wishes)

    monkeypatch.setattr(bulk, "_raw", stopped)
    assert run(folder, "--yes").exit_code == 130 and len(library.list_cases(home)) == 1
    monkeypatch.setattr(bulk, "_raw", lambda *a: seen.append(a[1].item.name) or once(*a))
    assert run(folder, "--yes").exit_code == 0
    assert seen == ["a", "b", "b"] and len(library.list_cases(home)) == 2
    assert run(folder, "--yes").exit_code == 0 and len(seen) == 3


def test_a_sequence_that_is_not_sure_is_asked_or_taken_as_the_likeliest(tmp_path, home) -> None:
    folder = tmp_path / "in"
    for name in ("t1c", "t2w"):
        again = {"SeriesDescription": "T2 AX"} if name == "t2w" else {}
        fixture.save(fixture.slices(fixture.volume(1), name, 1 + len(again)), folder / "a" / name)
    fixture.save(
        fixture.slices(fixture.volume(5), "t2w", 7, SeriesDescription="T2 AX"), folder / "a" / "x"
    )
    told = run(folder, "--yes")
    assert told.exit_code == 1 and "Two series fit T2 (t2w) equally well" in told.output
    assert library.list_cases(home) == []
    assert run(folder, "--yes", "--likeliest").exit_code == 0
    assert library.list_cases(home)[0].sequences == ("t1c", "t2w")


def test_two_dates_of_one_patient_are_two_cases_and_a_copy_is_one(tmp_path, home) -> None:
    folder = tmp_path / "in"
    fixture.four(folder / "both", 1, **ADA)
    fixture.four(folder / "both", 2, **ADA)
    shutil.copytree(folder / "both" / "S11", folder / "copy" / "S11")
    for name in ("S12", "S13", "S14"):
        shutil.copytree(folder / "both" / name, folder / "copy" / name)
    told = run(folder, "--yes")
    assert told.exit_code == 0 and "The same examination lies in both" in told.output
    ids = [e.case_id for e in library.list_cases(home)]
    assert len(ids) == 2 and ids[0].split("-")[0] == ids[1].split("-")[0]


def test_two_orders_of_one_visit_are_offered_together_but_are_two_rows(tmp_path, home) -> None:
    for number, (name, order) in enumerate((("t1c", "1.2.3"), ("t2f", "1.2.4")), start=1):
        made = fixture.slices(fixture.volume(number), name, number, StudyInstanceUID=order)
        fixture.save(made, tmp_path / "in" / name)
    found = look([tmp_path / "in"])
    assert [e.label for e in found.examinations] == ["1", "2", "1+2"] and found.likeliest is None
    assert set(found.examinations[2].proposed) == {"t1c", "t2f"}
    with opened([tmp_path / "in"]) as brought:
        made, _ = take.raw(brought, found.examinations[2].proposed, "1+2", home)
    assert set(made.volumes) == {"t1c", "t2f"}
    entry = bulk.Item("in", tmp_path / "in")
    assert len(list(bulk.preview(home, entry, None, bulk.Wishes()))) == 2


def test_a_record_that_fits_twice_or_a_table_without_ids_is_not_used(tmp_path, home) -> None:
    folder, table = tmp_path / "in", tmp_path / "clinical.csv"
    fixture.four(folder / "a", 1, **ADA)
    table.write_text("case_id,age\n4711,61\na,62\n")
    told = run(folder, "--yes", "--clinical", table)
    assert told.exit_code == 1 and "two rows of the table fit: 4711 and a" in told.output
    assert library.list_cases(home) == []
    table.write_text("age\n61\n")
    told = run(folder, "--yes", "--clinical", table)
    assert told.exit_code == 2 and "does not say which row is whose" in told.output


def write_yale(folder: Path, case_id: str, labels: int = 3) -> None:
    case = {name: fixture.volume(n) for n, name in enumerate(("t1n", "t1c", "t2f"))}
    for name, volume in case.items():
        write_volume(volume, folder / case_id / f"{case_id}-{name}.nii.gz", "float32")
    mask = fixture.Volume(ball(fixture.SHAPE, (3, 3, 3)).astype("uint8") * labels, volume.affine)
    write_volume(mask, folder / case_id / f"{case_id}-seg.nii.gz", "uint8")


def test_a_data_set_in_a_known_layout_keeps_its_ids_and_masks(tmp_path, home) -> None:
    folder = tmp_path / "set"
    write_yale(folder, "BraTS-MET-00086-000")
    write_yale(folder, "BraTS-MET-00500-000", labels=4)
    told = run(folder, "--yes")
    assert told.exit_code == 1 and "laid out as brats-mets" in told.output
    assert "most likely the same patient" in told.output
    assert "values that are not labels (found 0, 4" in told.output
    (entry,) = library.list_cases(home)
    assert entry.case_id == "BraTS-MET-00086-000" and entry.has_reference_mask
    assert any("also one of Pretreat" in f.what for f in entry.findings)
    assert run(folder, "--yes", "--label-convention", "older").exit_code == 0
    assert len(library.list_cases(home)) == 2


@pytest.mark.parametrize("words", [["nowhere"], ["."], [".", "--layout", "mine"]])
def test_a_folder_that_cannot_be_used_ends_with_exit_2(tmp_path, monkeypatch, words) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert run(*words).exit_code == 2


def test_loose_files_are_one_patient(tmp_path: Path) -> None:
    fixture.save(fixture.slices(fixture.volume()), tmp_path / "in")
    _, (item,) = bulk.items(tmp_path / "in")
    assert item.name == "in" and item.path == tmp_path / "in"
    with pytest.raises(InputRefused, match="the folder is not there"):
        bulk.items(tmp_path / "in" / "0001.dcm")


def test_the_journal_names_nobody(tmp_path, home) -> None:
    fixture.four(tmp_path / "in" / "Lovelacia", 1, **ADA)
    assert run(tmp_path / "in", "--yes").exit_code == 0
    for path in (home / "imports").iterdir():
        assert set(json.loads(path.read_text())) == {"case"}
    for path in home.rglob("*"):
        assert "Lovelacia" not in path.name
        assert path.is_dir() or b"Lovelacia" not in path.read_bytes()
