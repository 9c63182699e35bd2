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
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

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
    read = ~np.isnan(table)
    known = np.where(read, table, 0.0)
    up, down = known[:, :, positive][:, :, None, :], known[:, :, ~positive][:, :, :, None]
    design = read[:, :, positive][:, :, None, :] & read[:, :, ~positive][:, :, :, None]
    kernel = (np.sign(up - down) + 1) / 2
    name = f"AUC, {int(positive.sum())} positive of {len(positive)} cases"
    return _compare(kernel, design.astype(float), read, name, level)


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
    return _compare(np.where(read, table, 0.0), read.astype(float), read, name, level)


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


def _compare(
    kernel: Floats, design: Floats, read: npt.NDArray[np.bool_], name: str, level: float
) -> IncompleteStudy:
    t = len(kernel)
    axes = tuple(range(2, kernel.ndim))
    weight = design.sum(axis=axes)
    own = np.full(weight.shape, np.nan)
    np.divide((kernel * design).sum(axis=axes), weight, out=own, where=weight > 0)
    n = int(read.any(axis=(0, 1)).sum())
    arms = [_Arm(k, d, own[i]) for i, (k, d) in enumerate(zip(kernel, design, strict=True))]
    means = []
    for arm in arms:
        one = _tested([arm], (1.0,), n, name, level)
        means.append(one.difference)
        if one.difference.has_interval and 0 < one.difference.value < 1 and one.statistic:
            e = one.difference
            variance = (e.value / one.statistic) ** 2
            what = e.method.rsplit(", ", 1)[0]
            means[-1] = logit_interval(e.value, variance, n, what, df=one.df, level=level)
    pairs = {
        (a, b): _tested([arms[a], arms[b]], (-1.0, 1.0), n, f"{name}, difference", level)
        for a, b in combinations(range(t), 2)
    }
    return IncompleteStudy(own, tuple(means), pairs, tuple(int(r.sum()) for r in read))


class _Arm:
    """Kernel and design of one condition; the readers' shares of what was read."""

    def __init__(self, kernel: Floats, design: Floats, own: Floats) -> None:
        self.kernel, self.design = kernel, design
        total = float(design.sum())
        rows = design.reshape(len(design), -1).sum(axis=1)
        self.share = rows / total if total else rows
        self.mean = float((kernel * design).sum() / total) if total else math.nan
        self.part = self.share * np.where(np.isnan(own), 0.0, own - self.mean)

    def case_parts(self) -> list[Floats]:
        """Centred sums of the kernel by case, an array for each kind of case."""
        rest = self.design * (self.kernel - self.mean) / self.design.sum()
        out = []
        for axis in range(1, rest.ndim):
            others = tuple(a for a in range(rest.ndim) if a != axis)
            out.append(rest.sum(axis=others))
        return out


def _tested(
    arms: list[_Arm], signs: tuple[float, ...], n: int, name: str, level: float
) -> Comparison:
    if any(math.isnan(a.mean) for a in arms):
        return no_comparison(n, f"{name}; not defined: nothing was read in one arm")
    r = min(int((a.share > 0).sum()) for a in arms)
    if r < 2:
        return no_comparison(n, f"{name}; not defined: one reader is not a sample of readers")
    value = sum(s * a.mean for s, a in zip(signs, arms, strict=True))
    variance = 0.0
    for s, a in zip(signs, arms, strict=True):
        for u, b in zip(signs, arms, strict=True):
            apart = disjoint_mean(a.kernel, a.design, b.kernel, b.design)
            variance += s * u * (a.mean * b.mean - apart)
    squares = float(np.mean([(a.share**2).sum() for a in arms]))
    change = sum(s * a.part for s, a in zip(signs, arms, strict=True))
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
    kinds = zip(*(a.case_parts() for a in arms), strict=True)
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
