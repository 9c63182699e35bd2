"""A second look at each place that may be a metastasis: is it one, and where does it end?

Candidates are the parts that the segmentation net finds likely enough. A head judges each
(``candidates``), a small net draws the small ones (``contours``), and both answers go into the
probabilities, so that limits, FROC and screens need not know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCES
from bmcore.models.candidates import Candidate, cut_cubes, find_candidates, judge
from bmcore.models.contours import is_small, outline

if TYPE_CHECKING:
    import torch

    from bmcore.models.segmenter import SegmenterConfig

HEAD = "candidates."  # the names of the tensors of both in a segmentation net begin so
CONTOURS = "contours."
NONE = {"candidates": 0, "contours": 0}  # the config of a net without one
_T = TypeVar("_T")


def without_second_look(weights: Mapping[str, _T]) -> dict[str, _T]:
    """The tensors of a segmentation net but those of its second look: they fit no other net."""
    return {k: v for k, v in weights.items() if not k.startswith((HEAD, CONTOURS))}


def enhancement(
    images: npt.NDArray[np.float32],
    chances: npt.NDArray[np.float32],
    parts: npt.NDArray[np.int32],
    candidates: list[Candidate],
) -> npt.NDArray[np.float64]:
    """How bright each candidate is in t1c (n,), in units of the standardised images.

    images, chances (4, i, j, k); parts (i, j, k) from ``find_candidates``. The 90th percentile over
    the voxels that are at least half as likely tumour core as its peak and rather enhancing than
    necrotic; over all of the former where none is. What is called enhancing is brighter than brain;
    ventricles, cysts and old infarcts are not, however much their rim may look like it.
    """
    boxes, t1c = ndimage.find_objects(parts), images[SEQUENCES.index("t1c")]
    levels = []
    for candidate in candidates:
        here = boxes[candidate.number - 1]
        necrosis, enhancing = chances[1][here], chances[3][here]
        likely = (parts[here] == candidate.number) & (necrosis + enhancing >= candidate.peak / 2)
        chosen = likely & (enhancing >= necrosis)
        levels.append(np.percentile(t1c[here][chosen if chosen.any() else likely], 90))
    return np.array(levels)


def revise(
    net: torch.nn.Module,
    images: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    chances: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Probabilities (4, i, j, k) in which each candidate's peak is what ``judge`` says of it.

    Candidates that do not enhance (``config.least_t1c``) are none, whatever a net says.

    net: a segmenter with a second look. images (4, i, j, k), standardised; brain (i, j, k);
    chances: of background, necrosis, oedema, enhancing tumour. Around the peak the probability of
    tumour core falls as it did before, in small candidates as the contour net draws them, if there
    is one, with the share of necrosis that it gives; where several candidates reach a voxel the
    likeliest counts. The shares of background and oedema in the rest stay. Where no candidate
    reaches, nothing changes.
    """
    config: SegmenterConfig = net.config  # type: ignore[assignment]
    before = chances[1] + chances[3]
    parts, found = find_candidates(before, config.candidate_chance)
    if not found:
        return chances
    peaks = np.array([c.peak for c in found])
    judged = judge(net.candidates, cut_cubes(images, parts, found), peaks)  # type: ignore[arg-type]
    if config.least_t1c is not None:
        judged[enhancement(images, chances, parts, found) < config.least_t1c] = 0
    boxes = ndimage.find_objects(parts)
    core = np.where(parts > 0, np.float32(0), before)
    necrosis = chances[1] / np.maximum(before, 1e-9)
    reached = parts > 0
    for n in np.argsort(judged, kind="stable"):
        number = found[n].number
        here = boxes[number - 1]
        shape, share = np.where(parts[here] == number, before[here], np.float32(0)), necrosis[here]
        if config.contours and is_small(here):
            drawn = outline(net.contours, images, chances, brain, parts, number, here)  # type: ignore[arg-type]
            if drawn[1].any():
                here, shape, share = drawn
        now = shape * np.float32(judged[n] / shape.max())
        higher = now > core[here]
        core[here][higher] = now[higher]
        necrosis[here][higher] = share[higher]
        reached[here] |= higher
    out = chances.copy()
    core, share = core[reached], necrosis[reached]
    rest = chances[0][reached] + chances[2][reached]
    oedema = np.divide(chances[2][reached], rest, out=np.zeros_like(rest), where=rest > 0)
    out[1][reached], out[3][reached] = core * share, core * (1 - share)
    out[2][reached], out[0][reached] = (1 - core) * oedema, (1 - core) * (1 - oedema)
    return out
