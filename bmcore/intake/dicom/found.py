"""What was found in what a user brought: patients, examinations, series; and what is chosen of it.

Descriptions, patients' IDs, dates and UIDs in here are for the screen. What may be stored comes out
of ``convert``: volumes, and findings that name sequences.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import Finding, InputRefused
from bmcore.intake.raw import RawStudy

__all__ = [
    "SURE",
    "ChoiceNeeded",
    "ExaminationFound",
    "Image",
    "PatientFound",
    "RawStudy",
    "SeriesFound",
    "SourceFile",
    "Stack",
    "StudyChoice",
    "StudyFound",
    "title",
]

SURE = 0.7  # below, the user is asked


class ChoiceNeeded(InputRefused):
    """The files can be used once the user says which patient, examination or series is meant."""


@dataclass(frozen=True)
class SourceFile:
    """A file as it lies here, and what the user calls it. given: in which of the given paths.

    closed: why an archive that lay beside other files was not opened.
    """

    path: Path
    name: str
    given: int = 0
    closed: str = ""


@dataclass(frozen=True)
class Image:
    """One frame of one file. values: by the names of ``tags``."""

    file: SourceFile
    frame: int
    values: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        value = self.values.get(name)
        return default if value is None else value


@dataclass(frozen=True, eq=False)
class Stack:
    """Images in the order in which they lie, one beside the other.

    affine: from (column, row, slice) to world RAS+ mm. shape: (columns, rows, slices).
    """

    images: tuple[Image, ...]
    affine: npt.NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        first = self.images[0]
        return int(first.get("Columns")), int(first.get("Rows")), len(self.images)


@dataclass(frozen=True, eq=False)
class SeriesFound:
    """A series, or one volume of a series that holds several.

    label: what it is called on the command line: the scanner's number, with a letter where that is
    not enough ("3b").
    kind: what it shows, in words. sequence: t1n, t1c, t2w, t2f, or None where it is none of them.
    confidence: 0-1 in ``sequence``. reason: why it was taken for that, or set aside.
    problems: why it cannot be used, though it may be wanted. notes: what else was noticed.
    images: all its images; stack: those in order, None where they are no volume.
    part: what tells the volume from others of its series, in words.
    surely_after: that it is after contrast agent is said by its own name, or by its tag where a
    native T1 without that tag lies beside it.
    coverage: 0-1, how much it covers of what the series of its examination cover of the head.
    """

    label: str
    uid: str
    number: int | None
    description: str
    kind: str
    sequence: str | None
    confidence: float
    reason: str
    images: tuple[Image, ...]
    stack: Stack | None = None
    problems: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    reformatted: bool = False
    fat_suppressed: bool = False
    part: str = ""
    surely_after: bool = False
    coverage: float = 1.0

    @property
    def described(self) -> str:
        """The description, and which volume of the series it is."""
        return f"{self.description} ({self.part})".strip() if self.part else self.description

    @property
    def title(self) -> str:
        return title(self.label, self.described)

    @property
    def group_title(self) -> str:
        """The whole series, where this is one of its volumes."""
        return title("" if self.number is None else str(self.number), self.description)

    @property
    def files(self) -> tuple[SourceFile, ...]:
        return tuple(dict.fromkeys(image.file for image in self.images))

    @property
    def usable(self) -> bool:
        return self.stack is not None and not self.problems


def title(label: str, description: str) -> str:
    """A series in words, as the user may know it."""
    return f'series {label} "{description}"' if description else f"series {label}"


@dataclass(frozen=True, eq=False)
class ExaminationFound:
    """A study of DICOM: one patient on one date. label: its number in ``StudyFound``."""

    label: str
    uid: str
    date: str
    series: tuple[SeriesFound, ...]


@dataclass(frozen=True, eq=False)
class PatientFound:
    """label: the patient's ID as the files give it. identity: what a pseudonym is made of."""

    label: str
    identity: str
    examinations: tuple[ExaminationFound, ...]


@dataclass(eq=False)
class StudyFound:
    """All that was found. ``close`` removes what was unpacked; also a context manager.

    absent: series UID -> how many images a DICOMDIR names that are not there.
    """

    patients: tuple[PatientFound, ...]
    notes: tuple[Finding, ...] = ()
    unpacked: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)
    absent: Mapping[str, int] = field(default_factory=dict)

    def examinations(self) -> Iterator[tuple[PatientFound, ExaminationFound]]:
        for patient in self.patients:
            for examination in patient.examinations:
                yield patient, examination

    def close(self) -> None:
        if self.unpacked is not None:
            self.unpacked.cleanup()
            self.unpacked = None

    def __enter__(self) -> StudyFound:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class StudyChoice:
    """Which series is which sequence, of one examination. notes: what was decided, and why."""

    patient: PatientFound
    examination: ExaminationFound
    series: Mapping[str, SeriesFound]
    notes: tuple[Finding, ...] = ()
