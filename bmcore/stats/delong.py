"""Area under the ROC curve from confidences, with DeLong's variance.

DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44:837), by midranks as in Sun and Xu 2014 (IEEE
Signal Process Lett 21:1389). scores: (n,), higher means more likely positive, ties count half.
truth: bool (n,), or 0 and 1. A case with a NaN score is left out.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import rankdata

from bmcore.stats.comparison import NO_VARIANCE, Comparison, compare, no_comparison, quantile
from bmcore.stats.estimate import Estimate, percent, undefined

Floats = npt.NDArray[np.float64]


def placements(scores: Floats, truth: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Placement values of positive (m, n1) and of negative cases (m, n0), from scores (m, n).

    The mean of either over cases is the AUC of each of the m readings.
    """
    positive, negative = scores[:, truth], scores[:, ~truth]
    ranks = rankdata(scores, axis=1)
    above = ranks[:, truth] - rankdata(positive, axis=1)
    below = ranks[:, ~truth] - rankdata(negative, axis=1)
    return above / negative.shape[1], 1 - below / positive.shape[1]


def auc_covariance(
    scores: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """AUC (m,) of m readings of the same cases and their covariance (m, m); scores (m, n).

    ValueError without two positive and two negative cases, or with a NaN.
    """
    table, positive = check_scores(scores, truth)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if min(n1, n0) < 2:
        raise ValueError(f"AUC covariance needs two cases of each kind, but has {n1} and {n0}")
    up, down = placements(table, positive)
    covariance = np.atleast_2d(np.cov(up)) / n1 + np.atleast_2d(np.cov(down)) / n0
    return up.mean(axis=1), covariance


def auc(scores: npt.ArrayLike, truth: npt.ArrayLike, level: float = 0.95) -> Estimate:
    """AUC of one reading with DeLong's variance and an interval on the logit scale.

    The logit keeps the interval inside 0-1 and its coverage near 95 % for high areas (Pepe 2003,
    The Statistical Evaluation of Medical Tests, section 5.2). Not defined: no positive or no
    negative case. No interval: one case of a kind. An AUC of 0 or 1: ``area_at_the_end``.
    """
    table, positive = _usable(scores, truth)
    n, n1 = len(positive), int(positive.sum())
    if n1 in (0, n):
        return undefined(n, f"AUC; not defined: {n1} positive and {n - n1} negative cases")
    value = float(placements(table, positive)[0].mean())
    name = f"AUC, {n1} positive of {n} cases"
    if min(n1, n - n1) < 2:
        return Estimate(value, np.nan, np.nan, n, f"{name}; no interval: one case of a kind")
    if value in (0.0, 1.0):
        return area_at_the_end(value, n1, n - n1, name, level)
    variance = float(auc_covariance(table, positive)[1][0, 0])
    return logit_interval(value, variance, n, f"{name}; DeLong variance", level=level)


def auc_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, truth: npt.ArrayLike, level: float = 0.95
) -> Comparison:
    """AUC of ``first`` minus AUC of ``second``, two readings of the same cases, (n,) scores each.

    DeLong's paired test. A case with a NaN in either is left out. Not defined as in ``auc``; no
    interval where the two rank every case alike.
    """
    table, positive = _usable(np.stack([np.asarray(first), np.asarray(second)]), truth)
    n, n1 = len(positive), int(positive.sum())
    if min(n1, n - n1) < 2:
        why = f"AUC difference; not defined: {n1} positive and {n - n1} negative cases"
        return no_comparison(n, why)
    areas, covariance = auc_covariance(table, positive)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    method = "AUC difference; paired DeLong variance"
    return compare(areas[0] - areas[1], variance, n, method, level=level, bounds=(-1.0, 1.0))


def area_at_the_end(
    value: float, positive: int, negative: int, name: str, level: float = 0.95
) -> Estimate:
    """Score interval of an area from its value and the numbers of cases alone, for areas of 0 or 1,
    where DeLong's variance vanishes: Newcombe 2006 (Stat Med 25:559), method 5, which solves value
    less area = z times the standard error at that area (Hanley and McNeil's, symmetrised)."""
    z, m = quantile(level, math.inf), positive * negative
    half = (positive + negative) / 2 - 1

    def gap(area: float) -> float:
        spread = 1 + half * ((1 - area) / (2 - area) + area / (1 + area))
        return abs(value - area) - z * math.sqrt(area * (1 - area) * spread / m)

    low = 0.0 if value == 0 else float(brentq(gap, 1e-12, value - 1e-12))
    high = 1.0 if value == 1 else float(brentq(gap, value + 1e-12, 1 - 1e-12))
    method = f"{name}; score interval (Newcombe 2006, method 5), {percent(level)}"
    return Estimate(value, low, high, positive + negative, method)


def logit_interval(
    value: float,
    variance: float,
    n: int,
    method: str,
    *,
    df: float = math.inf,
    level: float = 0.95,
) -> Estimate:
    """Interval of a share or area on the logit scale, from its variance on the plain scale."""
    if not variance > 1e-15 or not 0 < value < 1:
        return Estimate(value, np.nan, np.nan, n, f"{method}; no interval: {NO_VARIANCE}")
    centre = math.log(value / (1 - value))
    half = quantile(level, df) * math.sqrt(variance) / (value * (1 - value))
    low, high = (
        1 / (1 + math.exp(-min(max(x, -700.0), 700.0))) for x in (centre - half, centre + half)
    )
    return Estimate(value, low, high, n, f"{method}, logit interval, {percent(level)}")


UNDECIDED = -102.0  # below every answer: -1 less the highest confidence is -101


def class_scores(
    answers: npt.ArrayLike,
    confidences: npt.ArrayLike,
    category: int,
    undecided: int | None = None,
) -> npt.NDArray[np.float64]:
    """A reader's answers and 0-100 confidences as scores for "it is ``category``", (n,).

    1 plus the confidence where he named the category, less that where he named another: the surer
    of something else, the lower. ``undecided`` ("cannot tell") ranks lowest, all tied, whatever its
    confidence, as in ``readings.class_score``. NaN where he gave no answer (-1).
    """
    named, sure = np.asarray(answers), np.asarray(confidences, dtype=float)
    if named.shape != sure.shape or named.ndim != 1:
        raise ValueError(
            f"answers and confidences must be (n,) alike, but are {named.shape}, {sure.shape}"
        )
    given = named >= 0
    if ((sure[given] < 0) | (sure[given] > 100) | np.isnan(sure[given])).any():
        raise ValueError("confidences must lie between 0 and 100 wherever there is an answer")
    scores = np.where(named == category, 1 + sure, -1 - sure)
    if undecided is not None:
        scores = np.where(named == undecided, UNDECIDED, scores)
    return np.where(given, scores, np.nan)


def check_scores(
    scores: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Scores as (m, n) floats without NaN and truth as bool (n,); ValueError says what is wrong."""
    table = np.atleast_2d(np.asarray(scores, dtype=float))
    positive = np.asarray(truth)
    if table.ndim != 2 or positive.shape != (table.shape[1],):
        raise ValueError(
            f"scores must be (m, n) and truth (n,), but are {table.shape}, {positive.shape}"
        )
    if not np.isin(positive, (0, 1)).all():
        raise ValueError("truth must hold only true and false (or 1 and 0)")
    if np.isnan(table).any():
        raise ValueError("scores must not hold NaN; leave out cases that were not read")
    return table, positive.astype(bool)


def _usable(scores: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    table = np.atleast_2d(np.asarray(scores, dtype=float))
    read = ~np.isnan(table).any(axis=0)
    positive = np.asarray(truth)
    if positive.shape != read.shape:
        raise ValueError(f"truth must be one value a case, {read.shape}, but is {positive.shape}")
    return check_scores(table[:, read], positive[read])
