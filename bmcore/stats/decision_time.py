"""Decision times of the same cases under two conditions, compared as a ratio on the log scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats import ustatistics
from bmcore.stats.comparison import Comparison, compare, no_comparison
from bmcore.stats.estimate import Estimate, undefined

Floats = npt.NDArray[np.float64]
_FURTHEST = math.log(1e6)


@dataclass(frozen=True)
class TimeRatio:
    """``ratio``: geometric mean of second time over first, below 1 is faster; ``p`` two-sided
    against 1, NaN where there is no test."""

    ratio: Estimate
    p: float


def time_ratio(first_s: npt.ArrayLike, second_s: npt.ArrayLike, level: float = 0.95) -> TimeRatio:
    """One reader's times in seconds on the same cases, (n,) each: paired t on logarithms.

    Bland and Altman 1996 (BMJ 312:1153) on ratios from logarithms. Pairs with a NaN are left out;
    ValueError on a time of 0 or less. Not defined: no pair; no interval: a single pair.
    """
    change = _log_change(first_s, second_s)
    if change.ndim != 1:
        raise ValueError(f"times of one reader must be (n,), but are {change.shape}")
    change = change[np.isfinite(change)]
    n = len(change)
    name = "geometric mean ratio of times, paired t on logarithms"
    if n == 0:
        return as_ratio(no_comparison(0, f"{name}; not defined: no case has both times"))
    variance = float(change.var(ddof=1)) / n if n > 1 else math.nan
    return as_ratio(compare(float(change.mean()), variance, n, name, df=max(n - 1, 1), level=level))


def time_ratio_of_all(
    first_s: npt.ArrayLike, second_s: npt.ArrayLike, level: float = 0.95
) -> TimeRatio:
    """All readers' times, (readers, n) each, for readers and cases like these.

    Logarithms averaged over readers and cases with the one-shot variance of ``ustatistics`` and
    Hillis's degrees of freedom. A case that lacks a time of any reader is left out. Not defined:
    one reader, or fewer than two such cases.
    """
    change = _log_change(first_s, second_s)
    if change.ndim != 2:
        raise ValueError(f"times of all readers must be (readers, n), but are {change.shape}")
    change = change[:, np.isfinite(change).all(axis=0)]
    n = change.shape[1]
    name = "geometric mean ratio of times"
    if n < 2:
        return as_ratio(no_comparison(n, f"{name}; not defined: {n} cases timed for everyone"))
    return as_ratio(ustatistics.random_mean(change, n, name, level))


def _log_change(first_s: npt.ArrayLike, second_s: npt.ArrayLike) -> Floats:
    first, second = (np.asarray(x, dtype=float) for x in (first_s, second_s))
    if first.shape != second.shape:
        raise ValueError(f"times must be alike in shape, but are {first.shape}, {second.shape}")
    if (first <= 0).any() or (second <= 0).any():
        raise ValueError("times must be above 0 s; a case without a time is NaN")
    change: Floats = np.log(second) - np.log(first)
    return change


def as_ratio(found: Comparison) -> TimeRatio:
    """A comparison of logarithms as a ratio: value and limits raised from the logarithm.

    Not defined beyond a factor of a million either way; where only a limit lies beyond, no interval
    and no p. Such numbers come of a few times that differ much and say nothing of the ratio.
    """
    e = found.difference
    if abs(e.value) > _FURTHEST:
        why = "not defined: it is beyond a factor of a million"
        return TimeRatio(undefined(e.n, f"{e.method}; {why}"), math.nan)
    if max(abs(e.low), abs(e.high)) > _FURTHEST:
        why = f"no interval: {e.n} cases say too little to bound it within a million"
        return TimeRatio(
            Estimate(math.exp(e.value), math.nan, math.nan, e.n, f"{e.method}; {why}"), math.nan
        )
    ratio = Estimate(math.exp(e.value), math.exp(e.low), math.exp(e.high), e.n, e.method)
    return TimeRatio(ratio, found.p)
