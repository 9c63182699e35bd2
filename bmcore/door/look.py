"""Look at what was brought: which patients, examinations and series; nothing is chosen yet."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from bmcore.domain import SEQUENCE_NAMES, SEQUENCES, Finding, InputRefused, Severity, refuse
from bmcore.door import picture
from bmcore.door.found import ExaminationRow, Found, SeriesRow, numbered
from bmcore.geometry import to_ras, voxel_sizes_mm
from bmcore.intake import dicom
from bmcore.intake.dicom.deidentify import pseudonyms_of
from bmcore.intake.dicom.files import is_packed, list_files
from bmcore.intake.dicom.found import (
    SURE,
    ExaminationFound,
    SeriesFound,
    SourceFile,
    StudyFound,
)
from bmcore.intake.images import read_images
from bmcore.intake.naming import propose_all
from bmcore.intake.nifti_file import MIN_VOXELS_AN_AXIS, is_nifti
from bmcore.intake.sequence_name import ASIDE, Proposal

_LISTED = 20
_MOST_PICTURES = 24
_MOST_READ = 12  # files of NIfTI that are read at once; more are no examination
Keep = Callable[[str, str, bytes], None]


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
        return dicom.with_visits(dicom.of_files(rest))
    except InputRefused:
        if images:
            return None
        if any(is_packed(file) for file in rest):
            raise
        raise refuse(
            "there is no MRI image in these files",
            found=_listed(rest),
            expected="DICOM files, with or without an extension, or NIfTI files (.nii, .nii.gz)",
            hint="choose the whole folder of the examination, or the disc with its DICOMDIR.",
        ) from None


def _listed(files: Sequence[SourceFile]) -> str:
    if not files:
        return "no file"
    names = ", ".join(file.name for file in files[:_LISTED])
    return f"{len(files)} files: {names}{' …' if len(files) > _LISTED else ''}"


def look(
    sources: Iterable[Path | SourceFile],
    keep: Keep = lambda *_: None,
    home: Path | None = None,
) -> Found:
    """What is there, as plain values. InputRefused where nothing can be used.

    keep: given (examination, series, PNG) of a slice of what may be chosen. home: where the key of
    the pseudonyms lies; None where none are needed.
    """
    with opened(sources) as brought:
        if brought.study is not None:
            _pictures(brought.study, keep)
            return _of_dicom(brought.study, brought.files, home)
        return _of_nifti(brought.nifti, brought.files, keep)


# --- DICOM ---------------------------------------------------------------------------------------


def _of_dicom(study: StudyFound, files: int, home: Path | None) -> Found:
    names = None if home is None else pseudonyms_of(home)
    examinations = tuple(
        replace(
            _examination(examination, patient.label),
            case_id="" if names is None else names.case_id(patient.identity, examination.uid),
        )
        for patient, examination in study.examinations()
    )
    return Found("dicom", examinations, files, told(study.notes))


def _examination(found: ExaminationFound, patient: str) -> ExaminationRow:
    proposed, questions = dicom.propose(found)
    return ExaminationRow(
        found.label,
        f"patient {patient}" if patient else "",
        f"{found.date}, read as one" if "+" in found.label else found.date,
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


def _pictures(study: StudyFound, keep: Keep) -> None:
    """A picture of the middle slice of every volume that could be a sequence."""
    wanted = [
        (examination.label, series)
        for _, examination in study.examinations()
        for series in examination.series
        if series.stack is not None and series.stack.shape[2] >= MIN_VOXELS_AN_AXIS
    ]
    wanted.sort(key=lambda pair: pair[1].sequence is None)
    for examination, series in wanted[:_MOST_PICTURES]:
        assert series.stack is not None
        middle = series.stack.images[len(series.stack.images) // 2]
        try:
            values = dicom.read_image(middle)
        except InputRefused:
            continue  # the reason comes where the series is read as a whole
        sizes = voxel_sizes_mm(series.stack.affine)
        keep(examination, series.label, picture.small(values, float(sizes[1] / sizes[0])))


# --- NIfTI ---------------------------------------------------------------------------------------


def _of_nifti(files: Mapping[str, SourceFile], looked_at: int, keep: Keep) -> Found:
    """One examination of all files: whose they are, NIfTI does not say."""
    if len(files) > _MOST_READ:
        raise refuse(
            "there are too many images for one patient at one time",
            found=_listed(list(files.values())),
            expected=f"two to four sequences, at most {_MOST_READ} files",
            hint="choose the files of one examination.",
        )
    proposals = propose_all(dict.fromkeys(file.name for file in files.values()))
    rows = [_file_row(label, file, proposals[file.name], keep) for label, file in files.items()]
    proposed: dict[str, str] = {}
    questions: dict[str, str] = {}
    for sequence in SEQUENCES:
        fitting = [row for row in rows if row.sequence == sequence]
        if not fitting:
            continue
        likeliest = max(fitting, key=lambda row: (row.usable, row.confidence))
        proposed[sequence] = likeliest.label
        if len(fitting) > 1:
            questions[sequence] = f"{len(fitting)} files have names that fit. Which one is it?"
        elif likeliest.confidence < SURE and not any(row.sequence == "t1c" for row in rows):
            questions[sequence] = f"Is it {likeliest.name}? {likeliest.reason}"
    left = looked_at - len(files)
    many = "1 other file was" if left == 1 else f"{left} other files were"
    notes = (f"{many} passed over: neither DICOM nor NIfTI.",) if left else ()
    examination = ExaminationRow("1", "", "", tuple(rows), proposed, questions)
    return Found("nifti", (examination,), looked_at, notes)


def _file_row(label: str, file: SourceFile, proposal: Proposal, keep: Keep) -> SeriesRow:
    """What a file is by its name, and whether it can be read."""
    sequence = proposal.sequence if proposal.sequence in SEQUENCES else None
    aside = "Left out: its name" if proposal.sequence == ASIDE else "Its name"
    kind = SEQUENCE_NAMES.get(sequence or "", "")
    reason = f"{aside} {proposal.reason}."
    row = SeriesRow(label, file.name, kind, sequence, proposal.confidence, reason)
    with tempfile.TemporaryDirectory(prefix="bmcore-") as folder:
        path = as_nifti(file, Path(folder) / "image")
        volumes, problems, _ = read_images({"image": path})
        if problems:
            said = (replace(problem, file=None) for problem in problems)
            return replace(row, usable=False, problems=tuple(p.sentence for p in said))
        data, affine = to_ras(np.asarray(volumes["image"].data), volumes["image"].affine)
        sizes = [float(size) for size in voxel_sizes_mm(affine)]
        middle = np.asarray(data[::-1, ::-1, data.shape[2] // 2], np.float32)
        keep("1", label, picture.small(middle, sizes[1] / sizes[0]))
        return replace(row, size=numbered(data.shape, sizes))


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


def as_nifti(file: SourceFile, place: Path) -> Path:
    """The file under another name, with the ending of what it is; no copy where the disk allows."""
    with file.path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    path = place.with_name(f"{place.name}.nii{'.gz' if packed else ''}")
    try:
        path.hardlink_to(file.path)
    except OSError:
        shutil.copyfile(file.path, path)
    return path
