"""Are confidences and probabilities right as often as they say? Intercept, slope and curve.

Cox 1958 (Biometrika 45:562); Van Calster et al. 2019 (BMC Med 17:230). The slope is that of a
logistic regression of the outcome on the log odds of the probability: below 1, probabilities are
too extreme. The intercept is calibration in the large, with the log odds as an offset: above 0, the
outcome is more frequent than said. For a model: the probability of a class against whether it was
so. For a reader: his confidence over 100 in the class he named against whether he was right.
Standard errors are clustered on patients; Student's t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.stats.clustered import by_patient
from bmcore.stats.comparison import interval
from bmcore.stats.estimate import Estimate, undefined

Floats = npt.NDArray[np.float64]
_EDGE = 0.005  # probabilities are held inside 0.5 to 99.5 %: the log odds of 0 and 1 are infinite
_LEAST = 10


@dataclass(frozen=True)
class CurvePoint:
    """Rows whose probability lies in one of the bins of equal size: their mean ``said`` and how
    often it was ``seen``."""

    said: float
    seen: Estimate


@dataclass(frozen=True)
class Calibration:
    """``intercept`` (0 is right), ``slope`` (1 is right), mean ``said`` less share ``seen`` in
    ``excess``, and the ``curve``."""

    intercept: Estimate
    slope: Estimate
    excess: Estimate
    curve: tuple[CurvePoint, ...]


def calibration(
    said: npt.ArrayLike,
    seen: npt.ArrayLike,
    patients: npt.ArrayLike | None = None,
    bins: int = 5,
    level: float = 0.95,
    kinds: tuple[str, str] = ("outcomes", "non-outcomes"),
) -> Calibration:
    """Calibration of probabilities ``said`` (n,), 0-1, against outcomes ``seen``, bool (n,).

    patients: (n,) an id per row. kinds: outcomes and non-outcomes in words. Not defined with fewer
    than 10 of either, the slope also where the probabilities are all alike or separate the
    outcomes: none of the one kind lies beyond the other's (Albert and Anderson 1984, Biometrika
    71:1). No interval: one patient.
    ValueError on a probability outside 0-1 and on shapes that differ.
    """
    p, y = np.asarray(said, dtype=float), np.asarray(seen, dtype=bool)
    if p.shape != y.shape or p.ndim != 1:
        raise ValueError(f"said and seen must be (n,) alike, but are {p.shape} and {y.shape}")
    if ((p < 0) | (p > 1) | np.isnan(p)).any():
        raise ValueError("probabilities must lie between 0 and 1")
    ids = np.arange(len(p)) if patients is None else np.asarray(patients)
    n = len(np.unique(ids))
    few = min(int(y.sum()), int((~y).sum()))
    if few < _LEAST:
        there = f"{int(y.sum())} {kinds[0]} and {int((~y).sum())} {kinds[1]}"
        why = f"calibration; not defined: {there}, but {_LEAST} of each are needed"
        none = undefined(n, why)
        return Calibration(none, none, none, _points(p, y, ids, bins, level) if len(p) else ())
    odds = np.log(np.clip(p, _EDGE, 1 - _EDGE) / np.clip(1 - p, _EDGE, 1 - _EDGE))
    ones = np.ones((len(p), 1))
    intercept = _tested(ones, y, odds, ids, 0, "calibration in the large", level)
    if np.ptp(odds) < 1e-9:
        slope = undefined(n, "calibration slope; not defined: every probability is the same")
    elif _separated(odds, y):
        why = "calibration slope; not defined: the probabilities separate the outcomes"
        slope = undefined(n, why)
    else:
        both = np.column_stack([ones, odds])
        slope = _tested(both, y, np.zeros(len(p)), ids, 1, "calibration slope", level)
    gap = _by_patient_mean(p - y, ids, level)
    return Calibration(intercept, slope, gap, _points(p, y, ids, bins, level))


def _separated(odds: Floats, y: npt.NDArray[np.bool_]) -> bool:
    """One cut parts the outcomes from the others, but for ties at the cut: no finite slope fits."""
    so, not_so = odds[y], odds[~y]
    return bool(so.min() >= not_so.max() or not_so.min() >= so.max())


def _tested(
    x: Floats,
    y: npt.NDArray[np.bool_],
    offset: Floats,
    ids: npt.NDArray[Any],
    which: int,
    name: str,
    level: float,
) -> Estimate:
    """One coefficient of a logistic regression that has a finite fit, its error clustered on ids.

    Newton's method; a step that does not raise the likelihood is halved until it does.
    """
    n = len(np.unique(ids))

    def likelihood(beta: Floats) -> float:
        score = x @ beta + offset
        return float((y * score - np.logaddexp(0, score)).sum())

    beta = np.zeros(x.shape[1])
    for _ in range(100):
        mean = 1 / (1 + np.exp(-(x @ beta + offset)))
        information = x.T @ (x * (mean * (1 - mean))[:, None])
        step = np.linalg.pinv(information) @ (x.T @ (y - mean))
        least = 1e-10 * max(1.0, float(np.abs(beta).max()))
        while np.abs(step).max() >= least and likelihood(beta + step) < likelihood(beta):
            step = step / 2
        if np.abs(step).max() < least:
            break
        beta = beta + step
    method = f"{name}, logistic regression"
    if n < 2:
        return _of_one_patient(float(beta[which]), method)
    parts = x * (y - mean)[:, None]
    _, rows = np.unique(ids, return_inverse=True)
    sums = np.zeros((n, x.shape[1]))
    np.add.at(sums, rows, parts)
    bread = np.linalg.inv(information)
    covariance = bread @ (sums.T @ sums * n / (n - 1)) @ bread
    method += f", error clustered on {n} patients"
    return interval(
        float(beta[which]), float(covariance[which, which]), n, method, df=n - 1, level=level
    )


def _of_one_patient(value: float, method: str) -> Estimate:
    return Estimate(value, math.nan, math.nan, 1, f"{method}; no interval: a single patient")


def _by_patient_mean(values: Floats, ids: npt.NDArray[Any], level: float) -> Estimate:
    _, rows = np.unique(ids, return_inverse=True)
    sums, counts = np.bincount(rows, values), np.bincount(rows)
    mean, n = float(values.mean()), len(counts)
    method = "mean stated minus observed share, error clustered on patients"
    if n < 2:
        return _of_one_patient(mean, method)
    variance = float(((sums - mean * counts) ** 2).sum() / counts.sum() ** 2 * n / (n - 1))
    return interval(mean, variance, n, method, df=n - 1, level=level, bounds=(-1.0, 1.0))


def _points(
    p: Floats, y: npt.NDArray[np.bool_], ids: npt.NDArray[Any], bins: int, level: float
) -> tuple[CurvePoint, ...]:
    """Bins of equal size by rank; rows of one probability stay together."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1]))
    where = np.searchsorted(edges, p, side="right")
    out = []
    for b in np.unique(where):
        inside = where == b
        share = by_patient(y[inside], ids[inside], "share seen", level)
        out.append(CurvePoint(float(p[inside].mean()), share))
    return tuple(out)


def reader_probability(confidence: float) -> float:
    """A confidence of 0-100 as a probability; NaN stays NaN. ValueError outside 0-100."""
    if not math.isnan(confidence) and not 0 <= confidence <= 100:
        raise ValueError(f"confidence must lie in 0-100, but is {confidence:g}")
    return confidence / 100
