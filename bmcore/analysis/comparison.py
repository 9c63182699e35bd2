"""What the models change: the phases compared, over all readers and for each reader."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from bmcore.analysis.accuracy import NO_TRUTH, class_scores
from bmcore.analysis.readings import ReadingArrays, StudyData, code
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_CASES,
    LEAST_OF_A_KIND,
    TOO_FEW,
    Column,
    Drawing,
    Line,
    ResultTable,
    Section,
    cell_text,
    count,
    non_empty,
    phase_words,
)
from bmcore.domain import PRIMARY_NAMES
from bmcore.stats import binary_mrmc, mrmc, paired, ustatistics
from bmcore.stats.comparison import Comparison
from bmcore.stats.estimate import undefined

METHODS = ("Readers like these (OR)", "Readers like these (U)", "These readers (OR)")


def comparison_section(
    data: StudyData, arrays: ReadingArrays, category: str, level: float = 0.95
) -> Section:
    """Each two phases over all readers (MRMC) and for each reader (McNemar)."""
    title = "With the models against without"
    if len(arrays.arms) < 2:
        return Section("comparison", title, "One phase only: there is nothing to compare.")
    if not arrays.known.any():
        return Section("comparison", title, NO_TRUTH)
    lines = []
    for a, b in combinations(range(len(arrays.arms)), 2):
        lines += _all_measures(arrays, a, b, category, level)
    tables = [
        ResultTable(
            "comparison",
            "Difference of the phases, later less earlier, mean of the readers",
            ("Phases", "Measure"),
            tuple(Column(m, "points") for m in METHODS),
            tuple(lines),
            "Only cases that all readers answered in both phases. Readers like these: readers and "
            "cases are samples, by Obuchowski and Rockette (OR) and by U-statistics (U). These "
            "readers: it holds for them alone. p of the first column; an AUC in hundredths. All "
            "but right answers: one primary against the rest."
            + ("" if level == 0.95 else f" The intervals here are {level:.0%} intervals."),
            "p",
            (Drawing("intervals", guide=0.0, only="Right answers"),),
        ),
        _by_reader(arrays),
    ]
    return Section("comparison", title, verdict(data, arrays), non_empty(tables))


def _all_measures(arrays: ReadingArrays, a: int, b: int, category: str, level: float) -> list[Line]:
    phases = phase_words(arrays.arms[a], arrays.arms[b])
    name = PRIMARY_NAMES[category]
    lines = []
    for words, found in (
        ("Right answers", measure(arrays, (a, b), "accuracy", category, level)),
        (f"Sensitivity, {name}", measure(arrays, (a, b), "sensitivity", category, level)),
        (f"Specificity, {name}", measure(arrays, (a, b), "specificity", category, level)),
        (f"AUC, {name}", measure(arrays, (a, b), "auc", category, level)),
    ):
        lines.append(Line((phases, words), tuple(c.difference for c in found), found[0].p))
    return lines


def measure(
    arrays: ReadingArrays, arms: tuple[int, int], what: str, category: str, level: float = 0.95
) -> tuple[Comparison, Comparison, Comparison]:
    """The difference of two phases by the three METHODS; what: "accuracy", "sensitivity",
    "specificity" or "auc". Readers without an answer in either phase are left out; too few cases
    give Comparisons that are not defined and say how many are needed."""
    known = arrays.known
    answers = arrays.answers[list(arms)][:, :, known]
    both = (answers >= 0).any(axis=2).all(axis=0)
    answers, truth = answers[:, both], arrays.truth[known]
    whole = np.asarray((answers >= 0).all(axis=(0, 1)) & both.any())
    ill = truth == code(category)
    short = _shortage(what, whole, ill)
    if short is not None:
        return (short, short, short)
    if what == "auc":
        scores = np.array([class_scores(arrays, i, category)[both][:, known] for i in arms])
        old = mrmc.compare_auc(scores, ill, level=level)
        new = ustatistics.compare_auc(scores, ill, level)
    else:
        said = answers == (truth if what == "accuracy" else code(category))
        marks = np.where(answers >= 0, said.astype(float), np.nan)
        reference = np.ones(len(truth), bool) if what == "accuracy" else ill
        old = binary_mrmc.compare_rates(marks, reference, what, level)
        new = binary_mrmc.compare_rates_u(marks, reference, what, level)
    pair = (0, 1)
    return (old.differences_random[pair], new.differences_random[pair], old.differences_fixed[pair])


def _shortage(what: str, whole: np.ndarray, ill: np.ndarray) -> Comparison | None:
    """None where there are enough whole cases for a measure."""
    n, positive = int(whole.sum()), int((whole & ill).sum())
    why = ""
    if what == "accuracy" and n < LEAST_CASES:
        why = f"{count(n, 'case')} read by all in both phases, {LEAST_CASES} needed"
    counted = {
        "sensitivity": positive,
        "specificity": n - positive,
        "auc": min(positive, n - positive),
    }
    if what in counted and counted[what] < LEAST_OF_A_KIND:
        n = counted[what]
        why = f"{count(n, 'case')} of the kind read by all twice, {LEAST_OF_A_KIND} needed"
    if not why:
        return None
    return Comparison(undefined(n, TOO_FEW + why), math.nan, math.nan, math.nan)


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


def endpoint(data: StudyData, arrays: ReadingArrays) -> tuple[str, Comparison] | None:
    """The primary comparison: what is measured, in words, and its result; None where it is none.

    A plan's measure is read from its words: AUC, sensitivity and specificity by these names, right
    answers for "accuracy"; anything else is not computed here.
    """
    arms = data.compared
    if arms is None or not set(arms) <= set(arrays.arms):
        return None
    words = data.plan.primary_endpoint.measure.lower() if data.plan else "accuracy"
    known = {
        "auc": "auc",
        "area under": "auc",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "accuracy": "accuracy",
        "right answers": "accuracy",
    }
    what = next((name for part, name in known.items() if part in words), None)
    if what is None:
        return None
    level = 1 - data.plan.primary_endpoint.alpha if data.plan else 0.95
    pair = (arrays.arm(arms[0]), arrays.arm(arms[1]))
    found = measure(arrays, pair, what, data.category, level)
    use = found[0] if len(arrays.readers) > 1 else found[2]
    named = {"accuracy": "right answers", "auc": "AUC"}.get(what, what)
    if what != "accuracy":
        named += f" for {PRIMARY_NAMES[data.category]}"
    return named, use


def verdict(data: StudyData, arrays: ReadingArrays) -> str:
    """The primary comparison in one sentence."""
    found = endpoint(data, arrays)
    arms = data.compared
    if found is None or arms is None:
        return "The primary endpoint is not one that is computed here; the tables hold the others."
    named, result = found
    change = result.difference
    if change.method.startswith(TOO_FEW):
        return f"Whether the models help cannot be said yet: {change.method.removeprefix(TOO_FEW)}."
    if not change.has_interval:
        return "Whether the models help cannot be said: no reading differs between the phases."
    shown = cell_text(Column("", "points"), change)
    with_, without = (ARM_NAMES[a][0].lower() + ARM_NAMES[a][1:] for a in (arms[1], arms[0]))
    if change.low > 0:
        return f"More {named} {with_} than {without}: {shown}."
    if change.high < 0:
        return f"Fewer {named} {with_} than {without}: {shown}."
    return f"No difference in {named} {with_} against {without} is shown: {shown}."
