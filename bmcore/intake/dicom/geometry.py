"""Slices in space: order, even spacing, faults by position, and the affine to world RAS+ mm.

This is the only place where DICOM's patient coordinates (LPS) become world coordinates (RAS+). Only
ImagePositionPatient, ImageOrientationPatient and PixelSpacing decide; names, instance numbers,
slice locations and the patient's position on the table do not.

Tolerances: slices are of one orientation within ``ANGLE`` (radians, 0.3 degrees). A stack is even
where each distance between neighbours, and each slice's place, is within 6 % of the slice distance
(0.12 mm where that is less). Slices lie one beside the other where none is more than 0.25 mm, or
6 % of the slice distance, beside the straight line through all; that line may lean by ``TILT``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.intake.dicom.found import Image, Stack

ANGLE = 0.005
LEAST_MM = 0.06  # slices closer than this, or than a tenth of the distance, lie at one place
LEAST_OFF_MM, PART_OFF = 0.12, 0.06
ASIDE_MM = 0.25
TILT = 0.01  # radians between the way from slice to slice and the normal of the slices
LEAST_SLICES = 2
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fault:
    """what: in words. kind: missing, double, uneven, tilted, few, none, mixed,
    identity or agent."""

    kind: str
    what: str
    found: str
    images: tuple[Image, ...] = ()


def orientation(image: Image) -> Vector | None:
    """Directions (2, 3) along a row and along a column, of length 1; None where there are none."""
    cosines, place = image.get("ImageOrientationPatient"), image.get("ImagePositionPatient")
    spacing = image.get("PixelSpacing")
    if len(cosines or ()) != 6 or len(place or ()) != 3 or len(spacing or ()) != 2:
        return None
    if min(spacing) <= 0 or not (image.get("Rows", 0) >= 1 and image.get("Columns", 0) >= 1):
        return None
    row, column = np.array(cosines[:3], float), np.array(cosines[3:], float)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not all(0.9 < length < 1.1 for length in lengths):
        return None
    row, column = row / lengths[0], column / lengths[1]
    return None if abs(row @ column) > 0.02 else np.stack([row, column])


def by_orientation(images: Sequence[Image]) -> list[list[Image]]:
    """Groups of parallel slices, the largest first. Every image has an orientation."""
    groups: list[tuple[Vector, list[Image]]] = []
    for image in images:
        own = orientation(image)
        assert own is not None
        for first, members in groups:
            if np.abs(first - own).max() < ANGLE:
                members.append(image)
                break
        else:
            groups.append((own, [image]))
    return sorted((members for _, members in groups), key=len, reverse=True)


def stack(images: Sequence[Image]) -> tuple[Stack | None, list[Fault]]:
    """Parallel slices of one matrix in order, or what is wrong with them."""
    if len(images) < LEAST_SLICES:
        return None, [Fault("few", "a single image is not a volume", "1 image", tuple(images))]
    directions = _mean_directions(images)
    normal = np.cross(directions[0], directions[1])
    ordered, places = in_order(images, normal)
    along = places @ normal
    gaps = np.diff(along)
    step = float(np.median(gaps[gaps > _same_mm(gaps)])) if (gaps > _same_mm(gaps)).any() else 0.0
    faults = [*_doubles(ordered, along, gaps), *_gaps(ordered, along, gaps, step)]
    if not faults:
        faults = _tilt(places, normal, step)
    if faults:
        return None, faults
    return Stack(tuple(ordered), _affine(ordered[0], directions, places)), []


def in_order(images: Sequence[Image], normal: Vector) -> tuple[list[Image], Vector]:
    """Images and their positions (n, 3) along the normal, from feet to head, back to front or right
    to left as it points."""
    places = np.array([image.get("ImagePositionPatient") for image in images], float)
    order = np.argsort(places @ normal, kind="stable")
    return [images[n] for n in order], places[order]


def normal_of(images: Sequence[Image]) -> Vector:
    """The mean normal (3,) of parallel slices."""
    directions = _mean_directions(images)
    return np.cross(directions[0], directions[1])


def same_place(images: Sequence[Image]) -> list[list[Image]]:
    """Parallel images in groups of one position along the normal, in order."""
    ordered, places = in_order(images, normal_of(images))
    along = places @ normal_of(images)
    gaps = np.diff(along)
    groups = [[ordered[0]]]
    for image, gap in zip(ordered[1:], gaps, strict=True):
        if gap <= _same_mm(gaps):
            groups[-1].append(image)
        else:
            groups.append([image])
    return groups


def _same_mm(gaps: Vector) -> float:
    """Slices closer than this lie at one place."""
    wide = gaps[gaps > LEAST_MM]
    return max(LEAST_MM, 0.1 * float(np.median(wide))) if wide.size else LEAST_MM


def _mean_directions(images: Sequence[Image]) -> Vector:
    """The mean of slices that agree within ``ANGLE``, with its two directions at a right angle."""
    found = [own for own in map(orientation, images) if own is not None]
    row, column = np.mean(found, axis=0)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    return np.stack([row, column / np.linalg.norm(column)])


def _numbers(ordered: Sequence[Image]) -> tuple[int, ...]:
    """Numbers of the slices for people: along the instance numbers where these follow space."""
    instance = [image.get("InstanceNumber") for image in ordered]
    count = len(ordered)
    falls = None not in instance and instance[0] > instance[-1]
    return tuple(range(count, 0, -1)) if falls else tuple(range(1, count + 1))


def _doubles(ordered: Sequence[Image], along: Vector, gaps: Vector) -> list[Fault]:
    places = [n for n, gap in enumerate(gaps) if gap <= _same_mm(gaps)]
    if not places:
        return []
    numbers = _numbers(ordered)
    first = ", ".join(
        f"{numbers[n]} and {numbers[n + 1]} at {_where(ordered[n])}" for n in places[:3]
    )
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    what = "several images lie at the same place, and nothing tells which belong together"
    pairs = tuple(image for n in places[:3] for image in ordered[n : n + 2])
    return [Fault("double", what, f"slices {first}{more}", pairs)]


def _gaps(ordered: Sequence[Image], along: Vector, gaps: Vector, step: float) -> list[Fault]:
    """Missing slices where a gap is a multiple of the others, else uneven spacing."""
    real = gaps > _same_mm(gaps)
    if not step:
        return [Fault("none", "all images lie at one place", f"{len(ordered)} images")]
    tolerance = max(LEAST_OFF_MM, PART_OFF * step)
    numbers = _numbers(ordered)
    missing, uneven = [], []
    for n in np.flatnonzero(real & (np.abs(gaps - step) > tolerance)).tolist():
        times = round(gaps[n] / step)
        pair = sorted(numbers[n : n + 2])
        where = f"between slice {pair[0]} and {pair[1]}"
        if times >= 2 and abs(gaps[n] / times - step) <= tolerance:
            lost = "slice missing" if times == 2 else f"{times - 1} slices missing"
            missing.append((n, f"{lost} {where}"))
        else:
            uneven.append(n)
    if uneven:
        words = f"from {gaps[real].min():.2f} to {gaps[real].max():.2f} mm"
        where = ", ".join(_where(ordered[n]) for n in uneven[:3])
        expected = f"{step:.2f} mm everywhere, within {tolerance:.2f} mm"
        images = tuple(image for n in uneven[:2] for image in ordered[n : n + 2])
        return [
            Fault("uneven", f"the slices are unevenly spaced: {words}; {expected}", where, images)
        ]
    if missing:
        what = ", ".join(words for _, words in missing[:5])
        where = ", ".join(
            f"{_where(ordered[n])} and {_where(ordered[n + 1])}" for n, _ in missing[:3]
        )
        images = tuple(image for n, _ in missing[:2] for image in ordered[n : n + 2])
        found = f"{where}; elsewhere {step:.2f} mm from slice to slice"
        return [Fault("missing", what, found, images)]
    drift = np.abs(along - np.polyval(np.polyfit(range(len(along)), along, 1), range(len(along))))
    if real.all() and drift.max() > tolerance:
        worst = int(drift.argmax())
        what = f"the slices are unevenly spaced: one lies {drift[worst]:.2f} mm off its place"
        return [Fault("uneven", what, f"at {_where(ordered[worst])}", (ordered[worst],))]
    return []


def _tilt(places: Vector, normal: Vector, step: float) -> list[Fault]:
    """Slices that are shifted along their plane: all in one way (tilted), or some."""
    start, direction = _line(places)
    off = np.linalg.norm(places - start - np.arange(len(places))[:, None] * direction, axis=1)
    if off.max() > max(ASIDE_MM, PART_OFF * step):
        worst = int(off.argmax())
        what = "the slices are not stacked one behind the other"
        where = ", ".join(f"{v:.1f}" for v in _to_ras_point(places[worst]))
        return [Fault("uneven", what, f"one is {off[worst]:.2f} mm aside, at ({where}) mm")]
    way = direction * (len(places) - 1)
    angle = float(np.arccos(np.clip(abs(way @ normal) / np.linalg.norm(way), 0, 1)))
    if angle > TILT and np.linalg.norm(way - (way @ normal) * normal) > 2 * ASIDE_MM:
        what = "the slices are tilted against the way from slice to slice (gantry tilt)"
        return [Fault("tilted", what, f"{np.degrees(angle):.1f} degrees")]
    return []


def _where(image: Image) -> str:
    """The corner of a slice along the axis that it moves on, as viewers show it: ``S 45.1 mm``."""
    directions = orientation(image)
    assert directions is not None
    axis = int(np.abs(np.cross(directions[0], directions[1])).argmax())
    value = _to_ras_point(np.array(image.get("ImagePositionPatient"), float))[axis]
    return f"{('RL', 'AP', 'SI')[axis][int(value < 0)]} {abs(value):.1f} mm"


def _to_ras_point(point: Vector) -> Vector:
    return (_LPS_TO_RAS @ [*point, 1.0])[:3]


def _affine(first: Image, directions: Vector, places: Vector) -> npt.NDArray[np.float64]:
    """From (column, row, slice) to RAS+ mm. PixelSpacing is (between rows, between columns).

    The slices' step and start are those of the straight line that fits all.
    """
    between_rows, between_columns = first.get("PixelSpacing")
    start, step = _line(places)
    affine = np.eye(4)
    affine[:3, 0] = directions[0] * between_columns
    affine[:3, 1] = directions[1] * between_rows
    affine[:3, 2], affine[:3, 3] = step, start
    return _LPS_TO_RAS @ affine


def _line(places: Vector) -> tuple[Vector, Vector]:
    """Start and step (3,) of the evenly spaced points that fit ``places`` (n, 3) best."""
    step, start = np.polyfit(np.arange(len(places)), places, 1)
    return start, step
