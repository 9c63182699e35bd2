"""Signs in the picture of a brain that was operated on: a pocket of fluid on one side, open to the
surface.

A cavity after a resection holds fluid and reaches from the surface into the depth where the other
side has brain. An arachnoid cyst or an old infarct looks alike; the finding says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.anatomy import brain_to_mni
from bmcore.domain import Finding, Severity
from bmcore.imaging.brain import filled
from bmcore.imaging.coarse import Coarse

DARK, BRIGHT = -1.0, 1.0  # spreads from the brain's median: fluid in T1 and FLAIR, and in T2
LEAST_ML = 6.0
SURFACE_MM = 6.0  # so near to the surface fluid counts as open to it
DEEP_MM = 14.0  # deeper than the furrows between two gyri are wide open
AWAY_MM = 8.0  # fluid on the other side within this distance of the mirrored place is its partner
LEAST_IMAGES = 2  # one image alone does not tell fluid from air, bone or a dark tumour


@dataclass(frozen=True)
class Pocket:
    """A pocket of fluid: millilitres, and how deep below the surface it reaches."""

    millilitres: float
    depth_mm: float


def pockets(case: Coarse) -> tuple[Pocket, ...]:
    """Pockets of fluid (largest first) that one side alone has and that open to the surface."""
    told = _fluid(case)
    if told is None:
        return ()
    fluid = ndimage.binary_opening(told)  # furrows are narrower than three blocks
    if not fluid.any():
        return ()
    whole = filled(case.brain)
    padded = np.pad(whole, 1)
    depth = ndimage.distance_transform_edt(padded, sampling=case.sizes_mm)[1:-1, 1:-1, 1:-1]
    other = _mirrored(fluid, case)
    near = ndimage.distance_transform_edt(~other, sampling=case.sizes_mm) if other.any() else None
    alone = fluid if near is None else fluid & (near > AWAY_MM)
    parts, count = ndimage.label(alone)
    block_ml = float(np.prod(case.sizes_mm)) / 1000
    found = []
    for number in range(1, count + 1):
        part = parts == number
        size, deepest = float(part.sum()) * block_ml, float(depth[part].max())
        if size >= LEAST_ML and deepest >= DEEP_MM and depth[part].min() <= SURFACE_MM:
            found.append(Pocket(size, deepest))
    return tuple(sorted(found, key=lambda p: -p.millilitres))


def doubts(case: Coarse) -> tuple[Finding, ...]:
    """A warning where the brain looks as if it had been operated on."""
    found = pockets(case)
    if not found:
        return ()
    return (
        Finding(
            Severity.WARNING,
            "the brain may have been operated on: on one side fluid reaches from the surface into "
            "the depth, as in a cavity after a resection (or an arachnoid cyst, or an old infarct)",
            "t1c",
            ", ".join(f"{p.millilitres:.0f} ml, {p.depth_mm:.0f} mm deep" for p in found),
            "a brain before any treatment; the models have seen no other",
            "look at the place; rims that enhance after an operation may be taken for tumour.",
        ),
    )


def _fluid(case: Coarse) -> npt.NDArray[np.bool_] | None:
    """Blocks of fluid by all images that tell it; None where too few do."""
    standard = {s: case.standard(s) for s in case.images}
    signs = [standard[s] < DARK for s in ("t1c", "t2f") if s in standard]
    if "t2f" not in standard and "t1n" in standard:
        signs.append(standard["t1n"] < DARK)
    if "t2w" in standard:
        signs.append(standard["t2w"] > BRIGHT)
    if len(signs) < LEAST_IMAGES:
        return None
    return np.logical_and.reduce([*signs, case.brain])


def _mirrored(fluid: npt.NDArray[np.bool_], case: Coarse) -> npt.NDArray[np.bool_]:
    """The blocks with left and right exchanged about the middle of the template."""
    there = brain_to_mni(case.brain, case.affine) @ case.affine
    matrix = np.linalg.inv(there) @ np.diag([-1.0, 1.0, 1.0, 1.0]) @ there
    out = ndimage.affine_transform(
        fluid.astype(np.float32), matrix[:3, :3], matrix[:3, 3], output_shape=fluid.shape, order=1
    )
    return np.asarray(out > 0.25)
