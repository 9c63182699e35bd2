"""A choice of series to volumes, each on its own grid: from DICOM and from NIfTI alike."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bmcore.domain import SEQUENCE_NAMES, InputRefused, refuse
from bmcore.door.found import NONE
from bmcore.door.look import Brought, as_nifti
from bmcore.intake import dicom, gatekeeper
from bmcore.intake.dicom.found import SourceFile, StudyFound
from bmcore.intake.naming import propose_all
from bmcore.intake.nifti import choose_files, read_raw
from bmcore.intake.raw import RawStudy


def raw(
    brought: Brought, series: Mapping[str, str], study: str | None, home: Path
) -> tuple[RawStudy, dict[str, str]]:
    """The chosen volumes, and sequence -> name of its series or file as the user knows it.

    series: sequence -> label or "none", as ``found.ExaminationRow`` names them. InputRefused with
    every problem of every chosen series.
    """
    if brought.study is None:
        return _of_nifti(brought.nifti, series)
    choice = dicom.choose(brought.study, _by_hand(brought.study, series, study), study)
    names = {name: own.title for name, own in choice.series.items()}
    return dicom.to_raw(choice, home), names


def _by_hand(found: StudyFound, series: Mapping[str, str], study: str | None) -> dict[str, str]:
    """What the user decided otherwise than, or beyond, what the files say by themselves."""
    examination = next((e for _, e in found.examinations() if e.label == study), None)
    if examination is None:
        return dict(series)
    proposed, questions = dicom.propose(examination)
    said = {name: own.label for name, own in proposed.items() if name not in questions}
    return {name: label for name, label in series.items() if said.get(name, NONE) != label}


def _of_nifti(
    files: Mapping[str, SourceFile], series: Mapping[str, str]
) -> tuple[RawStudy, dict[str, str]]:
    chosen = {name: label for name, label in series.items() if label != NONE}
    unknown = [label for label in chosen.values() if label not in files]
    if unknown:
        raise refuse("there is no such file", found=", ".join(unknown))
    names = {name: files[label].name for name, label in chosen.items()}
    proposals = propose_all(dict.fromkeys(file.name for file in files.values()))
    why = {
        name: f"its name {proposals[own].reason}"
        if proposals[own].sequence == name
        else "chosen by hand"
        for name, own in names.items()
    }
    if "t1c" not in chosen:
        raise refuse(
            "there is no T1 image after gadolinium (t1c), and nothing can be said without it",
            found=", ".join(f"{n} as {SEQUENCE_NAMES[s]}" for s, n in names.items()) or "no image",
            expected="t1c and, if there, t1n, t2w, t2f",
            hint="if one of these files is the T1 after gadolinium, choose it.",
        )
    with tempfile.TemporaryDirectory(prefix="bmcore-") as folder:
        place = Path(folder)
        paths = {name: as_nifti(files[label], place / name) for name, label in chosen.items()}
        users = {path.name: names[name] for name, path in paths.items()}
        try:
            made = read_raw(choose_files(paths, why=why))
        except InputRefused as error:
            raise InputRefused(*gatekeeper.as_named(error.findings, users)) from error
    given = {name: f"file {label} of {len(files)}" for name, label in chosen.items()}
    technical = {name: {**values, "given": given[name]} for name, values in made.technical.items()}
    shown = gatekeeper.as_named(made.findings, users)
    return replace(made, findings=shown, technical=technical), names
