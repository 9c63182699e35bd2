"""Two answers side by side: the difference with its interval, the test statistic and the p-value.

Also the one place where a value, a variance and degrees of freedom become an interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats as _scipy

from bmcore.stats.estimate import Estimate, percent, undefined

NO_VARIANCE = "no spread was seen by which chance could be judged"


@dataclass(frozen=True)
class Comparison:
    """``difference`` with its interval; ``statistic`` on ``df`` degrees of freedom (infinite: the
    normal distribution); ``p`` two-sided. NaN where there is no test; the method says why."""

    difference: Estimate
    statistic: float
    df: float
    p: float

    def text(self, digits: int = 2) -> str:
        """For instance ``0.04 (0.01 to 0.08), n = 114, p = 0.019``."""
        if math.isnan(self.p):
            return self.difference.text(digits)
        shown = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        return f"{self.difference.text(digits)}, {shown}"


def quantile(level: float, df: float) -> float:
    """Two-sided quantile of Student's t; the normal one where ``df`` is infinite. ValueError on a
    ``level`` that ``estimate.percent`` refuses: no finite interval has it."""
    percent(level)
    tail = 0.5 + level / 2
    return float(_scipy.norm.ppf(tail) if math.isinf(df) else _scipy.t.ppf(tail, df))


def interval(
    value: float,
    variance: float,
    n: int,
    method: str,
    *,
    df: float = math.inf,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """``value`` plus and minus the quantile times the standard error, kept inside ``bounds``.

    No interval where the variance is 0, negative or NaN; the method then says so.
    """
    if math.isnan(value):
        return undefined(n, f"{method}; not defined on these cases")
    if not variance > 1e-15:
        return Estimate(value, np.nan, np.nan, n, f"{method}; no interval: {NO_VARIANCE}")
    half = quantile(level, df) * math.sqrt(variance)
    low, high = max(bounds[0], value - half), min(bounds[1], value + half)
    return Estimate(value, min(low, value), max(high, value), n, f"{method}, {percent(level)}")


def compare(
    value: float,
    variance: float,
    n: int,
    method: str,
    *,
    df: float = math.inf,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Comparison:
    """As ``interval``, with the two-sided test of the value against 0."""
    found = interval(value, variance, n, method, df=df, level=level, bounds=bounds)
    if not found.has_interval:
        return Comparison(found, math.nan, math.nan, math.nan)
    statistic = value / math.sqrt(variance)
    tail = _scipy.norm.sf if math.isinf(df) else lambda x: _scipy.t.sf(x, df)
    return Comparison(found, statistic, df, float(2 * tail(abs(statistic))))


def no_comparison(n: int, why: str) -> Comparison:
    """The comparison that is not defined; ``why`` becomes the method."""
    return Comparison(undefined(n, why), math.nan, math.nan, math.nan)
