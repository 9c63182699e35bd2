"""Where the brain is in images whose skull was removed, and a warning where it was not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import Finding, Severity
from bmcore.geometry import Affine
from bmcore.imaging.masks import box_of

LARGEST_ML = 2200.0  # above the largest intracranial volumes of healthy adults
SMALLEST_ML = 500.0
TOUCHING = 0.15  # share of an image face


def find_brain(
    images: Mapping[str, npt.NDArray], affine: Affine
) -> tuple[npt.NDArray[np.bool_], tuple[Finding, ...]]:
    """Mask (i, j, k) of what differs from the background, and warnings on how plausible it is.

    images: sequence -> (i, j, k), all on the grid of ``affine``. A voxel belongs to the brain where
    at least half of the sequences show something; the largest connected part counts, without
    holes. The mask is empty where nothing differs from the background.
    """
    shown = [foreground(image) for image in images.values()]
    votes = np.zeros(shown[0].shape, np.uint8)
    for one in shown:
        votes += one
    mask = filled(largest_part(2 * votes >= len(shown)))
    return mask, _plausible(mask, affine) if mask.any() else ()


def foreground(image: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Voxels that differ from the background.

    Where most border voxels have one value (0, or any number a tool chose), that value is the
    background. Else the background is noise, and Otsu's threshold parts it from the head.
    """
    image = np.asarray(image, np.float32)
    value = background(image)
    if value is None:
        return image > otsu_threshold(image)
    spread = np.abs(image - value)
    sample = spread[spread > 0][::97]
    least = 1e-3 * float(np.percentile(sample, 99)) if sample.size else 0.0
    return spread > least


def background(image: npt.NDArray) -> float | None:
    """The value of most border voxels; None where there is none and the background is noise."""
    border = np.concatenate([face.ravel() for face in _faces(np.asarray(image, np.float32))])
    values, counts = np.unique(border, return_counts=True)
    return float(values[counts.argmax()]) if counts.max() > 0.5 * border.size else None


def otsu_threshold(image: npt.NDArray) -> float:
    """The threshold that best parts two classes (Otsu, IEEE Trans. SMC 1979, 9:62-66)."""
    sample = np.asarray(image, np.float32).ravel()[::7]
    high = float(np.percentile(sample, 99.5))
    counts, edges = np.histogram(np.minimum(sample, high), bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = (sums / below - (sums[-1] - sums) / above) ** 2 * below * above
    return float(middles[int(np.nanargmax(np.where(np.isfinite(gap), gap, -1)))])


def largest_part(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def filled(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Fill holes: background that is not connected with the outside."""
    if not mask.any():
        return mask
    box = box_of(mask)
    inner = np.pad(mask[box], 1)
    labels, _ = ndimage.label(~inner)
    out = mask.copy()
    out[box] = (labels != labels[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return out


def _plausible(mask: npt.NDArray[np.bool_], affine: Affine) -> tuple[Finding, ...]:
    volume_ml = float(mask.sum()) * abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    findings = []
    if volume_ml > LARGEST_ML:
        findings.append(
            Finding(
                Severity.WARNING,
                "the skull seems not to be removed; the models were trained on brains without "
                "skull, so their results are unreliable here",
                found=f"{volume_ml:.0f} ml that are not background",
                expected=f"a brain, at most {LARGEST_ML:.0f} ml",
                hint="remove the skull first (for instance with HD-BET or SynthStrip).",
            )
        )
    elif volume_ml < SMALLEST_ML:
        findings.append(
            Finding(
                Severity.WARNING,
                "the brain is very small; part of it may lie outside the image",
                found=f"{volume_ml:.0f} ml",
                expected=f"at least {SMALLEST_ML:.0f} ml",
                hint="check that the images cover the whole brain.",
            )
        )
    touching = _touching(mask)
    if touching > TOUCHING:
        findings.append(
            Finding(
                Severity.WARNING,
                "the head touches the edge of the image over a wide area: the skull is not "
                "removed, or the image cuts through the brain",
                found=f"{touching:.0%} of one face of the image",
                expected=f"at most {TOUCHING:.0%}",
                hint="remove the skull and check that the whole brain is covered.",
            )
        )
    return tuple(findings)


def _touching(mask: npt.NDArray[np.bool_]) -> float:
    """The largest share of one of the six faces that the mask covers."""
    return max(float(face.mean()) for face in _faces(mask))


def _faces(image: npt.NDArray) -> list[npt.NDArray]:
    return [np.moveaxis(image, axis, 0)[place] for axis in range(3) for place in (0, -1)]
