"""Crops around what a segmentation net doubts: what its correcting part learns from.

A patch is mostly tissue that no net takes for a lesion. Where the first answer stays fixed, the
correction learns faster from many small crops: around lesions, found or not, around what the first
answer wrongly suspects, and around bright tissue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

EDGE = 24  # voxels of 1 mm: a small lesion and enough of a vessel beside it to see its course
SHIFT = 5  # a centre is moved by up to so many voxels along each axis
DOUBT = 0.02  # probability of tumour core from which a place is suspected
BRIGHT = 3.0  # spreads of t1c above the median of the brain
T1C = 1
# share of the crops on lesions, each equally likely; on suspected places; on bright tissue
ON_LESION, ON_SUSPECT, ON_BRIGHT = 0.5, 0.25, 0.15


def doubtful(
    first: torch.Tensor,
    images: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor,
    parts: torch.Tensor,
    each: int,
    random: np.random.Generator,
) -> tuple[torch.Tensor, ...]:
    """``each`` crops a patch of all five tensors, in order: (b * each, ...), EDGE voxels wide.

    first: logits (b, 4, i, j, k) of the net to correct. images (b, 4, i, j, k); labels, weights and
    parts (b, i, j, k) as a ``Batch`` of ``training.patches`` has them.
    """
    import torch

    core = torch.softmax(first.float(), dim=1)[:, [1, 3]].sum(1)
    tensors = (first, images, labels, weights, parts)
    chosen: list[list[torch.Tensor]] = [[] for _ in tensors]
    for n in range(len(images)):
        spots = _centres(
            core[n].cpu().numpy(), images[n].cpu().numpy(), parts[n].cpu().numpy(), each, random
        )
        low = np.clip(spots - EDGE // 2, 0, np.array(labels.shape[1:]) - EDGE)
        for corner in low:
            i, j, k = (slice(int(a), int(a) + EDGE) for a in corner)
            for into, tensor in zip(chosen, tensors, strict=True):
                into.append(tensor[n][..., i, j, k])
    return tuple(torch.stack(crops) for crops in chosen)


def hold_statistics(net: torch.nn.Module) -> None:
    """From here on batch norm uses the means and spreads that it has seen so far.

    The crops of a step come from few patches, whose own means differ from the mean of all looks
    that is used later.
    """
    import torch

    for layer in net.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.eval()


def _centres(
    core: npt.NDArray[np.float32],
    images: npt.NDArray[np.float32],
    parts: npt.NDArray[np.uint8],
    each: int,
    random: np.random.Generator,
) -> npt.NDArray[np.int_]:
    """Centres (each, 3) in voxels; a kind of place that the patch lacks gives way to the next."""
    from scipy import ndimage

    lesion = parts > 0
    free = ~ndimage.binary_dilation(lesion, np.ones((3, 3, 3)), iterations=2)
    numbers = np.unique(parts[lesion])
    suspects = np.argwhere(free & (core > DOUBT))
    bright = np.argwhere(free & (images[T1C] > BRIGHT))
    brain = np.argwhere((images != 0).any(0))
    of_each = {number: np.argwhere(parts == number) for number in numbers}
    out = []
    for lot in random.uniform(size=each):
        if lot < ON_LESION and len(numbers):
            pool = of_each[numbers[int(random.integers(len(numbers)))]]
        elif lot < ON_LESION + ON_SUSPECT and len(suspects):
            pool = suspects
        elif lot < ON_LESION + ON_SUSPECT + ON_BRIGHT and len(bright):
            pool = bright
        else:
            pool = brain
        if not len(pool):
            pool = np.array([parts.shape]) // 2
        out.append(pool[int(random.integers(len(pool)))] + random.integers(-SHIFT, SHIFT + 1, 3))
    return np.array(out)
