"""The segmentation net: MONAI's SegResNet between a space-to-depth stem and its inverse."""

from __future__ import annotations

import torch
from monai.networks.nets import SegResNet
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import nn

from bmcore.domain import SEQUENCES
from bmcore.models.candidates import FEATURES
from bmcore.models.configs import CLASSES, SegmenterConfig
from bmcore.models.nets.candidate_head import CandidateHead
from bmcore.models.nets.contour_net import ContourNet
from bmcore.models.nets.local_norm import by_place, is_placed, placed


class Segmenter(nn.Module):
    """See ``bmcore.models.segmenter.build_segmenter``."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        shape, reduction = config.architecture, config.reduction
        self.trunk = SegResNet(
            spatial_dims=3,
            init_filters=shape.filters,
            in_channels=8 * len(SEQUENCES),
            out_channels=8 * (shape.full_resolution_channels or CLASSES),
            dropout_prob=config.training.dropout or None,
            norm=("GROUP", {"num_groups": 8}),
            blocks_down=shape.blocks_down,
            blocks_up=shape.blocks_up,
        )

        if shape.full_resolution_channels:
            self.fine = _Fine(shape.full_resolution_channels)
        placed(self)
        if reduction.candidates:
            self.candidates = CandidateHead(len(FEATURES), reduction.candidates)
        if reduction.contours:
            self.contours = ContourNet(reduction.contours)
        if config.training.deep_supervision:
            levels = range(len(shape.blocks_up) - 1, 0, -1)
            self.coarse = nn.ModuleList(
                nn.Conv3d(shape.filters * 2**level, 8 * CLASSES, 1) for level in levels
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        x, passed = self.trunk.encode(pixelunshuffle(images, 3, 2))
        decoded = []  # maps at …, 4 mm, 2 mm
        for level, (up, layer) in enumerate(
            zip(self.trunk.up_samples, self.trunk.up_layers, strict=True)
        ):
            x = layer(up(x) + passed[-2 - level])
            decoded.append(x)
        wide = _spread(self.trunk.conv_final(decoded[-1]))
        config = self.config
        answer = self.fine(images, wide) if config.architecture.full_resolution_channels else wide
        if not (config.training.deep_supervision and self.training):
            return answer
        coarse = zip(self.coarse, decoded[:-1], strict=True)
        others = [pixelshuffle(layer(x), 3, 2) for layer, x in coarse]
        return [answer, *reversed(others)]

    def whole(self, images: torch.Tensor, window: int) -> torch.Tensor:
        """Logits of a whole head (1, 4, i, j, k); norms are of the window around each place."""
        with by_place(images.shape[2:], window):
            answer = self(images)
        assert isinstance(answer, torch.Tensor)  # a list only while it learns
        return answer


def _spread(x: torch.Tensor) -> torch.Tensor:
    """MONAI's ``pixelshuffle`` by 2, (b, 8 c, i, j, k) to (b, c, 2 i, 2 j, 2 k): the same values,
    which lie in memory as those of ``x`` do.

    What follows would else meet two orders in memory and turn one into the other again and again.
    """
    if not x.is_contiguous(memory_format=torch.channels_last_3d):
        return pixelshuffle(x, 3, 2)
    b, channels, *edges = x.shape
    parts = x.permute(0, 2, 3, 4, 1).reshape(b, *edges, channels // 8, 2, 2, 2)
    apart = parts.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return apart.reshape(b, *(2 * n for n in edges), channels // 8).permute(0, 4, 1, 2, 3)


class _Fine(nn.Module):
    """The images at 1 mm join the trunk's answer; one residual step, and then the logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv3d(len(SEQUENCES), channels, 3, padding=1)
        self.norm = nn.GroupNorm(8, channels)
        self.mix = nn.Conv3d(channels, channels, 3, padding=1)
        self.last = nn.GroupNorm(8, channels)
        self.out = nn.Conv3d(channels, CLASSES, 1)

    def forward(self, images: torch.Tensor, wide: torch.Tensor) -> torch.Tensor:
        x = wide + self.stem(images)
        x = x + self.mix(torch.relu(_normed(x, self.norm)))
        return self.out(torch.relu(_normed(x, self.last)))


def _normed(x: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
    """``norm(x)``. Of one volume, with a channel a group, it is what batch norm computes of it, and
    that is several times faster where channels lie last in memory."""
    alone = len(x) == 1 and norm.num_groups == norm.num_channels
    if torch.is_grad_enabled() or not alone or is_placed():
        return norm(x)
    one = torch.nn.functional.batch_norm
    return one(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
