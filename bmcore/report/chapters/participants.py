"""Who was counted: the flow of cases (as STARD 2015 asks) and the table of patients and readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bmcore.analysis.readings import UNKNOWN, CaseFacts, StudyData, reading_arrays
from bmcore.domain import PRIMARIES, PRIMARY_NAMES
from bmcore.review.votes import ROLE_NAMES
from bmcore.stats.estimate import per_cent

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier
    from bmcore.review.record import StudyRecord


def steps(d: Dossier) -> list[tuple[str, str]]:
    """From the first box to the last: (what goes on, what is left out before the next, or "")."""
    first = _study_steps(d.record) if d.record is not None else _vote_steps(d.data)
    if d.record is not None and not d.record.finished:
        return first
    return [*first, *_analysed(d.data)]


def _vote_steps(data: StudyData) -> list[tuple[str, str]]:
    read = {r.case_id for r in data.readings}
    left = len(data.cases.keys() - read)
    return [(f"Cases at hand: {len(data.cases.keys() | read)}", _out("not read", left))]


def _study_steps(record: StudyRecord) -> list[tuple[str, str]]:
    plan, sheets = record.study, record.sheets
    states = Counter(sheet.state for sheet in sheets)
    repeats = sum(sheet.place.occasion > 0 for sheet in sheets)
    flagged = sum(sheet.flagged for sheet in sheets)
    corrected = sum(a.supersedes is not None for a in record.answers)
    return [
        (
            f"Cases in the plan: {len(plan.cases)}; readers: {len(plan.readers)}; "
            f"phases: {len(plan.design.arms)}",
            f"training cases kept out of the study: {len(plan.training_cases)}",
        ),
        *_practice_steps(record),
        (
            f"Readings on the readers' lists: {len(sheets)}, of which {repeats} hidden repeats",
            "\n".join(
                filter(None, (_out("skipped", states["skipped"]), _out("open", states["open"])))
            ),
        ),
        (
            f"Readings locked: {states['locked']}",
            f"left in: {flagged} flagged, {corrected} corrected answers",
        ),
    ]


def _practice_steps(record: StudyRecord) -> list[tuple[str, str]]:
    """Practice before the first counted case: how many answers, and how many of them right."""
    plan = record.study
    if not plan.practice:
        return []
    right = sum(p.right(plan) for p in record.practised)
    return [
        (
            f"Practice cases read before the first counted case: {len(plan.practice)} a reader",
            f"counted nowhere: {len(record.practised)} practice answers, {right} of them right",
        )
    ]


def _analysed(data: StudyData) -> list[tuple[str, str]]:
    arrays = reading_arrays(data)
    read = len(arrays.cases)
    known = int(arrays.known.sum())
    boxes = [
        (
            f"Cases with a reading, counted for agreement: {read}",
            _out("primary not known", read - known),
        ),
        (f"Cases with a known primary, counted for right answers: {known}", ""),
    ]
    if len(arrays.arms) > 1 and known:
        whole = (arrays.answers >= 0).all(axis=(0, 1)) & arrays.known
        both = int(whole.sum())
        boxes[-1] = (boxes[-1][0], _out("not read by every reader in every phase", known - both))
        boxes.append((f"Cases read by every reader in every phase: {both}", ""))
    return boxes


def _out(words: str, number: int) -> str:
    return f"{words}: {number}" if number else ""


def patients(data: StudyData) -> list[tuple[str, str]]:
    """Table 1 of the cases that were read, or are planned: (characteristic, "n of N" or median)."""
    read = {r.case_id for r in data.readings}
    planned = data.plan.cases if data.plan else read
    facts = [data.cases.get(c, CaseFacts(c)) for c in sorted(planned)]
    total = len(facts)
    if not total:
        return []
    ages = [f.age_years for f in facts if f.age_years is not None]
    lesions = [float(f.lesions) for f in facts if f.lesions is not None]
    rows = [
        ("Cases", str(total)),
        ("Age, years", _median(ages, total)),
        ("Lesions found by the models, per case", _median(lesions, total)),
    ]
    sex = [f.sex or UNKNOWN for f in facts]
    smoking = [f.smoking or UNKNOWN for f in facts]
    spread = {True: "yes", False: "no", None: UNKNOWN}
    outside = [spread[f.extracranial_metastases] for f in facts]
    rows += _counts("Sex", sex, ("female", "male", UNKNOWN))
    rows += _counts("Smoking", smoking, ("never", "former", "current", UNKNOWN))
    rows += _counts("Metastases outside the brain", outside, ("yes", "no", UNKNOWN))
    primaries = [PRIMARY_NAMES[f.truth] if f.truth else UNKNOWN for f in facts]  # type: ignore[index]
    names = (*(PRIMARY_NAMES[p] for p in PRIMARIES), UNKNOWN)
    return [*rows, *_counts("Known primary", primaries, names)]


def readers(data: StudyData, shown: bool = True) -> list[tuple[str, str, str, str]]:
    """Table 1 of the readers: name, role, years of experience, first readings (if ``shown``)."""
    done = Counter(r.reader for r in data.readings if not r.occasion)
    return [
        (
            p.name,
            ROLE_NAMES.get(p.role, p.role),
            UNKNOWN if p.years is None else f"{p.years:g}",
            str(done[p.name]) if shown else "",
        )
        for p in data.people
    ]


def _median(values: Sequence[float], total: int) -> str:
    if not values:
        return f"{UNKNOWN} in {total}"
    low, middle, high = np.percentile(values, (25, 50, 75))
    missing = total - len(values)
    text = f"median {middle:.0f}, quartiles {low:.0f} to {high:.0f}"
    return text + (f"; {UNKNOWN} in {missing}" if missing else "")


def _counts(name: str, values: Iterable[str], order: Sequence[str]) -> list[tuple[str, str]]:
    counted = Counter(values)
    total = sum(counted.values())
    return [
        (f"{name}: {value}", f"{counted[value]} of {total} ({per_cent(counted[value] / total)} %)")
        for value in order
        if counted[value]
    ]
