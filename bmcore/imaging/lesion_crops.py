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

from bmcore.domain import SEQUENCES, Case, Lesion, Prepared, Volume
from bmcore.geometry import transform
from bmcore.imaging.lesions import label_lesions
from bmcore.imaging.masks import connected, tumour_core
from bmcore.imaging.preprocess import on_working_grid, to_working_grid

MARGIN = 8  # voxels of 1 mm kept around a lesion's core
LARGEST = 64  # voxels; a box ends here, the lesion's centre in its middle
MOST = 24  # the largest lesions, which are measured
SAMPLES = 20_000  # voxels of the brain away from every marked tissue
AWAY = 4  # voxels that they keep from it


@dataclass(frozen=True, eq=False)
class LesionCrop:
    """images float32 (4, i, j, k), brightness as a multiple of the brain's median, 0 where a
    sequence is missing; labels uint8 0-3; own bool: the tumour core of this lesion; brain bool; all
    (i, j, k) on the 1 mm working grid, where start is the crop's first voxel."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    own: npt.NDArray[np.bool_]
    brain: npt.NDArray[np.bool_]
    start: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, eq=False)
class LesionCrops:
    """crops: of the largest lesions, in their order; healthy float32 (4, n): brightness of
    up to ``SAMPLES`` voxels of the brain that lie away from what is marked."""

    crops: tuple[LesionCrop, ...]
    healthy: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Marked:
    """What is marked on the working grid, both (i, j, k). labels: 0-3. numbers int32: the lesion
    that a voxel belongs to, 0 for none."""

    labels: npt.NDArray[np.uint8]
    numbers: npt.NDArray[np.int32]


def mark(labels: npt.NDArray[np.uint8], mask: Volume, prepared: Prepared) -> Marked:
    """Labels on the working grid with the lesions' numbers of ``mask``; see ``carry_numbers``."""
    return Marked(labels, carry_numbers(labels, mask, prepared))


def carry_numbers(
    labels: npt.NDArray[np.uint8], mask: Volume, prepared: Prepared
) -> npt.NDArray[np.int32]:
    """The lesions of ``mask`` on the working grid, by the numbers that they have in ``mask``.

    labels 0-3 (i, j, k) on the working grid; mask: the same on the input's grid, where lesions are
    counted and measured. Counted anew on the working grid, two of them may join or part, or two of
    nearly one volume change places. A voxel of the core has the number at its place in ``mask``, at
    an edge that of the nearest voxel of its own connected part. A lesion that has no voxel left
    gets the free one nearest to its centroid, so each number of ``mask`` is there. Where the input
    was not resampled it is ``label_lesions(labels, prepared.affine)``.
    """
    counted = label_lesions(mask.data, mask.affine)
    core = tumour_core(labels)
    out = np.where(core, to_working_grid(Volume(counted, mask.affine), prepared), 0)
    out = out.astype(np.int32)
    if (core & (out == 0)).any():
        _fill_edges(out, core)
    for lost in sorted(set(range(1, int(counted.max(initial=0)) + 1)) - set(np.unique(out))):
        places = np.argwhere(counted == lost)
        between = np.asarray(np.linalg.inv(prepared.affine) @ mask.affine, np.float64)
        free = np.argwhere(out == 0)
        apart = free - transform(between, places).mean(axis=0)
        out[tuple(free[(apart**2).sum(axis=1).argmin()])] = lost
    return out


def _fill_edges(numbers: npt.NDArray[np.int32], core: npt.NDArray[np.bool_]) -> None:
    """Give the core's voxels without a number that of the nearest in their connected part."""
    parts, _ = connected(core)
    boxes = ndimage.find_objects(parts)
    for part in np.unique(parts[core & (numbers == 0)]):
        view = boxes[part - 1]
        inside = parts[view] == part
        known = inside & (numbers[view] > 0)
        if not known.any():
            continue  # too small to be a lesion
        nearest = ndimage.distance_transform_edt(
            ~known, return_distances=False, return_indices=True
        )
        unknown = inside & ~known
        numbers[view][unknown] = numbers[view][tuple(nearest[:, unknown])]


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
    marked: Marked,
    brain: npt.NDArray[np.bool_],
    lesions: Sequence[Lesion],
) -> LesionCrops:
    """Cut what the features of ``lesions`` are measured on.

    images (4, i, j, k): ``relative_images``; marked and brain (i, j, k) on the working grid.
    ValueError where a lesion is not among the numbers of ``marked``.
    """
    labels, numbers = marked.labels, marked.numbers
    if images.shape != (len(SEQUENCES), *labels.shape) or brain.shape != labels.shape:
        raise ValueError(f"images {images.shape} must be (4, i, j, k) and match {labels.shape}")
    boxes = dict(enumerate(ndimage.find_objects(numbers), start=1))
    crops = []
    for lesion in lesions:
        box = boxes.get(lesion.number)
        if box is None:
            raise ValueError(f"lesion {lesion.number} is not marked on the working grid")
        view = _wider(box, labels.shape)
        crops.append(
            LesionCrop(
                np.asarray(images[(slice(None), *view)], np.float32),
                labels[view],
                numbers[view] == lesion.number,
                brain[view],
                (view[0].start, view[1].start, view[2].start),
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
