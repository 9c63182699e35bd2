"""Model bundles on disk: one safetensors file a part and one ``manifest.json``. Never pickle.

manifest.json, format 1: ``name``, ``version``, ``trained_on``, ``synthetic``, ``created`` (UTC;
null while the bundle is being built), ``seeds``, ``packages``, ``timings_s``, ``notes`` and
``parts``: for each part ``file``, ``sha256``, ``config``, ``training``, ``metrics``.
The parts ``uncertainty`` (conformal scores of the three answers, novelty) and ``spread`` (the
regressions learnt again from resampled patients) may be absent.

A bundle is checked as a whole when it is opened: every file is there and has the hash the manifest
names. A part is built when it is first asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bmcore.domain import BmcoreError, BundleInfo, BundleRefused, refuse
from bmcore.models.conformal import Conformal
from bmcore.models.mlr import MLR
from bmcore.models.novelty import STATISTICS, NoveltyConfig, NoveltyModel
from bmcore.models.spread import Refits
from bmcore.plain import NotPlain, brief, load_json

if TYPE_CHECKING:
    from torch import nn

    from bmcore.models.segmenter import SegmenterConfig

T = TypeVar("T")
FORMAT = 1
MANIFEST = "manifest.json"
CARDS = ("model_card.json", "model_card.md")
PARTS = ("segmenter", "cnn", "autoencoder", "clinical_mlr", "image_mlr", "fused_mlr")
UNCERTAINTY = "uncertainty"  # a part that a bundle may lack: older ones do
SPREAD = "spread"  # likewise
OPTIONAL = (UNCERTAINTY, SPREAD)
ANSWERS = ("clinical", "image", "fused")
MEASURED = PARTS[1:]  # the parts that the optional ones describe; they fit no others
PACKAGES = ("torch", "monai", "numpy", "scikit-learn", "safetensors")
_HINT = "take a fresh copy of the bundle, or train it again with 'make demo-models'."
_MOST_IN_CONFIG, _LARGEST = 2000, 1e9
_ENTRY = {"file", "sha256", "config", "training", "metrics"}
_HEAD = {"format", "name", "version", "trained_on", "synthetic", "created", "seeds", "packages",
         "timings_s", "notes", "parts"}  # fmt: skip


def _refused(what: str, **details: Any) -> BmcoreError:
    details.setdefault("hint", _HINT)
    return refuse(what, error=BundleRefused, **details)


# --- write -------------------------------------------------------------------------------------


def write_part(
    folder: Path,
    part: str,
    tensors: Mapping[str, Any],
    config: Any,
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Write one part and name it in the manifest; the bundle counts as unfinished afterwards.

    tensors: name to torch tensor or numpy array (an ``nn.Module``'s ``state_dict()``, or
    ``MLR.tensors()``). config: the part's frozen dataclass or a dict. training: data, seeds, steps;
    metrics: what was measured. Both files are replaced at once. ValueError for an unknown part.
    """
    from safetensors.numpy import save as save_arrays
    from safetensors.torch import save as save_tensors

    if part not in (*PARTS, *OPTIONAL):
        known = ", ".join((*PARTS, *OPTIONAL))
        raise ValueError(f"part must be one of {known}, but is {part!r}")
    folder.mkdir(parents=True, exist_ok=True)
    if all(isinstance(value, np.ndarray) for value in tensors.values()):
        content = save_arrays({k: np.ascontiguousarray(v) for k, v in tensors.items()})
    else:
        content = save_tensors(
            {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        )
    target = folder / f"{part}.safetensors"
    _replace(target, content)
    manifest = _draft(folder)
    manifest["created"] = None
    manifest["packages"] = package_versions()
    manifest["parts"][part] = {
        "file": target.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "config": asdict(config) if is_dataclass(config) else dict(config),  # type: ignore[arg-type]
        "training": dict(training or {}),
        "metrics": dict(metrics or {}),
    }
    _write_manifest(folder, manifest)
    return target


def copy_part(source: Path, folder: Path, part: str) -> Path:
    """Take one part, checked, from the bundle in ``source`` over into the bundle in ``folder``."""
    bundle = load_bundle(source)
    entry = bundle._entry(part)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / entry["file"]
    _replace(target, bundle._content(part))
    manifest = _draft(folder)
    manifest["created"] = None
    manifest["packages"] = manifest["packages"] | bundle.manifest["packages"]
    manifest["parts"][part] = entry
    _write_manifest(folder, manifest)
    return target


def set_metrics(folder: Path, part: str, metrics: Mapping[str, Any]) -> None:
    """Write what was measured of a part into the manifest; hashes and digest stay as they are."""
    manifest = _read_manifest(folder)
    if part not in manifest["parts"]:
        raise _refused(f"the bundle has no {part}", file=folder / MANIFEST, hint="train it first.")
    manifest["parts"][part]["metrics"] = dict(metrics)
    _write_manifest(folder, manifest)


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
    manifest = _draft(folder)
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
        raise _refused(
            "the bundle cannot be finished without all its parts",
            file=folder,
            found=", ".join(manifest["parts"]) or "no part",
            expected=", ".join(PARTS),
            hint=f"train {', '.join(absent)} first.",
        )
    _write_manifest(folder, manifest)
    return load_bundle(folder)


def package_versions() -> dict[str, str]:
    """Versions of the packages that the nets depend on."""
    return {name: metadata.version(name) for name in PACKAGES}


def _draft(folder: Path) -> dict[str, Any]:
    if (folder / MANIFEST).exists():
        return _read_manifest(folder)
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


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=_plain) + "\n"
    _replace(folder / MANIFEST, text.encode())


def _replace(target: Path, content: bytes) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


# --- read --------------------------------------------------------------------------------------


def load_bundle(folder: Path) -> Bundle:
    """Open a bundle and check its manifest and every file's hash; nets are built when asked for.

    A finished bundle must have all parts; one still being built may lack some (``Bundle.has``).
    BundleRefused, with one sentence a problem, where anything is absent, changed or unknown.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    problems = [
        finding
        for part, entry in manifest["parts"].items()
        for finding in _part_problems(folder, part, entry)
    ]
    if manifest["created"] is not None:
        for part in PARTS:
            if part not in manifest["parts"]:
                problems += _refused(
                    f"the bundle has no {part}",
                    file=folder / MANIFEST,
                    expected=", ".join(PARTS),
                ).findings
        for part in OPTIONAL:
            problems += _foreign(part, folder, manifest)
    if problems:
        raise BundleRefused(*problems)
    return Bundle(folder, manifest)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = load_json(path, finite=False)
    except FileNotFoundError:
        raise _refused("there is no model bundle", file=folder, expected=MANIFEST) from None
    except (NotPlain, OSError) as error:
        raise _refused("the manifest is not JSON", file=path, found=error) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = brief(manifest.get("format") if isinstance(manifest, dict) else type(manifest))
        raise _refused(
            "the bundle has an unknown format",
            file=path,
            found=found,
            expected=FORMAT,
            hint="update the program, or use a bundle made for this version.",
        )
    texts = ("name", "version", "trained_on")
    fits = set(manifest) == _HEAD and isinstance(manifest["parts"], dict)
    if not fits or not all(isinstance(manifest[key], str) for key in texts):
        raise _refused(
            "the manifest does not have the expected keys",
            file=path,
            found=", ".join(sorted(manifest))[:400],
            expected=", ".join(sorted(_HEAD)),
        )
    return manifest


def _part_problems(folder: Path, part: str, entry: Any) -> tuple[Any, ...]:
    manifest = folder / MANIFEST
    if part not in (*PARTS, *OPTIONAL):
        known = ", ".join((*PARTS, *OPTIONAL))
        return _refused(
            "unknown part in the bundle", file=manifest, found=part[:80], expected=known
        ).findings
    if not isinstance(entry, dict) or set(entry) != _ENTRY or not _is_config(entry["config"]):
        return _refused(
            f"the manifest's entry for {part} does not have the expected keys",
            file=manifest,
            expected=", ".join(sorted(_ENTRY)),
        ).findings
    path = folder / f"{part}.safetensors"
    if entry["file"] != path.name:
        return _refused(
            f"the file named for {part} is not allowed",
            file=manifest,
            found=brief(entry["file"]),
            expected=path.name,
        ).findings
    if not path.is_file():
        return _refused(f"the file of {part} is not there", file=path).findings
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != entry["sha256"]:
        return _refused(
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


def pack_spread(refits: Mapping[str, Refits]) -> dict[str, np.ndarray]:
    """Tensors of the part ``spread``."""
    return {f"{kind}.{n}": t for kind, some in refits.items() for n, t in some.tensors().items()}


def unpack_spread(
    tensors: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> dict[str, Refits]:
    """The inverse of ``pack_spread``. ValueError where names, shapes or numbers do not fit."""
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


def belongs_to(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The hashes of the parts that an optional part fitted now describes: part -> sha256."""
    return {p: manifest["parts"][p]["sha256"] for p in MEASURED if p in manifest["parts"]}


def _foreign(part: str, folder: Path, manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """Refuse an optional part that was fitted to other models than the bundle's."""
    entry = manifest["parts"].get(part)
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        return ()  # absent, or refused already
    described, here = entry["config"].get("belongs_to"), belongs_to(manifest)
    if described == here:
        return ()
    other = [p for p in here if not isinstance(described, dict) or described.get(p) != here[p]]
    return _refused(
        f"the {part} belongs to other models than those in the bundle",
        file=folder / MANIFEST,
        found=f"another {', '.join(other)}",
        hint=f"run training.{part} again after the models have been trained.",
    ).findings


class Bundle:
    """A checked bundle. Parts are built on first use and kept; nets are in evaluation mode."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest

    @cached_property
    def info(self) -> BundleInfo:
        """What screens and reports say. ``digest``: sha256 over the names and hashes of parts."""
        m = self.manifest
        lines = [f"{part} {m['parts'][part]['sha256']}\n" for part in sorted(m["parts"])]
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()
        return BundleInfo(m["name"], m["version"], m["trained_on"], m["synthetic"], digest)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that belong to the bundle; others in its folder do not."""
        parts = (str(entry["file"]) for entry in self.manifest["parts"].values())
        named = {MANIFEST, *CARDS, *parts}
        return tuple(sorted(name for name in named if (self.folder / name).is_file()))

    def has(self, part: str) -> bool:
        return part in self.manifest["parts"]

    @cached_property
    def segmenter(self) -> nn.Module:
        from bmcore.models.segmenter import SegmenterConfig, build_segmenter

        return self._net("segmenter", SegmenterConfig, build_segmenter)

    @cached_property
    def segmenter_config(self) -> SegmenterConfig:
        """What ``segmenter.segment`` needs beside the net."""
        from bmcore.models.segmenter import SegmenterConfig

        return self._config("segmenter", SegmenterConfig)

    @cached_property
    def cnn(self) -> Any:
        from bmcore.models.cnn import CNNConfig, build_cnn

        return self._net("cnn", CNNConfig, build_cnn)

    @cached_property
    def autoencoder(self) -> Any:
        from bmcore.models.autoencoder import AutoencoderConfig, build_autoencoder

        return self._net("autoencoder", AutoencoderConfig, build_autoencoder)

    @cached_property
    def clinical_mlr(self) -> MLR:
        """On the clinical vector alone."""
        return self._mlr("clinical_mlr")

    @cached_property
    def image_mlr(self) -> MLR:
        """On the image code alone."""
        return self._mlr("image_mlr")

    @cached_property
    def fused_mlr(self) -> MLR:
        """On the clinical vector followed by the image code."""
        return self._mlr("fused_mlr")

    @cached_property
    def conformal(self) -> dict[str, Conformal] | None:
        """The prediction sets of each answer, by its kind; None where none are stored."""
        return None if self._uncertainty is None else self._uncertainty[0]

    @cached_property
    def novelty(self) -> NoveltyModel | None:
        """What tells how unlike the training cases a case is; None where it is not stored."""
        return None if self._uncertainty is None else self._uncertainty[1]

    @cached_property
    def spread(self) -> dict[str, Refits] | None:
        """The regressions learnt from resampled patients, by kind; None where none are stored."""
        return self._optional(SPREAD, unpack_spread)

    # --- building ------------------------------------------------------------------------------

    def _entry(self, part: str) -> dict[str, Any]:
        if not self.has(part):
            raise _refused(
                f"the bundle has no {part}",
                file=self.folder / MANIFEST,
                found=", ".join(self.manifest["parts"]) or "no part",
                hint="finish the training, or choose a complete bundle.",
            )
        return self.manifest["parts"][part]

    def _content(self, part: str) -> bytes:
        """The file's bytes, hashed once more so that what is built is what was checked."""
        entry = self._entry(part)
        path = self.folder / entry["file"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _refused(f"the file of {part} cannot be read", file=path, found=error) from None
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise _refused(f"the file of {part} changed after it was opened", file=path)
        return content

    def _net(self, part: str, config_class: type, build: Any) -> Any:
        from safetensors import SafetensorError
        from safetensors.torch import load

        config = self._config(part, config_class)
        path = self.folder / f"{part}.safetensors"
        try:
            tensors = load(self._content(part))
        except SafetensorError as error:
            raise _refused(
                f"the file of {part} is not safetensors", file=path, found=error
            ) from None
        net = build(config)
        wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
        _compare_shapes(part, path, {n: tuple(t.shape) for n, t in tensors.items()}, wanted)
        net.load_state_dict(tensors)
        return net.eval()

    def _mlr(self, part: str) -> MLR:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        config = self._entry(part)["config"]
        path = self.folder / f"{part}.safetensors"
        if set(config) != {"features"}:
            raise _refused(
                f"the config of {part} does not have the expected keys",
                file=self.folder / MANIFEST,
                found=", ".join(sorted(config)),
                expected="features",
            )
        try:
            return MLR.from_tensors(load(self._content(part)), config["features"])
        except SafetensorError as error:
            raise _refused(
                f"the file of {part} is not safetensors", file=path, found=error
            ) from None
        except ValueError as error:
            raise _refused(f"the tensors of {part} do not fit", file=path, found=error) from None

    @cached_property
    def _uncertainty(self) -> tuple[dict[str, Conformal], NoveltyModel] | None:
        return self._optional(UNCERTAINTY, unpack_uncertainty)

    def _optional(self, part: str, unpack: Callable[[Any, Mapping[str, Any]], T]) -> T | None:
        """``unpack(tensors, config)`` of a part that may be absent; None where it is."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        if not self.has(part):
            return None
        path = self.folder / f"{part}.safetensors"
        try:
            return unpack(load(self._content(part)), self._entry(part)["config"])
        except SafetensorError as error:
            raise _refused(
                f"the file of {part} is not safetensors", file=path, found=error
            ) from None
        except ValueError as error:
            raise _refused(f"the tensors of {part} do not fit", file=path, found=error) from None

    def _config(self, part: str, config_class: type) -> Any:
        config = self._entry(part)["config"]
        known = {f.name for f in fields(config_class)}
        unknown = set(config) - known
        if unknown:
            raise _refused(
                f"the config of {part} has unknown keys",
                file=self.folder / MANIFEST,
                found=", ".join(sorted(unknown)),
                expected=", ".join(sorted(known)),
                hint="update the program, or use a bundle made for this version.",
            )
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        try:
            return config_class(**values)
        except (TypeError, ValueError) as error:
            raise _refused(
                f"the config of {part} cannot be used", file=self.folder / MANIFEST, found=error
            ) from None


def _compare_shapes(part: str, path: Path, found: Mapping, wanted: Mapping) -> None:
    """Refuse, naming the first few tensors that are absent, unknown or of another shape."""
    wrong = [
        f"{name}: found {found.get(name, 'none')}, expected {wanted.get(name, 'none')}"
        for name in sorted(set(found) | set(wanted))
        if found.get(name) != wanted.get(name)
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise _refused(
            f"the tensors of {part} do not fit its config",
            file=path,
            found="; ".join(wrong[:3]) + more,
        )
