"""Each public layout is recognised by its names, and told from the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmcore.domain import InputRefused
from bmcore.intake import layouts
from bmcore.intake.layouts import LAYOUTS, LayoutCase


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def yale(folder: Path, *ids: str) -> Path:
    return lay(folder, *(f"{i}/{i}-{k}.nii.gz" for i in ids for k in ("t1n", "t1c", "t2f", "seg")))


def names(case: LayoutCase) -> dict[str, str]:
    return {kind: path.name for kind, path in case.files.items()}


def only(folder: Path) -> tuple[str, LayoutCase]:
    recognised = layouts.recognise(folder)
    assert recognised is not None
    name, (case,) = recognised
    return name, case


def test_the_yale_data_set_as_it_unpacks(tmp_path: Path) -> None:
    nested = "PKG - Pretreat-MetsToBrain-Masks/Pretreat-MetsToBrain-Masks"
    yale(tmp_path / nested, "BraTS-MET-00086-000")
    for folder in (tmp_path, tmp_path / nested):
        name, case = only(folder)
        assert name == "yale" and set(case.files) == {"t1n", "t1c", "t2f", "seg"}
        assert case.ids == ("86",) and case.notes == () and case.mask == "2023"


def test_brats_mets_says_which_patients_are_in_the_yale_data_set_too(tmp_path: Path) -> None:
    ids = ("BraTS-MET-00001-000", "BraTS-MET-00086-000", "BraTS-MET-00310-001")
    yale(tmp_path / "set", *ids, "BraTS-MET-00311-000")
    recognised = layouts.recognise(tmp_path / "set")
    assert recognised is not None and recognised[0] == "brats-mets"
    doubled = {case.own_id for case in recognised[1] if case.notes}
    assert doubled == {ids[1], ids[2]}
    assert recognised[1][1].patient == "BraTS-MET-00086"
    assert "most likely the same patient" in recognised[1][1].notes[0].what


def test_ucsf_takes_the_labels_of_brats_and_says_that_its_t2_is_computed(tmp_path: Path) -> None:
    stems = ("T1pre", "T1post", "T2Synth", "FLAIR", "seg", "BraTS-seg", "subtraction")
    place = tmp_path / "UCSF_BrainMetastases_TRAIN"
    lay(place, *(f"100101A/100101A_{s}.nii.gz" for s in stems))
    lay(place, "100101B/100101B_T1post.nii.gz", "100101B/100101B_FLAIR.nii.gz")
    for folder in (tmp_path, place):
        recognised = layouts.recognise(folder)
        assert recognised is not None and recognised[0] == "ucsf-bmsr"
        first, second = recognised[1]
        assert names(first)["seg"] == "100101A_BraTS-seg.nii.gz" and set(first.files) > {"t2w"}
        assert first.patient == second.patient == "100101"
        assert "not measured" in first.notes[0].what and second.notes == ()


def test_brainmetshare_takes_bravo_and_has_no_t2(tmp_path: Path) -> None:
    stems = ("bravo", "flair", "t1_pre", "t1_gd", "seg")
    lay(tmp_path / "train", *(f"Mets_005/{stem}.nii.gz" for stem in stems))
    name, case = only(tmp_path)
    assert name == "brainmetshare" and case.mask == "lesion"
    assert names(case) == {"t1n": "t1_pre.nii.gz", "t1c": "bravo.nii.gz", "t2f": "flair.nii.gz",
                           "seg": "seg.nii.gz"}  # fmt: skip
    assert "left: the spin echo (t1_gd)" in case.notes[0].sentence


def test_bids_reads_contrast_from_its_entity_and_sessions_apart(tmp_path: Path) -> None:
    anat = "sub-01/ses-a/anat/sub-01_ses-a"
    lay(tmp_path, f"{anat}_T1w.nii.gz", f"{anat}_ce-gadolinium_T1w.nii.gz", f"{anat}_FLAIR.nii",
        f"{anat}_ce-gadolinium_FLAIR.nii.gz", f"{anat}_run-1_T2w.nii.gz",
        f"{anat}_run-2_T2w.nii.gz", f"{anat}_PDw.nii.gz", "sub-01/ses-a/dwi/sub-01_ses-a_dwi.nii",
        "sub-01/ses-b/anat/sub-01_ses-b_ce-gd_T1w.nii.gz", "participants.tsv",
        "derivatives/lesions/sub-01/ses-a/anat/sub-01_ses-a_dseg.nii.gz")  # fmt: skip
    recognised = layouts.recognise(tmp_path)
    assert recognised is not None and recognised[0] == "bids"
    first, second = recognised[1]
    assert names(first) == {
        "t1n": "sub-01_ses-a_T1w.nii.gz", "t1c": "sub-01_ses-a_ce-gadolinium_T1w.nii.gz",
        "t2w": "sub-01_ses-a_run-1_T2w.nii.gz", "t2f": "sub-01_ses-a_FLAIR.nii",
        "seg": "sub-01_ses-a_dseg.nii.gz",
    }  # fmt: skip
    assert "run-2" in first.notes[0].sentence and first.ids == ("sub-01", "01")
    assert (second.own_id, set(second.files)) == ("sub-01_ses-b", {"t1c"})


def test_a_table_names_the_files_of_each_case(tmp_path: Path) -> None:
    lay(tmp_path, "a/x.nii.gz", "a/y.nii", "b.nii.gz")
    table = tmp_path / "cases.csv"
    table.write_text("Case;T1C;T1N;patient\nA1;a/x.nii.gz;a/y.nii;P1\nA2;b.nii.gz;;P1\n")
    recognised = layouts.recognise(tmp_path)
    assert recognised is not None and recognised[0] == "csv"
    assert [(c.own_id, c.patient, names(c)) for c in recognised[1]] == [
        ("A1", "P1", {"t1n": "y.nii", "t1c": "x.nii.gz"}), ("A2", "P1", {"t1c": "b.nii.gz"}),
    ]  # fmt: skip


def test_a_table_with_faults_is_refused_with_each_of_them(tmp_path: Path) -> None:
    lay(tmp_path / "set", "x.nii.gz")
    lay(tmp_path, "outside.nii.gz")
    table = tmp_path / "set" / "cases.csv"
    table.write_text(
        "case,t1c\nA,x.nii.gz\nA,x.nii.gz\n,x.nii.gz\nB,gone.nii\nC,../outside.nii.gz\n"
    )
    with pytest.raises(InputRefused) as caught:
        layouts.recognise(tmp_path / "set")
    told = str(caught.value)
    assert len(caught.value.findings) == 4 and "row 5: gone.nii" in told and "../outside" in told
    table.write_text("name,t1c\nA,x.nii.gz\n")
    with pytest.raises(InputRefused, match="needs the columns case and t1c"):
        layouts.recognise(tmp_path / "set")


def test_other_folders_are_no_layout(tmp_path: Path) -> None:
    lay(tmp_path, "Müller/T1.nii.gz", "Schmidt/DICOM/IM1", "notes.txt")
    assert layouts.recognise(tmp_path) is None
    assert layouts.recognise(tmp_path / "notes.txt") is None
    for name in LAYOUTS:
        with pytest.raises(InputRefused, match="not laid out"):
            layouts.find(tmp_path, name)
    with pytest.raises(InputRefused, match="no such layout"):
        layouts.find(tmp_path, "mine")


def test_letters_of_another_size_hide_no_file_of_the_yale_layout(tmp_path: Path) -> None:
    own = "BraTS-MET-00086-000"
    nested = tmp_path / "Pretreat-MetsToBrain-Masks" / own
    lay(nested, f"{own}-t1c.nii.gz", f"{own}-t2f.NII.GZ", f"{own}-T2W.nii.gz")
    _, case = only(nested.parent)
    assert set(case.files) == {"t1c", "t2f", "t2w"}
