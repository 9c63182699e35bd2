"""Which grey values are shown from black to white: presets a sequence, from the brain's tissue.

They hang on the voxels alone, not on the order in which a file stores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from bmcore.geometry import Affine, to_ras, voxel_sizes_mm
from bmcore.imaging.brain import LARGEST_ML, background, foreground

# Where the median of the brain's tissue lies between black (0) and white (1).
MEDIAN_GREY: Mapping[str, float] = MappingProxyType(
    {"t1n": 0.55, "t1c": 0.5, "t2w": 0.48, "t2f": 0.5}
)
# Which share of the 5th percentile is black: fluid is dark on T1 and FLAIR and must not be lost.
_BLACK: Mapping[str, float] = MappingProxyType({"t1n": 1.0, "t1c": 0.5, "t2w": 0.3, "t2f": 0.8})
_BLACKEST = 0.5  # of the median; not higher is black, however even the tissue
_SAMPLE = 3_000_000  # voxels that the percentiles come from, evenly through the image
_CROWN_MM = (25.0, 110.0)  # of a head with its skull: heights below the top that hold mostly brain
_INNER = 0.6  # and this share of its width and length


@dataclass(frozen=True)
class Window:
    """Grey values shown black and white. name: of the preset, in words."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Tissue:
    """Percentiles of the grey values inside the brain, in the file's units."""

    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    p99_5: float
    p99_9: float


def tissue(data: npt.NDArray, affine: Affine) -> Tissue | None:
    """What the brain's grey values are; None where nothing differs from the background.

    data: (i, j, k) of one sequence, finite. Without a skull the brain is what differs from the
    background. With one it is what does so in the middle of the head, below its crown.
    """
    ras, affine = to_ras(np.asarray(data), affine)
    every = max(1, round((ras.size / _SAMPLE) ** (1 / 3)))
    sample = np.ascontiguousarray(ras[::every, ::every, ::every], np.float32)
    inside = _brain(sample, voxel_sizes_mm(affine) * every)
    values = sample[inside]
    if values.size == 0:
        return None
    return Tissue(*(float(v) for v in np.percentile(values, (5, 25, 50, 75, 95, 99.5, 99.9))))


def presets(sequence: str, seen: Tissue | None, low: float, high: float) -> tuple[Window, ...]:
    """The windows offered for a sequence, the one to begin with first.

    low, high: of all of the image; they are the window where there is no tissue.
    """
    whole = _window("All values", low, high)
    if seen is None:
        return (whole,)
    black = seen.p5
    if seen.p5 > 0:
        black = min(_BLACK[sequence] * seen.p5, _BLACKEST * seen.median)
    white = black + (seen.median - black) / MEDIAN_GREY[sequence]
    offered = [
        _window("Brain", black, white),
        _window("Grey and white matter", seen.p5, max(seen.p95, seen.median)),
    ]
    if sequence == "t1c":
        offered.append(_window("Enhancement", seen.median, seen.p99_9))
    elif sequence == "t2w":
        offered.append(_window("Fluid", seen.p25, seen.p99_9))
    elif sequence == "t2f":
        offered.append(_window("Oedema", seen.p25, seen.p99_5))
    offered.append(_window("Wide", min(low, 0.0), seen.p99_9))
    return (*offered, whole)


def _window(name: str, low: float, high: float) -> Window:
    return Window(name, low, high if high > low else low + max(abs(low), 1.0) * 1e-3)


def _brain(image: npt.NDArray[np.float32], sizes_mm: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Voxels (i, j, k), RAS, that are mostly brain."""
    shown = foreground(image)
    if not shown.any():
        return shown
    millilitres = float(shown.sum()) * float(np.prod(sizes_mm)) / 1000
    if background(image) is not None and millilitres <= LARGEST_ML:
        return shown
    heights = np.flatnonzero(shown.any(axis=(0, 1)))
    # A handful of noisy voxels above the head is not its top.
    area = shown.sum(axis=(0, 1))
    heights = heights[area[heights] > 0.05 * area.max()]
    top = int(heights[-1])
    first = max(int(heights[0]), top - round(_CROWN_MM[1] / sizes_mm[2]))
    last = max(first + 1, top - round(_CROWN_MM[0] / sizes_mm[2]))
    middle = np.zeros_like(shown)
    middle[:, :, first : last + 1] = _ellipse(shown[:, :, first : last + 1])[..., None]
    return shown & middle


def _ellipse(slab: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The inner part (i, j) of what the slab shows, seen from above."""
    flat = slab.mean(axis=2) > 0.2
    if not flat.any():
        flat = slab.any(axis=2)
    away = np.zeros(flat.shape)
    for axis in (0, 1):
        where = np.flatnonzero(flat.any(axis=1 - axis))
        centre, half = (where[0] + where[-1]) / 2, (where[-1] - where[0] + 1) / 2 * _INNER
        line = ((np.arange(flat.shape[axis]) - centre) / max(half, 1)) ** 2
        away += line[:, None] if axis == 0 else line[None, :]
    return away <= 1
