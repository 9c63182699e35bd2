"""Intervals of an endpoint where nothing varies: every reading of an arm right, or none of them;
no reading of a share changed from one arm to the other, or every one in the same way.

Resampling has nothing to go by there, so the intervals come from the number of cases alone, of each
kind of case where the measure compares kinds or takes their mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as _scipy
from scipy.optimize import brentq

from bmcore.stats import delong
from bmcore.stats.comparison import quantile
from bmcore.stats.endpoint_choice import SHARES, Endpoint
from bmcore.stats.estimate import Estimate, mean_of_shares, percent, proportion
from bmcore.stats.paired import one_way_limits
from bmcore.stats.readings import Reading
from bmcore.stats.weighted_mrmc import Figure

Kinds = Sequence[tuple[int, ...]]  # cases of each kind, see ``kinds``
_FAR = 1e4  # standard errors


@dataclass(frozen=True)
class End:
    """The difference with its score interval, and the p-value of the test of the endpoint's aim."""

    difference: Estimate
    p: float


def kinds(
    e: Endpoint,
    rows: Iterable[Reading],
    categories: Sequence[str],
    figures: Iterable[Mapping[str, Figure]],
) -> Kinds:
    """How many cases of each kind the figures rest on.

    Of a share: (cases,), for balanced accuracy one of each category. Of an area: (cases of the
    category, others), for macro AUC of each category; for wAFROC (cases with lesions, cases whose
    false marks count).
    """
    used = {c for arm in figures for f in arm.values() for c in f.cases}
    by_case = {r.case: r for r in rows if r.case in used}
    truths = [r.truth for r in by_case.values()]
    if e.measure == "balanced accuracy":
        return [(n,) for n in map(truths.count, categories) if n]
    if e.measure in ("AUC", "macro AUC"):
        names = categories if e.measure == "macro AUC" else (e.category,)
        return [(truths.count(c), len(truths) - truths.count(c)) for c in names]
    if e.measure == "wAFROC":
        ill = sum(bool(r.lesions_mm) for r in by_case.values())
        return [(ill, len(truths) - ill if e.false_from == "normal" else len(truths))]
    return [(len(used),)]


def of_arm(found: Estimate, of: Kinds, level: float) -> Estimate:
    """``found``, the mean of an arm that is 0 or 1 and has no interval, with one: Wilson's for
    shares, Newcombe's (``delong.area_at_the_end``) for areas; of a mean of shares see
    ``mean_of_shares``; of areas, which rest on the same cases, the mean of the limits."""
    what = found.method.split("; no interval")[0]
    if len(of[0]) == 1:
        shares = [proportion(found.value * n, n, level) for (n,) in of]
        end = shares[0] if len(shares) == 1 else mean_of_shares(shares, "none or all", level)
        method = f"{what}; none or all: {end.method.removeprefix('none or all; ')}, on patients"
        return Estimate(found.value, end.low, end.high, end.n, method)
    areas = [delong.area_at_the_end(found.value, a, b, what, level) for a, b in of]
    low, high = (float(np.mean([getattr(one, at) for one in areas])) for at in ("low", "high"))
    return Estimate(found.value, low, high, found.n, areas[0].method)


def of_difference(
    e: Endpoint, changes: Mapping[str, Figure], of: Kinds, name: str, n: int
) -> End | None:
    """The difference where every reader's is 0, 1 or -1 and no case changes it, else None.

    changes: of each reader, new less control. Tango's score interval and test (1998, Stat Med
    17:891) with the cases as the sample: with no discordant pair, or n of n in one direction. The
    mean over kinds by variance estimates recovery, as ``mean_of_shares``.
    """
    values = {round(f.value, 12) for f in changes.values()}
    if e.measure not in SHARES or len(values) != 1 or not values <= {-1.0, 0.0, 1.0}:
        return None
    (value,) = values
    if not all(np.allclose(f.left_out, value, atol=1e-9) for f in changes.values()):
        return None
    sizes = [size for (size,) in of]
    low, high = _limits(value, sizes, quantile(e.level, math.inf))
    how = "no case changed" if value == 0 else "every case changed"
    method = f"{name}; {how}: score interval (Tango 1998) on cases, {percent(e.level)}"
    return End(Estimate(value, low, high, n, method), _p(e, value, sizes))


def _limits(value: float, sizes: Sequence[int], z: float) -> tuple[float, float]:
    """Tango's limits at ``z`` standard errors, of the mean over kinds of so many cases."""
    each = [one_way_limits(value, n, z) for n in sizes]
    below, above = (
        math.sqrt(sum((value - limits[side]) ** 2 for limits in each)) / len(sizes)
        for side in (0, 1)
    )
    return value - below, value + above


def _z(value: float, sizes: Sequence[int], at: float) -> float:
    """How many standard errors the value lies above a difference of ``at``, by ``_limits``."""
    if at == value:
        return 0.0
    side = 0 if at < value else 1
    found = brentq(lambda z: _limits(value, sizes, z)[side] - at, 0.0, _FAR)
    return float(found) if at < value else -float(found)


def _p(e: Endpoint, value: float, sizes: Sequence[int]) -> float:
    gain = value if e.better == "higher" else -value
    if e.aim == "superiority":
        return math.nan if value == 0 else float(2 * _scipy.norm.sf(abs(_z(gain, sizes, 0.0))))
    p = float(_scipy.norm.sf(_z(gain, sizes, -e.margin)))
    if e.aim == "non-inferiority":
        return p
    return max(p, float(_scipy.norm.sf(-_z(gain, sizes, e.margin))))
