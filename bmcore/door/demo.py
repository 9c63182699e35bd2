"""A small synthetic study as a DICOM zip, to try the door with; written at first use.

One synthetic patient, four sequences each on an oblique grid of its own, and two series that belong
to no sequence. Nothing in it is of a person.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from bmcore import disk
from bmcore.domain import Volume
from bmcore.geometry import resample, transform
from bmcore.intake.dicom.write import uid_of, write_series
from bmcore.phantom.cohort import PhantomCase, draw_case

NAME = "bmcore-demo-study.zip"
SEED = 7_000_000_012  # beside those of the demo cases, so no model was trained on it
_STUDY = {
    "PatientName": "Demo^Synthetic", "PatientID": "DEMO-STUDY", "PatientBirthDate": "",
    "PatientSex": "", "StudyDate": "20260105", "StudyTime": "101500", "StudyID": "1",
    "AcquisitionDate": "20260105", "StudyDescription": "Synthetic head MRI",
    "BodyPartExamined": "BRAIN", "Manufacturer": "bmcore phantom", "ReferringPhysicianName": "",
    "AccessionNumber": "", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
}  # fmt: skip


@dataclass(frozen=True)
class _Series:
    """Of the demo study. turn_deg: about the three axes of the world; mm: voxels."""

    sequence: str
    description: str
    turn_deg: tuple[float, float, float]
    mm: tuple[float, float, float]
    values: dict[str, object]


_SERIES = (
    _Series("t1n", "T1 ax", (4, 0, 2), (1.0, 1.0, 4.0),
            {"RepetitionTime": 500, "EchoTime": 10, "ScanningSequence": "SE"}),
    _Series("t2w", "T2 ax TSE", (-3, 2, 0), (0.9, 0.9, 4.0),
            {"RepetitionTime": 4200, "EchoTime": 98, "ScanningSequence": "SE"}),
    _Series("t2f", "FLAIR ax", (2, -2, 3), (1.0, 1.0, 4.5),
            {"RepetitionTime": 9000, "EchoTime": 110, "InversionTime": 2500,
             "ScanningSequence": ["SE", "IR"]}),
    _Series("t1c", "T1 ax post gadolinium", (5, 1, -2), (1.0, 1.0, 3.0),
            {"RepetitionTime": 520, "EchoTime": 10, "ScanningSequence": "SE",
             "ContrastBolusAgent": "Gadobutrol"}),
)  # fmt: skip


def place(home: Path) -> Path:
    """Where the zip lies, or will lie."""
    return disk.private_folder(disk.open_home(Path(home)) / "demo") / NAME


def study(home: Path) -> Path:
    """The zip in ``home``, made where it is not there yet; takes some seconds then."""
    path = place(home)
    with FileLock(path.with_suffix(".lock"), mode=disk.FILE_MODE):
        if not path.exists():
            with tempfile.TemporaryDirectory(prefix="bmcore-") as work, disk.beside(path) as new:
                write_folder(Path(work), draw_case(SEED))
                _pack(Path(work), new)
    return path


def write_folder(folder: Path, case: PhantomCase) -> None:
    """The files of the study, a folder a series, as a scanner's archive lays them out."""
    shared = {**_STUDY, "StudyInstanceUID": uid_of("bmcore demo study", case.seed),
              "FrameOfReferenceUID": uid_of("bmcore demo frame", case.seed)}  # fmt: skip
    number = 1
    scout = Volume(case.images["t1n"][::2, ::2, 60:63] * 1.0, _scout_affine(case))
    write_series(scout, folder / f"S{number:03d}", {**shared, **_kind("Localizer", 10, 5)}, number)
    for series in _SERIES:
        number += 1
        volume = _sampled(case, series)
        values = {**shared, **_kind(series.description, 0, 0), **series.values}
        write_series(volume, folder / f"S{number:03d}", values, number)
    number += 1
    diffusion = Volume(case.images["t2w"][::2, ::2, ::6] * 0.5, _coarse_affine(case))
    values = {**shared, **_kind("ADC map", 5000, 90), "ImageType": ["DERIVED", "PRIMARY", "ADC"]}
    write_series(diffusion, folder / f"S{number:03d}", values, number)


def _kind(description: str, repetition: float, echo: float) -> dict[str, object]:
    return {
        "SeriesDescription": description, "ProtocolName": description, "SequenceVariant": "SK",
        "RepetitionTime": repetition, "EchoTime": echo, "ScanningSequence": "SE",
        "MRAcquisitionType": "2D", "FlipAngle": 90, "AcquisitionNumber": 1,
    }  # fmt: skip


def _scout_affine(case: PhantomCase) -> np.ndarray:
    affine = case.affine.copy()
    affine[:3, 3] = transform(case.affine, (0, 0, 60))
    affine[:3, :3] *= (2, 2, 10)
    return affine


def _coarse_affine(case: PhantomCase) -> np.ndarray:
    affine = case.affine.copy()
    affine[:3, :3] *= (2, 2, 6)
    return affine


def _sampled(case: PhantomCase, series: _Series) -> Volume:
    """The sequence on its own oblique grid, slices averaged over their thickness."""
    image = case.images[series.sequence]
    turn = _turned(series.turn_deg) @ np.diag([-1.0, -1.0, 1.0])  # columns to the left, rows back
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image.shape])).reshape(3, -1).T
    along = transform(case.affine, corners) @ turn
    low, high = along.min(0) - 4, along.max(0) + 4
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * series.mm, turn @ low
    counts = np.ceil((high - low) / series.mm).astype(int) + 1
    shape = (int(counts[0]), int(counts[1]), int(counts[2]))
    layers = max(1, round(series.mm[2]))
    total = np.zeros(shape, np.float32)
    for layer in range(layers):
        moved = affine.copy()
        moved[:3, 3] += affine[:3, 2] * ((layer + 0.5) / layers - 0.5)
        total += resample(image, case.affine, moved, shape)
    return Volume(total / layers, affine)


def _turned(degrees: tuple[float, float, float]) -> np.ndarray:
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        a, b = [n for n in range(3) if n != axis]
        own = np.eye(3)
        own[a, a] = own[b, b] = np.cos(angle)
        own[a, b], own[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ own
    return turn


def _pack(folder: Path, path: Path) -> None:
    with (
        disk.create(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, True, 6) as zipped,
    ):
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                part = zipfile.ZipInfo(
                    f"DEMO/{one.relative_to(folder).as_posix()}", (2026, 1, 5, 0, 0, 0)
                )
                part.compress_type = zipfile.ZIP_DEFLATED
                zipped.writestr(part, one.read_bytes())
