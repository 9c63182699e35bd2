"""Which series is taken as which sequence; what is not sure is asked, never guessed.

Preferred are, in this order: series that can be used; those of the whole head over slabs; originals
over reformats; a clear verdict; after contrast by name, or by a tag that a native T1 lacks, over by
a tag alone; 3D over 2D; without over with fat suppression; axial over other planes; small voxels.
Where the two best are alike in all that, or may be pieces of one series, the user is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bmcore.domain import SEQUENCE_NAMES, SEQUENCES, Finding, Severity, refuse
from bmcore.geometry import voxel_sizes_mm
from bmcore.intake.dicom.found import (
    SURE,
    ChoiceNeeded,
    ExaminationFound,
    PatientFound,
    SeriesFound,
    StudyChoice,
    StudyFound,
)
from bmcore.intake.dicom.visit import of_one_visit

NONE = "none"
TAKEN = "taken as "  # how the finding on a choice begins
_NEARLY = 0.1  # of the voxel volume


def choose(
    found: StudyFound, series: Mapping[str, str] | None = None, study: str | None = None
) -> StudyChoice:
    """Propose a series for each sequence of one examination.

    series: the user's own choice, sequence -> label or UID of a series, or "none". study: label,
    UID or date of the examination. ChoiceNeeded where the files leave it open, with a finding for
    each question. A series with problems may be chosen; ``convert.to_raw`` refuses it.
    """
    patient, examination = _examination(found, study)
    forced = {name: _forced(name, word, examination) for name, word in (series or {}).items()}
    taken = [own for own in forced.values() if own is not None]
    if len({own.label for own in taken}) < len(taken):
        raise refuse(
            "one series was named for two sequences", found=", ".join(map(str, series or {}))
        )
    decided = _Decided()
    for name in SEQUENCES:
        if name in forced:
            decided.force(name, forced[name])
        else:
            decided.pick(name, [s for s in examination.series if s not in taken])
    if decided.questions:
        raise ChoiceNeeded(*decided.questions)
    left = _left(found, examination) if study is None else ()
    notes = (*left, *decided.notes, *_of_chosen(decided.series, examination))
    return StudyChoice(patient, examination, decided.series, (*found.notes, *notes))


def propose(examination: ExaminationFound) -> tuple[dict[str, SeriesFound], dict[str, Finding]]:
    """The series for each sequence, and the questions by sequence where it is not sure.

    For a page that asks; ``choose`` is for who has answered. Where a question is open, the series
    that is likeliest is among those proposed.
    """
    series: dict[str, SeriesFound] = {}
    questions: dict[str, Finding] = {}
    for name in SEQUENCES:
        decided = _Decided()
        decided.pick(name, examination.series)
        if decided.questions:
            questions[name] = decided.questions[0]
            fitting = [s for s in examination.series if s.sequence == name]
            series[name] = max(fitting, key=_rank)
        elif name in decided.series:
            series[name] = decided.series[name]
    return series, questions


# --- patient and examination ---------------------------------------------------------------------


def _examination(found: StudyFound, study: str | None) -> tuple[PatientFound, ExaminationFound]:
    offered = list(found.examinations())
    if study is not None:
        named = [(p, e) for p, e in offered if study in (e.label, e.uid)]
        named = named or [(p, e) for p, e in offered if study == e.date]
        if len(named) == 1:
            return named[0]
        what = "more than one examination fits --study" if named else "there is no such examination"
        raise refuse(what, found=study, expected=_offer(named or offered), hint="name its number.")
    with_images = [(p, e) for p, e in offered if any(s.sequence for s in e.series)] or offered
    if len(with_images) == 1:
        return with_images[0]
    raise ChoiceNeeded(_which(with_images))


def _left(found: StudyFound, examination: ExaminationFound) -> tuple[Finding, ...]:
    """What is said of other patients and dates where only one examination holds a sequence."""
    others = [(p, e) for p, e in found.examinations() if e is not examination]
    if not others:
        return ()
    what = "images of another patient or date were left out; they hold none of the sequences"
    return (Finding(Severity.WARNING, what, found=_offer(others, len(found.patients) > 1)),)


def _which(offered: Sequence[tuple[PatientFound, ExaminationFound]]) -> Finding:
    patients = list(dict.fromkeys(patient for patient, _ in offered))
    count = len(patients)
    hint = "name one with --study and its number."
    if count > 1:
        what = f"the files hold {count} patients; one at a time can be read"
        return Finding(Severity.REFUSED, what, found=_offer(offered), hint=hint)
    what = f"the files hold {len(offered)} examinations of one patient"
    newest = offered[-1][1]
    missing = [SEQUENCE_NAMES[n] for n in SEQUENCES if n not in _there(newest)]
    if missing and len(offered) == 2 and offered[0][1].date != newest.date:
        what += f"; the newer has no {' and no '.join(missing)}"
    if of_one_visit([examination for _, examination in offered]):
        named = " ".join(f"--study {examination.label}" for _, examination in offered)
        hint = f"name one with --study and its number, or all if they belong together: {named}."
    return Finding(Severity.REFUSED, what, found=_offer(offered), hint=hint)


def _there(examination: ExaminationFound) -> set[str]:
    return {series.sequence for series in examination.series if series.sequence}


def _offer(
    offered: Sequence[tuple[PatientFound, ExaminationFound]], several: bool | None = None
) -> str:
    """Examinations by number, date and sequences; with the patients where they are several."""
    if several is None:
        several = len({patient.label for patient, _ in offered}) > 1
    return ", ".join(
        f"{e.label}: {f'{p.label}, ' if several else ''}{e.date} "
        f"({', '.join(n for n in SEQUENCES if n in _there(e)) or 'none of the sequences'})"
        for p, e in offered
    )


# --- the series of each sequence -----------------------------------------------------------------


def _forced(name: str, word: str, examination: ExaminationFound) -> SeriesFound | None:
    if name not in SEQUENCES:
        raise refuse("unknown sequence names", found=name, expected=", ".join(SEQUENCES))
    if word == NONE:
        return None
    fitting = [s for s in examination.series if s.label == word]
    fitting = fitting or [s for s in examination.series if s.uid == word]
    fitting = fitting or [s for s in examination.series if str(s.number) == word]
    readable = [s for s in fitting if s.stack is not None or s.problems]
    if len(readable) == 1:
        return readable[0]
    labels = ", ".join(s.label for s in readable or examination.series)
    if fitting and not readable:
        what = f"the series named for {name} holds no volume: {fitting[0].reason}"
        raise refuse(what, file=fitting[0].title)
    what = "more than one volume fits" if fitting else "there is no such series"
    raise refuse(f"{what} --series {name}", found=word, expected=f"one of {labels}")


@dataclass
class _Decided:
    """What was decided so far, and what has to be asked."""

    series: dict[str, SeriesFound] = field(default_factory=dict)
    questions: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def force(self, name: str, own: SeriesFound | None) -> None:
        if own is None:
            return
        self.series[name] = own
        what = f"{TAKEN}{SEQUENCE_NAMES[name]} ({name}) as you named it"
        severity = Severity.INFO if own.sequence == name else Severity.WARNING
        found = None if own.sequence == name else f"by its header {own.kind}"
        self.notes.append(Finding(severity, what, own.title, found))

    def pick(self, name: str, series: Sequence[SeriesFound]) -> None:
        candidates = sorted((s for s in series if s.sequence == name), key=_rank, reverse=True)
        if not candidates:
            return
        best, *others = candidates
        if best.confidence < SURE and best.usable:
            self.questions.append(_is_it(name, best))
            return
        rival = next((o for o in others if _rank(o)[:-1] == _rank(best)[:-1]), None)
        if rival is not None and not _alike(best, rival):
            rival = None
        rival = rival or next((o for o in others if _continues(best, o)), None)
        if best.usable and rival is not None:
            self.questions.append(_which_of(name, best, rival))
            return
        self.series[name] = best
        what = f"{TAKEN}{SEQUENCE_NAMES[name]} ({name})"
        self.notes.append(Finding(Severity.INFO, what, best.title, found=best.reason))
        if others:
            self.notes.append(_others(name, best, others))
        self.notes += [_passed_over(other, best) for other in others if other.problems]


def _rank(series: SeriesFound) -> tuple:
    first = series.images[0]
    finest = 0.0
    if series.stack is not None:
        finest = -float(np.prod(voxel_sizes_mm(series.stack.affine)))
    return (
        series.usable and series.confidence >= SURE,
        series.usable,
        series.coverage,
        not series.reformatted,
        "DERIVED" not in first.get("ImageType", ()),
        series.confidence >= SURE,
        series.surely_after or series.sequence != "t1c",
        str(first.get("MRAcquisitionType", "")).upper() == "3D",
        not series.fat_suppressed,
        _plane(series) == "axial",
        finest,
    )


def _plane(series: SeriesFound) -> str:
    if series.stack is None:
        return ""
    normal = np.abs(np.cross(series.stack.affine[:3, 0], series.stack.affine[:3, 1]))
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def _alike(first: SeriesFound, second: SeriesFound) -> bool:
    a, b = abs(_rank(first)[-1]), abs(_rank(second)[-1])
    return _plane(first) == _plane(second) and abs(a - b) <= _NEARLY * max(a, b)


def _continues(first: SeriesFound, second: SeriesFound) -> bool:
    """Whether one begins where the other ends, under one number and name: pieces of one series."""
    one = first.number, first.description
    if first.stack is None or second.stack is None or one != (second.number, second.description):
        return False
    to_first = np.linalg.inv(first.stack.affine)
    ends = [to_first @ second.stack.affine @ [0, 0, k, 1] for k in (0, second.stack.shape[2] - 1)]
    beside = [end[2] for end in ends]
    return min(beside) > first.stack.shape[2] - 1 or max(beside) < 0


def _is_it(name: str, series: SeriesFound) -> Finding:
    what = f"is this {SEQUENCE_NAMES[name]} ({name})? It is not sure"
    hint = f"--series {name}={series.label} if it is, --series {name}={NONE} to leave it out."
    return Finding(Severity.REFUSED, what, series.title, series.reason, hint=hint)


def _which_of(name: str, first: SeriesFound, second: SeriesFound) -> Finding:
    what = f"two series fit {SEQUENCE_NAMES[name]} ({name}) equally well"
    if _continues(first, second):
        what = f"two series of {SEQUENCE_NAMES[name]} ({name}) may be two pieces of one"
    found = f"{first.title} and {second.title}"
    hint = f"choose with --series {name}={first.label} or --series {name}={second.label}."
    return Finding(Severity.REFUSED, what, found=found, hint=hint)


_MANY = {"t1n": "native T1 series", "t1c": "series after contrast", "t2w": "T2 series",
         "t2f": "FLAIR series"}  # fmt: skip


def _others(name: str, best: SeriesFound, others: Sequence[SeriesFound]) -> Finding:
    volume = str(best.images[0].get("MRAcquisitionType", "")).upper() == "3D"
    which = "the 3D original" if volume and not best.reformatted else f"the {_plane(best)} one"
    less = any(other.usable and other.coverage < best.coverage for other in others)
    if less and which != "the 3D original":
        which = "the one that covers more of the head"
    what = f"{1 + len(others)} {_MANY[name]}: {which} taken"
    left = "left: " + ", ".join(other.title for other in others)
    return Finding(Severity.INFO, what, best.title, found=left)


def _passed_over(series: SeriesFound, best: SeriesFound) -> Finding:
    problem = series.problems[0]
    what = f"not used, as it has a fault: {problem.what}"
    return Finding(
        Severity.WARNING, what, series.title, problem.found, hint=f"{best.title} was used."
    )


def _of_chosen(chosen: Mapping[str, SeriesFound], examination: ExaminationFound) -> list[Finding]:
    """What was noticed of the chosen series, and of the other volumes in them."""
    notes: list[Finding] = []
    for name, own in chosen.items():
        notes += own.notes
        used = {series.label for series in chosen.values()}
        for left in examination.series:
            if left.uid == own.uid and left.label not in used and left.uid:
                notes.append(_sibling(name, own, left))
    return list(dict.fromkeys(notes))


def _sibling(name: str, own: SeriesFound, left: SeriesFound) -> Finding:
    taken = own.part or own.label
    what = f"{taken} taken as {SEQUENCE_NAMES[name]}, {left.part or left.label} left ({left.kind})"
    if left.kind.endswith("images"):
        what = f"{left.kind} left"
    return Finding(Severity.WARNING, what, left.title, found="one series with several volumes")
