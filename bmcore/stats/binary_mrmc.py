"""Many readers, many cases, yes-or-no answers: sensitivity, specificity, share of right answers.

Chen, Wunderlich, Petrick and Gallas 2014 (J Med Imaging 1:031011) for the U-statistics; Obuchowski
and Rockette's analysis needs only the covariance of the readers' shares, which for a mean over
cases is the sample covariance over n. Complete designs: a case that any reader left open (NaN) is
left out for all. One row a patient: lesions of one patient are not independent cases. Shares near
0 or 1 make every interval here too narrow with fewer than about 30 cases of the kind.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmcore.stats import mrmc, ustatistics
from bmcore.stats.mrmc import ReaderStudy
from bmcore.stats.ustatistics import UStudy

Floats = npt.NDArray[np.float64]
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
    return mrmc.analyse(flat.mean(axis=1).reshape(t, r), covariance, n, name, level)


def compare_rates_u(
    decisions: npt.ArrayLike, truth: npt.ArrayLike, measure: str, level: float = 0.95
) -> UStudy:
    """As ``compare_rates`` with the unbiased one-shot variance of U-statistics."""
    right, name = _right(decisions, truth, measure)
    return ustatistics.compare_kernels(right, right.shape[2], f"{name}, U-statistics", level)


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
