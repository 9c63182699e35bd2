"""Synthetic metastases: place, size, shape, rim and core, oedema; and lesions that are none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.anatomy import lobe
from bmcore.domain import Label
from bmcore.phantom.style import Prior
from bmcore.phantom.tissue import GRID, Floats, Tissue, smooth_noise


@dataclass
class Growth:
    """Labels 0-3 (uint8, GRID), the number of the lesion a voxel belongs to, and what each is like.

    owner: int16, 0 none, 1.. index + 1 into ``kinds``; reaches a little past the lesion's edge.
    other: 0-1, T2-bright tissue that is no metastasis (plaque, infarct, leukoaraiosis), unlabelled.
    """

    labels: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(GRID, np.uint8))
    owner: npt.NDArray[np.int16] = field(default_factory=lambda: np.zeros(GRID, np.int16))
    other: Floats = field(default_factory=lambda: np.zeros(GRID, np.float32))
    kinds: list[Kind] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """Diameter in mm and nature of one metastasis.

    core: "solid", "necrotic" or "cystic". strength: of the enhancement, 0 faint to 1 strong.
    lobed: height of the dents of the surface, as a share of the radius.
    """

    diameter_mm: float
    core: str
    t1_bright: bool
    haemorrhage: bool
    t2_dark: bool = False
    strength: float = 0.5
    lobed: float = 0.1


def _quantile(
    rng: np.random.Generator, points: tuple[float, ...], low: float, high: float
) -> float:
    """Draw from the quantiles at 25, 50, 75, 95 %, straight lines between their logarithms."""
    values = np.log([low, *points, high])
    return float(np.exp(np.interp(rng.uniform(), (0, 0.25, 0.5, 0.75, 0.95, 1), values)))


def draw_kinds(
    rng: np.random.Generator, prior: Prior, most: int = 50, even: bool = False
) -> list[Kind]:
    """Number, diameters (mm) and nature of one patient's metastases, largest first.

    Necrosis follows size: 12 % under 1 cm, 30 % at 1-2 cm, 76 % above 2 cm (UCSF-BMSR). ``even``:
    number and diameters do not follow the primary, see ``Style.even_size_share``.
    """
    diameters = _even_diameters(rng) if even else _diameters(rng, prior, most)
    bright = rng.uniform() < prior.t1_bright
    bleeds = rng.uniform() < prior.haemorrhage
    dark = rng.uniform() < prior.t2_dark
    strength = rng.normal(prior.enhancement, 0.2)
    kinds = []
    for d in diameters:
        chance = 0.12 if d < 10 else 0.30 if d < 20 else 0.76
        if even and d >= 10:  # the net should meet more cores than there are
            chance = 0.8
        core = "solid"
        if d > 5 and rng.uniform() < chance:
            core = "cystic" if rng.uniform() < (0.5 if even else 0.25) else "necrotic"
        kinds.append(
            Kind(
                diameter_mm=float(d),
                core=core,
                t1_bright=bool(rng.uniform() < (0.85 if bright else 0.05)),
                haemorrhage=bool(rng.uniform() < (0.7 if bleeds else 0.03)),
                t2_dark=bool(rng.uniform() < (0.85 if dark else 0.03)),
                strength=float(np.clip(rng.normal(strength, 0.12), 0, 1)),
                lobed=float(rng.uniform(0.02, 0.3 if d > 8 else 0.2)),
            )
        )
    return kinds


def _diameters(rng: np.random.Generator, prior: Prior, most: int) -> npt.NDArray[np.float64]:
    """Diameters in mm by the prior, falling, 2-45 mm."""
    count = int(np.clip(round(_quantile(rng, prior.counts, 0.6, 60)), 1, most))
    largest = np.clip(
        _quantile(rng, prior.diameters_mm, 0.4 * prior.diameters_mm[0], 45), 2.0, 45.0
    )
    rest = largest * rng.beta(1.6, 2.6, count - 1)
    return np.clip(np.sort(np.concatenate([[largest], rest]))[::-1], 2.0, 45.0)


def _even_diameters(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Falling diameters in mm, even in their logarithm: few large ones (to 60) or many small."""
    count = round(float(np.exp(rng.uniform(0, np.log(30)))))
    top = 60.0 if count <= 4 else 25.0 if count <= 12 else 12.0
    return np.sort(np.exp(rng.uniform(np.log(2.0), np.log(top), count)))[::-1]


def _place(
    rng: np.random.Generator, tissue: Tissue, prior: Prior, size: float
) -> npt.NDArray | None:
    """A voxel for the centre: a lobe by its weight, then a place at the grey-white border."""
    step = 4
    view = tuple(slice(None, None, step) for _ in range(3))
    deep_enough = tissue.depth[view] < -max(1.5, min(size / 2 - 2, 9))
    solid = (tissue.csf[view] < 0.5) & (tissue.ventricle[view] < 0.2) & tissue.mask[view]
    candidates = np.argwhere(deep_enough & solid)
    if not len(candidates):
        return None
    places = np.array(lobe(tissue.to_mni[(slice(None), *view)][:, *candidates.T].T))
    border = tissue.grey[view][tuple(candidates.T)] * tissue.white[view][tuple(candidates.T)]
    weights = 0.1 + border
    for name, weight in prior.places.items():
        here = places == name
        if here.any():
            weights[here] *= weight / weights[here].sum()
    chosen = candidates[rng.choice(len(candidates), p=weights / weights.sum())] * step
    return chosen + rng.integers(-1, 2, 3)


def box_around(centre: npt.NDArray, reach: float) -> tuple[slice, ...]:
    """The box of GRID that holds all within ``reach`` voxels of a voxel."""
    return tuple(
        slice(int(max(0, c - reach)), int(min(n, c + reach + 1)))
        for c, n in zip(centre, GRID, strict=True)
    )


def radius_field(rng: np.random.Generator, box: tuple[slice, ...], centre: npt.NDArray) -> Floats:
    """Distance from the centre in mm inside the box, stretched and dented at random."""
    stretch = np.exp(rng.normal(0, 0.14, 3))
    axes = [np.arange(b.start, b.stop) - c for b, c in zip(box, centre, strict=True)]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1) @ turn * stretch
    return np.sqrt((points**2).sum(-1)).astype(np.float32)


def _grow(
    rng: np.random.Generator, growth: Growth, tissue: Tissue, kind: Kind, at: npt.NDArray
) -> None:
    radius = kind.diameter_mm / 2
    wet = kind.diameter_mm > rng.normal(9.4, 2.5) and rng.uniform() < 0.85
    spread = float(rng.uniform(2, 9) + radius * rng.uniform(0.1, 1.0)) if wet else 0.0
    box = box_around(at, radius * 1.7 + spread + 3)
    shape = tuple(b.stop - b.start for b in box)
    if min(shape) < 3:
        return
    distance = radius_field(rng, box, at)
    dents = smooth_noise(rng, max(3.0, radius * 0.9), 2, shape)
    surface = radius * (1 + kind.lobed * dents[0]) - distance  # mm below the surface
    inside_head = tissue.mask[box] & (tissue.ventricle[box] < 0.5)
    body = (surface > 0) & inside_head
    if not body.any():
        nearest = tuple(np.clip(at - [b.start for b in box], 0, np.array(shape) - 1))
        body[nearest] = True
    labels = growth.labels[box]
    owner = growth.owner[box]
    number = len(growth.kinds) + 1
    if wet:
        _swell(rng, growth, tissue, box, surface, spread)
    rim = {"solid": np.inf, "necrotic": rng.uniform(1.8, 5.0), "cystic": rng.uniform(0.8, 2.4)}
    thickness = rim[kind.core] * np.clip(1 + rng.uniform(0.2, 0.7) * dents[1], 0.15, 3)
    core = body & (surface > np.minimum(thickness, np.maximum(radius - 1.2, 0.8)))
    if kind.core == "solid":
        core[:] = False
    labels[body] = Label.ET
    labels[core] = Label.NETC
    owner[(surface > -1.5) | body] = number
    growth.kinds.append(kind)


def _swell(
    rng: np.random.Generator,
    growth: Growth,
    tissue: Tissue,
    box: tuple[slice, ...],
    surface: Floats,
    spread: float,
) -> None:
    """Oedema: runs far along white matter, spares cortex and stops at CSF."""
    shape = surface.shape
    ease = 0.15 + 0.95 * ndimage.gaussian_filter(tissue.white[box], 1.0)
    wander = 1 + 0.45 * smooth_noise(rng, 9, 1, shape)[0]
    reached = (-surface < spread * ease * wander) & (surface <= 0)
    ok = reached & tissue.mask[box] & (tissue.csf[box] < 0.45) & (growth.labels[box] == 0)
    touch, _ = ndimage.label(ok | (surface > 0))
    near = np.unique(touch[(surface > 0)])
    ok &= np.isin(touch, near[near > 0])
    growth.labels[box][ok] = Label.SNFH
    owner = growth.owner[box]
    owner[ok & (owner == 0)] = len(growth.kinds) + 1


def draw_lesions(
    rng: np.random.Generator, tissue: Tissue, prior: Prior, kinds: list[Kind]
) -> Growth:
    """Grow the metastases one by one, apart from each other where the brain has room."""
    growth = Growth()
    for kind in kinds:
        for attempt in range(6):
            at = _place(rng, tissue, prior, kind.diameter_mm)
            if at is None:
                break
            near = growth.labels[box_around(at, kind.diameter_mm / 2 + 3)]
            if attempt == 5 or not np.isin(near, (Label.ET, Label.NETC)).any():
                _grow(rng, growth, tissue, kind, at)
                break
    return growth


def add_distractors(rng: np.random.Generator, tissue: Tissue, growth: Growth) -> None:
    """T2-bright tissue without enhancement: periventricular caps, plaques, infarcts."""
    caps = ndimage.gaussian_filter(tissue.ventricle, rng.uniform(2.5, 5))
    field = caps * tissue.white * (1 + 0.5 * smooth_noise(rng, 10)[0])
    growth.other = np.maximum(growth.other, (field > rng.uniform(0.10, 0.3)).astype(np.float32))
    white = np.argwhere(tissue.white[::3, ::3, ::3] > 0.8) * 3
    for _ in range(int(rng.integers(0, 12))):
        at = white[rng.integers(len(white))]
        radius = rng.uniform(1.5, 6) if rng.uniform() < 0.9 else rng.uniform(8, 20)
        box = box_around(at, radius * 1.6 + 2)
        shape = tuple(b.stop - b.start for b in box)
        dent = 1 + 0.25 * smooth_noise(rng, max(3, radius), 1, shape)[0]
        spot = (radius_field(rng, box, at) < radius * dent) & (tissue.csf[box] < 0.5)
        view = growth.other[box]
        view[spot & tissue.mask[box]] = 1
    growth.other[growth.labels > 0] = 0
