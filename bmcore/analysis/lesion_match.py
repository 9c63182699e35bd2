"""Which reference lesion a mark or a lesion of the models belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import REGIONS, Prediction, Volume
from bmcore.geometry import transform
from bmcore.imaging.lesions import label_lesions, largest_diameter_mm

REACH_MM = 5.0  # a click beside a small lesion means that lesion
Labels = npt.NDArray[np.int32]


def number_lesions(reference: Volume) -> Labels:
    """Lesions of the tumour core numbered from 1, (i, j, k), 0 outside."""
    return label_lesions(np.asarray(reference.data), reference.affine)


def diameters_mm(numbered: Labels, affine: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """The longest diameter of each lesion in mm, in the order of their numbers."""
    return tuple(
        largest_diameter_mm(np.argwhere(numbered[box] == n) + [s.start for s in box], affine)
        for n, box in enumerate(ndimage.find_objects(numbered), start=1)
        if box is not None
    )


def match_each(
    points_mm: Sequence[tuple[float, float, float]],
    numbered: Labels,
    affine: npt.NDArray[np.float64],
) -> tuple[int, ...]:
    """The lesion that each point (world RAS mm) lies on, 0 for none: the nearest lesion voxel
    within ``REACH_MM``."""
    voxels = np.argwhere(numbered)
    if not len(points_mm) or not len(voxels):
        return (0,) * len(points_mm)
    from scipy.spatial import cKDTree

    distance, at = cKDTree(transform(affine, voxels)).query(np.array(points_mm, float))
    return tuple(
        int(numbered[tuple(voxels[i])]) if d <= REACH_MM else 0
        for d, i in zip(distance, at, strict=True)
    )


def match_points(
    points_mm: Sequence[tuple[float, float, float]],
    numbered: Labels,
    affine: npt.NDArray[np.float64],
) -> tuple[frozenset[int], int]:
    """The lesions that the points lie on, see ``match_each``, and how many points lie on none. Two
    points on one lesion count once."""
    on = match_each(points_mm, numbered, affine)
    return frozenset(n for n in on if n), sum(not n for n in on)


def kept_lesions(prediction: Prediction, numbered: Labels) -> dict[int, frozenset[int]]:
    """{number of the models' lesion: reference lesions that it shares a voxel with}."""
    own = label_lesions(np.asarray(prediction.mask.data), prediction.mask.affine)
    if own.shape != numbered.shape:
        return {}
    core = np.isin(prediction.mask.data, REGIONS["TC"])
    return {
        lesion.number: frozenset(
            int(n) for n in np.unique(numbered[(own == lesion.number) & core]) if n
        )
        for lesion in prediction.lesions
    }
