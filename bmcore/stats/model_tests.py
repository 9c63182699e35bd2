"""Paired tests of two models that answered the same patients, over all classes.

A difference carries its interval and a two-sided p value. truth: (n,) class indices from 0;
probabilities: (n, K); each row is one patient. Two classes and several readers: ``delong``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats as _scipy

from bmcore.stats.classification import auc_statistic
from bmcore.stats.comparison import NO_VARIANCE
from bmcore.stats.estimate import Estimate, percent, undefined

Floats = npt.NDArray[np.float64]
_CELLS = 400_000


@dataclass(frozen=True)
class PairedTest:
    """``difference``: first minus second, with interval. ``p_value``: two-sided, NaN where it is
    not defined. ``method`` names the test, or says why there is none."""

    difference: Estimate
    p_value: float
    method: str


def delong(
    truth: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95
) -> PairedTest:
    """Difference of two macro AUCs (each class against the rest) on the same patients.

    DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44:837). With two classes it is their test;
    with more, each patient's placement values are averaged over the classes that have positive and
    negative cases, so that the variance of the mean holds the covariance between classes too. Where
    the variance vanishes there is no interval; p is then 1 without a difference, else NaN, as two
    models at opposite ends (all pairs won, all lost) have no variance either: ``permutation_auc``
    tests them.
    """
    t, a, b = _checked(truth, first, second)
    usable = [c for c in range(a.shape[1]) if 0 < (t == c).sum() < len(t)]
    name = f"DeLong 1988, mean over {len(usable)} classes, normal interval {percent(level)}"
    if not usable or min(min((t == c).sum(), (t != c).sum()) for c in usable) < 2:
        why = "not defined: a class has fewer than two patients on one side"
        return PairedTest(undefined(len(t), why), math.nan, why)
    share = np.zeros(len(t))
    value = 0.0
    for c in usable:
        area, part = _influence(t == c, a[:, c], b[:, c])
        value += area / len(usable)
        share += part / len(usable)
    variance = float((share**2).sum())
    if not variance > 1e-15:
        p = 1.0 if abs(value) < 1e-12 else math.nan
        what = "" if p == 1.0 else "no test; "
        why = f"{name}; {what}no interval: {NO_VARIANCE}"
        return PairedTest(Estimate(value, np.nan, np.nan, len(t), why), p, why)
    error = math.sqrt(variance)
    half = float(_scipy.norm.ppf(0.5 + level / 2)) * error
    p = 2 * float(_scipy.norm.sf(abs(value) / error))
    return PairedTest(Estimate(value, value - half, value + half, len(t), name), p, name)


def permutation_auc(
    truth: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    permutations: int = 2000,
    seed: int = 0,
) -> float:
    """Two-sided p value of the difference of two macro AUCs by exchanging the two answers of random
    patients.

    Exchanged are the ranks within each model and class, so that models of another scale can be
    compared (Bandos, Rockette and Gur 2005, Stat Med 24:2873). With the observed order among
    them (Phipson and Smyth 2010) p is never 0.
    """
    t, a, b = _checked(truth, first, second)
    usable = [c for c in range(a.shape[1]) if 0 < (t == c).sum() < len(t)]
    if not usable:
        return math.nan
    ranks = [np.apply_along_axis(_scipy.rankdata, 0, x) for x in (a, b)]
    once = np.ones((1, len(t)))
    observed = float(auc_statistic(t, a)(once)[0] - auc_statistic(t, b)(once)[0])
    rng = np.random.default_rng(seed)
    beyond = 1
    block = max(1, _CELLS // len(t))
    for start in range(0, permutations, block):
        swap = rng.random((min(block, permutations - start), len(t))) < 0.5
        gap = np.zeros(len(swap))
        for c in usable:
            one, two = ranks[0][:, c], ranks[1][:, c]
            gap += _area(np.where(swap, two, one), t == c)
            gap -= _area(np.where(swap, one, two), t == c)
        beyond += int((np.abs(gap / len(usable)) >= abs(observed) - 1e-12).sum())
    return beyond / (permutations + 1)


def permutation_mean(
    first: npt.ArrayLike, second: npt.ArrayLike, permutations: int = 2000, seed: int = 0
) -> float:
    """Two-sided p value of the mean difference of two (n,) scores a patient (right or wrong, log
    loss), by exchanging the scores of random patients; never 0 (Phipson and Smyth 2010)."""
    gap = np.asarray(first, float) - np.asarray(second, float)
    if gap.ndim != 1 or len(gap) == 0:
        return math.nan
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (permutations, len(gap))) * 2.0 - 1
    beyond = (np.abs(signs @ gap) >= abs(gap.sum()) - 1e-12 * len(gap)).sum()
    return (int(beyond) + 1) / (permutations + 1)


def _influence(positive: npt.NDArray[np.bool_], a: Floats, b: Floats) -> tuple[float, Floats]:
    """Difference of the AUCs, and each patient's part in it (n,), whose squares sum to DeLong's
    variance S10 / m + S01 / n."""
    value, part = 0.0, np.zeros(len(positive))
    m, n = int(positive.sum()), int((~positive).sum())
    for sign, x in ((1.0, a), (-1.0, b)):
        over, under = x[positive][:, None], x[~positive][None, :]
        won = (over > under) + 0.5 * (over == under)
        area = float(won.mean())
        value += sign * area
        part[positive] += sign * (won.mean(axis=1) - area) / math.sqrt(m * (m - 1))
        part[~positive] += sign * (won.mean(axis=0) - area) / math.sqrt(n * (n - 1))
    return value, part


def _area(scores: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    """AUC of each row of scores (b, n), by ranks with ties counted half."""
    ranks = _scipy.rankdata(scores, axis=1)
    m, n = int(positive.sum()), int((~positive).sum())
    areas: Floats = (ranks[:, positive].sum(axis=1) - m * (m + 1) / 2) / (m * n)
    return areas


def _checked(
    truth: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    t, a, b = np.asarray(truth), np.asarray(first, float), np.asarray(second, float)
    if a.ndim != 2 or a.shape != b.shape or t.shape != a.shape[:1]:
        raise ValueError(
            f"truth must be (n,), both answers (n, K), but are {t.shape}, {a.shape}, {b.shape}"
        )
    return t.astype(np.int64), a, b
