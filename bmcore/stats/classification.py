"""How well one of K classes is named; every number with an interval over patients.

truth, predicted: (n,) class indices from 0. A predicted index of K or more, or -1, is an answer
outside the classes ("other", "cannot tell") and counts as wrong. probabilities: (n, K).
patients: (n,) an id per row; left out, each row is a patient of its own.
The ``*_statistic`` functions give weights (b, n) -> (b,) and serve ``bootstrap.paired_difference``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.stats import clustered, delong
from bmcore.stats.bootstrap import (
    Resampling,
    Statistic,
    Weights,
    mean_statistic,
    patient_bootstrap,
    patient_bootstrap_many,
)
from bmcore.stats.estimate import Estimate, mean_of_shares, percent, proportion, undefined

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_NO_CASE = "not defined: there is no case"
PER_CLASS = ("sensitivity", "specificity", "ppv", "npv", "f1")
_PAIRS_BELOW = 800  # rows up to which the AUC lays out all pairs: measured, training/bench


@dataclass(frozen=True)
class ReliabilityBin:
    """Cases whose highest probability lies in ``low``-``high``: mean confidence and accuracy."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class Aucs:
    """Area under the ROC curve, each class against the rest, and their mean."""

    macro: Estimate
    per_class: tuple[Estimate, ...]


def confusion_matrix(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int, n_answers: int | None = None
) -> npt.NDArray[np.int64]:
    """Counts (n_classes, n_answers): row the truth, column the answer. ``n_answers`` may exceed
    ``n_classes`` for answers outside the classes."""
    t, p = _labels(truth, predicted, n_classes)
    columns = n_answers or n_classes
    if len(p) and (p.min() < 0 or p.max() >= columns):
        raise ValueError(f"answers must lie in 0 to {columns - 1} to be counted in a matrix")
    table = np.zeros((n_classes, columns), dtype=np.int64)
    np.add.at(table, (t, p), 1)
    return table


def accuracy(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
) -> Estimate:
    """Share of right answers, 0-1, with the interval of ``clustered.ratio`` over patients.

    Of ``resampling`` only the level counts here, in ``balanced_accuracy`` and in ``per_class`` but
    for F1: shares have intervals that hold at 0 and 1, where the bootstrap has no width.
    """
    t, p = _labels(truth, predicted)
    ids = _ids(patients, len(t))
    return clustered.by_patient(t == p, ids, "share of right answers", resampling.level)


def balanced_accuracy(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    n_classes: int,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
) -> Estimate:
    """Mean sensitivity over the classes that occur in ``truth``, 0-1: see ``mean_of_shares``."""
    t, p = _labels(truth, predicted, n_classes)
    ids = _ids(patients, len(t))
    level = resampling.level
    each = [clustered.by_patient((p == t)[t == c], ids[t == c], "", level) for c in np.unique(t)]
    return mean_of_shares(each, f"mean of {len(each)} sensitivities", level)


def per_class(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    n_classes: int,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
) -> dict[str, tuple[Estimate, ...]]:
    """Sensitivity, specificity, PPV, NPV and F1 of each class against the rest, K Estimates each.

    The first four are shares of the patients with, without, said to have and said not to have the
    class, and n is the number of those patients; F1 has a patient bootstrap of all of them. A ratio
    with an empty denominator is not defined, never 0 (for instance the PPV of a class that was
    never named).
    """
    t, p = _labels(truth, predicted, n_classes)
    ids, level = _ids(patients, len(t)), resampling.level
    found: dict[str, list[Estimate]] = {name: [] for name in PER_CLASS}
    for c in range(n_classes):
        ill, named = t == c, p == c
        for name, hit, of in (
            ("sensitivity", named, ill),
            ("specificity", ~named, ~ill),
            ("ppv", ill, named),
            ("npv", ~ill, ~named),
        ):
            found[name].append(clustered.by_patient(hit[of], ids[of], name, level))

        def f1(w: Weights, ill: Bools = ill, named: Bools = named) -> Floats:
            return _ratio(2 * (w @ (ill & named)), w @ (ill.astype(float) + named))

        found["f1"].append(patient_bootstrap(f1, ids, resampling, "F1"))
    return {name: tuple(each) for name, each in found.items()}


def auc(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
) -> Aucs:
    """AUC by ranks with ties counted half (Hanley and McNeil 1982, Radiology 143:29).

    ``macro`` is the plain mean over the classes that have both positive and negative cases; the
    other classes are not defined. Areas of exactly 0 or 1, which no resample changes, have the
    interval of ``delong.area_at_the_end``, and the macro mean then the mean of their limits.
    """
    t, p = _scores(truth, probabilities)
    k = p.shape[1]
    if len(t) == 0:
        return Aucs(undefined(0, _NO_CASE), (undefined(0, _NO_CASE),) * k)
    usable = _usable_classes(t, k)
    each_class = [weighted_auc(t == c, p[:, c]) for c in range(k)]

    def statistic(w: Weights) -> Floats:
        areas = np.stack([area(w) for area in each_class], axis=1)
        macro = areas[:, usable].mean(axis=1) if len(usable) else np.full(len(w), np.nan)
        return np.column_stack([macro, areas])

    what = f"one class against the rest, {len(usable)} of {k} classes present"
    ids, level = _ids(patients, len(t)), resampling.level
    macro, *each = patient_bootstrap_many(statistic, ids, resampling, what)
    each = [_area_ended(e, ids[t == c], ids[t != c], level) for c, e in enumerate(each)]
    return Aucs(_macro_ended(macro, [each[c] for c in usable], level), tuple(each))


def brier(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
) -> Estimate:
    """Squared distance between probabilities and truth, summed over classes, 0-2 (Brier 1950)."""
    t, p = _scores(truth, probabilities)
    return patient_bootstrap(brier_statistic(t, p), _ids(patients, len(t)), resampling, bca=True)


def log_loss(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
) -> Estimate:
    """Mean of -ln(probability given to the truth); probabilities are held above 1e-15."""
    t, p = _scores(truth, probabilities)
    ids = _ids(patients, len(t))
    return patient_bootstrap(log_loss_statistic(t, p), ids, resampling, bca=True)


def calibration_error(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.ArrayLike | None = None,
    bins: int = 10,
    resampling: Resampling = Resampling(),
) -> Estimate:
    """Expected calibration error of the top answer, equal-width bins (Guo 2017, ICML).

    It is biased upwards in small samples, and so is its interval.
    """
    t, p = _scores(truth, probabilities)
    gaps = np.zeros((len(t), bins))
    gaps[np.arange(len(t)), _bin_of(p.max(axis=1), bins)] = (p.argmax(axis=1) == t) - p.max(axis=1)

    def statistic(w: Weights) -> Floats:
        error: Floats = np.abs(w @ gaps).sum(axis=1) / w.sum(axis=1)
        return error

    return patient_bootstrap(statistic, _ids(patients, len(t)), resampling, f"{bins} bins")


def reliability_table(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """One row a bin of the top probability (empty bins too); Wilson interval of the accuracy."""
    t, p = _scores(truth, probabilities)
    top, right, where = p.max(axis=1), p.argmax(axis=1) == t, _bin_of(p.max(axis=1), bins)
    rows = []
    for b in range(bins):
        inside = where == b
        n = int(inside.sum())
        mean = float(top[inside].mean()) if n else float("nan")
        hits = proportion(int(right[inside].sum()), n)
        rows.append(ReliabilityBin(b / bins, (b + 1) / bins, n, mean, hits))
    return tuple(rows)


def accuracy_statistic(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Statistic:
    t, p = _labels(truth, predicted)
    return mean_statistic((t == p).astype(float))


def balanced_accuracy_statistic(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int
) -> Statistic:
    t, p = _labels(truth, predicted, n_classes)
    onehot = np.eye(n_classes)[t]
    right = onehot * (t == p)[:, None]
    present = onehot.any(axis=0)

    def statistic(w: Weights) -> Floats:
        balanced: Floats = _ratio(w @ right[:, present], w @ onehot[:, present]).mean(axis=1)
        return balanced

    return statistic


def auc_statistic(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> Statistic:
    """Macro AUC over the classes that have positive and negative cases."""
    t, p = _scores(truth, probabilities)
    usable = _usable_classes(t, p.shape[1])
    if not usable:
        return lambda w: np.full(len(w), np.nan)
    areas = [weighted_auc(t == c, p[:, c]) for c in usable]
    return lambda w: np.mean([area(w) for area in areas], axis=0)


def brier_statistic(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> Statistic:
    t, p = _scores(truth, probabilities)
    return mean_statistic(((p - np.eye(p.shape[1])[t]) ** 2).sum(axis=1))


def log_loss_statistic(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> Statistic:
    return mean_statistic(log_loss_of_each(truth, probabilities))


def log_loss_of_each(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> Floats:
    """-ln(probability given to the truth) of each case (n,); held above 1e-15."""
    t, p = _scores(truth, probabilities)
    return -np.log(np.clip(p[np.arange(len(t)), t], 1e-15, 1.0))


def weighted_auc(positive: npt.NDArray[np.bool_], score: Floats) -> Statistic:
    """AUC of one class as a statistic: the share of won pairs, ties half (Mann and Whitney 1947).

    positive, score: (n,). Up to ``_PAIRS_BELOW`` rows every pair is laid out once and a resample is
    a product of matrices; above that, rows are ranked. Both are exact: all counts are halves.
    """
    if len(score) > _PAIRS_BELOW:
        return lambda w: _ranked_auc(w, positive, score)
    at = np.flatnonzero(positive)
    over = score[at][:, None]
    won = ((over > score) + 0.5 * (over == score)) * ~positive

    def statistic(w: Weights) -> Floats:
        chosen = w[:, at]
        above = chosen.sum(axis=1)
        return _ratio(np.einsum("bn,bn->b", chosen @ won, w), above * (w.sum(axis=1) - above))

    return statistic


def _ranked_auc(w: Weights, positive: npt.NDArray[np.bool_], score: Floats) -> Floats:
    order = np.argsort(score, kind="stable")
    ranked, is_positive = score[order], positive[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weights = w[:, order]
    above = np.add.reduceat(weights * is_positive, starts, axis=1)
    below = np.add.reduceat(weights * ~is_positive, starts, axis=1)
    wins = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
    return _ratio(wins, above.sum(axis=1) * below.sum(axis=1))


def _area_ended(
    found: Estimate,
    positive: npt.NDArray[np.float64],
    negative: npt.NDArray[np.float64],
    level: float,
) -> Estimate:
    """The area with an interval from the numbers of patients where it is 0 or 1 and has none."""
    n1, n0 = len(np.unique(positive)), len(np.unique(negative))
    if found.has_interval or found.value not in (0.0, 1.0) or min(n1, n0) < 2:
        return found
    return delong.area_at_the_end(
        found.value, n1, n0, f"AUC, {n1} positive and {n0} negative patients", level
    )


def _macro_ended(macro: Estimate, each: Sequence[Estimate], level: float) -> Estimate:
    if macro.has_interval or not each or not all(e.has_interval for e in each):
        return macro
    low, high = (float(np.mean([getattr(e, end) for e in each])) for end in ("low", "high"))
    method = f"macro AUC, mean of the limits of {len(each)} classes, {percent(level)}"
    return Estimate(macro.value, min(low, macro.value), max(high, macro.value), macro.n, method)


def _usable_classes(t: npt.NDArray[np.int64], k: int) -> list[int]:
    return [c for c in range(k) if 0 < (t == c).sum() < len(t)]


def _ratio(top: Floats, bottom: Floats) -> Floats:
    out = np.full(np.shape(bottom), np.nan)
    ratio: Floats = np.divide(top, bottom, out=out, where=bottom > 0)
    return ratio


def _bin_of(values: Floats, bins: int) -> npt.NDArray[np.int64]:
    return np.minimum((values * bins).astype(np.int64), bins - 1)


def _ids(patients: npt.ArrayLike | None, n: int) -> npt.NDArray[Any]:
    if patients is None:
        return np.arange(n)
    ids = np.asarray(patients)
    if ids.shape != (n,):
        raise ValueError(f"patients must be one id a row, ({n},), but is {ids.shape}")
    return ids


def _labels(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    t, p = (np.asarray(x) for x in (truth, predicted))
    if t.ndim != 1 or t.shape != p.shape:
        raise ValueError(f"truth and predicted must be (n,) alike, but are {t.shape}, {p.shape}")
    if t.size and not all(np.issubdtype(x.dtype, np.integer) for x in (t, p)):
        raise ValueError("truth and predicted must be whole class indices")
    if t.size and (t.min() < 0 or (n_classes is not None and t.max() >= n_classes)):
        raise ValueError(f"truth must hold indices of the {n_classes or ''} classes, from 0 on")
    return t.astype(np.int64), p.astype(np.int64)


def _scores(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], Floats]:
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or p.shape[1] < 2:
        raise ValueError(f"probabilities must be (n, K) with K of 2 or more, but are {p.shape}")
    t, _ = _labels(truth, np.zeros(len(p), dtype=np.int64), p.shape[1])
    if not np.isfinite(p).all() or (p < 0).any() or (np.abs(p.sum(axis=1) - 1) > 1e-3).any():
        raise ValueError("each row of probabilities must be 0 or more and sum to 1")
    return t, p
