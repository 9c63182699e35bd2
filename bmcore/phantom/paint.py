"""Paint a look onto tissue and lesions of a whole head; ``phantom.batch`` paints many boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import Label
from bmcore.phantom.appearance import Look
from bmcore.phantom.batch import OEDEMA_SPACING, TRUNCATE, TUMOUR_SPACING
from bmcore.phantom.lesions import Growth
from bmcore.phantom.tissue import GRID, Floats, Tissue, smooth_noise


@dataclass(frozen=True, eq=False)
class Parts:
    """What lies in a box of a head: fractions 0-1 (float32) and lesions, all (i, j, k).

    start: voxel (i, j, k) of the box is voxel start + (i, j, k) of GRID.
    """

    white: Floats
    csf: Floats
    vessel: Floats
    dura: Floats
    choroid: Floats
    other: Floats
    labels: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.integer]
    mask: npt.NDArray[np.bool_]
    start: tuple[int, int, int] = (0, 0, 0)


def whole_head(tissue: Tissue, growth: Growth) -> Parts:
    """All of a head as drawn."""
    return Parts(
        tissue.white, tissue.csf, tissue.vessel, tissue.dura, tissue.choroid,
        growth.other, growth.labels, growth.owner, tissue.mask,
    )  # fmt: skip


def _mix(rng: np.random.Generator, look: Look, parts: Parts) -> Floats:
    """Ideal intensities: each voxel the mixture of what lies in it."""
    white, grey, csf, vessel, dura, choroid = (np.float32(v) for v in look.tissue)
    image = grey + parts.white * (white - grey) + parts.csf * (csf - grey)
    for part, level in ((parts.dura, dura), (parts.choroid, choroid), (parts.vessel, vessel)):
        image += part * (level - image)
    if parts.other.any():
        image *= 1 + parts.other * np.float32(look.rise - 1)
    if not (parts.labels > 0).any():
        return image
    oedema = (parts.labels == Label.SNFH).astype(np.float32)
    if oedema.any():
        noise = 1 + look.uneven[1] * smooth_noise(rng, OEDEMA_SPACING, 1, image.shape)[0]
        soft = ndimage.gaussian_filter(oedema, look.soft, truncate=TRUNCATE)
        soft *= look.strength * np.clip(noise, 0.2, 1.6)
        owner = np.where(parts.labels == Label.SNFH, parts.owner, 0)
        # a soft edge reaches past the label; there the level is that of all oedema on average
        level = look.lesion[Label.SNFH][owner]
        level[owner == 0] = look.lesion[Label.SNFH][np.unique(owner[owner > 0])].mean()
        image += np.minimum(soft, 1) * (1 - parts.csf) * (level - image)
    core = (parts.labels == Label.ET) | (parts.labels == Label.NETC)
    if core.any():
        noise = 1 + look.uneven[0] * smooth_noise(rng, TUMOUR_SPACING, 1, image.shape)[0][core]
        image[core] = look.lesion[parts.labels[core], parts.owner[core]] * np.clip(noise, 0.5, 1.4)
    return image


def _bias(look: Look, parts: Parts) -> Floats:
    """The bias field on the box: the coarse values, linear in between along each axis."""
    field = look.field
    for axis, n in enumerate(parts.mask.shape):
        cells = field.shape[axis]
        at = (parts.start[axis] + np.arange(n)) * ((cells - 1) / (GRID[axis] - 1))
        low = np.clip(np.floor(at).astype(int), 0, cells - 2)
        weight = np.clip(at - low, 0, 1).astype(np.float32)
        weight = weight.reshape([-1 if a == axis else 1 for a in range(3)])
        first, second = np.take(field, low, axis), np.take(field, low + 1, axis)
        field = first + weight * (second - first)
    return np.exp(field)


def _thick(image: Floats, axis: int, thickness: float, start: float, origin: int) -> Floats:
    """Slices of ``thickness`` mm along an axis, brought back to 1 mm by linear interpolation."""
    n = image.shape[axis]
    slab = ndimage.uniform_filter1d(image, max(2, round(thickness)), axis=axis)
    first = ((start * thickness - origin) % thickness) - thickness
    at = np.clip(np.arange(first, n + 2 * thickness, thickness), 0, n - 1)
    position = np.clip((np.arange(n) - first) / thickness, 0, len(at) - 1.001)
    low = position.astype(int)
    weight = (position - low).astype(np.float32)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(3)])
    rows = np.rint(at).astype(int)
    lower, upper = np.take(slab, rows[low], axis), np.take(slab, rows[low + 1], axis)
    return lower + weight * (upper - lower)


def _noisy(rng: np.random.Generator, look: Look, image: Floats) -> Floats:
    level = np.float32(look.noise)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * level
    if not look.rician:
        return np.abs(image + noise)
    second = rng.standard_normal(image.shape, dtype=np.float32) * level
    return np.sqrt((image + noise) ** 2 + second**2)


def paint(rng: np.random.Generator, look: Look, parts: Parts) -> Floats:
    """One sequence on a box (float32, unit arbitrary as in MRI, 0 outside the head).

    In this order: tissue and lesions, mottle, bias field, blur, thick slices, a shift by a voxel,
    ghosts, noise, gamma, outliers.
    """
    image = _mix(rng, look, parts)
    amount, spacing = look.mottle
    image *= 1 + amount * smooth_noise(rng, spacing, 1, image.shape)[0]
    image *= _bias(look, parts)
    image = ndimage.gaussian_filter(image, look.blur, truncate=TRUNCATE)
    if look.slices:
        axis, thickness, start = look.slices
        image = _thick(image, axis, thickness, start, parts.start[axis])
    if any(look.shift):
        image = np.roll(image, look.shift, (0, 1, 2))
    if look.ghost:
        axis, step, amount = look.ghost
        ghost = np.roll(image, step, axis) + np.roll(image, -step, axis)
        image = image + np.float32(amount) * ghost
    image = _noisy(rng, look, image)
    image = image ** np.float32(look.gamma) * np.float32(look.gain)
    if look.spots:
        count = rng.poisson(look.spots * image.size / np.prod(GRID))
        spots = rng.integers(0, np.array(image.shape), (count, 3))
        image[tuple(spots.T)] = image.max() * rng.uniform(1.0, 3.0)
    image[~parts.mask] = 0
    return image.astype(np.float32, copy=False)


def draw_sequences(
    rng: np.random.Generator, looks: dict[str, Look], parts: Parts
) -> dict[str, Floats]:
    """Every sequence of ``looks`` painted on a box."""
    return {sequence: paint(rng, look, parts) for sequence, look in looks.items()}
