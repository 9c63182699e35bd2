"""Whether the alignment of a head can be trusted: each doubt is a finding to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

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
REFERENCE = "t1c"
# Mutual information with the template, after registration to it: 0.17 to 0.24 in whole brains of
# six sequences, 0.07 to 0.09 in a lower third and in a half, at most 0.06 in a fruit and three
# objects (docs/heads.md).
LEAST_PART, LEAST_BRAIN = 0.1, 0.06
SOME_BRAIN_ML = (400.0, 2200.0)
LEAST_OUTLINE = 0.9  # Dice of the brain in two sequences
LOOK = "look at the outline of the brain, and correct it with the brush."


@dataclass(frozen=True)
class Quality:
    """What was measured of an alignment and of the outline of the brain.

    information: sequence -> mutual information (nats) with T1 post-gadolinium by the headers alone
    and after registration. turns_deg: how far each was turned. outlines: Dice of the brain that the
    second net sees in each sequence with that of T1 post-gadolinium, where both have values.
    second: Dice of the two nets on T1 post-gadolinium; None with one net, or without a skull.
    template_scale: size of the head over the template's; template_information: mutual information
    (nats) of the brain with the template. cuts: where the image ends within the brain. brain_ml,
    symmetry (Dice with its mirror image), parts (connected pieces of more than 1 ml): of the mask
    as it is used.
    """

    information: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    turns_deg: Mapping[str, float] = field(default_factory=dict)
    outlines: Mapping[str, float] = field(default_factory=dict)
    second: float | None = None
    template_scale: float = 1.0
    template_information: float = 1.0
    cuts: tuple[str, ...] = ()
    brain_ml: float = 0.0
    symmetry: float = 0.0
    parts: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        pairs = {name: list(pair) for name, pair in self.information.items()}
        return {**asdict(self), "information": pairs, "cuts": list(self.cuts)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Quality:
        told = {name: (float(a), float(b)) for name, (a, b) in values["information"].items()}
        return cls(**{**values, "information": told, "cuts": tuple(values["cuts"])})


@dataclass(frozen=True, eq=False)
class Found:
    """A brain in a head (i, j, k), by which net, and what the second net says; None without one.

    cuts: the sides of the image at which it ends within the brain ("left", "bottom" ...).
    """

    brain: Mask
    extraction: str
    second: Mask | None = None
    cuts: tuple[str, ...] = ()


def measure(
    registrations: Mapping[str, Registration],
    to_template: Registration,
    found: Found,
    outlines: Mapping[str, tuple[Mask, Mask, Mask]],
    brain: Mask,
) -> Quality:
    """The numbers behind ``judge``.

    registrations: of each sequence onto T1 post-gadolinium. found: its brain there. outlines:
    sequence -> the brain of T1 post-gadolinium, that of the sequence, and where the sequence has
    values, on one grid. brain: (i, j, k) of 1 mm voxels, the first axis from left to right.
    """
    return Quality(
        information={name: (r.before, r.after) for name, r in registrations.items()},
        turns_deg={name: r.turn_deg for name, r in registrations.items()},
        outlines={n: dice(a & there, b & there) for n, (a, b, there) in outlines.items()},
        second=None if found.second is None else dice(found.brain, found.second),
        template_scale=1 / to_template.scale,
        template_information=to_template.after,
        cuts=found.cuts,
        **of_mask(brain),
    )


def of_mask(brain: Mask) -> dict[str, Any]:
    """brain_ml, symmetry and parts of a mask (i, j, k) of 1 mm voxels."""
    sizes = np.bincount(ndimage.label(brain)[0].ravel())[1:]
    return {
        "brain_ml": float(brain.sum()) / 1000,
        "symmetry": symmetry(brain),
        "parts": int((sizes > 1000).sum()),
    }


def judge(quality: Quality) -> tuple[Finding, ...]:
    """What a reader should look at before trusting the result."""
    no_brain = _no_brain(quality)
    if no_brain is not None:
        return (no_brain,)
    return (
        *_of_sequences(quality),
        *_of_template(quality),
        *_of_cuts(quality),
        *_of_brain(quality),
    )


def _no_brain(quality: Quality) -> Finding | None:
    """A refusal where what was found has nothing of a brain in it."""
    fits, size = quality.template_information, quality.brain_ml
    odd = not SOME_BRAIN_ML[0] <= size <= SOME_BRAIN_ML[1]
    if fits >= LEAST_PART or (fits >= LEAST_BRAIN and not odd):
        return None
    return Finding(
        Severity.REFUSED,
        "this does not look like a brain: nothing in it fits the template of one",
        REFERENCE,
        f"{fits:.3f} nats of mutual information with the template, {size:.0f} ml",
        f"at least {LEAST_PART}, as every whole brain has",
        "look at the images: they may show another part of the body, an object, or a few slices of "
        "a head.",
    )


def _of_sequences(quality: Quality) -> Iterator[Finding]:
    for name, (before, after) in quality.information.items():
        words = SEQUENCE_NAMES[name]
        if after < LEAST_INFORMATION or after < before:
            yield _doubt(
                f"{words} may not fit T1 post-gadolinium after alignment",
                f"{after:.2f} nats of mutual information, {before:.2f} before",
                f"at least {LEAST_INFORMATION}, and no less than before",
                "look at the edges of the brain in both, side by side.",
                name,
            )
        if quality.turns_deg[name] > FAR_DEG:
            yield _doubt(
                f"{words} was turned far to fit T1 post-gadolinium",
                f"{quality.turns_deg[name]:.0f} degrees",
                f"at most {FAR_DEG:.0f}",
                "check that it is of the same patient and examination.",
                name,
            )
    for name, overlap in quality.outlines.items():
        if overlap < LEAST_OUTLINE:
            yield _doubt(
                f"the outline of the brain in {SEQUENCE_NAMES[name]} is not that in T1 "
                "post-gadolinium",
                f"Dice {overlap:.2f}",
                f"at least {LEAST_OUTLINE}",
                f"{LOOK} Check that both are of one patient.",
                name,
            )


def _of_template(quality: Quality) -> Iterator[Finding]:
    if not SCALES[0] <= quality.template_scale <= SCALES[1]:
        yield _doubt(
            "the head hardly fits the template; it may not have been turned upright",
            f"a scale of {quality.template_scale:.2f}",
            f"{SCALES[0]} to {SCALES[1]}",
            "look at the planes: left and right, front and back.",
        )


def _of_cuts(quality: Quality) -> Iterator[Finding]:
    if quality.cuts:
        yield _doubt(
            f"the image ends within the brain, at the {' and the '.join(quality.cuts)}; what lies "
            "beyond cannot be found",
            "brain at the edge of the image",
            "the whole brain",
            "use images that hold the whole brain.",
            REFERENCE,
        )
    elif quality.template_information < LEAST_PART:
        yield _doubt(
            "the brain hardly fits the template: it may be part of a brain, or greatly changed",
            f"{quality.template_information:.2f} nats of mutual information",
            f"at least {LEAST_PART}",
            "look at the images and at the outline of the brain.",
            REFERENCE,
        )


def _of_brain(quality: Quality) -> Iterator[Finding]:
    if quality.second is not None and quality.second < LEAST_DICE:
        yield _doubt(
            "the two brain extractions do not agree",
            f"Dice {quality.second:.2f}",
            f"at least {LEAST_DICE}",
            LOOK,
        )
    if not BRAIN_ML[0] <= quality.brain_ml <= BRAIN_ML[1]:
        yield _doubt(
            "the brain has an unusual size",
            f"{quality.brain_ml:.0f} ml",
            f"{BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} ml",
            LOOK,
        )
    if quality.parts != 1:
        yield _doubt("the brain is not in one piece", f"{quality.parts} pieces", "one", LOOK)
    if quality.symmetry < LEAST_SYMMETRY:
        yield _doubt(
            "the outline of the brain is not the same left and right",
            f"Dice {quality.symmetry:.2f} of the two halves",
            f"at least {LEAST_SYMMETRY}",
            LOOK,
        )


def symmetry(brain: Mask) -> float:
    """Dice of the mask with its mirror image along the first axis, about its middle."""
    box = ndimage.find_objects(brain.astype(np.uint8))
    if not box:
        return 0.0
    inner = brain[box[0]]
    return dice(inner, inner[::-1])


def _doubt(what: str, found: str, expected: str, hint: str, sequence: str | None = None) -> Finding:
    return Finding(Severity.WARNING, what, sequence, found, expected, hint)
