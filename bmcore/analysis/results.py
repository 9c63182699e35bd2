"""All results of free votes or of a study: one function for the page and for every file.

``results`` gives sections of tables of Estimates. A study whose sheets are not all closed gives
``running`` instead: the width of the interval of the primary comparison, and no effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bmcore.analysis import agreement as on_agreement
from bmcore.analysis.accuracy import accuracy_section, confidence_section
from bmcore.analysis.agreement import count
from bmcore.analysis.comparison import (
    comparison_section,
    endpoint,
    reliance_section,
    verdict,
)
from bmcore.analysis.lesions import LesionMarks, lesion_section
from bmcore.analysis.reading_time import time_section
from bmcore.analysis.readings import GROUPS, Choice, Cube, Source, chosen, cube
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_CASES,
    TOO_FEW,
    Column,
    Line,
    ResultTable,
    Section,
    cell_text,
    width,
)
from bmcore.domain import PRIMARY_NAMES, Primary
from bmcore.stats import agreement, clustered
from bmcore.stats.estimate import Estimate, undefined
from bmcore.stats.subgroups import subgroup_table

GROUP_NAMES = {"sex": "Sex", "age": "Age", "lesions": "Number of lesions", "primary": "Primary"}
LEAST_IN_GROUP = 20


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
        return next(s for s in self.sections if s.key == key)


@dataclass(frozen=True)
class Running:
    """What may be known of an unfinished study. interval_width: of the primary comparison on what
    is locked so far, NaN where there is none yet; words say it all in sentences."""

    interval_width: float
    cases: int
    words: tuple[str, ...]


def results(
    source: Source, choice: Choice = Choice(), marks: LesionMarks = LesionMarks()
) -> Results:
    """Every result on the part of ``source`` that ``choice`` lets through; any size, also none."""
    part = chosen(source, choice)
    table = cube(part)
    category = choice.category or part.category
    level = 1 - part.plan.primary_endpoint.alpha if part.plan else 0.95
    sections = (
        on_agreement.agreement_section(part, table),
        accuracy_section(part, table, category),
        comparison_section(part, table, category, level),
        reliance_section(part, table),
        confidence_section(table),
        lesion_section(part, marks),
        time_section(part, table),
        _subgroups(part, table),
    )
    return Results(
        title=part.title,
        summary=_summary(part, table, sections),
        sections=sections,
        category=category,
        readings=sum(not r.occasion for r in part.readings),
        cases=len(table.cases),
        readers=len(table.readers),
    )


def running(source: Source) -> Running:
    """The interval width of the primary comparison so far; nothing of its direction.

    Readers who have read fewer than ``LEAST_CASES`` cases in both phases do not count yet.
    """
    part = _far_enough(source)
    table = cube(part)
    found = endpoint(part, table)
    n = found[1].difference.n if found else 0
    if found is None or not found[1].difference.has_interval:
        known = any(facts.truth for facts in source.cases.values())
        why = "too few cases are read in both phases" if known else "no primary is known"
        return Running(math.nan, n, (f"The width of the interval cannot be told yet: {why}.",))
    named, comparison = found
    wide = width(comparison.difference)
    level = 1 - source.plan.primary_endpoint.alpha if source.plan else 0.95
    readers = count(len(table.readers), "reader")
    return Running(
        wide,
        n,
        (
            f"The {level:.0%} interval of the difference in {named} is {100 * wide:.0f} percentage "
            f"points wide so far, on {count(n, 'case')} read in both phases by {readers}.",
        ),
    )


def _far_enough(source: Source) -> Source:
    """Without the readers who have hardly begun."""
    arms = source.compared
    if arms is None:
        return source
    read: dict[str, dict[str, set[str]]] = {}
    for r in source.readings:
        if not r.occasion and r.arm in arms:
            read.setdefault(r.reader, {}).setdefault(r.case_id, set()).add(r.arm)
    enough = {
        name
        for name, cases in read.items()
        if sum(len(seen) == len(arms) for seen in cases.values()) >= LEAST_CASES
    }
    return replace(
        source,
        people=tuple(p for p in source.people if p.name in enough),
        readings=tuple(r for r in source.readings if r.reader in enough),
    )


def _summary(source: Source, table: Cube, sections: Sequence[Section]) -> tuple[str, ...]:
    by_key = {s.key: s for s in sections}
    if not table.cases:
        return ("There is no reading yet.",)
    first = by_key["agreement"].sentence
    if (
        source.compared is not None
        and set(source.compared) <= set(table.arms)
        and table.known.any()
    ):
        return (verdict(source, table), by_key["reliance"].sentence, first)
    if table.known.any():
        return (by_key["accuracy"].sentence, first)
    return (first,)


def _subgroups(source: Source, table: Cube) -> Section:
    lines: list[Line] = []
    columns = [
        Column(f"{words}, {ARM_NAMES[arm][0].lower()}{ARM_NAMES[arm][1:]}", "share")
        for arm in table.arms
        for words in ("Same answer", "Right")
    ]
    for what, names in GROUPS.items():
        groups = [
            source.cases[c].group(what) if c in source.cases else "not known" for c in table.cases
        ]

        def measure(at: np.ndarray) -> dict[str, Estimate]:
            return _group_numbers(table, at)

        for group in subgroup_table(groups, names, measure, LEAST_IN_GROUP):
            if not group.n:
                continue
            if group.numbers is None:
                why = f"{TOO_FEW}n = {group.n}, {LEAST_IN_GROUP} needed"
                cells = (undefined(group.n, why), *[None] * (len(columns) - 1))
            else:
                cells = tuple(group.numbers.values())
            lines.append(Line((GROUP_NAMES[what], group_words(group.name)), cells))
    shown = [line for line in lines if any(c is not None and c.defined for c in line.cells)]
    sentence = (
        f"{len(shown)} of {len(lines)} subgroups have {LEAST_IN_GROUP} cases or more, the least "
        "for a number. Differences between subgroups are not tested."
    )
    tables: tuple[ResultTable, ...] = ()
    if lines:
        tables = (
            ResultTable(
                "subgroups", "Subgroups, all readers", ("By", "Group"), tuple(columns), tuple(lines)
            ),
        )
    return Section(
        "subgroups", "Subgroups", sentence if lines else "There is no reading yet.", tables
    )


def _group_numbers(table: Cube, at: np.ndarray) -> dict[str, Estimate]:
    found = {}
    for i, arm in enumerate(table.arms):
        answers, truth = table.answers[i][:, at], table.truth[at]
        found[f"same {arm}"] = agreement.percent_agreement(answers.T)
        given = (answers >= 0) & (truth >= 0)
        found[f"right {arm}"] = clustered.share(answers == truth, given, "right answers")
    return found


def group_words(name: str) -> str:
    """A subgroup as shown: the primaries by their names."""
    return PRIMARY_NAMES[Primary(name)] if name in set(Primary) else name


def in_words(estimate: Estimate, unit: str) -> str:
    """An estimate outside a table, as the tables show it."""
    return cell_text(Column("", unit), estimate)
