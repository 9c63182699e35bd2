"""Grids to write synthetic patients on: that of the Yale files, or one like a scanner's own.

A scanner's grid is oblique, in any voxel order, finer than 1 mm in the slice and often coarse
across it. All sequences of a case share it, as intake asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bmcore.geometry import Affine, resample, transform
from bmcore.phantom.tissue import GRID

GridName = Literal["atlas", "native"]
YALE_SHAPE = (240, 240, 155)
YALE_AFFINE = np.array([[1, 0, 0, 0], [0, 1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]], float)
CORNER = (40, 14, 0)  # where GRID sits in YALE_SHAPE
MARGIN_MM = 8.0
# share of examinations, and the world axes (0 right, 1 anterior, 2 superior) of voxel axes i, j, k
_PLANES = {"axial": (0.6, (0, 1, 2)), "sagittal": (0.25, (1, 2, 0)), "coronal": (0.15, (0, 2, 1))}


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape (i, j, k), affine (world RAS+ mm), and the thickness of the slices, which are k."""

    shape: tuple[int, int, int]
    affine: Affine
    thickness_mm: float


def phantom_affine() -> Affine:
    """The affine of GRID, the grid that patients are drawn on."""
    affine = YALE_AFFINE.copy()
    affine[:3, 3] += CORNER
    return affine


def on_yale_grid(array: npt.NDArray) -> npt.NDArray:
    """Pad (GRID) to 240x240x155 as SRI24 files of the data set are."""
    out = np.zeros(YALE_SHAPE, array.dtype)
    out[tuple(slice(c, c + n) for c, n in zip(CORNER, GRID, strict=True))] = array
    return out


def draw_native_grid(rng: np.random.Generator) -> Grid:
    """A grid that holds the whole head: plane, spacing, slices, tilt and voxel order at random.

    In the slice 0.5-1 mm; two of five are volumes with slices of 1 mm, the others 2-5 mm thick;
    tilted up to about 12 degrees about each axis.
    """
    names = list(_PLANES)
    plane = names[int(rng.choice(len(names), p=[_PLANES[n][0] for n in names]))]
    world = _PLANES[plane][1]
    fine = float(rng.uniform(0.5, 1.0))
    thick = 1.0 if rng.uniform() < 0.4 else float(rng.uniform(2.0, 5.0))
    spacing = np.array([fine, fine, thick])
    turn = np.eye(3)[:, list(world)] * np.where(rng.uniform(size=3) < 0.5, -1.0, 1.0)
    axes = _tilt(rng.normal(0, np.deg2rad(4), 3).clip(-0.21, 0.21)) @ turn
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in GRID])).reshape(3, -1).T
    along = transform(phantom_affine(), corners) @ axes  # mm along the new axes
    low, high = along.min(0) - MARGIN_MM, along.max(0) + MARGIN_MM
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = axes @ low
    shape = tuple(int(n) for n in np.ceil((high - low) / spacing).astype(int) + 1)
    return Grid(shape, affine, thick)  # type: ignore[arg-type]


def _tilt(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotation matrix from three angles in radians, about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def image_on(grid: Grid, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """An image (GRID) on ``grid``: mean over each slice's thickness, linear in between."""
    layers = _layers(grid)
    total = np.zeros(grid.shape, np.float32)
    for affine in layers:
        total += resample(image, phantom_affine(), affine, grid.shape)
    total /= len(layers)
    return total


def labels_on(grid: Grid, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Labels (GRID) on ``grid``: in each voxel the one that fills most of it (partial volume).

    What fills less than half of a thick slice may vanish, as it does for a reader.
    """
    kinds = [int(v) for v in np.unique(labels)]
    shares = np.zeros((len(kinds), *grid.shape), np.uint8)
    for affine in _layers(grid):
        there = resample(labels, phantom_affine(), affine, grid.shape, order=0)
        for place, kind in enumerate(kinds):
            shares[place] += there == kind
    return np.array(kinds, np.uint8)[shares.argmax(0)]


def _layers(grid: Grid) -> list[Affine]:
    """The grid's affine, moved to the middle of each of the layers (1 mm or less) of a slice."""
    count = max(1, round(grid.thickness_mm))
    out = []
    for number in range(count):
        moved = grid.affine.copy()
        moved[:3, 3] += grid.affine[:3, 2] * ((number + 0.5) / count - 0.5)
        out.append(moved)
    return out
