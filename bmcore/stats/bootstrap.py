"""The patient bootstrap, vectorised: patients are drawn, not rows.

A resample is a row of whole-number weights: how often each patient was drawn. A statistic takes
weights (b, n_rows) and gives (b,) or (b, m) numbers; no data are copied.
Percentile intervals: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13; BCa
(Efron 1987, J Am Stat Assoc 82:171) for means of skewed losses and counts, where it covers better
(``training.bench.bootstrap_kinds``).
Where every resample gives the same number there is no interval, and the method says so: a share of
0 or 1 gets one from ``clustered`` or ``estimate.proportion``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from bmcore.stats.estimate import Estimate, percent, undefined

Weights = npt.NDArray[np.float64]
Statistic = Callable[[Weights], npt.NDArray[np.float64]]

_CELLS_A_BLOCK = 30_000  # weights held at once: 240 kB, so that a block stays in the cache
_LEAST_ROWS = 32
_MOST_FOR_BCA = 1000  # patients; beyond, the two intervals are as one


@dataclass(frozen=True)
class Resampling:
    """How to resample: number of ``resamples``, ``seed``, coverage ``level`` of the interval."""

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise ValueError(f"resamples must be 100 or more, but is {self.resamples}")
        if not 0.5 <= self.level < 1:
            raise ValueError(f"level must be at least 0.5 and below 1, but is {self.level}")


def draw_weights(
    rows_to_patients: npt.NDArray[np.intp], resampling: Resampling
) -> Iterator[Weights]:
    """Blocks of weights (b, n_rows); ``rows_to_patients`` (n_rows,) numbers the patients from 0.

    The same seed and number of patients give the same patients, whatever the statistic.
    """
    n = int(rows_to_patients.max()) + 1
    identity = n == len(rows_to_patients) and bool((rows_to_patients == np.arange(n)).all())
    rng = np.random.default_rng(resampling.seed)
    block = max(_LEAST_ROWS, _CELLS_A_BLOCK // max(n, len(rows_to_patients)))
    for start in range(0, resampling.resamples, block):
        b = min(block, resampling.resamples - start)
        drawn = rng.integers(0, n, size=(b, n))
        drawn += np.arange(b)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n).astype(np.float64)
        yield counts if identity else counts[:, rows_to_patients]


def patient_bootstrap_many(
    statistic: Statistic,
    patients: npt.ArrayLike,
    resampling: Resampling = Resampling(),
    what: str = "",
) -> tuple[Estimate, ...]:
    """One Estimate for each of the m numbers of ``statistic`` (weights (b, n) -> (b, m)).

    patients: (n_rows,) an id per row; rows of one patient are drawn together. A resample in which
    a number is not defined (NaN) is left out for that number and counted in the method; where more
    than half are, there is no interval. n of the Estimate is the number of patients.
    """
    ids, rows = np.unique(np.asarray(patients), return_inverse=True)
    values = np.atleast_2d(statistic(np.ones((1, len(rows)))))[0]
    draws = [statistic(w).reshape(len(w), -1) for w in draw_weights(rows, resampling)]
    table = np.concatenate(draws, axis=0)
    return tuple(
        _percentile(float(value), table[:, m], len(ids), resampling, what)
        for m, value in enumerate(values)
    )


def patient_bootstrap(
    statistic: Statistic,
    patients: npt.ArrayLike,
    resampling: Resampling = Resampling(),
    what: str = "",
    bca: bool = False,
) -> Estimate:
    """As ``patient_bootstrap_many`` for a statistic of one number: weights (b, n) -> (b,).

    bca: the bias-corrected and accelerated interval, up to 1,000 patients.
    """
    if len(np.asarray(patients)) == 0:
        return undefined(0, "not defined: there is no case")

    def column(weights: Weights) -> npt.NDArray[np.float64]:
        return np.asarray(statistic(weights)).reshape(-1, 1)

    ids, rows = np.unique(np.asarray(patients), return_inverse=True)
    if bca and 2 < len(ids) <= _MOST_FOR_BCA:
        return _accelerated(column, rows, resampling, what)
    return patient_bootstrap_many(column, patients, resampling, what)[0]


def paired_difference(
    first: Statistic,
    second: Statistic,
    patients: npt.ArrayLike,
    resampling: Resampling = Resampling(),
    what: str = "",
) -> Estimate:
    """``first`` minus ``second`` on the same resampled patients; 0 outside: they differ."""
    return patient_bootstrap(
        lambda w: np.asarray(first(w)) - np.asarray(second(w)),
        patients,
        resampling,
        what or "paired difference",
    )


def mean_statistic(values: npt.ArrayLike) -> Statistic:
    """The mean of ``values`` (n,) as a statistic."""
    number = np.asarray(values, float)
    return lambda w: (w @ number) / w.sum(axis=1)


def median_statistic(values: npt.ArrayLike) -> Statistic:
    """The median of ``values`` (n,) as a statistic; the mean of the two in the middle if even."""
    number = np.asarray(values, float)
    order = np.argsort(number, kind="stable")
    ranked = number[order]

    def statistic(w: Weights) -> npt.NDArray[np.float64]:
        reached = w[:, order].cumsum(axis=1)
        half = reached[:, -1:] / 2
        low = (reached < half).sum(axis=1)
        high = np.minimum((reached <= half).sum(axis=1), len(ranked) - 1)
        middle: npt.NDArray[np.float64] = (ranked[low] + ranked[high]) / 2
        return middle

    return statistic


def mean(
    values: npt.ArrayLike,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
    what: str = "mean",
) -> Estimate:
    """Mean of ``values`` (n,) with the patient bootstrap; left out, each row is a patient."""
    number = np.asarray(values, float)
    if patients is None:
        return patient_bootstrap(mean_statistic(number), np.arange(len(number)), resampling, what)
    # Two sums a patient say all, so however many rows there are, weights are one a patient.
    ids, rows = np.unique(np.asarray(patients), return_inverse=True)
    sums, counts = np.bincount(rows, number), np.bincount(rows).astype(float)
    return patient_bootstrap(
        lambda w: (w @ sums) / (w @ counts), np.arange(len(ids)), resampling, what
    )


def median(
    values: npt.ArrayLike,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
    what: str = "median",
) -> Estimate:
    """Median of ``values`` (n,) with the patient bootstrap; left out, each row is a patient."""
    number = np.asarray(values, float)
    ids = np.arange(len(number)) if patients is None else patients
    return patient_bootstrap(median_statistic(number), ids, resampling, what)


def _accelerated(
    statistic: Statistic, rows: npt.NDArray[np.intp], resampling: Resampling, what: str
) -> Estimate:
    """The BCa interval of one number; the percentile one where BCa is not defined."""
    n = int(rows.max()) + 1
    value = float(statistic(np.ones((1, len(rows))))[0, 0])
    draws = np.concatenate([statistic(w)[:, 0] for w in draw_weights(rows, resampling)])
    plain = _percentile(value, draws, n, resampling, what)
    used = draws[~np.isnan(draws)]
    without = statistic(1.0 - (rows[None] == np.arange(n)[:, None]))[:, 0]
    gaps = without.mean() - without
    below = float((used < value).mean() + (used == value).mean() / 2) if len(used) else np.nan
    spread = float((gaps**2).sum())
    if not plain.has_interval or not 0 < below < 1 or not spread > 0:
        return plain
    shift, skew = norm.ppf(below), (gaps**3).sum() / (6 * spread**1.5)
    tail = (1 - resampling.level) / 2
    z = shift + norm.ppf([tail, 1 - tail])
    low, high = np.quantile(used, norm.cdf(shift + z / (1 - skew * z)))
    return Estimate(value, low, high, n, plain.method.replace("percentile", "BCa"))


def _percentile(
    value: float, draws: npt.NDArray[np.float64], n: int, resampling: Resampling, what: str
) -> Estimate:
    name = f"{what}; " if what else ""
    if np.isnan(value):
        return undefined(n, f"{name}not defined on these cases")
    used = draws[~np.isnan(draws)]
    lost = len(draws) - len(used)
    if n < 2 or lost > len(draws) / 2:
        why = "a single patient" if n < 2 else f"{lost} of {len(draws)} resamples not defined"
        return Estimate(value, np.nan, np.nan, n, f"{name}no interval: {why}")
    if np.ptp(used) < 1e-12:
        why = f"no interval: drawing the cases anew {len(used)} times never changed the number"
        return Estimate(value, np.nan, np.nan, n, f"{name}{why}")
    tail = (1 - resampling.level) / 2
    low, high = np.quantile(used, [tail, 1 - tail])
    method = (
        f"{name}patient bootstrap, {len(draws)} resamples, percentile {percent(resampling.level)}"
    )
    if lost:
        method += f", {lost} resamples not defined and left out"
    return Estimate(value, low, high, n, method)
