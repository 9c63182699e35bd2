"""A patient's image features: the second and third set, which hold what the lesions tell.

The first set (``models.cnn.FEATURE_NAMES``, bundles of the first version) reads brightness from
standardised images that end at 6 spreads: strong enhancement is cut off there, and whether a lesion
is dark on T2 cannot be told from its mean over all lesions. This set measures each lesion beside
the patient's own grey and white matter (``imaging.lesion_brightness``) and keeps the mean and the
extremes over the lesions. The third set adds what boosted trees make of these measurements
(``models.measurement_trees``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, Lesion
from bmcore.imaging.lesion_brightness import (
    healthy_levels,
    lesion_measures,
    pooled,
    readable,
    relative_patches,
)
from bmcore.imaging.lesion_crops import LesionCrops
from bmcore.models.cnn import MAX_LESIONS, SHARES, ImageFeature, measured_on_lesions
from bmcore.models.measurement_trees import MeasurementTrees

_HOW = {"mean": 0, "volume": 1, "least": 2, "most": 3}  # columns of ``pooled``
_HOW_WORDS = {"mean": "mean", "volume": "of the largest", "least": "least", "most": "most"}
_MEASURED: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    # measure, words, unit, which of its four numbers
    ("uptake", "Enhancement", "ln", ("mean", "volume", "least", "most")),
    ("t1c", "T1 post-gadolinium beside white matter", "ln", ("mean", "volume")),
    ("t1n", "T1 native beside grey matter", "ln", ("mean", "volume", "least", "most")),
    ("t1n_near", "T1 native beside the brain around", "ln", ("mean", "most")),
    ("t2_both", "T2 and FLAIR beside grey matter", "ln", ("mean", "volume", "least", "most")),
    ("t2_apart", "T2 and FLAIR apart", "ln", ("mean", "most")),
    ("t2w", "T2 beside grey matter", "ln", ("mean", "least")),
    ("t1c_spread", "Unevenness of enhancement", "ln", ("mean", "volume")),
    ("core_t1n", "Necrosis on T1 native", "ln", ("volume", "most")),
    ("core_t2w", "Necrosis on T2, grey matter to fluid", "0-1", ("volume", "least")),
    ("core_t2f", "Necrosis on FLAIR", "ln", ("volume",)),
    ("rim_mm", "Thickness of the enhancing rim", "ln(1 + mm)", ("volume",)),
    ("roughness", "Roughness of the surface", "ln", ("volume",)),
)
# Shares of lesions on one side of a limit, softly: name, words, measure, limit and softness (ln)
_SHARED: tuple[tuple[str, str, str, float, float], ...] = (
    ("share_t1_bright", "Share of lesions bright on T1 native", "t1n", 0.13, 0.04),
    ("share_t2_dark", "Share of lesions dark on T2 and FLAIR", "t2_both", -0.2, -0.06),
)
SCORES: tuple[ImageFeature, ...] = (
    *(ImageFeature(f"cnn_mean_{p}", f"CNN, mean: {PRIMARY_NAMES[p]}", "score") for p in PRIMARIES),
    *(ImageFeature(f"cnn_max_{p}", f"CNN, peak: {PRIMARY_NAMES[p]}", "score") for p in PRIMARIES),
)
MEASURED: tuple[ImageFeature, ...] = (
    ImageFeature("log_lesion_count", "Number of lesions", "ln"),
    ImageFeature("log_total_volume", "Total volume", "ln(mm³)"),
    ImageFeature("log_largest_diameter", "Largest diameter", "ln(mm)"),
    ImageFeature("log_median_diameter", "Median diameter", "ln(mm)"),
    ImageFeature("necrosis_fraction", "Share of necrosis", "0-1"),
    ImageFeature("oedema_ratio", "Oedema to tumour", "ln(1 + ratio)"),
    *(ImageFeature(f"share_{name}", f"Share of lesions: {name}", "0-1") for name in SHARES),
    *(
        ImageFeature(f"{key}_{how}", f"{words}, {_HOW_WORDS[how]}", unit)
        for key, words, unit, kept in _MEASURED
        for how in kept
    ),
    *(ImageFeature(key, words, "0-1") for key, words, *_ in _SHARED),
)
TREE_SCORES: tuple[ImageFeature, ...] = tuple(
    ImageFeature(f"trees_{p}", f"Measurements together: {PRIMARY_NAMES[p]}", "score")
    for p in PRIMARIES
)
PLAIN = len(SCORES) + len(MEASURED)  # features of the second set, which the third begins with
IMAGE_FEATURES: tuple[ImageFeature, ...] = (*SCORES, *MEASURED, *TREE_SCORES)
FEATURE_NAMES: tuple[str, ...] = tuple(f.key for f in IMAGE_FEATURES)


def cnn_patches(crops: LesionCrops) -> npt.NDArray[np.float32]:
    """What the CNN sees of every crop (n, 7, 32, 32, 32), relative to the healthy brain."""
    return relative_patches(crops.crops, healthy_levels(crops.healthy))


def scores_of(logits: npt.NDArray) -> npt.NDArray[np.float64]:
    """The CNN's part (12,) from the logits (n, 6) of the ``MAX_LESIONS`` largest lesions.

    A score is a logit less the mean of the six: its mean over the lesions, as in the loss, and its
    maximum.
    """
    scores = logits - logits.mean(axis=1, keepdims=True)
    return np.concatenate([scores.mean(axis=0), scores.max(axis=0)])


def measured(lesions: Sequence[Lesion], crops: LesionCrops) -> npt.NDArray[np.float64]:
    """The plain measurements in the order of ``MEASURED``; NaN: not measurable.

    lesions: all of the patient, in falling order of volume; crops: of the first of them.
    ValueError where there is none or the counts do not fit.
    """
    shown = crops.crops
    if not lesions or not 0 < len(shown) <= len(lesions):
        raise ValueError(f"{len(shown)} crops do not fit {len(lesions)} lesions")
    levels = healthy_levels(crops.healthy)
    rows = [lesion_measures(crop, levels) for crop in shown]
    volumes = np.array([lesion.volume_mm3 for lesion in lesions[: len(shown)]])
    over = pooled(rows, volumes)
    values = measured_on_lesions(lesions)
    values += [over[key][_HOW[how]] for key, _, _, kept in _MEASURED for how in kept]
    weight = np.cbrt(volumes)
    for _, _, key, limit, soft in _SHARED:
        each = np.array([row[key] for row in rows])
        known = np.isfinite(each)
        known &= readable(volumes, known)
        share = 1 / (1 + np.exp(-np.clip((each[known] - limit) / soft, -30, 30)))
        values.append(float(weight[known] @ share / weight[known].sum()) if known.any() else np.nan)
    return np.array(values, dtype=np.float64)


def patient_features(
    logits: npt.NDArray, lesions: Sequence[Lesion], crops: LesionCrops
) -> npt.NDArray[np.float32]:
    """The features (members, ``PLAIN``), a row a member of the CNN, without the trees' scores.

    logits (members, n, 6): of the n largest lesions; at most ``MAX_LESIONS`` count.
    """
    return features_of(logits, measured(lesions, crops))


def features_of(logits: npt.NDArray, plain: npt.NDArray) -> npt.NDArray[np.float32]:
    """``patient_features`` from what was measured before: plain (m,), in the order of
    ``MEASURED``."""
    rows = [np.concatenate([scores_of(own[:MAX_LESIONS]), plain]) for own in logits]
    return np.array(rows, dtype=np.float32)


def measured_of(features: npt.NDArray) -> npt.NDArray:
    """The columns of ``MEASURED`` (n, m) of features (n, f) of the second or third set."""
    return features[:, len(SCORES) : PLAIN]


def with_tree_scores(features: npt.NDArray, trees: MeasurementTrees) -> npt.NDArray[np.float32]:
    """The third set (members, f) from the second (members, ``PLAIN``): to the row of each member of
    the CNN the scores by the member of the trees that was learnt without the same patients."""
    measured_once = measured_of(features)[:1]  # the same in all rows
    scores = trees.scores(measured_once)[:, 0]
    if len(scores) != len(features):
        raise ValueError(f"{len(scores)} members of the trees, but {len(features)} of the CNN")
    return np.hstack([features, scores]).astype(np.float32)
