"""The autoencoder: from the patient's image features to a short code and back.

A small perceptron (f -> 32 -> d -> 32 -> f) on standardised features, trained to restore features
that were hidden at random (denoising autoencoder, Vincent et al. 2008). Its error of reconstruction
says how unlike the training patients a patient is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES
from bmcore.models.configs import AutoencoderConfig

if TYPE_CHECKING:
    import torch

    from bmcore.models.nets.autoencoder import Autoencoder


@dataclass(frozen=True)
class AutoencoderTraining:
    """How it is trained: full batches, Adam with decoupled weight decay, features hidden at random.

    hide: share of features set to their mean in each step, to be restored from the others.
    tree_weight: how many times the error of one of the trees' scores counts, where they are among
    the features: what they know of the primary should survive the reduction.
    """

    steps: int = 400
    lr: float = 5e-3
    weight_decay: float = 1e-3
    hide: float = 0.15
    tree_weight: float = 8.0
    seed: int = 0


def build_autoencoder(config: AutoencoderConfig) -> Autoencoder:
    """A new ``Autoencoder`` (an ``nn.Module``) with random weights and a scaler that does nothing.

    ``net.encode(x)``: (n, f) to (n, d). ``net.decode(code)``: (n, d) to (n, f), in the units of x.
    ``net.reconstruction_error(x)``: (n,) mean squared difference of z-scores over the features that
    are known; 1 is about what the mean patient gives. Tensors and numpy arrays are both taken and
    come back as they went in (numpy: float32, no gradients). NaN means not measured.
    """
    from bmcore.models.nets.autoencoder import Autoencoder

    return Autoencoder(config)


def fit_autoencoder(
    x: npt.NDArray, config: AutoencoderConfig, training: AutoencoderTraining | None = None
) -> Autoencoder:
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
        counts = known * _weights(config, how)
        net.train()
        optimiser = torch.optim.AdamW(net.parameters(), how.lr, weight_decay=how.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.steps)
        for _ in range(how.steps):
            seen = z * (torch.rand_like(z) >= how.hide)
            squared = (net.decoder(net.encoder(seen)) - z) ** 2 * counts
            loss = squared.sum() / counts.sum().clamp(min=1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def _weights(config: AutoencoderConfig, how: AutoencoderTraining) -> torch.Tensor:
    """How much each feature's error counts (f,); the trees' scores are the last ones."""
    import torch

    weights = torch.ones(config.features)
    if config.feature_set == 3:
        weights[-len(PRIMARIES) :] = how.tree_weight
    return weights
