"""Lesions that enhance and are no metastases: plaques, subacute infarcts, meningiomas, cavities.

They are painted like metastases, with numbers behind those of the metastases, and taken out of the
reference mask afterwards. What each looks like follows textbook descriptions, set by hand: an
active plaque is small, in white matter near a ventricle, bright on T2 and takes up a little, often
as an open ring; a subacute infarct is a wedge of cortex whose ribbon takes up; a meningioma sits on
the dura with a broad base and takes up strongly and evenly; a cavity after an operation is fluid
that reaches the surface, with a thin broken rim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import Label
from bmcore.phantom.lesions import Growth, Kind, box_around, radius_field
from bmcore.phantom.tissue import Tissue, smooth_noise

Box = tuple[slice, ...]
Mask = npt.NDArray[np.bool_]
Drawer = Callable[[np.random.Generator, Tissue, Growth], bool]


def add_mimics(
    rng: np.random.Generator, tissue: Tissue, growth: Growth, which: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Add one to three mimics, or those named, to ``growth`` where no metastasis lies.

    Returns the names of those that found room, in the order of their numbers: the last of
    ``growth.kinds``. See ``without_mimics``.
    """
    names = which or tuple(rng.choice(list(MIMICS), int(rng.integers(1, 4))))
    return tuple(str(name) for name in names if MIMICS[str(name)](rng, tissue, growth))


def without_mimics(growth: Growth, count: int) -> Growth:
    """What of ``growth`` belongs in the reference: without the last ``count`` lesions."""
    if not count:
        return growth
    kinds = growth.kinds[:-count]
    mimic = growth.owner > len(kinds)
    return replace(
        growth,
        labels=np.where(mimic, 0, growth.labels).astype(np.uint8),
        owner=np.where(mimic, 0, growth.owner).astype(np.int16),
        kinds=kinds,
    )


def _mark(growth: Growth, box: Box, kind: Kind, enhancing: Mask, core: Mask, swollen: Mask) -> bool:
    """Number and label what lies in no metastasis; False where nothing that enhances is left."""
    labels, owner = growth.labels[box], growth.owner[box]
    free = (owner == 0) & (labels == 0)
    if np.count_nonzero(enhancing & free) < 8:
        return False
    number = len(growth.kinds) + 1
    for part, label in ((swollen, Label.SNFH), (core, Label.NETC), (enhancing, Label.ET)):
        labels[part & free] = label
    owner[(enhancing | core | swollen) & free] = number
    growth.kinds.append(kind)
    return True


def _somewhere(rng: np.random.Generator, where: Mask) -> npt.NDArray[np.int_] | None:
    found = np.argwhere(where[::2, ::2, ::2]) * 2
    return found[rng.integers(len(found))] if len(found) else None


def _ball(
    rng: np.random.Generator, tissue: Tissue, at: npt.NDArray[np.int_], radius: float, reach: float
) -> tuple[Box, npt.NDArray[np.float32], Mask]:
    """The box around a place, mm below the surface of a dented ball, and brain in the box."""
    box = box_around(at, radius * 1.6 + reach)
    distance = radius_field(rng, box, at)
    dents = smooth_noise(rng, max(3.0, radius), 1, distance.shape)[0]
    brain = tissue.mask[box] & (tissue.ventricle[box] < 0.5)
    return box, (radius * (1 + 0.15 * dents) - distance).astype(np.float32), brain


def _plaque(rng: np.random.Generator, tissue: Tissue, growth: Growth) -> bool:
    near = ndimage.binary_dilation(tissue.ventricle > 0.5, iterations=int(rng.integers(4, 15)))
    at = _somewhere(rng, near & (tissue.white > 0.8))
    if at is None:
        return False
    radius = float(rng.uniform(2.0, 6.0))
    box, below, brain = _ball(rng, tissue, at, radius, 3)
    body = (below > 0) & brain & (tissue.csf[box] < 0.4)
    taken = body & (below < rng.uniform(1.5, 3.0))
    if rng.uniform() < 0.6:  # an open ring
        side = rng.normal(size=3)
        grid = np.stack(np.meshgrid(*[np.arange(n) for n in body.shape], indexing="ij"), -1)
        taken &= ((grid - np.array(body.shape) / 2) @ side) > -0.3 * radius * np.linalg.norm(side)
    kind = Kind(2 * radius, "solid", False, False, False, float(rng.uniform(0.0, 0.25)))
    return _mark(growth, box, kind, taken, np.zeros_like(body), body & ~taken)


def _infarct(rng: np.random.Generator, tissue: Tissue, growth: Growth) -> bool:
    at = _somewhere(rng, (tissue.grey > 0.7) & (tissue.depth > -6) & tissue.mask)
    if at is None:
        return False
    radius = float(rng.uniform(7.0, 18.0))
    box, below, brain = _ball(rng, tissue, at, radius, 3)
    body = (below > 0) & brain & (tissue.csf[box] < 0.5)
    ribbon = body & (tissue.grey[box] > 0.6) & (tissue.depth[box] > -8)
    patchy = smooth_noise(rng, 8, 1, body.shape)[0] > rng.uniform(-1.5, 0.3)
    taken = ribbon & patchy
    kind = Kind(2 * radius, "solid", False, False, False, float(rng.uniform(0.0, 0.4)))
    return _mark(growth, box, kind, taken, np.zeros_like(body), body & ~taken)


def _meningioma(rng: np.random.Generator, tissue: Tissue, growth: Growth) -> bool:
    at = _somewhere(rng, tissue.mask & (tissue.depth > -2.5))
    if at is None:
        return False
    radius = float(rng.uniform(5.0, 16.0))
    box, below, brain = _ball(rng, tissue, at, radius, 8)
    body = (below > 0) & tissue.mask[box]
    wet = float(rng.uniform(2, 6)) if rng.uniform() < 0.3 else 0.0
    swollen = (below <= 0) & (below > -wet) & brain & (tissue.white[box] > 0.4)
    kind = Kind(2 * radius, "solid", False, False, False, float(rng.uniform(0.5, 1.0)))
    return _mark(growth, box, kind, body, np.zeros_like(body), swollen)


def _cavity(rng: np.random.Generator, tissue: Tissue, growth: Growth) -> bool:
    at = _somewhere(rng, tissue.mask & (tissue.depth > -12) & (tissue.depth < -4))
    if at is None:
        return False
    radius = float(rng.uniform(7.0, 18.0))
    box, below, brain = _ball(rng, tissue, at, radius, 6)
    body = (below > 0) & brain
    broken = smooth_noise(rng, 7, 1, body.shape)[0] > rng.uniform(-0.8, 0.6)
    rim = body & (below < rng.uniform(1.0, 2.2)) & broken & (tissue.depth[box] < -1.5)
    swollen = (below <= 0) & (below > -rng.uniform(1, 6)) & brain & (tissue.white[box] > 0.4)
    kind = Kind(2 * radius, "cystic", False, False, False, float(rng.uniform(0.05, 0.5)))
    return _mark(growth, box, kind, rim, body & ~rim, swollen)


MIMICS: dict[str, Drawer] = {
    "plaque": _plaque,
    "infarct": _infarct,
    "meningioma": _meningioma,
    "cavity": _cavity,
}
