"""Whether each image can be the sequence that it was taken for.

Fluid, grey and white matter, found by the template, differ in a known order in each sequence; and
after gadolinium something, if only the sinuses, is brighter than before.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.anatomy import brain_to_mni, templates
from bmcore.domain import SEQUENCE_NAMES, Finding, Severity
from bmcore.geometry import Affine
from bmcore.imaging.coarse import Coarse, coarse

EXCHANGED = "T1 native and T1 post-gadolinium look exchanged"
FLUID_BRIGHT = 0.5  # spreads above the median of the brain
TISSUE = 0.15  # spreads between white and grey matter, in T1
BRIGHTER = 2.0  # spreads by which T1 post-gadolinium exceeds T1 native
LEAST_BRIGHTER = 0.0003  # share of the brain's blocks
BRIGHT = 3.0
LEAST_BRIGHT = 0.0001
EXCHANGED_BRIGHT = 0.0006
TIMES = 3.0
DEEP_MM = 20.0
LEAST_BLOCKS = 20

# Measured by training/bench/belonging.py on 2 real and 60 synthetic cases. Fluid: 0.9 to 4.0 in
# T2, at most 0.1 in T1 and FLAIR. White over grey matter in T1: 0.34 to 1.5. Blocks brighter in T1
# post-gadolinium than in T1 native: 0.07 to 7.5 %, and 0 where both are native.


def doubts(case: Coarse) -> tuple[Finding, ...]:
    """A warning for each image that does not look like its sequence, with what it looks like."""
    standard = {s: case.standard(s) for s in case.images}
    signature = {s: _tissues(case, image) for s, image in standard.items()}
    found = [*_fluid(signature), *_tissue(signature)]
    told = {f.file for f in found}
    if not {"t1n", "t1c"} & told:
        found += _enhancement(case, standard)
    return tuple(found)


def _tissues(case: Coarse, image: npt.NDArray[np.float32]) -> tuple[float, float, float] | None:
    """Medians in deep fluid, grey and white matter; None where too little of any is there."""
    regions = _regions(case)
    if any(region.sum() < LEAST_BLOCKS for region in regions):
        return None
    fluid, grey, white = (float(np.median(image[region])) for region in regions)
    return fluid, grey, white


def _regions(case: Coarse) -> tuple[npt.NDArray[np.bool_], ...]:
    grey, white = (_placed(fraction, case) for fraction in _tissue_blocks())
    inner = ndimage.binary_erosion(case.brain)
    deep = ndimage.distance_transform_edt(case.brain, sampling=case.sizes_mm) > DEEP_MM
    return (
        inner & deep & (grey + white < 0.45),
        inner & (grey > 0.5) & (white < 0.3),
        inner & (white > 0.7),
    )


def _placed(fraction: tuple[npt.NDArray, Affine], case: Coarse) -> npt.NDArray[np.float32]:
    """A map of the template on the blocks of ``case``."""
    data, affine = fraction
    matrix = np.linalg.inv(affine) @ brain_to_mni(case.brain, case.affine) @ case.affine
    return ndimage.affine_transform(
        data, matrix[:3, :3], matrix[:3, 3], output_shape=case.brain.shape, order=1
    )


@lru_cache(maxsize=1)
def _tissue_blocks() -> tuple[tuple[npt.NDArray, Affine], ...]:
    """Grey and white matter of the template on blocks of 4 mm, each with their affine."""
    template = templates()
    both = {"grey": template.grey, "white": template.white}
    small = coarse(both, template.brain, template.affine)
    return tuple((small.images[name], small.affine) for name in both)


Signature = Mapping[str, tuple[float, float, float] | None]


def _fluid(signature: Signature) -> list[Finding]:
    """Fluid is bright in T2 and in nothing else."""
    fluid = {s: values[0] for s, values in signature.items() if values is not None}
    bright = {s: value > FLUID_BRIGHT for s, value in fluid.items()}
    dark_t2 = "t2w" in bright and not bright["t2w"]
    wrong = [s for s in ("t1n", "t1c", "t2f") if bright.get(s, False)]
    if dark_t2 and len(wrong) == 1:
        other = wrong[0]
        what = f"t2w and {other} look exchanged: fluid is bright in {other} and not in t2w"
        return [_doubt(what, other, _numbers(fluid, "fluid"), "fluid bright in T2 alone")]
    found = []
    if dark_t2:
        what = "t2w does not look like T2: fluid is not bright in it; it may be a FLAIR or a T1"
        found.append(_doubt(what, "t2w", _numbers(fluid, "fluid"), "fluid bright in T2"))
    for s in wrong:
        what = f"{s} does not look like {SEQUENCE_NAMES[s]}: fluid is bright in it, as in T2"
        found.append(_doubt(what, s, _numbers(fluid, "fluid"), "fluid bright in T2 alone"))
    return found


def _tissue(signature: Signature) -> list[Finding]:
    """White matter is brighter than grey matter in T1; a difference or ratio shows neither."""
    found = []
    for s in ("t1n", "t1c"):
        values = signature.get(s)
        if values is None or values[0] > FLUID_BRIGHT or values[2] - values[1] >= TISSUE:
            continue
        what = (
            f"{s} does not look like {SEQUENCE_NAMES[s]}: white matter is not brighter than grey "
            "matter; it may be a map, a difference of images or another sequence"
        )
        found.append(_doubt(what, s, f"{values[2] - values[1]:+.2f} spreads", f"over {TISSUE}"))
    return found


def _enhancement(case: Coarse, standard: Mapping[str, npt.NDArray[np.float32]]) -> list[Finding]:
    """Something is brighter after gadolinium, and more of it is bright than before."""
    contrast = standard["t1c"][case.brain]
    bright = float((contrast > BRIGHT).mean())
    if "t1n" not in standard:
        if bright >= LEAST_BRIGHT:
            return []
        what = "nothing enhances in t1c, not even vessels: it may be a T1 before gadolinium"
        return [_doubt(what, "t1c", f"{bright:.2%} of the brain is bright", "vessels are bright")]
    native = standard["t1n"][case.brain]
    before = float((native > BRIGHT).mean())
    more = float((contrast - native > BRIGHTER).mean())
    less = float((native - contrast > BRIGHTER).mean())
    told = f"{more:.2%} of the brain brighter in t1c than in t1n, {less:.2%} brighter in t1n"
    exchanged = before >= EXCHANGED_BRIGHT and before >= TIMES * bright
    if exchanged or (more < LEAST_BRIGHTER <= less):
        what = f"{EXCHANGED}: vessels are bright in the one without contrast"
        return [_doubt(what, "t1c", told, "more in T1 post-gadolinium")]
    if more < LEAST_BRIGHTER:
        what = (
            "nothing is brighter in t1c than in t1n: it may be a T1 before gadolinium, or made "
            "from the other"
        )
        return [_doubt(what, "t1c", told, "vessels brighter after gadolinium")]
    return []


def _numbers(values: Mapping[str, float], what: str) -> str:
    told = ", ".join(f"{s} {v:+.1f}" for s, v in values.items())
    return f"{what} {told} spreads from the median of the brain"


def _doubt(what: str, sequence: str, found: str, expected: str) -> Finding:
    hint = "look at the images; if a file was taken as the wrong sequence, add the case again."
    return Finding(Severity.WARNING, what, sequence, found, expected, hint)
