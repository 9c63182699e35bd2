"""Contrast agent by the tags of DICOM, the coverage of the head, and what is mixed in one stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmcore.domain import InputRefused
from bmcore.intake.dicom import ChoiceNeeded, choose, read_study, to_raw
from bmcore.intake.dicom.agent import said
from bmcore.intake.sequence_name import contrast
from tests import dicom_fixture as fixture
from tests.test_intake_dicom_choice import asked, chosen

NOT_GIVEN = """NO; N; no; não; kein KM; KM nein; KM: nein; keine Gabe; PRE; pre contrast; W/O;
W/O CONTRAST; 0 ml; 0ml; 0; KM: 0 ml; NON CONTRAST; No-contrast; NOCONTRAST; None given; nil given;
aucun produit; pas de contraste; нет КВ; не вводился; 無; なし; 未使用; 없음; 造影剤なし; o. KM;
ohne; plain; UNENHANCED; uden; utan; ilman; brak; sans Dotarem; ohne Gadovist; NULL"""
GIVEN = """Gadovist; GADOVIST 1.0; DOTAREM 0.5 mmol/ml; ProHance 15 ml; Gd-DTPA; gadolinium; KM;
Kontrastmittel; contrast; yes; Y; ja; oui; 15 ml; 7,5ml; 0.1 mmol/kg; i.v. KM; avec; KM gegeben;
Магневист; Гадовист; マグネビスト; ガドビスト; 钆布醇; 造影剤; 가도비스트; Feraheme; Resovist; C+;
Gadoteridol 279.3mg/ml; produit de contraste; גדוליניום; Γαδολίνιο"""
UNCLEAR = """Bayer; XYZ-2000; IV; 7; Gadovist?; NaCl 20 ml; gadolinium allergy; contrast unknown;
with and without contrast; ohne KM 7 ml; geplant: Gadovist"""
NOTHING = "; ?; -; N/A; unknown; ."


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (text.strip(), answer)
        for texts, answer in (
            (NOT_GIVEN, "not given"), (GIVEN, "given"), (UNCLEAR, "unclear"), (NOTHING, "nothing"),
        )
        for text in texts.split(";")
    ],
)  # fmt: skip
def test_what_a_contrast_tag_says(text, answer):
    assert said(text).value == answer


def examination(folder: Path, change=None, **tags: dict) -> Path:
    """The four sequences; tags: sequence -> further tags."""
    for number, name in enumerate(fixture.TIMES, start=1):
        made = fixture.slices(fixture.volume(number), name, number, **tags.get(name, {}))
        if change is not None:
            change(name, made)
        fixture.save(made, folder / name)
    return folder


@pytest.mark.parametrize("said_by_tag", ["NO", "kein KM", "0 ml", "PRE", "無"])
def test_a_tag_that_says_no_leaves_a_t1_native(tmp_path, said_by_tag):
    native = {"ContrastBolusAgent": said_by_tag, "SeriesDescription": "T1 MPRAGE"}
    folder = examination(tmp_path / "a", t1n={**native, "MRAcquisitionType": "3D"})
    assert chosen(folder) == {"t1n": "1", "t1c": "2", "t2w": "3", "t2f": "4"}


@pytest.mark.parametrize(
    "tags",
    [
        {"ContrastBolusAgent": "XYZ-2000"},
        {"ContrastBolusAgent": "Gadovist", "ContrastBolusVolume": 0},
        {"ContrastBolusAgent": "NO", "ContrastBolusTotalDose": 7},
    ],
)
def test_a_tag_that_cannot_be_understood_is_asked_unless_the_name_speaks(tmp_path, tags):
    fixture.save(
        fixture.slices(fixture.volume(), SeriesDescription="T1 AX", **tags), tmp_path / "a"
    )
    assert "is this T1 post-gadolinium (t1c)? It is not sure" in asked(tmp_path / "a")
    fixture.save(fixture.slices(fixture.volume(), **tags), tmp_path / "b")
    assert chosen(tmp_path / "b") == {"t1c": "1"}


def test_a_volume_or_dose_of_0_is_no_agent(tmp_path):
    none = {"ContrastBolusAgent": None, "ContrastBolusVolume": 0, "ContrastBolusTotalDose": 0}
    folder = examination(tmp_path / "a", t1n=none)
    with read_study(folder) as found:
        first = found.patients[0].examinations[0].series[0]
    assert first.sequence == "t1n" and "native by its contrast tag" in first.reason


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("T1 SE axial (KM Gabe nach dieser Serie)", False),
        ("T1 contrast given after this series", False), ("T1 KM-Gabe vor dieser Serie", True),
        ("T1 gado après cette séquence", False), ("T1 post contrast series", True),
        ("T1 nach KM Serie 2", True),
    ],
)  # fmt: skip
def test_agent_given_after_the_series(text, given):
    assert contrast(text) is given


def test_a_tag_in_every_series_says_nothing(tmp_path):
    def tag(_, made):
        for one in made:
            one.ContrastBolusAgent = "Gadovist"

    native = {"SeriesDescription": "T1 MPRAGE", "MRAcquisitionType": "3D"}
    folder = examination(tmp_path / "a", tag, t1n=native, t1c={"SeriesDescription": "T1 TSE GD"})
    assert chosen(folder) == {"t1n": "1", "t1c": "2", "t2w": "3", "t2f": "4"}
    unnamed = {"SeriesDescription": "T1 TSE"}
    told = asked(examination(tmp_path / "b", tag, t1n=native, t1c=unnamed))
    assert "T1 post-gadolinium" in told and "stands in every series and says nothing" in told


def test_a_tag_in_the_first_localiser_says_nothing(tmp_path):
    agent = {"ContrastBolusAgent": "Gadovist"}
    native = {**agent, "SeriesDescription": "T1 MPRAGE", "MRAcquisitionType": "3D"}
    folder = examination(tmp_path / "a", t1n=native)
    assert chosen(folder)["t1c"] == "2"  # its name says so; of the 3D only the tag does
    made = fixture.slices(fixture.volume(9), "t1n", 9, SeriesDescription="localizer", **agent)
    for one in made:
        one.AcquisitionTime = "095500"
    fixture.save(made, folder / "x")
    assert chosen(folder) == {"t1n": "1", "t1c": "2", "t2w": "3", "t2f": "4"}


# --- coverage of the head ------------------------------------------------------------------------

WHOLE = ((40, 34, 26), fixture.oblique((5.5, 6, 5.5)))
SLAB = ((60, 60, 40), fixture.oblique((3, 3, 0.8)))


def heads(folder: Path, leave: tuple[str, ...] = ()) -> Path:
    for number, name in enumerate(fixture.TIMES, start=1):
        if name not in leave:
            made = fixture.slices(fixture.volume(number, *WHOLE), name, number)
            fixture.save(made, folder / name)
    return folder


@pytest.mark.parametrize(
    ("sequence", "description"),
    [("t1c", "T1 3D IAC GD"), ("t2w", "T2 SPACE IAC"), ("t2f", "FLAIR 3D")],
)
def test_a_slab_is_not_taken_for_the_whole_head(tmp_path, sequence, description):
    kind = {"SeriesDescription": description, "MRAcquisitionType": "3D"}
    slab = fixture.slices(fixture.volume(9, *SLAB), sequence, 12, **kind)
    fixture.save(slab, heads(tmp_path / "a") / "slab")
    assert "12" not in chosen(tmp_path / "a").values()
    only = heads(tmp_path / "b", leave=(sequence,))
    fixture.save(slab, only / "slab")
    with read_study(only) as found:
        choice = choose(found)
    assert choice.series[sequence].label == "12"
    told = [note for note in choice.notes if "covers only a part of the head" in note.what]
    assert [note.file for note in told] == [f'series 12 "{description}"']
    assert told[0].found == "32 mm from feet to head, where other series cover 143 mm"


def test_a_series_that_was_stopped_is_not_taken_for_the_whole_one(tmp_path):
    folder = heads(tmp_path / "a", leave=("t1c",))
    affine = fixture.oblique((5.5, 6, 2.4))
    for number, count in ((2, 15), (7, 60)):
        made = fixture.slices(fixture.volume(number, (40, 34, count), affine), "t1c", number)
        fixture.save(made, folder / str(number))
    assert chosen(folder)["t1c"] == "7"


def test_two_pieces_of_one_series_are_asked(tmp_path):
    made = fixture.slices(fixture.volume(3, (40, 34, 30)), "t1c", 2)
    for one in made[22:]:
        one.SeriesInstanceUID = fixture.made_uid("rest")
    fixture.save(made, tmp_path / "a")
    assert "may be two pieces of one" in asked(tmp_path / "a")


# --- mixed stacks --------------------------------------------------------------------------------


def mixed(folder: Path, after: slice, **later: object) -> Path:
    """A series of 24 slices of which ``after`` are of a second measurement, with agent."""
    shape = (40, 34, 24)
    made = fixture.slices(fixture.volume(1, shape), "t1n", 2, SeriesDescription="T1 AX GD")
    second = fixture.slices(
        fixture.volume(2, shape), "t1c", 2, SeriesDescription="T1 AX GD", **later
    )
    made[after] = second[after]
    return fixture.save(made, folder)


@pytest.mark.parametrize("after", [slice(12, 24), slice(0, 24, 2), slice(7, 8), slice(1, 24)])
def test_slices_before_and_after_agent_in_one_stack_are_refused(tmp_path, after):
    mixed(tmp_path / "a", after, AcquisitionNumber=2, AcquisitionTime="102500")
    with read_study(tmp_path / "a") as found, pytest.raises(InputRefused) as caught:
        to_raw(choose(found), tmp_path / "home")
    count = len(range(24)[after])
    assert "its slices are from before and after contrast agent, by their tags" in str(caught.value)
    assert f"{count} of 24 name an agent" in str(caught.value)


@pytest.mark.parametrize(("time", "told"), [("102500", True), ("100600", False)])
def test_a_long_pause_within_one_stack_is_said(tmp_path, time, told):
    made = fixture.slices(fixture.volume(1), "t1c", 2, AcquisitionTime="100200")
    for number, one in enumerate(made):
        if number % 2:  # a second package of slices
            one.AcquisitionTime, one.AcquisitionNumber = time, 2
    fixture.save(made, tmp_path / "a")
    with read_study(tmp_path / "a") as found:
        notes = choose(found).notes
    assert any("a long pause between" in note.what for note in notes) is told


# --- patients without an ID ----------------------------------------------------------------------


@pytest.mark.parametrize("nobody", ["", "anonymous"])
@pytest.mark.parametrize(
    "differ", [{"PatientSex": "M"}, {"PatientAge": "075Y"}, {"PatientBirthDate": "19610101"}]
)
def test_without_an_id_sex_age_and_birth_tell_patients_apart(tmp_path, nobody, differ):
    who = {"PatientID": nobody, "PatientName": nobody, "PatientSex": "F", "PatientAge": "040Y"}
    for number, (name, own) in enumerate((("t1c", {}), ("t2f", differ)), start=1):
        made = fixture.slices(fixture.volume(number), name, number, **{**who, **own})
        fixture.save(made, tmp_path / "a")
    with read_study(tmp_path / "a") as found, pytest.raises(ChoiceNeeded, match="2 patients"):
        choose(found)
    assert np.prod([len(p.examinations) for p in found.patients]) == 1
