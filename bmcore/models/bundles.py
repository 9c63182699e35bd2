"""Model bundles on disk: one safetensors file a part and one ``manifest.json``. Never pickle.

A bundle is checked as a whole when it is opened: every file is there and has the hash the manifest
names. A part is built when it is first asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bmcore.domain import PRIMARIES, BundleInfo, BundleRefused
from bmcore.models.bootstrap_refits import Refits
from bmcore.models.case_mix import CaseMix, from_counts
from bmcore.models.configs import NetConfig
from bmcore.models.conformal import Conformal
from bmcore.models.format_1 import tensors_as_format_2
from bmcore.models.manifest import (
    CARDS,
    MANIFEST,
    OPTIONAL,
    PARTS,
    SPREAD,
    TREES,
    UNCERTAINTY,
    foreign,
    part_problems,
    read_manifest,
    refused,
)
from bmcore.models.measurement_trees import MeasurementTrees
from bmcore.models.mlr import MLR
from bmcore.models.novelty import NoveltyModel
from bmcore.models.optional_parts import unpack_refits, unpack_uncertainty

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bmcore.models.configs import SegmenterConfig
    from bmcore.models.nets.autoencoder import Autoencoder
    from bmcore.models.nets.lesion_cnn import LesionEnsemble, LesionNet
    from bmcore.models.nets.segmenter import Segmenter

C = TypeVar("C", bound=NetConfig)
N = TypeVar("N", bound="nn.Module")
T = TypeVar("T")


def load_bundle(folder: Path) -> Bundle:
    """Open a bundle and check its manifest and every file's hash; nets are built when asked for.

    A finished bundle must have all parts; one still being built may lack some (``Bundle.has``).
    BundleRefused, with one sentence a problem, where anything is absent, changed or unknown.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    problems = [
        finding
        for part, entry in manifest["parts"].items()
        for finding in part_problems(folder, part, entry)
    ]
    if manifest["created"] is not None:
        for part in PARTS:
            if part not in manifest["parts"]:
                problems += refused(
                    f"the bundle has no {part}",
                    file=folder / MANIFEST,
                    expected=", ".join(PARTS),
                ).findings
        problems += _trees_problems(folder, manifest)
        for part in OPTIONAL:
            problems += foreign(part, folder, manifest)
    if problems:
        raise BundleRefused(*problems)
    return Bundle(folder, manifest)


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
    def segmenter(self) -> Segmenter:
        from bmcore.models.configs import SegmenterConfig
        from bmcore.models.segmenter import build_segmenter

        return self._net("segmenter", SegmenterConfig, build_segmenter)

    @cached_property
    def segmenter_config(self) -> SegmenterConfig:
        """What stands in ``segmenter.config``, without building the net."""
        from bmcore.models.configs import SegmenterConfig

        return self._config("segmenter", SegmenterConfig)

    @cached_property
    def cnn(self) -> LesionNet | LesionEnsemble:
        from bmcore.models.cnn import build_cnn
        from bmcore.models.configs import CNNConfig

        return self._net("cnn", CNNConfig, build_cnn)

    @cached_property
    def autoencoder(self) -> Autoencoder:
        from bmcore.models.autoencoder import build_autoencoder
        from bmcore.models.configs import AutoencoderConfig

        return self._net("autoencoder", AutoencoderConfig, build_autoencoder)

    @cached_property
    def trees(self) -> MeasurementTrees:
        """Boosted trees on the measurements, for the third set of image features."""
        self.entry(TREES)
        found = self._optional(TREES, lambda tensors, _: MeasurementTrees.from_tensors(tensors))
        assert found is not None  # ``entry`` refuses where it is absent
        return found

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
    def bootstrap_refits(self) -> dict[str, Refits] | None:
        """The regressions learnt from resampled patients, by kind; None where none are stored."""
        return self._optional(SPREAD, unpack_refits)

    @cached_property
    def shares(self) -> CaseMix | None:
        """How common each primary was among the patients that naming learnt from; None where the
        manifest does not say."""
        part = self.manifest["parts"].get("cnn", {})
        counts = part.get("training", {}).get("patients") if isinstance(part, dict) else None
        if not isinstance(counts, dict):
            return None
        known = {str(p): counts.get(str(p), 0) for p in PRIMARIES}
        try:
            return from_counts(known)
        except (TypeError, ValueError) as error:
            raise refused(
                "the numbers of training patients cannot be used",
                file=self.folder / MANIFEST,
                found=error,
            ) from None

    # --- building ------------------------------------------------------------------------------

    def entry(self, part: str) -> dict[str, Any]:
        """What the manifest says of a part: file, hash, config, training, metrics. BundleRefused
        where the bundle has no such part."""
        if not self.has(part):
            raise refused(
                f"the bundle has no {part}",
                file=self.folder / MANIFEST,
                found=", ".join(self.manifest["parts"]) or "no part",
                hint="finish the training, or choose a complete bundle.",
            )
        return self.manifest["parts"][part]

    def weights(self, part: str) -> dict[str, Tensor]:
        """A net's tensors by name, those of format 1 by their names in format 2, on the CPU.

        BundleRefused where the bundle has no such part or its file cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return tensors_as_format_2(load(self._content(part)))
        except SafetensorError as error:
            raise refused(
                f"the file of {part} is not safetensors",
                file=self.folder / f"{part}.safetensors",
                found=error,
            ) from None

    def _content(self, part: str) -> bytes:
        """The file's bytes, hashed once more so that what is built is what was checked."""
        entry = self.entry(part)
        path = self.folder / entry["file"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise refused(f"the file of {part} cannot be read", file=path, found=error) from None
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise refused(f"the file of {part} changed after it was opened", file=path)
        return content

    def _net(self, part: str, config_class: type[C], build: Callable[[C], N]) -> N:
        config = self._config(part, config_class)
        path = self.folder / f"{part}.safetensors"
        tensors = self.weights(part)
        net = build(config)
        wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
        _compare_shapes(part, path, {n: tuple(t.shape) for n, t in tensors.items()}, wanted)
        net.load_state_dict(tensors)
        return net.eval()

    def _mlr(self, part: str) -> MLR:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        config = self.entry(part)["config"]
        path = self.folder / f"{part}.safetensors"
        if set(config) != {"features"}:
            raise refused(
                f"the config of {part} does not have the expected keys",
                file=self.folder / MANIFEST,
                found=", ".join(sorted(config)),
                expected="features",
            )
        try:
            return MLR.from_tensors(load(self._content(part)), config["features"])
        except SafetensorError as error:
            raise refused(
                f"the file of {part} is not safetensors", file=path, found=error
            ) from None
        except ValueError as error:
            raise refused(f"the tensors of {part} do not fit", file=path, found=error) from None

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
            return unpack(load(self._content(part)), self.entry(part)["config"])
        except SafetensorError as error:
            raise refused(
                f"the file of {part} is not safetensors", file=path, found=error
            ) from None
        except ValueError as error:
            raise refused(f"the tensors of {part} do not fit", file=path, found=error) from None

    def _config(self, part: str, config_class: type[C]) -> C:
        config = self.entry(part)["config"]
        known = set(config_class.names())
        unknown = set(config) - known
        if unknown:
            raise refused(
                f"the config of {part} has unknown keys",
                file=self.folder / MANIFEST,
                found=", ".join(sorted(unknown)),
                expected=", ".join(sorted(known)),
                hint="update the program, or use a bundle made for this version.",
            )
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        try:
            return config_class.from_dict(values)
        except (TypeError, ValueError) as error:
            raise refused(
                f"the config of {part} cannot be used", file=self.folder / MANIFEST, found=error
            ) from None


def _trees_problems(folder: Path, manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """The trees are there exactly where the image features hold their scores."""
    entry = manifest["parts"].get("autoencoder")
    config = entry.get("config") if isinstance(entry, dict) else None
    if not isinstance(config, dict):
        return ()  # refused already
    wanted = config.get("feature_set") == 3
    if wanted == (TREES in manifest["parts"]):
        return ()
    return refused(
        f"the bundle has {'no trees' if wanted else 'trees'}, and its image features are "
        f"{'made with them' if wanted else 'made without them'}",
        file=folder / MANIFEST,
    ).findings


def _compare_shapes(part: str, path: Path, found: Mapping, wanted: Mapping) -> None:
    """Refuse, naming the first few tensors that are absent, unknown or of another shape."""
    wrong = [
        f"{name}: found {found.get(name, 'none')}, expected {wanted.get(name, 'none')}"
        for name in sorted(set(found) | set(wanted))
        if found.get(name) != wanted.get(name)
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise refused(
            f"the tensors of {part} do not fit its config",
            file=path,
            found="; ".join(wrong[:3]) + more,
        )
