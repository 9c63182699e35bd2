"""Which sequence a series is, in the words of many clinics, by its numbers, and by its contrast."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmcore.intake.dicom import words
from bmcore.intake.dicom.found import SURE, Image, SourceFile
from bmcore.intake.dicom.sequence import Verdict, judge
from bmcore.intake.dicom.volumes import Part
from bmcore.intake.sequence_name import contrast

AFTER = """T1 +KM; T1 mit KM; T1 nach KM-Gabe; T1 m.KM; T1_gd; T1 POST GAD; T1c; T1 C+; AX +C;
T1 con contraste; T1 c/contraste; T1 con mdc; T1 m.d.c.; T1 avec injection; T1 après gado;
T1 injecté; T1 com contraste; T1 pós; T1 met contrast; T1 po kontraście; T1 s k.l. kontrast;
T1 med kontrast; T1 kontrastlı; Т1 с контрастом; T1 造影後; T1 增强; postCE T1; T1+C FS; CE-T1;
T1 w contrast; T1 CE; T1_postcontrast; T1 enhanced; T1 dopo mdc; T1 despues de contraste"""
NATIVE = """T1 nativ; T1 SE tra nativ; T1 ohne KM; T1 o. KM; T1 oKM; T1 vor KM; T1 sans injection;
T1 sans gado; T1_sans_gado; T1 non injecté; T1 avant injection; T1 sin contraste; T1 s/c;
T1 senza mdc; T1 sem contraste; T1 zonder contrast; T1 bez kontrastu; Т1 без контраста;
T1 нативная; T1 kontrastsız; T1 造影前; T1 平扫; T1 pre; T1 pre-contrast; T1 w/o contrast;
T1 without gad; T1 unenhanced; T1 non contrast; T1 C-; T1 Gd-; sub-01_ce-none_T1w"""
OPEN = """T1 AX; T1 AX SE +/- GAD; T1 w/wo contrast; T1 mit und ohne KM; T1 avec et sans injection;
T1 con y sin contraste; T1 pre/post; T1 post op; T1 post RT; MPRAGE sag p2 iso; T1 ±KM"""


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.replace("\n", " ").split(";")]


@pytest.mark.parametrize(
    ("said", "answer"),
    [(s, a) for text, a in ((AFTER, True), (NATIVE, False), (OPEN, None)) for s in listed(text)],
)
def test_contrast_in_the_words_of_clinics(said, answer):
    assert contrast(said) is answer


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        ("t2_space_dark-fluid_sag", {"flair"}), ("t2_space_darkfluid_sag", {"flair"}),
        ("TIRM tra dark fluid", {"flair"}), ("FLAIR_longTR", {"flair"}),
        ("3D FLAIR CUBE", {"flair"}), ("Ax T1 FLAIR", {"t1", "flair"}),
        ("T1W_3D_TFE", {"t1"}), ("t1_mprage_sag_p2", {"t1"}), ("mocoMEMPRAGE RMS", {"t1"}),
        ("sub-01_T1w", {"t1"}), ("T2W_TSE", {"t2"}), ("PD/T2 AX TSE", {"pd", "t2"}),
        ("AX T2* GRE", {"t2star"}), ("T2_star", {"t2star"}),
        ("ep2d_diff_ADC", {"map", "diffusion"}), ("T1 post - pre", {"t1", "subtraction"}),
        ("3-Plane Loc", {"localiser"}), ("Т1 аксиально", {"t1"}), ("dp t2", {"pd", "t2"}),
        ("AX T1 POST SUB", {"t1", "subtraction"}), ("relCBF", {"map"}), ("SWI_MIP", {"projection",
        "susceptibility"}), ("STIR cor", {"short inversion"}), ("T2 C-spine", {"t2", "spine"}),
    ],
)  # fmt: skip
def test_kinds_of_images_in_descriptions(said, kinds):
    assert words.claims(said) == kinds


def verdict(said="", agents=False, part=None, **values) -> Verdict:
    usual = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR", "Rows": 64.0,
             "SeriesDescription": said, "ImageType": ["ORIGINAL", "PRIMARY", "M"]}  # fmt: skip
    file = SourceFile(Path("a"), "a")
    images = tuple(Image(file, n, {**usual, **values}) for n in range(12))
    return judge(part or Part(images, None), agents, set())


SE = {"ScanningSequence": "SE"}
GR = {"ScanningSequence": "GR", "SequenceVariant": "SP"}
NUMBERS = [
    ("T1 spin echo", "t1n", {**SE, "RepetitionTime": 550.0, "EchoTime": 12.0}),
    ("3D T1 TSE", "t1n", {**SE, "RepetitionTime": 700.0, "EchoTime": 22.0}),
    ("MPRAGE", "t1n", {**GR, "RepetitionTime": 2300.0, "EchoTime": 2.9, "InversionTime": 900.0}),
    ("SPGR", "t1n", {**GR, "RepetitionTime": 8.0, "EchoTime": 3.2, "FlipAngle": 12.0}),
    ("2D FLASH", "t1n", {**GR, "RepetitionTime": 250.0, "EchoTime": 4.6, "FlipAngle": 70.0}),
    ("T1-FLAIR", "t1n", {**SE, "RepetitionTime": 2200.0, "EchoTime": 20.0, "InversionTime": 860.0}),
    ("T2 TSE", "t2w", {**SE, "RepetitionTime": 4500.0, "EchoTime": 95.0}),
    ("3D T2", "t2w", {**SE, "RepetitionTime": 2500.0, "EchoTime": 280.0}),
    ("FLAIR", "t2f", {**SE, "RepetitionTime": 9000.0, "EchoTime": 90.0, "InversionTime": 2500.0}),
    ("3D FLAIR", "t2f",
     {**SE, "RepetitionTime": 4800.0, "EchoTime": 390.0, "InversionTime": 1650.0}),
    ("low field FLAIR", "t2f",
     {**SE, "RepetitionTime": 4000.0, "EchoTime": 194.0, "InversionTime": 1400.0}),
    ("PD", None, {**SE, "RepetitionTime": 3000.0, "EchoTime": 15.0}),
    ("STIR", None, {**SE, "RepetitionTime": 4000.0, "EchoTime": 60.0, "InversionTime": 160.0}),
    ("T2*", None, {**GR, "RepetitionTime": 620.0, "EchoTime": 20.0, "FlipAngle": 20.0}),
    ("EPI", None, {"ScanningSequence": "EP", "RepetitionTime": 4000.0, "EchoTime": 90.0}),
    ("steady state", None, {"ScanningSequence": "GR", "SequenceVariant": "SS",
                            "RepetitionTime": 5.0, "EchoTime": 2.2, "FlipAngle": 60.0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sequence", "numbers"), NUMBERS, ids=[n for n, _, _ in NUMBERS])
def test_numbers_alone_tell_the_kind(name, sequence, numbers):
    found = verdict("", **numbers)
    assert found.sequence == sequence and (sequence is None or found.confidence >= SURE)


def test_words_and_numbers_that_disagree_are_asked():
    t2 = {**SE, "RepetitionTime": 4500.0, "EchoTime": 95.0}
    assert verdict("T2 AX", **t2).confidence > 0.9
    doubtful = verdict("T1 AX", **t2)
    assert doubtful.confidence < SURE and "its name says T1, its numbers T2" in doubtful.reason
    assert verdict("AX T1 FLAIR", **NUMBERS[5][2]).sequence == "t1n"
    assert verdict("FLAIR", **t2).sequence == "t2f"  # no inversion time is given
    assert verdict("FLAIR").confidence < 0.8 and verdict("").sequence is None


T1 = {**SE, "RepetitionTime": 500.0, "EchoTime": 10.0}


@pytest.mark.parametrize(
    ("said", "agent", "sequence", "sure"),
    [
        ("T1 AX", None, "t1n", True), ("T1 AX", True, "t1c", True), ("T1 AX", False, "t1n", True),
        ("T1 AX nativ", None, "t1n", True), ("T1 AX +KM", None, "t1c", True),
        ("T1 AX nativ", True, "t1n", False), ("T1 AX +KM", False, "t1c", False),
        ("T1 +/- KM", True, "t1c", True), ("T1 +/- KM", None, "t1n", False),
        ("T1 vor und nach KM", None, "t1n", False), ("T1 mit/ohne KM", None, "t1n", False),
        ("T1 vor der KM-Gabe", None, "t1n", True), ("T1 prä KM", None, "t1n", True),
        ("T1 con gadolinio", None, "t1c", True), ("AX T1 POSTCON", None, "t1c", True),
    ],
)  # fmt: skip
def test_contrast_by_tag_and_by_word(said, agent, sequence, sure):
    found = verdict(said, ContrastAgent=agent, **T1)
    assert found.sequence == sequence and (found.confidence >= SURE) is sure


@pytest.mark.parametrize("said", ["T1 çıkarma", "T1 odečet", "T1 substracción", "Synthetic T1",
                                  "T1 permeability", "SyMRI T1", "T1 mapping"])  # fmt: skip
def test_what_was_made_from_images_is_set_aside(said):
    assert verdict(said, **T1).aside and not verdict("T1 brain tumor protocol", **T1).aside


def test_both_words_are_not_doubted_where_the_series_holds_both_volumes():
    image = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
        "Modality": "MR",
        "Rows": 64.0,
        "SeriesDescription": "T1 pre/post",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        **T1,
    }
    images = tuple(Image(SourceFile(Path("a"), "a"), n, image) for n in range(12))  # fmt: skip
    of_two = judge(Part(images, None, of=2), True, set())
    assert of_two.sequence == "t1n" and of_two.confidence >= SURE
    assert judge(Part(images, None), True, set()).confidence < SURE


def test_contrast_told_in_a_functional_group():
    assert verdict("T1 AX", ContrastBolusAgentAdministered="YES", **T1).sequence == "t1c"
    assert verdict("T1 AX", ContrastBolusAgentAdministered="NO", **T1).sequence == "t1n"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "screenshot"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "not MR but CT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", "Modality": "SEG"}, "segmentation"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.22", "Modality": "SR"}, "structured report"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.2"}, "spectroscopy"),
        ({"SamplesPerPixel": 3.0}, "colour picture"),
        ({"BurnedInAnnotation": "YES"}, "text is burned in"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase images"),
        ({"ComplexImageComponent": "REAL"}, "real images"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SUBTRACTION"]}, "subtraction"),
        ({"ImageType": ["DERIVED", "PRIMARY", "ADC"]}, "diffusion"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "projection"),
        ({"DiffusionBValue": 1000.0}, "diffusion"),
        ({"FloatPixels": True}, "computed map"),
        ({"AcquisitionContrast": "PERFUSION"}, "perfusion"),
    ],
)
def test_what_is_none_of_the_four_is_set_aside_with_a_reason(values, why):
    found = verdict("T1 AX", **{**T1, **values})
    assert found.aside and found.sequence is None and why in found.reason


def test_reformats_and_other_parts_of_the_body_are_not_sure():
    mpr = verdict("T1 AX", ImageType=["DERIVED", "SECONDARY", "MPR"], **T1)
    assert mpr.sequence == "t1n" and mpr.reformatted and mpr.confidence < SURE
    ge = verdict("T1 AX", ImageType=["ORIGINAL", "PRIMARY", "MPR"], **T1)
    assert not ge.reformatted and ge.confidence >= SURE
    assert verdict("T1 AX", BodyPartExamined="KNEE", **T1).confidence < SURE
