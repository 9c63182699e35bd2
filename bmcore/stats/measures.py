"""The measures of an endpoint: from one reader's readings in one arm to his figure of merit.

Each function gives a ``weighted_mrmc.Figure``: the value, the values with each case left out, and
the weight. What a measure needs and a reading lacks (no answer, no time, truth not known) leaves
that reading out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats import afroc, agreement, delong
from bmcore.stats.readings import CANNOT_TELL, Reading, class_score
from bmcore.stats.weighted_mrmc import Figure

Floats = npt.NDArray[np.float64]
Rows = Sequence[Reading]
NOTHING = Figure(math.nan, np.zeros(0), (), 0.0)


@dataclass(frozen=True)
class Options:
    """What a measure may need: the ``category`` of a sensitivity, specificity or AUC; all
    ``categories``; lesions of ``size_mm`` (from, to below); the cases whose false marks count
    ("normal" or "all"); the rule for "cannot tell" in ROC curves."""

    category: str = ""
    categories: tuple[str, ...] = ()
    size_mm: tuple[float, float] = (0.0, math.inf)
    false_from: str = "all"
    cannot_tell: str = "lowest"


def accuracy(rows: Rows, options: Options) -> Figure:
    """Share of right answers; "cannot tell" is not right."""
    used = [r for r in rows if r.truth and r.answer]
    return _ratio(used, [r.answer == r.truth for r in used], np.ones(len(used)))


def sensitivity(rows: Rows, options: Options) -> Figure:
    """Share of the cases of the category that the reader named so."""
    used = [r for r in rows if r.truth == options.category and r.answer]
    return _ratio(used, [r.answer == r.truth for r in used], np.ones(len(used)))


def specificity(rows: Rows, options: Options) -> Figure:
    """Share of the other cases that the reader did not call by the category."""
    used = [r for r in rows if r.truth and r.truth != options.category and r.answer]
    return _ratio(used, [r.answer != options.category for r in used], np.ones(len(used)))


def balanced_accuracy(rows: Rows, options: Options) -> Figure:
    """Mean of the sensitivities of all categories; weight: their harmonic number of cases."""
    parts = [
        sensitivity([r for r in rows if r.truth == c], Options(category=c))
        for c in options.categories
    ]
    if not parts or not all(p.usable for p in parts):
        return NOTHING
    return _mean(parts, len(parts) ** 2 / sum(1 / len(p.cases) for p in parts))


def auc(rows: Rows, options: Options) -> Figure:
    """AUC of the confidences for the category against the rest; jackknife by placements."""
    used = [r for r in rows if r.truth]
    scores = np.array([class_score(r, options.category, options.cannot_tell) for r in used])
    read = ~np.isnan(scores)
    used = [r for r, ok in zip(used, read, strict=True) if ok]
    truth = np.array([r.truth == options.category for r in used], bool)
    return auc_of_scores(scores[read], truth, tuple(r.case for r in used))


def auc_of_scores(scores: Floats, truth: npt.NDArray[np.bool_], cases: tuple[str, ...]) -> Figure:
    """One reader's area from scores (n,) of ``cases``, truth bool (n,); two of each kind needed."""
    n1, n0 = int(truth.sum()), int((~truth).sum())
    if min(n1, n0) < 2:
        return NOTHING
    up, down = (p[0] for p in delong.placements(scores[None], truth))
    value, without = float(up.mean()), np.empty(len(cases))
    without[truth] = (n1 * value - up) / (n1 - 1)
    without[~truth] = (n0 * value - down) / (n0 - 1)
    return Figure(value, without, cases, n1 * n0 / (n1 + n0))


def macro_auc(rows: Rows, options: Options) -> Figure:
    """Plain mean of the AUCs of all categories, each against the rest."""
    parts = [
        auc(rows, Options(category=c, cannot_tell=options.cannot_tell)) for c in options.categories
    ]
    if not parts or not all(p.usable for p in parts):
        return NOTHING
    value = float(np.mean([p.value for p in parts]))
    without = np.mean([p.left_out for p in parts], axis=0)
    return Figure(value, without, parts[0].cases, float(len(without)))


def lesion_sensitivity(rows: Rows, options: Options) -> Figure:
    """Share of the reference lesions of the size that were marked; a case without marks: none."""
    low, high = options.size_mm
    counts = [sum(low <= d < high for d in r.lesions_mm) for r in rows]
    hits = [
        sum(m > -math.inf for d, m in zip(r.lesions_mm, r.marks, strict=True) if low <= d < high)
        for r in rows
    ]
    kept = [i for i, count in enumerate(counts) if count]
    return _ratio(
        [rows[i] for i in kept], [hits[i] for i in kept], np.array([counts[i] for i in kept], float)
    )


def false_lesions(rows: Rows, options: Options) -> Figure:
    """Mean number of false marks a case; by their own diameter where sizes are asked for."""
    low, high = options.size_mm
    if (low, high) == (0.0, math.inf):
        counts = [len(r.false_marks) for r in rows]
    else:
        counts = [sum(low <= d < high for d in r.false_mm) for r in rows]
    return _ratio(rows, counts, np.ones(len(rows)))


def wafroc(rows: Rows, options: Options) -> Figure:
    """Weighted AFROC area of the rated marks, false marks of ``false_from``."""
    if len(rows) < 2:
        return NOTHING
    where = [i for i, r in enumerate(rows) for _ in r.lesions_mm]
    marks = afroc.Marks(
        np.array([[[max(r.false_marks, default=-math.inf) for r in rows]]]),
        np.array([m for r in rows for m in r.marks], float)[None, None],
        np.array(where, dtype=np.int64),
    )
    try:
        areas, without = afroc.figures(marks, options.false_from, weighted=True)
    except afroc.TooFew:
        return NOTHING
    return Figure(float(areas[0]), without[0], tuple(r.case for r in rows), float(len(rows)))


def log_time(rows: Rows, options: Options) -> Figure:
    """Mean of the logarithm of the decision time in seconds."""
    used = [r for r in rows if not math.isnan(r.seconds)]
    return _ratio(used, [math.log(r.seconds) for r in used], np.ones(len(used)))


def agreement_of_all(rows: Rows, options: Options) -> Figure:
    """Fleiss' kappa of all readers of the arm, "cannot tell" a category of its own."""
    names = (*options.categories, CANNOT_TELL)
    cells = [(r.case, r.reader, r.answer or None) for r in rows]
    if not cells:
        return NOTHING
    table = agreement.rating_matrix(cells, names)
    counts = np.stack([(table.codes == k).sum(axis=1) for k in range(len(names))], axis=1)
    kept = counts.sum(axis=1) >= 2
    counts, cases = counts[kept].astype(float), np.array(table.cases)[kept]
    if len(cases) < 3:
        return NOTHING
    value = _fleiss(counts)
    without = np.array([_fleiss(np.delete(counts, i, axis=0)) for i in range(len(cases))])
    return Figure(value, without, tuple(cases.tolist()), float(len(cases)))


MEASURES: dict[str, Callable[[Rows, Options], Figure]] = {
    "accuracy": accuracy,
    "balanced accuracy": balanced_accuracy,
    "AUC": auc,
    "macro AUC": macro_auc,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "lesion sensitivity": lesion_sensitivity,
    "false lesions": false_lesions,
    "wAFROC": wafroc,
    "decision time": log_time,
    "agreement": agreement_of_all,
}


def _ratio(rows: Rows, tops: Sequence[float], bottoms: Floats) -> Figure:
    top, n = np.asarray(tops, dtype=float), len(rows)
    if n < 2:
        return NOTHING
    rest = bottoms.sum() - bottoms
    value = float(top.sum() / bottoms.sum())
    return Figure(
        value, (top.sum() - top) / rest, tuple(r.case for r in rows), float(bottoms.sum())
    )


def _mean(parts: Sequence[Figure], weight: float) -> Figure:
    """The mean of figures of different cases: leaving out a case changes one of them."""
    value = float(np.mean([p.value for p in parts]))
    without = [value + (p.left_out - p.value) / len(parts) for p in parts]
    return Figure(value, np.concatenate(without), tuple(c for p in parts for c in p.cases), weight)


def _fleiss(counts: Floats) -> float:
    given = counts.sum(axis=1)
    marginal = (counts / given[:, None]).mean(axis=0)
    chance = float((marginal**2).sum())
    if math.isclose(chance, 1.0):
        return math.nan
    agree = (counts * (counts - 1)).sum(axis=1) / (given * (given - 1))
    return float((agree.mean() - chance) / (1 - chance))
