"""The library of cases and the Yale layout on disk."""

import json
import os

import numpy as np
import openpyxl
import pytest

from bmcore.domain import Case, ClinicalRecord, InputRefused, Primary, Severity, Volume
from bmcore.intake import library
from bmcore.intake.datasets import YaleDataset
from bmcore.origin import Origin
from tests.volumes_fixture import SHAPE, brain_image, make_case, save, save_yale

RECORD = ClinicalRecord(age_years=61, sex="female")


def sentences(call, *args, **kwargs) -> str:
    with pytest.raises(InputRefused) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def mask():
    out = np.zeros(SHAPE, np.uint8)
    out[12:16, 20:24, 14:18] = 3
    return out


def test_an_added_case_is_listed_and_loaded_as_it_was(tmp_path):
    folder = save_yale(tmp_path / "in", mask=mask(), codes="LPS")
    entry = library.add_case(tmp_path, folder, None, RECORD, demo=True)
    assert library.list_cases(tmp_path) == [entry]
    assert entry.demo and entry.has_reference_mask and entry.readable
    assert entry.pseudonym == "BraTS-MET-00110-000" and entry.added.utcoffset().total_seconds() == 0
    assert entry.original_names == {} and entry.sources["t1c"]["given"] == "file 2 of 5"
    case = library.load_case(tmp_path, entry.case_id)
    assert case.clinical == RECORD and case.truth is not None
    expected = make_case(codes="LPS")
    np.testing.assert_array_equal(case.grid.data, expected.grid.data)
    np.testing.assert_allclose(case.grid.affine, expected.grid.affine)


def test_files_of_other_names_are_kept_under_yale_names_and_zipped(tmp_path):
    volume = make_case().grid
    files = {"t1c": save(volume, tmp_path / "a b.nii"), "t2f": tmp_path / "c.nii"}
    save(Volume(brain_image(9), volume.affine), files["t2f"])
    entry = library.add_case(tmp_path, files, "Patient 1/2")
    assert entry.case_id == "Patient-1-2" and entry.sequences == ("t1c", "t2f")
    stored = sorted(p.name for p in entry.folder.iterdir())
    assert stored == ["Patient-1-2-t1c.nii.gz", "Patient-1-2-t2f.nii.gz", "case.json"]
    assert (entry.folder / stored[0]).read_bytes()[:2] == b"\x1f\x8b"
    loaded = library.load_case(tmp_path, "Patient-1-2")
    np.testing.assert_array_equal(loaded.grid.data, volume.data)
    assert any("T1 native (t1n) is missing" in f.sentence for f in loaded.findings)


def test_the_same_files_again_give_the_same_entry_and_other_files_are_refused(tmp_path):
    file = save(make_case().grid, tmp_path / "t1c.nii")
    first = library.add_case(tmp_path, [file], "X", RECORD)
    assert library.add_case(tmp_path, [file], "X", RECORD) == first
    assert library.add_case(tmp_path, [file], "X") == first
    other = ClinicalRecord(age_years=20)
    assert "other clinical values" in sentences(library.add_case, tmp_path, [file], "X", other)
    save(Volume(brain_image(5), make_case().grid.affine), file)
    said = sentences(library.add_case, tmp_path, [file], "X", RECORD)
    assert "already a case X with other images" in said and "give the new case another id" in said
    assert [p.name for p in (tmp_path / "cases").iterdir()] == ["X"]


def test_bad_files_leave_nothing_behind(tmp_path):
    bad = tmp_path / "t1c.nii"
    bad.write_text("no image")
    assert "not a NIfTI image" in sentences(library.add_case, tmp_path, [bad], "X")
    assert library.list_cases(tmp_path) == []


def test_a_failure_while_copying_leaves_no_half_case(tmp_path, monkeypatch):
    file = save(make_case().grid, tmp_path / "t1c.nii")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(library, "write_record", full)
    with pytest.raises(OSError, match="No space left"):
        library.add_case(tmp_path, [file], "X")
    assert list((tmp_path / "cases").iterdir()) == []


def test_the_clinical_record_can_be_changed(tmp_path):
    file = save(make_case().grid, tmp_path / "t1c.nii")
    library.add_case(tmp_path, [file], "X", RECORD)
    library.update_clinical(tmp_path, "X", ClinicalRecord(smoking="never"))
    (entry,) = library.list_cases(tmp_path)
    assert entry.clinical == ClinicalRecord(smoking="never")
    assert library.load_case(tmp_path, "X").clinical == entry.clinical


def test_a_changed_file_is_refused_and_a_damaged_record_does_not_hide_the_others(tmp_path):
    for name in ("X", "Y"):
        library.add_case(tmp_path, [save(make_case().grid, tmp_path / "t1c.nii")], name)
    stored = tmp_path / "cases" / "X" / "X-t1c.nii.gz"
    save(Volume(brain_image(7), make_case().grid.affine), stored)
    assert "X-t1c.nii.gz: the stored file was changed" in sentences(
        library.load_case, tmp_path, "X"
    )
    record = tmp_path / "cases" / "X" / "case.json"
    record.write_text(record.read_text()[:50])
    entries = {e.case_id: e for e in library.list_cases(tmp_path)}
    assert entries["Y"].readable and not entries["X"].readable
    assert entries["X"].findings[0].severity is Severity.REFUSED
    assert "the record of the case is damaged" in sentences(library.get_entry, tmp_path, "X")


@pytest.mark.parametrize("name", ["../X", "", ".", "..", "cases/../X", "X/../X", "nobody"])
def test_no_name_leads_out_of_the_library(tmp_path, name):
    library.add_case(tmp_path, [save(make_case().grid, tmp_path / "t1c.nii")], "X")
    assert "there is no case" in sentences(library.load_case, tmp_path, name)


def test_old_drafts_are_swept_and_fresh_ones_are_kept(tmp_path):
    for name, age_s in (("old", 200_000), ("new", 10)):
        draft = tmp_path / "cases" / f".incoming-{name}"
        draft.mkdir(parents=True)
        then = draft.stat().st_mtime - age_s
        os.utime(draft, (then, then))
    library.add_case(tmp_path, [save(make_case().grid, tmp_path / "t1c.nii")], "X")
    assert sorted(p.name for p in (tmp_path / "cases").iterdir()) == [".incoming-new", "X"]


def test_the_record_on_disk_is_plain_json(tmp_path):
    entry = library.add_case(tmp_path, [save(make_case().grid, tmp_path / "t1c.nii")], "X", RECORD)
    record = json.loads((entry.folder / "case.json").read_text())
    assert record["pseudonym"] == "X" and record["added"].endswith("+00:00")
    assert record["clinical"]["age_years"] == 61 and record["clinical"]["smoking"] is None
    assert (
        list(record["sha256"]) == ["X-t1c.nii.gz"] and len(record["sha256"]["X-t1c.nii.gz"]) == 64
    )


NESTED = "PKG - Pretreat-MetsToBrain-Masks/Pretreat-MetsToBrain-Masks"


def spreadsheet(path, age):
    book = openpyxl.Workbook()
    book.active.title = "Data"
    book.active.append(["BraTS_MET_ID", "Primary", "Sex", "Age"])
    book.active.append([110, 4, 1, age])
    book.save(path)


@pytest.mark.parametrize("nested", ["", "Pretreat-MetsToBrain-Masks", NESTED])
def test_the_yale_layout_is_found_at_every_depth_and_the_newer_spreadsheet_counts(tmp_path, nested):
    save_yale(tmp_path / nested, mask=mask())
    (tmp_path / nested / "BraTS-MET-00111-000").mkdir()
    spreadsheet(tmp_path / "Pretreat-MetsToBrain-Masks_clin_20230918.xlsx", 50)
    spreadsheet(tmp_path / nested / "Pretreat-MetsToBrain-Masks_clin_20240410.xlsx", 60)
    data = YaleDataset(tmp_path)
    assert data.case_ids == ("BraTS-MET-00110-000",)
    case = data.load("BraTS-MET-00110-000")
    assert case.clinical == ClinicalRecord(age_years=60, sex="female")
    assert case.truth.primary is Primary.MELANOMA
    assert (case.truth.mask.data == 3).sum() == 64  # the 4 x 4 x 4 cube of mask()
    assert "no case BraTS-MET-00111-000" in sentences(data.load, "BraTS-MET-00111-000")


def test_a_yale_folder_without_spreadsheet_says_so_and_an_empty_one_is_refused(tmp_path):
    save_yale(tmp_path / "data")
    data = YaleDataset(tmp_path / "data")
    assert data.table.records == {} and "no spreadsheet" in data.table.findings[0].what
    assert data.load("BraTS-MET-00110-000").truth.primary is None
    (tmp_path / "empty").mkdir()
    assert "no case in the Yale layout" in sentences(YaleDataset, tmp_path / "empty")


def test_images_from_memory_are_kept_with_the_way_back(tmp_path):
    case = make_case()
    doubt = "the image ends within the brain at the left"
    origin = Origin((9, 8, 7), np.diag([1.0, 2, 3, 1]), {"t2f": np.eye(4)}, "by hand", doubt)
    images = dict(case.sequences)
    own = Case("X", images, RECORD, (), None, doubt, origin)
    entry = library.add_volumes(tmp_path, own, {"t1c": {"sha256": "0" * 64}})
    assert entry.case_id == "case-0001" and entry.sources["t1c"]["sha256"] == "0" * 64
    loaded = library.load_case(tmp_path, entry.case_id)
    assert loaded.side_doubt == doubt and loaded.clinical == RECORD
    assert loaded.origin.as_dict() == origin.as_dict()
    for name, volume in images.items():
        assert np.array_equal(loaded.sequences[name].data, volume.data)
        np.testing.assert_allclose(loaded.sequences[name].affine, volume.affine, atol=1e-6)
    assert library.add_volumes(tmp_path, own).case_id == "case-0001"  # the same images
    assert library.add_volumes(tmp_path, own, case_id="Y").case_id == "Y"


def test_a_damaged_way_back_is_told(tmp_path):
    entry = library.add_volumes(tmp_path, make_case())
    record = json.loads((entry.folder / "case.json").read_text())
    record["origin"] = {"shape": [9, 8], "affine": np.eye(4).tolist(), "moves": {},
                        "extraction": "", "side_doubt": None}  # fmt: skip
    (entry.folder / "case.json").write_text(json.dumps(record))
    assert "the record of the case is damaged" in sentences(
        library.get_entry, tmp_path, entry.case_id
    )
