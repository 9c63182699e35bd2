"""Many readers, many cases, yes-or-no answers: sensitivity, specificity, share of right answers.

Chen, Wunderlich, Petrick and Gallas 2014 (J Med Imaging 1:031011) for the U-statistics; Obuchowski
and Rockette's analysis needs only the covariance of the readers' shares, which for a mean over
cases is the sample covariance over n. Complete designs: a case that any reader left open (NaN) is
left out for all. One row a patient: lesions of one patient are not independent cases. Shares near
0 or 1 make every interval here too narrow with fewer than about 30 cases of the kind; at 0 and 1
themselves Wilson's interval on cases takes its place, and Tango's where no reading changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bmcore.stats import mrmc, ustatistics
from bmcore.stats.clustered import at_the_end
from bmcore.stats.comparison import Comparison
from bmcore.stats.mrmc import ReaderStudy
from bmcore.stats.paired import no_change
from bmcore.stats.ustatistics import UStudy

Floats = npt.NDArray[np.float64]
Study = TypeVar("Study", ReaderStudy, UStudy)
MEASURES = ("sensitivity", "specificity", "accuracy")


def compare_rates(
    decisions: npt.ArrayLike, truth: npt.ArrayLike, measure: str, level: float = 0.95
) -> ReaderStudy:
    """Obuchowski and Rockette's analysis of decisions (conditions, readers, cases), 1 for "yes".

    truth: bool (cases,); measure: one of ``MEASURES``. ValueError: fewer than two usable cases, a
    decision other than 0, 1 or NaN.
    """
    right, name = _right(decisions, truth, measure)
    t, r, n = right.shape
    flat = right.reshape(t * r, n)
    covariance = np.atleast_2d(np.cov(flat)) / n
    found = mrmc.analyse(flat.mean(axis=1).reshape(t, r), covariance, n, name, level)
    return _with_ends(found, right, n, level)


def compare_rates_u(
    decisions: npt.ArrayLike, truth: npt.ArrayLike, measure: str, level: float = 0.95
) -> UStudy:
    """As ``compare_rates`` with the unbiased one-shot variance of U-statistics."""
    right, name = _right(decisions, truth, measure)
    n = right.shape[2]
    found = ustatistics.compare_kernels(right, n, f"{name}, U-statistics", level)
    return _with_ends(found, right, n, level)


def _with_ends(found: Study, right: Floats, n: int, level: float) -> Study:
    """The study with intervals where the variance vanishes: shares of 0 or 1 get Wilson's on cases,
    differences without any change Tango's; ``p`` stays NaN, as nothing is to be tested."""

    def differences(of: dict[mrmc.Pair, Comparison]) -> dict[mrmc.Pair, Comparison]:
        out = {}
        for (a, b), one in of.items():
            still = one.difference.defined and bool((right[a] == right[b]).all())
            if still and not one.difference.has_interval:
                name = one.difference.method.split("; no interval")[0]
                one = replace(one, difference=no_change(n, name, level))
            out[a, b] = one
        return out

    return replace(
        found,
        random=tuple(at_the_end(e, n, level) for e in found.random),
        fixed=tuple(at_the_end(e, n, level) for e in found.fixed),
        differences_random=differences(found.differences_random),
        differences_fixed=differences(found.differences_fixed),
    )


def _right(decisions: npt.ArrayLike, truth: npt.ArrayLike, measure: str) -> tuple[Floats, str]:
    if measure not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}, but is {measure!r}")
    table, positive = mrmc.whole_cases(decisions, truth)
    if not np.isin(table, (0, 1)).all():
        raise ValueError("decisions must be 0 (no), 1 (yes) or NaN (not read)")
    right = np.where(positive, table, 1 - table)
    if measure != "accuracy":
        right = right[:, :, positive if measure == "sensitivity" else ~positive]
    if right.shape[2] < 2:
        raise ValueError(
            f"{measure} needs two cases that everyone has read, but has {right.shape[2]}"
        )
    return right, f"{measure}, {right.shape[2]} cases"
