"""A perceptron to a short code and back, with its scaler in buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bmcore.models.configs import AutoencoderConfig
from bmcore.models.known_values import mean_and_spread

Z_LIMIT = 6.0  # standardised features are clipped here, as the images are


class Autoencoder(nn.Module):
    """See ``bmcore.models.autoencoder.build_autoencoder``."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.register_buffer("mean", torch.zeros(c.features))
        self.register_buffer("scale", torch.ones(c.features))
        self.encoder = nn.Sequential(
            nn.Linear(c.features, c.hidden),
            nn.GELU(),
            nn.Dropout(c.dropout),
            nn.Linear(c.hidden, c.code),
        )
        self.decoder = nn.Sequential(
            nn.Linear(c.code, c.hidden),
            nn.GELU(),
            nn.Dropout(c.dropout),
            nn.Linear(c.hidden, c.features),
        )

    def fit_scaler(self, x: npt.NDArray) -> None:
        """Learn mean and spread of the known values of x (n, f)."""
        mean, spread = mean_and_spread(x)
        self.mean.copy_(torch.as_tensor(mean))
        self.scale.copy_(torch.as_tensor(np.where(spread > 1e-6, spread, 1.0)))

    def scaled(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """z-scores (n, f), 0 where not measured, and which are known."""
        if x.ndim != 2 or x.shape[1] != self.config.features:
            raise ValueError(f"x must be (n, {self.config.features}), but is {tuple(x.shape)}")
        known = ~torch.isnan(x)
        z = torch.nan_to_num((x - self.mean) / self.scale, nan=0.0)
        return z.clamp(-Z_LIMIT, Z_LIMIT), known

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(self.scaled(x)[0])) * self.scale + self.mean

    def encode(self, x: Any) -> Any:
        return self._either(lambda t: self.encoder(self.scaled(t)[0]), x)

    def decode(self, code: Any) -> Any:
        return self._either(lambda t: self.decoder(t) * self.scale + self.mean, code)

    def reconstruction_error(self, x: Any) -> Any:
        def error(t: torch.Tensor) -> torch.Tensor:
            z, known = self.scaled(t)
            squared = (self.decoder(self.encoder(z)) - z) ** 2 * known
            return squared.sum(dim=1) / known.sum(dim=1).clamp(min=1)

        return self._either(error, x)

    def _either(self, function: Any, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return function(x)
        with torch.no_grad():
            given = torch.as_tensor(np.array(x, dtype=np.float32), device=self.mean.device)
            return function(given).cpu().numpy()
