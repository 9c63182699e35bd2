"""U-statistics over readers and cases where not every reader read every case, as in iMRMC.

The estimate is the mean of the kernel over all that was read: for an AUC over every reader's pairs
of a positive and a negative case. Its variance is the squared estimate less the mean product of two
kernel values that share no reader and no case, both of which were read: Gallas 2006 (Acad Radiol
13:353), and for arbitrary designs Gallas, Pennello and Myers 2007 (J Opt Soc Am A 24:B70) and
Gallas and Brown 2008 (Neural Netw 21:387). For a complete design it is ``ustatistics``. Each arm
counts with all that was read in it, paired or not, so split-plot designs need nothing of their own.
Where the unbiased variance is not positive, the sum of a between-reader and a between-case variance
takes its place, which is too wide rather than too narrow; the method says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bmcore.stats.auc_sums import SUBSETS, auc_sums
from bmcore.stats.comparison import Comparison, compare, no_comparison
from bmcore.stats.delong import logit_interval
from bmcore.stats.estimate import Estimate
from bmcore.stats.mrmc import Pair

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class IncompleteStudy:
    """``figures`` (conditions, readers), NaN where a reader has none; ``means`` one Estimate a
    condition and ``differences`` by pair (earlier, later), for random readers; ``read``: readings
    a condition."""

    figures: Floats
    means: tuple[Estimate, ...]
    differences: dict[Pair, Comparison]
    read: tuple[int, ...]


def compare_auc(
    scores: npt.ArrayLike, truth: npt.ArrayLike, level: float = 0.95
) -> IncompleteStudy:
    """Compare AUC between conditions: scores (conditions, readers, cases), NaN where a reader did
    not read; truth bool (cases,). ValueError on shapes that do not fit."""
    table, positive = _checked(scores, truth)
    sums = auc_sums(table, positive)
    top, bottom = (
        sum((-1) ** len(axes) * products[axes] for axes in SUBSETS)
        for products in (sums.products, sums.read)
    )
    apart = np.where(bottom > 0.5, top / np.where(bottom > 0.5, bottom, 1.0), math.nan)
    arms = [
        _arm(sums.kernel[i], sums.design[i],
             [(k[i], d[i]) for k, d in zip(sums.kernel_by, sums.design_by, strict=True)])
        for i in range(len(table))
    ]  # fmt: skip
    name = f"AUC, {int(positive.sum())} positive of {len(positive)} cases"
    return _study(arms, apart, ~np.isnan(table), name, level)


def compare_shares(
    right: npt.ArrayLike, cases: npt.ArrayLike | None = None, level: float = 0.95
) -> IncompleteStudy:
    """Compare shares of right answers: right (conditions, readers, cases), 1, 0 or NaN. cases:
    bool (cases,), those that count, for instance the positive ones for a sensitivity."""
    table = np.asarray(right, dtype=float)
    if table.ndim != 3 or not (np.isnan(table) | (table == 0) | (table == 1)).all():
        raise ValueError("right must be (conditions, readers, cases) of 1, 0 or NaN (not read)")
    if cases is not None:
        table = table[:, :, np.asarray(cases, bool)]
    read = ~np.isnan(table)
    name = f"share of right answers, {table.shape[2]} cases"
    hits, design = np.where(read, table, 0.0), read.astype(float)
    apart = np.array([
        [disjoint_mean(h, d, other, its) for other, its in zip(hits, design, strict=True)]
        for h, d in zip(hits, design, strict=True)
    ])  # fmt: skip
    arms = [
        _arm(h.sum(axis=1), d.sum(axis=1), [(h.sum(axis=0), d.sum(axis=0))])
        for h, d in zip(hits, design, strict=True)
    ]
    return _study(arms, apart, read, name, level)


def disjoint_mean(
    first: Floats, first_design: Floats, second: Floats, second_design: Floats
) -> float:
    """Mean product of a value of ``first`` and one of ``second`` that differ in every index.

    Arrays of one shape; a design holds the weight of each value, 0 where it was not read. By
    inclusion and exclusion over the axes. NaN where no two such values were read.
    """
    top = _disjoint(first * first_design, second * second_design)
    bottom = _disjoint(first_design, second_design)
    return top / bottom if bottom > 1e-9 else math.nan


def _disjoint(a: Floats, b: Floats) -> float:
    total = 0.0
    for size in range(a.ndim + 1):
        for shared in combinations(range(a.ndim), size):
            rest = tuple(axis for axis in range(a.ndim) if axis not in shared)
            total += (-1) ** size * float((a.sum(axis=rest) * b.sum(axis=rest)).sum())
    return total


@dataclass(frozen=True, eq=False)
class _Arm:
    """One condition. own (readers,): each reader's figure, NaN without one; share (readers,): of
    what was read; part: share times what the figure lies above the mean; cases: for each kind of
    case, (cases,), how much each case's values lie above the mean, as a share of all."""

    mean: float
    own: Floats
    share: Floats
    part: Floats
    cases: tuple[Floats, ...]


def _arm(values: Floats, weights: Floats, cases: Sequence[tuple[Floats, Floats]]) -> _Arm:
    """values, weights (readers,): sums of the kernel and of the design; cases: the same sums for
    each case, for each kind of case."""
    total = float(weights.sum())
    own = np.full(len(weights), np.nan)
    np.divide(values, weights, out=own, where=weights > 0)
    mean = float(values.sum()) / total if total else math.nan
    share = weights / total if total else weights
    part = share * np.where(np.isnan(own), 0.0, own - mean)
    centred = tuple((v - mean * w) / total for v, w in cases) if total else ()
    return _Arm(mean, own, share, part, centred)


def _study(
    arms: list[_Arm], apart: Floats, read: npt.NDArray[np.bool_], name: str, level: float
) -> IncompleteStudy:
    """apart (conditions, conditions): the disjoint means."""
    n = int(read.any(axis=(0, 1)).sum())
    means = []
    for i, arm in enumerate(arms):
        one = _tested([arm], apart[[i]][:, [i]], (1.0,), n, name, level)
        means.append(one.difference)
        if one.difference.has_interval and 0 < one.difference.value < 1 and one.statistic:
            e = one.difference
            variance = (e.value / one.statistic) ** 2
            what = e.method.rsplit(", ", 1)[0]
            means[-1] = logit_interval(e.value, variance, n, what, df=one.df, level=level)
    pairs = {
        (a, b): _tested(
            [arms[a], arms[b]],
            apart[[a, b]][:, [a, b]],
            (-1.0, 1.0),
            n,
            f"{name}, difference",
            level,
        )
        for a, b in combinations(range(len(arms)), 2)
    }
    own = np.array([arm.own for arm in arms])
    return IncompleteStudy(own, tuple(means), pairs, tuple(int(r.sum()) for r in read))


def _tested(
    arms: list[_Arm], apart: Floats, signs: tuple[float, ...], n: int, name: str, level: float
) -> Comparison:
    if any(math.isnan(a.mean) for a in arms):
        return no_comparison(n, f"{name}; not defined: nothing was read in one arm")
    r = min(int((a.share > 0).sum()) for a in arms)
    if r < 2:
        return no_comparison(n, f"{name}; not defined: one reader is not a sample of readers")
    value = sum(s * a.mean for s, a in zip(signs, arms, strict=True))
    sign, mean = np.array(signs), np.array([a.mean for a in arms])
    variance = float(sign @ (np.outer(mean, mean) - apart) @ sign)
    squares = float(np.mean([(a.share**2).sum() for a in arms]))
    change = sign @ np.array([a.part for a in arms])
    own = float((change**2).sum()) / (1 - squares)
    how = "unbiased one-shot variance of an incomplete design"
    if not variance > 1e-12:
        variance = own + _between_cases(arms, signs)
        how = "variance between readers plus between cases, since the unbiased one is not positive"
    free = 1 / squares - 1
    df = math.inf if own < 1e-15 else max(variance**2 / (own**2 / free), free)
    method = f"{name}, {len(arms[0].share)} readers, random readers and cases, U-statistics, {how}"
    return compare(value, variance, n, method, df=df, level=level, bounds=(-1.0, 1.0))


def _between_cases(arms: list[_Arm], signs: tuple[float, ...]) -> float:
    kinds = zip(*(a.cases for a in arms), strict=True)
    total = 0.0
    for parts in kinds:
        change = sum(s * p for s, p in zip(signs, parts, strict=True))
        k = len(change)
        total += float((change**2).sum()) * (k / (k - 1) if k > 1 else 1.0)
    return total


def _checked(scores: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    table, positive = np.asarray(scores, dtype=float), np.asarray(truth)
    if table.ndim != 3 or positive.shape != table.shape[2:]:
        raise ValueError(
            "scores must be (conditions, readers, cases) and truth (cases,), but are "
            f"{table.shape} and {positive.shape}"
        )
    return table, positive.astype(bool)
