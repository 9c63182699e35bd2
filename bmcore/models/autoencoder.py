"""The autoencoder: from the patient's image features to a short code and back.

A small perceptron (f -> 32 -> d -> 32 -> f) on standardised features, trained to restore features
that were hidden at random (denoising autoencoder, Vincent et al. 2008). Its error of reconstruction
says how unlike the training patients a patient is.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import nn

Z_LIMIT = 6.0  # standardised features are clipped here, as the images are


@dataclass(frozen=True)
class AutoencoderConfig:
    """The net.

    features: numbers a patient; hidden: width of the layer between; code: numbers in the code.
    dropout: in the hidden layers, while training only.
    """

    features: int
    hidden: int = 32
    code: int = 8
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if min(self.features, self.hidden, self.code) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"an autoencoder needs sizes of 1 or more and dropout in [0, 1): {self}"
            )


@dataclass(frozen=True)
class AutoencoderTraining:
    """How it is trained: full batches, Adam with decoupled weight decay, features hidden at random.

    hide: share of features set to their mean in each step, to be restored from the others.
    """

    steps: int = 400
    lr: float = 5e-3
    weight_decay: float = 1e-3
    hide: float = 0.15
    seed: int = 0


def build_autoencoder(config: AutoencoderConfig) -> Any:
    """A new ``Autoencoder`` (an ``nn.Module``) with random weights and a scaler that does nothing.

    ``net.encode(x)``: (n, f) to (n, d). ``net.decode(code)``: (n, d) to (n, f), in the units of x.
    ``net.reconstruction_error(x)``: (n,) mean squared difference of z-scores over the features that
    are known; 1 is about what the mean patient gives. Tensors and numpy arrays are both taken and
    come back as they went in (numpy: float32, no gradients). NaN means not measured.
    """
    return _autoencoder_class()(config)


def fit_autoencoder(
    x: npt.NDArray, config: AutoencoderConfig, training: AutoencoderTraining | None = None
) -> Any:
    """Train on x (n, f), NaN where not measured: scaler and weights from these rows alone.

    Repeatable from ``training.seed``; the random state outside is left as it was. Returned in
    evaluation mode. ValueError on a wrong shape or fewer than 2 rows.
    """
    import torch

    how = training or AutoencoderTraining()
    if x.ndim != 2 or x.shape[1] != config.features or x.shape[0] < 2:
        raise ValueError(f"x must be (2 or more, {config.features}), but is {x.shape}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        net = build_autoencoder(config)
        net.fit_scaler(x)
        z, known = net.scaled(torch.as_tensor(np.asarray(x, np.float32)))
        net.train()
        optimiser = torch.optim.AdamW(net.parameters(), how.lr, weight_decay=how.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.steps)
        for _ in range(how.steps):
            seen = z * (torch.rand_like(z) >= how.hide)
            squared = (net.decoder(net.encoder(seen)) - z) ** 2 * known
            loss = squared.sum() / known.sum().clamp(min=1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.eval()


@functools.lru_cache(maxsize=1)
def _autoencoder_class() -> type[nn.Module]:
    import torch
    from torch import nn

    class Autoencoder(nn.Module):
        """See ``build_autoencoder``."""

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
            seen = ~np.isnan(x)
            count = np.maximum(seen.sum(axis=0), 1)
            mean = np.where(seen, x, 0).sum(axis=0) / count
            spread = np.sqrt((np.where(seen, x - mean, 0) ** 2).sum(axis=0) / count)
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

    return Autoencoder


def __getattr__(name: str) -> Any:
    """``autoencoder.Autoencoder`` is made on first use, so that importing this file is cheap."""
    if name == "Autoencoder":
        return _autoencoder_class()
    raise AttributeError(name)
