"""FROC: how many lesions are found for how many false ones, as the threshold falls.

Free-response receiver operating characteristic (Bunch et al. 1978, J Appl Photogr Eng 4:166;
Chakraborty and Winter 1990, Radiology 174:873). A candidate is one predicted part with a score; at
a threshold a reference lesion is found if one candidate of at least that score touches it, and
a candidate of at least that score that touches no lesion is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.stats.bootstrap import Resampling, Weights, patient_bootstrap_many
from bmcore.stats.clustered import at_the_end
from bmcore.stats.estimate import Estimate, undefined
from bmcore.stats.segmentation import (
    Mask,
    Spacing,
    dilation_ball,
    largest_diameter_mm,
    merged_lesions,
    parts_touching,
)

FALSE_RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
SCORES = ("peak", "mean")
_TOUCHING = ndimage.generate_binary_structure(3, 3)


@dataclass(frozen=True)
class Detection:
    """One predicted part. ``peak`` and ``mean``: the greatest and the mean probability in it, 0-1.
    ``hits``: indices of the reference lesions it touches. ``besides``: True where it touches only
    reference lesions that are too small to count, so that it is neither right nor false."""

    peak: float
    mean: float
    diameter_mm: float
    hits: tuple[int, ...]
    besides: bool = False


@dataclass(frozen=True)
class Detections:
    """One case: the diameter of each reference lesion in mm, and the candidates."""

    diameters_mm: tuple[float, ...]
    candidates: tuple[Detection, ...]


@dataclass(frozen=True)
class Froc:
    """The curve from the highest threshold to the lowest, arrays (t,), and the ``sensitivity_at``
    each of ``rates`` false lesions a case with its threshold (NaN: none is low enough)."""

    thresholds: npt.NDArray[np.float64]
    false_per_case: npt.NDArray[np.float64]
    sensitivity: npt.NDArray[np.float64]
    rates: tuple[float, ...]
    sensitivity_at: tuple[Estimate, ...]
    threshold_at: tuple[float, ...]
    cases: int
    lesions: int


def find_candidates(
    chance: npt.NDArray[np.float32],
    reference: Mask,
    spacing_mm: Spacing,
    lowest: float = 0.1,
    smallest_voxels: int = 3,
) -> Detections:
    """The candidates of one case: parts (26 neighbours) where ``chance`` is ``lowest`` or more.

    chance, reference: (i, j, k) on one grid, the probability and the mask of the tumour core. Parts
    under ``smallest_voxels`` are dropped, as the segmenter does. Reference lesions are those of
    ``segmentation.lesion_wise`` (joined within 1 mm, touched within 1 mm); those under 2 voxels do
    not count. A low ``lowest`` lets the curve run far to the right, but it can weld neighbours into
    one candidate.
    """
    if chance.shape != reference.shape:
        raise ValueError(f"chance {chance.shape} and reference {reference.shape} must be alike")
    parts, n_parts = ndimage.label(chance >= lowest, _TOUCHING)
    sizes = np.bincount(parts.ravel(), minlength=n_parts + 1)
    lesions, ball = merged_lesions(reference, spacing_mm), dilation_ball(spacing_mm)
    hits: dict[int, list[int]] = {}
    besides: set[int] = set()
    diameters: list[float] = []
    for number, place in enumerate(ndimage.find_objects(lesions), start=1):
        touching = parts_touching(parts, lesions, number, place, ball)
        own = lesions[place] == number
        if own.sum() < 2:
            besides.update(touching)
            continue
        for part in touching:
            hits.setdefault(part, []).append(len(diameters))
        diameters.append(largest_diameter_mm(own, spacing_mm))
    found = []
    for part, place in enumerate(ndimage.find_objects(parts), start=1):
        if sizes[part] < smallest_voxels:
            continue
        inside = parts[place] == part
        values = chance[place][inside]
        mine = tuple(hits.get(part, ()))
        found.append(
            Detection(
                float(values.max()),
                float(values.mean()),
                largest_diameter_mm(inside, spacing_mm),
                mine,
                not mine and part in besides,
            )
        )
    return Detections(tuple(diameters), tuple(found))


def froc(
    cases: Sequence[Detections],
    score: str = "peak",
    smallest_mm: float = 0.0,
    rates: Sequence[float] = FALSE_RATES,
    resampling: Resampling = Resampling(),
) -> Froc:
    """The FROC curve over ``cases`` (one a patient) and its sensitivity at fixed false rates.

    score: "peak" or "mean" of the candidates. smallest_mm: reference lesions of a smaller diameter
    do not count, and what touches only them is neither right nor false. The sensitivity at a rate
    is that of the lowest threshold that keeps the mean number of false lesions a case at or below
    the rate, found anew in every resample of patients; nothing is interpolated.
    ValueError for an unknown score.
    """
    if score not in SCORES:
        raise ValueError(f"score must be one of {', '.join(SCORES)}, but is {score!r}")
    thresholds, hits, false = _counts(cases, score, smallest_mm)
    per_case = np.array([sum(d >= smallest_mm for d in c.diameters_mm) for c in cases], float)
    total, n = int(per_case.sum()), len(cases)
    if n == 0 or total == 0:
        why = "not defined: there is no reference lesion of this size"
        nothing = np.zeros(0)
        return Froc(
            nothing, nothing, nothing, tuple(rates), (undefined(n, why),) * len(rates),
            (float("nan"),) * len(rates), n, total,
        )  # fmt: skip

    def statistic(w: Weights) -> npt.NDArray[np.float64]:
        rate = (w @ false) / w.sum(axis=1, keepdims=True)
        below = w @ per_case
        share = np.divide(
            w @ hits, below[:, None], out=np.full(rate.shape, np.nan), where=below[:, None] > 0
        )
        last = np.stack([(rate <= r + 1e-9).sum(axis=1) - 1 for r in rates], axis=1)
        return np.take_along_axis(share, last, axis=1)

    what = f"by the {score} probability, {total} lesions"
    ill = int((per_case > 0).sum())
    found = tuple(
        at_the_end(e, ill, resampling.level)
        for e in patient_bootstrap_many(statistic, np.arange(n), resampling, what)
    )
    rate, share = false.mean(axis=0), hits.sum(axis=0) / total
    at = [thresholds[int((rate <= r + 1e-9).sum()) - 1] for r in rates]
    return Froc(
        thresholds, rate, share, tuple(rates), found,
        tuple(float(t) if np.isfinite(t) else float("nan") for t in at), n, total,
    )  # fmt: skip


def _counts(
    cases: Sequence[Detections], score: str, smallest_mm: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Thresholds (t,) from infinity downwards; lesions found and false candidates (cases, t)."""
    levels = {getattr(k, score) for c in cases for k in c.candidates}
    thresholds = np.array([np.inf, *sorted(levels, reverse=True)])
    hits, false = np.zeros((2, len(cases), len(thresholds)))
    for row, case in enumerate(cases):
        best = np.full(len(case.diameters_mm), -np.inf)
        counts = np.array([d >= smallest_mm for d in case.diameters_mm], bool)
        for candidate in case.candidates:
            value = getattr(candidate, score)
            for hit in candidate.hits:
                best[hit] = max(best[hit], value)
            if not candidate.hits and not candidate.besides:
                false[row] += thresholds <= value
        hits[row] = (best[counts][:, None] >= thresholds).sum(axis=0)
    return thresholds, hits, false


def area(scores: npt.NDArray[np.float64], lesion: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve of candidates: ``scores`` (n,), and which are lesions (n,)."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(lesion, scores))


def kept_at_false_rates(
    scores: npt.NDArray[np.float64],
    lesion: npt.NDArray[np.bool_],
    cases: int,
    rates: Sequence[float],
) -> dict[float, float]:
    """Share of the lesions that score above the limit which leaves ``rates`` false ones a case.

    scores (n,), lesion (n,): of all candidates of ``cases`` cases, at least one of either kind.
    """
    false = np.append(np.sort(scores[~lesion])[::-1], -np.inf)
    limits = {rate: false[min(int(rate * cases), len(false) - 1)] for rate in rates}
    return {rate: float((scores[lesion] > limit).mean()) for rate, limit in limits.items()}
