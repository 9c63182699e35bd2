"""Shares over readings: the readings of one case hang together, so cases are the sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bmcore.stats.delong import logit_interval
from bmcore.stats.estimate import Estimate, proportion, undefined

Bools = npt.NDArray[np.bool_]


def share(hit: npt.ArrayLike, of: npt.ArrayLike, name: str, level: float = 0.95) -> Estimate:
    """Share of the readings ``of`` that are a ``hit``, both bool (readers, cases).

    Every reading counts alike. A ratio of two sums over cases: linearised variance (Cochran 1977,
    Sampling Techniques, chapter 6), interval on the logit scale with Student's t, for these very
    readers. None, all, or a single case: Wilson's interval on the number of cases. n: cases that
    enter. ValueError on shapes that differ. Not defined: no reading.
    """
    among, both = _tables(hit, of)
    cases = among.any(axis=0)
    n = int(cases.sum())
    top, bottom = (t.sum(axis=0)[cases].astype(float) for t in (both, among))
    what = f"{name}, {int(bottom.sum())} readings by {len(among)} readers"
    if n == 0:
        return undefined(0, f"{what}; not defined: there is no such reading")
    if n < 2 or not 0 < top.sum() < bottom.sum():
        found = proportion(n if top.sum() else 0, n, level)
        return replace(found, method=f"{what}; none, all or one case: {found.method}, on cases")
    value = float(top.sum() / bottom.sum())
    rest = top - value * bottom
    variance = float((rest**2).sum() / bottom.sum() ** 2 * n / (n - 1))
    method = f"{what}; linearised variance over cases"
    return logit_interval(value, variance, n, method, df=n - 1, level=level)


def _tables(hit: npt.ArrayLike, of: npt.ArrayLike) -> tuple[Bools, Bools]:
    """The readings that count, and those of them that are a hit."""
    hits, among = np.asarray(hit, bool), np.asarray(of, bool)
    if hits.shape != among.shape or hits.ndim != 2:
        raise ValueError(
            f"hit and of must be (readers, cases) alike, but are {hits.shape} and {among.shape}"
        )
    return among, hits & among
