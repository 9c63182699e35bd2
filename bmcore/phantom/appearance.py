"""From tissue and lesions to four sequences: contrasts, field, blur, slices, noise, ghosts.

Intensities are relative to white matter of T1 = 1 (times 1000 at the end); the contrast ranges were
set by hand to lie around and beyond those of routine 1.5-3 T scans.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bmcore.domain import SEQUENCES, Label
from bmcore.phantom.lesions import Growth, Kind
from bmcore.phantom.style import Style
from bmcore.phantom.tissue import GRID, Floats, Tissue, smooth_noise

# white, grey, CSF, vessel, dura and sinus, choroid plexus: low and high of each range
_TISSUE = {
    "t1n": ((1.0, 1.0), (0.68, 0.90), (0.20, 0.50), (0.30, 1.1), (0.4, 1.0), (0.5, 0.8)),
    "t1c": ((1.0, 1.0), (0.72, 1.00), (0.15, 0.50), (1.30, 3.2), (0.9, 3.0), (1.1, 2.4)),
    "t2w": ((0.45, 0.70), (0.65, 0.95), (1.40, 2.60), (0.10, 1.2), (0.2, 1.2), (0.9, 1.6)),
    "t2f": ((0.60, 0.90), (0.80, 1.10), (0.10, 0.45), (0.15, 0.9), (0.3, 1.2), (0.6, 1.2)),
}


def _draw(rng: np.random.Generator, bounds: tuple[float, float], wild: float) -> float:
    return float(rng.uniform(*bounds) * np.exp(rng.normal(0, 0.02 + 0.12 * wild)))


def tissue_contrast(rng: np.random.Generator, sequence: str, style: Style) -> list[float]:
    """Intensity of white, grey, CSF, vessel, dura, choroid for one scan."""
    contrast = [_draw(rng, b, style.wildness) for b in _TISSUE[sequence]]
    if sequence != "t1c" and rng.uniform() < style.rare_contrast_share:
        contrast[:3] = [float(v) for v in rng.uniform(0.2, 1.6, 3)]
    return contrast


def lesion_contrast(
    rng: np.random.Generator, sequence: str, kind: Kind, tissue: list[float], wild: float
) -> tuple[float, float, float]:
    """Intensity of necrosis, oedema and enhancing tumour of one lesion."""
    white, grey, csf = tissue[:3]

    def between(low: float, high: float) -> float:
        return _draw(rng, (low, high), wild * 0.5)

    mix = 0.9 if kind.core == "cystic" else between(0.15, 0.8)
    fluid = grey + (csf - grey) * mix
    if sequence in ("t1n", "t1c"):
        bright = kind.t1_bright or (kind.haemorrhage and rng.uniform() < 0.5)
        native = grey * (between(1.25, 1.9) if bright else between(0.75, 1.02))
        core = fluid * between(0.9, 1.15)
        if kind.haemorrhage:
            core = grey * between(0.7, 1.6)
        oedema = white * between(0.68, 0.92)
        if sequence == "t1n":
            return core, oedema, native
        return core, oedema, max(native, white * 0.9) * between(1.22, 2.9)
    dark = kind.haemorrhage and rng.uniform() < 0.6
    if sequence == "t2w":
        core = grey * between(0.3, 0.8) if dark else grey + abs(csf - grey) * mix
        solid = grey * (between(0.4, 0.9) if dark else between(0.85, 1.45))
        return core, max(white, grey) * between(1.15, 1.9), solid
    core = grey * (between(0.3, 0.8) if dark else between(0.45, 1.7))
    return core, max(white, grey) * between(1.15, 1.9), grey * between(0.8, 1.5)


def _paint(
    rng: np.random.Generator, sequence: str, tissue: Tissue, growth: Growth, style: Style
) -> Floats:
    contrast = tissue_contrast(rng, sequence, style)
    white, grey, csf, vessel, dura, choroid = contrast
    image = tissue.white * white + tissue.grey * grey + tissue.csf * csf
    for part, level in ((tissue.dura, dura), (tissue.choroid, choroid), (tissue.vessel, vessel)):
        image += part * (level - image)
    if growth.other.any():
        rise = {"t1n": 0.85, "t1c": 0.85, "t2w": 1.7, "t2f": 1.6}[sequence]
        amount = 1 + (rise - 1) * rng.uniform(0.4, 1.2)
        image *= 1 + growth.other * (amount - 1)
    if growth.kinds:
        levels = np.zeros((4, len(growth.kinds) + 1), np.float32)
        for n, kind in enumerate(growth.kinds, start=1):
            levels[1:, n] = lesion_contrast(rng, sequence, kind, contrast, style.wildness)
        where = growth.labels > 0
        label, owner = growth.labels[where], growth.owner[where]
        strength = np.where(label == Label.SNFH, rng.uniform(0.6, 1.0), 1.0).astype(np.float32)
        image[where] += strength * (levels[label, owner] - image[where])
    return image


def _degrade(rng: np.random.Generator, image: Floats, tissue: Tissue, style: Style) -> Floats:
    """Texture, bias field, blur, thick slices, ghosts, noise, in this order."""
    wild = style.wildness
    bad = rng.uniform(size=3) < style.artefact_share
    image = image * (1 + rng.uniform(0.01, 0.05) * smooth_noise(rng, rng.uniform(3, 8))[0])
    field = rng.uniform(0.02, 0.1 + 0.1 * wild) * (2.0 if bad[0] else 1.0)
    image = image * np.exp(field * smooth_noise(rng, 70)[0])
    image = ndimage.gaussian_filter(image, rng.uniform(0.35, 0.6 + 0.4 * wild), truncate=2.5)
    if rng.uniform() < style.thick_slice_share:
        image = _thick(rng, image)
    if bad[1]:
        axis, step = int(rng.integers(3)), int(rng.integers(12, 45))
        ghost = np.roll(image, step, axis) + np.roll(image, -step, axis)
        image = image + np.float32(rng.uniform(0.01, 0.06)) * ghost
    level = rng.uniform(0.005, 0.03 + 0.03 * wild) * (2.0 if bad[2] else 1.0)
    shape = (2, *GRID) if rng.uniform() < 0.5 else (1, *GRID)
    noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(level)
    if len(noise) == 1:
        return np.abs(image + noise[0])
    return np.sqrt((image + noise[0]) ** 2 + noise[1] ** 2)  # Rician


def _thick(rng: np.random.Generator, image: Floats) -> Floats:
    """Slices of 2-6 mm along one axis, brought back to 1 mm by linear interpolation."""
    axis, factor = int(rng.choice((0, 1, 2, 2, 2))), rng.uniform(2, 6)
    n = image.shape[axis]
    slab = ndimage.uniform_filter1d(image, max(2, round(factor)), axis=axis)
    at = np.arange(0, n - 1, factor)
    position = np.clip(np.arange(n) / factor, 0, len(at) - 1.001)
    low = position.astype(int)
    weight = (position - low).astype(np.float32)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(3)])
    rows = np.rint(at).astype(int)
    lower, upper = np.take(slab, rows[low], axis), np.take(slab, rows[low + 1], axis)
    return lower + weight * (upper - lower)


def draw_sequences(
    rng: np.random.Generator, tissue: Tissue, growth: Growth, style: Style
) -> dict[str, Floats]:
    """The four sequences (float32, GRID, 0 outside the head), unit arbitrary as in MRI."""
    out = {}
    for sequence in SEQUENCES:
        image = _degrade(rng, _paint(rng, sequence, tissue, growth, style), tissue, style)
        image = image * np.float32(np.exp(rng.normal(np.log(400), 0.5)))
        if rng.uniform() < style.artefact_share:
            spots = rng.integers(0, np.array(GRID), (int(rng.integers(3, 40)), 3))
            image[tuple(spots.T)] = image.max() * rng.uniform(1.0, 3.0)
        image[~tissue.mask] = 0
        out[sequence] = image
    return out
