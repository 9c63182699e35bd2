"""What the models change: the phases compared, over all readers and for each reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from bmcore.analysis import endpoint_words
from bmcore.analysis.accuracy import NO_TRUTH
from bmcore.analysis.endpoints import as_readings, found
from bmcore.analysis.readings import ReadingArrays, StudyData
from bmcore.analysis.tables import (
    TOO_FEW,
    Column,
    Drawing,
    Line,
    ResultTable,
    Section,
    non_empty,
    phase_words,
)
from bmcore.domain import PRIMARY_NAMES
from bmcore.stats import incomplete, paired
from bmcore.stats.comparison import Comparison, no_comparison
from bmcore.stats.endpoint_choice import Endpoint
from bmcore.stats.estimate import percent
from bmcore.stats.readings import Reading, by_arm_and_reader, class_score
from bmcore.stats.readings import paired as paired_readings

METHODS = ("Readers like these (OR)", "Readers like these (U)", "These readers (OR)")
MEASURES = ("accuracy", "sensitivity", "specificity", "AUC")
_LOWEST = -1000.0  # a finite stand-in for "ranks lowest"


def comparison_section(
    data: StudyData, arrays: ReadingArrays, category: str, level: float = 0.95
) -> Section:
    """Each two phases over all readers (MRMC) and for each reader (McNemar); exploratory.

    ValueError on a level that ``estimate.percent`` refuses.
    """
    percent(level)
    title = "With the models against without"
    if len(arrays.arms) < 2:
        return Section("comparison", title, "One phase only: there is nothing to compare.")
    if not arrays.known.any():
        return Section("comparison", title, NO_TRUTH)
    rows = as_readings(data)
    lines = []
    for first, second in combinations(arrays.arms, 2):
        lines += _all_measures(rows, (first, second), category, level)
    tables = [
        ResultTable(
            "comparison",
            "Difference of the phases, later minus earlier, mean of the readers",
            ("Phases", "Measure"),
            tuple(Column(m, "points") for m in METHODS),
            tuple(lines),
            "Readers count with the cases that they read in both phases, weighted by how many "
            "these are. Readers like these: readers and cases are samples, by Obuchowski and "
            "Rockette (OR) and by U-statistics (U). These readers: it holds for them alone. p of "
            "the first column; an AUC in hundredths. All but right answers: one primary against "
            "the rest."
            + ("" if level == 0.95 else f" The intervals here are {percent(level)} intervals."),
            "p",
            (Drawing("intervals", guide=0.0, only="Right answers"),),
        ),
        _by_reader(arrays),
    ]
    return Section("comparison", title, _sentence(rows, arrays, level), non_empty(tables))


def _sentence(rows: Sequence[Reading], arrays: ReadingArrays, level: float) -> str:
    """Of the right answers in the first two phases."""
    readers = "random" if len(arrays.readers) > 1 else "fixed"
    choice = Endpoint("accuracy", arrays.arms[:2], alpha=1 - level, readers=readers)  # type: ignore[arg-type]
    return endpoint_words.verdict(found(choice, rows))


def _all_measures(
    rows: Sequence[Reading], arms: tuple[str, str], category: str, level: float
) -> list[Line]:
    name = PRIMARY_NAMES[category]
    words = ("Right answers", f"Sensitivity, {name}", f"Specificity, {name}", f"AUC, {name}")
    lines = []
    for label, what in zip(words, MEASURES, strict=True):
        cells = measure(rows, arms, what, category, level)
        label_ = (phase_words(*arms), label)
        lines.append(Line(label_, tuple(c.difference for c in cells), cells[0].p))
    return lines


def measure(
    rows: Sequence[Reading],
    arms: tuple[str, str],
    what: str,
    category: str,
    level: float = 0.95,
) -> tuple[Comparison, Comparison, Comparison]:
    """The difference of two phases by the three METHODS; what: one of ``MEASURES``.

    Too few cases give Comparisons that are not defined and say how many are needed. ValueError on
    a level that ``estimate.percent`` refuses.
    """
    percent(level)
    kind = "" if what == "accuracy" else category
    choice = Endpoint(what, arms, kind, alpha=round(1 - level, 12), readers="fixed")
    finding = found(choice, rows)
    told = finding.difference
    if told.method.startswith(TOO_FEW):
        none = no_comparison(told.n, told.method)
        return (none, none, none)
    fixed = replace(finding.contrast.fixed, difference=told, p=finding.p)
    end = told.has_interval and not finding.contrast.fixed.difference.has_interval
    random, by_u = (
        fixed if end and one.difference.defined and not one.difference.has_interval else one
        for one in (finding.contrast.random, _by_u(rows, arms, what, category, level))
    )
    return (random, by_u, fixed)


def _by_u(
    rows: Sequence[Reading], arms: tuple[str, str], what: str, category: str, level: float
) -> Comparison:
    """U-statistics over readers and cases, with what was read in both phases."""
    table = paired_readings(by_arm_and_reader([r for r in rows if r.truth], arms))
    readers = sorted({r for arm in table.values() for r in arm})
    if len(readers) < 2:
        return no_comparison(0, "not defined: readers like these need two readers or more")
    truth = {
        c: row.truth for arm in table.values() for own in arm.values() for c, row in own.items()
    }
    cases = sorted(truth)
    at = {case: n for n, case in enumerate(cases)}
    values = np.full((2, len(readers), len(cases)), math.nan)
    for i, arm in enumerate(arms):
        for j, reader in enumerate(readers):
            for case, row in table[arm].get(reader, {}).items():
                values[i, j, at[case]] = _value(row, what, category)
    ill = np.array([truth[c] == category for c in cases])
    if what == "AUC":
        study = incomplete.compare_auc(values, ill, level)
    else:
        kept = {"sensitivity": ill, "specificity": ~ill}.get(what)
        study = incomplete.compare_shares(values, kept, level)
    return study.differences[0, 1]


def _value(row: Reading, what: str, category: str) -> float:
    if what == "AUC":
        return max(class_score(row, category), _LOWEST)
    if what == "specificity":
        return float(row.answer != category)
    return float(row.answer == (row.truth if what == "accuracy" else category))


def _by_reader(arrays: ReadingArrays) -> ResultTable:
    lines = []
    known = arrays.known
    truth = arrays.truth[known]
    for a, b in combinations(range(len(arrays.arms)), 2):
        for r, name in enumerate(arrays.readers):
            before, after = arrays.answers[a, r, known], arrays.answers[b, r, known]
            both = (before >= 0) & (after >= 0)
            if not both.any():
                continue
            found = paired.mcnemar(after[both] == truth[both], before[both] == truth[both])
            phases = phase_words(arrays.arms[a], arrays.arms[b])
            lines.append(Line((name, phases), (found.difference,), found.mid_p))
    return ResultTable(
        "by_reader",
        "Each reader: difference in right answers",
        ("Reader", "Phases"),
        (Column("Difference", "points"),),
        tuple(lines),
        "McNemar's test on the cases read in both phases, mid-p.",
        "p",
        (
            Drawing(
                "intervals",
                guide=0.0,
                words="Change in right answers of each reader, with intervals",
                report_width=0.75,
            ),
        ),
    )
