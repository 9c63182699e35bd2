"""Patients, dates and series are kept apart, and what is not sure is asked."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest

from bmcore.domain import InputRefused, Severity, Volume
from bmcore.intake.dicom import ChoiceNeeded, choose, read_study, table, to_raw
from bmcore.intake.dicom.deidentify import KEY_FILE, Pseudonyms, naming_words, pseudonyms_of, shown
from tests import dicom_fixture as fixture


def asked(folder, **choice) -> str:
    with read_study(folder) as found, pytest.raises(ChoiceNeeded) as caught:
        choose(found, **choice)
    return str(caught.value)


def chosen(folder, **choice) -> dict[str, str]:
    """Sequence -> label of the series."""
    with read_study(folder) as found:
        return {n: s.label for n, s in choose(found, **choice).series.items()}


def raw(folder, home, **choice):
    with read_study(folder) as found:
        return to_raw(choose(found, **choice), home)


# --- patients and dates --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "patients"),
    [
        ({}, {"PatientID": "P2"}, 2),
        ({}, {"PatientBirthDate": "19610101"}, 2),
        ({}, {"PatientName": "Other^One", "PatientSex": "M"}, 2),
        ({}, {"PatientName": "Ничья^Иная", "SpecificCharacterSet": "ISO_IR 192"}, 1),
        ({"PatientID": ""}, {"PatientID": "", "PatientName": "Other^One"}, 2),
        ({"PatientID": "0"}, {"PatientID": "0", "PatientName": "NOBODY^AT ALL"}, 1),
        ({"IssuerOfPatientID": "A"}, {"IssuerOfPatientID": "B"}, 2),
        ({}, {"PatientBirthDate": None}, 1),
    ],
)
def test_who_is_another_patient_though_all_uids_are_equal(tmp_path, first, second, patients):
    made = fixture.slices(fixture.volume(), **first)
    other = fixture.slices(fixture.volume(), **second)
    for one in other:
        one.SOPInstanceUID += ".1"
    fixture.save(made, tmp_path / "a")
    if patients == 1:
        other = other[:3]  # copies
    fixture.save(other, tmp_path / "a")
    if patients == 2:
        assert "the files hold 2 patients" in asked(tmp_path / "a")
    with read_study(tmp_path / "a") as found:
        assert len(found.patients) == patients
        for patient in found.patients:
            assert patient.examinations[0].series[0].usable


def test_two_patients_are_asked_and_either_can_be_chosen(tmp_path):
    fixture.four(tmp_path / "a")
    other = fixture.four(tmp_path / "b", study=1, PatientID="P2")
    for path in (tmp_path / "b").rglob("*.dcm"):
        target = tmp_path / "a" / f"{path.parent.name}-{path.name}"
        path.rename(target)
    told = asked(tmp_path / "a")
    assert "2 patients" in told and "1: P1, 2023-01-01" in told and "2: P2" in told
    study = raw(tmp_path / "a", tmp_path / "home", study="2")
    assert fixture.agrees(study.volumes["t1c"], other["t1c"])


def test_two_dates_are_asked_and_never_mixed(tmp_path):
    fixture.four(tmp_path / "a", 1)
    fixture.four(tmp_path / "a", 5)
    for path in (tmp_path / "a" / "S51").iterdir():
        path.unlink()
    told = asked(tmp_path / "a")
    assert "2 examinations of one patient; the newer has no T1 native" in told
    assert "1: 2023-01-01 (t1n, t1c, t2w, t2f), 2: 2023-01-05 (t1c, t2w, t2f)" in told
    assert set(chosen(tmp_path / "a", study="2023-01-05")) == {"t1c", "t2w", "t2f"}
    with read_study(tmp_path / "a") as found, pytest.raises(InputRefused, match="no such"):
        choose(found, study="7")


def test_one_study_uid_on_two_dates_is_two_examinations(tmp_path):
    made = fixture.slices(fixture.volume(), "t1c")
    later = fixture.slices(
        fixture.volume(1), "t1c", AcquisitionDate="20230620", StudyDate="20230620"
    )
    fixture.save(made, tmp_path / "a")
    fixture.save(later, tmp_path / "a")
    assert "2 examinations of one patient" in asked(tmp_path / "a")


def test_single_images_of_another_patient_are_left_out_and_said(tmp_path):
    source = fixture.volume()
    fixture.save(fixture.slices(source), tmp_path / "a")
    fixture.save(fixture.slices(fixture.volume(2), PatientID="P2")[:1], tmp_path / "a")
    study = raw(tmp_path / "a", tmp_path / "home")
    assert fixture.agrees(study.volumes["t1c"], source)
    note = study.findings[0]
    assert "another patient or date were left out" in note.what and "P2" in note.found


def test_over_midnight_is_one_examination(tmp_path):
    made = fixture.slices(fixture.volume(), "t1c")
    for one in made[6:]:
        one.AcquisitionDate = "20230102"
    fixture.save(made, tmp_path / "a")
    assert chosen(tmp_path / "a") == {"t1c": "1"}


# --- several volumes in one series ---------------------------------------------------------------


def two_volumes(folder, change, **tags) -> tuple[Volume, Volume]:
    """Two volumes at the same places in one series; ``change(slice, number)`` marks the second."""
    first, second = fixture.volume(1), fixture.volume(2)
    made = fixture.slices(first, "t1n", **tags)
    more = fixture.slices(second, "t1n", **tags)
    for number, one in enumerate(more):
        one.SOPInstanceUID += ".2"
        change(one, number)
    fixture.save([one for pair in zip(made, more, strict=True) for one in pair], folder)
    return first, second


def test_before_and_after_contrast_in_one_series_are_taken_apart(tmp_path):
    first, second = two_volumes(
        tmp_path / "a", lambda one, number: setattr(one, "ContrastBolusAgent", "Gd")
    )
    study = raw(tmp_path / "a", tmp_path / "home")
    assert fixture.agrees(study.volumes["t1n"], first)
    assert fixture.agrees(study.volumes["t1c"], second)
    assert any("two volumes in one series" in note.what for note in study.findings)


@pytest.mark.parametrize("mark", ["AcquisitionNumber", "TemporalPositionIdentifier"])
def test_two_volumes_that_nothing_tells_apart_by_contrast_are_asked(tmp_path, mark):
    first, second = two_volumes(tmp_path / "a", lambda one, number: setattr(one, mark, 2))
    told = asked(tmp_path / "a")
    assert "two series fit T1 native (t1n) equally well" in told
    study = raw(tmp_path / "a", tmp_path / "home", series={"t1n": "1a", "t1c": "1b"})
    assert fixture.agrees(study.volumes["t1n"], first)
    assert fixture.agrees(study.volumes["t1c"], second)


def test_a_second_volume_that_lies_a_little_further_on(tmp_path):
    def change(one, number):
        one.AcquisitionNumber = 2
        place = [float(v) for v in one.ImagePositionPatient]
        one.ImagePositionPatient = [f"{v:.6f}" for v in (*place[:2], place[2] + 0.8)]

    two_volumes(tmp_path / "a", change)
    with read_study(tmp_path / "a") as found:
        assert [s.usable for s in found.patients[0].examinations[0].series] == [True, True]


def test_packages_of_slices_are_one_volume(tmp_path):
    """Every second slice was measured first; that is no reason to take them apart."""
    source = fixture.volume()
    made = fixture.slices(source)
    for k, one in enumerate(made):
        one.AcquisitionNumber, one.AcquisitionTime = 1 + k % 2, f"10010{k % 2}"
    fixture.save(made, tmp_path / "a")
    assert fixture.agrees(raw(tmp_path / "a", tmp_path / "home").volumes["t1c"], source)
    (tmp_path / "a" / "0006.dcm").unlink()
    with read_study(tmp_path / "a") as found:
        (series,) = found.patients[0].examinations[0].series
    assert "slice missing between slice 5 and 6" in series.problems[0].what


@pytest.mark.parametrize("thick", [3.6, None])
@pytest.mark.parametrize("axis", [0, 2])
def test_packages_between_which_the_patient_moved_are_no_two_volumes(tmp_path, axis, thick):
    """Sideways by 3 mm, or along the slices by 1 of 4 mm; thickness is not always told."""
    made = fixture.slices(fixture.volume(), SliceThickness=thick)
    normal = np.cross(*np.array(made[0].ImageOrientationPatient, float).reshape(2, 3))
    way = {0: 3 * np.array(made[0].ImageOrientationPatient[:3], float), 2: normal}[axis]
    for k, one in enumerate(made):
        one.AcquisitionNumber = 1 + k % 2
        moved = np.array(one.ImagePositionPatient, float) + way * (k % 2)
        one.ImagePositionPatient = [f"{v:.6f}" for v in moved]
    fixture.save(made, tmp_path / "a")
    said = {
        0: ("are not stacked one behind the other"),
        2: "unevenly spaced" if thick else "too few",
    }
    with pytest.raises(InputRefused, match=said[axis]):
        raw(tmp_path / "a", tmp_path / "home")


def test_echoes_are_taken_apart_and_the_other_is_named(tmp_path):
    first, second = fixture.volume(1), fixture.volume(2)
    made = fixture.slices(first, "t2w", SeriesDescription="PD/T2", EchoTime=12)
    more = fixture.slices(second, "t2w", SeriesDescription="PD/T2")
    for one in more:
        one.SOPInstanceUID += ".2"
    fixture.save([*made, *more], tmp_path / "a")
    fixture.save(fixture.slices(fixture.volume(3), "t1c", 2), tmp_path / "a")
    study = raw(tmp_path / "a", tmp_path / "home")
    assert fixture.agrees(study.volumes["t2w"], second)
    told = " ".join(note.what for note in study.findings)
    assert "TE 100 taken as T2, TE 12 left (proton density)" in told


def test_magnitude_and_phase(tmp_path):
    first, _ = two_volumes(
        tmp_path / "a",
        lambda one, number: setattr(one, "ImageType", ["ORIGINAL", "PRIMARY", "P", "ND"]),
        ContrastBolusAgent="Gd",
    )
    study = raw(tmp_path / "a", tmp_path / "home")
    assert fixture.agrees(study.volumes["t1c"], first)
    assert any(note.what == "phase images left" for note in study.findings)


def test_a_series_over_time_is_set_aside(tmp_path):
    for time in range(5):
        made = fixture.slices(fixture.volume(time), TemporalPositionIdentifier=time + 1)
        for one in made:
            one.SOPInstanceUID += f".{time}"
        fixture.save(made, tmp_path / "a")
    with read_study(tmp_path / "a") as found:
        series = found.patients[0].examinations[0].series
    assert len(series) == 5 and all(s.sequence is None for s in series)
    assert "one of 5 volumes of one series" in series[0].reason


def test_time_points_of_an_enhanced_file(tmp_path):
    first, second = fixture.volume(1), fixture.volume(2)
    frames = fixture.slices(first) + fixture.slices(second, TemporalPositionIdentifier=2)
    order = np.random.default_rng(0).permutation(24).tolist()
    fixture.save([fixture.enhanced(frames, order)], tmp_path / "a")
    study = raw(tmp_path / "a", tmp_path / "home", series={"t1n": "1a", "t1c": "1b"})
    assert fixture.agrees(study.volumes["t1n"], first)
    assert fixture.agrees(study.volumes["t1c"], second)


# --- the same image twice, images of another plane -----------------------------------------------


def test_copies_are_dropped_and_conflicts_refused(tmp_path):
    source = fixture.volume()
    made = fixture.slices(source)
    fixture.save(made, tmp_path / "a")
    fixture.save(made[2:6], tmp_path / "a", name="{} (1).dcm")
    again = fixture.slices(source)[5:9]
    for one in again:
        one.SOPInstanceUID += ".1"
    rle = fixture.uid.RLELossless
    fixture.save(again, tmp_path / "a", lambda one: fixture.to_bytes(one, rle), "again{}")
    with read_study(tmp_path / "a") as found:
        (series,) = found.patients[0].examinations[0].series
        assert series.notes[0].what == "8 copies of images were dropped"
        study = to_raw(choose(found), tmp_path / "home")
    assert fixture.agrees(study.volumes["t1c"], source)
    other = made[7]
    other.PixelData = made[2].PixelData
    fixture.save([other], tmp_path / "a", name="other{}")
    with pytest.raises(InputRefused) as caught:
        raw(tmp_path / "a", tmp_path / "home")
    assert "two different images with one identity" in str(caught.value)


def test_a_whole_copy_replaces_a_cut_file(tmp_path):
    source = fixture.volume()
    made = fixture.slices(source)
    fixture.save(made, tmp_path / "a")
    path = tmp_path / "a" / "0004.dcm"
    path.write_bytes(path.read_bytes()[:-300])
    fixture.save(made[3:4], tmp_path / "a", name="whole{}")
    assert fixture.agrees(raw(tmp_path / "a", tmp_path / "home").volumes["t1c"], source)


def test_slices_twice_that_differ_and_have_no_mark_are_refused(tmp_path):
    made = fixture.slices(fixture.volume(1))
    more = fixture.slices(fixture.volume(2))[4:6]
    for one in more:
        one.SOPInstanceUID += ".2"
    fixture.save([*made, *more], tmp_path / "a")
    with pytest.raises(InputRefused, match="several images lie at the same place"):
        raw(tmp_path / "a", tmp_path / "home")


def test_a_stray_image_is_left_out_and_named_and_a_localiser_set_aside(tmp_path):
    source = fixture.volume()
    stray = fixture.slices(source)[0]
    stray.ImageOrientationPatient, stray.SOPInstanceUID = [0, 1, 0, 0, 0, -1], "1.2.3"
    fixture.save([*fixture.slices(source), stray], tmp_path / "a")
    planes = [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1]]
    loc = fixture.slices(fixture.volume(3), "t1n", 2, SeriesDescription="")[:9]
    for number, one in enumerate(loc):
        one.ImageOrientationPatient = planes[number % 3]
        one.ImagePositionPatient = [number, number, number]
    fixture.save(loc, tmp_path / "loc")
    with read_study(tmp_path) as found:
        first, second = found.patients[0].examinations[0].series
        study = to_raw(choose(found), tmp_path / "home")
    assert "one image of another plane left out of T1 AX GD" in first.notes[0].what
    assert "0013.dcm" in first.notes[0].found and "localiser" in second.reason
    assert fixture.agrees(study.volumes["t1c"], source)


def test_two_planes_of_few_images_are_refused_as_mixed(tmp_path):
    made = fixture.slices(fixture.volume())[:4]
    for one in made[2:]:
        one.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    fixture.save(made, tmp_path / "a")
    with pytest.raises(InputRefused, match="the series mixes 2 orientations"):
        raw(tmp_path / "a", tmp_path / "home")


# --- which series --------------------------------------------------------------------------------


def test_the_original_before_its_reformat_3d_before_2d_axial_before_others(tmp_path):
    def add(number, text, seed, **tags):
        made = fixture.slices(fixture.volume(seed), "t1c", number, SeriesDescription=text, **tags)
        fixture.save(made, tmp_path / "a")

    mpr = ["DERIVED", "SECONDARY", "MPR"]
    add(1, "T1 AX GD", 1)
    add(2, "T1 3D GD MPR", 2, MRAcquisitionType="3D", ImageType=mpr)
    add(3, "T1 3D GD", 3, MRAcquisitionType="3D")
    assert chosen(tmp_path / "a") == {"t1c": "3"}
    assert chosen(tmp_path / "a", series={"t1c": "1"}) == {"t1c": "1"}
    with read_study(tmp_path / "a") as found:
        uid = found.patients[0].examinations[0].series[1].uid
        told = " ".join(note.what for note in choose(found).notes)
    assert "3 series after contrast: the 3D original taken" in told
    assert chosen(tmp_path / "a", series={"t1c": uid}) == {"t1c": "2"}


def test_only_a_reformat_is_asked(tmp_path):
    tags = {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}
    fixture.save(fixture.slices(fixture.volume(), **tags), tmp_path / "a")
    told = asked(tmp_path / "a")
    assert "is this T1 post-gadolinium (t1c)?" in told and "--series t1c=1" in told


def test_a_sequence_can_be_left_out_or_told(tmp_path):
    fixture.four(tmp_path / "a")
    assert chosen(tmp_path / "a", series={"t2w": "none"}) == {"t1n": "1", "t1c": "2", "t2f": "4"}
    assert chosen(tmp_path / "a", series={"t1c": "1", "t1n": "2"})["t1c"] == "1"
    with read_study(tmp_path / "a") as found:
        notes = choose(found, series={"t1c": "1", "t1n": "none"}).notes
        assert notes[0].severity is Severity.WARNING and notes[0].found == "by its header T1 native"
        for series, match in (
            ({"t1c": "9"}, "there is no such series"),
            ({"t1c": "1", "t1n": "1"}, "two sequences"),
            ({"t9": "1"}, "unknown sequence"),
        ):
            with pytest.raises(InputRefused, match=match):
                choose(found, series=series)


def test_a_series_with_a_fault_is_passed_over_for_a_whole_one_and_that_is_said(tmp_path):
    made = fixture.slices(fixture.volume(1), "t1c", 1, MRAcquisitionType="3D")
    fixture.save(made[:5] + made[6:], tmp_path / "a")
    fixture.save(fixture.slices(fixture.volume(2), "t1c", 2), tmp_path / "a")
    with read_study(tmp_path / "a") as found:
        choice = choose(found)
    assert choice.series["t1c"].label == "2"
    told = [n.what for n in choice.notes if n.severity is Severity.WARNING]
    assert told == ["not used, as it has a fault: slice missing between slice 5 and 6"]


def test_without_t1c_every_series_is_listed(tmp_path):
    fixture.save(fixture.slices(fixture.volume(), "t2w"), tmp_path / "a")
    with pytest.raises(InputRefused) as caught:
        raw(tmp_path / "a", tmp_path / "home")
    told = str(caught.value)
    assert "there is no T1 image after gadolinium" in told and 'series 1 "T2 AX": T2' in told


def test_the_table_has_a_row_a_series_with_its_reason(tmp_path):
    fixture.four(tmp_path / "a")
    with read_study(tmp_path / "a") as found:
        lines = table(found).splitlines()
    assert lines[0] == "Examination 1: 2023-01-01" and len(lines) == 6
    assert lines[3].split()[:3] == ["2", "t1c", "12"] and "contrast tag" in lines[3]


# --- nobody's name -------------------------------------------------------------------------------

SECRETS = ("Zoltanescu", "Quetzal", "Vukovarsky", "Oyelaran", "Tervonen", "19500203", "2023-01-01",
           "P-77-31", "Гуггенбихлер")  # fmt: skip


def test_what_may_be_stored_holds_nothing_of_the_headers(tmp_path):
    tags = {
        "SpecificCharacterSet": "ISO_IR 192", "PatientName": "Zoltanescu^Гуггенбихлер",
        "PatientID": "P-77-31", "OtherPatientIDs": "Quetzal", "OperatorsName": "Vukovarsky",
        "InstitutionName": "Oyelaran", "Manufacturer": "Tervonen",
    }  # fmt: skip
    for number, name in enumerate(fixture.TIMES, start=1):
        text = f"{fixture.NAMES[name]} Zoltanescu {number} Quetzal"
        made = fixture.slices(fixture.volume(number), name, number, **tags, SeriesDescription=text)
        block = made[0].private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", b"Zoltanescu")
        fixture.save(made, tmp_path / "Zoltanescu")
    (tmp_path / "Zoltanescu" / "Quetzal.txt").write_text("no DICOM")
    with read_study(tmp_path / "Zoltanescu") as found:
        text = table(found)
        study = to_raw(choose(found), tmp_path / "home")
    shown_text = text + " ".join(note.sentence for note in study.findings)
    assert not [s for s in SECRETS if s in shown_text and s not in ("Quetzal", "2023-01-01")]
    stored = json.dumps([study.case_id, dict(study.technical), [repr(f) for f in study.stored]])
    assert not [s for s in SECRETS if s in stored]
    assert "RepetitionTime" in stored and "taken as T1" in stored


def test_pseudonyms_are_stable_and_their_key_is_private(tmp_path):
    fixture.four(tmp_path / "a")
    first, second = raw(tmp_path / "a", tmp_path / "home"), raw(tmp_path / "a", tmp_path / "home")
    assert first.case_id == second.case_id != raw(tmp_path / "a", tmp_path / "other").case_id
    key = tmp_path / "home" / KEY_FILE
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and len(key.read_bytes()) == 32
    uid = pseudonyms_of(tmp_path / "home").uid("1.2.03.x")
    assert fixture.uid.UID(uid).is_valid and first.technical["t1c"]["series_uid"].startswith(
        "2.25."
    )
    key.write_bytes(b"short")
    with pytest.raises(InputRefused, match="key of the pseudonyms is damaged"):
        pseudonyms_of(tmp_path / "home")
    with pytest.raises(ValueError, match="32 bytes"):
        Pseudonyms(b"short")


def test_names_are_blotted_out_of_descriptions():
    naming = naming_words(["Müller^Łucja", "12-345", "山田^太郎", "Li"])
    assert shown("T1 Müller, ŁUCJA\n12-345", naming) == "T1 …, … …"
    assert shown("頭部山田 T2 xmüllerx", naming) == "頭部… T2 x…x"
    assert shown("T1 axial li " + "x" * 100, naming).startswith("T1 axial li x")
    assert len(shown("x" * 1000, set())) == 64


def test_dates_move_together_for_one_patient_or_are_dropped(tmp_path, monkeypatch):
    """Order and intervals stay; the day itself, and the shift of another patient, do not."""
    from datetime import date

    from bmcore.settings import settings

    days = {("A", 1): "20230103", ("A", 2): "20230412", ("B", 3): "20230103"}
    for (patient, study), day in days.items():
        tags = {"PatientID": patient, "StudyDate": day, "AcquisitionDate": day}
        fixture.save(fixture.slices(fixture.volume(study), "t1c", 1, study, **tags),
                     tmp_path / "in" / f"{patient}{study}")  # fmt: skip

    def kept() -> list[str | None]:
        settings.cache_clear()
        out = []
        for patient, study in days:
            with read_study(tmp_path / "in" / f"{patient}{study}") as found:
                raw = to_raw(choose(found), tmp_path / "home")
            assert "20230" not in str(raw.technical) and "2023-0" not in str(raw.technical)
            out.append(raw.technical["t1c"].get("date_shifted"))
        return out

    assert kept() == [None, None, None]
    monkeypatch.setenv("BMCORE_DATES", "shift")
    try:
        first, second, other = (date.fromisoformat(day) for day in kept())
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert (second - first).days == 99 and first != other
    assert 366 <= (date(2023, 1, 3) - first).days <= 1825


def test_a_moved_date_needs_the_key():
    from bmcore.intake.dicom.deidentify import Pseudonyms

    one, two = Pseudonyms(b"a" * 32), Pseudonyms(b"b" * 32)
    assert one.moved("P1", "2023-01-03") == one.moved("P1", "2023-01-03")
    assert len({p.moved(i, "2023-01-03") for p in (one, two) for i in ("P1", "P2")}) == 4
    assert one.moved("P1", "without a date") is None and one.moved("P1", "0001-01-03") is None
