"""The parts that a bundle may lack, as tensors and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from bmcore.imaging.image_statistics import STATISTICS
from bmcore.models.bootstrap_refits import Refits
from bmcore.models.conformal import Conformal
from bmcore.models.manifest import ANSWERS
from bmcore.models.novelty import NoveltyConfig, NoveltyModel


def pack_uncertainty(
    conformal: Mapping[str, Conformal], novelty: NoveltyModel
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and config of the part ``uncertainty``; ``belongs_to`` is for the caller to add."""
    groups = {**{kind: fitted.tensors() for kind, fitted in conformal.items()},
              "novelty": novelty.tensors()}  # fmt: skip
    tensors = {f"{group}.{name}": t for group, some in groups.items() for name, t in some.items()}
    return tensors, {"novelty": asdict(novelty.config), "statistics": list(STATISTICS)}


def unpack_uncertainty(
    tensors: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> tuple[dict[str, Conformal], NoveltyModel]:
    """The inverse of ``pack_uncertainty``. ValueError where names, shapes or numbers do not fit."""
    groups = _groups(tensors)
    if set(groups) != {*ANSWERS, "novelty"}:
        raise ValueError(f"tensors of {', '.join(sorted(groups))}")
    if config.get("statistics") != list(STATISTICS):
        raise ValueError("the image statistics are of another version of the program")
    try:
        how = NoveltyConfig(**config["novelty"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"the config of novelty cannot be used: {error}") from None
    return (
        {kind: Conformal.from_tensors(groups[kind]) for kind in ANSWERS},
        NoveltyModel.from_tensors(groups["novelty"], how),
    )


def pack_refits(refits: Mapping[str, Refits]) -> dict[str, np.ndarray]:
    """Tensors of the part ``spread``."""
    return {f"{kind}.{n}": t for kind, some in refits.items() for n, t in some.tensors().items()}


def unpack_refits(
    tensors: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> dict[str, Refits]:
    """The inverse of ``pack_refits``. ValueError where names, shapes or numbers do not fit."""
    groups = _groups(tensors)
    if set(groups) != set(ANSWERS):
        raise ValueError(f"tensors of {', '.join(sorted(groups))}")
    return {kind: Refits.from_tensors(groups[kind]) for kind in ANSWERS}


def _groups(tensors: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        group, _, inner = name.partition(".")
        groups.setdefault(group, {})[inner] = tensor
    return groups
