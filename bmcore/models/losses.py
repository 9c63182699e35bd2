"""The loss of the segmentation net: weighted cross-entropy, soft Dice over the regions, and soft
Dice over each lesion by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    import torch


_TOUCHING = np.ones((3, 3, 3), bool)
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
    parts, n = ndimage.label(np.isin(labels, (1, 3)), np.ones((3, 3, 3)))
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
    chances = logs.exp()
    overlap = logs.new_zeros(())
    for classes, weight in DICE_TERMS:
        p = chances[:, classes[0]]
        y = labels == classes[0]
        for other in classes[1:]:
            p = p + chances[:, other]
            y = y | (labels == other)
        hit = torch.where(y, p, 0.0).sum()
        dice = (2 * hit + 1) / (p.sum() + y.sum() + 1)
        overlap = overlap + weight * (1 - dice)
    return total + overlap / sum(w for _, w in DICE_TERMS)


def lesion_loss(logits: torch.Tensor, labels: torch.Tensor, border: int = 3) -> torch.Tensor:
    """Mean over lesions and false lesions, so that three voxels count like a large tumour.

    logits (b, 4, i, j, k); labels int64 (b, i, j, k). A lesion is one part (26-neighbourhood) of
    the tumour core and gives 1 - soft Dice, taken in its box grown by ``border`` voxels, without
    the voxels of other lesions. A false lesion is a part more likely core than not that touches no
    lesion; it gives the mean of its probability. After the blob loss of Kofler et al. (IPMI 2023),
    which takes the whole volume for each lesion and knows no false ones. 0 where there is neither.
    """
    import torch

    core = torch.softmax(logits.float(), dim=1)[:, [1, 3]].sum(1)
    marked = torch.isin(labels, torch.tensor([1, 3], device=labels.device)).cpu().numpy()
    seen = (core.detach() > 0.5).cpu().numpy()
    terms = []
    for chance, truth, found in zip(core, marked, seen, strict=True):
        parts, _ = ndimage.label(truth, _TOUCHING)
        for number, place in enumerate(ndimage.find_objects(parts), start=1):
            box = tuple(slice(max(0, s.start - border), s.stop + border) for s in place)
            own = torch.from_numpy(parts[box] == number).to(core.device)
            other = torch.from_numpy((parts[box] > 0) & (parts[box] != number)).to(core.device)
            p = chance[box].masked_fill(other, 0.0)
            terms.append(1 - (2 * p[own].sum() + 0.1) / (p.sum() + own.sum() + 0.1))
        blobs, _ = ndimage.label(found, _TOUCHING)
        touched = set(np.unique(blobs[ndimage.binary_dilation(truth, _TOUCHING)]))
        for number, box in enumerate(ndimage.find_objects(blobs), start=1):
            if number not in touched:
                own = torch.from_numpy(blobs[box] == number).to(core.device)
                terms.append(chance[box][own].mean())
    return torch.stack(terms).mean() if terms else core.sum() * 0
