"""Why a model said what it said: SHAP values of the regressions, Grad-CAM of the CNN.

Both explain a primary against the others. A softmax does not change when the same number is added
to all six logits, so "the logit of a primary" alone means nothing; here it is always the logit less
the mean of the six, that is ln p minus the mean of ln p over the six primaries. This is the space
called "log-odds": +0.7 about doubles the odds of the primary against the average of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import (
    PRIMARIES,
    PRIMARY_NAMES,
    Case,
    ClinicalRecord,
    Prediction,
    Prepared,
    Primary,
    Volume,
    refuse,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bmcore.geometry import Affine
    from bmcore.inference.lesion_reading import LesionPatches
    from bmcore.models.bundles import Bundle
    from bmcore.models.mlr import MLR

IMAGE_BAR = "Image (all code parts together)"
NOT_KNOWN = "not known"
METHODS = GRADCAM, INTEGRATED = "gradcam", "integrated gradients"
CELL = 4  # the CNN's last maps have one cell for 4 patch voxels along each axis
PATH_STEPS = 12  # between the flattened cube and the cube as it is
BRIGHTEST = 0.95  # of the voxels that gain: single ones would leave all others dark
SMOOTH = 0.7  # patch voxels of 1.5 mm: standard deviation that makes gradients readable


@dataclass(frozen=True)
class Attribution:
    """What moved one answer towards (+) or away from (-) one primary, in log-odds.

    names, values, contributions: one bar a clinical question, and ``IMAGE_BAR`` for the image.
    values are words with units, "not known" where missing. base: the log-odds of the mean training
    patient; base + sum(contributions) is the log-odds of this patient, ``total``.
    part_*: the parts of the image bar, c1, c2, …; they add up to it.
    """

    kind: str
    primary: Primary
    names: tuple[str, ...]
    values: tuple[str, ...]
    contributions: tuple[float, ...]
    base: float
    part_names: tuple[str, ...] = ()
    part_values: tuple[str, ...] = ()
    part_contributions: tuple[float, ...] = ()
    space: str = "log-odds"

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.values) == len(self.contributions):
            raise ValueError("names, values and contributions must be of one length")

    @property
    def total(self) -> float:
        return self.base + sum(self.contributions)


def attribute(bundle: Bundle, prediction: Prediction, kind: str, primary: Primary) -> Attribution:
    """Explain the "clinical", "image" or "fused" answer of a prediction for one primary.

    SHAP's linear explainer (Lundberg and Lee 2017), features taken as independent, background the
    mean training patient. ``InputRefused`` where the prediction has no such answer.
    """
    chosen = {a.kind: a for a in prediction.answers}
    if kind not in chosen:
        raise ValueError(f"kind must be one of {', '.join(chosen)}, but is {kind!r}")
    if chosen[kind].probabilities is None:
        raise refuse(
            f"there is no {kind} answer to explain: {chosen[kind].reason}",
            hint="look at the clinical answer.",
        )
    mlr: MLR = getattr(bundle, f"{kind}_mlr")
    x = _input(prediction, kind)
    parts, base = shap_values(mlr, x)
    index = PRIMARIES.index(primary)
    named, code = _columns(bundle, kind, len(x))
    bars = {group: float(parts[index, columns].sum()) for group, columns in named.items()}
    values = [_value_words(prediction.clinical_record, group) for group in bars]
    if code:
        bars[IMAGE_BAR] = float(parts[index, code].sum())
        values.append(f"{len(code)} numbers")
    return Attribution(
        kind=kind,
        primary=primary,
        names=tuple(bars),
        values=tuple(values),
        contributions=tuple(bars.values()),
        base=float(base[index]),
        part_names=tuple(f"c{n}" for n in range(1, len(code) + 1)),
        part_values=tuple(f"{x[c]:.2f}" for c in code),
        part_contributions=tuple(float(parts[index, c]) for c in code),
    )


def shap_values(
    mlr: MLR, x: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """SHAP values (6, m) and base (6,) of one row x (m,), centred over the six primaries.

    The explainer works on the standardised row, where a missing value and the mean training patient
    are both 0. For a linear model the values are exactly coef * z, and so they are computed where
    shap is not installed (``docs/review-only.md``).
    """
    try:
        import shap
    except ModuleNotFoundError:
        raw = mlr.contributions(x[None])[0]
        return raw - raw.mean(axis=0), mlr.intercept_ - mlr.intercept_.mean()

    background = shap.maskers.Independent(np.zeros((1, len(x))))
    explainer = shap.LinearExplainer((mlr.coef_, mlr.intercept_), background)
    raw = np.asarray(explainer.shap_values(mlr.scaled(x[None])))[0].T
    base = np.asarray(explainer.expected_value, float)
    return raw - raw.mean(axis=0), base - base.mean()


def gradcam(
    bundle: Bundle,
    case: Case,
    prediction: Prediction,
    lesion_number: int,
    primary: Primary,
    method: str = GRADCAM,
) -> Volume:
    """Where in one lesion's cube the CNN's evidence for ``primary`` lies: 0-1 on the input's grid.

    Grad-CAM (Selvaraju et al. 2017) of the last convolution, positive evidence only: 1 is the
    strongest place of this lesion, all 0 means that nothing there speaks for this primary. Outside
    the 48 mm cube it is 0. method: or ``INTEGRATED``, see ``integrated_gradients``.
    ``InputRefused`` for a lesion that is not in the prediction.
    """
    patches, prepared = lesion_patches(bundle, case, prediction, [lesion_number])
    heat = evidence(bundle.cnn, patches.cubes, primary, method)
    return on_the_images(heat, patches.affines[0], prepared)


def on_the_images(heat: npt.NDArray[np.float32], affine: Affine, prepared: Prepared) -> Volume:
    """A map of a lesion's cube (32, 32, 32), whose voxels ``affine`` takes to world RAS mm, on the
    grid of the input."""
    from bmcore.imaging.preprocess import restore_map

    return restore_map(place_patch(heat, affine, prepared), prepared)


def lesion_patches(
    bundle: Bundle,
    case: Case,
    prediction: Prediction,
    numbers: Sequence[int],
    prepared: Prepared | None = None,
) -> tuple[LesionPatches, Prepared]:
    """What the CNN is given of some lesions of a prediction, and the case on the working grid.

    prepared: the latter, where it was asked for before. Where the input was resampled, the mask
    comes back from the input's grid here: at its edges it may be a voxel from what was segmented.
    ``InputRefused`` for a lesion that is not in the prediction, or images of another grid.
    """
    from bmcore.geometry import same_grid
    from bmcore.imaging.lesion_crops import mark
    from bmcore.imaging.preprocess import prepare, to_working_grid
    from bmcore.inference.lesion_reading import cut_patches

    there = {lesion.number: lesion for lesion in prediction.lesions}
    for number in numbers:
        if number not in there:
            raise refuse(
                f"there is no lesion {number} in this prediction",
                found=f"{len(prediction.lesions)} lesions",
            )
    if not same_grid(case.grid, prediction.mask):
        raise refuse(
            "the prediction is on a different grid from the images",
            found=f"shape {prediction.mask.shape}",
            expected=f"shape {case.grid.shape}",
            hint="run the prediction again.",
        )
    prepared = prepared or prepare(case)
    marked = mark(to_working_grid(prediction.mask, prepared), prediction.mask, prepared)
    lesions = [there[number] for number in numbers]
    return cut_patches(bundle.cnn.config, case, prepared, marked, lesions), prepared


def evidence(
    net: nn.Module, patch: npt.NDArray[np.float32], primary: Primary, method: str = GRADCAM
) -> npt.NDArray[np.float32]:
    """A map of one patch (1, 7, 32, 32, 32) as float32 (32, 32, 32), 0-1, patch axes.

    method: ``GRADCAM`` or ``INTEGRATED``. Of several nets behind one CNN the mean of their maps, as
    their logits are averaged.
    """
    from bmcore.models.cnn import members

    if method == INTEGRATED:
        fine = integrated_gradients(net, patch, primary)
        peak = np.quantile(fine[fine > 0], BRIGHTEST) if fine.any() else 0.0
    else:
        fine = np.mean([_cam(member, patch, primary) for member in members(net)], axis=0)
        peak = fine.max()
    return (np.minimum(fine / peak, 1) if peak > 1e-9 else np.zeros_like(fine)).astype(np.float32)


def integrated_gradients(
    net: nn.Module, patch: npt.NDArray[np.float32], primary: Primary
) -> npt.NDArray[np.float64]:
    """What each voxel adds to the log-odds of ``primary`` (Sundararajan, Taly and Yan, ICML 2017):
    (32, 32, 32), gains only, made smooth over 1 mm.

    The path begins with the flattened cube: 0 on all four sequences, the level of the healthy
    brain; marked tissue stays.
    """
    import torch
    from captum.attr import IntegratedGradients

    from bmcore.models.cnn import members

    start = np.array(patch, np.float32)
    start[:, :4] = 0
    each = []
    for member in members(net):
        device = next(member.parameters()).device
        given, flat = (torch.from_numpy(np.array(x, np.float32)).to(device) for x in (patch, start))
        with torch.enable_grad():
            gains = IntegratedGradients(_against_the_others(member, primary)).attribute(
                given, flat, n_steps=PATH_STEPS, internal_batch_size=PATH_STEPS
            )
        each.append(gains[0, :4].sum(dim=0).detach().cpu().numpy())
    return np.maximum(smooth(np.mean(each, axis=0), looked_at(net, patch)), 0)


def looked_at(net: nn.Module, patch: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Where in the patch (1, 7, 32, 32, 32) the net can look, bool (32, 32, 32): marked tissue for
    a net that computes on tissues, the brain in the cube otherwise."""
    if looks_at_marked_tissue_alone(net):
        return np.asarray((patch[0, 4:] > 0).any(axis=0))
    return np.asarray((patch[0, :4] != 0).any(axis=0))


def smooth(values: npt.NDArray, field: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Gaussian mean of the values of the field alone; 0 outside."""
    from scipy import ndimage

    weight = ndimage.gaussian_filter(field.astype(float), SMOOTH)
    total = ndimage.gaussian_filter(np.where(field, values, 0.0).astype(float), SMOOTH)
    return np.where(field, total / np.maximum(weight, 1e-9), 0.0)


def looks_at_marked_tissue_alone(net: nn.Module) -> bool:
    """True for a net that computes on the lesion's tissues (``CNNConfig.kind``)."""
    return bool(getattr(getattr(net, "config", None), "kind", "whole") == "tissue")


def _against_the_others(net: nn.Module, primary: Primary) -> Callable[[torch.Tensor], torch.Tensor]:
    """Patches to the log-odds of ``primary``, see the module's first lines."""
    net.eval()
    index = PRIMARIES.index(primary)

    def log_odds(patches: torch.Tensor) -> torch.Tensor:
        logits = net(patches)
        return logits[:, index] - logits.mean(dim=1)

    return log_odds


def _cam(
    net: nn.Module, patch: npt.NDArray[np.float32], primary: Primary
) -> npt.NDArray[np.float64]:
    """Grad-CAM of one net on the patch (32, 32, 32), in units of its logits."""
    import torch
    from captum.attr import LayerGradCam

    # Grad-CAM weighs the rectified maps. The net rectifies behind its last convolution, so that is
    # done here already; the tiny number lets the gradient through the net's own rectifier at 0.
    last: Any = net.last_conv
    rectified = last.register_forward_hook(lambda _m, _i, maps: torch.relu(maps) + 1e-12)
    try:
        with torch.enable_grad():
            given = torch.from_numpy(np.array(patch, np.float32)).to(last.weight.device)
            cam = LayerGradCam(_against_the_others(net, primary), last).attribute(
                given, relu_attributions=True
            )
    finally:
        rectified.remove()
    return spread_cells(cam[0, 0].detach().cpu().numpy())


def spread_cells(coarse: npt.NDArray) -> npt.NDArray[np.float64]:
    """Values of the last maps' cells (8, 8, 8) on the patch (32, 32, 32), linear in between."""
    from scipy import ndimage

    # Cell n is centred on patch voxel 4 n: two convolutions of kernel 3, stride 2, padding 1.
    places = np.indices([CELL * n for n in coarse.shape]) / CELL
    return ndimage.map_coordinates(coarse.astype(np.float64), places, order=1, mode="nearest")


def place_patch(
    heat: npt.NDArray[np.float32], affine: Affine, prepared: Prepared
) -> npt.NDArray[np.float32]:
    """A map of a lesion's cube (32, 32, 32), whose voxels ``affine`` takes to world RAS mm, on the
    working grid, linear; 0 outside the cube."""
    from bmcore.geometry import resample

    size = prepared.brain.shape
    placed = resample(heat, affine, prepared.affine, size, order=1)  # type: ignore[arg-type]
    return np.where(prepared.brain, np.clip(placed, 0, 1), 0).astype(np.float32)


def _input(prediction: Prediction, kind: str) -> npt.NDArray[np.float64]:
    from bmcore.inference.pipeline import fused_vector

    if kind == "clinical":
        return prediction.clinical_vector
    assert prediction.code is not None  # an image or fused answer has one
    if kind == "image":
        return np.asarray(prediction.code, np.float64)
    return fused_vector(prediction.code, prediction.clinical_vector)


def _columns(bundle: Bundle, kind: str, width: int) -> tuple[dict[str, list[int]], list[int]]:
    """Columns of each clinical question, and of the code, in the vector fed to an MLR."""
    from bmcore.models.clinical import EVERY_FEATURE, FEATURE_KEYS

    question = {f.key: f.group for f in EVERY_FEATURE}
    keys = bundle.clinical_mlr.features or FEATURE_KEYS
    groups: dict[str, list[int]] = {}
    if kind != "image":
        for column, key in enumerate(keys):
            groups.setdefault(question[key], []).append(column)
    return groups, list(range(0 if kind == "image" else len(keys), width))


def _value_words(record: ClinicalRecord, group: str) -> str:
    """The answer to a clinical question in words with its unit."""
    metastases = {True: "yes", False: "no", None: None}[record.extracranial_metastases]
    words = {
        "Age": None if record.age_years is None else f"{record.age_years:g} years",
        "Sex": record.sex,
        "Smoking": record.smoking,
        "Pack-years": None if record.pack_years is None else f"{record.pack_years:g} pack-years",
        "Metastases outside the brain": metastases,
    }
    return words[group] or NOT_KNOWN


def words_for(primary: Primary) -> str:
    """What the numbers of an Attribution mean, for a caption."""
    return (
        f"Bars to the right speak for {PRIMARY_NAMES[primary]}, bars to the left against it, each "
        "compared with the average of the six primaries, in log-odds: +0.7 about doubles the odds."
    )
