"""Two examinations of one patient, brought into one space by a rigid registration of the brains.

The registration is ``imaging.registration``; what is said here is whether it can be believed. Each
doubt is a sentence, and with any of them nothing may be linked or matched without being asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import Volume, refuse
from bmcore.geometry import Affine, check_affine, inverse, resample, transform
from bmcore.imaging.brain import find_brain
from bmcore.imaging.registration import register

# Of two T1 post-gadolinium after registration, nats. One head twice: 0.60 to 1.00 (two synthetic
# pairs, a real case moved, and with slices of 5 mm), 0.41 for a real one with its native T1; other
# heads: 0.18 to 0.25 (three pairs, one of them real).
LEAST_INFORMATION = 0.3
LEAST_OUTLINE = 0.92  # Dice of the two brains after registration
MOST_BACK_MM = 2.0  # by which the registrations there and back may miss each other
FAR_DEG = 35.0  # more than a head turns between two examinations
TILTED_DEG = 10.0  # from here on the axial planes of two examinations cut a lesion differently


@dataclass(frozen=True, eq=False)
class FollowUp:
    """How an earlier examination lies to a later one.

    matrix: 4x4 from the world of the later to that of the earlier one (RAS mm), rigid. information:
    mutual information (nats) of both T1 post-gadolinium there. outline: Dice of the brains, where
    both images have voxels. back_mm: the largest way, over the corners of the brain's box, that a
    point makes by the registration there and the one back; 0 where both agree. turn_deg: by how
    much the head was turned.
    """

    matrix: Affine
    information: float
    outline: float
    back_mm: float
    turn_deg: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", check_affine(self.matrix))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the registration may be wrong, a sentence each; empty where nothing speaks against
        it."""
        return tuple(_doubts(self))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "matrix": self.matrix.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FollowUp:
        """Of ``as_dict``. KeyError, TypeError or ValueError where it is damaged."""
        numbers = {
            name: float(values[name]) for name in cls.__dataclass_fields__ if name != "matrix"
        }
        return cls(matrix=np.array(values["matrix"], float), **numbers)


def follow_up(later: Volume, earlier: Volume) -> FollowUp:
    """Register two T1 post-gadolinium without skull, each on its own grid.

    It is done both ways: what comes back to another place was not found. InputRefused where one of
    them shows no brain.
    """
    brains = [find_brain({"t1c": np.asarray(v.data)}, v.affine)[0] for v in (later, earlier)]
    for brain, which in zip(brains, ("later", "earlier"), strict=True):
        if not brain.any():
            raise refuse(
                f"no brain was found in the {which} examination",
                found="no voxel that differs from the background",
                hint="look at its images.",
            )
    there = register(later, earlier, brains[0])
    back = register(earlier, later, brains[1], starts=[inverse(there.matrix)])
    return FollowUp(
        matrix=there.matrix,
        information=there.after,
        outline=_overlap(brains[0], later.affine, brains[1], earlier.affine, there.matrix),
        back_mm=_apart_mm(brains[0], later.affine, back.matrix @ there.matrix),
        turn_deg=there.turn_deg,
    )


def _overlap(
    later: npt.NDArray[np.bool_],
    later_affine: Affine,
    earlier: npt.NDArray[np.bool_],
    earlier_affine: Affine,
    matrix: Affine,
) -> float:
    """Dice of two brains on the grid of the later one, where the earlier image has voxels."""
    shape: tuple[int, int, int] = later.shape  # type: ignore[assignment]
    target = matrix @ later_affine
    moved = resample(earlier.astype(np.uint8), earlier_affine, target, shape, order=0) > 0
    known = resample(np.ones(earlier.shape, np.uint8), earlier_affine, target, shape, order=0) > 0
    own = later & known
    total = int(own.sum()) + int(moved.sum())
    return 2.0 * int((own & moved).sum()) / total if total else 0.0


def _apart_mm(brain: npt.NDArray[np.bool_], affine: Affine, round_trip: Affine) -> float:
    """The longest way that a corner of the brain's box makes by a matrix that should be none."""
    voxels = np.argwhere(brain)
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    places = transform(affine, corners)
    return float(np.linalg.norm(transform(round_trip, places) - places, axis=1).max())


def _doubts(found: FollowUp) -> Iterator[str]:
    if found.information < LEAST_INFORMATION:
        yield (
            f"the images share little ({found.information:.2f} nats of mutual information, at "
            f"least {LEAST_INFORMATION} in one brain); make sure that both are of one patient"
        )
    if found.outline < LEAST_OUTLINE:
        yield (
            f"the outlines of the two brains do not fit (Dice {found.outline:.2f}, at least "
            f"{LEAST_OUTLINE})"
        )
    if found.back_mm > MOST_BACK_MM:
        yield (
            f"the alignment there and the one back differ by {found.back_mm:.1f} mm, at most "
            f"{MOST_BACK_MM:.0f} mm"
        )
    if found.turn_deg > FAR_DEG:
        yield (
            f"the head would have been turned by {found.turn_deg:.0f} degrees, at most "
            f"{FAR_DEG:.0f}; make sure that both are of one patient"
        )
