"""The head that tells metastases from other candidates by their measured features."""

from __future__ import annotations

import torch
from torch import nn

from bmcore.models.configs import KNOTS


class CandidateHead(nn.Module):
    """See ``bmcore.models.candidates.build_candidate_head``."""

    quantiles: torch.Tensor

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("quantiles", torch.linspace(0, 1, KNOTS).repeat(features, 1))
        self.layers = nn.Sequential(
            nn.Dropout(0.15),
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(hidden, 1),
        )

    def forward(self, descriptions: torch.Tensor) -> torch.Tensor:
        with torch.autocast(descriptions.device.type, enabled=False):
            return self.layers(self.scores(descriptions))[:, 0]

    def scores(self, descriptions: torch.Tensor) -> torch.Tensor:
        """Normal scores (n, features), between -3 and 3; equal values share the mean rank."""
        x = descriptions.T.contiguous()
        first, behind = (torch.searchsorted(self.quantiles, x, right=r) for r in (False, True))
        low = self.quantiles.gather(1, (behind - 1).clamp(0))
        high = self.quantiles.gather(1, behind.clamp(max=KNOTS - 1))
        between = ((x - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
        rank = torch.where(first == behind, behind - 1 + between, (first + behind - 1) / 2)
        share = rank.clamp(0, KNOTS - 1) / (KNOTS - 1)
        return torch.special.ndtri(share.clamp(0.00135, 0.99865)).T
