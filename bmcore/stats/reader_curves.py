"""The ROC curve of the average reader in each arm, with a pointwise band.

Vertical averaging: at each false positive rate the mean over readers of their empirical curves, so
that the area under the average curve is the average of the areas (Chen and Samuelson 2014, Br J
Radiol 87:20140016). The band is pointwise, not for the curve as a whole: the variance comes from a
bootstrap of cases (positive and negative ones apart) and, for random readers, of readers; the
interval is Wilson's with the effective sample size of that variance, so it holds at 0 and 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats.bootstrap import Resampling
from bmcore.stats.comparison import quantile
from bmcore.stats.estimate import percent, proportion

Floats = npt.NDArray[np.float64]
GRID = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class AverageCurve:
    """``sensitivity`` with its band ``low``-``high`` at each false positive rate of ``grid``,
    (g,); ``area`` under it; ``readers`` that entered; ``n`` cases; ``method``."""

    grid: Floats
    sensitivity: Floats
    low: Floats
    high: Floats
    area: float
    readers: int
    n: int
    method: str


def average_curve(
    scores: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    fixed_readers: bool = False,
    grid: Floats = GRID,
    resampling: Resampling = Resampling(resamples=500),
) -> AverageCurve:
    """The curve of scores (readers, cases), NaN where not read, against truth bool (cases,).

    A reader without two positive and two negative cases does not enter. ValueError: no reader left,
    or shapes that do not fit. With one reader, or fixed readers, only cases are drawn.
    """
    table, positive = np.asarray(scores, dtype=float), np.asarray(truth, dtype=bool)
    if table.ndim != 2 or positive.shape != table.shape[1:]:
        raise ValueError(
            "scores must be (readers, cases) and truth (cases,), but are "
            f"{table.shape} and {positive.shape}"
        )
    read = ~np.isnan(table)
    enough = np.minimum((read & positive).sum(axis=1), (read & ~positive).sum(axis=1)) >= 2
    if not enough.any():
        raise ValueError("no reader has read two positive and two negative cases")
    table = table[enough]
    r, n = table.shape
    one = np.ones(n)
    each = np.array([_curve(row, positive, one, grid) for row in table])
    mean = each.mean(axis=0)
    rng = np.random.default_rng(resampling.seed)
    readers_too = r > 1 and not fixed_readers
    draws = []
    for _ in range(resampling.resamples):
        weights = _drawn(rng, positive)
        rows = rng.integers(0, r, r) if readers_too else np.arange(r)
        curves = {i: _curve(table[i], positive, weights, grid) for i in set(rows.tolist())}
        draws.append(np.mean([curves[i] for i in rows.tolist()], axis=0))
    variance = np.nanvar(np.array(draws), axis=0)
    n1 = int(positive.sum())
    df = r - 1 if readers_too else math.inf
    low, high = _band(mean, variance, n1, df, resampling.level)
    low[grid >= 1] = high[grid >= 1] = 1.0  # where everything is called positive
    who = "random readers" if readers_too else "fixed readers"
    area = float(((mean[1:] + mean[:-1]) / 2 * np.diff(grid)).sum())
    method = (
        f"mean of {r} readers' empirical ROC curves, {who}, pointwise "
        f"{percent(resampling.level)} band, {resampling.resamples} resamples, "
        f"{n1} positive of {n} cases"
    )
    return AverageCurve(grid, mean, low, high, area, r, n, method)


def _curve(
    scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats, grid: Floats
) -> Floats:
    """Sensitivity (g,) of one reader's weighted empirical curve; NaN where a kind is missing."""
    read = ~np.isnan(scores)
    value, ill, w = scores[read], positive[read], weights[read]
    order = np.argsort(-value, kind="stable")
    value, up, down = value[order], (w * ill)[order].cumsum(), (w * ~ill)[order].cumsum()
    if up[-1] == 0 or down[-1] == 0:
        return np.full(len(grid), np.nan)
    last = np.append(value[1:] != value[:-1], True)
    x = np.append(0.0, down[last] / down[-1])
    y = np.append(0.0, up[last] / up[-1])
    # At a vertical step the curve's value is its upper end, and the way to it leads to its lower.
    at = np.searchsorted(x, grid, side="right") - 1
    then = np.minimum(at + 1, len(x) - 1)
    run = x[then] - x[at]
    share = np.divide(grid - x[at], run, out=np.zeros(len(grid)), where=run > 0)
    return np.asarray(y[at] + share * (y[then] - y[at]))


def _drawn(rng: np.random.Generator, positive: npt.NDArray[np.bool_]) -> Floats:
    weights = np.zeros(len(positive))
    for kind in (positive, ~positive):
        at = np.flatnonzero(kind)
        weights += np.bincount(rng.choice(at, len(at)), minlength=len(positive))
    return weights


def _band(mean: Floats, variance: Floats, n: int, df: float, level: float) -> tuple[Floats, Floats]:
    shrink = (quantile(level, math.inf) / quantile(level, df)) ** 2
    low, high = np.empty_like(mean), np.empty_like(mean)
    for i, (p, v) in enumerate(zip(mean, variance, strict=True)):
        inside = v > 1e-12 and 0 < p < 1
        size = min(max(p * (1 - p) / v, 1.0), float(n)) * shrink if inside else float(n)
        found = proportion(min(max(p, 0.0), 1.0) * size, size, level)
        low[i], high[i] = found.low, found.high
    return low, high
