"""The 3D CNN on lesion patches, and what it says of a patient.

A patch is a cube of 48 mm at 1.5 mm around a lesion, (7, 32, 32, 32): four standardised sequences
(0 where a sequence is missing), then the masks of necrosis, oedema and enhancing tumour.

The net is a residual CNN of pre-activation bottleneck blocks (He et al. 2016) with group
normalisation. Shortcuts are not normalised, so that absolute brightness (melanin on T1) survives.

A lesion of 5 mm fills less than one cell of the 6 mm maps and one thousandth of the cube, and the
brain around it tells one scan from another, but nothing of the primary: a net that sees all of the
cube learns its training patients by heart. So a net of the kind "tissue" computes on the lesion
alone, the brightness of each of its tissues in cells of 3 mm (normalised convolution, Knutsson and
Westin 1993), and its maps are pooled inside the tumour.

What is learnt from a net's scores must meet the same scores in use. A net's scores of the patients
it learnt from are not those of new patients; so the patients are dealt into folds, one net (a
member) is trained without each fold, and all that comes after learns from each patient's scores by
the member that has not seen the patient. In use every member reads the new patient, for each of
them a new one as those were; autoencoder and regression stand behind each member by itself, and
their codes are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, SEQUENCES, Lesion
from bmcore.models.configs import CNNConfig
from bmcore.models.softmax import softmax

if TYPE_CHECKING:
    from torch import nn

    from bmcore.models.nets.lesion_cnn import LesionEnsemble, LesionNet

MAX_LESIONS = 12  # the largest ones; more are counted and measured, but not shown to the CNN
SHARES = ("cerebellum", "frontal", "temporal", "parietal", "occipital")


class ImageFeature(NamedTuple):
    """key: name in files; words: name for users; unit."""

    key: str
    words: str
    unit: str


IMAGE_FEATURES: tuple[ImageFeature, ...] = (
    *(ImageFeature(f"cnn_mean_{p}", f"CNN, mean: {PRIMARY_NAMES[p]}", "score") for p in PRIMARIES),
    *(ImageFeature(f"cnn_max_{p}", f"CNN, peak: {PRIMARY_NAMES[p]}", "score") for p in PRIMARIES),
    ImageFeature("log_lesion_count", "Number of lesions", "ln"),
    ImageFeature("log_total_volume", "Total volume", "ln(mm³)"),
    ImageFeature("log_largest_diameter", "Largest diameter", "ln(mm)"),
    ImageFeature("log_median_diameter", "Median diameter", "ln(mm)"),
    ImageFeature("necrosis_fraction", "Share of necrosis", "0-1"),
    ImageFeature("oedema_ratio", "Oedema to tumour", "ln(1 + ratio)"),
    *(ImageFeature(f"share_{name}", f"Share of lesions: {name}", "0-1") for name in SHARES),
    *(ImageFeature(f"enhancing_{s}", f"Enhancing tumour on {s}", "z") for s in SEQUENCES),
    ImageFeature("enhancing_t1c_spread", "Unevenness of enhancement", "z"),
    ImageFeature("brightest_t1n", "Brightest lesion on t1n", "z"),
    ImageFeature("oedema_t2f", "Brightness of oedema on t2f", "z"),
    ImageFeature("necrosis_t2w", "Brightness of necrosis on t2w", "z"),
)
FEATURE_NAMES: tuple[str, ...] = tuple(f.key for f in IMAGE_FEATURES)


def build_cnn(config: CNNConfig | None = None) -> LesionNet | LesionEnsemble:
    """A new ``LesionNet`` (an ``nn.Module``) with random weights.

    ``net(patches)``: (n, 7, 32, 32, 32) to logits (n, 6). ``net.features(patches)``: embedding (n,
    f). ``net.last_conv``: the last convolution, (n, maps, 8, 8, 8) at 6 mm, for Grad-CAM; between
    it and the logits lie a rectifier, pooling and two linear layers. ``net.prepare(patches)``: what
    the net computes on, made once for many passes, float32; it is taken in place of the patches.
    With several ``members`` a ``LesionEnsemble`` of such nets, whose logits are the mean of theirs.
    """
    from bmcore.models.nets.lesion_cnn import LesionEnsemble, LesionNet

    config = config or CNNConfig()
    return LesionNet(config) if config.members == 1 else LesionEnsemble(config)


def members(net: nn.Module) -> tuple[LesionNet, ...]:
    """The single nets behind ``net``; itself where it is one."""
    return tuple(getattr(net, "members", (net,)))  # type: ignore[arg-type]


def member_logits(net: nn.Module, patches: npt.NDArray) -> npt.NDArray[np.float32]:
    """Logits (members, n, 6) of patches (n, 7, 32, 32, 32), net by net."""
    return np.stack([lesion_logits(member, patches) for member in members(net)])


def lesion_logits(net: nn.Module, patches: npt.NDArray) -> npt.NDArray[np.float32]:
    """Logits (n, 6) of patches (n, 7, 32, 32, 32), at most 16 at a time, without gradients."""
    import torch

    net.eval()
    device = next(net.parameters()).device
    out = []
    with torch.inference_mode():
        for start in range(0, len(patches), 16):
            part = np.asarray(patches[start : start + 16], dtype=np.float32)
            out.append(net(torch.from_numpy(part).to(device)).float().cpu().numpy())
    return np.concatenate(out) if out else np.zeros((0, len(PRIMARIES)), np.float32)


def lesion_probabilities(logits: npt.NDArray) -> npt.NDArray[np.float32]:
    """Softmax of each lesion's logits: (n, 6) to (n, 6)."""
    return softmax(logits).astype(np.float32)


def patient_probabilities(logits: npt.NDArray) -> npt.NDArray[np.float32]:
    """What the CNN alone says of the patient (6,): softmax of the mean of the lesions' logits.

    The same mean stands in the loss of the training. ValueError where there is no lesion.
    """
    if len(logits) == 0:
        raise ValueError("no lesion, so no answer from the CNN")
    return lesion_probabilities(np.asarray(logits).mean(axis=0, keepdims=True))[0]


def patient_features(
    net: nn.Module,
    patches: npt.NDArray,
    lesions: Sequence[Lesion],
    logits: npt.NDArray | None = None,
) -> npt.NDArray[np.float32]:
    """The patient's image features (31,) in the order of ``FEATURE_NAMES``; NaN: not measurable.

    patches (n, 7, 32, 32, 32) of the first n of ``lesions``, which stand in falling order of
    volume. logits (n, 6): given where ``lesion_logits`` has been called already.

    The CNN's part is its six scores (logits less their mean), weighted by volume and at their
    maximum, and not the embedding: the axes of an embedding mean something else in each trained
    net, while a score means the same in all. So the autoencoder and the MLR can be fitted on scores
    from nets that have not seen the patient, and be used on scores of the final net. The rest are
    plain measurements. ValueError where there is no lesion or the counts do not fit.
    """
    if not lesions or not 0 < len(patches) <= len(lesions):
        raise ValueError(
            f"{len(patches)} patches do not fit {len(lesions)} lesions; at least one is needed"
        )
    if logits is None:
        logits = lesion_logits(net, patches)
    scores = logits - logits.mean(axis=1, keepdims=True)
    volume = np.array([lesion.volume_mm3 for lesion in lesions], dtype=float)
    weight = volume[: len(patches)] / volume[: len(patches)].sum()
    values = [*(weight @ scores), *scores.max(axis=0)]
    values += [*measured_on_lesions(lesions), *_measured_on_patches(patches)]
    return np.array(values, dtype=np.float32)


def measured_on_lesions(lesions: Sequence[Lesion]) -> list[float]:
    """Number, sizes, tissues and lobes: the first measured features of both sets."""
    volume = np.array([lesion.volume_mm3 for lesion in lesions], dtype=float)
    diameter = np.array([lesion.largest_diameter_mm for lesion in lesions], dtype=float)
    necrosis = sum(lesion.necrosis_mm3 for lesion in lesions) / volume.sum()
    oedema = sum(lesion.oedema_mm3 for lesion in lesions) / volume.sum()
    shares = [float(np.mean([name in lesion.region for lesion in lesions])) for name in SHARES]
    return [
        float(np.log(len(lesions))),
        float(np.log(volume.sum())),
        float(np.log(diameter.max())),
        float(np.log(np.median(diameter))),
        float(necrosis),
        float(np.log1p(oedema)),
        *shares,
    ]


def _measured_on_patches(patches: npt.NDArray) -> list[float]:
    """Brightness inside the masks, over all patches; NaN for a missing sequence or tissue."""
    images = {s: np.asarray(patches[:, c], np.float32) for c, s in enumerate(SEQUENCES)}
    necrosis, oedema, enhancing = (np.asarray(patches[:, c], np.float32) for c in (4, 5, 6))

    def mean(sequence: str, weight: npt.NDArray) -> float:
        image = images[sequence]
        total = float(weight.sum())
        if total < 1 or not image.any():
            return float("nan")
        return float((image * weight).sum() / total)

    t1c = mean("t1c", enhancing)
    spread = float("nan")
    if not np.isnan(t1c):
        variance = ((images["t1c"] - t1c) ** 2 * enhancing).sum() / enhancing.sum()
        spread = float(np.sqrt(variance))
    brightest = float("nan")
    if images["t1n"].any():
        core = enhancing + necrosis
        total = core.sum(axis=(1, 2, 3))
        if (total >= 1).any():
            each = (images["t1n"] * core).sum(axis=(1, 2, 3))[total >= 1] / total[total >= 1]
            brightest = float(each.max())
    return [
        *(mean(s, enhancing) for s in SEQUENCES),
        spread,
        brightest,
        mean("t2f", oedema),
        mean("t2w", necrosis),
    ]
