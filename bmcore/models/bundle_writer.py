"""Write a bundle: part by part, then its name and date."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bmcore.models.bundles import Bundle, load_bundle
from bmcore.models.configs import NetConfig
from bmcore.models.format_1 import tensors_as_format_2
from bmcore.models.manifest import (
    KNOWN,
    MANIFEST,
    PARTS,
    draft,
    package_versions,
    read_manifest,
    refused,
    replace_file,
    write_manifest,
)


def write_part(
    folder: Path,
    part: str,
    tensors: Mapping[str, Any],
    config: NetConfig | Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Write one part and name it in the manifest; the bundle counts as unfinished afterwards.

    tensors: name to torch tensor or numpy array (an ``nn.Module``'s ``state_dict()``, or
    ``MLR.tensors()``). config: of the net, or a dict. training: data, seeds, steps;
    metrics: what was measured. Both files are replaced at once. ValueError for an unknown part.
    """
    from safetensors.numpy import save as save_arrays
    from safetensors.torch import save as save_tensors

    if part not in KNOWN:
        raise ValueError(f"part must be one of {', '.join(KNOWN)}, but is {part!r}")
    folder.mkdir(parents=True, exist_ok=True)
    if all(isinstance(value, np.ndarray) for value in tensors.values()):
        content = save_arrays({k: np.ascontiguousarray(v) for k, v in tensors.items()})
    else:
        content = save_tensors(
            {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        )
    target = folder / f"{part}.safetensors"
    replace_file(target, content)
    manifest = draft(folder)
    manifest["created"] = None
    manifest["packages"] = package_versions()
    manifest["parts"][part] = {
        "file": target.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "config": config.as_dict() if isinstance(config, NetConfig) else dict(config),
        "training": dict(training or {}),
        "metrics": dict(metrics or {}),
    }
    write_manifest(folder, manifest)
    return target


def copy_part(source: Path, folder: Path, part: str) -> Path:
    """Take one part, checked, from the bundle in ``source`` over into the bundle in ``folder``.

    The file is taken as it is, but for tensors by the names of format 1: they are named anew.
    """
    from safetensors.numpy import load, save

    bundle = load_bundle(source)
    entry, content = dict(bundle.entry(part)), bundle._content(part)
    weights = load(content)
    if tensors_as_format_2(weights).keys() != weights.keys():
        content = save(tensors_as_format_2(weights))
        entry["sha256"] = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / entry["file"]
    replace_file(target, content)
    manifest = draft(folder)
    manifest["created"] = None
    manifest["packages"] = manifest["packages"] | bundle.manifest["packages"]
    manifest["parts"][part] = entry
    write_manifest(folder, manifest)
    return target


def set_metrics(folder: Path, part: str, metrics: Mapping[str, Any]) -> None:
    """Write what was measured of a part into the manifest; hashes and digest stay as they are."""
    manifest = read_manifest(folder)
    if part not in manifest["parts"]:
        raise refused(f"the bundle has no {part}", file=folder / MANIFEST, hint="train it first.")
    manifest["parts"][part]["metrics"] = dict(metrics)
    write_manifest(folder, manifest)


def finish(
    folder: Path,
    name: str,
    version: str,
    trained_on: str,
    synthetic: bool,
    *,
    seeds: Mapping[str, int] | None = None,
    timings_s: Mapping[str, float] | None = None,
    notes: str = "",
) -> Bundle:
    """Name and date the bundle, then open it as a reader would.

    BundleRefused if a part is absent or a file does not have the hash the manifest names.
    """
    manifest = draft(folder)
    manifest.update(
        name=name,
        version=version,
        trained_on=trained_on,
        synthetic=bool(synthetic),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seeds=dict(seeds or {}),
        timings_s={k: round(float(v), 1) for k, v in (timings_s or {}).items()},
        notes=notes,
    )
    absent = [part for part in PARTS if part not in manifest["parts"]]
    if absent:
        raise refused(
            "the bundle cannot be finished without all its parts",
            file=folder,
            found=", ".join(manifest["parts"]) or "no part",
            expected=", ".join(PARTS),
            hint=f"train {', '.join(absent)} first.",
        )
    write_manifest(folder, manifest)
    return load_bundle(folder)
