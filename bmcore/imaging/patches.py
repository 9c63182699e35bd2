"""Cubes around lesions: what the CNN sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCES, Label, Lesion
from bmcore.geometry import Affine, check_affine

PATCH_VOXELS = 32
PATCH_MM = 1.5
PATCH_CHANNELS = len(SEQUENCES) + len(Label)


def lesion_patches(
    images: npt.NDArray[np.float32],
    mask: npt.NDArray,
    lesions: Sequence[Lesion],
    affine: Affine,
) -> npt.NDArray[np.float32]:
    """One cube of 48 mm for each lesion: float32 (n, 7, 32, 32, 32) at 1.5 mm.

    images: (4, i, j, k) standardised, mask: labels 0-3 (i, j, k), both on the grid of ``affine``.
    Cubes lie along the world's axes (R, A, S) around ``centroid_mm``, so that they do not depend
    on the grid the lesion was found on. Channels: the four sequences, then necrosis, oedema and
    enhancing tumour as fractions 0-1; all sampled linearly, 0 outside of the image.
    ValueError where shapes differ.
    """
    affine = check_affine(affine)
    if images.ndim != 4 or images.shape[0] != len(SEQUENCES) or images.shape[1:] != mask.shape:
        raise ValueError(f"images {images.shape} must be (4, i, j, k) and match mask {mask.shape}")
    size = (PATCH_VOXELS,) * 3
    out = np.zeros((len(lesions), PATCH_CHANNELS, *size), np.float32)
    if not lesions:
        return out
    channels = [np.asarray(image, np.float32) for image in images]
    channels += [(np.asarray(mask) == label).astype(np.float32) for label in Label]
    shown = [channel.any() for channel in channels]
    inverse = np.linalg.inv(affine)
    for place, lesion in enumerate(lesions):
        matrix = inverse @ patch_affine(lesion)
        for number, channel in enumerate(channels):
            if shown[number]:
                ndimage.affine_transform(
                    channel,
                    matrix[:3, :3],
                    matrix[:3, 3],
                    output_shape=size,
                    output=out[place, number],
                    order=1,
                )
    return out


def patch_affine(lesion: Lesion) -> Affine:
    """4x4 from voxels of the lesion's cube to world RAS mm: the way back for maps of the CNN."""
    out = np.diag([PATCH_MM] * 3 + [1.0])
    out[:3, 3] = np.array(lesion.centroid_mm) - PATCH_MM * (PATCH_VOXELS - 1) / 2
    return out
