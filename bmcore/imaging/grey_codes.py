"""The grey values of an image in as few bytes as hold every one of them: 16-bit codes or float32.

Whole numbers, and those that a file scales with a slope, are evenly spaced; so a code of 16 bits
and two numbers give each of them back. Values that are not stay 32-bit floats; of more than
MOST_FLOATS voxels, which no browser would take, they are rounded to 16 bits, and marked so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CODES = 65_536
MOST_FLOATS = 2**25
_SAMPLE = 300_000  # voxels that a spacing is guessed from; every voxel is checked afterwards
_PARTS = 4
_FLOAT_EPS = float(np.finfo(np.float32).eps)
MOST_DECIMALS = 6


@dataclass(frozen=True, eq=False)
class GreyCodes:
    """codes (i, j, k): uint16, where a value is ``low + step * code``, or float32: the values.

    low, high: smallest and greatest value. step: None for float32. decimals: as many digits after
    the point as tell two values apart (float32: about five digits of the greatest value).
    rounded: the values are not the file's to the last digit, but within half of a step.
    """

    codes: npt.NDArray[np.uint16] | npt.NDArray[np.float32]
    low: float
    high: float
    step: float | None
    decimals: int
    rounded: bool = False

    def values(self) -> npt.NDArray[np.float32]:
        """The grey values (i, j, k)."""
        if self.step is None:
            return np.asarray(self.codes, np.float32)
        return (self.low + self.step * self.codes).astype(np.float32)


def encode(data: npt.NDArray) -> GreyCodes:
    """``data`` (i, j, k), finite, as codes; each value comes back as exact as a float32 is."""
    data = np.asarray(data, np.float32)
    low, high = float(data.min()), float(data.max())
    for step in _steps(data, low, high):
        codes = _codes(data, low, step, high)
        if codes is not None:
            return GreyCodes(codes, low, high, step, _decimals_of_step(step))
    decimals = _decimals_of_range(low, high)
    if data.size <= MOST_FLOATS:
        return GreyCodes(data, low, high, None, decimals)
    step = (high - low) / (CODES - 1)
    codes = np.empty(data.shape, np.uint16, order="F")
    for k in range(data.shape[2]):
        codes[:, :, k] = np.rint((data[:, :, k].astype(np.float64) - low) / step)
    return GreyCodes(codes, low, high, step, decimals, rounded=True)


def _steps(data: npt.NDArray[np.float32], low: float, high: float) -> Iterator[float]:
    """Spacings that the values may have, the likeliest first."""
    if low == high:
        yield 1.0
        return
    if low == round(low) and high == round(high) and high - low < CODES:
        yield 1.0
    every = max(1, round((data.size / _SAMPLE) ** (1 / 3)))
    found = data[::every, ::every, ::every].astype(np.float64).ravel()
    gaps = np.diff(np.unique(np.r_[low, found, high]))
    gaps = gaps[gaps > 8 * _FLOAT_EPS * max(abs(low), abs(high))]
    for part in range(1, _PARTS + 1) if gaps.size else ():  # a sample may hold no two neighbours
        step = _refined(gaps, float(gaps.min()) / part)
        count = int(np.rint(gaps / step).sum())
        if 0 < count < CODES:
            yield (high - low) / count


def _refined(gaps: npt.NDArray[np.float64], step: float) -> float:
    """``step`` from many small gaps: one alone is as wrong as a float32 is rounded."""
    small = gaps[gaps < 4.5 * step]
    counts = np.maximum(1, np.rint(small / step))
    return float(small.sum() / counts.sum())


def _codes(
    data: npt.NDArray[np.float32], low: float, step: float, high: float
) -> npt.NDArray[np.uint16] | None:
    """The codes at this spacing; None where one value does not lie on it."""
    allowed = 4 * _FLOAT_EPS * max(abs(low), abs(high)) if step != 1.0 else 0.0
    out = np.empty(data.shape, np.uint16, order="F")
    for k in range(data.shape[2]):
        plane = data[:, :, k].astype(np.float64)
        codes = np.rint((plane - low) / step)
        if np.abs(low + step * codes - plane).max() > allowed:
            return None
        out[:, :, k] = codes
    return out


def _decimals_of_step(step: float) -> int:
    """Digits that tell neighbours apart: none for whole steps, else down to a tenth of a step."""
    if step == round(step):
        return 0
    return min(MOST_DECIMALS, max(0, math.ceil(-math.log10(step)) + 1))


def _decimals_of_range(low: float, high: float) -> int:
    most = max(abs(low), abs(high), 1e-9)
    return min(MOST_DECIMALS, max(0, 4 - math.floor(math.log10(most))))
