"""What an answer is good for at a point of work: rates at a fixed rate, and the first few named."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmcore.stats.bootstrap import Resampling, patient_bootstrap
from bmcore.stats.estimate import Estimate, proportion, undefined

Floats = npt.NDArray[np.float64]
LEAST = 5  # cases of either kind from which a rate is given


def sensitivity_at(
    positive: npt.NDArray[np.bool_],
    score: Floats,
    specificity: float,
    resampling: Resampling | None = None,
) -> Estimate:
    """Share of the positive (n,) found when at most 1 - ``specificity`` of the others are flagged.

    The threshold on ``score`` (n,) is that of these same cases, so the value leans to the good side
    in small samples; it is chosen anew in every resample of the interval. Undefined below ``LEAST``
    cases of either kind. ValueError: shapes that differ, a score that is NaN or infinite, a
    ``specificity`` outside 0-1.
    """
    return _at(positive, score, specificity, resampling, "sensitivity at specificity")


def specificity_at(
    positive: npt.NDArray[np.bool_],
    score: Floats,
    sensitivity: float,
    resampling: Resampling | None = None,
) -> Estimate:
    """Share of the others left alone when at least ``sensitivity`` of the positive are found.

    As ``sensitivity_at``, with the two kinds exchanged.
    """
    return _at(~positive, -score, sensitivity, resampling, "specificity at sensitivity")


def _at(
    positive: npt.NDArray[np.bool_],
    score: Floats,
    rate: float,
    resampling: Resampling | None,
    name: str,
) -> Estimate:
    positive, score = np.asarray(positive, bool), np.asarray(score, float)
    if positive.ndim != 1 or positive.shape != score.shape or not np.isfinite(score).all():
        raise ValueError(
            "positive and score must be (n,) alike and each score a finite number; leave out cases "
            f"without one; they are {positive.shape} and {score.shape}, with "
            f"{np.count_nonzero(~np.isfinite(score))} scores that are none"
        )
    if not 0 <= rate <= 1:
        raise ValueError(f"the rate must lie between 0 and 1, for instance 0.9, but is {rate}")
    n = positive.size
    if min(np.count_nonzero(positive), np.count_nonzero(~positive)) < LEAST:
        return undefined(n, f"{name} {rate:.2f}: not defined below {LEAST} cases of either kind")
    order = np.argsort(-score, kind="stable")
    flagged, ends = positive[order], _last_of_equal(score[order])

    def statistic(weights: Floats) -> Floats:
        w = np.atleast_2d(weights)[:, order]
        hit, false = np.cumsum(w * flagged, axis=1), np.cumsum(w * ~flagged, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = hit[:, ends] / hit[:, -1:]
            wrong = false[:, ends] / false[:, -1:]
        allowed = wrong <= 1 - rate + 1e-9
        return np.asarray(np.where(allowed, found, 0.0).max(axis=1))

    found = patient_bootstrap(statistic, np.arange(n), resampling or Resampling())
    words = f"{name} {rate:.2f}, threshold chosen on the same cases; {found.method}"
    return Estimate(found.value, found.low, found.high, n, words)


def _last_of_equal(sorted_score: Floats) -> npt.NDArray[np.bool_]:
    """Where a threshold can lie: behind the last of equal scores."""
    return np.asarray(np.r_[sorted_score[1:] != sorted_score[:-1], True])


def among_first(
    truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating], first: int
) -> Estimate:
    """Share of cases whose true class is among the ``first`` likeliest (Wilson interval).

    truth: (n,) class indices from 0; probabilities: (n, K). Of equally likely classes at the last
    place each counts by its share, as if one were drawn: a model that always says the same is right
    in first / K. ValueError: shapes that do not fit, NaN, ``first`` below 1.
    """
    p = np.asarray(probabilities, float)
    if p.ndim != 2 or np.shape(truth) != p.shape[:1] or np.isnan(p).any() or first < 1:
        raise ValueError(
            f"truth must be (n,), probabilities (n, K) without NaN and first 1 or more, but are "
            f"{np.shape(truth)}, {p.shape} and {first}"
        )
    own = p[np.arange(len(p)), truth][:, None]
    ahead, level = (p > own).sum(axis=1), (p == own).sum(axis=1)
    named = np.clip((first - ahead) / level, 0, 1)
    return proportion(float(named.sum()), len(p))
