"""How bright a lesion is beside the patient's own brain, free of the scanner's units.

The healthy brain gives three levels of each sequence: white matter, grey matter, fluid. A lesion's
brightness is the logarithm of its ratio to one of them, so gain and unit of a scan say nothing, and
strong enhancement is not cut off as it is in the standardised images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCES, Label
from bmcore.geometry import Affine
from bmcore.imaging.lesion_crops import LARGEST, LesionCrop
from bmcore.imaging.patches import PATCH_CHANNELS, PATCH_MM, PATCH_VOXELS

LEAST = 0.02  # of the brain's median: darker voxels count as this dark
LEAST_HEALTHY = 500  # voxels needed to tell the levels
LEAST_MM3 = 30.0  # a ball of about 4 mm
LEAST_NECROSIS = 5  # voxels needed to measure necrosis
LEAST_INNER = 8  # voxels away from a lesion's edge that stand for it; else all of it does
UNIT = 0.35  # of a logarithm: what stands as 1 in the CNN's channels
# Percentiles of the guide (T1 native, else T1 post-gadolinium) that bound the tissues
_FLUID, _GREY, _WHITE = (4, 12), (35, 55), (72, 92)
# Contrast is told against white matter for enhancement, against grey matter for the rest
AGAINST = {"t1n": "grey", "t1c": "white", "t2w": "grey", "t2f": "grey"}


@dataclass(frozen=True, eq=False)
class Levels:
    """Brightness (4,) of white matter, grey matter and fluid in each of SEQUENCES; NaN: missing."""

    white: npt.NDArray[np.float64]
    grey: npt.NDArray[np.float64]
    fluid: npt.NDArray[np.float64]

    def of(self, sequence: str, tissue: str) -> float:
        return float(getattr(self, tissue)[SEQUENCES.index(sequence)])


def healthy_levels(healthy: npt.NDArray[np.float32]) -> Levels:
    """The levels from brain voxels (4, n) away from all that is marked (``LesionCrops.healthy``).

    On T1 fluid is darkest and white matter brightest, so T1 says which voxels are which; the median
    of those voxels is the level in every sequence. All NaN where too few voxels are there.
    """
    nothing = np.full(len(SEQUENCES), np.nan)
    shown = [bool(row.any()) for row in healthy]
    guides = [row for row, there in zip(healthy[:2], shown[:2], strict=True) if there]
    if healthy.shape[1] < LEAST_HEALTHY or not guides:
        return Levels(nothing, nothing, nothing)
    guide = guides[0]
    out = []
    for low, high in (_WHITE, _GREY, _FLUID):
        ends = np.percentile(guide, (low, high))
        inside = (guide >= ends[0]) & (guide <= ends[1])
        row = [
            float(np.median(values[inside])) if there else np.nan
            for values, there in zip(healthy, shown, strict=True)
        ]
        out.append(np.where(np.array(row) > LEAST, row, np.nan))
    return Levels(*out)


def log_ratio(value: npt.ArrayLike, level: float) -> npt.NDArray[np.float64]:
    """ln(value / level), values below ``LEAST`` taken as that; NaN where the level is not known."""
    return np.log(np.maximum(np.asarray(value, np.float64), LEAST) / level)


# --- one lesion -----------------------------------------------------------------------------------

# Names of the measures of a lesion; NaN where the sequence or the tissue is not there.
MEASURES: tuple[str, ...] = (
    "uptake",  # ln: T1 post-gadolinium, 90th percentile, over white matter, less that on T1 native
    "t1c",  # ln: 90th percentile over white matter
    "t1n",  # ln: median over grey matter
    "t1n_near",  # ln: median over the brain around it
    "t2w",  # ln: median over grey matter
    "t2f",  # ln: median over grey matter
    "t2_both",  # sum of the two: what is dark, is dark on both
    "t2_apart",  # their difference without its sign: blood darkens now the one, now the other
    "t1c_spread",  # spread of ln(T1 post-gadolinium) inside the enhancing tumour
    "core_t1n",  # ln: necrosis over grey matter
    "core_t2w",  # necrosis between grey matter (0) and fluid (1)
    "core_t2f",  # ln: necrosis over grey matter
    "rim_mm",  # volume of the enhancing rim over the surface of the necrosis
    "roughness",  # ln: surface over that of a ball of the same volume
)


def lesion_measures(crop: LesionCrop, levels: Levels) -> dict[str, float]:
    """``MEASURES`` of one lesion."""
    found = dict.fromkeys(MEASURES, float("nan"))
    enhancing = crop.own & (crop.labels == Label.ET)
    necrosis = crop.own & (crop.labels == Label.NETC)
    inner = ndimage.binary_erosion(crop.own) & enhancing
    solid = inner if np.count_nonzero(inner) >= LEAST_INNER else enhancing
    if solid.any():
        found |= _of_solid(crop, levels, solid)
    if np.count_nonzero(necrosis) >= LEAST_NECROSIS:
        found |= _of_necrosis(crop, levels, necrosis, enhancing)
    found["roughness"] = _roughness(crop.own)
    return found


def _of_solid(crop: LesionCrop, levels: Levels, solid: npt.NDArray[np.bool_]) -> dict[str, float]:
    images = dict(zip(SEQUENCES, crop.images, strict=True))

    def ratio(sequence: str, percentile: float, tissue: str) -> float:
        value = np.percentile(images[sequence][solid], percentile)
        return float(log_ratio(value, levels.of(sequence, tissue)))

    native = ratio("t1n", 90, "white")
    strongest = ratio("t1c", 90, "white")
    around = _around(crop)
    near = float("nan")
    if np.count_nonzero(around) >= 30 and images["t1n"].any():
        level = float(np.median(images["t1n"][around]))
        near = float(log_ratio(np.median(images["t1n"][solid]), level)) if level > LEAST else near
    t2w, t2f = ratio("t2w", 50, "grey"), ratio("t2f", 50, "grey")
    return {
        # what is bright already without gadolinium counts from there; see Kind.strength
        "uptake": strongest - (max(native, np.log(0.9)) if np.isfinite(native) else 0.0),
        "t1c": strongest,
        "t1n": ratio("t1n", 50, "grey"),
        "t1n_near": near,
        "t2w": t2w,
        "t2f": t2f,
        "t2_both": t2w + t2f,
        "t2_apart": abs(t2w - t2f),
        "t1c_spread": float(np.log(np.maximum(images["t1c"][solid], LEAST)).std())
        if np.isfinite(strongest)
        else float("nan"),
    }


def _around(crop: LesionCrop) -> npt.NDArray[np.bool_]:
    """Brain 3 to 6 mm from the lesion that is not marked."""
    reach = ndimage.binary_dilation(crop.own, iterations=6)
    close = ndimage.binary_dilation(crop.own, iterations=2)
    return reach & ~close & crop.brain & (crop.labels == 0)


def _of_necrosis(
    crop: LesionCrop,
    levels: Levels,
    necrosis: npt.NDArray[np.bool_],
    enhancing: npt.NDArray[np.bool_],
) -> dict[str, float]:
    median = {
        s: float(np.median(image[necrosis]))
        for s, image in zip(SEQUENCES, crop.images, strict=True)
    }
    grey, fluid = levels.of("t2w", "grey"), levels.of("t2w", "fluid")
    apart = fluid - grey
    inside = ndimage.binary_erosion(necrosis)
    surface = max(1, int(np.count_nonzero(necrosis & ~inside)))
    return {
        "core_t1n": float(log_ratio(median["t1n"], levels.of("t1n", "grey"))),
        "core_t2w": (median["t2w"] - grey) / apart if abs(apart) > 0.05 else float("nan"),
        "core_t2f": float(log_ratio(median["t2f"], levels.of("t2f", "grey"))),
        "rim_mm": float(np.log1p(np.count_nonzero(enhancing) / surface)),
    }


def _roughness(own: npt.NDArray[np.bool_]) -> float:
    """Voxel faces of the surface over those of a ball of the same volume, as a logarithm."""
    padded = np.pad(own, 1)
    faces = sum(int(np.count_nonzero(np.diff(padded, axis=axis))) for axis in range(3))
    ball = 1.5 * (36 * np.pi) ** (1 / 3) * float(np.count_nonzero(own)) ** (2 / 3)
    return float(np.log(faces / ball))


# --- what the CNN sees ----------------------------------------------------------------------------


def relative_patches(crops: Sequence[LesionCrop], levels: Levels) -> npt.NDArray[np.float32]:
    """A cube of 48 mm at 1.5 mm around each lesion, float32 (n, 7, 32, 32, 32).

    Channels: the four sequences as ln of their ratio to the healthy brain, in units of ``UNIT``,
    within +-6; then the shares of necrosis, oedema and enhancing tumour. 0 outside of the crop, and
    for a missing sequence.
    """
    size = (PATCH_VOXELS,) * 3
    out = np.zeros((len(crops), PATCH_CHANNELS, *size), np.float32)
    for place, crop in enumerate(crops):
        start = _patch_start(crop)
        for number, channel in enumerate(_channels(crop, levels)):
            if channel is not None:
                ndimage.affine_transform(
                    channel, [PATCH_MM] * 3, start, output_shape=size, output=out[place, number],
                    order=1,
                )  # fmt: skip
    return out


def patch_to_working(crop: LesionCrop) -> Affine:
    """4x4 from voxels of the lesion's cube to voxels of the working grid, along whose axes the cube
    lies: the way back for maps of the CNN."""
    out = np.diag([PATCH_MM] * 3 + [1.0])
    out[:3, 3] = _patch_start(crop) + crop.start
    return out


def _patch_start(crop: LesionCrop) -> npt.NDArray[np.float64]:
    """Place (3,) in the crop of the cube's first voxel: the lesion lies in its middle."""
    return np.argwhere(crop.own).mean(axis=0) - PATCH_MM * (PATCH_VOXELS - 1) / 2


def _channels(crop: LesionCrop, levels: Levels) -> list[npt.NDArray[np.float32] | None]:
    channels: list[npt.NDArray[np.float32] | None] = []
    for sequence, image in zip(SEQUENCES, crop.images, strict=True):
        level = levels.of(sequence, AGAINST[sequence])
        if not np.isfinite(level) or not image.any():
            channels.append(None)
            continue
        ratio = np.clip(log_ratio(image, level) / UNIT, -6, 6)
        channels.append(np.where(crop.brain, ratio, 0).astype(np.float32))
    channels += [(crop.labels == label).astype(np.float32) for label in Label]
    return channels


def pooled(
    measures: Sequence[Mapping[str, float]], volumes_mm3: npt.NDArray[np.float64]
) -> dict[str, tuple[float, float, float, float]]:
    """Each measure over the lesions: mean weighted by volume^(1/3), that by volume, least, most.

    volumes_mm3 (n,): of the lesions. Lesions under ``LEAST_MM3`` are blurred by their edges: they
    count only where there are no others. NaN where no lesion has the measure.
    """
    out = {}
    diameter = np.cbrt(volumes_mm3)
    for name in MEASURES:
        values = np.array([m[name] for m in measures], np.float64)
        known = np.isfinite(values)
        if not known.any():
            out[name] = (np.nan,) * 4
            continue
        known &= readable(volumes_mm3, known)
        v, d, w = values[known], diameter[known], volumes_mm3[known]
        out[name] = (
            float(d @ v / d.sum()), float(w @ v / w.sum()), float(v.min()), float(v.max()),
        )  # fmt: skip
    return out


def readable(
    volumes_mm3: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Lesions (n,) of ``LEAST_MM3`` and more; all where none of the ``known`` ones is so large."""
    large = volumes_mm3 >= LEAST_MM3
    return large if (large & known).any() else np.ones_like(large)


assert LARGEST >= PATCH_VOXELS * PATCH_MM  # a crop holds all of a patch
