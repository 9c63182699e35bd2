"""Agreement of any number of readers, with missing votes: Gwet's AC1/AC2, Krippendorff's alpha.

ratings: int (cases, readers), index of the category, -1 where the reader did not answer. A reader
against himself (hidden repeats): ``intra_reader``. Cohen, Fleiss and percent: ``agreement``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats import agreement
from bmcore.stats.bootstrap import Resampling, Weights, draw_weights
from bmcore.stats.comparison import interval, quantile
from bmcore.stats.estimate import Estimate, percent, undefined

Floats = npt.NDArray[np.float64]
LEVELS = ("nominal", "ordinal", "interval")


@dataclass(frozen=True)
class IntraReader:
    """One reader's first against his second answer on the repeated cases."""

    percent: Estimate
    kappa: Estimate
    ac: Estimate


def gwet_ac(
    ratings: npt.ArrayLike, n_categories: int, weights: str = "none", level: float = 0.95
) -> Estimate:
    """Gwet's AC1 (weights "none") or AC2 ("linear", "quadratic"), missing answers allowed.

    AC1 and its variance: Gwet 2008 (Br J Math Stat Psychol 61:29); AC2 and missing answers: Gwet
    2014 (Handbook of Inter-Rater Reliability, 4th ed., chapters 4 and 5). Linearised variance over
    cases, t quantile with n - 1 degrees of freedom. ``n_categories`` counts every category that was
    on offer, used or not: chance agreement depends on it.
    Not defined: no case with two answers; a single category. No interval: one case, no
    disagreement, or the same pattern of agreement on every case. In simulations it covered 93-96 %
    with 30 cases or more.
    """
    name = "Gwet's AC1" if weights == "none" else f"Gwet's AC2, {weights} weights"
    table = count_answers(ratings, n_categories)
    table = table[table.sum(axis=1) > 0]
    given = table.sum(axis=1)
    paired = given >= 2
    n, n_paired = len(table), int(paired.sum())
    if n_paired == 0:
        return undefined(0, f"{name}; not defined: no case was answered by two readers")
    if n_categories < 2:
        return undefined(n_paired, f"{name}; not defined: there is only one category")
    w = agreement.agreement_weights(n_categories, weights)
    shares = table / given[:, None]
    marginal = shares.mean(axis=0)
    scale = w.sum() / (n_categories * (n_categories - 1))
    chance = scale * float((marginal * (1 - marginal)).sum())
    agree = np.zeros(n)
    of = given[paired]
    agree[paired] = (table[paired] * (table[paired] @ w - 1)).sum(axis=1) / (of * (of - 1))
    value = (agree[paired].mean() - chance) / (1 - chance)
    if n < 2 or math.isclose(agree[paired].min(), 1.0):
        why = "a single case" if n < 2 else "no disagreement was seen"
        return Estimate(value, np.nan, np.nan, n_paired, f"{name}; no interval: {why}")
    own = np.where(paired, n / n_paired * (agree - chance) / (1 - chance), 0.0)
    own -= 2 * (1 - value) * (scale * shares @ (1 - marginal) - chance) / (1 - chance)
    variance = float(((own - value) ** 2).sum() / (n * (n - 1)))
    if variance < 1e-15:
        why = agreement.SAME_PATTERN
        return Estimate(value, np.nan, np.nan, n_paired, f"{name}; no interval: {why}")
    method = f"{name}; linearised variance over cases (Gwet 2008){agreement.caution(n_paired)}"
    return interval(value, variance, n_paired, method, df=n - 1, level=level, bounds=(-1.0, 1.0))


def krippendorff_alpha(
    ratings: npt.ArrayLike,
    n_categories: int,
    scale: str = "nominal",
    resampling: Resampling = Resampling(),
) -> Estimate:
    """Krippendorff's alpha, "nominal", "ordinal" or "interval"; missing votes allowed.

    Krippendorff 2011, "Computing Krippendorff's alpha-reliability" (coincidence matrix, difference
    functions); for "interval" the category index is the value. Interval: standard error from a
    bootstrap of cases, since the pairs of one case are not independent (the bootstrap of Hayes and
    Krippendorff 2007 draws pairs and comes out too narrow), on Fisher's z with Student's t, which
    covered better than percentiles. n is the number of cases with two or more answers.
    Not defined: no such case, or one category in all of them. No interval: one case, no
    disagreement, or the same pattern of agreement on every case. In simulations it covered 94-96 %
    with 30 cases or more; on the "interval" scale with rare, far outliers rather 92-94 % below 60.
    """
    if scale not in LEVELS:
        raise ValueError(f"scale must be one of {', '.join(LEVELS)}, but is {scale!r}")
    name = f"Krippendorff's alpha, {scale}"
    table = count_answers(ratings, n_categories)
    table = table[table.sum(axis=1) >= 2]
    n = len(table)
    if n == 0:
        return undefined(0, f"{name}; not defined: no case was answered by two readers")
    if (table.sum(axis=0) > 0).sum() < 2:
        return undefined(n, f"{name}; not defined: every answer is the same")
    pairs = table[:, :, None] * table[:, None, :]
    pairs -= table[:, :, None] * np.eye(n_categories)
    pairs /= (table.sum(axis=1) - 1)[:, None, None]
    flat = pairs.reshape(n, -1)

    def statistic(w: Weights) -> Floats:
        return _alpha((w @ flat).reshape(len(w), n_categories, n_categories), scale)

    value = float(statistic(np.ones((1, n)))[0])
    if n < 2 or math.isclose(float(flat[:, :: n_categories + 1].sum()), float(flat.sum())):
        why = "a single case" if n < 2 else "no disagreement was seen"
        return Estimate(value, np.nan, np.nan, n, f"{name}; no interval: {why}")
    draws = np.concatenate([statistic(w) for w in draw_weights(np.arange(n), resampling)])
    return _fisher_interval(value, draws, n, resampling, name)


def intra_reader(
    first: npt.ArrayLike, second: npt.ArrayLike, n_categories: int, weights: str = "none"
) -> IntraReader:
    """A reader against himself on hidden repeats: first and second answers, (n,) each, -1 missing.

    Percent agreement (Wilson), Cohen's kappa (``weights`` as there) and Gwet's AC. Every number is
    not defined, with n 0, where no case was answered twice.
    """
    a, b = (np.asarray(x, dtype=np.int64) for x in (first, second))
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"first and second must be (n,) alike, but are {a.shape} and {b.shape}")
    both = np.column_stack([a, b])
    return IntraReader(
        percent=agreement.percent_agreement(both),
        kappa=agreement.cohen_kappa(a, b, n_categories, weights),
        ac=gwet_ac(both, n_categories, weights),
    )


def count_answers(ratings: npt.ArrayLike, n_categories: int) -> Floats:
    """Counts (cases, categories) from ratings (cases, readers). ValueError on an index that is no
    category, on fractions and on a wrong shape."""
    table = np.asarray(ratings)
    if table.ndim != 2:
        raise ValueError(f"ratings must be (cases, readers), but the shape is {table.shape}")
    if table.size and not np.issubdtype(table.dtype, np.integer):
        raise ValueError(f"ratings must be whole numbers (-1 missing), but are {table.dtype}")
    if table.size and (table.min() < -1 or table.max() >= n_categories):
        raise ValueError(
            f"ratings must lie in 0 to {n_categories - 1}, or be -1 where missing, but run from "
            f"{table.min()} to {table.max()}"
        )
    return np.stack([(table == k).sum(axis=1) for k in range(n_categories)], axis=1).astype(float)


def _alpha(coincidences: Floats, scale: str) -> Floats:
    """Coincidence matrices (b, K, K) -> alpha (b,); NaN where a resample holds one category."""
    margins = coincidences.sum(axis=2)
    total = margins.sum(axis=1)
    difference = _differences(margins, scale)
    observed = (coincidences * difference).sum(axis=(1, 2))
    expected = (margins[:, :, None] * margins[:, None, :] * difference).sum(axis=(1, 2))
    ratio = np.full(len(total), np.nan)
    np.divide((total - 1) * observed, expected, out=ratio, where=expected > 0)
    return 1 - ratio


def _fisher_interval(
    value: float, draws: Floats, n: int, resampling: Resampling, name: str
) -> Estimate:
    """Interval on Fisher's z from bootstrap draws (b,); those not defined are left out."""
    used = draws[~np.isnan(draws)]
    if len(used) < len(draws) / 2:
        why = f"{len(draws) - len(used)} of {len(draws)} resamples not defined"
        return Estimate(value, np.nan, np.nan, n, f"{name}; no interval: {why}")
    if np.ptp(used) < 1e-12:
        return Estimate(value, np.nan, np.nan, n, f"{name}; no interval: {agreement.SAME_PATTERN}")
    edge = 1 - 1e-6
    error = float(np.arctanh(np.clip(used, -edge, edge)).std()) * math.sqrt(n / (n - 1))
    half = quantile(resampling.level, n - 1) * error
    centre = math.atanh(min(max(value, -edge), edge))
    lost = len(draws) - len(used)
    told = f", {lost} of {len(draws)} resamples not defined and left out" if lost else ""
    method = (
        f"{name}; bootstrap of cases, {len(used)} resamples{told}, on Fisher's z, "
        f"{percent(resampling.level)}{agreement.caution(n)}"
    )
    return Estimate(value, math.tanh(centre - half), math.tanh(centre + half), n, method)


def _differences(margins: Floats, scale: str) -> Floats:
    """Squared difference of each two categories, (b, K, K) or (1, K, K)."""
    k = margins.shape[1]
    if scale == "nominal":
        return (1 - np.eye(k))[None]
    if scale == "interval":
        return (np.subtract.outer(np.arange(k), np.arange(k)).astype(float) ** 2)[None]
    middle = margins.cumsum(axis=1) - margins / 2
    return (middle[:, :, None] - middle[:, None, :]) ** 2
