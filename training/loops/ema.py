"""Averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class EMA:
    """Exponential moving average of a net's weights (Polyak and Juditsky 1992).

    After ``update`` number n the decay is min(decay, (1 + n) / (10 + n)), so that the first, random
    weights are soon forgotten. Buffers and whole numbers are copied.
    """

    def __init__(self, net: torch.nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), but is {decay}")
        self.decay = decay
        self.updates = 0
        self.shadow = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def update(self, net: torch.nn.Module) -> None:
        import torch

        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        trainable = {name for name, _ in net.named_parameters()}
        with torch.no_grad():
            for name, value in net.state_dict().items():
                if name in trainable and value.dtype.is_floating_point:
                    self.shadow[name].lerp_(value.detach(), 1 - decay)
                else:
                    self.shadow[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = int(state["updates"])
        for name, value in self.shadow.items():
            value.copy_(state["shadow"][name])

    @contextmanager
    def applied(self, net: torch.nn.Module) -> Iterator[torch.nn.Module]:
        """Within the block ``net`` carries the averaged weights; afterwards its own again."""
        own = {k: v.detach().clone() for k, v in net.state_dict().items()}
        net.load_state_dict(self.shadow)
        try:
            yield net
        finally:
            net.load_state_dict(own)
