"""Heads with lesions kept on disk without their intensities, to be painted anew for every patch.

A scene costs seconds to draw and milliseconds to paint, so a net that learns from freshly painted
patches never sees the same contrast twice (domain randomisation, the idea of SynthSeg, Billot et
al., Medical Image Analysis 2023, 86:102789). One head carries several sets of lesions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import PRIMARIES, SEQUENCES, Label
from bmcore.phantom.batch import Boxes, Looks, paint_boxes, send
from bmcore.phantom.lesions import Growth, Kind, add_distractors, draw_kinds, draw_lesions
from bmcore.phantom.style import PRIORS, WILD, Style
from bmcore.phantom.tissue import Tissue, draw_map, draw_tissue

if TYPE_CHECKING:
    import torch

THIN = 5  # every fifth voxel gives the median and spread of a scan
Stack = Any  # npt.NDArray[np.uint8], perhaps mapped from disk, or torch.Tensor
Weigh = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
MARGIN = 6  # voxels painted around a patch, so that blur and slices see what lies there
_TISSUE = ("white", "csf", "vessel", "dura", "choroid", "mask")
_LESION = ("labels", "owner", "other")
_FRACTION = {"white", "csf", "vessel", "dura", "choroid", "other"}


@dataclass(frozen=True, eq=False)
class Scene:
    """One head with one set of lesions.

    tissue (6, i, j, k) and lesion (4, i, j, k), uint8, numpy or torch: fractions times 255, labels,
    owners, loss weights times 20. thin: the same, every fifth voxel. spots, cores, decoys: voxels
    (n, 3) in lesions, in necrosis, and in enhancing tissue that is no lesion. origin: voxel of GRID
    that is voxel 0 here.
    """

    name: str
    tissue: Stack
    lesion: Stack
    thin: npt.NDArray[np.uint8]
    spots: npt.NDArray[np.int16]
    cores: npt.NDArray[np.int16]
    decoys: npt.NDArray[np.int16]
    kinds: list[Kind]
    origin: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.tissue.shape[1:]  # type: ignore[return-value]


def write_head(folder: Path, seed: int, sets: int, weigh: Weigh, style: Style = WILD) -> None:
    """Draw the head of ``seed`` with ``sets`` sets of lesions and write it to ``folder``.

    weigh: labels (i, j, k) -> loss weights (i, j, k), kept with the scene. The file ``whole`` comes
    last: its presence says that the head is complete.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 20240917]))
    folder.mkdir(parents=True, exist_ok=True)
    tissue = draw_tissue(rng, draw_map(rng), bool(rng.uniform() < style.residue_share))
    box = _bounds(tissue.mask)
    stack = np.stack([_packed(name, getattr(tissue, name)[box]) for name in _TISSUE])
    np.save(folder / "tissue.npy", stack)
    np.save(folder / "decoys.npy", _decoys(rng, tissue, box))
    for number in range(sets):
        growth = _grow(rng, tissue, style)
        weights = np.rint(np.clip(weigh(growth.labels[box]), 0, 12) * 20)
        rows = [_packed(name, getattr(growth, name)[box]) for name in _LESION]
        lesion = np.stack([*rows, weights.astype(np.uint8)])
        every = (slice(None), *(slice(None, None, THIN),) * 3)
        np.save(folder / f"lesion-{number}.npy", lesion)
        np.save(folder / f"thin-{number}.npy", np.concatenate([stack[every], lesion[:3][every]]))
        np.save(folder / f"spots-{number}.npy", _spots(rng, lesion[0]))
        cores = rng.permutation(np.argwhere(lesion[0] == Label.NETC))[:64]
        np.save(folder / f"cores-{number}.npy", cores.astype(np.int16))
        (folder / f"kinds-{number}.json").write_text(json.dumps([asdict(k) for k in growth.kinds]))
    (folder / "whole").write_text(json.dumps({"sets": sets, "origin": [b.start for b in box]}))


def read_head(folder: Path) -> list[Scene]:
    """The scenes of a head; arrays are read from disk as they are used."""
    about = json.loads((folder / "whole").read_text())
    tissue = np.load(folder / "tissue.npy", mmap_mode="r")
    decoys = np.load(folder / "decoys.npy")
    scenes = []
    for number in range(about["sets"]):
        kinds = json.loads((folder / f"kinds-{number}.json").read_text())
        scenes.append(
            Scene(
                name=f"{folder.name}/{number}",
                tissue=tissue,
                lesion=np.load(folder / f"lesion-{number}.npy", mmap_mode="r"),
                thin=np.load(folder / f"thin-{number}.npy"),
                spots=np.load(folder / f"spots-{number}.npy"),
                cores=np.load(folder / f"cores-{number}.npy"),
                decoys=decoys,
                kinds=[Kind(**k) for k in kinds],
                origin=tuple(about["origin"]),
            )
        )
    return scenes


def _grow(rng: np.random.Generator, tissue: Tissue, style: Style) -> Growth:
    prior = PRIORS[PRIMARIES[int(rng.integers(len(PRIMARIES)))]]
    kinds = draw_kinds(rng, prior, even=bool(rng.uniform() < style.even_size_share))
    bare = rng.uniform() < style.no_lesion_share
    growth = Growth() if bare else draw_lesions(rng, tissue, prior, kinds)
    if rng.uniform() < style.distractor_share:
        add_distractors(rng, tissue, growth)
    growth.labels[~tissue.mask] = 0
    return growth


def _packed(name: str, values: npt.NDArray) -> npt.NDArray[np.uint8]:
    if name in _FRACTION:
        return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return values.astype(np.uint8)


def _bounds(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    return ndimage.find_objects(mask.astype(np.uint8))[0]  # type: ignore[return-value]


def _spots(rng: np.random.Generator, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """Up to 8 voxels of each lesion, so that a small lesion is met as often as a large one."""
    parts, n = ndimage.label(np.isin(labels, (Label.NETC, Label.ET)), np.ones((3, 3, 3)))
    where = np.argwhere(parts > 0)
    owner = parts[tuple(where.T)]
    chosen = [rng.permutation(where[owner == i + 1])[:8] for i in range(n)]
    return np.concatenate(chosen or [np.zeros((0, 3))]).astype(np.int16)


def _decoys(
    rng: np.random.Generator, tissue: Tissue, box: tuple[slice, slice, slice]
) -> npt.NDArray[np.int16]:
    out = []
    for part in (tissue.vessel, tissue.choroid, tissue.dura):
        out.append(rng.permutation(np.argwhere(part[box] > 0.5))[:40])
    return np.concatenate(out).astype(np.int16)


def settle(scenes: Sequence[Scene], device: str) -> list[Scene]:
    """The scenes of one head with their large arrays on a torch device, read once."""
    import torch

    tissue = torch.from_numpy(np.array(scenes[0].tissue)).to(device)
    return [
        replace(s, tissue=tissue, lesion=torch.from_numpy(np.array(s.lesion)).to(device))
        for s in scenes
    ]


def _cut(data: Stack, low: npt.NDArray[np.int_], size: int) -> torch.Tensor:
    """The cube of ``size`` voxels from ``low`` (may be negative), zeros past the edge."""
    import torch

    first = np.maximum(low, 0)
    last = np.minimum(low + size, data.shape[1:])
    device = data.device if isinstance(data, torch.Tensor) else "cpu"
    out = torch.zeros((len(data), size, size, size), dtype=torch.uint8, device=device)
    if (last > first).all():
        inner = tuple(slice(int(a), int(b)) for a, b in zip(first - low, last - low, strict=True))
        outer = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        part = data[(slice(None), *outer)]
        if not isinstance(part, torch.Tensor):
            part = torch.from_numpy(np.array(part))
        out[(slice(None), *inner)] = part
    return out


@dataclass(frozen=True, eq=False)
class Patches:
    """b patches with edge e, on the device of their scenes.

    images: (b, 4, e, e, e), float32, standardised, 0 outside the head and where a sequence is not
    wanted. labels: (b, e, e, e), uint8. parts: of the same shape, uint8, the number of the lesion
    that a voxel of tumour core belongs to, else 0. weights: of the loss, float32.
    """

    images: torch.Tensor
    labels: torch.Tensor
    parts: torch.Tensor
    weights: torch.Tensor


def paint_patches(
    scenes: Sequence[Scene],
    centres: npt.NDArray[np.int_],
    edge: int,
    looks: Looks,
    sequences: npt.NDArray[np.int64],
    seed: int,
) -> Patches:
    """A patch around a voxel of each scene.

    centres: (b, 3). Scan n of ``looks`` is of the sequence ``sequences[n]`` (index of SEQUENCES)
    and painted on patch ``looks.box[n]``; sequences without a scan stay 0. seed: of all that is
    random beyond the looks. The standardisation is that of ``imaging.standardise`` but for its
    clipping, with median and spread taken from every fifth voxel of the head, painted in the same
    look.
    """
    import torch

    low = np.asarray(centres) - edge // 2 - MARGIN
    wide = edge + 2 * MARGIN
    tissue = torch.stack([_cut(s.tissue, at, wide) for s, at in zip(scenes, low, strict=True)])
    lesion = torch.stack([_cut(s.lesion, at, wide) for s, at in zip(scenes, low, strict=True)])
    device = tissue.device
    generator = torch.Generator(device).manual_seed(seed)
    origins = np.array([s.origin for s in scenes])
    boxes = Boxes(tissue, lesion[:, :3], low + origins)
    middle, spread = _scales(looks, _thin_boxes(scenes, device), generator)
    scans = paint_boxes(looks, boxes, generator)
    inner = (slice(MARGIN, MARGIN + edge),) * 3
    scans = (scans[(slice(None), *inner)] - middle) / spread
    cut = (slice(None), slice(None), *inner)
    tissue, lesion = tissue[cut], lesion[cut]
    box = send(looks.box, device)
    images = torch.zeros((len(scenes), len(SEQUENCES), edge, edge, edge), device=device)
    images[box, send(sequences, device)] = scans * (tissue[box, 5] > 0)
    labels, owner, _, weights = lesion.unbind(1)
    core = (labels == Label.NETC) | (labels == Label.ET)
    weights = weights.float() / 20
    weights = torch.where(weights == 0, 1.0, weights)  # past the edge of the head's box
    return Patches(images, labels, torch.where(core, owner, 0), weights)


def _thin_boxes(scenes: Sequence[Scene], device: torch.device) -> Boxes:
    """Every fifth voxel of each head, in boxes as large as the largest head."""
    size = np.max([s.thin.shape[1:] for s in scenes], axis=0)
    stack = np.zeros((len(scenes), len(_TISSUE) + 3, *size), np.uint8)
    for row, scene in zip(stack, scenes, strict=True):
        row[(slice(None), *(slice(0, n) for n in scene.thin.shape[1:]))] = scene.thin
    thin = send(stack, device)
    return Boxes(thin[:, :6], thin[:, 6:], np.array([s.origin for s in scenes]), THIN)


def _scales(
    looks: Looks, thin: Boxes, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Median and spread (interquartile range / 1.349) of each scan in its head, (n, 1, 1, 1)."""
    import torch

    image = paint_boxes(looks, thin, generator)
    mask = thin.tissue[send(looks.box, image.device), 5] > 0
    ordered = torch.where(mask, image, torch.inf).flatten(1).sort(dim=1).values
    quarters = send(np.array((0.25, 0.5, 0.75), np.float32), image.device)
    at = quarters * (mask.flatten(1).sum(1, True) - 1)
    under = at.floor().long()
    lower = ordered.gather(1, under)
    upper = ordered.gather(1, (under + 1).clamp(max=ordered.shape[1] - 1))
    first, middle, third = (lower + (at - under) * (upper - lower)).T
    spread = ((third - first) / 1.349).clamp(min=1e-6)
    return middle[:, None, None, None], spread[:, None, None, None]
