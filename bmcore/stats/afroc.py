"""Lesion marks: the JAFROC figure of merit, the area under the alternative FROC curve.

A reader marks what he takes for a lesion and rates each mark. The figure of merit is the chance
that a lesion is rated above the highest-rated false mark of a case; ties count half, and what was
not marked is rated minus infinity. Chakraborty and Berbaum 2004 (Med Phys 31:2313); weighted, so
that each patient counts alike however many lesions he has: Chakraborty and Zhai 2016 (Med Phys
43:2548). Variance by the jackknife over cases; readers as in ``mrmc``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats import mrmc
from bmcore.stats.delong import logit_interval
from bmcore.stats.estimate import Estimate, undefined
from bmcore.stats.mrmc import ReaderStudy

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Marks:
    """Rated marks of every reader under every condition.

    false_marks: (conditions, readers, cases), the highest rating of a mark on no lesion in the
    case, -inf where there was none. lesions: (conditions, readers, lesions), the rating of the mark
    on each lesion, -inf where it was missed. lesion_case: (lesions,), the case of each lesion; a
    case without lesions is a normal case. ValueError on shapes that do not fit and on NaN.
    """

    false_marks: Floats
    lesions: Floats
    lesion_case: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        false, hits = (np.asarray(x, dtype=float) for x in (self.false_marks, self.lesions))
        where = np.asarray(self.lesion_case, dtype=np.int64)
        if false.ndim != 3 or hits.ndim != 3 or false.shape[:2] != hits.shape[:2]:
            raise ValueError(
                "false_marks must be (conditions, readers, cases) and lesions (conditions, "
                f"readers, lesions), but are {false.shape} and {hits.shape}"
            )
        if where.shape != hits.shape[2:]:
            raise ValueError(f"lesion_case must be {hits.shape[2:]}, but is {where.shape}")
        if len(where) and (where.min() < 0 or where.max() >= false.shape[2]):
            raise ValueError(f"lesion_case must hold indices of the {false.shape[2]} cases")
        if np.isnan(false).any() or np.isnan(hits).any():
            raise ValueError("ratings must not be NaN; what was not marked is -inf")
        for name, value in (("false_marks", false), ("lesions", hits), ("lesion_case", where)):
            object.__setattr__(self, name, value)


def compare_afroc(
    marks: Marks, false_from: str = "normal", weighted: bool = True, level: float = 0.95
) -> ReaderStudy:
    """Compare the figure of merit between conditions by Obuchowski and Rockette's analysis.

    false_from: false marks count on "normal" cases only (AFROC), or on "all" (AFROC1, for series
    without normal cases, as brain metastases are). ValueError: fewer than two cases with a lesion,
    or fewer than two cases whose false marks count.
    """
    t, r, n = marks.false_marks.shape
    areas, without = figures(marks, false_from, weighted)
    covariance = mrmc.jackknife_covariance(without)
    name = (
        f"{_name(false_from, weighted)}, {marks.lesions.shape[2]} lesions in {n} cases, jackknife"
    )
    return mrmc.analyse(areas.reshape(t, r), covariance, n, name, level)


def afroc(
    marks: Marks, false_from: str = "normal", weighted: bool = True, level: float = 0.95
) -> tuple[tuple[Estimate, ...], ...]:
    """One Estimate for each condition and reader: jackknife variance, interval on the logit scale.

    Not defined, and the method says why, where ``compare_afroc`` refuses.
    """
    t, r, n = marks.false_marks.shape
    name = f"{_name(false_from, weighted)}, {marks.lesions.shape[2]} lesions in {n} cases"
    try:
        areas, without = figures(marks, false_from, weighted)
    except TooFew as few:
        none = undefined(n, f"{name}; not defined: {few}")
        return tuple((none,) * r for _ in range(t))
    variances = np.diag(mrmc.jackknife_covariance(without))
    flat = [
        logit_interval(float(a), float(v), n, f"{name}; jackknife over cases", level=level)
        for a, v in zip(areas, variances, strict=True)
    ]
    return tuple(tuple(flat[i * r : (i + 1) * r]) for i in range(t))


def figures(marks: Marks, false_from: str, weighted: bool) -> tuple[Floats, Floats]:
    """Areas (m,) of the m readings, conditions outer, and with each case left out, (m, cases).

    A reader without a mark on a case has rated its lesions -inf: they count as missed. ``TooFew``
    and ValueError as in ``compare_afroc``.
    """
    if false_from not in ("normal", "all"):
        raise ValueError(f"false_from must be normal or all, but is {false_from!r}")
    t, r, n = marks.false_marks.shape
    count = np.bincount(marks.lesion_case, minlength=n)
    ill = count > 0
    counted = np.ones(n, bool) if false_from == "all" else ~ill
    if ill.sum() < 2:
        raise TooFew(f"{int(ill.sum())} cases with a lesion; two are needed")
    if counted.sum() < 2:
        raise TooFew(f"{int(counted.sum())} cases whose false marks count; two are needed")
    share = 1 / count[marks.lesion_case] if weighted else np.ones(len(marks.lesion_case))
    weight = np.bincount(marks.lesion_case, weights=share, minlength=n)
    belongs = np.zeros((len(share), n))
    belongs[np.arange(len(share)), marks.lesion_case] = share
    areas, without = [], []
    false = marks.false_marks.reshape(t * r, n)
    for rated, against in zip(marks.lesions.reshape(t * r, -1), false, strict=True):
        wins = (rated[:, None] > against) + 0.5 * (rated[:, None] == against)
        cells = belongs.T @ (wins * counted)  # (case of the lesion, case of the false mark)
        total, rows, columns = cells.sum(), cells.sum(axis=1), cells.sum(axis=0)
        areas.append(total / (counted.sum() * weight.sum()))
        left = total - rows - columns + np.diag(cells)
        without.append(left / ((counted.sum() - counted) * (weight.sum() - weight)))
    return np.array(areas), np.array(without)


class TooFew(ValueError):
    """There are too few cases with a lesion, or too few whose false marks count."""


def _name(false_from: str, weighted: bool) -> str:
    return ("weighted " if weighted else "") + ("AFROC" if false_from == "normal" else "AFROC1")
