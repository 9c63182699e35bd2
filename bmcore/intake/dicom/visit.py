"""Examinations that belong together though their UIDs differ: native and contrast as two orders.

They are never put together by themselves: whoever brings the files says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bmcore.domain import Finding, Severity, refuse
from bmcore.intake.dicom.found import ExaminationFound, Image, PatientFound, StudyFound
from bmcore.intake.dicom.study import series_of
from bmcore.intake.dicom.volumes import measured_at

MOST_HOURS = 6  # between the beginnings of the examinations of one visit


def of_one_visit(examinations: Sequence[ExaminationFound]) -> bool:
    """Whether examinations of one patient are of one day, a few hours apart as far as is known."""
    times = [measured_at(_images(examination)) for examination in examinations]
    known = [time for time in times if time is not None]
    dates = {examination.date for examination in examinations}
    near = max(known, default=0.0) - min(known, default=0.0) <= MOST_HOURS * 3600
    return len(dates) == 1 and dates != {"without a date"} and near


def together(found: StudyFound, studies: Sequence[str]) -> StudyFound:
    """The named examinations (label, UID or date) of one patient as one, and nothing else."""
    named = [(p, e) for p, e in found.examinations() if {e.label, e.uid, e.date} & {*studies}]
    there = {word for _, e in named for word in (e.label, e.uid, e.date)}
    missing = [study for study in studies if study not in there]
    if missing:
        numbers = ", ".join(e.label for _, e in found.examinations())
        raise refuse("there is no such examination", found=", ".join(missing), expected=numbers)
    patients = list(dict.fromkeys(patient for patient, _ in named))
    if len(patients) > 1:
        raise refuse(
            "the examinations to be read as one are of several patients",
            found=", ".join(patient.label for patient in patients),
            expected="examinations of one patient",
        )
    own = [examination for _, examination in named]
    notes = found.notes if len(own) == 1 else (*found.notes, _as_one(own))
    merged = replace(patients[0], examinations=(_merged(own, found),))
    return StudyFound((merged,), notes, absent=found.absent)


def as_one_visit(found: StudyFound) -> StudyFound:
    """All examinations of the only patient as one where they are of one visit; else as found."""
    all_found = [examination for _, examination in found.examinations()]
    if len(found.patients) != 1 or len(all_found) < 2 or not of_one_visit(all_found):
        return found
    return together(found, [examination.label for examination in all_found])


def with_visits(found: StudyFound) -> StudyFound:
    """Also, for each patient, the examinations of one visit as one, to choose from ("1+2")."""
    patients = tuple(_with_visit(patient, found) for patient in found.patients)
    return replace(found, patients=patients)


def _with_visit(patient: PatientFound, found: StudyFound) -> PatientFound:
    holding = [e for e in patient.examinations if any(s.sequence for s in e.series)]
    if len(holding) < 2 or not of_one_visit(holding):
        return patient
    return replace(patient, examinations=(*patient.examinations, _merged(holding, found)))


def _merged(examinations: Sequence[ExaminationFound], found: StudyFound) -> ExaminationFound:
    images = [image for examination in examinations for image in _images(examination)]
    label = "+".join(examination.label for examination in examinations)
    uid = "+".join(sorted(examination.uid for examination in examinations))
    series = tuple(series_of(images, found.absent))
    return ExaminationFound(label, uid, examinations[0].date, series)


def _images(examination: ExaminationFound) -> list[Image]:
    return [image for series in examination.series for image in series.images]


def _as_one(examinations: Sequence[ExaminationFound]) -> Finding:
    dates = dict.fromkeys(examination.date for examination in examinations)
    visit = of_one_visit(examinations)
    what = f"{len(examinations)} examinations were read as one, as you said"
    if not visit:
        what += "; they were not measured in one visit, and lesions may have changed between them"
    severity = Severity.INFO if visit else Severity.WARNING
    return Finding(severity, what, found=", ".join(dates))
