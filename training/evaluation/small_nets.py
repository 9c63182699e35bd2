"""How well the small nets do on patients they were not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bmcore.models.losses import IGNORED
from bmcore.stats import froc, segmentation
from training.data.candidate_dataset import Found
from training.data.lesion_crops import Crops

if TYPE_CHECKING:
    import torch

RATES = (0.25, 0.5, 1.0, 2.0)  # false candidates a patient
LIMIT = 0.05  # share of the peak at which ``measure_refinement`` ends a lesion


def refinement_scores(net: torch.nn.Module, crops: Crops) -> dict[str, list[float]]:
    """The Dice of the enhancing tumour of each lesion that lies whole in its crop, with the first
    outline ("before") and the new one ("contours"), each from LIMIT of its peak on."""
    from bmcore.models.lesion_refinement import outline

    scores: dict[str, list[float]] = {"before": [], "contours": []}
    for n in range(len(crops)):
        own, truth = crops.own[n], crops.label[n] == 2
        whole = own | truth
        if (
            not truth.any()
            or not own.any()
            or any(whole.take(end, axis).any() for axis in range(3) for end in (0, -1))
        ):
            continue
        probabilities = crops.probabilities[n].astype(np.float32)
        box = tuple(slice(int(v.min()), int(v.max()) + 1) for v in np.nonzero(own))
        here, shape, necrosis = outline(
            net, crops.images[n].astype(np.float32), probabilities, crops.brain[n],
            own.astype(np.int32), 1, box,
        )  # fmt: skip
        drawn = np.zeros_like(own)
        drawn[here] = (shape > LIMIT * max(float(shape.max()), 1e-6)) & (necrosis <= 0.5)
        first = np.where(own, probabilities[1] + probabilities[3], 0)
        first = (first > LIMIT * first.max()) & (probabilities[1] <= probabilities[3])
        known = crops.label[n] != IGNORED
        for name, found in (("before", first), ("contours", drawn & known)):
            scores[name].append(segmentation.dice(found, truth))
    return scores


def measure_refinement(net: torch.nn.Module, crops: Crops) -> dict[str, Any]:
    """Number of the lesions and means of ``refinement_scores``, on patients not trained on."""
    scores = refinement_scores(net, crops)
    out: dict[str, Any] = {"lesions": len(scores["before"])}
    return out | {f"dice_{k}": float(np.mean(v)) for k, v in scores.items() if v}


def measure_classification(head: torch.nn.Module, found: Found, patients: int) -> dict[str, Any]:
    """How well ``head`` and the peak alone tell lesions from others, on patients not trained on.

    AUC, and the share of the lesions kept at RATES of false candidates a patient.
    """
    import torch

    lesion = found.lesion
    out: dict[str, Any] = {"patients": patients, "lesions": int(lesion.sum())}
    out["others"] = int((~lesion).sum())
    if not lesion.any() or lesion.all():
        return out
    with torch.inference_mode():
        second = head.eval()(torch.from_numpy(found.described[0])).numpy()
    for name, score in (("peak", found.peak), ("second look", second)):
        kept = froc.kept_at_false_rates(score, lesion, patients, RATES)
        out[name] = {
            "auc": froc.area(score, lesion),
            "lesions_kept_at_false_per_patient": {f"{rate:g}": v for rate, v in kept.items()},
        }
    return out
