"""One case of the segmentation evaluation: read it, score it, keep the scores as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import REGIONS, Case, Volume
from bmcore.geometry import voxel_sizes_mm
from bmcore.stats import froc, segmentation, surface_elements
from training.run.files import fingerprint
from training.run.processes import Stopwatch

if TYPE_CHECKING:
    from bmcore.models.bundles import Bundle
    from bmcore.models.runtime import Runtime

VERSION = 1
ALL = "all"
SUBSETS: Mapping[str, tuple[str, ...] | None] = {
    ALL: None,
    "t1c": ("t1c",),
    "t1c+t2f": ("t1c", "t2f"),
    "without t2w, t2f": ("t1n", "t1c"),
}


# What a surface is -> (HD95, surface Dice): MONAI's convention, and that of BraTS-METS.
SURFACES = {
    "voxels": (segmentation.hd95_mm, segmentation.surface_dice),
    "elements": (surface_elements.hd95_mm, surface_elements.surface_dice),
}


@dataclass(frozen=True)
class Scoring:
    """tolerance_mm: of the surface Dice. smallest_voxels: reference lesions below are left out.
    lowest_chance: probability of the tumour core from which a voxel belongs to a FROC candidate.
    surfaces: the convention of HD95 and surface Dice, a key of ``SURFACES``.
    """

    tolerance_mm: float = 1.0
    smallest_voxels: int = 2
    lowest_chance: float = 0.1
    surfaces: str = "voxels"

    def __post_init__(self) -> None:
        if self.surfaces not in SURFACES:
            raise ValueError(f"surfaces must be one of {', '.join(SURFACES)}: {self.surfaces!r}")


def source_of(content: str, bundle: Bundle, scoring: Scoring) -> str:
    """Names what a case's scores depend on: its files (``data.content.case_content``), the
    segmenter's weights, the settings."""
    part = bundle.entry("segmenter")
    return fingerprint(VERSION, content, part["sha256"], part["config"], asdict(scoring))


def with_sequences(case: Case, wanted: tuple[str, ...] | None) -> Case | None:
    """The case as if only ``wanted`` had been acquired; None where one of them is missing."""
    if wanted is None:
        return case
    if any(name not in case.sequences for name in wanted):
        return None
    return replace(case, sequences={name: case.sequences[name] for name in wanted})


@dataclass(frozen=True, eq=False)
class Reading:
    """mask: labels 0-3, chance: probability of the tumour core 0-1, both (i, j, k) on the input's
    grid; seconds from the images in memory to both."""

    mask: npt.NDArray[np.uint8]
    chance: npt.NDArray[np.float32]
    seconds: float


def read(case: Case, bundle: Bundle, chosen: Runtime) -> Reading:
    """The road of a case as in use, from the same function."""
    from bmcore.imaging.preprocess import restore_map
    from bmcore.inference.pipeline import segment_case

    watch = Stopwatch()
    found = segment_case(case, bundle, chosen)
    core = restore_map(found.probabilities[1] + found.probabilities[3], found.prepared)
    return Reading(np.asarray(found.mask.data), np.asarray(core.data), watch.seconds)


def score_region(
    mask: npt.NDArray, truth: npt.NDArray, name: str, spacing_mm: npt.NDArray, scoring: Scoring
) -> dict[str, Any]:
    """Every number of one region (ET, TC or WT) of one case."""
    a, b = (segmentation.region(x, REGIONS[name]) for x in (mask, truth))
    hd95_mm, surface_dice = SURFACES[scoring.surfaces]
    wise = segmentation.lesion_wise(a, b, spacing_mm, scoring.smallest_voxels, hd95_mm)
    voxel = float(np.prod(spacing_mm))
    return {
        "dice": segmentation.dice(a, b),
        "nsd": surface_dice(a, b, spacing_mm, scoring.tolerance_mm),
        "hd95_mm": hd95_mm(a, b, spacing_mm),
        "volume_error_mm3": segmentation.volume_error_mm3(a, b, spacing_mm),
        "reference_mm3": int(b.sum()) * voxel,
        "predicted_mm3": int(a.sum()) * voxel,
        "lesion_dice": wise.dice,
        "lesion_hd95_mm": wise.hd95_mm,
        "lesions": [asdict(lesion) for lesion in wise.lesions],
        "false_diameters_mm": list(wise.false_diameters_mm),
    }


def score(reading: Reading, reference: Volume, scoring: Scoring) -> dict[str, Any]:
    """The numbers of every region, and the candidates for the FROC curve."""
    truth, spacing = np.asarray(reference.data), voxel_sizes_mm(np.asarray(reference.affine))
    core = segmentation.region(truth, REGIONS["TC"])
    return {
        "seconds": reading.seconds,
        "regions": {
            name: score_region(reading.mask, truth, name, spacing, scoring) for name in REGIONS
        },
        "froc": asdict(froc.find_candidates(reading.chance, core, spacing, scoring.lowest_chance)),
    }


def evaluate_case(
    case: Case, bundle: Bundle, chosen: Runtime, scoring: Scoring, subsets: tuple[str, ...]
) -> dict[str, Any]:
    """The record of one case with a reference mask: what it is, and its scores by subset.

    A subset whose sequences the case does not have is None. ValueError without a mask.
    """
    if case.truth is None or case.truth.mask is None:
        raise ValueError(f"case {case.case_id} has no reference mask")
    record: dict[str, Any] = {
        "version": VERSION,
        "case_id": case.case_id,
        "primary": None if case.truth.primary is None else str(case.truth.primary),
        "sequences": list(case.sequences),
        "spacing_mm": voxel_sizes_mm(np.asarray(case.grid.affine)).tolist(),
        "hardware": chosen.words,
        "subsets": {},
    }
    for name in subsets:
        part = with_sequences(case, SUBSETS[name])
        record["subsets"][name] = part and score(
            read(part, bundle, chosen), case.truth.mask, scoring
        )
    return record


def detections(scores: Mapping[str, Any]) -> froc.Detections:
    """The FROC candidates of a record that was read from a file."""
    kept = scores["froc"]
    return froc.Detections(
        tuple(kept["diameters_mm"]),
        tuple(froc.Detection(**(c | {"hits": tuple(c["hits"])})) for c in kept["candidates"]),
    )
