"""The manifest of a bundle: read, checked, written.

manifest.json, format 2: ``name``, ``version``, ``trained_on``, ``synthetic``, ``created`` (UTC;
null while the bundle is being built), ``seeds``, ``packages``, ``timings_s``, ``notes`` and
``parts``: for each part ``file``, ``sha256``, ``config``, ``training``, ``metrics``.
The part ``trees`` (boosted trees on the measurements) is there where the autoencoder reads the
third set of image features. The parts ``uncertainty`` (conformal scores of the three answers,
novelty) and ``spread`` (the regressions learnt again from resampled patients) may be absent.
Bundles of format 1 had other names for some values (``models.format_1``); they are read as format
2.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bmcore.domain import BmcoreError, BundleRefused, refuse
from bmcore.models.format_1 import as_format_2
from bmcore.plain import NotPlain, brief, load_json

FORMAT = 2
MANIFEST = "manifest.json"
CARDS = ("model_card.json", "model_card.md")
PARTS = ("segmenter", "cnn", "autoencoder", "clinical_mlr", "image_mlr", "fused_mlr")
TREES = "trees"  # belongs to the third set of image features; older bundles have none
UNCERTAINTY = "uncertainty"  # a part that a bundle may lack: older ones do
SPREAD = "spread"  # likewise
OPTIONAL = (UNCERTAINTY, SPREAD)
_FITTED_BY = {UNCERTAINTY: "uncertainty", SPREAD: "bootstrap_refits"}  # the training command
ANSWERS = ("clinical", "image", "fused")
KNOWN = (*PARTS, TREES, *OPTIONAL)
NAMING = ("cnn", TREES, *PARTS[2:], *OPTIONAL)  # all but the segmenter
MEASURED = (*PARTS[1:], TREES)  # the parts that the optional ones describe; they fit no others
PACKAGES = ("torch", "monai", "numpy", "scikit-learn", "safetensors")
_HINT = "take a fresh copy of the bundle, or train it again with 'make demo-models'."
_MOST_IN_CONFIG, _LARGEST = 2000, 1e9
_ENTRY = {"file", "sha256", "config", "training", "metrics"}
_HEAD = {"format", "name", "version", "trained_on", "synthetic", "created", "seeds", "packages",
         "timings_s", "notes", "parts"}  # fmt: skip


def refused(what: str, **details: Any) -> BmcoreError:
    details.setdefault("hint", _HINT)
    return refuse(what, error=BundleRefused, **details)


def package_versions() -> dict[str, str]:
    """Versions of the packages that the nets depend on."""
    return {name: metadata.version(name) for name in PACKAGES}


def draft(folder: Path) -> dict[str, Any]:
    if (folder / MANIFEST).exists():
        return read_manifest(folder)
    return {
        "format": FORMAT,
        "name": "unfinished",
        "version": "0",
        "trained_on": "",
        "synthetic": True,
        "created": None,
        "seeds": {},
        "packages": {},
        "timings_s": {},
        "notes": "",
        "parts": {},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written to a manifest")


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=_plain) + "\n"
    replace_file(folder / MANIFEST, text.encode())


def replace_file(target: Path, content: bytes) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = load_json(path, finite=False)
    except FileNotFoundError:
        raise refused("there is no model bundle", file=folder, expected=MANIFEST) from None
    except (NotPlain, OSError) as error:
        raise refused("the manifest is not JSON", file=path, found=error) from None
    if isinstance(manifest, dict) and manifest.get("format") == 1:
        manifest = as_format_2(manifest)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = brief(manifest.get("format") if isinstance(manifest, dict) else type(manifest))
        raise refused(
            "the bundle has an unknown format",
            file=path,
            found=found,
            expected=f"1 or {FORMAT}",
            hint="update the program, or use a bundle made for this version.",
        )
    texts = ("name", "version", "trained_on")
    fits = set(manifest) == _HEAD and isinstance(manifest["parts"], dict)
    if not fits or not all(isinstance(manifest[key], str) for key in texts):
        raise refused(
            "the manifest does not have the expected keys",
            file=path,
            found=", ".join(sorted(manifest))[:400],
            expected=", ".join(sorted(_HEAD)),
        )
    return manifest


def part_problems(folder: Path, part: str, entry: Any) -> tuple[Any, ...]:
    manifest = folder / MANIFEST
    if part not in KNOWN:
        return refused(
            "unknown part in the bundle", file=manifest, found=part[:80], expected=", ".join(KNOWN)
        ).findings
    if not isinstance(entry, dict) or set(entry) != _ENTRY or not _is_config(entry["config"]):
        return refused(
            f"the manifest's entry for {part} does not have the expected keys",
            file=manifest,
            expected=", ".join(sorted(_ENTRY)),
        ).findings
    path = folder / f"{part}.safetensors"
    if entry["file"] != path.name:
        return refused(
            f"the file named for {part} is not allowed",
            file=manifest,
            found=brief(entry["file"]),
            expected=path.name,
        ).findings
    if not path.is_file():
        return refused(f"the file of {part} is not there", file=path).findings
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != entry["sha256"]:
        return refused(
            f"the file of {part} has been changed or damaged",
            file=path,
            found=f"sha256 {found[:12]}…",
            expected=f"sha256 {brief(entry['sha256'])[1:13]}…",
        ).findings
    return ()


def _is_config(config: Any) -> bool:
    """True for keys and values of a size that a net can have: it is built before it is filled."""
    if not isinstance(config, dict):
        return False
    listed = [x for v in config.values() for x in (v if isinstance(v, list) else [v])]
    numbers = [x for x in listed if isinstance(x, int | float)]
    return len(listed) <= _MOST_IN_CONFIG and all(abs(x) <= _LARGEST for x in numbers)


def belongs_to(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The hashes of the parts that an optional part fitted now describes: part -> sha256."""
    return {p: manifest["parts"][p]["sha256"] for p in MEASURED if p in manifest["parts"]}


def foreign(part: str, folder: Path, manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """Refuse an optional part that was fitted to other models than the bundle's."""
    entry = manifest["parts"].get(part)
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        return ()  # absent, or refused already
    described, here = entry["config"].get("belongs_to"), belongs_to(manifest)
    if described == here:
        return ()
    other = [p for p in here if not isinstance(described, dict) or described.get(p) != here[p]]
    return refused(
        f"the {part} belongs to other models than those in the bundle",
        file=folder / MANIFEST,
        found=f"another {', '.join(other)}",
        hint=f"run training.{_FITTED_BY[part]} again after the models have been trained.",
    ).findings
