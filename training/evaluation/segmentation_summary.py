"""From the records of single cases to the tables of the model card; one case a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, REGIONS
from bmcore.stats import bootstrap, froc, segmentation
from bmcore.stats.estimate import Estimate
from bmcore.stats.subgroups import band, bands, count_band, count_bands, subgroup_table
from training.evaluation.segmentation_case import ALL, SUBSETS, detections

Records = Sequence[Mapping[str, Any]]
SIZES_MM = (0.0, 5.0, 10.0, 20.0, float("inf"))
MINIMUM = 10
UNKNOWN = "not known"
NONE = "no lesion"
CURVES = {
    "peak": ("peak", 0.0),
    "mean": ("mean", 0.0),
    "peak_from_5_mm": ("peak", 5.0),
}


def summarise(records: Records, minimum: int = MINIMUM) -> dict[str, Any]:
    """All tables. ``minimum``: least number of patients for a number of a subgroup."""
    names = [n for n in SUBSETS if any(n in r["subsets"] for r in records)]
    result: dict[str, Any] = {
        "cases": len(records),
        "cases_without_lesion": sum(not _lesions(r) for r in records),
        "lesions": sum(len(_lesions(r)) for r in records),
        "hardware": sorted({r["hardware"] for r in records}),
        "subsets": {name: _subset(records, name) for name in names},
        "differences": {name: _difference(records, name) for name in names if name != ALL},
        "minimum": minimum,
    }
    if ALL in names:
        result |= {
            "detection": _detection(records),
            "operating": _operating(records),
            "froc": {name: _froc(records, *how) for name, how in CURVES.items()},
            "subgroups": _subgroups(records, minimum),
        }
        result["goals"] = _goals(result)
    return result


def region_numbers(rows: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    """Every number of one region over cases: ``rows`` as ``score_region`` wrote them."""

    def of(key: str) -> list[float]:
        return [row[key] for row in rows]

    lesions = [[s["detected"] for s in row["lesions"]] for row in rows]
    false = [len(row["false_diameters_mm"]) for row in rows]
    relative = [
        abs(row["volume_error_mm3"]) / row["reference_mm3"] for row in rows if row["reference_mm3"]
    ]
    return {
        "dice": bootstrap.mean(of("dice")),
        "nsd": bootstrap.mean(of("nsd")),
        "hd95_mm": bootstrap.mean(of("hd95_mm")),
        "hd95_median_mm": bootstrap.median(of("hd95_mm")),
        "volume_error_mm3": bootstrap.mean(of("volume_error_mm3")),
        "volume_error_relative": bootstrap.median(
            relative, what="median of |error| / reference, cases with this region"
        ),
        "lesion_dice": bootstrap.mean(of("lesion_dice")),
        "lesion_hd95_mm": bootstrap.mean(of("lesion_hd95_mm")),
        "sensitivity": segmentation.sensitivity(lesions),
        "false_per_case": segmentation.false_lesions_per_case(false),
    }


def _rows(records: Records, subset: str, region: str) -> list[Mapping[str, Any]]:
    scored = (r["subsets"].get(subset) for r in records)
    return [s["regions"][region] for s in scored if s]


def _lesions(record: Mapping[str, Any], region: str = "TC") -> list[Mapping[str, Any]]:
    """Reference lesions; the same in every subset that was scored."""
    scored = next(s for s in record["subsets"].values() if s)
    return scored["regions"][region]["lesions"]


def _subset(records: Records, name: str) -> dict[str, Any]:
    scored = [s for r in records if (s := r["subsets"].get(name))]
    return {
        "sequences": SUBSETS[name],
        "cases": len(scored),
        "cases_without_the_sequences": sum(r["subsets"].get(name, 0) is None for r in records),
        "seconds": bootstrap.median([s["seconds"] for s in scored]),
        "regions": {r: region_numbers(_rows(records, name, r)) for r in REGIONS} if scored else {},
        "both_empty": {
            r: sum(
                not row["reference_mm3"] and not row["predicted_mm3"]
                for row in _rows(records, name, r)
            )
            for r in REGIONS
        },
    }


def _difference(records: Records, name: str) -> dict[str, Any]:
    """Subset minus all sequences, on the cases that were read with both."""
    both = [r for r in records if r["subsets"].get(name) and r["subsets"].get(ALL)]
    out = {}
    for region in REGIONS:
        pairs = [
            (bootstrap.mean_statistic([row[key] for row in _rows(both, name, region)]),
             bootstrap.mean_statistic([row[key] for row in _rows(both, ALL, region)]))
            for key in ("dice", "lesion_dice")
        ]  # fmt: skip
        out[region] = {
            key: bootstrap.paired_difference(*pair, np.arange(len(both)))
            for key, pair in zip(("dice", "lesion_dice"), pairs, strict=True)
        }
    return out


def _detection(records: Records) -> list[dict[str, Any]]:
    """Sensitivity and false lesions a case by diameter, of the tumour core, all sequences."""
    scored = [r for r in records if r["subsets"].get(ALL)]
    lesions = [(i, s) for i, r in enumerate(scored) for s in _rows([r], ALL, "TC")[0]["lesions"]]
    false = [
        (i, d) for i, r in enumerate(scored) for d in _rows([r], ALL, "TC")[0]["false_diameters_mm"]
    ]
    right = segmentation.detection_by_size(
        [s["diameter_mm"] for _, s in lesions],
        [s["detected"] for _, s in lesions],
        [i for i, _ in lesions],
        SIZES_MM,
    )
    wrong = segmentation.false_lesions_by_size(
        [d for _, d in false], [i for i, _ in false], len(scored), SIZES_MM
    )
    rows = []
    for hit, miss in zip(right, wrong, strict=True):
        inside = [(i, s) for i, s in lesions if hit.low_mm <= s["diameter_mm"] < hit.high_mm]
        rows.append(
            {
                "low_mm": hit.low_mm,
                "high_mm": None if np.isinf(hit.high_mm) else hit.high_mm,
                "lesions": hit.lesions,
                "sensitivity": hit.sensitivity,
                "lesion_dice": bootstrap.mean(
                    [s["dice"] for _, s in inside], [i for i, _ in inside]
                ),
                "false_lesions": miss.lesions,
                "false_per_case": miss.per_case,
            }
        )
    return rows


def _operating(records: Records) -> dict[str, Any]:
    """What the mask itself does, without moving a threshold: lesions of the tumour core found, of
    all sizes and from 5 mm on, and false lesions a case."""
    rows = _rows(records, ALL, "TC")
    every = [[s["detected"] for s in row["lesions"]] for row in rows]
    large = [[s["detected"] for s in row["lesions"] if s["diameter_mm"] >= 5] for row in rows]
    false = [len(row["false_diameters_mm"]) for row in rows]
    return {
        "sensitivity": segmentation.sensitivity(every),
        "sensitivity_from_5_mm": segmentation.sensitivity(large),
        "false_per_case": segmentation.false_lesions_per_case(false),
    }


def _froc(records: Records, score: str, smallest_mm: float) -> dict[str, Any]:
    cases = [detections(s) for r in records if (s := r["subsets"].get(ALL))]
    curve = froc.froc(cases, score, smallest_mm)
    keep = _corners(curve)
    return {
        "score": score,
        "smallest_mm": smallest_mm,
        "cases": curve.cases,
        "lesions": curve.lesions,
        "false_per_case": curve.false_per_case[keep].round(4),
        "sensitivity": curve.sensitivity[keep].round(4),
        "at": [
            {"false_per_case": rate, "sensitivity": found, "threshold": threshold}
            for rate, found, threshold in zip(
                curve.rates, curve.sensitivity_at, curve.threshold_at, strict=True
            )
        ],
    }


def _corners(curve: froc.Froc) -> np.ndarray:
    """Indices of the points that draw the curve: its first, its last and every turn."""
    if len(curve.thresholds) < 3:
        return np.arange(len(curve.thresholds))
    steps = np.diff(np.stack([curve.false_per_case, curve.sensitivity]), axis=1) > 0
    turn = (steps[:, 1:] != steps[:, :-1]).any(axis=0)
    return np.flatnonzero(np.r_[True, turn, True])


def _subgroups(records: Records, minimum: int) -> dict[str, list[dict[str, Any]]]:
    scored = [r for r in records if r["subsets"].get(ALL)]
    largest = [max((s["diameter_mm"] for s in _lesions(r)), default=None) for r in scored]
    counts = [len(_lesions(r)) for r in scored]
    tables = {
        "Primary": (
            [PRIMARY_NAMES.get(r["primary"], UNKNOWN) for r in scored],
            [*(PRIMARY_NAMES[p] for p in PRIMARIES), UNKNOWN],
        ),
        "Number of lesions": (
            [NONE if n == 0 else count_band(n, (2, 5, 10)) for n in counts],
            [NONE, *count_bands((2, 5, 10))],
        ),
        "Largest lesion": (
            [NONE if d is None else band(d, (10, 20), " mm") for d in largest],
            [NONE, *bands((10, 20), " mm")],
        ),
    }

    def numbers(at: np.ndarray) -> dict[str, Estimate]:
        some = [scored[i] for i in at]
        core, enhancing = (region_numbers(_rows(some, ALL, r)) for r in ("TC", "ET"))
        return {
            "dice": core["dice"],
            "lesion_dice": enhancing["lesion_dice"],
            "sensitivity": core["sensitivity"],
            "false_per_case": core["false_per_case"],
        }

    return {
        title: [
            {"name": row.name, "n": row.n, "numbers": row.numbers, "words": row.words}
            for row in subgroup_table(groups, names, numbers, minimum)
            if row.n or row.name not in (UNKNOWN, NONE)
        ]
        for title, (groups, names) in tables.items()
    }


def _goals(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was asked for before the evaluation, what was found, and whether the value meets it."""
    points = result["froc"]["peak_from_5_mm"]["at"]
    curve = {row["false_per_case"]: row["sensitivity"] for row in points}
    goals = [
        ("Lesion-wise Dice of the enhancing tumour at least 0.75",
         result["subsets"][ALL]["regions"]["ET"]["lesion_dice"], lambda v: v >= 0.75),
        ("Sensitivity at least 0.95 for lesions of 5 mm and more at up to 0.5 false lesions a case",
         curve[0.5], lambda v: v >= 0.95),
    ]  # fmt: skip
    less = result["differences"].get("without t2w, t2f")
    if less:
        goals.append(
            ("Dice of the tumour core falls by less than 0.10 without T2 and FLAIR",
             less["TC"]["dice"], lambda v: v > -0.10)
        )  # fmt: skip
    return [
        {"goal": words, "found": found, "met": found.defined and bool(met(found.value))}
        for words, found, met in goals
    ]
