"""The net that draws a candidate anew, voxel by voxel at 1 mm."""

from __future__ import annotations

import torch
from torch import nn

from bmcore.models.configs import (
    CONTOUR_INPUTS,
    CONTOUR_OUTPUTS,
    LOG_ODDS_CHANNEL,
    LOG_ODDS_SCALE,
)


class ContourNet(nn.Module):
    """See ``bmcore.models.lesion_refinement.build_contour_net``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(CONTOUR_INPUTS, channels, 3, padding=1)
        self.steps = nn.ModuleList(nn.Conv3d(channels, channels, 3, padding=1) for _ in range(3))
        self.last = nn.Conv3d(channels, CONTOUR_OUTPUTS, 1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        x = self.first(seen)
        for step in self.steps:
            x = x + step(torch.relu(x))
        change = self.last(torch.relu(x)).float()
        log_odds = seen[:, LOG_ODDS_CHANNEL : LOG_ODDS_CHANNEL + 1].float() * LOG_ODDS_SCALE
        necrosis = seen[:, LOG_ODDS_CHANNEL + 1 : LOG_ODDS_CHANNEL + 2].float().clamp(0.01, 0.99)
        core = (log_odds / 2 + necrosis.log(), log_odds / 2 + (1 - necrosis).log())
        return change + torch.cat([-log_odds / 2, *core], dim=1)
