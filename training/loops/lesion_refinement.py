"""Teach a net to draw candidates (``bmcore.models.lesion_refinement``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmcore.domain import refuse
from training.data.lesion_crops import Crops, changed
from training.loops.epochs import Epochs, run_epochs
from training.run.random_state import seed_everything

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ContourTraining:
    """epochs: passes over all crops. batch: crops a step. rate: peak learning rate (one cycle).
    decay: weight decay. entropy: weight of the cross-entropy beside the Dice of each crop."""

    channels: int = 16
    epochs: int = 36
    batch: int = 16
    rate: float = 3e-3
    decay: float = 0.01
    entropy: float = 0.3
    seed: int = 0


def train(crops: Crops, config: ContourTraining, out: Path, device: str) -> dict[str, Any]:
    """Train a net on all crops: its weights (CPU), the loss of each pass, and seconds.

    The loss is that of each lesion by itself, so that small ones weigh as much as large ones: one
    minus the Dice of its enhancing tumour, and cross-entropy per voxel of tumour core.
    InputRefused where there are no crops.
    """
    import torch

    from bmcore.models import runtime
    from bmcore.models.lesion_refinement import build_contour_net
    from bmcore.models.losses import refinement_loss

    if not len(crops):
        raise refuse("no candidate touches a metastasis", hint="give more --cases.")
    seed_everything(config.seed)
    net = build_contour_net(config.channels).to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    batch = min(config.batch, len(crops))
    each = len(crops) // batch
    kind = device.split(":")[0]
    half = runtime.choose(kind, threads=0).precision == "bf16"

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        random = np.random.default_rng([config.seed, epoch])
        order = random.permutation(len(crops))[: each * batch].reshape(each, batch)
        for chosen in order:
            pairs = [changed(crops, int(n), random) for n in chosen]
            seen = torch.from_numpy(np.stack([p[0] for p in pairs])).to(device)
            label = torch.from_numpy(np.stack([p[1] for p in pairs])).to(device, torch.long)
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
                logits = net(seen.to(memory_format=torch.channels_last_3d))
            yield refinement_loss(logits, label, config.entropy)

    how = Epochs(config.epochs, each, config.rate, config.decay, "learn outlines", "contours/loss")
    return run_epochs(net, losses, how, out)
