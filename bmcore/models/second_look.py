"""A second look at each place that may be a metastasis: is it one, and where does it end?

Candidates are the parts that the segmentation net finds likely enough, and bright dots of t1c that
it overlooks. A head judges each (``candidates``), a small net draws it (``contours``), and both
answers go into the probabilities, so that limits, FROC and screens need not know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCES
from bmcore.models.candidates import (
    Candidate,
    cut_cubes,
    find_bright_dots,
    find_candidates,
    judge,
)
from bmcore.models.contours import outline

if TYPE_CHECKING:
    import torch

    from bmcore.models.segmenter import SegmenterConfig

HEAD = "candidates."  # the names of the tensors of both in a segmentation net begin so
CONTOURS = "contours."
NONE = {"candidates": 0, "contours": 0, "dot_contrast": None}  # the config of a net without one
_T1C = SEQUENCES.index("t1c")
_T = TypeVar("_T")
Shape = tuple[tuple[slice, ...], npt.NDArray[np.float32], npt.NDArray[np.float32]]


def without_second_look(weights: Mapping[str, _T]) -> dict[str, _T]:
    """The tensors of a segmentation net but those of its second look: they fit no other net."""
    return {k: v for k, v in weights.items() if not k.startswith((HEAD, CONTOURS))}


def propose(
    images: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    chances: npt.NDArray[np.float32],
    least_chance: float,
    dot_contrast: float | None,
) -> tuple[npt.NDArray[np.int32], list[Candidate]]:
    """The number of each voxel's candidate, 0 for none, and the candidates.

    images (4, i, j, k), standardised; chances (4, i, j, k). Without ``dot_contrast`` no dots.
    """
    core = chances[1] + chances[3]
    parts, found = find_candidates(core, least_chance)
    if dot_contrast is None:
        return parts, found
    parts, dots = find_bright_dots(images[_T1C], brain, core, parts, dot_contrast)
    return parts, found + dots


def revise(
    net: torch.nn.Module,
    images: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    chances: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Probabilities (4, i, j, k) in which each candidate's peak is what ``judge`` says of it.

    net: a segmenter with a second look. images (4, i, j, k), standardised; brain (i, j, k);
    chances: of background, necrosis, oedema, enhancing tumour. Around the peak the probability of
    tumour core falls as the contour net draws it, or, without one, as it did before; the share of
    necrosis in it comes from there too, and where several candidates reach a voxel the likeliest
    counts. The shares of background and oedema in the rest stay. Where no candidate reaches,
    nothing changes.
    """
    config: SegmenterConfig = net.config  # type: ignore[assignment]
    parts, found = propose(images, brain, chances, config.candidate_chance, config.dot_contrast)
    if not found:
        return chances
    peaks = np.array([c.peak for c in found])
    judged = judge(net.candidates, cut_cubes(images, parts, found), peaks)  # type: ignore[arg-type]
    boxes = ndimage.find_objects(parts)
    before = chances[1] + chances[3]
    core = np.where(parts > 0, np.float32(0), before)
    necrosis = chances[1] / np.maximum(before, 1e-9)
    reached = parts > 0
    for n in np.argsort(judged, kind="stable"):
        number = found[n].number
        box = boxes[number - 1]
        here, shape, share = _as_before(box, parts, number, before, necrosis)
        if config.contours:
            drawn = outline(net.contours, images, chances, brain, parts, number, box)  # type: ignore[arg-type]
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


def _as_before(
    box: tuple[slice, ...],
    parts: npt.NDArray[np.int32],
    number: int,
    core: npt.NDArray[np.float32],
    necrosis: npt.NDArray[np.float32],
) -> Shape:
    """The outline that the segmentation net gave; all of a dot in which it saw nothing at all."""
    own = parts[box] == number
    shape = np.where(own, core[box], np.float32(0))
    return box, shape if shape.any() else own.astype(np.float32), necrosis[box].copy()
