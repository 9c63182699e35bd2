"""A choice of series to volumes, each on its own grid: from DICOM and from NIfTI alike."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bmcore.domain import SEQUENCE_NAMES, Finding, InputRefused, Severity, refuse
from bmcore.door.found import NONE
from bmcore.door.look import Brought, as_nifti
from bmcore.intake import dicom, gatekeeper
from bmcore.intake.dicom.convert import content_digest
from bmcore.intake.dicom.found import RawStudy, SourceFile
from bmcore.intake.images import read_images


def raw(
    brought: Brought, series: Mapping[str, str], study: str | None, home: Path
) -> tuple[RawStudy, dict[str, str]]:
    """The chosen volumes, and sequence -> name of its series or file as the user knows it.

    series: sequence -> label or "none", as ``found.ExaminationRow`` names them. InputRefused with
    every problem of every chosen series.
    """
    if brought.study is None:
        return _of_nifti(brought.nifti, series)
    choice = dicom.choose(brought.study, series, study)
    names = {name: own.title for name, own in choice.series.items()}
    return dicom.to_raw(choice, home), names


def _of_nifti(
    files: Mapping[str, SourceFile], series: Mapping[str, str]
) -> tuple[RawStudy, dict[str, str]]:
    chosen = {name: label for name, label in series.items() if label != NONE}
    unknown = [label for label in chosen.values() if label not in files]
    if unknown:
        raise refuse("there is no such file", found=", ".join(unknown))
    names = {name: files[label].name for name, label in chosen.items()}
    if "t1c" not in chosen:
        raise refuse(
            "there is no T1 image after gadolinium (t1c), and nothing can be said without it",
            found=", ".join(f"{n} as {SEQUENCE_NAMES[s]}" for s, n in names.items()) or "no image",
            expected="t1c and, if there, t1n, t2w, t2f",
            hint="if one of these files is the T1 after gadolinium, choose it.",
        )
    with tempfile.TemporaryDirectory(prefix="bmcore-") as folder:
        paths = {
            name: as_nifti(files[label], Path(folder) / name) for name, label in chosen.items()
        }
        own = {path.name: name for name, path in paths.items()}
        volumes, problems, notes = read_images(paths)

    def renamed(finding: Finding, to: Mapping[str, str]) -> Finding:
        name = own.get(finding.file or "", "")
        return replace(finding, file=to.get(name, finding.file))

    if problems:
        raise InputRefused(*(renamed(problem, names) for problem in problems))
    notes += gatekeeper.missing(volumes)
    taken = [
        Finding(Severity.INFO, f"{dicom.TAKEN}{SEQUENCE_NAMES[name]} ({name})", path.name)
        for name, path in paths.items()
    ]
    technical = {
        name: {"given": f"file {label} of {len(files)}",
               "content_sha256": content_digest(volumes[name])}
        for name, label in chosen.items()
    }  # fmt: skip
    told = tuple(renamed(f, names) for f in (*taken, *notes))
    stored = tuple(renamed(f, {name: name for name in names}) for f in (*taken, *notes))
    return RawStudy("", volumes, told, stored, technical), names
