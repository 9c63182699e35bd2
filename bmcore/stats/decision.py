"""Decision curves: is it better to act by the model than to act on all or on nobody?

Net benefit at a threshold probability t: true positives / n - false positives / n * t / (1 - t)
(Vickers and Elkin 2006, Med Decis Making 26:565). The threshold says how many unnecessary actions
one necessary action is worth. Acting on nobody has a net benefit of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats.bootstrap import Resampling, Statistic, Weights, patient_bootstrap_many
from bmcore.stats.estimate import Estimate, undefined

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit at each threshold: of the model, of acting on all, and how much the model gains
    over the better of acting on all and acting on nobody (paired, on the same patients)."""

    thresholds: tuple[float, ...]
    model: tuple[Estimate, ...]
    treat_all: tuple[Estimate, ...]
    gain: tuple[Estimate, ...]


def decision_curve(
    positive: npt.ArrayLike,
    probability: npt.ArrayLike,
    thresholds: Sequence[float] = THRESHOLDS,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
) -> DecisionCurve:
    """The curve of one class against the rest.

    positive: (n,) bool, who has the class. probability: (n,) of the class, 0-1; a patient is acted
    on where it is the threshold or more. ValueError: thresholds outside 0-1 (both excluded), a
    probability outside 0-1 or NaN, shapes that differ.
    """
    t = np.asarray(thresholds, float)
    if t.ndim != 1 or not len(t) or not ((t > 0) & (t < 1)).all():
        raise ValueError("thresholds must lie between 0 and 1, both excluded")
    truth, p = np.asarray(positive, bool), np.asarray(probability, float)
    if truth.ndim != 1 or truth.shape != p.shape:
        raise ValueError(
            f"positive and probability must be (n,) alike, but are {truth.shape}, {p.shape}"
        )
    wrong = p[~((p >= 0) & (p <= 1 + 1e-6))]
    if wrong.size:
        raise ValueError(
            f"each probability must lie between 0 and 1, but {wrong.size} of {p.size} do not, for "
            f"instance {wrong[0]:g}; give shares, not per cent, and leave out cases without one"
        )
    if len(truth) == 0:
        nothing = (undefined(0, "not defined: there is no case"),) * len(t)
        return DecisionCurve(tuple(t), nothing, nothing, nothing)
    ids = np.arange(len(truth)) if patients is None else np.asarray(patients)
    model, everyone = net_benefit(truth, p, t), net_benefit(truth, np.ones(len(p)), t)

    def statistic(w: Weights) -> npt.NDArray[np.float64]:
        own, all_ = model(w), everyone(w)
        return np.concatenate([own, all_, own - np.maximum(all_, 0)], axis=1)

    found = patient_bootstrap_many(statistic, ids, resampling, "net benefit")
    k = len(t)
    return DecisionCurve(tuple(t), found[:k], found[k : 2 * k], found[2 * k :])


def net_benefit(
    positive: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.float64],
    thresholds: npt.NDArray[np.float64],
) -> Statistic:
    """Net benefit at each threshold as a statistic, weights (b, n) -> (b, t)."""
    acted = probability[:, None] >= thresholds
    worth = np.where(positive[:, None], 1.0, -thresholds / (1 - thresholds)) * acted
    return lambda w: (w @ worth) / w.sum(axis=1, keepdims=True)
