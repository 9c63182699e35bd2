"""Train a small net in passes over what was kept: one way for all small nets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.loops.optimise import optimise
from training.run.processes import Stopwatch, board, progress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Epochs:
    """epochs: passes. each: steps a pass. rate, decay: peak learning rate (one cycle over all
    steps), weight decay. words: beside the bar. name: of the curve in the logs."""

    epochs: int
    each: int
    rate: float
    decay: float
    words: str
    name: str


def run_epochs(
    net: torch.nn.Module, losses: Callable[[int], Iterator[torch.Tensor]], how: Epochs, out: Path
) -> dict[str, Any]:
    """Train ``net`` with AdamW: its weights (CPU), the mean loss of each pass, and seconds.

    losses: for the number of a pass the loss of each of its steps, computed when it is asked for.
    """
    import torch

    watch = Stopwatch()
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=how.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, how.rate, total_steps=how.epochs * how.each
    )
    curve: list[float] = []
    with progress() as bars, board(out) as log:
        task = bars.add_task(how.words, total=how.epochs)
        for epoch in range(how.epochs):
            told = []
            for loss in losses(epoch):
                optimise(loss, net, optimiser, schedule=schedule)
                told.append(loss.item())
            curve.append(float(np.mean(told)))
            log(how.name, curve[-1], epoch)
            bars.update(task, advance=1, description=f"{how.words}, loss {curve[-1]:.3f}")
    weights = {k: v.detach().contiguous().cpu() for k, v in net.state_dict().items()}
    return {"weights": weights, "curve": curve, "seconds": round(watch.seconds)}
