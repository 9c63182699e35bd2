"""What is measured of a lesion is measured here: a close box around each, and the healthy brain.

Brightness stands as a multiple of the brain's median, not standardised and not clipped: the
standardised images end at 6 spreads, and strongly enhancing tumour lies beyond that.

The training keeps these boxes of its patients, and use cuts the same ones, so both read a lesion's
features from the same voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCES, Case, Lesion, Prepared
from bmcore.geometry import Affine
from bmcore.imaging.lesions import label_lesions
from bmcore.imaging.preprocess import on_working_grid

MARGIN = 8  # voxels of 1 mm kept around a lesion's core
LARGEST = 64  # voxels; a box ends here, the lesion's centre in its middle
MOST = 24  # the largest lesions, which are measured
SAMPLES = 20_000  # voxels of the brain away from every marked tissue
AWAY = 4  # voxels that they keep from it


@dataclass(frozen=True, eq=False)
class LesionCrop:
    """images float32 (4, i, j, k), brightness as a multiple of the brain's median, 0 where a
    sequence is missing; labels uint8 0-3; own bool: the tumour core of this lesion; brain bool; all
    (i, j, k) on the 1 mm working grid."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    own: npt.NDArray[np.bool_]
    brain: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LesionCrops:
    """crops: of the largest lesions, in their order; healthy float32 (4, n): brightness of
    up to ``SAMPLES`` voxels of the brain that lie away from what is marked."""

    crops: tuple[LesionCrop, ...]
    healthy: npt.NDArray[np.float32]


def relative_images(case: Case, prepared: Prepared) -> npt.NDArray[np.float32]:
    """The sequences on the working grid, as multiples of their medians in the brain (4, i, j, k).

    All 0 for a sequence that is missing, or whose median is not above 0 (images that were
    standardised before they came here have no such ratio).
    """
    out = np.zeros(prepared.images.shape, np.float32)
    for place, name in enumerate(SEQUENCES):
        if not prepared.present[place]:
            continue
        image = on_working_grid(case.sequences[name], prepared)
        median = float(np.median(image[prepared.brain]))
        if median > 0:
            out[place] = np.where(prepared.brain, image / median, 0)
    return out


def cut_crops(
    images: npt.NDArray[np.float32],
    labels: npt.NDArray[np.uint8],
    brain: npt.NDArray[np.bool_],
    lesions: Sequence[Lesion],
    affine: Affine,
) -> LesionCrops:
    """Cut what the features of ``lesions`` are measured on.

    images (4, i, j, k): ``relative_images``; labels 0-3 (i, j, k) and brain (i, j, k) lie on the
    working grid of ``affine``. lesions: as ``find_lesions`` numbers those of ``labels``.
    ValueError where the mask
    holds fewer lesions than are named.
    """
    if images.shape != (len(SEQUENCES), *labels.shape) or brain.shape != labels.shape:
        raise ValueError(f"images {images.shape} must be (4, i, j, k) and match {labels.shape}")
    numbers = label_lesions(labels, affine)
    boxes = ndimage.find_objects(numbers)
    if len(lesions) > len(boxes):
        raise ValueError(f"{len(lesions)} lesions are named, but the mask holds {len(boxes)}")
    crops = []
    for lesion in lesions:
        view = _wider(boxes[lesion.number - 1], labels.shape)
        crops.append(
            LesionCrop(
                np.asarray(images[(slice(None), *view)], np.float32),
                labels[view],
                numbers[view] == lesion.number,
                brain[view],
            )
        )
    return LesionCrops(tuple(crops), _healthy(images, labels, brain))


def _wider(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The box with its margin, inside the image, at most ``LARGEST`` voxels along each axis."""
    out = []
    for s, n in zip(box, shape, strict=True):
        low, high = s.start - MARGIN, s.stop + MARGIN
        if high - low > LARGEST:
            low = (low + high - LARGEST) // 2
            high = low + LARGEST
        out.append(slice(max(low, 0), min(high, n)))
    return tuple(out)


def _healthy(
    images: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], brain: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    marked = labels > 0
    if marked.any():
        marked = ndimage.binary_dilation(marked, iterations=AWAY)
    places = np.flatnonzero(brain & ~marked)
    places = places[:: max(1, -(-len(places) // SAMPLES))]
    return np.asarray(images.reshape(len(images), -1)[:, places], np.float32)
