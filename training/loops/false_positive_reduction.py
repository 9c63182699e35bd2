"""Teach a head to tell metastases from other candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmcore.domain import refuse
from training.data.candidate_dataset import (
    Found,
)
from training.loops.epochs import Epochs, run_epochs
from training.run.random_state import seed_everything

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CandidateTraining:
    """A sentence a field.

    hidden: units of each of the head's two hidden layers. chance: probability of tumour core from
    which a place is a candidate. epochs: passes over all candidates. batch: candidates a step.
    rate, decay: peak learning rate (one cycle), weight decay. smoothing: of the labels. held: share
    of the patients that only measure. min_t1c_enhancement: level in t1c that a metastasis reaches
    somewhere, in spreads above the brain's median; of 707 synthetic ones 34 stay below 1.25, 3 over
    7 mm3.
    """

    hidden: int = 256
    chance: float = 0.02
    epochs: int = 100
    batch: int = 256
    rate: float = 3e-3
    decay: float = 0.3
    smoothing: float = 0.02
    held: float = 0.1
    min_t1c_enhancement: float = 1.25
    seed: int = 0


REFINED: Mapping[str, Any] = {"epochs": 30, "rate": 1e-3}  # of a head that goes on from another


def units(weights: Mapping[str, torch.Tensor]) -> int:
    """Units of each hidden layer of the head that has these weights."""
    return len(weights["layers.1.bias"])


def train(
    found: Found,
    config: CandidateTraining,
    out: Path,
    device: str,
    start: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, Any]:
    """Train a head on all candidates: its weights (CPU), the loss of each pass, and seconds.

    start: weights of a head of as many units to go on from, its quantiles included; ``REFINED`` is
    how long and how fast that is.
    """
    import torch
    from torch.nn import functional

    from bmcore.models.candidates import build_candidate_head
    from bmcore.models.configs import KNOTS

    count = len(found.lesion)
    if found.lesion.all() or not found.lesion.any():
        raise refuse(
            "the candidates are all of one kind",
            found=f"{int(found.lesion.sum())} lesions, {int((~found.lesion).sum())} others",
            expected="some of both",
            hint="give more --cases.",
        )
    batch = min(config.batch, count)
    seed_everything(config.seed)
    described = torch.from_numpy(found.described).to(device)
    soft = torch.from_numpy(found.lesion).to(device, torch.float32)
    soft = soft * (1 - config.smoothing) + config.smoothing / 2
    head = build_candidate_head(described.shape[-1], config.hidden).to(device)
    if start is None:
        shares = torch.linspace(0, 1, KNOTS, device=device)
        quantiles = torch.quantile(described[0], shares, dim=0).T
        head.quantiles.copy_(quantiles)  # type: ignore[operator]
    else:
        head.load_state_dict({k: v.float() for k, v in start.items()})
    each = count // batch

    def losses(_: int) -> Iterator[torch.Tensor]:
        order = torch.randperm(count)[: each * batch].to(device)
        for chosen in order.view(each, batch):
            view = torch.randint(len(described), (batch,)).to(device)
            logits = head(described[view, chosen])
            yield functional.binary_cross_entropy_with_logits(logits, soft[chosen])

    how = Epochs(config.epochs, each, config.rate, config.decay, "train", "loss")
    return run_epochs(head, losses, how, out)
