"""A checkpoint that a killed run goes on from, to the bit.

A run that is killed and started again with the same options ends with the same tensors as a run
that was left alone: a checkpoint holds every random state, and it refuses to go on under other
options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bmcore.domain import refuse
from training.run.files import atomic_path
from training.run.random_state import random_states, restore_random_states


@dataclass(frozen=True)
class Checkpoint:
    """One file that a killed run goes on from, to the bit.

    path: the file. options: the run's ``fingerprint``; a checkpoint of other options is refused.
    ``save`` takes a dict of tensors, numbers, texts, lists and dicts of these (the nets' and
    optimisers' ``state_dict`` are such); it is read back with ``weights_only``, so a checkpoint can
    run no code. With several processes call ``save`` in every one of them, each with its own path
    (``path.with_suffix(f".rank{rank}.pt")``), since the random states differ.
    """

    path: Path
    options: str = ""

    def save(
        self,
        state: Mapping[str, Any],
        generators: Mapping[str, np.random.Generator] | None = None,
    ) -> None:
        """Write ``state`` and every random state (torch, CUDA, numpy, Python, ``generators``)."""
        import torch

        content = {
            "format": 1,
            "options": self.options,
            "state": dict(state),
            "random": random_states(generators or {}),
        }
        with atomic_path(self.path) as beside:
            torch.save(content, beside)

    def load(
        self, generators: Mapping[str, np.random.Generator] | None = None
    ) -> dict[str, Any] | None:
        """Return the state and set every random state back; None where there is no checkpoint.

        Tensors come back on the CPU. Raises InputRefused where the file is damaged or belongs to
        other options.
        """
        import torch

        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise refuse(
                "the checkpoint cannot be read",
                file=self.path,
                found=type(error).__name__,
                hint="remove it to start again.",
            ) from error
        if content.get("format") != 1 or content.get("options") != self.options:
            raise refuse(
                "the checkpoint belongs to a run with other options or other data",
                file=self.path,
                hint="give the same options, another --out, or remove the checkpoint.",
            )
        restore_random_states(content["random"], generators or {}, self.path)
        return content["state"]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
