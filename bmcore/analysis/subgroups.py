"""Results by subgroup of cases: sex, age, number of lesions, primary."""

from __future__ import annotations

import numpy as np

from bmcore.analysis.readings import GROUPS, ReadingArrays, StudyData
from bmcore.analysis.tables import (
    ARM_NAMES,
    THESE_READERS,
    TOO_FEW,
    Column,
    Line,
    ResultTable,
    Section,
)
from bmcore.domain import PRIMARY_NAMES, Primary
from bmcore.stats import agreement, clustered
from bmcore.stats.estimate import Estimate, undefined
from bmcore.stats.subgroups import subgroup_table

GROUP_NAMES = {"sex": "Sex", "age": "Age", "lesions": "Number of lesions", "primary": "Primary"}
LEAST_IN_GROUP = 20


def subgroup_section(data: StudyData, arrays: ReadingArrays) -> Section:
    """Agreement and right answers in each subgroup with at least ``LEAST_IN_GROUP`` cases."""
    lines: list[Line] = []
    columns = [
        Column(f"{words}, {ARM_NAMES[arm][0].lower()}{ARM_NAMES[arm][1:]}", "share")
        for arm in arrays.arms
        for words in ("Same answer", "Right")
    ]
    for what, names in GROUPS.items():
        groups = [
            data.cases[c].group(what) if c in data.cases else "not known" for c in arrays.cases
        ]

        def measure(at: np.ndarray) -> dict[str, Estimate]:
            return _group_numbers(arrays, at)

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
                "subgroups",
                "Subgroups, all readers",
                ("By", "Group"),
                tuple(columns),
                tuple(lines),
                THESE_READERS.strip(),
            ),
        )
    return Section(
        "subgroups", "Subgroups", sentence if lines else "There is no reading yet.", tables
    )


def _group_numbers(arrays: ReadingArrays, at: np.ndarray) -> dict[str, Estimate]:
    found = {}
    for i, arm in enumerate(arrays.arms):
        answers, truth = arrays.answers[i][:, at], arrays.truth[at]
        found[f"same {arm}"] = agreement.percent_agreement(answers.T)
        given = (answers >= 0) & (truth >= 0)
        found[f"right {arm}"] = clustered.share(answers == truth, given, "right answers")
    return found


def group_words(name: str) -> str:
    """A subgroup as shown: the primaries by their names."""
    return PRIMARY_NAMES[Primary(name)] if name in set(Primary) else name
