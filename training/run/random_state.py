"""Every random state of a process: seeded, read, set back."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bmcore.domain import refuse
from training.run.files import plain


def seed_everything(seed: int, rank: int = 0) -> np.random.Generator:
    """Seed Python, numpy and torch and return a numpy generator for this process.

    Weights must start alike in every process, so torch, Python and the global numpy state take
    ``seed`` alone; the returned generator (for augmentation) differs by ``rank``. Call
    ``torch.manual_seed`` again after the net is built if dropout should differ by process.
    """
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  libraries below us may use the global state
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return np.random.default_rng([seed, rank])


def random_states(generators: Mapping[str, np.random.Generator]) -> dict[str, Any]:
    import torch

    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, internal, gauss_next = random.getstate()
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": json.dumps([kind, np.asarray(keys).tolist(), position, has_gauss, gauss]),
        "python": json.dumps([version, list(internal), gauss_next]),
        "generators": {n: json.dumps(plain(g.bit_generator.state)) for n, g in generators.items()},
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(
    states: Mapping[str, Any], generators: Mapping[str, np.random.Generator], path: Path
) -> None:
    import torch

    if set(states["generators"]) != set(generators):
        raise refuse(
            "the checkpoint holds other random generators than this run uses",
            file=path,
            found=sorted(states["generators"]),
            expected=sorted(generators),
            hint="remove the checkpoint to start again.",
        )
    torch.set_rng_state(states["torch"])
    kind, keys, *rest = json.loads(states["numpy"])
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss_next = json.loads(states["python"])
    random.setstate((version, tuple(internal), gauss_next))
    for name, generator in generators.items():
        generator.bit_generator.state = json.loads(states["generators"][name])
    if "cuda" in states and torch.cuda.is_available():
        if len(states["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states["cuda"])
        else:
            torch.cuda.set_rng_state(states["cuda"][0])
