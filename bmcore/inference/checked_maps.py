"""Maps of the CNN's evidence with their audits: made by the worker, read by the pages.

``<home>/cache/checked-maps/<case>/<which>/<lesion>-<primary>.nii.gz`` and ``.json``; ``which`` is
of the models, the images and the segmentation, so that another of them has other maps. For every
case the map of each of the ``MOST`` largest lesions for the primary that the models name is made;
an empty file ``<lesion>-<primary>.asked`` is the wish for another one. Everything here can be
deleted. A package takes copies of all of them along (``copy_all``).
"""

from __future__ import annotations

import itertools
import shutil
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bmcore import disk
from bmcore.domain import (
    PRIMARIES,
    Case,
    InputRefused,
    Prediction,
    Prepared,
    Primary,
    Volume,
)
from bmcore.geometry import Affine, voxel_sizes_mm
from bmcore.inference import audit, explain, maps
from bmcore.inference.audit import Audit
from bmcore.inference.files import folder_name, write_json
from bmcore.models.bundles import Bundle
from bmcore.plain import load_json

SHELF = "checked-maps"
MOST = 20
MADE = 2  # which way maps are made: 1 lay turned on oblique images
Place = tuple[int, Primary]  # lesion and primary


@dataclass(frozen=True, eq=False)
class CheckedMap:
    """heat: 0-1 on the grid of the images; audit: what the check of it found, None for a map that
    came with a package of an earlier version (``inference.maps``): nobody has checked it."""

    heat: Volume
    audit: Audit | None


@dataclass(frozen=True, eq=False)
class Shelf:
    """Where the maps of one prediction lie. images: ``CaseEntry.images_sha256`` of its case."""

    home: Path
    images: str
    prediction: Prediction

    @cached_property
    def folder(self) -> Path:
        mask = np.ascontiguousarray(self.prediction.mask.data)
        which = f"{MADE} {self.images} {zlib.crc32(mask.tobytes()):08x}"
        name = f"{self.prediction.bundle.digest[:16]}-{zlib.crc32(which.encode()):08x}"
        case = folder_name(self.prediction.case_id, "the case's name")
        return Path(self.home) / "cache" / SHELF / case / name

    def find(self, place: Place) -> CheckedMap | None:
        """A map that was made before, or None: also where another version made it, or it is
        damaged. InputRefused where a map that came with a package is damaged.

        Those that came without an audit lie turned on oblique images, and are not shown there."""
        return self.made(place) or self._brought(place)

    def made(self, place: Place) -> CheckedMap | None:
        """A map that was made here; a damaged one is forgotten and made again."""
        found = self._audit(place)
        if found is None:
            return None
        try:
            return CheckedMap(maps.read_map(self._path(place, "nii.gz"), self.prediction), found)
        except InputRefused:
            self._path(place, "json").unlink(missing_ok=True)
            return None

    def _brought(self, place: Place) -> CheckedMap | None:
        """A map that came with a package."""
        path = maps.map_path(self.home, self.prediction, *place)
        checked = _read_audit(audit_path(path))
        kept = maps.find_map(self.home, self.prediction, *place)
        if kept is None or (checked is None and _is_oblique(kept.affine)):
            return None
        return CheckedMap(kept, checked)

    def ask(self, place: Place) -> None:
        """Note that somebody waits for this map; the worker makes those first."""
        disk.private_folder(self.folder)
        self._path(place, "asked").touch(disk.FILE_MODE)

    def next(self, tried: Collection[Place]) -> tuple[Place, bool] | None:
        """The map to make now, and whether somebody waits for it; None where nothing is left."""
        top = self.prediction.image.top or self.prediction.fused.top
        numbers = [lesion.number for lesion in self.prediction.lesions]
        for place in itertools.product(numbers, PRIMARIES):
            if place not in tried and self._path(place, "asked").exists():
                return place, True
        for place in ((number, top) for number in numbers[:MOST] if top):
            if place not in tried and self._audit(place) is None:
                return place, False
        return None

    def keep(self, place: Place, heat: Volume, found: Audit) -> None:
        """Put a map there; its audit comes last, so what has one is whole."""
        disk.private_folder(self.folder)
        maps.write_map(self._path(place, "nii.gz"), heat)
        write_json(self._path(place, "json"), audit.as_json(found))
        self._path(place, "asked").unlink(missing_ok=True)

    def copy(self, place: Place, target: Path) -> None:
        """Copy a map that was made here to ``target``, its audit beside it."""
        disk.private_folder(target.parent)
        shutil.copyfile(self._path(place, "nii.gz"), target)
        shutil.copyfile(self._path(place, "json"), audit_path(target))

    def clear(self) -> None:
        """Remove every map of the case: it was deleted while one was made."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _audit(self, place: Place) -> Audit | None:
        if not self._path(place, "nii.gz").exists():
            return None
        return _read_audit(self._path(place, "json"))

    def _path(self, place: Place, ending: str) -> Path:
        return self.folder / f"{place[0]}-{place[1]}.{ending}"


def copy_all(shelf: Shelf, work: Path, bundle: Bundle, case: Case) -> None:
    """Put copies of the maps of every lesion for every primary, with their audits, where a home
    folder ``work`` keeps what came with a package. Those that are missing are made first, at up to
    half a minute a lesion, and stay on the shelf. InputRefused as ``explain.lesion_patches``."""
    numbers = [lesion.number for lesion in shelf.prediction.lesions]
    places = list(itertools.product(numbers, PRIMARIES))
    for place in places:
        if shelf.made(place) is None:
            shelf.ask(place)
    for _ in make(shelf, bundle, case):
        pass
    for place in places:
        shelf.copy(place, maps.map_path(work, shelf.prediction, *place))


def audit_path(map_path: Path) -> Path:
    """Where the audit of a map lies that came with a package."""
    return map_path.with_name(map_path.name.removesuffix(".nii.gz") + ".json")


def _read_audit(path: Path) -> Audit | None:
    """None where there is none, or it is damaged or of another version."""
    try:
        return audit.from_json(load_json(path))
    except (FileNotFoundError, ValueError):
        return None


def _is_oblique(affine: Affine) -> bool:
    """True where the axes of the scan are not those of the patient."""
    turned = np.abs(affine[:3, :3] / voxel_sizes_mm(affine))
    return bool((1 - turned.max(axis=0) > 1e-6).any())


def make(shelf: Shelf, bundle: Bundle, case: Case) -> Iterator[tuple[float, bool]]:
    """Make what is missing, one map at each step: yields the share that is done, and whether
    somebody waited for the map. Whoever looks may stop after any step and go on later.

    InputRefused as ``explain.lesion_patches``.
    """
    patches: dict[int, tuple[npt.NDArray[np.float32], Affine]] = {}
    tried: set[Place] = set()
    prepared: Prepared | None = None
    usual = [lesion.number for lesion in shelf.prediction.lesions[:MOST]]
    while (found := shelf.next(tried)) is not None:
        place, asked = found
        if place[0] not in patches:
            numbers = usual if place[0] in usual else [place[0]]
            cut, prepared = explain.lesion_patches(
                bundle, case, shelf.prediction, numbers, prepared
            )
            for at, number in enumerate(numbers):
                patches[number] = cut.cubes[at : at + 1], cut.affines[at]
        assert prepared is not None
        patch, affine = patches[place[0]]
        checked = audit.trusted(bundle.cnn, patch, *place)
        heat = explain.evidence(bundle.cnn, patch, place[1], checked.method)
        shelf.keep(place, explain.on_the_images(heat, affine, prepared), checked)
        tried.add(place)
        yield min(1.0, len(tried) / max(len(usual), len(tried) + 1)), asked
