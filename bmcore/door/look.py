"""Look at what was brought: which patients, examinations and series; nothing is chosen yet."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bmcore.domain import SEQUENCES, Finding, InputRefused, Severity, refuse
from bmcore.door.found import ExaminationRow, Found, SeriesRow, numbered
from bmcore.geometry import voxel_sizes_mm
from bmcore.intake import dicom
from bmcore.intake.dicom.files import list_files
from bmcore.intake.dicom.found import (
    SURE,
    ExaminationFound,
    SeriesFound,
    SourceFile,
    StudyFound,
)
from bmcore.intake.naming import propose_all
from bmcore.intake.nifti_file import is_nifti
from bmcore.intake.sequence_name import ASIDE

_LISTED = 20


@dataclass(frozen=True, eq=False)
class Brought:
    """The files of an arrival, opened. study: where they are DICOM; nifti: label -> file."""

    files: int
    study: StudyFound | None
    nifti: dict[str, SourceFile]


@contextmanager
def opened(sources: Iterable[Path | SourceFile]) -> Iterator[Brought]:
    """List the files, unpack archives and read the headers; what was unpacked goes away at the end.

    InputRefused with every file where there is nothing that can be used.
    """
    files, unpacked = list_files(sources, nifti=True)
    try:
        images = [file for file in files if _is_nifti(file)]
        rest = [file for file in files if file not in set(images)]
        study = _study(rest, images)
        yield Brought(
            len(files), study, {} if study else {str(n): f for n, f in enumerate(images, 1)}
        )
    finally:
        if unpacked is not None:
            unpacked.cleanup()


def _is_nifti(file: SourceFile) -> bool:
    name = PurePosixPath(file.name).name.lower()
    return name.endswith((".nii", ".nii.gz")) or is_nifti(file.path)


def _study(rest: Sequence[SourceFile], images: Sequence[SourceFile]) -> StudyFound | None:
    """The DICOM among the files; where NIfTI lies beside it, DICOM counts only if it holds any."""
    try:
        return dicom.of_files(rest)
    except InputRefused:
        if images:
            return None
        raise refuse(
            "there is no MRI image in these files",
            found=_listed(rest),
            expected="DICOM files, with or without ending, or NIfTI files (.nii, .nii.gz)",
            hint="choose the whole folder of the examination, or the disc with its DICOMDIR.",
        ) from None


def _listed(files: Sequence[SourceFile]) -> str:
    if not files:
        return "no file"
    names = ", ".join(file.name for file in files[:_LISTED])
    return f"{len(files)} other files: {names}{' …' if len(files) > _LISTED else ''}"


def look(sources: Iterable[Path | SourceFile]) -> Found:
    """What is there, as plain values. InputRefused where nothing can be used."""
    with opened(sources) as brought:
        if brought.study is not None:
            return _of_dicom(brought.study, brought.files)
        return _of_nifti(brought.nifti, brought.files)


# --- DICOM ---------------------------------------------------------------------------------------


def _of_dicom(study: StudyFound, files: int) -> Found:
    several = len(study.patients) > 1
    examinations = tuple(
        _examination(examination, patient.label if several or patient.label else "")
        for patient, examination in study.examinations()
    )
    return Found("dicom", examinations, files, told(study.notes))


def _examination(found: ExaminationFound, patient: str) -> ExaminationRow:
    proposed, questions = dicom.propose(found)
    return ExaminationRow(
        found.label,
        f"patient {patient}" if patient else "",
        found.date,
        tuple(_row(series) for series in found.series),
        {name: series.label for name, series in proposed.items()},
        {name: f"{q.what[:1].upper()}{q.what[1:]}. {_because(q)}" for name, q in questions.items()},
        told(note for series in proposed.values() for note in series.notes),
    )


def _because(question: Finding) -> str:
    return f"{(question.found or '')[:1].upper()}{(question.found or '')[1:]}."


def _row(series: SeriesFound) -> SeriesRow:
    size = ""
    if series.stack is not None:
        size = numbered(series.stack.shape, [float(v) for v in voxel_sizes_mm(series.stack.affine)])
    return SeriesRow(
        series.label,
        series.title,
        series.kind,
        series.sequence,
        round(series.confidence, 3),
        series.reason,
        len(series.images),
        series.usable,
        tuple(f"{p.what} ({p.found})" if p.found else p.what for p in series.problems),
        size,
    )


# --- NIfTI ---------------------------------------------------------------------------------------


def _of_nifti(files: dict[str, SourceFile], looked_at: int) -> Found:
    """One examination of all files: whose they are, NIfTI does not say."""
    names = {label: file.name for label, file in files.items()}
    proposals = propose_all(dict.fromkeys(names.values()))
    counts = Counter(proposals[name].sequence for name in names.values())
    rows, proposed, questions = [], {}, {}
    for label, name in names.items():
        sequence, confidence, reason = proposals[name]
        own = sequence if sequence in SEQUENCES else None
        aside = " It is left out." if sequence == ASIDE else ""
        rows.append(SeriesRow(label, name, "", own, confidence, f"its name {reason}.{aside}"))
        if own is None:
            continue
        proposed.setdefault(own, label)
        if counts[own] > 1:
            questions[own] = f"{counts[own]} files are named like this sequence. Which one is it?"
        elif confidence < SURE:
            questions[own] = f"Is it {name}? Its name {reason}."
    left = looked_at - len(files)
    notes = (f"{left} other files were passed over: neither DICOM nor NIfTI.",) if left else ()
    examination = ExaminationRow("1", "", "", tuple(rows), proposed, questions)
    return Found("nifti", (examination,), looked_at, notes)


# --- words ---------------------------------------------------------------------------------------


def told(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Findings as sentences for the page, each once."""
    return tuple(dict.fromkeys(for_page(finding).sentence for finding in findings))


def for_page(finding: Finding) -> Finding:
    """Without advice that speaks of the command line."""
    if finding.hint is None or "--" not in finding.hint:
        return finding
    hint = "choose another series, or leave the sequence out."
    return replace(finding, hint=hint if finding.severity is not Severity.INFO else None)


def link(source: SourceFile, path: Path) -> Path:
    """``source`` under another name, without a copy where the disk allows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.hardlink_to(source.path)
    except OSError:
        shutil.copyfile(source.path, path)
    return path
