"""How a scan looks: contrasts, field, blur, slices, noise, drawn once and painted on any box.

A ``Look`` holds what belongs to one scan, so that a whole head and a patch of it look alike.
Intensities are relative to white matter of T1 = 1 (times a few hundred at the end); the contrast
ranges were set by hand to lie around and beyond those of routine 1.5-3 T scans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.domain import SEQUENCES
from bmcore.phantom.lesions import Kind
from bmcore.phantom.style import Style
from bmcore.phantom.tissue import GRID, Floats

# white, grey, CSF, vessel, dura and sinus, choroid plexus: low and high of each range
_TISSUE = {
    "t1n": ((1.0, 1.0), (0.66, 0.92), (0.20, 0.50), (0.30, 1.1), (0.4, 1.4), (0.5, 0.8)),
    "t1c": ((1.0, 1.0), (0.70, 1.00), (0.15, 0.50), (1.30, 3.2), (0.9, 3.0), (1.0, 2.4)),
    "t2w": ((0.45, 0.75), (0.62, 0.95), (1.30, 2.60), (0.10, 1.2), (0.2, 1.2), (0.9, 1.6)),
    "t2f": ((0.65, 0.95), (0.80, 1.10), (0.10, 0.55), (0.15, 0.9), (0.3, 1.4), (0.6, 1.2)),
}
FIELD_SPACING = 70  # voxels between the random values of the bias field


@dataclass(frozen=True, eq=False)
class Look:
    """One sequence of one scan.

    tissue: intensity of white, grey, CSF, vessel, dura, choroid. lesion: (4, n + 1), intensity of
    each label of each lesion. rise: factor of T2-bright tissue that is no metastasis. soft: spread
    in voxels over which oedema fades. uneven: unevenness of tumour and of oedema. mottle: of all
    tissue. field: coarse random values of the logarithm of the bias field. blur: voxels, an axis.
    slices: (axis, thickness, start) of thick slices. ghost: (axis, shift, strength). shift: voxels.
    """

    tissue: npt.NDArray[np.float64]
    lesion: Floats
    rise: float
    soft: float
    strength: float
    uneven: tuple[float, float]
    mottle: tuple[float, float]
    field: Floats
    blur: tuple[float, float, float]
    slices: tuple[int, float, float] | None
    ghost: tuple[int, int, float] | None
    noise: float
    rician: bool
    gamma: float
    gain: float
    spots: int
    shift: tuple[int, int, int]


def _draw(rng: np.random.Generator, bounds: tuple[float, float], wild: float) -> float:
    return float(rng.uniform(*bounds) * np.exp(rng.normal(0, 0.02 + 0.12 * wild)))


def tissue_contrast(rng: np.random.Generator, sequence: str, style: Style) -> list[float]:
    """Intensity of white, grey, CSF, vessel, dura, choroid for one scan."""
    contrast = [_draw(rng, b, style.wildness) for b in _TISSUE[sequence]]
    if rng.uniform() < style.rare_contrast_share:
        if sequence == "t1c":  # fat, or a suppressed background: bright or flat, yet T1-like
            contrast[1] = float(rng.uniform(0.85, 1.1))
            contrast[4] = float(rng.uniform(0.3, 4.0))
        else:
            contrast[:3] = [float(v) for v in rng.uniform(0.2, 1.6, 3)]
    return contrast


def lesion_contrast(
    rng: np.random.Generator, sequence: str, kind: Kind, tissue: list[float], wild: float
) -> tuple[float, float, float]:
    """Intensity of necrosis, oedema and enhancing tumour of one lesion."""
    white, grey, csf = tissue[:3]

    def between(low: float, high: float) -> float:
        return _draw(rng, (low, high), wild * 0.5)

    mix = between(0.6, 1.0) if kind.core == "cystic" else between(0.1, 0.8)
    fluid = grey + (csf - grey) * mix
    if sequence in ("t1n", "t1c"):
        bright = kind.t1_bright or (kind.haemorrhage and rng.uniform() < 0.5)
        native = grey * (between(1.25, 1.9) if bright else between(0.75, 1.02))
        core = fluid * between(0.9, 1.15)
        if kind.haemorrhage:
            core = grey * between(0.7, 1.6)
        oedema = white * between(0.68, 0.95)
        if sequence == "t1n":
            return core, oedema, native
        taken_up = 1.22 + 1.7 * np.clip(rng.normal(kind.strength, 0.1 + 0.15 * wild), 0, 1)
        return core, oedema, max(native, white * 0.9) * float(taken_up)
    dark = kind.t2_dark or (kind.haemorrhage and rng.uniform() < 0.6)
    bright_oedema = max(white, grey) * between(1.1, 1.8)
    if sequence == "t2w":
        bleeds = kind.haemorrhage and dark
        core = grey * between(0.3, 0.8) if bleeds else grey + abs(csf - grey) * mix
        solid = grey * (between(0.45, 0.85) if dark else between(0.85, 1.45))
        return core, bright_oedema, solid
    core = grey * (between(0.3, 0.8) if kind.haemorrhage and dark else between(0.4, 1.7))
    return core, bright_oedema, grey * (between(0.6, 1.0) if dark else between(0.8, 1.5))


def draw_look(rng: np.random.Generator, sequence: str, kinds: list[Kind], style: Style) -> Look:
    """How one sequence of one scan looks."""
    wild = style.wildness
    tissue = tissue_contrast(rng, sequence, style)
    lesion = np.zeros((4, len(kinds) + 1), np.float32)
    for n, kind in enumerate(kinds, start=1):
        lesion[1:, n] = lesion_contrast(rng, sequence, kind, tissue, wild)
    rise = {"t1n": 0.85, "t1c": 0.85, "t2w": 1.7, "t2f": 1.6}[sequence]
    bad = rng.uniform(size=4) < style.artefact_share
    cells = tuple(int(np.ceil(n / FIELD_SPACING)) + 1 for n in GRID)
    amount = rng.uniform(0.02, 0.1 + 0.1 * wild) * (2.0 if bad[0] else 1.0)
    width = rng.uniform(0.35, 0.6 + 0.5 * wild)
    blur = width * np.exp(rng.normal(0, 0.1 + 0.2 * wild, 3))
    slices = None
    if rng.uniform() < style.thick_slice_share:
        slices = (int(rng.choice((0, 1, 2, 2, 2))), float(rng.uniform(2, 6)), float(rng.uniform()))
    ghost = None
    if bad[1]:
        ghost = (int(rng.integers(3)), int(rng.integers(12, 45)), float(rng.uniform(0.01, 0.06)))
    moved = rng.uniform() < style.shift_share
    return Look(
        tissue=np.array(tissue),
        lesion=lesion,
        rise=float(1 + (rise - 1) * rng.uniform(0.4, 1.2)),
        soft=float(rng.uniform(0.3, 2.2)),
        strength=float(rng.uniform(0.5, 1.0)),
        uneven=(float(rng.uniform(0.02, 0.2 + 0.3 * wild)), float(rng.uniform(0.02, 0.25))),
        mottle=(float(rng.uniform(0.01, 0.04 + 0.04 * wild)), float(rng.uniform(3, 12))),
        field=(amount * rng.standard_normal(cells)).astype(np.float32),
        blur=(float(blur[0]), float(blur[1]), float(blur[2])),
        slices=slices,
        ghost=ghost,
        noise=float(rng.uniform(0.005, 0.03 + 0.03 * wild) * (2.0 if bad[2] else 1.0)),
        rician=bool(rng.uniform() < 0.5),
        gamma=float(np.exp(rng.normal(0, 0.03 + 0.12 * wild))),
        gain=float(np.exp(rng.normal(np.log(400), 0.5))),
        spots=int(rng.integers(3, 40)) if bad[3] else 0,
        shift=_shift(rng) if moved else (0, 0, 0),
    )


def _shift(rng: np.random.Generator) -> tuple[int, int, int]:
    a, b, c = (int(v) for v in rng.integers(-1, 2, 3))
    return a, b, c


def draw_looks(rng: np.random.Generator, kinds: list[Kind], style: Style) -> dict[str, Look]:
    """A look for each of SEQUENCES."""
    return {sequence: draw_look(rng, sequence, kinds, style) for sequence in SEQUENCES}
