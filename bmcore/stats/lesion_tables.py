"""Lesions found and false marks by size and arm, with their differences; the AFROC curve.

Everything is computed as the endpoint of that name is: a case without any mark counts as all
missed, cases are the sample, and readers are random or fixed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats.endpoint import Finding, compute
from bmcore.stats.endpoint_choice import Endpoint
from bmcore.stats.readings import Reading

Floats = npt.NDArray[np.float64]
EDGES_MM = (0.0, 5.0, 10.0, 20.0, math.inf)


@dataclass(frozen=True, eq=False)
class SizeRow:
    """Lesions of ``low_mm`` up to, not including, ``high_mm``: how many there are among the cases
    (each counted once), the ``sensitivity`` and the ``false`` marks of that size in both arms with
    their difference. ``false`` is None where no reading holds diameters of false marks."""

    low_mm: float
    high_mm: float
    lesions: int
    sensitivity: Finding
    false: Finding | None


@dataclass(frozen=True, eq=False)
class AfrocCurve:
    """From the strictest threshold to none: share of cases with a false mark at or above it, and
    (weighted) share of lesions marked at or above it, (t,) each; ``area``: the figure of merit."""

    thresholds: Floats
    false: Floats
    found: Floats
    area: float


def by_size(
    readings: Iterable[Reading],
    arms: tuple[str, str],
    edges_mm: Sequence[float] = EDGES_MM,
    readers: str = "random",
    alpha: float = 0.05,
) -> tuple[SizeRow, ...]:
    """One row for each band between ``edges_mm``, smallest first."""
    rows = [r for r in readings if r.arm in arms]
    sized = any(r.false_mm for r in rows) or not any(r.false_marks for r in rows)
    of_case = {r.case: r.lesions_mm for r in rows}
    out = []
    for low, high in itertools.pairwise(edges_mm):
        band = (low, high)
        count = sum(low <= d < high for sizes in of_case.values() for d in sizes)
        found = Endpoint("lesion sensitivity", arms, readers=readers, alpha=alpha, size_mm=band)
        false = Endpoint("false lesions", arms, readers=readers, alpha=alpha, size_mm=band)
        out.append(
            SizeRow(low, high, count, compute(found, rows), compute(false, rows) if sized else None)
        )
    return tuple(out)


def afroc_curve(
    readings: Sequence[Reading], false_from: str = "all", weighted: bool = True
) -> AfrocCurve:
    """The curve of one reader in one arm (Chakraborty and Winter 1990, Radiology 174:873).

    The last point is (1, 1): beyond the lowest mark the curve is a straight line, and what was not
    marked is tied there, so the area is ``afroc``'s figure of merit. ValueError without a lesion or
    without a case whose false marks count.
    """
    ill = [r for r in readings if r.lesions_mm]
    against = [r for r in readings if false_from == "all" or not r.lesions_mm]
    if not ill or not against:
        raise ValueError(
            "an AFROC curve needs a case with a lesion and one whose false marks count"
        )
    highest = np.array([max(r.false_marks, default=-math.inf) for r in against])
    rated = np.array([m for r in ill for m in r.marks])
    weights = np.array([1 / len(r.marks) if weighted else 1.0 for r in ill for _ in r.marks])
    weights /= weights.sum()
    levels = sorted({x for x in (*highest, *rated) if math.isfinite(x)}, reverse=True)
    thresholds = np.array([math.inf, *levels, -math.inf])
    false = np.array([(highest >= t).mean() for t in thresholds])
    found = np.array([weights[rated >= t].sum() for t in thresholds])
    area = float(((false[1:] - false[:-1]) * (found[1:] + found[:-1]) / 2).sum())
    return AfrocCurve(thresholds, false, found, area)
