"""The segmentation net: MONAI's residual SegResNet between a space-to-depth stem and its inverse.

Every 2x2x2 block of 1 mm voxels becomes one position with eight times the channels, so that the
trunk works at 2 mm with a wide view and the head still answers for each 1 mm voxel. On a CPU this
costs about an eighth of the same trunk at 1 mm and loses nothing at the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import SEQUENCES

if TYPE_CHECKING:
    import torch

CLASSES = 4  # background, necrosis, oedema, enhancing tumour
MULTIPLE = 16  # the working grid must be a multiple of this along each axis


@dataclass(frozen=True)
class SegmenterConfig:
    """filters: channels of the first trunk level. blocks_down, blocks_up: residual blocks a level.

    min_lesion_voxels: connected parts of the tumour core below this size are dropped.
    et_bias: added to the logit of enhancing tumour before the decision (chosen on validation).
    """

    filters: int = 32
    blocks_down: tuple[int, ...] = (1, 2, 2, 3)
    blocks_up: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.0
    min_lesion_voxels: int = 3
    et_bias: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks_down", tuple(self.blocks_down))
        object.__setattr__(self, "blocks_up", tuple(self.blocks_up))
        if self.filters % 8:
            raise ValueError(f"filters must be a multiple of 8, but is {self.filters}")
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError("blocks_up must have one entry less than blocks_down")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def build_segmenter(config: SegmenterConfig) -> torch.nn.Module:
    """A net from images (b, 4, i, j, k) to logits of that shape; i, j, k multiples of 16."""
    import torch
    from monai.networks.nets import SegResNet
    from monai.networks.utils import pixelshuffle, pixelunshuffle

    class Segmenter(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = config
            self.trunk = SegResNet(
                spatial_dims=3,
                init_filters=config.filters,
                in_channels=8 * len(SEQUENCES),
                out_channels=8 * CLASSES,
                dropout_prob=config.dropout or None,
                norm=("GROUP", {"num_groups": 8}),
                blocks_down=config.blocks_down,
                blocks_up=config.blocks_up,
            )

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return pixelshuffle(self.trunk(pixelunshuffle(images, 3, 2)), 3, 2)

    return Segmenter()


def segment(
    net: torch.nn.Module,
    images: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    on_progress: Callable[[float], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Labels 0-3 (uint8, (i, j, k)) for standardised images (4, i, j, k).

    net: from ``build_segmenter``, whose config decides. Mean of the softmax over the volume and its
    left-right mirror image; outside ``brain`` always 0. ValueError where the grid does not fit.
    """
    import torch

    config: SegmenterConfig = net.config  # type: ignore[assignment]
    if images.shape[0] != len(SEQUENCES) or any(n % MULTIPLE for n in images.shape[1:]):
        raise ValueError(
            f"images must be (4, i, j, k) with i, j, k multiples of {MULTIPLE}, "
            f"but are {images.shape}"
        )
    device = next(net.parameters()).device
    tensor = torch.from_numpy(np.ascontiguousarray(images))[None].to(device)
    mean = torch.zeros((1, CLASSES, *images.shape[1:]), device=device)
    bias = torch.zeros(CLASSES, device=device)
    bias[3] = config.et_bias
    net.eval()
    with torch.inference_mode():
        for step, mirror in enumerate((False, True), start=1):
            view = tensor.flip(2) if mirror else tensor
            logits = net(view).float() + bias.view(1, -1, 1, 1, 1)
            chances = torch.softmax(logits, dim=1)
            mean += (chances.flip(2) if mirror else chances) / 2
            if on_progress:
                on_progress(step / 2)
    labels = mean[0].argmax(0).to(torch.uint8).cpu().numpy()
    labels[~brain] = 0
    return drop_small_lesions(labels, config.min_lesion_voxels)


def drop_small_lesions(labels: npt.NDArray[np.uint8], least: int) -> npt.NDArray[np.uint8]:
    """Clear parts (26-neighbourhood) of the tumour core with fewer voxels than ``least``."""
    from scipy import ndimage

    core = np.isin(labels, (1, 3))
    parts, n = ndimage.label(core, np.ones((3, 3, 3)))
    if n == 0 or least <= 1:
        return labels
    sizes = np.bincount(parts.ravel())
    small = sizes < least
    small[0] = False
    out = labels.copy()
    out[small[parts]] = 0
    return out
