"""Synthetic anatomy: the MNI templates, warped at random, with vessels, dura and choroid plexus.

The grid of a phantom is RAS+ 1 mm, GRID voxels, with the brain near its centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.anatomy import templates
from bmcore.geometry import Affine, transform

GRID = (160, 192, 152)
CENTRE_MNI = np.array((0.0, -17.0, 7.0))
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tissue:
    """Fractions 0-1 (float32, GRID) of one synthetic head.

    grey, white, csf sum to 1 inside ``mask``; ventricle is part of csf; vessel, dura, choroid lie
    on top. depth: mm below (negative) or above the brain's surface. to_mni: (3, GRID) MNI mm.
    """

    grey: Floats
    white: Floats
    csf: Floats
    ventricle: Floats
    vessel: Floats
    dura: Floats
    choroid: Floats
    depth: Floats
    mask: npt.NDArray[np.bool_]
    to_mni: Floats


def smooth_noise(
    rng: np.random.Generator, spacing: float, channels: int = 1, shape: tuple[int, ...] = GRID
) -> Floats:
    """Smooth random fields (channels, *shape): normal values every ``spacing`` voxels."""
    import torch
    from torch.nn import functional as F

    coarse = [max(2, int(np.ceil(n / spacing)) + 1) for n in shape]
    values = rng.standard_normal((1, channels, *coarse)).astype(np.float32)
    field = F.interpolate(
        torch.from_numpy(values), size=tuple(shape), mode="trilinear", align_corners=True
    )
    return field[0].numpy()


# Courses in MNI mm, right half (the left is its mirror image); set by hand on the template.
_TRANSVERSE = (
    ((0, -102, -6), (22, -100, -13), (45, -82, -21), (58, -62, -27), (57, -50, -34)),
    ((57, -50, -34), (50, -44, -42), (40, -42, -50)),  # sigmoid
)
_CAVERNOUS = (((13, 6, -24), (14, -6, -23), (16, -16, -26)), ((0, 1, -29), (6, 2, -28)))
_STRAIGHT = (((0, -38, 4), (0, -62, 2), (0, -84, -4), (0, -100, -6)),)
_REACH = 14.0  # mm up to which the distance to a course is known


def _distance(courses: tuple, shape: tuple[int, ...], affine: Affine) -> Floats:
    """Distance in mm (voxels of 1 mm) of each voxel to courses and their mirror images."""
    line = np.ones(shape, bool)
    inverse = np.linalg.inv(affine)
    for course in courses:
        for first, second in pairwise(course):
            share = np.linspace(0, 1, 60)[:, None]
            points = np.array(first) * (1 - share) + np.array(second) * share
            for side in (1, -1):
                half: npt.NDArray[np.float64] = np.array(points * (side, 1, 1), np.float64)
                voxels = np.rint(transform(inverse.astype(np.float64), half)).astype(int)
                voxels = np.clip(voxels, 0, np.array(shape) - 1)
                line[tuple(voxels.T)] = False
    return np.minimum(ndimage.distance_transform_edt(line), _REACH).astype(np.float32)


@lru_cache(maxsize=1)
def _atlas() -> tuple[Floats, Affine]:
    """Channels (8, i, j, k): grey, white, ventricle, signed depth in cm, sinus and falx, and the
    distance in cm to the transverse and sigmoid, the cavernous and the straight sinus.
    """
    t = templates()
    brain = ndimage.binary_opening(t.brain, iterations=1)
    outside = ndimage.distance_transform_edt(~brain)
    inside = ndimage.distance_transform_edt(brain)
    depth = np.clip(outside - inside, -30, 30).astype(np.float32)
    world = np.stack(np.meshgrid(*[np.arange(n) for n in t.t1.shape], indexing="ij"), -1)
    mni = transform(t.affine, world)
    x, y, z = np.abs(mni[..., 0]), mni[..., 1], mni[..., 2]
    csf = np.clip(brain - t.grey - t.white, 0, 1)
    core = (x < 42) & (y > -62) & (y < 45) & (z > -30) & (z < 36) & (inside > 14)
    seed = (csf > 0.35) & core & ~((z < -8) & (x > 12) & (y > -20))
    ventricle = ndimage.gaussian_filter(seed.astype(np.float32), 0.7)
    tentorium = -8 - 0.3 * x - 0.3 * np.clip(-75 - y, 0, None)
    sagittal = (x < 3.5) & (depth > -3) & (depth < 5) & ((z > 25) | (y < -70)) & (z > -20)
    falx = (x < 1.0) & (csf > 0.25) & (inside < 40) & ((z > 20) | (y < -60) | (y > 30))
    tent = (np.abs(z - tentorium) < 1.0) & (y < -35) & (csf > 0.2)
    sinus = ndimage.gaussian_filter((sagittal | falx | tent).astype(np.float32), 0.7)
    courses = [
        _distance(c, t.t1.shape, t.affine) / 10 for c in (_TRANSVERSE, _CAVERNOUS, _STRAIGHT)
    ]
    channels = [t.grey, t.white, ventricle, depth / 10, sinus, *courses]
    return np.stack(channels).astype(np.float32), t.affine


def _random_affine(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    angles = np.deg2rad(rng.normal(0, 4, 3))
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        turn[[a, a, b, b], [a, b, a, b]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        rotation = rotation @ turn
    # the template is a large head; a larger one would be cut at the edge of GRID
    scale = 0.95 * np.exp(rng.normal(0, 0.05)) * np.exp(rng.normal(0, 0.03, 3))
    scale = np.clip(scale, 0.86, 1.01)
    flip = np.array((rng.choice((-1.0, 1.0)), 1.0, 1.0))
    return rotation @ np.diag(flip / scale)


def draw_map(rng: np.random.Generator) -> Floats:
    """A random smooth map (3, GRID) from the phantom's voxels to MNI mm."""
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in GRID]
    matrix = _random_affine(rng).astype(np.float32)
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    out = np.empty((3, *GRID), np.float32)
    shift = np.clip(rng.normal(0, 2.0, 3), -3, 3) + CENTRE_MNI
    for a in range(3):
        out[a] = matrix[a, 0] * x + matrix[a, 1] * y + matrix[a, 2] * z + shift[a]
    for spacing, low, high in ((36, 1.0, 4.0), (18, 0.5, 2.0), (9, 0.2, 1.0)):
        out += np.float32(rng.uniform(low, high)) * smooth_noise(rng, spacing, 3)
    heart = np.array((0, -15, 10), np.float32).reshape(3, 1, 1, 1)
    pull = rng.uniform(-0.2, 0.45)  # > 0 widens the ventricles
    reach = ((out - heart) ** 2).sum(0) / (2 * 26.0**2)
    out = heart + (out - heart) * (1 - np.float32(pull) * np.exp(-reach))
    return out.astype(np.float32)


def sample_atlas(to_mni: Floats) -> Floats:
    """The atlas channels (8, GRID) at the given MNI positions, trilinear, 0 outside."""
    import torch
    from torch.nn import functional as F

    atlas, affine = _atlas()
    inverse = np.linalg.inv(affine)
    size = np.array(atlas.shape[1:])
    grid = np.empty((*GRID, 3), np.float32)
    for a in range(3):  # the template's affine is diagonal
        voxel = to_mni[a] * inverse[a, a] + inverse[a, 3]
        grid[..., 2 - a] = 2 * voxel / (size[a] - 1) - 1
    sampled = F.grid_sample(
        torch.from_numpy(atlas)[None],
        torch.from_numpy(grid)[None],
        align_corners=True,
        padding_mode="border",
    )
    return sampled[0].numpy()


def _vessels(rng: np.random.Generator, csf: Floats, depth: Floats, to_mni: Floats) -> Floats:
    """Curved tubes that prefer CSF: cortical veins and the larger arteries at the base."""
    out = np.zeros(GRID, np.float32)
    wet = np.argwhere((csf[::2, ::2, ::2] > 0.25) & (depth[::2, ::2, ::2] > -30)) * 2
    if not len(wet):
        return out
    mni = to_mni[:, wet[:, 0], wet[:, 1], wet[:, 2]]
    near_base = (np.abs(mni[2] + 12) < 9) & (np.abs(mni[0]) < 48) & (np.abs(mni[1] - 2) < 20)
    base = wet[near_base] if near_base.any() else wet
    ball = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1)
    limit = np.array(GRID) - 5
    for n in range(int(rng.integers(25, 110))):
        start = base if n % 3 == 0 else wet
        at = start[rng.integers(len(start))].astype(float)
        heading = rng.normal(size=3)
        radius = rng.uniform(0.45, 1.5 if n % 3 == 0 else 1.1)
        for _ in range(int(rng.integers(12, 55))):
            tries = heading / np.linalg.norm(heading) + rng.normal(0, 0.35, (3, 3))
            tries /= np.linalg.norm(tries, axis=1, keepdims=True)
            ends = np.clip(np.rint(at + 2 * tries).astype(int), 4, limit)
            heading = tries[np.argmax(csf[tuple(ends.T)] + rng.uniform(0, 0.3, 3))]
            at = np.clip(at + heading, 4, limit)
            whole = np.rint(at).astype(int)
            gap = np.sqrt(((ball + whole - at) ** 2).sum(-1))
            a, b, c = whole
            view = out[a - 3 : a + 4, b - 3 : b + 4, c - 3 : c + 4]
            np.maximum(view, np.clip(radius + 0.5 - gap, 0, 1), out=view)
    return out


def _sinuses(rng: np.random.Generator, courses: list[Floats], to_mni: Floats) -> Floats:
    """Transverse and sigmoid, cavernous and straight sinus: tubes of uneven width (GRID), 0-1.

    The two transverse sinuses differ in width, as they mostly do.
    """
    wave = 1 + 0.3 * smooth_noise(rng, 12)[0]
    right, left = rng.uniform(1.0, 6.5, 2)
    widths = (
        np.where(to_mni[0] > 0, np.float32(right), np.float32(left)),
        rng.uniform(0.0, 6.0),
        rng.uniform(0.5, 2.8),
    )
    tubes = [
        np.clip(width * wave + 0.5 - distance, 0, 1) * (distance < _REACH - 1)
        for width, distance in zip(widths, courses, strict=True)
    ]
    return np.maximum.reduce(tubes).astype(np.float32)


def draw_tissue(rng: np.random.Generator, to_mni: Floats, residue: bool = False) -> Tissue:
    """Fractions of tissue for a map (3, GRID) of voxels to MNI mm.

    residue: pieces of what lies around the brain are left, as after a careless skull-stripping.
    """
    grey, white, ventricle, depth, sinus, *courses = sample_atlas(to_mni)
    depth = depth * 10
    tube = _sinuses(rng, [10 * c for c in courses], to_mni)
    margin = rng.uniform(-1.0, 1.5) + rng.uniform(0.2, 1.2) * smooth_noise(rng, 14)[0]
    if residue:
        margin += rng.uniform(3, 9) * np.clip(smooth_noise(rng, 28)[0] - rng.uniform(0.3, 1), 0, 1)
    mask = depth < margin
    if rng.uniform() < 0.8:  # most skull-strippers leave the venous sinuses at the brain's edge
        mask |= (tube > 0.3) & (depth < rng.uniform(3, 9))
    # The template is an average of many heads, so its sulci are washed out: sharpen the fractions
    # and cut new sulci where a smooth field crosses zero inside the cortical band.
    white = np.clip((white - 0.5) * rng.uniform(1.2, 2.2) + 0.5, 0, 1)
    field = smooth_noise(rng, rng.uniform(7, 12))[0]
    width = rng.uniform(0.04, 0.22)
    band = np.clip((depth + rng.uniform(12, 22)) / 6, 0, 1) * (1 - white)
    sulci = band * np.clip(1.5 - np.abs(field) / width, 0, 1)
    surface = np.clip((depth + rng.uniform(-0.5, 1.5)) / 1.5, 0, 1)
    soft = np.clip(1 - grey - white, 0, 1) * rng.uniform(1.0, 2.5)
    csf = np.clip(np.maximum.reduce([soft, sulci, surface, ventricle * 1.3]), 0, 1)
    white = white * (1 - csf)
    grey = 1 - csf - white
    dura = np.zeros(GRID, np.float32)
    shell = (depth > rng.uniform(0.5, 1.5)) & (smooth_noise(rng, 20)[0] > rng.uniform(-1, 1.5))
    dura[shell] = rng.uniform(0.3, 1.0)
    if residue:  # further out it is scalp, muscle or fat, in patches
        dura = np.where(depth > 2.5, np.clip(0.5 + 0.4 * smooth_noise(rng, 9)[0], 0, 1), dura)
    dura = np.maximum(dura, np.clip(sinus * rng.uniform(0.6, 1.6), 0, 1))
    tube = tube * np.clip(1.2 - 1.5 * grey - 1.5 * white, 0, 1)  # sinuses lie beside the brain
    plexus = (ventricle > 0.4) & (smooth_noise(rng, 5)[0] > rng.uniform(0.5, 1.3))
    vessel = np.maximum(_vessels(rng, csf, depth, to_mni), tube)
    for part in (grey, white, csf, ventricle, vessel, dura):
        part[~mask] = 0
    choroid = (plexus & mask).astype(np.float32)
    return Tissue(grey, white, csf, ventricle, vessel, dura, choroid, depth, mask, to_mni)
