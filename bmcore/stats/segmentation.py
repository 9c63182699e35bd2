"""How well a mask fits a reference mask; volume by volume and lesion by lesion.

Masks are bool (i, j, k) on one grid; ``spacing_mm`` holds the three voxel edges, which may differ.
A surface is the set of mask voxels with a face neighbour outside the mask (the edge of the grid
counts as outside); distances run between voxel centres in mm.
Empty masks follow BraTS: both empty is a perfect score (Dice and NSD 1, HD95 0 mm); one empty is
the worst (0, and 374 mm, the diagonal of the BraTS grid of 240 x 240 x 155 mm rounded up).

The lesion-wise rules are those of BraTS-METS 2023 (Moawad et al. 2023, arXiv 2306.00838) as its
published scoring code applies them (github.com/rachitsaluja/BraTS-2023-Metrics, "BraTS-MET":
dilation factor 1, 18-neighbour element, 26-neighbour components, volume threshold 2).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from bmcore.stats import clustered
from bmcore.stats.bootstrap import Resampling, mean_statistic, patient_bootstrap
from bmcore.stats.estimate import Estimate, poisson_rate, undefined

Mask = npt.NDArray[np.bool_]
Spacing = Sequence[float] | npt.NDArray[np.float64]
WORST_HD95_MM = 374.0
SURFACE_CONVENTION = "surface voxels, distances between voxel centres (MONAI)"
JOIN_MM = 1.0
_TOUCHING = ndimage.generate_binary_structure(3, 3)  # 26 neighbours
_SLACK = 1.05  # voxels up to 5 % larger than 1 mm still count as 1 mm


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
    false lesions; ``false_lesions`` counts predicted lesions that touch no reference lesion, and
    ``false_diameters_mm`` holds the largest diameter of each."""

    dice: float
    hd95_mm: float
    lesions: tuple[LesionScore, ...]
    false_lesions: int
    false_diameters_mm: tuple[float, ...] = ()

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


@dataclass(frozen=True)
class FalseBin:
    """False lesions a case of ``low_mm`` up to, not including, ``high_mm``; ``lesions`` in all."""

    low_mm: float
    high_mm: float
    lesions: int
    per_case: Estimate


def region(labels: npt.NDArray[np.integer], of: Sequence[int]) -> Mask:
    """The voxels of a label map that carry one of the labels ``of``, for instance TC is (1, 3)."""
    return np.isin(labels, list(of))


def dice(prediction: Mask, reference: Mask) -> float:
    """Twice the overlap over the sum of sizes, 0-1 (Dice 1945)."""
    a, b = _pair(prediction, reference)
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int((a & b).sum()) / total


def volume_error_mm3(prediction: Mask, reference: Mask, spacing_mm: Spacing) -> float:
    """Predicted minus reference volume in mm3; above 0 is too much."""
    a, b = _pair(prediction, reference)
    return (int(a.sum()) - int(b.sum())) * float(np.prod(spacing_mm))


def surface_dice(
    prediction: Mask,
    reference: Mask,
    spacing_mm: Spacing,
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


def hd95_mm(prediction: Mask, reference: Mask, spacing_mm: Spacing) -> float:
    """95th percentile of the surface distance, the greater of the two directions, in mm."""
    a, b = _pair(prediction, reference)
    if not a.any() or not b.any():
        return 0.0 if a.any() == b.any() else WORST_HD95_MM
    return max(float(np.percentile(d, 95)) for d in _surface_distances(a, b, spacing_mm))


def lesion_wise(
    prediction: Mask,
    reference: Mask,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    smallest_voxels: int = 2,
    hd95: Callable[[Mask, Mask, Spacing], float] | None = None,
) -> LesionWise:
    """Lesion-wise Dice and HD95 as the BraTS-METS 2023 challenge defines them.

    hd95: the HD95 of one lesion; ``hd95_mm`` on surface voxels if None, and for the challenge's own
    convention ``surface_elements.hd95_mm``.

    1. The reference is dilated by 1 mm (``dilation_ball``) before its components (26 neighbours)
       are labelled, so that near pieces are one lesion; it is then scored undilated.
    2. A predicted component (26 neighbours, not dilated) belongs to every lesion whose own dilation
       it touches; all that belong to a lesion are scored against it together.
    3. Reference lesions of fewer than ``smallest_voxels`` voxels are left out; what touches only
       them is neither found nor false. The challenge's text says "under 2 voxels"; its published
       code leaves out volumes of up to 2 mm3, two voxels at 1 mm: give 3 for its numbers.
    4. A missed lesion counts Dice 0 and HD95 374 mm, and so does a predicted component, however
       small, that touches no lesion (a false lesion). The case's score is the mean over both.
    5. Neither a lesion nor a false lesion: Dice 1 and HD95 0.
    """
    a, b = _pair(prediction, reference)
    if not a.any() and not b.any():
        return LesionWise(1.0, 0.0, (), 0)
    ball = dilation_ball(spacing_mm)
    box = box_around(a | b, ball)
    a, b = a[box], b[box]
    lesions = merged_lesions(b, spacing_mm)
    parts, n_parts = ndimage.label(a, _TOUCHING)
    part_places = ndimage.find_objects(parts)
    false = set(range(1, n_parts + 1))
    scores = []
    for number, place in enumerate(ndimage.find_objects(lesions), start=1):
        touching = parts_touching(parts, lesions, number, place, ball)
        false.difference_update(touching)
        hull = _hull(place, *(part_places[t - 1] for t in touching))
        own = lesions[hull] == number
        if own.sum() >= smallest_voxels:
            found = np.isin(parts[hull], touching)
            scores.append(_score(own, found, spacing_mm, hd95 or hd95_mm))
    sizes = tuple(
        largest_diameter_mm(parts[part_places[f - 1]] == f, spacing_mm) for f in sorted(false)
    )
    n = len(scores) + len(false)
    if n == 0:
        return LesionWise(1.0, 0.0, (), 0)
    total = sum(s.hd95_mm for s in scores) + WORST_HD95_MM * len(false)
    mean_dice = sum(s.dice for s in scores) / n
    return LesionWise(mean_dice, total / n, tuple(scores), len(false), sizes)


def dilation_ball(spacing_mm: Spacing, radius_mm: float = JOIN_MM) -> Mask:
    """The element that dilates by ``radius_mm``, bool with odd edges.

    On the challenge's 1 mm grid it is scipy's 18-neighbour element: every offset of at most
    sqrt(2) mm. On other grids it holds the offsets of that length in mm, so that what is joined
    does not depend on the voxels; along an axis with voxels above 1.5 mm it does not reach out.
    """
    edges = np.asarray(spacing_mm, float)
    reach_mm = np.sqrt(2) * radius_mm * _SLACK
    half = np.floor(reach_mm / edges).astype(int)
    grid = np.meshgrid(
        *(np.arange(-h, h + 1) * e for h, e in zip(half, edges, strict=True)), indexing="ij"
    )
    return np.asarray(sum(g**2 for g in grid) <= reach_mm**2)


def merged_lesions(reference: Mask, spacing_mm: Spacing) -> npt.NDArray[np.int32]:
    """Number the lesions of ``reference`` from 1 (int32, 0 outside); pieces that touch when dilated
    by 1 mm share a number."""
    grown = ndimage.binary_dilation(reference, dilation_ball(spacing_mm))
    merged, _ = ndimage.label(grown, _TOUCHING)
    return np.where(reference, merged, 0).astype(np.int32)


def parts_touching(
    parts: npt.NDArray[np.int32],
    lesions: npt.NDArray[np.int32],
    number: int,
    place: tuple[slice, ...],
    ball: Mask,
) -> list[int]:
    """Numbers of the predicted ``parts`` that touch the dilated lesion ``number``.

    place: the lesion's box, from ``ndimage.find_objects``.
    """
    near = _grown(place, ball, lesions.shape)
    grown = ndimage.binary_dilation(lesions[near] == number, ball)
    return [int(t) for t in np.unique(parts[near][grown]) if t > 0]


def largest_diameter_mm(mask: Mask, spacing_mm: Spacing) -> float:
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
    """Share of reference lesions found, by diameter; patients are the sample, not lesions: see
    ``clustered.by_patient``.

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
    """Mean number of false lesions a case; ``counts`` (cases,), cases without any included.

    Where there is none at all, the exact Poisson interval on patients (``estimate.poisson_rate``).
    """
    number = np.asarray(counts, float)
    if number.size == 0:
        return undefined(0, "not defined: there is no case")
    if not number.any():
        n = len(number) if patients is None else len(np.unique(np.asarray(patients)))
        return poisson_rate(0, n, resampling.level)
    ids = np.arange(len(number)) if patients is None else np.asarray(patients)
    return patient_bootstrap(mean_statistic(number), ids, resampling, bca=True)


def false_lesions_by_size(
    diameters_mm: npt.ArrayLike,
    owners: npt.ArrayLike,
    cases: int,
    edges_mm: Sequence[float] = (0.0, 5.0, 10.0, 20.0, float("inf")),
    resampling: Resampling = Resampling(),
) -> tuple[FalseBin, ...]:
    """Mean number of false lesions a case, by their own diameter; cases are resampled.

    diameters_mm, owners: (n_false,), the largest diameter and the number of the case, from 0 to
    ``cases`` - 1; one case a patient.
    """
    size, owner = np.asarray(diameters_mm, float), np.asarray(owners, np.int64)
    rows = []
    for low, high in itertools.pairwise(edges_mm):
        inside = (size >= low) & (size < high)
        counts = np.bincount(owner[inside], minlength=cases)
        rows.append(
            FalseBin(low, high, int(inside.sum()), false_lesions_per_case(counts, None, resampling))
        )
    return tuple(rows)


def _share(hit: npt.NDArray[np.float64], ids: npt.NDArray[Any], resampling: Resampling) -> Estimate:
    if len(hit) == 0:
        return undefined(0, "not defined: no lesion of this size")
    return clustered.by_patient(hit, ids, "share of lesions found", resampling.level)


def _score(
    own: Mask, found: Mask, spacing_mm: Spacing, hd95: Callable[[Mask, Mask, Spacing], float]
) -> LesionScore:
    box = box_around(own | found)
    own, found = own[box], found[box]
    return LesionScore(
        volume_mm3=float(own.sum() * np.prod(spacing_mm)),
        diameter_mm=largest_diameter_mm(own, spacing_mm),
        detected=bool(found.any()),
        dice=dice(found, own),
        hd95_mm=hd95(found, own, spacing_mm),
    )


def _surface(mask: Mask) -> Mask:
    rim: Mask = mask & ~ndimage.binary_erosion(mask)
    return rim


def _surface_distances(
    a: Mask, b: Mask, spacing_mm: Spacing
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distances in mm from each surface voxel of ``a`` to the surface of ``b``, and back."""
    box = box_around(a | b)
    edge_a, edge_b = _surface(a[box]), _surface(b[box])
    to_b = ndimage.distance_transform_edt(~edge_b, sampling=spacing_mm)
    to_a = ndimage.distance_transform_edt(~edge_a, sampling=spacing_mm)
    return to_b[edge_a], to_a[edge_b]


def box_around(mask: Mask, ball: Mask | None = None) -> tuple[slice, ...]:
    """The box of ``mask``, wider by the reach of ``ball`` and one voxel where one is given;
    everything where nothing is in it."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    found = boxes[0] if boxes else tuple(slice(0, n) for n in mask.shape)
    return found if ball is None else _grown(found, ball, mask.shape)


def _grown(place: tuple[slice, ...], ball: Mask, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, s.start - edge // 2 - 1), min(size, s.stop + edge // 2 + 1))
        for s, edge, size in zip(place, ball.shape, shape, strict=True)
    )


def _hull(*places: tuple[slice, ...]) -> tuple[slice, ...]:
    """The smallest box around all of them."""
    return tuple(
        slice(min(s.start for s in axis), max(s.stop for s in axis))
        for axis in zip(*places, strict=True)
    )


def _pair(prediction: Mask, reference: Mask) -> tuple[Mask, Mask]:
    a, b = np.asarray(prediction, bool), np.asarray(reference, bool)
    if a.ndim != 3 or a.shape != b.shape:
        raise ValueError(f"both masks must be 3D on one grid, but are {a.shape} and {b.shape}")
    return a, b


def sensitivity(found: Sequence[Sequence[bool]]) -> Estimate:
    """Share of lesions found; ``found`` holds the lesions of each patient."""
    hits = np.array([sum(f) for f in found], float)
    counts = np.array([len(f) for f in found], float)
    if not counts.sum():
        return undefined(len(found), "not defined: there is no lesion")

    return clustered.ratio(hits, counts, f"share of {int(counts.sum())} lesions")
