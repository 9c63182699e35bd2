"""All results of free votes or of a study: one function for the page and for every file.

``results`` gives sections of tables of Estimates. A study whose sheets are not all closed gives
``running`` instead: the width of the interval of the primary comparison, and no effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bmcore.analysis.accuracy import accuracy_section
from bmcore.analysis.agreement import agreement_section
from bmcore.analysis.comparison import comparison_section, endpoint, verdict
from bmcore.analysis.confidence import confidence_section
from bmcore.analysis.lesions import lesion_section
from bmcore.analysis.reading_time import time_section
from bmcore.analysis.readings import (
    Choice,
    LesionMarks,
    ReadingArrays,
    StudyData,
    chosen,
    reading_arrays,
)
from bmcore.analysis.reliance import reliance_section
from bmcore.analysis.subgroups import subgroup_section
from bmcore.analysis.tables import LEAST_CASES, Section, count, width


@dataclass(frozen=True)
class Results:
    """summary: the findings, most important first; sections: all tables; category: the primary
    that stands against the rest. readings, cases, readers: how many there are."""

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    category: str
    readings: int
    cases: int
    readers: int

    def section(self, key: str) -> Section:
        """The section of this key; StopIteration where there is none."""
        return next(s for s in self.sections if s.key == key)


@dataclass(frozen=True)
class Running:
    """What may be known of an unfinished study. interval_width: of the primary comparison on what
    is locked so far, NaN where there is none yet; words say it all in sentences."""

    interval_width: float
    cases: int
    words: tuple[str, ...]


def results(
    data: StudyData, choice: Choice = Choice(), marks: LesionMarks = LesionMarks()
) -> Results:
    """Every result on the part of ``data`` that ``choice`` lets through; any size, also none."""
    part = chosen(data, choice)
    arrays = reading_arrays(part)
    category = choice.category or part.category
    level = 1 - part.plan.primary_endpoint.alpha if part.plan else 0.95
    sections = (
        agreement_section(part, arrays),
        accuracy_section(part, arrays, category),
        comparison_section(part, arrays, category, level),
        reliance_section(part, arrays),
        confidence_section(arrays),
        lesion_section(part, marks),
        time_section(part, arrays),
        subgroup_section(part, arrays),
    )
    return Results(
        title=part.title,
        summary=_summary(part, arrays, sections),
        sections=sections,
        category=category,
        readings=sum(not r.occasion for r in part.readings),
        cases=len(arrays.cases),
        readers=len(arrays.readers),
    )


def running(data: StudyData) -> Running:
    """The interval width of the primary comparison so far; nothing of its direction.

    Readers who have read fewer than ``LEAST_CASES`` cases in both phases do not count yet.
    """
    part = _far_enough(data)
    arrays = reading_arrays(part)
    found = endpoint(part, arrays)
    n = found[1].difference.n if found else 0
    if found is None or not found[1].difference.has_interval:
        known = any(facts.truth for facts in data.cases.values())
        why = "too few cases are read in both phases" if known else "no primary is known"
        return Running(math.nan, n, (f"The width of the interval cannot be told yet: {why}.",))
    named, comparison = found
    wide = width(comparison.difference)
    level = 1 - data.plan.primary_endpoint.alpha if data.plan else 0.95
    readers = count(len(arrays.readers), "reader")
    return Running(
        wide,
        n,
        (
            f"The {level:.0%} interval of the difference in {named} is {100 * wide:.0f} percentage "
            f"points wide so far, on {count(n, 'case')} read in both phases by {readers}.",
        ),
    )


def _far_enough(data: StudyData) -> StudyData:
    """Without the readers who have hardly begun."""
    arms = data.compared
    if arms is None:
        return data
    read: dict[str, dict[str, set[str]]] = {}
    for r in data.readings:
        if not r.occasion and r.arm in arms:
            read.setdefault(r.reader, {}).setdefault(r.case_id, set()).add(r.arm)
    enough = {
        name
        for name, cases in read.items()
        if sum(len(seen) == len(arms) for seen in cases.values()) >= LEAST_CASES
    }
    return replace(
        data,
        people=tuple(p for p in data.people if p.name in enough),
        readings=tuple(r for r in data.readings if r.reader in enough),
    )


def _summary(
    data: StudyData, arrays: ReadingArrays, sections: Sequence[Section]
) -> tuple[str, ...]:
    by_key = {s.key: s for s in sections}
    if not arrays.cases:
        return ("There is no reading yet.",)
    first = by_key["agreement"].sentence
    if data.compared is not None and set(data.compared) <= set(arrays.arms) and arrays.known.any():
        return (verdict(data, arrays), by_key["reliance"].sentence, first)
    if arrays.known.any():
        return (by_key["accuracy"].sentence, first)
    return (first,)
