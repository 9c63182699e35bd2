"""Whether the alignment of a head can be trusted: each doubt is a finding to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCE_NAMES, Finding, Severity
from bmcore.imaging.registration import Registration
from bmcore.stats.segmentation import dice

Mask = npt.NDArray[np.bool_]
LEAST_DICE = 0.95  # of the two brain extractions
BRAIN_ML = (850.0, 2000.0)  # of adults, the mask grown by 2 mm
FAR_DEG = 35.0  # more than a head turns between two sequences of one examination
SCALES = (0.8, 1.25)  # of a head to the template
LEAST_INFORMATION = 0.1  # nats, of a sequence to T1 post-gadolinium after registration
LEAST_SYMMETRY = 0.85
_LOOK = "look at the outline of the brain, and correct it with the brush."


def judge(
    registrations: Mapping[str, Registration],
    to_template: Registration,
    second: float | None,
    brain: Mask,
) -> tuple[Finding, ...]:
    """What a reader should look at before trusting the result.

    registrations: of each sequence onto T1 post-gadolinium. second: Dice of the two extractions.
    brain: (i, j, k) of 1 mm voxels, the first axis from left to right.
    """
    return (
        *_of_sequences(registrations),
        *_of_template(to_template),
        *_of_brain(second, brain),
    )


def _of_sequences(registrations: Mapping[str, Registration]) -> Iterator[Finding]:
    for name, found in registrations.items():
        words = SEQUENCE_NAMES[name]
        if found.after < LEAST_INFORMATION:
            yield _doubt(
                f"{words} may not fit T1 post-gadolinium after alignment",
                f"{found.after:.2f} nats of mutual information",
                f"at least {LEAST_INFORMATION}",
                "look at the edges of the brain in both, side by side.",
            )
        if found.turn_deg > FAR_DEG:
            yield _doubt(
                f"{words} was turned far to fit T1 post-gadolinium",
                f"{found.turn_deg:.0f} degrees",
                f"at most {FAR_DEG:.0f}",
                "check that it is of the same patient and examination.",
            )


def _of_template(to_template: Registration) -> Iterator[Finding]:
    size = 1 / to_template.scale
    if not SCALES[0] <= size <= SCALES[1]:
        yield _doubt(
            "the head hardly fits the template; it may not have been turned upright",
            f"a scale of {size:.2f}",
            f"{SCALES[0]} to {SCALES[1]}",
            "look at the planes: left and right, front and back.",
        )


def _of_brain(second: float | None, brain: Mask) -> Iterator[Finding]:
    if second is not None and second < LEAST_DICE:
        yield _doubt(
            "the two brain extractions do not agree",
            f"Dice {second:.2f}",
            f"at least {LEAST_DICE}",
            _LOOK,
        )
    millilitres = float(brain.sum()) / 1000
    if not BRAIN_ML[0] <= millilitres <= BRAIN_ML[1]:
        yield _doubt(
            "the brain has an unusual size",
            f"{millilitres:.0f} ml",
            f"{BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} ml",
            _LOOK,
        )
    halves = symmetry(brain)
    if halves < LEAST_SYMMETRY:
        yield _doubt(
            "the outline of the brain is not the same left and right",
            f"Dice {halves:.2f} of the two halves",
            f"at least {LEAST_SYMMETRY}",
            _LOOK,
        )


def symmetry(brain: Mask) -> float:
    """Dice of the mask with its mirror image along the first axis, about its middle."""
    box = ndimage.find_objects(brain.astype(np.uint8))
    if not box:
        return 0.0
    inner = brain[box[0]]
    return dice(inner, inner[::-1])


def _doubt(what: str, found: str, expected: str, hint: str) -> Finding:
    return Finding(Severity.WARNING, what, found=found, expected=expected, hint=hint)
