"""What else may have moved the result: period, order, subgroups, learning. Exploratory.

Mixed models with crossed random effects of reader and case (``stats.effects``) on right answers.
They take seconds to minutes, so the report computes them where they are asked for, and no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from bmcore.analysis.accuracy import NO_TRUTH
from bmcore.analysis.endpoints import as_readings
from bmcore.analysis.readings import StudyData
from bmcore.analysis.subgroups import GROUP_NAMES, LEAST_IN_GROUP, group_words
from bmcore.analysis.tables import (
    LEAST_CASES,
    Column,
    Line,
    ResultTable,
    Section,
    non_empty,
    phase_words,
)
from bmcore.review.allocation import work_list
from bmcore.stats import effects
from bmcore.stats.comparison import Comparison
from bmcore.stats.effects import Rows
from bmcore.stats.readings import Reading

MOST_READINGS = 6_000


def effects_section(data: StudyData) -> Section:
    """Period and carry-over (crossover), the phases' effect in subgroups, learning."""
    title = "What else moved the result (exploratory)"
    rows = [r for r in as_readings(data) if r.truth]
    why = _why_not(data, rows)
    if why:
        return Section("effects", title, why)
    tables = []
    for pair in combinations(data.arms, 2):
        own = [r for r in rows if r.arm in pair]
        if {r.arm for r in own} == set(pair):
            tables += [_crossover(data, own, pair), _groups(data, own, pair), _learning(own, pair)]
    return Section(
        "effects",
        title,
        "Mixed models of right answers with random readers and cases. None of these was planned "
        "unless the analysis plan says so.",
        non_empty(tables),
    )


def _why_not(data: StudyData, rows: Sequence[Reading]) -> str:
    if not rows:
        return NO_TRUTH
    if len({r.reader for r in rows}) < 2 or len({r.case for r in rows}) < LEAST_CASES:
        return f"Needs two readers and {LEAST_CASES} cases with a known primary."
    if len(rows) > MOST_READINGS:
        return f"Left out: {len(rows)} readings are too many for these models ({MOST_READINGS})."
    return ""


def _rows(own: Sequence[Reading], pair: tuple[str, str]) -> Rows:
    return Rows(
        np.array([float(r.answer == r.truth) for r in own]),
        [r.reader for r in own],
        [r.case for r in own],
        np.array([r.arm == pair[1] for r in own]),
    )


def _crossover(data: StudyData, own: Sequence[Reading], pair: tuple[str, str]) -> ResultTable:
    """Of a crossover: the arm with period and order held alike."""
    lines: list[Line] = []
    plan = data.plan
    if plan is not None and plan.design.kind == "crossover" and len(plan.design.arms) == 2:
        when = {
            (r.name, item.place.case_id, item.place.arm): item.period
            for r in plan.readers
            for item in work_list(plan, r.id)
        }
        period = np.array([when[r.reader, r.case, r.arm] for r in own])
        first_new = np.array([when[r.reader, r.case, pair[1]] == 1 for r in own])
        found = effects.crossover(_rows(own, pair), period, first_new)
        lines = [
            _line("Phase, adjusted for period and order", found.arm),
            _line("Period, second minus first", found.period),
            _line("Carry-over: began with the later phase", found.carry_over),
        ]
    return _table(
        f"crossover_{pair[1]}",
        "Period and carry-over, right answers",
        ("Effect",),
        lines,
        "With two periods carry-over cannot be told apart from an effect of phase by period (Senn "
        "2002).",
    )


def _groups(data: StudyData, own: Sequence[Reading], pair: tuple[str, str]) -> ResultTable:
    """The phases' effect in each subgroup, and whether it differs."""
    lines = []
    roles = {p.name: p.role for p in data.people}
    kinds = {**GROUP_NAMES, "role": "Reader's role"}
    for what, words in kinds.items():
        groups = [
            roles.get(r.reader, "") if what == "role" else data.cases[r.case].group(what)
            for r in own
        ]
        cases = {g: {r.case for r, x in zip(own, groups, strict=True) if x == g} for g in groups}
        large = {g for g, held in cases.items() if len(held) >= LEAST_IN_GROUP}
        kept = [i for i, g in enumerate(groups) if g in large]
        if len(large) < 2:
            continue
        found = effects.interaction(_rows([own[i] for i in kept], pair), [groups[i] for i in kept])
        for group, effect in found.by_group.items():
            name = group_words(group) if what != "role" else group
            lines.append(Line((words, name), (effect.difference,), found.p))
    return ResultTable(
        f"interaction_{pair[1]}",
        f"{phase_words(*pair)}: right answers by subgroup",
        ("By", "Group"),
        (Column("Difference", "points"),),
        tuple(lines),
        "p: that the difference is the same in all groups of this kind (Wald). Groups of "
        f"{LEAST_IN_GROUP} cases or more.",
        "p",
    )


def _learning(own: Sequence[Reading], pair: tuple[str, str]) -> ResultTable:
    found = effects.learning(_rows(own, pair), [r.place for r in own])
    lines = [
        _line("Earlier phase", found.control),
        _line("Later phase", found.new),
        _line("Later minus earlier", found.difference),
    ]
    return _table(
        f"learning_{pair[1]}",
        f"{phase_words(*pair)}: change of right answers over {effects.STEP} cases of the list",
        ("Phase",),
        lines,
        "Above 0: more right answers later on the list.",
    )


def _line(words: str, found: Comparison) -> Line:
    return Line((words,), (found.difference,), found.p)


def _table(
    key: str, title: str, head: tuple[str, ...], lines: Sequence[Line], note: str
) -> ResultTable:
    columns = (Column("Difference", "points"),)
    return ResultTable(key, title, head, columns, tuple(lines), note, "p")
