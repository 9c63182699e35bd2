"""What was found in an arrival, as plain values that a page, a table or a file can hold.

A file of NIfTI counts as a series here, so that one road serves both formats. Names, dates and
descriptions in it are for the screen of whoever brought them; they live as long as the arrival.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bmcore import disk
from bmcore.domain import SEQUENCE_NAMES, SEQUENCES
from bmcore.plain import load_json

NONE = "none"


@dataclass(frozen=True)
class SeriesRow:
    """label: what a choice names it by. name: as its user knows it. kind: what it shows, in words.

    sequence: what it was taken for; confidence: 0-1 in that; reason: why, or why it was set aside.
    usable: it is a volume that can be chosen. problems: why not. size: matrix and voxels, in words.
    """

    label: str
    name: str
    kind: str
    sequence: str | None
    confidence: float
    reason: str
    images: int = 1
    usable: bool = True
    problems: tuple[str, ...] = ()
    size: str = ""


@dataclass(frozen=True)
class ExaminationRow:
    """One patient at one time. proposed: sequence -> label; questions: sequence -> what is asked,
    where the proposal is not sure. notes: what else was noticed. case_id: the pseudonym of the
    patient and the examination; "" where the files name none."""

    label: str
    patient: str
    date: str
    series: tuple[SeriesRow, ...]
    proposed: Mapping[str, str] = field(default_factory=dict)
    questions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    case_id: str = ""

    @property
    def title(self) -> str:
        told = ", ".join(text for text in (self.patient, self.date) if text)
        there = ", ".join(SEQUENCE_NAMES[s] for s in SEQUENCES if s in self.proposed)
        return f"{told or 'No name, no date'}: {there or 'none of the four sequences'}"

    def row(self, label: str) -> SeriesRow | None:
        return next((row for row in self.series if row.label == label), None)


@dataclass(frozen=True)
class Found:
    """kind: "dicom" or "nifti". files: how many were looked at. notes: on all of them."""

    kind: str
    examinations: tuple[ExaminationRow, ...]
    files: int
    notes: tuple[str, ...] = ()

    def examination(self, label: str) -> ExaminationRow | None:
        return next((e for e in self.examinations if e.label == label), None)

    @property
    def likeliest(self) -> ExaminationRow | None:
        """The only examination that holds any of the sequences; None where there are several."""
        holding = [e for e in self.examinations if e.proposed] or list(self.examinations)
        return holding[0] if len(holding) == 1 else None


def save(found: Found, path: Path) -> None:
    disk.write(path, json.dumps(asdict(found)))


def load(path: Path) -> Found:
    told = load_json(path)
    examinations = tuple(
        ExaminationRow(
            e["label"],
            e["patient"],
            e["date"],
            tuple(SeriesRow(**{**row, "problems": tuple(row["problems"])}) for row in e["series"]),
            e["proposed"],
            e["questions"],
            tuple(e["notes"]),
            e["case_id"],
        )
        for e in told["examinations"]
    )
    return Found(told["kind"], examinations, told["files"], tuple(told["notes"]))


def faults(examination: ExaminationRow, series: Mapping[str, str]) -> list[str]:
    """What is wrong with a choice (sequence -> label or "none"), a sentence each."""
    told = []
    chosen = [label for label in series.values() if label != NONE]
    for label in dict.fromkeys(chosen):
        row = examination.row(label)
        if row is None:
            told.append(f"There is no series {label}.")
            continue
        if chosen.count(label) > 1:
            names = [SEQUENCE_NAMES[s] for s, own in series.items() if own == label]
            told.append(f"{row.name} is chosen for {' and for '.join(names)}; it can be one.")
        if not row.usable:
            told.append(f"{row.name} cannot be used: {'; '.join(row.problems) or row.reason}.")
    if series.get("t1c", NONE) == NONE:
        told.append("T1 post-gadolinium is needed; nothing can be said without it.")
    return told


def numbered(sizes: Sequence[int], millimetres: Sequence[float]) -> str:
    """ "256 × 256 × 40 of 0.9 × 0.9 × 4.0 mm"."""
    matrix = " × ".join(str(n) for n in sizes)
    return f"{matrix} of {' × '.join(f'{mm:.1f}' for mm in millimetres)} mm"
