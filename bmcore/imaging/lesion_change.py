"""Lesion by lesion: which of an earlier examination is which of a later one, and how it changed.

Both masks are measured on their own grids, so that no diameter is one of an interpolated mask; only
places are carried over, by the matrix of ``imaging.follow_up``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize, spatial

from bmcore.domain import Volume
from bmcore.geometry import Affine, inverse, transform
from bmcore.imaging.diameters import lesion_extents
from bmcore.imaging.follow_up import TILTED_DEG
from bmcore.imaging.lesions import label_lesions

REACH_MM = 5.0  # centres of what shares no voxel, further apart they are two lesions
UNEVEN_MM = 1.0  # difference of slice thickness from which on diameters are less alike
MATCHED, NEW, GONE, MERGED, SPLIT = "matched", "new", "gone", "merged", "split"


@dataclass(frozen=True)
class Measured:
    """One lesion of a mask. number: as ``lesions.label_lesions`` numbers it. longest_mm, across_mm:
    the axial diameters of RANO-BM (``imaging.diameters``). volume_mm3: of the tumour core. slices:
    axial slices that it is seen on. centre_mm: world (RAS) of its own image."""

    number: int
    longest_mm: float
    across_mm: float
    volume_mm3: float
    slices: int
    centre_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Change:
    """One lesion at both times.

    kind: MATCHED (both are there), NEW (``then`` is None), GONE (``now`` is None), MERGED (``then``
    is part of the later lesion ``other`` now, which is matched with another one), SPLIT (``now``
    was part of the earlier lesion ``other``, which is matched with another one). shared: volume in
    common over the smaller of both volumes; 0 where they were matched by their centres.
    """

    kind: str
    now: Measured | None
    then: Measured | None
    other: int | None = None
    shared: float = 0.0

    @property
    def longest_change(self) -> float | None:
        """(now - then) / then of the longest axial diameter; None where one is missing."""
        if self.now is None or self.then is None:
            return None
        return (self.now.longest_mm - self.then.longest_mm) / self.then.longest_mm

    @property
    def volume_change(self) -> float | None:
        """(now - then) / then of the volume; None where one is missing."""
        if self.now is None or self.then is None:
            return None
        return (self.now.volume_mm3 - self.then.volume_mm3) / self.then.volume_mm3


@dataclass(frozen=True)
class Examination:
    """What a comparison has to know of an examination. thickness_mm: the longest edge of a voxel of
    T1 post-gadolinium as it came, mostly the slice thickness. drawn_by: who drew the mask."""

    thickness_mm: float
    drawn_by: str


def measure(mask: Volume) -> tuple[Measured, ...]:
    """The lesions of ``mask`` (labels 0-3), in the order of their numbers."""
    numbers = label_lesions(mask.data, mask.affine)
    extents = {extent.number: extent for extent in lesion_extents(mask)}
    voxel_mm3 = abs(float(np.linalg.det(mask.affine[:3, :3])))
    counts = np.bincount(numbers.ravel(), minlength=len(extents) + 1)
    centres = ndimage.center_of_mass(numbers > 0, numbers, sorted(extents)) if extents else []
    places = transform(mask.affine, np.reshape(centres, (-1, 3)))
    return tuple(
        Measured(
            number,
            extents[number].axial.longest_mm,
            extents[number].axial.across_mm,
            float(counts[number]) * voxel_mm3,
            extents[number].box[2][1] - extents[number].box[2][0] + 1,
            (float(place[0]), float(place[1]), float(place[2])),
        )
        for number, place in zip(sorted(extents), places, strict=True)
    )


def compare(now: Volume, then: Volume, matrix: Affine) -> tuple[Change, ...]:
    """The lesions of both masks (labels 0-3): first those that are there now, in their order, then
    those that are not.

    matrix: world of ``now`` -> world of ``then``. Lesions that share volume are matched one to one,
    so that the volume shared in all is greatest; what shares volume only with a lesion that is
    matched has merged with it, or split off it. Of the others the nearest centres are matched, up
    to REACH_MM apart.
    """
    first, second = measure(now), measure(then)
    shared = shared_mm3(now, then, matrix)
    pairs = match(shared, _centres(first, matrix), [m.centre_mm for m in second])
    of_now, of_then = dict(pairs), {b: a for a, b in pairs}
    out = []
    for a, lesion in enumerate(first):
        if a in of_now:
            earlier = second[of_now[a]]
            least = min(lesion.volume_mm3, earlier.volume_mm3)
            share = min(1.0, float(shared[a, of_now[a]]) / least)
            out.append(Change(MATCHED, lesion, earlier, shared=share))
        elif shared[a].any():
            out.append(Change(SPLIT, lesion, None, second[int(shared[a].argmax())].number))
        else:
            out.append(Change(NEW, lesion, None))
    for b, lesion in enumerate(second):
        if b in of_then:
            continue
        if shared[:, b].any():
            out.append(Change(MERGED, None, lesion, first[int(shared[:, b].argmax())].number))
        else:
            out.append(Change(GONE, None, lesion))
    return tuple(out)


def match(
    shared: npt.NDArray[np.float64],
    now_mm: Sequence[tuple[float, float, float]],
    then_mm: Sequence[tuple[float, float, float]],
) -> list[tuple[int, int]]:
    """Pairs (place in ``now_mm``, place in ``then_mm``), one to one.

    shared (n, m): volume in common. now_mm, then_mm: centres, in one space (mm).
    """
    if not shared.size:
        return []
    rows, columns = optimize.linear_sum_assignment(shared, maximize=True)
    pairs = [(int(a), int(b)) for a, b in zip(rows, columns, strict=True) if shared[a, b] > 0]
    free_now = [a for a in range(shared.shape[0]) if not shared[a].any()]
    free_then = [b for b in range(shared.shape[1]) if not shared[:, b].any()]
    if not free_now or not free_then:
        return sorted(pairs)
    gaps = spatial.distance.cdist(
        np.array([now_mm[a] for a in free_now]), np.array([then_mm[b] for b in free_then])
    )
    while gaps.size and gaps.min() <= REACH_MM:
        a, b = np.unravel_index(gaps.argmin(), gaps.shape)
        pairs.append((free_now[a], free_then[b]))
        gaps[a, :] = gaps[:, b] = np.inf
    return sorted(pairs)


def shared_mm3(now: Volume, then: Volume, matrix: Affine) -> npt.NDArray[np.float64]:
    """(lesions of ``now``, lesions of ``then``): the volume in common, in mm3.

    Voxel centres of each are looked up in the other, so that a lesion smaller than the other
    image's voxels is found, too; the larger of both volumes counts.
    """
    labels = [label_lesions(v.data, v.affine) for v in (now, then)]
    count = [int(n.max(initial=0)) for n in labels]
    there = _counted(labels[0], now.affine, labels[1], then.affine, matrix, count)
    back = _counted(labels[1], then.affine, labels[0], now.affine, inverse(matrix), count[::-1])
    return np.maximum(there, back.T)


def _counted(
    labels: npt.NDArray[np.int32],
    affine: Affine,
    others: npt.NDArray[np.int32],
    other_affine: Affine,
    matrix: Affine,
    count: Sequence[int],
) -> npt.NDArray[np.float64]:
    """(count[0], count[1]): mm3 of voxels of ``labels`` whose centres lie in ``others``."""
    out = np.zeros((count[0] + 1, count[1] + 1))
    voxels = np.argwhere(labels)
    if len(voxels):
        into = np.linalg.inv(other_affine) @ matrix @ affine
        at = np.rint(transform(into, voxels)).astype(int)
        inside = ((at >= 0) & (at < others.shape)).all(axis=1)
        found = others[tuple(at[inside].T)]
        np.add.at(out, (labels[tuple(voxels[inside].T)], found), 1.0)
    return out[1:, 1:] * abs(float(np.linalg.det(affine[:3, :3])))


def _centres(lesions: Sequence[Measured], matrix: Affine) -> list[tuple[float, float, float]]:
    places = transform(matrix, np.reshape([m.centre_mm for m in lesions], (-1, 3)))
    return [(float(x), float(y), float(z)) for x, y, z in places]


def doubts(now: Examination, then: Examination, turn_deg: float) -> tuple[str, ...]:
    """Why the diameters of two examinations may not be alike, a sentence each."""
    found = []
    if abs(now.thickness_mm - then.thickness_mm) >= UNEVEN_MM:
        found.append(
            f"The slices differ in thickness: {now.thickness_mm:.1f} mm now, "
            f"{then.thickness_mm:.1f} mm then. A change of that size may be the slices' alone."
        )
    if now.drawn_by != then.drawn_by:
        found.append(
            f"The lesions were not outlined by the same models: {now.drawn_by} now, "
            f"{then.drawn_by} then."
        )
    if turn_deg > TILTED_DEG:
        found.append(
            f"The head is turned by {turn_deg:.0f} degrees against the earlier examination, so "
            "the axial slices cut the lesions at another angle. Volumes do not depend on that."
        )
    return tuple(found)
