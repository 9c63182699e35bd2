"""Shares over readings: the readings of one case hang together, so cases are the sample."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bmcore.stats.comparison import quantile
from bmcore.stats.estimate import Estimate, percent, proportion, undefined

Bools = npt.NDArray[np.bool_]


def share(hit: npt.ArrayLike, of: npt.ArrayLike, name: str, level: float = 0.95) -> Estimate:
    """Share of the readings ``of`` that are a ``hit``, both bool (readers, cases).

    Every reading counts alike: ``ratio`` of the sums over cases, so the interval is for these very
    readers, and the readings of one case hang together. n: cases that enter. ValueError on shapes
    that differ. Not defined: no reading.
    """
    among, both = _tables(hit, of)
    what = f"{name}, {int(among.sum())} readings by {len(among)} readers"
    if not among.any():
        return undefined(0, f"{what}; not defined: there is no such reading")
    return ratio(both.sum(axis=0), among.sum(axis=0), what, level, "cases")


def ratio(
    hits: npt.ArrayLike, of: npt.ArrayLike, name: str, level: float = 0.95, unit: str = "patients"
) -> Estimate:
    """Share sum(hits) / sum(of) from one row a patient, (n,) each, with 0 <= hits <= of.

    Wilson's interval with the effective sample size of the linearised variance over patients and
    Student's t (Korn and Graubard 1998, Surv Methodol 24:193, there around Clopper and Pearson's;
    Dean and Pagano 2015, J Surv Stat Methodol 3:484, around Wilson's). Where nothing or everything
    was a hit the effective size is the number of patients. n: patients with something to hit. hits
    may be fractions, for instance a share of agreeing pairs. unit: what a row is, for the method.
    ValueError on other numbers.
    """
    top, bottom = (np.asarray(x, dtype=float) for x in (hits, of))
    if top.shape != bottom.shape or top.ndim != 1:
        raise ValueError(f"hits and of must be (n,) alike, but are {top.shape} and {bottom.shape}")
    if (top < 0).any() or (top > bottom + 1e-9).any():
        raise ValueError("hits must lie between 0 and of in every row")
    top, bottom = top[bottom > 0], bottom[bottom > 0]
    n = len(top)
    if n == 0:
        return undefined(0, f"{name}; not defined: there is no case")
    value = float(top.sum() / bottom.sum())
    rest = top - value * bottom
    variance = float((rest**2).sum() / bottom.sum() ** 2 * n / (n - 1)) if n > 1 else 0.0
    plain = bool((bottom == bottom[0]).all() and np.isin(top / bottom, (0.0, 1.0)).all())
    if plain or variance < 1e-15:
        found = proportion(value * n, n, level)
        return replace(found, method=f"{name}; {found.method}, on {unit}")
    size = (
        value * (1 - value) / variance * (quantile(level, math.inf) / quantile(level, n - 1)) ** 2
    )
    found = proportion(value * size, size, level)
    method = f"{name}; Wilson score interval, effective sample size over {unit}, {percent(level)}"
    return replace(found, n=n, method=method)


def by_patient(
    hit: npt.ArrayLike, patients: npt.ArrayLike, name: str, level: float = 0.95
) -> Estimate:
    """Share of the rows that are a ``hit``, bool (rows,), several rows a patient: see ``ratio``."""
    ids, rows = np.unique(np.asarray(patients), return_inverse=True)
    return ratio(
        np.bincount(rows, np.asarray(hit, float), len(ids)),
        np.bincount(rows, minlength=len(ids)),
        name,
        level,
    )


def at_the_end(found: Estimate, n: int, level: float = 0.95) -> Estimate:
    """``found`` itself, or, where it is a share of 0 or 1 without an interval, with Wilson's on the
    ``n`` patients that it rests on."""
    if found.has_interval or found.value not in (0.0, 1.0) or n == 0:
        return found
    end = proportion(found.value * n, n, level)
    what = found.method.split("; no interval")[0]
    return replace(end, method=f"{what}; none or all: {end.method}, on patients")


def _tables(hit: npt.ArrayLike, of: npt.ArrayLike) -> tuple[Bools, Bools]:
    """The readings that count, and those of them that are a hit."""
    hits, among = np.asarray(hit, bool), np.asarray(of, bool)
    if hits.shape != among.shape or hits.ndim != 2:
        raise ValueError(
            f"hit and of must be (readers, cases) alike, but are {hits.shape} and {among.shape}"
        )
    return among, hits & among
