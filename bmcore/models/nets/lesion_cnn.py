"""The CNN on lesion patches: pre-activation bottleneck blocks, pooled inside the lesion.

Why so: ``bmcore.models.cnn``.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from bmcore.domain import PRIMARIES
from bmcore.models.configs import CELLS_SHAPE, PATCH_SHAPE, CNNConfig


def cells(patches: torch.Tensor) -> torch.Tensor:
    """Patches (n, 7, 32, 32, 32) as (n, 15, 16, 16, 16) at 3 mm: means over 3 x 3 x 3 voxels.

    Channels: the shares of necrosis, oedema and enhancing tumour; then the mean brightness of the
    four sequences inside the enhancing tumour, the necrosis and the oedema of the cell, 0 where the
    cell holds less than 1/20 of it. Cell n is centred on voxel 2 n.
    """
    images, masks = patches[:, :4], patches[:, 4:]
    inside = [images * masks[:, tissue : tissue + 1] for tissue in (2, 0, 1)]
    mean = _local_mean(torch.cat([masks, *inside], dim=1))
    share = mean[:, (2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1)]
    bright = torch.where(share >= 0.05, mean[:, 3:] / share.clamp(min=0.05), 0)
    return torch.cat([mean[:, :3], bright], dim=1)


def _local_mean(x: torch.Tensor) -> torch.Tensor:
    """Mean over 3 x 3 x 3 voxels at every second voxel; what lies outside does not count."""
    return functional.avg_pool3d(x, 3, stride=2, padding=1, count_include_pad=False)


class Block(nn.Module):
    """x + 1x1x1(3x3x3(1x1x1(x))), each after group normalisation and a rectifier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        middle = width // 2
        self.body = nn.Sequential(
            nn.GroupNorm(4, width),
            nn.ReLU(inplace=True),
            nn.Conv3d(width, middle, 1, bias=False),
            nn.GroupNorm(4, middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, middle, 3, padding=1, bias=False),
            nn.GroupNorm(4, middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, width, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class LesionNet(nn.Module):
    """See ``bmcore.models.cnn.build_cnn``."""

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.tissue = c.kind == "tissue"
        if self.tissue:
            self.down: nn.Module = nn.Conv3d(CELLS_SHAPE[0], c.width, 3, stride=2, padding=1)
        else:
            self.stem = nn.Conv3d(PATCH_SHAPE[0], 16, 3, stride=2, padding=1)
            self.down = nn.Sequential(
                nn.ReLU(inplace=True), nn.Conv3d(16, c.width, 3, stride=2, padding=1)
            )
        self.trunk = nn.Sequential(*(Block(c.width) for _ in range(c.blocks)))
        # without a bias, so that the maps, and Grad-CAM with them, are 0 outside the lesion
        self.last_conv = nn.Conv3d(c.width, c.maps, 1, bias=not self.tissue)
        self.embed = nn.Linear((4 if self.tissue else 2) * c.maps, c.embedding)
        self.dropout = nn.Dropout(c.dropout)
        self.head = nn.Linear(c.embedding, len(PRIMARIES))
        if self.tissue:  # blocks begin as the identity (He et al. 2016, section 4)
            for block in self.trunk:
                for weights in list(next(block.children()).children())[-1].parameters():
                    nn.init.zeros_(weights)

    def prepare(self, patches: torch.Tensor) -> torch.Tensor:
        if patches.ndim != 5 or tuple(patches.shape[1:]) != PATCH_SHAPE:
            raise ValueError(
                f"patches must be (n, {', '.join(map(str, PATCH_SHAPE))}), "
                f"but are {tuple(patches.shape)}"
            )
        return cells(patches) if self.tissue else patches

    def features(self, patches: torch.Tensor) -> torch.Tensor:
        ready = self.tissue and tuple(patches.shape[1:]) == CELLS_SHAPE
        x = patches if ready else self.prepare(patches)
        if not self.tissue:
            maps = torch.relu(self.last_conv(self.trunk(self.down(self.stem(x)))))
            pooled = torch.cat([maps.mean(dim=(2, 3, 4)), maps.amax(dim=(2, 3, 4))], dim=1)
            return torch.relu(self.embed(pooled))
        masks = _local_mean(x[:, :3])
        tumour, oedema = masks[:, 0:1] + masks[:, 2:3], masks[:, 1:2]
        inside = tumour + oedema > 0.01
        maps = torch.relu(self.last_conv(self.trunk(self.down(x)) * inside))

        def mean(weight: torch.Tensor) -> torch.Tensor:
            total = weight.sum(dim=(2, 3, 4)).clamp(min=1e-3)
            return (maps * weight).sum(dim=(2, 3, 4)) / total

        peak = (maps * (tumour > 0.01)).amax(dim=(2, 3, 4))
        whole = maps.mean(dim=(2, 3, 4))
        pooled = torch.cat([mean(tumour), peak, mean(oedema), whole], dim=1)
        return torch.relu(self.embed(pooled))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.features(patches)))


class LesionEnsemble(nn.Module):
    """Several ``LesionNet`` that learnt from different patients; logits are the mean of theirs."""

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(LesionNet(config) for _ in range(config.members))

    def prepare(self, patches: torch.Tensor) -> torch.Tensor:
        """As ``LesionNet.prepare``: the same for all members, it has no weights."""
        first = self.members[0]
        assert isinstance(first, LesionNet)
        return first.prepare(patches)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        ready = self.prepare(patches) if tuple(patches.shape[1:]) == PATCH_SHAPE else patches
        return torch.stack([member(ready) for member in self.members]).mean(dim=0)
