"""Chosen series to volumes, on their own grids or as a Case; and what of them may be stored."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import (
    Case,
    ClinicalRecord,
    Finding,
    InputRefused,
    Severity,
    Volume,
    refuse,
)
from bmcore.geometry import same_grid
from bmcore.intake import gatekeeper, treated
from bmcore.intake.child import Limits, ask
from bmcore.intake.dicom.choose import NONE, TAKEN
from bmcore.intake.dicom.deidentify import pseudonyms_of
from bmcore.intake.dicom.found import Image, RawStudy, SeriesFound, StudyChoice, title
from bmcore.intake.dicom.pieces import piece, seconds_for
from bmcore.intake.naming import clean_case_id
from bmcore.intake.nifti import describe_grid
from bmcore.intake.nifti_file import MAX_VOXELS
from bmcore.intake.raw import content_digest
from bmcore.settings import settings

_VENDORS = ("siemens", "ge", "philips", "canon", "toshiba", "hitachi", "fujifilm", "united imaging",
            "hyperfine", "bruker", "esaote", "neusoft")  # fmt: skip
_CODES = {
    "ScanningSequence": {"SE", "IR", "GR", "EP", "RM"},
    "SequenceVariant": {"SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE"},
    "MRAcquisitionType": {"2D", "3D"},
}
_TIMES = ("RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength",
          "MagneticFieldStrength", "SliceThickness")  # fmt: skip


def to_raw(choice: StudyChoice, home: Path, case_id: str | None = None) -> RawStudy:
    """Read the chosen series: float32 (column, row, slice), affine to world RAS+ mm.

    home: where the key of the pseudonyms lies. case_id: a pseudonym of the patient and the
    examination where None. InputRefused with every problem of every chosen series.
    """
    volumes: dict[str, Volume] = {}
    problems: list[Finding] = []
    notes = list(choice.notes)
    for name, series in choice.series.items():
        try:
            volumes[name], own = read_volume(series)
            notes += own
        except InputRefused as error:
            problems += [_hinted(finding, name) for finding in error.findings]
    if "t1c" not in choice.series:
        problems.append(_no_t1c(choice))
    if problems:
        raise InputRefused(*problems)
    notes += gatekeeper.missing(volumes)
    notes += treated.doubt(series.description for series in choice.series.values())
    names = pseudonyms_of(home)
    own_id = names.case_id(choice.patient.identity, choice.examination.uid)
    day = None
    if settings().dates == "shift":
        day = names.moved(choice.patient.identity, choice.examination.date)
    moved = {} if day is None else {"date_shifted": day}
    technical = {
        name: {**_technical(series), **moved, "series_uid": names.uid(series.uid),
               "given": _given(choice, series), "content_sha256": content_digest(volumes[name])}
        for name, series in choice.series.items()
    }  # fmt: skip
    return RawStudy(
        clean_case_id(case_id) if case_id else own_id,
        volumes,
        tuple(notes),
        _stored(choice, notes),
        technical,
    )


def _hinted(finding: Finding, name: str) -> Finding:
    if name == "t1c":
        return finding
    hint = f"send or copy the series again; or leave it out: --series {name}={NONE}."
    return replace(finding, hint=hint)


def to_case(raw: RawStudy, clinical: ClinicalRecord | None = None) -> Case:
    """The volumes as a Case, with the findings that may be stored.

    InputRefused where they lie on different grids: then they have to be registered first.
    """
    first = raw.volumes["t1c"]
    problems = [
        Finding(
            Severity.REFUSED,
            f"{name} is on a different grid from t1c",
            found=describe_grid(volume),
            expected=describe_grid(first),
            hint="register and resample the sequences onto one grid first.",
        )
        for name, volume in raw.volumes.items()
        if not same_grid(first, volume)
    ]
    if problems:
        raise InputRefused(*problems)
    return Case(raw.case_id, raw.volumes, clinical or ClinicalRecord(), raw.stored)


def read_volume(series: SeriesFound) -> tuple[Volume, tuple[Finding, ...]]:
    """The voxels of one series; InputRefused with all its problems."""
    if series.problems or series.stack is None:
        none = Finding(
            Severity.REFUSED, f"the series is not a volume: {series.reason}", series.title
        )
        raise InputRefused(*(series.problems or (none,)))
    shape = series.stack.shape
    if math.prod(shape) > MAX_VOXELS:
        raise refuse("the series is too large", file=series.title, found=shape)
    pieces = [piece(image) for image in series.stack.images]
    notes = _one_scale(pieces, series)
    with tempfile.TemporaryDirectory(prefix="bmcore-") as folder:
        out = Path(folder) / "voxels"
        job = {"pieces": pieces, "out": str(out)}
        told = ask("dicom voxels", job, series.title, Limits(seconds_for(pieces)))
        data = np.asarray(np.memmap(out, np.float32, "r", shape=shape, order="F"))
    if told["least"] == told["most"]:
        raise refuse(
            "the image is empty: every voxel has the same value",
            file=series.title,
            found=f"{told['least']:g} everywhere",
            expected="an MRI image",
            hint="check the export.",
        )
    if told["written"]:
        what = "text may be burned into its images; look at them before they are passed on"
        notes.append(Finding(Severity.WARNING, what, series.title, f"{told['written']} images"))
    return Volume(data, series.stack.affine), tuple(notes)


def read_image(image: Image) -> npt.NDArray[np.float32]:
    """The values of one image alone: (column, row), as they are shown, not to be measured."""
    own = piece(image)
    with tempfile.TemporaryDirectory(prefix="bmcore-") as folder:
        out = Path(folder) / "voxels"
        ask("dicom voxels", {"pieces": [own], "out": str(out)}, image.file.name,
            Limits(seconds_for([own])))  # fmt: skip
        shape = (int(image.get("Columns")), int(image.get("Rows")))
        return np.array(np.memmap(out, np.float32, "r", shape=shape, order="F"))


def _one_scale(pieces: Sequence[dict[str, Any]], series: SeriesFound) -> list[Finding]:
    """Philips: where the slices' two scales do not agree, the stored values are brought to one.

    The signal is stored / scale slope, up to an offset; it equals the rescaled value over (rescale
    slope x scale slope), which is constant in an ordinary series.
    """
    images = series.stack.images if series.stack else ()
    own = [image.get("PhilipsScaleSlope") for image in images]
    if not own or any(scale is None or scale <= 0 for scale in own):
        return []
    both = [float(p["RescaleSlope"]) * float(s) for p, s in zip(pieces, own, strict=True)]
    if min(both) <= 0 or max(both) / min(both) < 1.001:
        return []
    for one, factor in zip(pieces, both, strict=True):
        one["RescaleSlope"] = float(one["RescaleSlope"]) / factor
        one["RescaleIntercept"] = float(one["RescaleIntercept"]) / factor
    what = (
        "its slices have different scales; their values were brought to one scale by the scale "
        "slope"
    )
    return [Finding(Severity.WARNING, what, series.title)]


def _given(choice: StudyChoice, series: SeriesFound) -> str:
    number = choice.examination.series.index(series) + 1
    return f"series {number} of {len(choice.examination.series)}"


def _technical(series: SeriesFound) -> dict[str, str]:
    """Values of the measurement that may be stored: numbers, codes of the standard, vendors."""
    first = series.images[0]
    told = {name: f"{first.get(name):g}" for name in _TIMES if first.get(name) is not None}
    for name, allowed in _CODES.items():
        codes = [c for c in str(first.get(name, "")).upper().split("\\") if c in allowed]
        if codes:
            told[name] = "\\".join(codes)
    maker = str(first.get("Manufacturer", "")).lower()
    told["Manufacturer"] = next((v for v in _VENDORS if maker.startswith(v)), "other")
    return {**told, "images": str(len(series.images))}


def _stored(choice: StudyChoice, notes: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings as they may be stored: no description, file, patient, date or UID in them.

    What a finding says is in our own words; what it found may quote the files, and is left out
    but for the reasons of a choice, which are our own words too.
    """
    names: dict[str, str] = {}
    sequences = {series.label: name for name, series in choice.series.items()}
    for series in choice.examination.series:
        own = sequences.get(series.label) or _given(choice, series)
        names.setdefault(series.group_title, own)
        names[series.title] = own
        names[title(series.label, series.description)] = own
    quoted = sorted({s.description for s in choice.examination.series if s.description}, key=len)

    def clean(finding: Finding) -> Finding:
        what = finding.what
        for text in reversed(quoted):
            what = what.replace(f"out of {text}", "out of it")
        found = finding.found if what.startswith(TAKEN) else None
        file = None if finding.file is None else names.get(finding.file, "a file")
        return Finding(finding.severity, what, file, found)

    return tuple(clean(finding) for finding in notes)


def _no_t1c(choice: StudyChoice) -> Finding:
    there = [f"{s.title}: {s.kind}" for s in choice.examination.series if s.stack is not None]
    return Finding(
        Severity.REFUSED,
        "there is no T1 image after gadolinium (t1c), and nothing can be said without it",
        found="; ".join(there) or "no series that is a volume",
        expected="t1c and, if there, t1n, t2w, t2f",
        hint="if one of these series is the T1 after gadolinium, name it: --series t1c=NUMBER.",
    )
