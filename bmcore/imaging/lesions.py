"""From a mask to a list of lesions: one for each connected part of the tumour core (TC)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial

from bmcore.anatomy import brain_to_mni, lobe
from bmcore.domain import REGIONS, SIDE_NOT_KNOWN, Label, Lesion, Placement
from bmcore.geometry import Affine, check_affine, transform, voxel_sizes_mm
from bmcore.imaging.masks import connected

IGNORED_VOXELS = 2  # BraTS-METS scoring ignores lesions of at most 2 voxels
MIDLINE_MM = 3.0  # a centroid this close to the midline is "midline"; our choice
UNKNOWN_REGION = "unknown"
EDGE_MM = 3.0  # the outline is drawn 2 mm outside of what brain extraction finds


@dataclass(frozen=True, eq=False)
class _Part:
    """One part of TC: voxels (n, 3) and their labels (n,)."""

    voxels: npt.NDArray[np.int_]
    labels: npt.NDArray[np.uint8]


def label_lesions(mask: npt.NDArray, affine: Affine) -> npt.NDArray[np.int32]:
    """Number the lesions of ``mask`` (labels 0-3): int32 (i, j, k), 0 outside.

    A lesion is a part of TC (labels 1 and 3) connected by faces, edges or corners, of more than
    IGNORED_VOXELS voxels. Number 1 has the largest volume; equal volumes are ordered by the world
    place of their centroids, so that numbers do not depend on the voxel order of the file.
    """
    out = np.zeros(np.shape(mask), np.int32)
    for number, part in enumerate(_parts(np.asarray(mask), affine), start=1):
        out[tuple(part.voxels.T)] = number
    return out


def find_lesions(
    mask: npt.NDArray,
    affine: Affine,
    brain: npt.NDArray[np.bool_] | None = None,
    placement: Placement | None = None,
) -> tuple[Lesion, ...]:
    """Measure the lesions of ``mask``, numbered as ``label_lesions`` does.

    mask: labels 0-3 (i, j, k). affine: voxel to world RAS mm. brain: bool (i, j, k) on the same
    grid; side and lobe come from it. Without it the side is told from the middle of the grid and
    the lobe is "unknown". placement: what of both can be told at all (``imaging.orientation``); a
    side that cannot is SIDE_NOT_KNOWN, a lobe "unknown". Oedema belongs to the lesion whose nearest
    voxel is closest.
    ValueError where the mask is not 3D or ``brain`` has another shape.
    """
    mask = np.asarray(mask)
    affine = check_affine(affine)
    if brain is not None and brain.shape != mask.shape:
        raise ValueError(f"brain {brain.shape} must match the mask {mask.shape}")
    parts = _parts(mask, affine)
    if not parts:
        return ()
    voxel_mm3 = abs(float(np.linalg.det(affine[:3, :3])))
    oedema = _nearest_oedema(mask, parts, affine)
    centres = np.array([p.voxels.mean(axis=0) for p in parts])
    places = transform(affine, centres)
    sides, lobes = _where(places, mask.shape, affine, brain, placement or Placement())
    return tuple(
        Lesion(
            number=n + 1,
            volume_mm3=len(part.voxels) * voxel_mm3,
            enhancing_mm3=int((part.labels == Label.ET).sum()) * voxel_mm3,
            necrosis_mm3=int((part.labels == Label.NETC).sum()) * voxel_mm3,
            oedema_mm3=int(oedema[n]) * voxel_mm3,
            largest_diameter_mm=largest_diameter_mm(part.voxels, affine),
            centroid_mm=_triple(places[n]),
            centroid_voxel=_triple(centres[n]),
            side=sides[n],
            region=lobes[n],
        )
        for n, part in enumerate(parts)
    )


def at_edge(
    lesions: tuple[Lesion, ...], mask: npt.NDArray, affine: Affine, brain: npt.NDArray[np.bool_]
) -> tuple[Lesion, ...]:
    """The lesions of ``mask``, marked where they come within EDGE_MM of the outside of ``brain``.

    For a brain that was drawn here: its outline may cut a lesion, or leave something that is none.
    """
    if not lesions:
        return lesions
    numbers = label_lesions(mask, affine)
    sizes = voxel_sizes_mm(affine)
    depth = ndimage.distance_transform_edt(np.pad(brain, 1), sampling=sizes)[1:-1, 1:-1, 1:-1]
    near = set(np.unique(numbers[depth <= EDGE_MM]).tolist())
    return tuple(replace(lesion, at_edge=lesion.number in near) for lesion in lesions)


def largest_diameter_mm(voxels: npt.ArrayLike, affine: Affine) -> float:
    """Greatest distance between two voxel centres (n, 3), plus one voxel along that direction.

    The two ends are corners of the convex hull. Points in a plane or on a line, where there is
    no hull in 3D, are compared directly. "One voxel" is sqrt(sum((u_a * size_a)^2)) for the unit
    vector u in voxel axes: the voxel size itself on an isotropic grid.
    """
    voxels = np.atleast_2d(np.asarray(voxels, np.int64))
    sizes = voxel_sizes_mm(affine)
    if len(voxels) == 1:
        return float(sizes.mean())
    ends = _line_ends(voxels)
    points = transform(affine, ends)
    if len(points) > 400:
        try:
            corners = spatial.ConvexHull(points).vertices
            points, ends = points[corners], ends[corners]
        except spatial.QhullError:
            pass  # flat: the ends of lines are few enough to compare directly
    best, pair = -1.0, (0, 0)
    for start in range(0, len(points), 500):
        gaps = spatial.distance.cdist(points[start : start + 500], points)
        a, b = np.unravel_index(gaps.argmax(), gaps.shape)
        if gaps[a, b] > best:
            best, pair = float(gaps[a, b]), (start + int(a), int(b))
    along = (ends[pair[0]] - ends[pair[1]]) * sizes
    unit = along / np.linalg.norm(along)
    return best + float(np.sqrt(((unit * sizes) ** 2).sum()))


def _line_ends(voxels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Voxels that end their line along each axis: every corner of the convex hull is one."""
    keep = np.ones(len(voxels), bool)
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        order = np.lexsort((voxels[:, axis], voxels[:, others[0]], voxels[:, others[1]]))
        lines = voxels[order][:, others]
        new = np.r_[True, (lines[1:] != lines[:-1]).any(axis=1)]
        end = np.zeros(len(voxels), bool)
        end[order] = new | np.r_[new[1:], True]
        keep &= end
    return voxels[keep]


def _triple(row: npt.NDArray) -> tuple[float, float, float]:
    return float(row[0]), float(row[1]), float(row[2])


def _parts(mask: npt.NDArray, affine: Affine) -> list[_Part]:
    if mask.ndim != 3:
        raise ValueError(f"a mask must be 3D, but its shape is {mask.shape}")
    core = np.isin(mask, REGIONS["TC"])
    numbers, _ = connected(core)
    parts = []
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        inside = np.argwhere(numbers[box] == number)
        if len(inside) <= IGNORED_VOXELS:
            continue
        voxels = inside + [s.start for s in box]
        parts.append(_Part(voxels, mask[tuple(voxels.T)].astype(np.uint8)))

    def order(part: _Part) -> tuple[float, ...]:
        place = np.round(transform(affine, part.voxels.mean(axis=0)), 3)
        return (-len(part.voxels), *(float(v) for v in place))

    return sorted(parts, key=order)


def _nearest_oedema(mask: npt.NDArray, parts: list[_Part], affine: Affine) -> npt.NDArray[np.int_]:
    """Oedema voxels (n,) that lie nearest to each lesion."""
    oedema = np.argwhere(mask == Label.SNFH)
    if not len(oedema):
        return np.zeros(len(parts), int)
    if len(parts) == 1:
        return np.array([len(oedema)])
    owners = np.repeat(np.arange(len(parts)), [len(p.voxels) for p in parts])
    tree = spatial.cKDTree(transform(affine, np.concatenate([p.voxels for p in parts])))
    _, nearest = tree.query(transform(affine, oedema))
    return np.bincount(owners[nearest], minlength=len(parts))


def _where(
    places: npt.NDArray,
    shape: tuple[int, ...],
    affine: Affine,
    brain: npt.NDArray | None,
    placement: Placement,
) -> tuple[list[str], list[str]]:
    if placement.turn is not None:
        affine, places = placement.turn @ affine, transform(placement.turn, places)
    if brain is not None and brain.any():
        mni = transform(brain_to_mni(brain, affine), places)
        across, lobes = mni[:, 0], lobe(mni)
    else:
        middle = transform(affine, (np.array(shape) - 1) / 2)
        across = (places - middle)[:, 0]
        lobes = [UNKNOWN_REGION] * len(places)
    sides = np.select([across < -MIDLINE_MM, across > MIDLINE_MM], ["left", "right"], "midline")
    return (
        [str(s) if placement.side else SIDE_NOT_KNOWN for s in sides],
        lobes if placement.lobe else [UNKNOWN_REGION] * len(places),
    )
