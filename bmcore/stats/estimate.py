"""A number that never travels alone: value, interval, n and method.

Also the intervals of counts that hold at the ends, where nothing or everything was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats as _scipy


@dataclass(frozen=True)
class Estimate:
    """``value`` with its interval ``low``-``high``, the number of cases ``n`` and the ``method``.

    ``value`` may be NaN: the number is not defined, and ``method`` says why. ``low`` and ``high``
    may be NaN with a finite value: there is no honest interval, and ``method`` says why.
    """

    value: float
    low: float
    high: float
    n: int
    method: str

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "n", int(self.n))
        if self.n < 0:
            raise ValueError(f"n must be 0 or more, but is {self.n}")
        if not self.method.strip():
            raise ValueError("an Estimate must name its method")
        if math.isnan(self.low) != math.isnan(self.high):
            raise ValueError("low and high are either both numbers or both NaN")
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, but is {self.low} > {self.high}")

    @property
    def defined(self) -> bool:
        """True where there is a value."""
        return not math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)

    def text(self, digits: int = 2) -> str:
        """For instance ``0.43 (0.38 to 0.49), n = 30``; ``not defined, n = 0`` where it is NaN."""
        if not self.defined:
            return f"not defined, n = {self.n}"
        value, low, high = (decimals(x, digits) for x in (self.value, self.low, self.high))
        interval = f"{low} to {high}" if self.has_interval else "no interval"
        return f"{value} ({interval}), n = {self.n}"

    def as_dict(self) -> dict[str, float | int | str | None]:
        """For JSON: NaN becomes None."""
        numbers = {
            name: None if math.isnan(v) else v
            for name, v in (("value", self.value), ("low", self.low), ("high", self.high))
        }
        return {**numbers, "n": self.n, "method": self.method}


def decimals(value: float, digits: int = 0, sign: str = "") -> str:
    """A number as every page and file shows it: a half is rounded away from 0, also one that sums
    of floats have missed by a hair, and there is no -0. sign: "+" shows that of all numbers."""
    return f"{value + math.copysign(1e-9, value):{sign}z.{digits}f}"


def per_cent(share: float) -> str:
    """A share (0-1) in per cent, for instance "88"; "0" and "100" only where it is so, else with as
    many digits as it takes, for instance "99.6", up to two."""
    texts = [decimals(100 * share, digits) for digits in range(3)]
    return next((t for t in texts if share in (0, 1) or float(t) not in (0, 100)), texts[0])


def percent(level: float) -> str:
    """The coverage of an interval as shown: "95%", "97.5%", "99.99%", never rounded up to 100.

    ValueError on a level that is not above 0 and below 1, or that cannot be told from 1.
    """
    if not 0 < level <= 1 - 1e-12:
        raise ValueError(
            f"the level of an interval must lie above 0 and below 1, but is {level:.15g}; an alpha "
            "of 0, or so small that it cannot be told from 0, has no interval: take 0.0001 or more"
        )
    return f"{100 * level:.12g}%"


def undefined(n: int, why: str) -> Estimate:
    """The estimate that is not defined; ``why`` becomes the method."""
    return Estimate(math.nan, math.nan, math.nan, n, why)


def proportion(successes: float, n: float, level: float = 0.95) -> Estimate:
    """Share ``successes / n`` with the Wilson score interval (Wilson 1927, JASA 22:209).

    n may be an effective sample size, a fraction; the Estimate holds its whole part.
    """
    if n == 0:
        return undefined(0, "not defined: there is no case")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be between 0 and n = {n}, but is {successes}")
    z = float(_scipy.norm.ppf(0.5 + level / 2))
    p = successes / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Estimate(
        p, min(low, p), max(high, p), int(n), f"Wilson score interval, {percent(level)}"
    )


def exact_proportion(successes: int, n: int, level: float = 0.95) -> Estimate:
    """Share ``successes / n`` with Clopper and Pearson's exact interval (1934, Biometrika 26:404).

    It covers at least ``level`` whatever the share, and so is wider than Wilson's.
    """
    if n == 0:
        return undefined(0, "not defined: there is no case")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be between 0 and n = {n}, but is {successes}")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else _scipy.beta.ppf(tail, successes, n - successes + 1)
    high = 1.0 if successes == n else _scipy.beta.ppf(1 - tail, successes + 1, n - successes)
    return Estimate(successes / n, low, high, n, f"Clopper-Pearson interval, {percent(level)}")


def poisson_rate(events: int, n: int, level: float = 0.95) -> Estimate:
    """Mean number of ``events`` a case in ``n`` cases, exact Poisson interval (Garwood 1936,
    Biometrika 28:437). It is right where events fall on cases independently of each other."""
    if n == 0:
        return undefined(0, "not defined: there is no case")
    if events < 0:
        raise ValueError(f"events must be 0 or more, but is {events}")
    tail = (1 - level) / 2
    low = 0.0 if events == 0 else float(_scipy.chi2.ppf(tail, 2 * events)) / 2
    high = float(_scipy.chi2.ppf(1 - tail, 2 * events + 2)) / 2
    return Estimate(events / n, low / n, high / n, n, f"exact Poisson interval, {percent(level)}")


def mean_of_shares(shares: Sequence[Estimate], name: str, level: float = 0.95) -> Estimate:
    """Plain mean of shares of different cases, for instance of the sensitivities of the classes.

    Their intervals (of ``level``) are put together by the method of variance estimates recovery
    (Zou and Donner 2008, Stat Med 27:1693), so the interval holds where shares are 0 or 1. n is the
    sum of their n. A share that is not defined is left out; not defined where all are.
    """
    used = [s for s in shares if s.defined]
    n = sum(s.n for s in used)
    if not used:
        return undefined(n, f"{name}; not defined: there is no case")
    k = len(used)
    value = sum(s.value for s in used) / k
    if not all(s.has_interval for s in used):
        return Estimate(value, math.nan, math.nan, n, f"{name}; no interval: a part has none")
    below = math.sqrt(sum((s.value - s.low) ** 2 for s in used)) / k
    above = math.sqrt(sum((s.high - s.value) ** 2 for s in used)) / k
    method = f"{name}; intervals of {k} shares put together (Zou, Donner 2008), {percent(level)}"
    return Estimate(value, max(0.0, value - below), min(1.0, value + above), n, method)
