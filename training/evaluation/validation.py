"""Figures of a segmentation net on held-out prepared cases."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import REGIONS
from bmcore.stats import segmentation as metrics
from training.run.processes import (
    World,
    progress,
)

if TYPE_CHECKING:
    from bmcore.models.nets.segmenter import Segmenter


def _score(
    found: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]
) -> tuple[dict[str, float], metrics.LesionWise]:
    """Dice of each region and lesion-wise Dice of ET of one case; the lesions of the core."""
    masks = {r: (metrics.region(found, k), metrics.region(truth, k)) for r, k in REGIONS.items()}
    row = {f"dice_{r}": metrics.dice(*pair) for r, pair in masks.items()}
    row["lesion_wise_dice_ET"] = metrics.lesion_wise(*masks["ET"]).dice
    return row, metrics.lesion_wise(*masks["TC"])


def validate(
    cache: Path, names: list[str], net: Segmenter, world: World, hidden: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Figures on held-out cases: mean Dice a region, lesion-wise ET Dice, detection by size.

    ``hidden``: indices of SEQUENCES to hide, to see what a missing sequence costs.
    """
    from bmcore.models import runtime
    from bmcore.models.inference import segment
    from bmcore.stats.bootstrap import mean_statistic, patient_bootstrap

    rows: list[dict[str, float]] = []
    sizes: list[float] = []
    hits: list[bool] = []
    owners: list[int] = []
    false_counts: list[int] = []
    how = runtime.choose("cuda" if world.device.startswith("cuda") else "cpu")
    with progress(world) as bars, runtime.inference(how):
        task = bars.add_task("validate", total=len(names))
        for number, name in enumerate(names):
            images = np.load(cache / f"{name}.images.npy").astype(np.float32)
            brain = (images != 0).any(0)
            images[list(hidden)] = 0
            truth = np.load(cache / f"{name}.labels.npy")
            found = segment(net, images, brain)
            row, detection = _score(found, truth)
            rows.append(row)
            sizes += [s.diameter_mm for s in detection.lesions]
            hits += [s.detected for s in detection.lesions]
            owners += [number] * len(detection.lesions)
            false_counts.append(detection.false_lesions)
            bars.advance(task)
    ids = np.arange(len(rows))

    def mean(values: npt.NDArray[np.float64]) -> dict[str, Any]:
        return asdict(patient_bootstrap(mean_statistic(values), ids))

    return {
        "cases": len(rows),
        **{k: mean(np.array([r[k] for r in rows])) for k in rows[0]},
        "detection_by_diameter": [
            asdict(b) for b in metrics.detection_by_size(sizes, hits, owners)
        ],
        "false_lesions_per_case": asdict(metrics.false_lesions_per_case(false_counts)),
        "lesion_wise_dice_ET_of_each": [r["lesion_wise_dice_ET"] for r in rows],
    }
