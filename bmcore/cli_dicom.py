"""``predict`` for DICOM: what was found as a table, the user's choices, and the case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bmcore.domain import SEQUENCES, refuse

if TYPE_CHECKING:
    from bmcore.intake.dicom import StudyFound
    from bmcore.intake.raw import RawStudy


@dataclass(frozen=True)
class Wanted:
    """What the user says of the images: paths, a path for a sequence, series and examination.

    study: several are read as one. same_patient: so are all that are of one visit.
    """

    paths: Sequence[Path]
    named: Mapping[str, Path]
    series: Sequence[str]
    study: Sequence[str] = ()
    same_patient: bool = False

    @property
    def all_paths(self) -> list[Path]:
        return [*self.paths, *self.named.values()]


def is_dicom(wanted: Wanted) -> bool:
    """True where the paths are for the door of DICOM; InputRefused for DICOM and NIfTI together."""
    from bmcore.intake.dicom import holds_dicom, holds_packed

    paths = [path for path in wanted.all_paths if path.exists()]
    dicom = [path for path in paths if holds_dicom([path]) or holds_packed(path)]
    if dicom and len(dicom) < len(paths):
        raise refuse(
            "DICOM and other files were named together",
            found=f"DICOM in {dicom[0].name}, none in "
            + ", ".join(path.name for path in paths if path not in dicom),
            expected="the sequences of one patient in one format",
        )
    if not dicom and (wanted.series or wanted.study):
        raise refuse("--series and --study are for DICOM", found="no DICOM image")
    return bool(dicom)


def read(wanted: Wanted, case_id: str | None, home: Path) -> RawStudy:
    """The volumes, each on its own grid, with what was noticed.

    The table of what was found is printed on stderr before anything is chosen.
    """
    from bmcore.intake import dicom

    with dicom.read_study(wanted.all_paths) as brought:
        found, study = brought, next(iter(wanted.study), None)
        if len(wanted.study) > 1:
            found, study = dicom.together(brought, wanted.study), None
        elif wanted.same_patient and study is None:
            found = dicom.as_one_visit(brought)
        typer.echo(dicom.table(found), err=True)
        series = {**_by_path(wanted, found), **_by_word(wanted.series)}
        return dicom.to_raw(dicom.choose(found, series, study), home, case_id)


def _by_word(words: Sequence[str]) -> dict[str, str]:
    """``t1c=7`` to ``{"t1c": "7"}``."""
    named: dict[str, str] = {}
    for word in words:
        name, sign, label = word.partition("=")
        if not sign or not label or name.strip() not in SEQUENCES:
            raise refuse(
                "--series is not understood",
                found=word,
                expected=f"SEQUENCE=NUMBER with one of {', '.join(SEQUENCES)}, for instance t1c=7",
            )
        if name.strip() in named:
            raise refuse(f"--series names {name.strip()} twice", found=" ".join(words))
        named[name.strip()] = label.strip()
    return named


def _by_path(wanted: Wanted, found: StudyFound) -> dict[str, str]:
    """The series that lies at the path named for each sequence."""
    named = {}
    for place, (name, path) in enumerate(wanted.named.items(), start=len(wanted.paths)):
        there = [
            series
            for _, examination in found.examinations()
            for series in examination.series
            if any(file.given == place for file in series.files)
        ]
        fitting = [s for s in there if s.sequence == name] or [
            s for s in there if s.stack is not None or s.problems
        ]
        if len(fitting) != 1:
            raise refuse(
                f"what was named for {name} is not one series",
                file=path.name,
                found=", ".join(s.title for s in fitting or there) or "no series",
                expected="the folder of one series",
                hint=f"name the examination, and --series {name}=NUMBER.",
            )
        named[name] = fitting[0].label
    return named
