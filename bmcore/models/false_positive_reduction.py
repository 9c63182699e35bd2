"""False-positive reduction at each place that may be a metastasis, and where it ends.

Candidates are the parts that the segmentation net finds likely enough. A head judges each
(``candidates``), a small net draws the small ones (``contours``), and both answers go into the
probabilities, so that limits, FROC and screens need not know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from bmcore.models.candidates import classify, cut_cubes, enhancement, find_candidates
from bmcore.models.lesion_refinement import is_small, outline

if TYPE_CHECKING:
    from bmcore.models.nets.segmenter import Segmenter

HEAD = "candidates."  # the names of the tensors of both in a segmentation net begin so
CONTOURS = "contours."
NO_REDUCTION = {"candidates": 0, "contours": 0}  # the config of a net without one
_T = TypeVar("_T")


def without_false_positive_reduction(weights: Mapping[str, _T]) -> dict[str, _T]:
    """The tensors of a segmentation net but those of its false-positive reduction: they
    fit no other net."""
    return {k: v for k, v in weights.items() if not k.startswith((HEAD, CONTOURS))}


def tensors_of(weights: Mapping[str, _T], prefix: str) -> dict[str, _T]:
    """The tensors whose names begin with ``prefix`` (HEAD or CONTOURS), as its net names them."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def reduce_false_positives(
    net: Segmenter,
    images: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    probabilities: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Probabilities (4, i, j, k) in which each candidate's peak is what ``classify`` says of it.

    Candidates that do not enhance (``min_t1c_enhancement`` in its config) are none, whatever a net
    says.

    net: a segmenter with false-positive reduction. images (4, i, j, k), standardised; brain (i, j,
    k); probabilities: of background, necrosis, oedema, enhancing tumour. Around the peak the
    probability of tumour core falls as it did before, in small candidates as the contour net draws
    them, if there is one, with the share of necrosis that it gives; where several candidates reach
    a voxel the likeliest counts. The shares of background and oedema in the rest stay. Where no
    candidate reaches, nothing changes.
    """
    config = net.config.reduction
    before = probabilities[1] + probabilities[3]
    parts, found = find_candidates(before, config.candidate_threshold)
    if not found:
        return probabilities
    peaks = np.array([c.peak for c in found])
    classified = classify(net.candidates, cut_cubes(images, parts, found), peaks)
    if config.min_t1c_enhancement is not None:
        bright = enhancement(images, probabilities, parts, found)
        classified[bright < config.min_t1c_enhancement] = 0
    core = np.where(parts > 0, np.float32(0), before)
    necrosis = probabilities[1] / np.maximum(before, 1e-9)
    reached = parts > 0
    for n in np.argsort(classified, kind="stable"):
        number = found[n].number
        here = found[n].box
        shape, share = np.where(parts[here] == number, before[here], np.float32(0)), necrosis[here]
        if config.contours and is_small(here):
            drawn = outline(net.contours, images, probabilities, brain, parts, number, here)
            if drawn[1].any():
                here, shape, share = drawn
        now = shape * np.float32(classified[n] / shape.max())
        higher = now > core[here]
        core[here][higher] = now[higher]
        necrosis[here][higher] = share[higher]
        reached[here] |= higher
    return _with_core(probabilities, core, necrosis, reached)


def _with_core(
    probabilities: npt.NDArray[np.float32],
    core: npt.NDArray[np.float32],
    necrosis: npt.NDArray[np.float32],
    reached: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """The probabilities with another tumour core and share of necrosis in it where ``reached``."""
    out = probabilities.copy()
    core, share = core[reached], necrosis[reached]
    rest = probabilities[0][reached] + probabilities[2][reached]
    oedema = np.divide(probabilities[2][reached], rest, out=np.zeros_like(rest), where=rest > 0)
    out[1][reached], out[3][reached] = core * share, core * (1 - share)
    out[2][reached], out[0][reached] = (1 - core) * oedema, (1 - core) * (1 - oedema)
    return out
