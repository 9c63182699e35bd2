"""Bundles of format 1, read as format 2: the same values under the field's names.

Only names differ. The files of a format 1 bundle stay as they are; what is written is format 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

V = TypeVar("V")

CONFIG_NAMES = {
    "segmenter": {
        "core_chance": "core_threshold",
        "min_lesion_chance": "min_lesion_peak",
        "lone_oedema": "keep_isolated_oedema",
        "speck_share": "min_et_component_share",
        "mirror": "flip_augmentation",
        "fine": "full_resolution_channels",
        "candidate_chance": "candidate_threshold",
        "least_t1c": "min_t1c_enhancement",
    }
}  # part -> name in format 1 -> name in format 2
TENSOR_NAMES = {"knots": "quantiles"}  # last part of a tensor's name


def as_format_2(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the names of format 2; what is not an entry as expected is left alone.

    A config that has a name of format 2 already keeps its old name too, so that it is refused as
    unknown, rather than one of the two values being lost.
    """
    parts = manifest.get("parts")
    if not isinstance(parts, dict):
        return {**manifest, "format": 2}
    new = {part: _entry(entry, CONFIG_NAMES.get(part, {})) for part, entry in parts.items()}
    return {**manifest, "format": 2, "parts": new}


def _entry(entry: Any, names: Mapping[str, str]) -> Any:
    if not names or not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        return entry
    config = entry["config"]
    renamed = {
        name if names.get(name, name) in config else names[name]: value
        for name, value in config.items()
    }
    return {**entry, "config": renamed}


def tensors_as_format_2(tensors: Mapping[str, V]) -> dict[str, V]:
    """Tensors by the names of format 2; those of format 2 stay as they are."""
    return {_tensor_name(name): tensor for name, tensor in tensors.items()}


def _tensor_name(name: str) -> str:
    before, dot, last = name.rpartition(".")
    return f"{before}{dot}{TENSOR_NAMES.get(last, last)}"
