"""All results of free votes or of a study: one function for the page and for every file.

``results`` gives sections of tables of Estimates. A study whose sheets are not all closed gives
``running`` instead: the width of the interval of the primary comparison, and no effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bmcore.analysis import endpoint_words
from bmcore.analysis.accuracy import accuracy_section
from bmcore.analysis.agreement import agreement_section
from bmcore.analysis.comparison import comparison_section
from bmcore.analysis.confidence import confidence_section
from bmcore.analysis.effects import effects_section
from bmcore.analysis.endpoints import NEEDS_TRUTH, Answer, endpoint_section, primary
from bmcore.analysis.free_questions import free_section
from bmcore.analysis.lesions import lesion_section
from bmcore.analysis.preferences import preference_section
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
from bmcore.analysis.tables import TOO_FEW, Section, count
from bmcore.stats.endpoint import Finding
from bmcore.stats.estimate import decimals, percent
from bmcore.stats.readings import MODELS


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
    is locked so far, NaN where there is none yet; words say it all in sentences;
    finding: for its width alone, None without one."""

    interval_width: float
    cases: int
    words: tuple[str, ...]
    finding: Finding | None = None


def results(
    data: StudyData,
    choice: Choice = Choice(),
    marks: LesionMarks = LesionMarks(),
    mixed_models: bool = False,
) -> Results:
    """Every result on the part of ``data`` that ``choice`` lets through; any size, also none.

    mixed_models: period, subgroups and learning by mixed models too, which takes long.
    """
    part = chosen(data, choice)
    arrays = reading_arrays(part)
    category = choice.category or part.category
    level = 1 - part.plan.primary_endpoint.alpha if part.plan else 0.95
    asked = (free_section(part), preference_section(part))
    sections = (
        endpoint_section(part, marks),
        agreement_section(part, arrays),
        accuracy_section(part, arrays, category),
        comparison_section(part, arrays, category, level),
        reliance_section(part, arrays),
        confidence_section(arrays, part.cases),
        lesion_section(part, marks),
        time_section(part, arrays),
        *(section for section in asked if section is not None),
        subgroup_section(part, arrays),
        *((effects_section(part),) if mixed_models else ()),
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


def running(data: StudyData, marks: LesionMarks = LesionMarks()) -> Running:
    """The interval width of the primary endpoint so far, by the final method; nothing of its
    direction."""
    answer = primary(data, marks)
    name = endpoint_words.name(answer.choice) if answer.choice else answer.name
    finding = answer.finding
    if finding is None or not finding.difference.has_interval:
        n = finding.difference.n if finding else 0
        return Running(
            math.nan, n, (f"The width of the interval cannot be given yet: {_why(data, answer)}.",)
        )
    change = finding.difference
    level = percent(finding.endpoint.level)
    return Running(
        finding.width,
        change.n,
        (
            f"The {level} interval of the difference in {name} is {width_words(finding)} wide so "
            f"far, on {count(change.n, 'case')} "
            f"{endpoint_words.read_in_both(finding.endpoint, finding.readers)}.",
        ),
        finding,
    )


def width_words(finding: Finding) -> str:
    """The width of the interval with its unit."""
    unit = endpoint_words.change_unit(finding.endpoint)
    if unit == "points":
        return f"{decimals(100 * finding.width)} percentage points"
    return f"{decimals(finding.width, 2)}" + (" (as a ratio)" if unit == "ratio" else "")


def _why(data: StudyData, answer: Answer) -> str:
    if answer.finding is None:
        return answer.why
    if answer.finding.endpoint.measure in NEEDS_TRUTH and not any(
        facts.truth for facts in data.cases.values()
    ):
        return "no primary is known"
    method = answer.finding.difference.method
    if method.startswith(TOO_FEW):
        how = endpoint_words.read_in_both(answer.finding.endpoint)
        return f"too few cases are {how} ({method.removeprefix(TOO_FEW)})"
    if not answer.finding.difference.defined:
        return method.rsplit("not defined: ", 1)[-1].rsplit("not defined; ", 1)[-1]
    return "the results do not vary so far"


def _summary(
    data: StudyData, arrays: ReadingArrays, sections: Sequence[Section]
) -> tuple[str, ...]:
    by_key = {s.key: s for s in sections}
    if not arrays.cases:
        return ("There is no reading yet.",)
    first = by_key["agreement"].sentence
    measure = data.plan.primary_endpoint.measure if data.plan else "accuracy"
    alone = data.compared is not None and MODELS in data.compared
    read = data.compared is not None and set(data.compared) <= {*arrays.arms, MODELS}
    if read and alone:
        return (by_key["endpoint"].sentence, first)
    if read and (arrays.known.any() or measure not in NEEDS_TRUTH):
        return (by_key["endpoint"].sentence, by_key["reliance"].sentence, first)
    if arrays.known.any():
        return (by_key["accuracy"].sentence, first)
    return (first,)
