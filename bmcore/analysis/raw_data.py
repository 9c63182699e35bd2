"""The readings themselves, one row each, with a codebook: for statisticians and other programs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bmcore.analysis.endpoints import as_readings
from bmcore.analysis.readings import LesionMarks, Reading, StudyData
from bmcore.domain import PRIMARIES
from bmcore.plain import safe_cell
from bmcore.review.plan_question import FREE, Question
from bmcore.review.sheet import MODELS_MASK
from bmcore.review.votes import PRIMARY_CHOICES
from bmcore.stats.imrmc_file import ImrmcStudy
from bmcore.stats.readings import class_score

_CHOICES = ", ".join(PRIMARY_CHOICES)
# column -> (type, unit or values, what it is)
CODEBOOK: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "reader": ("text", "", "the reader, as named in the study"),
        "role": ("text", "", "the reader's role"),
        "years": ("number", "years", "experience; empty where not known"),
        "case": ("text", "", "id of the case (a pseudonym)"),
        "arm": ("text", "unaided, aided, aided_explained", "what was shown"),
        "occasion": ("whole number", "0, 1", "0 first reading, 1 hidden repeat"),
        "place": ("whole number", "from 1", "place among the readings of this reader and arm"),
        "reference": ("text", ", ".join(map(str, PRIMARIES)), "known primary; empty: not known"),
        "answer": ("text", _CHOICES, "primary that the reader named"),
        "confidence": ("whole number", "0-100", "how sure; of cannot_tell it means nothing"),
        "differential": ("text", _CHOICES, "others considered, likeliest first, by |"),
        "seconds": ("number", "s", "active reading time; empty where none was taken"),
        "quality": ("whole number", "1-5", "of the segmentation; empty where not asked"),
        "explanation": ("text", "helpful, neutral, misleading", "empty where not asked"),
        "model": ("text", _CHOICES, "the models' fused answer; empty where there is none"),
        "lesions": ("whole number", "", "lesions of the reference mask; empty: no mask"),
        "lesions_found": ("text", "numbers by |", "reference lesions that the reader marked"),
        "lesions_mm": ("text", "mm by |", "their longest diameters, in the order of numbers"),
        "taken_over": ("text", "ids by |", "questions filled at a click from the earlier arm"),
        "false_marks": ("whole number", "", "marks on no reference lesion; empty: not asked"),
    }
)
FREE_COLUMN = "q_"  # with the question's id behind it


def codebook(data: StudyData) -> dict[str, tuple[str, str, str]]:
    """{column: (type, unit or values, what it is)}, with a column for each free question."""
    asked = [q for q in data.plan.questions if q.kind in FREE] if data.plan else []
    return {**CODEBOOK, **{f"{FREE_COLUMN}{q.id}": _described(q) for q in asked}}


def _described(question: Question) -> tuple[str, str, str]:
    options = ", ".join(question.options or ())
    low, high = question.limits or (0.0, 0.0)
    limits = f"{low:g}-{high:g} {question.unit}".strip()
    kind, values = {
        "choice": ("text", options),
        "choices": ("text", f"{options}; several by |"),
        "number": ("number", limits),
        "scale": ("whole number", limits),
        "mask": ("text", f"SHA-256 of the corrected mask, or {MODELS_MASK}"),
    }.get(question.kind, ("text", ""))
    return kind, values, " ".join(question.text.split())


def _free_cells(data: StudyData, reading: Reading) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for question in data.plan.questions if data.plan else ():
        if question.kind in FREE:
            value = reading.free.get(question.id)
            if isinstance(value, list):
                value = "|".join(value)
            elif isinstance(value, dict):
                value = value["mask"]
            cells[f"{FREE_COLUMN}{question.id}"] = value
    return cells


def rows(data: StudyData, marks: LesionMarks = LesionMarks()) -> list[dict[str, Any]]:
    """One row a reading in force, with every column of the codebook; None: missing."""
    people = {p.name: p for p in data.people}
    out = []
    for r in data.readings:
        person, facts = people.get(r.reader), data.cases.get(r.case_id)
        told = None if r.occasion else marks.hits.get((r.arm, r.reader, r.case_id))
        sizes = marks.diameters_mm.get(r.case_id)
        out.append(
            {
                "reader": r.reader,
                "role": person.role if person else None,
                "years": person.years if person else None,
                "case": r.case_id,
                "arm": r.arm,
                "occasion": r.occasion,
                "place": r.order,
                "reference": facts.truth if facts else None,
                "answer": r.primary,
                "confidence": r.confidence,
                "differential": "|".join(r.differential) or None,
                "seconds": r.active_s,
                "quality": r.quality,
                "explanation": r.explanation,
                "taken_over": "|".join(r.taken_over) or None,
                "model": r.model or (facts.top() if facts else None),
                "lesions": None if sizes is None else len(sizes),
                "lesions_found": None if told is None else "|".join(map(str, sorted(told[0]))),
                "lesions_mm": None if sizes is None else "|".join(f"{d:.1f}" for d in sizes),
                "false_marks": None if told is None else told[1],
                **_free_cells(data, r),
            }
        )
    return out


def imrmc(data: StudyData, category: str) -> ImrmcStudy:
    """The readings as iMRMC takes them: a score a reading for ``category`` against the rest.

    "Cannot tell" ranks below everything. Names lose their blanks and commas, which the format
    cannot hold, and what a spreadsheet would run; two that would become one keep a number.
    """
    kept = [r for r in as_readings(data) if r.truth and not math.isnan(class_score(r, category))]
    readers = _plain([r.reader for r in kept])
    cases = _plain([r.case for r in kept])
    truth = {cases[r.case]: int(r.truth == category) for r in sorted(kept, key=lambda r: r.case)}
    scores = {
        (readers[r.reader], cases[r.case], r.arm): max(class_score(r, category), -102.0)
        for r in kept
    }
    heading = (
        f"bmcore: {category} against the rest; score 1 + confidence where it was named, less that "
        "where another was, -102 for cannot tell"
    )
    return ImrmcStudy(truth, scores, heading.replace(",", ";"))


def _plain(names: list[str]) -> dict[str, str]:
    """Each name without blanks, separators and quotes, none of them a formula, all different.

    Quotes too: the format has none, so a spreadsheet would take them for its own.
    """
    found: dict[str, str] = {}
    taken: set[str] = {"-1", "truth"}
    for name in sorted(set(names)):
        base = safe_cell("".join(re.sub('[,;"]', "", name).split())) or "x"
        free, number = base, 2
        while free in taken:
            free, number = f"{base}{number}", number + 1
        taken.add(free)
        found[name] = free
    return found
