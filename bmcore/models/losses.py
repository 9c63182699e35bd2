"""The losses of the segmentation net (weighted cross-entropy, soft Dice over the regions and over
each lesion by itself) and of lesion refinement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.imaging.masks import connected, tumour_core

if TYPE_CHECKING:
    import torch


# Far below 0.5, the limit that decides later: where only what lies above 0.5 costs anything, a net
# learns to answer 0.49 to every bright dot.
SUSPECT = 0.2
IGNORED = 255  # a label of ``refinement_loss`` that counts nowhere
DICE_TERMS: tuple[tuple[tuple[int, ...], float], ...] = (
    ((3,), 1.0),  # enhancing tumour
    ((1, 3), 1.0),  # tumour core
    ((2,), 1.0),  # oedema
    ((1,), 0.5),  # necrosis
)


def small_lesion_weights(
    labels: npt.NDArray[np.uint8], reference_voxels: float = 500.0, most: float = 6.0
) -> npt.NDArray[np.float32]:
    """Voxel weights (i, j, k), 1 in the background: small lesions count more.

    Each connected part of the tumour core, with a border of one voxel, gets
    (reference_voxels / size) ** (1/2), held between 1 and ``most``; after the inverse weighting of
    Shirokikh et al. (MICCAI 2020), with a root so that single voxels do not rule.
    """
    parts, n = connected(tumour_core(labels))
    weights = np.ones(labels.shape, np.float32)
    if n == 0:
        return weights
    sizes = np.bincount(parts.ravel(), minlength=n + 1).astype(float)
    scale = np.clip((reference_voxels / np.maximum(sizes, 1)) ** 0.5, 1, most)
    scale[0] = 1
    wide = ndimage.grey_dilation(parts, size=(3, 3, 3))
    return scale[wide].astype(np.float32)


def deep_loss(
    answers: list[torch.Tensor],
    labels: torch.Tensor,
    weights: torch.Tensor,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """``segmentation_loss`` of logits at full, half, quarter ... resolution (deep supervision).

    Level n counts 2 ** -n and is compared with every 2 ** n-th voxel of labels and weights, which
    lie at full resolution (Lee et al. 2015; the shares as in nnU-Net, Isensee et al. 2021).
    """
    total = labels.new_zeros((), dtype=answers[0].dtype)
    shares = [0.5**n for n in range(len(answers))]
    for n, (logits, share) in enumerate(zip(answers, shares, strict=True)):
        every = (slice(None), *(slice(None, None, 2**n),) * 3)
        part = segmentation_loss(logits, labels[every], weights[every], smoothing)
        total = total + share / sum(shares) * part
    return total


def segmentation_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean weighted cross-entropy plus mean (1 - soft Dice) over DICE_TERMS (Milletari 2016).

    logits (b, 4, i, j, k); labels int64 and weights float (b, i, j, k). Dice is taken over the
    whole batch, so a patch without tumour is no failure. Oedema and necrosis have terms of their
    own, since with the nested regions alone a young net calls every tumour voxel enhancing.
    """
    import torch

    logs = torch.log_softmax(logits.float(), dim=1)
    entropy = -logs.gather(1, labels[:, None])[:, 0]
    if smoothing:
        entropy = (1 - smoothing) * entropy - smoothing * logs.mean(1)
    total = (entropy * weights).mean()
    probabilities = logs.exp()
    overlap = logs.new_zeros(())
    for classes, weight in DICE_TERMS:
        p = probabilities[:, classes[0]]
        y = labels == classes[0]
        for other in classes[1:]:
            p = p + probabilities[:, other]
            y = y | (labels == other)
        hit = torch.where(y, p, 0.0).sum()
        dice = (2 * hit + 1) / (p.sum() + y.sum() + 1)
        overlap = overlap + weight * (1 - dice)
    return total + overlap / sum(w for _, w in DICE_TERMS)


def core_parts(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Number of the part (26-neighbourhood) of the tumour core, 1-255, of each voxel; else 0."""
    parts, _ = connected(tumour_core(labels))
    return np.minimum(parts, 255).astype(np.uint8)


def lesion_loss(logits: torch.Tensor, parts: torch.Tensor, border: int = 3) -> torch.Tensor:
    """Mean over lesions plus mean over false lesions; three voxels count like a large tumour.

    logits (b, 4, i, j, k). parts (b, i, j, k), uint8: the number of the lesion that a voxel of
    tumour core belongs to, 0 elsewhere. Each lesion gives 1 - soft Dice over itself and the voxels
    up to ``border`` around it. What may be core (probability above SUSPECT) and lies beyond every
    border is false; each connected piece of it gives the mean of its probability. The two means
    stand apart: in one mean the many bright vessels of a patch outvote its lesions, and a young net
    stays below 0.5 everywhere. After the blob loss of Kofler et al. (IPMI 2023), which takes the
    whole volume for each lesion and knows no false ones. 0 where there is neither.
    """
    import torch

    core = torch.softmax(logits.float(), dim=1)[:, [1, 3]].sum(1)
    first = 256 * torch.arange(len(parts), device=parts.device).view(-1, 1, 1, 1)
    own = torch.where(parts > 0, parts + first, 0)
    near = own.float()
    for _ in range(border):
        near = largest_near(near)
    near = torch.where(own > 0, own, near.long())  # a neighbour's border ends at the lesion

    def sums(where: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        total = values.new_zeros(256 * len(parts))
        return total.index_add(0, where, values)

    inside = near > 0
    place, chance, hit = near[inside], core[inside], (own > 0)[inside]
    size = sums(place, hit.float())
    there = size > 0
    overlap = 2 * sums(place, torch.where(hit, chance, 0.0)) + 0.1
    terms = 1 - overlap[there] / (sums(place, chance) + size + 0.1)[there]
    false = (core.detach() > SUSPECT) & ~inside
    pieces = _pieces(false)[false]
    _, place, count = torch.unique(pieces, return_inverse=True, return_counts=True)
    means = core.new_zeros(len(count)).index_add(0, place, core[false]) / count
    return sum((t.mean() for t in (terms, means) if len(t)), start=core.sum() * 0)


def _pieces(mask: torch.Tensor) -> torch.Tensor:
    """A number for each connected piece (26-neighbourhood) of a mask (b, i, j, k), 0 outside."""
    import torch

    if mask.device.type != "cpu":
        return hand_on(mask)
    found = [connected(one)[0] for one in mask.numpy()]
    before = np.cumsum([0, *(f.max() for f in found[:-1])])
    rows = [np.where(f > 0, f + int(n), 0) for f, n in zip(found, before, strict=True)]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def hand_on(mask: torch.Tensor, rounds: int = 12) -> torch.Tensor:
    """The same without leaving a GPU: each voxel takes the largest number of its neighbours, again
    and again. Pieces that are longer than ``rounds`` voxels may get several numbers."""
    import torch

    voxels = mask[0].numel()
    numbers = torch.arange(1, voxels + 1, device=mask.device).view(mask.shape[1:]).float()
    spread = torch.where(mask, numbers, 0.0)
    for _ in range(rounds):
        spread = torch.where(mask, largest_near(spread), 0.0)
    first = voxels * torch.arange(len(mask), device=mask.device).view(-1, 1, 1, 1)
    return torch.where(mask, spread.long() + first, 0)


def largest_near(values: torch.Tensor) -> torch.Tensor:
    """Each voxel the largest value of its 3 x 3 x 3 neighbours, over the last three axes.

    What ``max_pool3d`` gives, but axis by axis, each a few reads of the whole instead of 27.
    """
    import torch

    for axis in (-3, -2, -1):
        rest = values.shape[axis] - 1
        out = values.clone()
        for to, come in ((0, 1), (1, 0)):
            here = out.narrow(axis, to, rest)
            torch.maximum(here, values.narrow(axis, come, rest), out=here)
        values = out
    return values


def refinement_loss(logits: torch.Tensor, label: torch.Tensor, weight: float) -> torch.Tensor:
    """What lesion refinement learns from: the mean over crops, each by itself; a scalar.

    logits (b, 3, i, j, k): outside the tumour core, necrosis, enhancing tumour; label (b, i, j, k),
    int64, of these, or IGNORED. 1 - soft Dice of enhancing tumour, plus ``weight`` times the
    cross-entropy a voxel of core.
    """
    import torch
    from torch.nn import functional

    entropy = functional.cross_entropy(logits, label, reduction="none", ignore_index=IGNORED).sum(
        (1, 2, 3)
    )
    known = label != IGNORED
    core = ((label > 0) & known).sum((1, 2, 3))
    drawn = torch.softmax(logits, 1)[:, 2] * known
    tumour = (label == 2).float()
    shared = 2 * (drawn * tumour).sum((1, 2, 3)) + 1
    dice = shared / (drawn.sum((1, 2, 3)) + tumour.sum((1, 2, 3)) + 1)
    return 1 - dice.mean() + weight * (entropy / (core + 10)).mean()
