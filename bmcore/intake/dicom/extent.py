"""How much of the head a series covers, beside the other series of its examination.

A slab through the inner ears or the sella is finer than the series of the whole head, and a series
that was stopped looks like a whole one: what they leave out can hold a metastasis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from nibabel.orientations import io_orientation

from bmcore.domain import Finding, Severity
from bmcore.geometry import voxel_sizes_mm
from bmcore.intake.dicom.found import SeriesFound, Stack

WHOLE = 0.7  # of what the other series cover along an axis
# More than this is not head but air and neck; left to right, back to front, feet to head.
_HEAD_MM = np.array([140.0, 180.0, 130.0])
_AXES = ("from left to right", "from back to front", "from feet to head")


def with_coverage(found: Sequence[SeriesFound]) -> list[SeriesFound]:
    """The series of one examination, each with its coverage; what covers a part only says so."""
    extents = {
        series.label: _extent_mm(series.stack)
        for series in found
        if series.sequence and series.usable and series.stack is not None
    }
    if not extents:
        return list(found)
    most = np.max(list(extents.values()), axis=0)
    return [_beside(series, extents[series.label], most) if series.label in extents else series
            for series in found]  # fmt: skip


def _extent_mm(stack: Stack) -> npt.NDArray[np.float64]:
    """The length (3,) of a volume along the axes of the body that its own axes are nearest to."""
    lengths = np.array(stack.shape) * voxel_sizes_mm(stack.affine)
    extent = np.zeros(3)
    extent[io_orientation(stack.affine)[:, 0].astype(int)] = lengths
    return extent


def _beside(
    series: SeriesFound, extent: npt.NDArray[np.float64], most: npt.NDArray[np.float64]
) -> SeriesFound:
    shares = np.minimum(extent / np.minimum(most, _HEAD_MM), 1.0)
    axis = int(shares.argmin())
    if shares[axis] >= WHOLE:
        return series
    found = f"{extent[axis]:.0f} mm {_AXES[axis]}, where other series cover {most[axis]:.0f} mm"
    note = Finding(
        Severity.WARNING,
        "it covers only a part of the head; lesions outside of it cannot be found in it",
        series.title,
        found=found,
        hint="look for the series of the whole head.",
    )
    coverage = round(float(shares[axis]), 1)
    return replace(series, coverage=coverage, notes=(*series.notes, note))
