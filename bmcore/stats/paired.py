"""Two readings of the same cases, right or wrong: McNemar's test, difference of the shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats as _scipy

from bmcore.stats.comparison import Comparison, quantile
from bmcore.stats.estimate import Estimate, percent, proportion, undefined


@dataclass(frozen=True)
class McNemar:
    """``only_first`` and ``only_second``: cases that only one of the two had right. ``exact`` and
    ``mid_p``: two-sided p-values, NaN without such a case. ``difference``: share of right answers
    of the first less that of the second."""

    only_first: int
    only_second: int
    exact: float
    mid_p: float
    difference: Estimate


def mcnemar(
    first_right: npt.ArrayLike, second_right: npt.ArrayLike, level: float = 0.95
) -> McNemar:
    """McNemar's test of two readings of the same cases, bool (n,) each.

    Exact conditional test and mid-p: Fagerland, Lydersen and Laake 2013 (BMC Med Res Methodol
    13:91), who advise the mid-p. Interval: ``rate_difference``. Without a case on which the two
    differ there is no evidence either way: the p-values are NaN.
    """
    first, second = _right(first_right, second_right)
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    difference = rate_difference(first, second, level)
    if b + c == 0:
        return McNemar(b, c, math.nan, math.nan, difference)
    tail = float(_scipy.binom.cdf(min(b, c), b + c, 0.5))
    point = float(_scipy.binom.pmf(min(b, c), b + c, 0.5))
    exact = min(1.0, 2 * tail)
    mid_p = 1 - point / 2 if b == c else 2 * tail - point
    return McNemar(b, c, exact, mid_p, difference)


def rate_difference(
    first_right: npt.ArrayLike, second_right: npt.ArrayLike, level: float = 0.95
) -> Estimate:
    """Paired difference of two shares, first minus second, bool (n,) each.

    Hybrid score interval with the continuity-corrected correlation: Newcombe 1998 (Stat Med
    17:2635), method 10. Where no case is right in one reading only, that interval comes out too
    narrow: ``no_change``. Not defined: no case.
    """
    first, second = _right(first_right, second_right)
    n = len(first)
    if n == 0:
        return undefined(0, "paired difference of shares; not defined: there is no case")
    if (first == second).all():
        return no_change(n, "paired difference of shares", level)
    one, two = proportion(int(first.sum()), n, level), proportion(int(second.sum()), n, level)
    phi = _correlation(first, second)
    down, up = one.value - one.low, two.high - two.value
    below = math.sqrt(max(0.0, down**2 - 2 * phi * down * up + up**2))
    down, up = one.high - one.value, two.value - two.low
    above = math.sqrt(max(0.0, down**2 - 2 * phi * down * up + up**2))
    value = one.value - two.value
    method = f"paired difference of shares, hybrid score interval (Newcombe 1998), {percent(level)}"
    return Estimate(value, max(-1.0, value - below), min(1.0, value + above), n, method)


def no_change(n: int, name: str, level: float = 0.95) -> Estimate:
    """A paired difference of 0 where none of ``n`` cases changed: Tango's score interval (1998,
    Stat Med 17:891), which is z squared over (n + z squared) to either side."""
    return one_way(0.0, n, name, level).difference


def one_way(value: float, n: int, name: str, level: float = 0.95) -> Comparison:
    """As ``no_change``, also where all of ``n`` cases changed in one direction (1 or -1), with
    Tango's test against 0; p is NaN without a change."""
    low, high = one_way_limits(value, n, quantile(level, math.inf))
    how = "no case changed" if value == 0 else "every case changed"
    method = f"{name}; {how}: score interval (Tango 1998) on cases, {percent(level)}"
    p = math.nan if value == 0 else float(2 * _scipy.norm.sf(math.sqrt(n)))
    return Comparison(Estimate(value, low, high, n, method), math.nan, math.inf, p)


def one_way_limits(value: float, n: int, z: float) -> tuple[float, float]:
    """Tango's limits (1998) of a paired difference at ``z`` standard errors, where none of ``n``
    cases changed (value 0) or all of them in one direction (1 or -1)."""
    square = z * z
    if value == 0:
        return -square / (n + square), square / (n + square)
    end = (n - square) / (n + square)
    return (end, 1.0) if value > 0 else (-1.0, -end)


def _correlation(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    a, d = int((first & second).sum()), int((~first & ~second).sum())
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    scale = math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    if scale == 0:
        return 0.0
    cross = float(a * d - b * c)
    if cross > 0:
        cross = max(cross - len(first) / 2, 0)
    return cross / scale


def _right(
    first: npt.ArrayLike, second: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"the two readings must be (n,) alike, but are {a.shape} and {b.shape}")
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise ValueError("readings must hold only right and wrong (True and False)")
    return a.astype(bool), b.astype(bool)
