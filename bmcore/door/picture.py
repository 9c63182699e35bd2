"""Pictures of an arrival: the outline of the brain over T1 post-gadolinium; a slice of a series."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import Volume
from bmcore.geometry import transform
from bmcore.imaging.slices import auto_window, render_slice, slice_at

OUTLINE = (64, 224, 208)  # stands out from grey in both schemes, and is no colour of a label
_ORDER = ("axial", "coronal", "sagittal")
_SMALL, _LARGE = 160, 560  # pixels of the longer side
STEP = 2  # voxels of the working grid, 1 mm, in one that the brush paints on
MOST_BRUSH = 256**3


def outlines(image: Volume, brain: Volume) -> Iterator[tuple[str, bytes]]:
    """(plane, PNG) of the slices through the middle of the brain, its outline drawn.

    image, brain: on one grid; brain is not 0 inside. ValueError where the brain is empty.
    """
    inside = np.asarray(brain.data) > 0
    if not inside.any():
        raise ValueError("the outline of the brain is empty")
    middle = transform(brain.affine, np.argwhere(inside).mean(axis=0))
    window, mask = auto_window(image), Volume(inside.astype(np.float32), brain.affine)
    for plane in _ORDER:
        at = slice_at(image, plane, middle)
        picture = _large(render_slice(image, plane, at, window=window))
        filled = _large(render_slice(mask, plane, at, window=(0, 1)))[..., 0] > 127
        picture[_edge(filled, 2)] = OUTLINE
        yield plane, _png(picture)


def plain(image: Volume) -> Iterator[tuple[str, bytes]]:
    """(plane, PNG) of the slices through the middle of what is not background."""
    data = np.asarray(image.data)
    middle = transform(image.affine, np.argwhere(data > data.min())[::97].mean(axis=0))
    window = auto_window(image)
    for plane in _ORDER:
        at = slice_at(image, plane, middle)
        yield plane, _png(_large(render_slice(image, plane, at, window=window)))


def _large(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Drawn larger, without steps, so that a thin line can be seen."""
    from PIL import Image

    by = max(1.0, _LARGE / max(picture.shape[:2]))
    size = (round(picture.shape[1] * by), round(picture.shape[0] * by))
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _edge(filled: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    thinner = ndimage.binary_erosion(filled, iterations=width, border_value=0)
    return np.asarray(filled & ~thinner)


def for_brush(image: Volume, brain: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.uint8]]:
    """What the brush paints on: every second voxel of ``image`` as grey values, and the mask.

    image, brain: (i, j, k) of the working grid, axes to the right, front and top.
    """
    low, high = auto_window(image)
    grey = np.clip((np.asarray(image.data)[::STEP, ::STEP, ::STEP] - low) / (high - low), 0, 1)
    return {"image": np.rint(grey * 255).astype(np.uint8), "brain": coarse(brain).astype(np.uint8)}


def coarse(brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Blocks of 2 x 2 x 2 voxels: True where at least half of a block is."""
    sizes = [-(-n // STEP) for n in brain.shape]
    padded = np.zeros([n * STEP for n in sizes], np.uint8)
    padded[tuple(slice(0, n) for n in brain.shape)] = brain
    a, b, c = sizes
    blocks = padded.reshape(a, STEP, b, STEP, c, STEP).sum(axis=(1, 3, 5))
    return np.asarray(blocks >= STEP**3 // 2)


def corrected(
    brain: npt.NDArray[np.bool_], painted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """``brain`` with the blocks that were painted otherwise; the rest of its edge stays fine.

    painted: of the shape of ``coarse(brain)``; ValueError otherwise.
    """
    before = coarse(brain)
    if painted.shape != before.shape:
        raise ValueError(f"what was painted must be {before.shape}, but is {painted.shape}")
    changed = painted != before
    for axis in range(3):
        changed, painted = (np.repeat(a, STEP, axis) for a in (changed, painted))
    inside = tuple(slice(0, n) for n in brain.shape)
    return np.where(changed[inside], painted[inside], brain)


def small(values: npt.NDArray[np.float32], aspect: float) -> bytes:
    """A slice as a small PNG. values: (column, row). aspect: height of a pixel over its width."""
    from PIL import Image

    low, high = (float(v) for v in np.percentile(values, (1, 99.5)))
    grey = np.clip((values.T - low) / (high - low if high > low else 1.0), 0, 1)
    picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    height = picture.height * aspect
    scale = _SMALL / max(picture.width, height)
    size = (max(1, round(picture.width * scale)), max(1, round(height * scale)))
    return _encoded(picture.resize(size, Image.Resampling.BILINEAR))


def _png(picture: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    return _encoded(Image.fromarray(picture))


def _encoded(picture: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")  # type: ignore[attr-defined]
    return buffer.getvalue()
