"""Heads with lesions kept on disk without their intensities, to be painted anew for every patch.

A scene costs seconds to draw and milliseconds to paint, so a net that learns from freshly painted
patches never sees the same contrast twice (domain randomisation, the idea of SynthSeg, Billot et
al., Medical Image Analysis 2023, 86:102789). One head carries several sets of lesions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import PRIMARIES, SEQUENCES, Label
from bmcore.phantom.appearance import Look, draw_looks
from bmcore.phantom.lesions import Growth, Kind, add_distractors, draw_kinds, draw_lesions
from bmcore.phantom.paint import Parts, paint
from bmcore.phantom.style import PRIORS, WILD, Style
from bmcore.phantom.tissue import Floats, Tissue, draw_map, draw_tissue

THIN = 5  # every fifth voxel gives the median and spread of a scan
Weigh = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
MARGIN = 6  # voxels painted around a patch, so that blur and slices see what lies there
_TISSUE = ("white", "csf", "vessel", "dura", "choroid", "mask")
_LESION = ("labels", "owner", "other")
_FRACTION = {"white", "csf", "vessel", "dura", "choroid", "other"}


@dataclass(frozen=True, eq=False)
class Scene:
    """One head with one set of lesions.

    tissue (6, i, j, k) and lesion (4, i, j, k), uint8: fractions times 255, labels, owners, loss
    weights times 20. thin: the same, every fifth voxel. spots, cores, decoys: voxels (n, 3) in
    lesions, in necrosis, and in enhancing tissue that is no lesion. origin: voxel of GRID that is
    voxel 0 here.
    """

    name: str
    tissue: npt.NDArray[np.uint8]
    lesion: npt.NDArray[np.uint8]
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


def _parts(arrays: npt.NDArray[np.uint8], start: tuple[int, int, int], step: int = 1) -> Parts:
    """Parts from the stacked channels of tissue and lesion."""
    names = (*_TISSUE, *_LESION)
    values: dict[str, npt.NDArray] = {}
    for name, data in zip(names, arrays, strict=True):
        if name in _FRACTION:
            values[name] = data * np.float32(1 / 255)
        else:
            values[name] = data > 0 if name == "mask" else data
    return Parts(**values, start=start, step=step)


def _cut(
    data: npt.NDArray[np.uint8], low: npt.NDArray[np.int_], size: int
) -> npt.NDArray[np.uint8]:
    """The cube of ``size`` voxels from ``low`` (may be negative), zeros past the edge."""
    first = np.maximum(low, 0)
    last = np.minimum(low + size, data.shape[1:])
    out = np.zeros((len(data), size, size, size), np.uint8)
    if (last > first).all():
        inner = tuple(slice(a, b) for a, b in zip(first - low, last - low, strict=True))
        outer = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        out[(slice(None), *inner)] = data[(slice(None), *outer)]
    return out


def paint_patch(
    rng: np.random.Generator,
    scene: Scene,
    centre: npt.NDArray[np.int_],
    edge: int,
    style: Style = WILD,
    wanted: tuple[bool, ...] = (True,) * len(SEQUENCES),
) -> tuple[Floats, npt.NDArray[np.uint8], Floats]:
    """Standardised images (4, e, e, e), labels and loss weights (e, e, e) around a voxel.

    The standardisation is that of ``imaging.standardise`` but for its clipping, with median and
    spread taken from every fifth voxel of the head, painted in the same look; 0 outside the head.
    Sequences that are not ``wanted`` are 0.
    """
    looks = draw_looks(rng, scene.kinds, style)
    low = np.asarray(centre) - edge // 2
    wide = edge + 2 * MARGIN
    lesion = _cut(scene.lesion, low - MARGIN, wide)
    stacked = np.concatenate([_cut(scene.tissue, low - MARGIN, wide), lesion[:3]])
    start = tuple(int(v) for v in low - MARGIN + scene.origin)
    parts = _parts(stacked, start)  # type: ignore[arg-type]
    thin = _parts(scene.thin, scene.origin, THIN)
    inner = (slice(MARGIN, MARGIN + edge),) * 3
    mask = parts.mask[inner]
    images = np.zeros((len(SEQUENCES), edge, edge, edge), np.float32)
    for place, sequence in enumerate(SEQUENCES):
        if wanted[place]:
            middle, spread = _scale(rng, looks[sequence], thin)
            scan = (paint(rng, looks[sequence], parts)[inner] - middle) / spread
            images[place] = np.where(mask, scan, 0)
    weights = lesion[3][inner].astype(np.float32) / 20
    weights[weights == 0] = 1  # past the edge of the head's box
    return images, lesion[0][inner], weights


def _scale(rng: np.random.Generator, look: Look, thin: Parts) -> tuple[float, float]:
    """Median and spread (interquartile range / 1.349) of a scan inside the head."""
    values = paint(rng, look, thin)[thin.mask]
    first, middle, third = np.percentile(values, (25, 50, 75))
    return float(middle), max(float(third - first) / 1.349, 1e-6)
