"""Numbers of the images of a case that do not depend on grid, scanner units or place in the atlas.

Shape of the brain; for each sequence landmarks of its histogram, smoothness, left-right likeness
and brightness by depth below the brain's surface; for each pair of sequences how they go together,
with the fluid and in tissue alone. The outer INNER_MM of the brain are left out of all that
concerns grey values: how tightly the skull was stripped says nothing of the sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCE_NAMES, SEQUENCES, Prepared
from bmcore.imaging.masks import box_of

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
GRID_MM = 2.0  # statistics are taken on blocks of 2 x 2 x 2 working voxels
INNER_MM = 6.0  # depth below the surface from which grey values count
LANDMARKS = (1, 5, 25, 95, 99)  # percentiles of the standardised image (median and IQR are fixed)
SHELLS_MM = ((6.0, 12.0), (12.0, 20.0), (20.0, 30.0), (30.0, np.inf))  # depth below the surface
SMOOTH_MM = 3.0  # for left-right likeness and for how sequences go together
TISSUE_BAND_MM = (2.0, 10.0)  # structures between these sizes: cortex and white matter
TISSUE_LIMIT = 2.0  # spreads of t1c about its median; beyond lie fluid, vessels, tumour
LEAST_VOXELS = 50  # of the 2 mm grid; below, a number is not measurable
_SHAPE_WORDS = {
    "volume": "the volume of the brain",
    "width": "the width of the brain",
    "length": "the length of the brain from front to back",
    "height": "the height of the brain",
    "fill": "how much of its box the brain fills",
    "compactness": "how smooth the surface of the brain is",
    "symmetry": "how alike the two sides of the brain's outline are",
}
_KIND_WORDS = {
    **{f"p{q}": "the range of grey values" for q in LANDMARKS},
    "near": "the smoothness",
    "far": "the coarseness",
    "symmetry": "the likeness of left and right",
    **{f"depth{i}": "the brightness from the surface inwards" for i in range(len(SHELLS_MM))},
}


def _names() -> tuple[str, ...]:
    names = [f"shape.{name}" for name in _SHAPE_WORDS]
    names += [f"{s}.{kind}" for s in SEQUENCES for kind in _KIND_WORDS]
    pairs = combinations(SEQUENCES, 2)
    return (*names, *(f"{a}~{b}.{kind}" for a, b in pairs for kind in ("all", "tissue")))


STATISTICS: tuple[str, ...] = _names()


def words(name: str) -> str:
    """What one of ``STATISTICS`` measures, for a reader."""
    group, kind = name.split(".")
    if "~" in group:
        a, b = (SEQUENCE_NAMES[s] for s in group.split("~"))
        return f"how {a} and {b} go together"
    if group == "shape":
        return _SHAPE_WORDS[kind]
    return f"{_KIND_WORDS[kind]} of {SEQUENCE_NAMES[group]}"


def statistics(prepared: Prepared) -> Array:
    """The numbers of one case (f,) in the order of ``STATISTICS``; NaN where not measurable.

    Grey values are in spreads of the inner brain, lengths are natural logarithms of mm, the volume
    of ml; everything else is a correlation or a share. All NaN where the brain is smaller than
    LEAST_VOXELS blocks; no grey values where nothing of it lies deeper than INNER_MM.
    """
    share = _blocks(prepared.brain.astype(np.float32))
    images = {
        name: _blocks(prepared.images[number]) / np.maximum(share, 0.5)
        for number, name in enumerate(SEQUENCES)
        if prepared.present[number]
    }
    return measure(images, share > 0.5)


def measure(images: Mapping[str, npt.NDArray], brain: Mask) -> Array:
    """``statistics`` of images (i, j, k) of 2 mm voxels: sequence -> image, and the brain."""
    found = dict.fromkeys(STATISTICS, np.nan)
    if np.count_nonzero(brain) >= LEAST_VOXELS:
        box = box_of(brain)
        brain = brain[box]
        found.update({f"shape.{k}": v for k, v in _shape(brain).items()})
        depth = ndimage.distance_transform_edt(np.pad(brain, 1))[1:-1, 1:-1, 1:-1] * GRID_MM
        if np.count_nonzero(depth > INNER_MM) >= LEAST_VOXELS:
            inner = depth > INNER_MM
            shown = {name: _scaled(image[box], brain, inner) for name, image in images.items()}
            for name, image in shown.items():
                one = _sequence(image, brain, inner, depth)
                found.update({f"{name}.{k}": v for k, v in one.items()})
            found.update(_together(shown, brain, inner))
    return np.array([found[name] for name in STATISTICS])


def _blocks(data: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means of 2 x 2 x 2 voxels; an odd last slice is left out."""
    i, j, k = (n // 2 for n in data.shape)
    return data[: 2 * i, : 2 * j, : 2 * k].reshape(i, 2, j, 2, k, 2).mean(axis=(1, 3, 5))


def _shape(brain: Mask) -> dict[str, float]:
    extent = np.array(brain.shape) * GRID_MM
    faces = sum(
        np.count_nonzero(np.diff(np.pad(brain, 1).astype(np.int8), axis=axis)) for axis in range(3)
    )
    mirrored, inside = _mirrored(brain, brain)
    return {
        "volume": float(np.log(brain.sum() * GRID_MM**3 / 1000)),
        **dict(zip(("width", "length", "height"), map(float, np.log(extent)), strict=True)),
        "fill": float(brain.mean()),
        "compactness": float(brain.sum() ** (2 / 3) / faces),
        "symmetry": float(2 * (mirrored & inside & brain).sum() / (2 * brain.sum())),
    }


def _mirrored(image: npt.NDArray, brain: Mask) -> tuple[npt.NDArray, Mask]:
    """``image`` with left and right changed about the brain's middle, and where that is known."""
    width = brain.shape[0]
    twice = round(2 * float(np.average(np.arange(width), weights=brain.sum(axis=(1, 2)))))
    place = twice - np.arange(width)
    known = (place >= 0) & (place < width)
    turned = image[np.clip(place, 0, width - 1)]
    return turned, np.broadcast_to(known[:, None, None], brain.shape)


def _scaled(image: npt.NDArray, brain: Mask, inner: Mask) -> npt.NDArray:
    """Robust z-scores by the inner brain; 0 outside, and everywhere where nothing varies."""
    low, middle, high = np.percentile(image[inner], (25, 50, 75))
    spread = (high - low) / 1.349
    if spread <= 1e-6:
        return np.zeros(image.shape, np.float32)
    return np.where(brain, (image - middle) / spread, 0).astype(np.float32)


def _smoothed(image: npt.NDArray, brain: Mask, sigma_mm: float) -> npt.NDArray:
    """Gaussian mean of what lies inside the brain."""
    sigma = sigma_mm / GRID_MM
    weight = ndimage.gaussian_filter(brain.astype(np.float32), sigma, truncate=2.5)
    sums = ndimage.gaussian_filter(image, sigma, truncate=2.5)
    return np.where(brain, sums / np.maximum(weight, 1e-3), 0)


def _sequence(image: npt.NDArray, brain: Mask, inner: Mask, depth: npt.NDArray) -> dict[str, float]:
    points = np.percentile(image[inner], LANDMARKS)
    smooth = _smoothed(image, brain, SMOOTH_MM)
    mirrored, known = _mirrored(smooth, brain)
    both = inner & known & _mirrored(inner, brain)[0]
    out = {f"p{q}": float(v) for q, v in zip(LANDMARKS, points, strict=True)}
    out["near"] = _lagged(image, inner, 1)
    out["far"] = _lagged(image, inner, 4)
    out["symmetry"] = _correlation(smooth[both], mirrored[both])
    for number, (low, high) in enumerate(SHELLS_MM):
        shell = (depth > low) & (depth <= high)
        enough = np.count_nonzero(shell) >= LEAST_VOXELS
        out[f"depth{number}"] = float(image[shell].mean()) if enough else np.nan
    return out


def _together(images: Mapping[str, npt.NDArray], brain: Mask, inner: Mask) -> dict[str, float]:
    """How each pair goes together: smoothed in the inner brain, and its finer parts in tissue."""
    tissue = inner & (np.abs(images["t1c"]) < TISSUE_LIMIT) if "t1c" in images else inner
    smooth = {name: _smoothed(image, brain, SMOOTH_MM) for name, image in images.items()}
    fine, coarse = TISSUE_BAND_MM
    band = {
        name: _smoothed(image, brain, fine) - _smoothed(image, brain, coarse)
        for name, image in images.items()
    }
    out = {}
    for a, b in combinations(images, 2):
        out[f"{a}~{b}.all"] = _correlation(smooth[a][inner], smooth[b][inner])
        out[f"{a}~{b}.tissue"] = _correlation(band[a][tissue], band[b][tissue])
    return out


def _lagged(image: npt.NDArray, brain: Mask, lag: int) -> float:
    """Mean over the axes of the correlation of voxels that lie ``lag`` voxels apart."""
    found = []
    for axis in range(3):
        a, b = np.moveaxis(image, axis, 0), np.moveaxis(brain, axis, 0)
        both = b[lag:] & b[:-lag]
        found.append(_correlation(a[lag:][both], a[:-lag][both]))
    return float(np.mean(found))


def _correlation(a: npt.NDArray, b: npt.NDArray) -> float:
    """Pearson's correlation; 0 where one of the two does not vary, NaN for too few voxels."""
    if a.size < LEAST_VOXELS:
        return np.nan
    a, b = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 1e-9 else 0.0
