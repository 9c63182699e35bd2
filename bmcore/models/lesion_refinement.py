"""The outline of a candidate, voxel by voxel at 1 mm.

The segmentation net sees the whole head and gives small metastases blurred outlines of low
probability. Once something is known to be a candidate, a small net that looks at nothing else draws
it anew: it gets the images and the first answer, and learns what to change in that. Large ones it
leaves: there the first outline is good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import special

from bmcore.imaging.masks import connected
from bmcore.models.configs import LOG_ODDS_SCALE

if TYPE_CHECKING:
    from torch import nn

    from bmcore.models.nets.contour_net import ContourNet

REACH = 6  # voxels around the box of a candidate that the net sees, and draws in
FAINT = 0.3  # what is less likely than this is not drawn
LARGEST = 16  # voxels; a candidate that is longer along an axis keeps its outline
SHARPER = 3  # power of what is drawn: the segmentation net's own lesions end at some 0.05


def stack(
    images: npt.NDArray,
    probabilities: npt.NDArray,
    own: npt.NDArray[np.bool_],
    brain: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """What the net sees of a box, float32 (CONTOUR_INPUTS, i, j, k).

    images (4, i, j, k), standardised; probabilities (4, i, j, k): of background, necrosis, oedema
    and enhancing tumour; own, brain (i, j, k): the voxels of the candidate and of the brain.
    Channels: the images, a third of the log odds of tumour core, the share of necrosis in it, the
    probability of oedema, own, brain.
    """
    core = probabilities[1].astype(np.float32) + probabilities[3].astype(np.float32)
    log_odds = special.logit(np.clip(core, 1e-4, 1 - 1e-4)) / LOG_ODDS_SCALE
    necrosis = probabilities[1] / (core + 1e-4)
    return np.stack([*images, log_odds, necrosis, probabilities[2], own, brain]).astype(np.float32)


def is_small(box: tuple[slice, ...]) -> bool:
    """Whether what lies in the box is drawn."""
    return max(s.stop - s.start for s in box) <= LARGEST


def build_contour_net(channels: int) -> ContourNet:
    """A net from boxes (b, 9, i, j, k) of ``stack`` to logits (b, 3, i, j, k).

    Four convolutions of 3x3x3 with ``channels`` channels, each seeing one voxel further. A new net
    changes nothing: the first answer passes by them.
    """
    from bmcore.models.nets.contour_net import ContourNet

    return ContourNet(channels)


def outline(
    net: nn.Module,
    images: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    parts: npt.NDArray[np.int32],
    number: int,
    box: tuple[slice, ...],
) -> tuple[tuple[slice, ...], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where candidate ``number`` of ``parts`` lies, were it a metastasis.

    box: of its voxels. Returns the box that was looked at, and in it the probability of tumour core
    and the share of necrosis in that, float32 (i, j, k). The probability is raised to the power of
    SHARPER, so that one limit fits what is drawn and what is not. It is 0 where it was below FAINT,
    outside the brain, in other candidates, and in what does not connect (26-neighbourhood) with a
    voxel of the candidate.
    """
    import torch

    here = tuple(
        slice(max(s.start - REACH, 0), min(s.stop + REACH, n))
        for s, n in zip(box, brain.shape, strict=True)
    )
    every = (slice(None), *here)
    own = parts[here] == number
    seen = stack(images[every], probabilities[every], own, brain[here])
    device = next(net.parameters()).device
    with torch.inference_mode():
        logits = net.eval()(torch.from_numpy(seen)[None].to(device))
    drawn = torch.softmax(logits[0].float(), dim=0).cpu().numpy()
    core = drawn[1] + drawn[2]
    free = brain[here] & (own | (parts[here] == 0))
    linked, _ = connected((core > FAINT) & free)
    touched = np.unique(linked[own])
    core[~np.isin(linked, touched[touched > 0])] = 0
    return here, core**SHARPER, drawn[1] / np.maximum(drawn[1] + drawn[2], 1e-6)
