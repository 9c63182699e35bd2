"""Files of a run: written at once or not at all; JSON, hashes, versions."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse

if TYPE_CHECKING:
    import torch


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; renamed to ``path`` only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """Turn numpy numbers, arrays, paths and dataclasses into what JSON knows; NaN becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) at once or not at all."""
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON at once or not at all. numpy numbers and dataclasses are fine; NaN is null."""
    write_text(path, json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of ours; a clear refusal where it is absent or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise refuse("the file is not there", file=path, hint="run the step before.") from None
    except json.JSONDecodeError as error:
        raise refuse("the file is not JSON", file=path, found=error) from None


def update_metrics(out: Path, stage: str, content: Any) -> None:
    """Set ``stage`` in OUT/metrics.json and leave what other steps wrote there."""
    path = out / "metrics.json"
    known = read_json(path) if path.exists() else {}
    write_json(path, known | {stage: content})


def tensors_hash(tensors: Mapping[str, torch.Tensor] | Mapping[str, npt.NDArray]) -> str:
    """sha256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value: Any = tensors[name]
        if not isinstance(value, np.ndarray):
            import torch

            value = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name}|{tensors[name].dtype}|{tuple(tensors[name].shape)}|".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def fingerprint(*parts: Any) -> str:
    """sha256 of the JSON of ``parts``: the same options give the same text."""
    text = json.dumps(plain(list(parts)), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Versions that a manifest names, those that are installed."""
    names = ("torch", "monai", "numpy", "scipy", "scikit-learn", "safetensors", "nibabel")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
