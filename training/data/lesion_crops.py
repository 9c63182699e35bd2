"""Crops around lesions, to learn lesion refinement from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.imaging.masks import NEIGHBOURS, connected, tumour_core
from bmcore.models.losses import IGNORED
from training.data.sampling import augment

if TYPE_CHECKING:
    from bmcore.models.candidates import Candidate


CROP = 24  # voxels; edge of what is kept of a lesion
SEEN = 20  # voxels; edge of what a step sees of that, somewhere in it
DROP = 0.12  # chance to lose each of t1n, t2w, t2f


@dataclass(frozen=True, eq=False)
class Crops:
    """n lesions: images and probabilities float16 (n, 4, e, e, e), own and brain bool (n, e, e, e),
    label uint8 (n, e, e, e): 0 outside of the lesion's core, 1 necrosis, 2 enhancing tumour,
    IGNORED in the core of another lesion."""

    images: npt.NDArray[np.float16]
    probabilities: npt.NDArray[np.float16]
    own: npt.NDArray[np.bool_]
    brain: npt.NDArray[np.bool_]
    label: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.label)


# Name of the array in the files -> field
ARRAYS = {"images": "images", "chances": "probabilities", "own": "own", "brain": "brain",
          "label": "label"}  # fmt: skip


def cut_crops(
    images: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.uint8],
    parts: npt.NDArray[np.int32],
    found: Sequence[Candidate],
) -> Crops:
    """The small candidates that touch a metastasis, each around its centre.

    images, probabilities (4, i, j, k); brain, parts (i, j, k); truth (i, j, k): labels 0-3.
    """
    from scipy import ndimage

    from bmcore.imaging.preprocess import crop_or_pad
    from bmcore.models.lesion_refinement import is_small

    lesions, _ = connected(tumour_core(truth))
    rows: list[tuple[npt.NDArray, ...]] = []
    size = np.full(3, CROP)
    for candidate in found:
        box = candidate.box
        if not is_small(box):
            continue
        wider = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        own = parts[wider] == candidate.number
        hit = np.unique(lesions[wider][ndimage.binary_dilation(own, NEIGHBOURS)])
        hit = hit[hit > 0]
        if not len(hit):
            continue
        low = np.array(candidate.centre) - CROP // 2
        lesion, there = crop_or_pad(lesions, low, size), crop_or_pad(truth, low, size)
        label = np.where(np.isin(lesion, hit), np.where(there == 1, 1, 2), IGNORED)
        label[lesion == 0] = 0
        rows.append((
            np.array([crop_or_pad(image, low, size) for image in images], np.float16),
            np.array([crop_or_pad(chance, low, size) for chance in probabilities], np.float16),
            crop_or_pad(parts, low, size) == candidate.number,
            crop_or_pad(brain, low, size),
            label.astype(np.uint8),
        ))  # fmt: skip
    if not rows:
        return no_crops()
    return Crops(*(np.stack(column) for column in zip(*rows, strict=True)))


def no_crops() -> Crops:
    """None at all."""
    one, four = (0, CROP, CROP, CROP), (0, 4, CROP, CROP, CROP)
    return Crops(
        np.zeros(four, np.float16), np.zeros(four, np.float16), np.zeros(one, bool),
        np.zeros(one, bool), np.zeros(one, np.uint8),
    )  # fmt: skip


def join(crops: Sequence[Crops]) -> Crops:
    """Several as one."""
    return Crops(*(np.concatenate([getattr(c, name) for c in crops]) for name in ARRAYS.values()))


def changed(
    crops: Crops, number: int, random: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """What a step sees of a crop, and its label: moved, turned, mirrored, intensities changed."""
    from bmcore.models.lesion_refinement import stack

    start = random.integers(0, CROP - SEEN + 1, 3)
    view = tuple(slice(int(s), int(s) + SEEN) for s in start)
    every = (slice(None), *view)
    images = augment(crops.images[number][every].astype(np.float32), random, DROP)
    seen = stack(images, crops.probabilities[number][every], crops.own[number][view],
                 crops.brain[number][view])  # fmt: skip
    axes = random.permutation(3)
    flips = tuple(int(a) for a in np.flatnonzero(random.uniform(size=3) < 0.5))
    seen = np.flip(seen.transpose(0, *(axes + 1)), tuple(f + 1 for f in flips))
    label = np.flip(crops.label[number][view].transpose(axes), flips)
    return np.ascontiguousarray(seen), np.ascontiguousarray(label)
