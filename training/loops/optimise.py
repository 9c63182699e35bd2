"""One optimiser step, the same in every training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from training.loops.ema import EMA


def optimise(
    loss: torch.Tensor,
    net: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    clip: float | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    ema: EMA | None = None,
) -> None:
    """Take one step down the gradient of ``loss``, then one of the schedule and of the average.

    clip: greatest norm of the gradient of ``net``, None for any.
    """
    import torch

    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimiser.step()
    if schedule is not None:
        schedule.step()
    if ema is not None:
        ema.update(net)
