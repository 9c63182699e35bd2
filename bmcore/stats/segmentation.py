"""How well a mask fits a reference mask; volume by volume and lesion by lesion.

Masks are bool (i, j, k) on one grid; ``spacing_mm`` holds the three voxel edges. A surface is the
set of mask voxels with a face neighbour outside the mask; distances run between voxel centres.
Empty masks follow BraTS: both empty is a perfect score (Dice and NSD 1, HD95 0); one empty is the
worst (0, and 374 mm, the diagonal of the BraTS grid).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from bmcore.stats.bootstrap import Resampling, patient_bootstrap
from bmcore.stats.estimate import Estimate, undefined

Mask = npt.NDArray[np.bool_]
WORST_HD95_MM = 374.0
_TOUCHING = ndimage.generate_binary_structure(3, 3)  # 26 neighbours
_DILATION = ndimage.generate_binary_structure(3, 2)  # 18 neighbours, one voxel


@dataclass(frozen=True)
class LesionScore:
    """One reference lesion. ``diameter_mm``: greatest distance between two of its voxel centres
    plus one voxel. ``dice`` and ``hd95_mm`` against all predicted lesions that touch it."""

    volume_mm3: float
    diameter_mm: float
    detected: bool
    dice: float
    hd95_mm: float


@dataclass(frozen=True)
class LesionWise:
    """Lesion-wise scores of one case. ``dice`` and ``hd95_mm`` average over reference lesions and
    false lesions; ``false_lesions`` counts predicted lesions that touch no reference lesion."""

    dice: float
    hd95_mm: float
    lesions: tuple[LesionScore, ...]
    false_lesions: int

    @property
    def found(self) -> int:
        return sum(s.detected for s in self.lesions)

    @property
    def missed(self) -> int:
        return len(self.lesions) - self.found


@dataclass(frozen=True)
class SizeBin:
    """Detection sensitivity for lesions of ``low_mm`` up to, not including, ``high_mm``."""

    low_mm: float
    high_mm: float
    lesions: int
    sensitivity: Estimate


def region(labels: npt.NDArray, of: Sequence[int]) -> Mask:
    """The voxels of a label map that carry one of the labels ``of``, for instance TC is (1, 3)."""
    return np.isin(labels, list(of))


def dice(prediction: Mask, reference: Mask) -> float:
    """Twice the overlap over the sum of sizes, 0-1 (Dice 1945)."""
    a, b = _pair(prediction, reference)
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int((a & b).sum()) / total


def volume_error_mm3(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> float:
    """Predicted minus reference volume in mm3; above 0 is too much."""
    a, b = _pair(prediction, reference)
    return (int(a.sum()) - int(b.sum())) * float(np.prod(spacing_mm))


def surface_dice(
    prediction: Mask,
    reference: Mask,
    spacing_mm: Sequence[float],
    tolerance_mm: float = 1.0,
) -> float:
    """Normalised surface Dice (NSD): share of both surfaces within ``tolerance_mm`` of the other.

    Nikolov 2021 (J Med Internet Res 23:e26151), on surface voxels instead of surface elements.
    """
    a, b = _pair(prediction, reference)
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    to_b, to_a = _surface_distances(a, b, spacing_mm)
    near = (to_b <= tolerance_mm + 1e-9).sum() + (to_a <= tolerance_mm + 1e-9).sum()
    return float(near / (len(to_b) + len(to_a)))


def hd95_mm(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> float:
    """95th percentile of the surface distance, the greater of the two directions, in mm."""
    a, b = _pair(prediction, reference)
    if not a.any() or not b.any():
        return 0.0 if a.any() == b.any() else WORST_HD95_MM
    return max(float(np.percentile(d, 95)) for d in _surface_distances(a, b, spacing_mm))


def lesion_wise(
    prediction: Mask,
    reference: Mask,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    smallest_voxels: int = 2,
) -> LesionWise:
    """Lesion-wise Dice and HD95 as the BraTS-METS 2023 challenge defines them (arXiv 2306.00838).

    The reference is dilated by one voxel (1 mm on the BraTS grid, 18 neighbours) before its
    components (26 neighbours) are labelled, so that near pieces are one lesion. A predicted
    component belongs to each lesion whose own dilation it touches. Reference lesions of fewer than
    ``smallest_voxels`` voxels are ignored (the challenge's published code leaves out 2 voxels too:
    give 3 for its numbers). A missed lesion and a false lesion each count Dice 0 and HD95 374 mm.
    """
    a, b = _pair(prediction, reference)
    if not a.any() and not b.any():
        return LesionWise(1.0, 0.0, (), 0)
    box = _box(a | b, margin=2)
    a, b = a[box], b[box]
    merged, n_lesions = ndimage.label(ndimage.binary_dilation(b, _DILATION), _TOUCHING)
    lesions = np.where(b, merged, 0)
    parts, n_parts = ndimage.label(a, _TOUCHING)
    matched: set[int] = set()
    scores = []
    for number in range(1, n_lesions + 1):
        own = lesions == number
        touching = np.unique(parts[ndimage.binary_dilation(own, _DILATION)])
        touching = touching[touching > 0]
        matched.update(int(t) for t in touching)
        if own.sum() >= smallest_voxels:
            scores.append(_score(own, np.isin(parts, touching), spacing_mm))
    false_lesions = n_parts - len(matched)
    n = len(scores) + false_lesions
    if n == 0:
        return LesionWise(1.0, 0.0, (), 0)
    total = sum(s.hd95_mm for s in scores) + WORST_HD95_MM * false_lesions
    return LesionWise(sum(s.dice for s in scores) / n, total / n, tuple(scores), false_lesions)


def largest_diameter_mm(mask: Mask, spacing_mm: Sequence[float]) -> float:
    """Greatest distance between two voxel centres of ``mask`` plus the mean voxel edge, in mm."""
    edge = float(np.mean(spacing_mm))
    points = np.argwhere(_surface(mask)) * np.asarray(spacing_mm, float)
    if len(points) == 0:
        return 0.0
    if len(points) == 1:
        return edge
    if len(points) > 100:
        with contextlib.suppress(QhullError):  # flat: no hull in 3D, all surface voxels serve
            points = points[ConvexHull(points).vertices]
    return float(pdist(points).max()) + edge


def detection_by_size(
    diameters_mm: npt.ArrayLike,
    detected: npt.ArrayLike,
    patients: npt.ArrayLike,
    edges_mm: Sequence[float] = (0.0, 5.0, 10.0, 20.0, float("inf")),
    resampling: Resampling = Resampling(),
) -> tuple[SizeBin, ...]:
    """Share of reference lesions found, by diameter; patients are resampled, not lesions.

    diameters_mm, detected, patients: (n_lesions,) over all cases.
    """
    size = np.asarray(diameters_mm, float)
    hit = np.asarray(detected, float)
    ids = np.asarray(patients)
    rows = []
    for low, high in itertools.pairwise(edges_mm):
        inside = (size >= low) & (size < high)
        rows.append(
            SizeBin(low, high, int(inside.sum()), _share(hit[inside], ids[inside], resampling))
        )
    return tuple(rows)


def false_lesions_per_case(
    counts: npt.ArrayLike,
    patients: npt.ArrayLike | None = None,
    resampling: Resampling = Resampling(),
) -> Estimate:
    """Mean number of false lesions a case; ``counts`` (cases,), cases without any included."""
    number = np.asarray(counts, float)
    if number.size == 0:
        return undefined(0, "not defined: there is no case")
    ids = np.arange(len(number)) if patients is None else np.asarray(patients)
    return patient_bootstrap(lambda w: (w @ number) / w.sum(axis=1), ids, resampling)


def _share(hit: npt.NDArray[np.float64], ids: npt.NDArray, resampling: Resampling) -> Estimate:
    if len(hit) == 0:
        return undefined(0, "not defined: no lesion of this size")
    return patient_bootstrap(lambda w: (w @ hit) / w.sum(axis=1), ids, resampling)


def _score(own: Mask, found: Mask, spacing_mm: Sequence[float]) -> LesionScore:
    box = _box(own | found, margin=0)
    own, found = own[box], found[box]
    return LesionScore(
        volume_mm3=float(own.sum() * np.prod(spacing_mm)),
        diameter_mm=largest_diameter_mm(own, spacing_mm),
        detected=bool(found.any()),
        dice=dice(found, own),
        hd95_mm=hd95_mm(found, own, spacing_mm),
    )


def _surface(mask: Mask) -> Mask:
    return mask & ~ndimage.binary_erosion(mask)


def _surface_distances(
    a: Mask, b: Mask, spacing_mm: Sequence[float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distances in mm from each surface voxel of ``a`` to the surface of ``b``, and back."""
    box = _box(a | b, margin=0)
    edge_a, edge_b = _surface(a[box]), _surface(b[box])
    to_b = ndimage.distance_transform_edt(~edge_b, sampling=spacing_mm)
    to_a = ndimage.distance_transform_edt(~edge_a, sampling=spacing_mm)
    return to_b[edge_a], to_a[edge_b]


def _box(mask: Mask, margin: int) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(0, s.start - margin), min(size, s.stop + margin))
        for s, size in zip(found, mask.shape, strict=True)
    )


def _pair(prediction: Mask, reference: Mask) -> tuple[Mask, Mask]:
    a, b = np.asarray(prediction, bool), np.asarray(reference, bool)
    if a.ndim != 3 or a.shape != b.shape:
        raise ValueError(f"both masks must be 3D on one grid, but are {a.shape} and {b.shape}")
    return a, b
