"""Paint looks onto many boxes at once, on the CPU or a GPU: what a net learns from.

The same steps as ``phantom.paint``, which paints one scan of a whole head. Blur, thick slices,
shift and ghost all work along one axis and are linear, so that each axis of each scan gets one
matrix; smooth fields are such matrices on a few coarse values. A test holds the two painters
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import Label
from bmcore.phantom.appearance import Look
from bmcore.phantom.tissue import GRID, Floats

if TYPE_CHECKING:
    import torch

TRUNCATE = 2.5  # spreads after which a Gaussian ends
REACH = 8  # voxels to either side that blur and slices look at
TUMOUR_SPACING, OEDEMA_SPACING = 5.0, 6.0  # voxels between the values of their unevenness


@dataclass(frozen=True, eq=False)
class Looks:
    """n scans, see ``Look``: each field with a first axis n, float32.

    lesion: (n, 4, most + 1), zeros where a scan has fewer lesions. slices, ghost: their axis is -1
    where there are none. box: the box that each scan is painted on. The gain is left out, since
    patches are standardised.
    """

    box: npt.NDArray[np.int64]
    tissue: Floats
    lesion: Floats
    rise: Floats
    soft: Floats
    strength: Floats
    uneven: Floats
    mottle: Floats
    field: Floats
    blur: Floats
    slices: Floats
    ghost: Floats
    noise: Floats
    rician: Floats
    gamma: Floats
    spots: Floats
    shift: Floats


@dataclass(frozen=True, eq=False)
class Boxes:
    """b boxes of heads on one device, uint8 (b, channels, i, j, k).

    tissue: white, csf, vessel, dura, choroid as fractions times 255, mask. lesion: labels, owner,
    other as a fraction times 255. start: (b, 3), step: voxel (i, j, k) of a box is voxel
    start + step * (i, j, k) of GRID.
    """

    tissue: torch.Tensor
    lesion: torch.Tensor
    start: npt.NDArray[np.int64]
    step: int = 1


def send(values: npt.NDArray, device: torch.device | str) -> torch.Tensor:
    """An array as a tensor on ``device``; a GPU copies it on its way, while the program goes on."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)


def stack_looks(looks: Sequence[Look], box: Sequence[int]) -> Looks:
    """Looks as arrays; ``box[n]`` is the box that look n is painted on."""
    most = max(look.lesion.shape[1] for look in looks)
    rows: dict[str, list] = {f.name: [] for f in fields(Looks) if f.name != "box"}
    for look in looks:
        for name, row in rows.items():
            value = getattr(look, name)
            if name == "lesion":
                value = np.pad(value, ((0, 0), (0, most - value.shape[1])))
            elif name in ("slices", "ghost") and value is None:
                value = (-1, 1, 0)
            row.append(value)
    arrays = {name: np.array(row, np.float32) for name, row in rows.items()}
    return Looks(np.array(box, np.int64), **arrays)


def paint_boxes(looks: Looks, boxes: Boxes, generator: torch.Generator) -> torch.Tensor:
    """Scans (n, i, j, k), float32, 0 outside the head, unit arbitrary.

    With ``boxes.step`` above 1, blur, slices, shift, ghosts and outliers are left out.
    """
    import torch

    brush = _Brush(looks, boxes, generator)
    image = brush.mixture()
    spacing = np.maximum(looks.mottle[:, 1] / boxes.step, 1.0)
    image *= 1 + brush.wide(looks.mottle[:, 0]) * brush.smooth(spacing)
    image *= torch.exp(brush.field())
    if boxes.step == 1:
        for axis in range(3):
            image = _along(image, brush.operator(axis), axis)
    level = brush.wide(looks.noise)
    first = brush.normal(image.shape)
    second = brush.normal(image.shape) * brush.wide(looks.rician)
    image = torch.sqrt((image + first * level) ** 2 + (second * level) ** 2)
    image = image ** brush.wide(looks.gamma)
    if boxes.step == 1:
        image = brush.outliers(image)
    return image * (brush.tissue[brush.box, 5] > 0)


class _Brush:
    """What the steps of ``paint_boxes`` share."""

    def __init__(self, looks: Looks, boxes: Boxes, generator: torch.Generator) -> None:
        self.looks, self.generator = looks, generator
        self.tissue, self.lesion = boxes.tissue, boxes.lesion
        self.start, self.step = boxes.start[looks.box], boxes.step
        self.device = boxes.tissue.device
        self.shape = tuple(boxes.tissue.shape[2:])
        self.box = send(looks.box, self.device)

    def put(self, values: npt.NDArray) -> torch.Tensor:
        return send(np.asarray(values, np.float32), self.device)

    def wide(self, values: npt.NDArray) -> torch.Tensor:
        """One value a scan, (n, 1, 1, 1)."""
        return self.put(values)[:, None, None, None]

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        import torch

        return torch.randn(tuple(shape), generator=self.generator, device=self.device)

    def share(self, stack: torch.Tensor, channel: int) -> torch.Tensor:
        """A fraction 0-1 of each scan's box."""
        return stack[self.box, channel] * (1 / 255)

    def smooth(self, spacing: npt.NDArray) -> torch.Tensor:
        """Smooth random fields, normal values every ``spacing`` (n,) voxels."""
        cells = [np.maximum(2, np.ceil(n / spacing).astype(int) + 1) for n in self.shape]
        values = self.normal((len(spacing), *(int(c.max()) for c in cells)))
        for axis in (2, 1, 0):
            n = self.shape[axis]
            at = np.arange(n) * ((cells[axis] - 1) / (n - 1))[:, None]
            values = _along(values, _hat(self.put(at), values.shape[1 + axis]), axis)
        return values

    def field(self) -> torch.Tensor:
        """Logarithm of the bias field."""
        values = self.put(self.looks.field)
        for axis in (2, 1, 0):
            cells = values.shape[1 + axis]
            voxel = self.start[:, axis, None] + self.step * np.arange(self.shape[axis])
            at = np.clip(voxel * ((cells - 1) / (GRID[axis] - 1)), 0, cells - 1)
            values = _along(values, _hat(self.put(at), cells), axis)
        return values

    def mixture(self) -> torch.Tensor:
        """Ideal intensities: each voxel the mixture of what lies in it."""
        import torch

        white, grey, csf, vessel, dura, choroid = (self.wide(v) for v in self.looks.tissue.T)
        wet = self.share(self.tissue, 1)
        image = grey + self.share(self.tissue, 0) * (white - grey) + wet * (csf - grey)
        for channel, level in ((3, dura), (4, choroid), (2, vessel)):
            image += self.share(self.tissue, channel) * (level - image)
        image *= 1 + self.share(self.lesion, 2) * (self.wide(self.looks.rise) - 1)
        labels, owner = (self.lesion[self.box, c].long() for c in (0, 1))
        table = self.put(self.looks.lesion)
        image += self._oedema(labels, owner, table, image, wet)
        core = (labels == Label.ET) | (labels == Label.NETC)
        if self.device.type == "cpu" and not core.any():
            return image
        uneven = self.wide(self.looks.uneven[:, 0])
        noise = (1 + uneven * self.smooth(self._every(TUMOUR_SPACING))).clamp(0.5, 1.4)
        place = labels * table.shape[2] + owner
        level = table.flatten(1).gather(1, place.flatten(1)).view_as(image)
        return torch.where(core, level * noise, image)

    def _every(self, spacing: float) -> npt.NDArray:
        return np.full(len(self.looks.box), spacing)

    def _oedema(
        self,
        labels: torch.Tensor,
        owner: torch.Tensor,
        table: torch.Tensor,
        image: torch.Tensor,
        wet: torch.Tensor,
    ) -> torch.Tensor:
        """What oedema adds. Its soft edge reaches past the label; there the level is that of all
        oedema of the box on average."""
        import torch

        here = labels == Label.SNFH
        if self.device.type == "cpu" and not here.any():  # a GPU would wait for the answer
            return torch.zeros_like(image)
        uneven = self.wide(self.looks.uneven[:, 1])
        noise = 1 + uneven * self.smooth(self._every(OEDEMA_SPACING))
        soft = here.float()
        for axis in range(3):
            soft = _along(soft, self._blur(self.looks.soft / self.step, axis), axis)
        soft = soft * self.wide(self.looks.strength) * noise.clamp(0.2, 1.6)
        owner = torch.where(here, owner, 0)
        levels = table[:, Label.SNFH]
        there = torch.zeros_like(levels).scatter_(1, owner.flatten(1), 1.0)
        there[:, 0] = 0
        mean = (levels * there).sum(1) / there.sum(1).clamp(min=1)
        levels = torch.cat([mean[:, None], levels[:, 1:]], dim=1)
        level = levels.gather(1, owner.flatten(1)).view_as(image)
        return soft.clamp(max=1) * (1 - wet) * (level - image)

    # --- what works along one axis -----------------------------------------------------------

    def operator(self, axis: int) -> torch.Tensor:
        """Blur, thick slices, shift and ghost of an axis, (n, out, in)."""
        matrix = self._thick(axis) @ self._blur(self.looks.blur[:, axis], axis)
        n = self.shape[axis]
        rows = np.arange(n)
        moved = (rows - self.looks.shift[:, axis, None].astype(int)) % n
        matrix = _rows(matrix, self._whole(moved))
        at, step, amount = self.looks.ghost.T
        amount = np.where(at == axis, amount, 0)[:, None, None]
        ghost = [(rows + s * step[:, None].astype(int)) % n for s in (1, -1)]
        copies = _rows(matrix, self._whole(ghost[0])) + _rows(matrix, self._whole(ghost[1]))
        return matrix + self.put(amount) * copies

    def _whole(self, values: npt.NDArray) -> torch.Tensor:
        return send(np.asarray(values, np.int64), self.device)

    def _weighted(self, weights: npt.NDArray, axis: int) -> torch.Tensor:
        """Matrices (n, out, in) from weights (n, 2 * REACH + 1) of the neighbours; at the edges the
        values are mirrored."""
        import torch

        size = self.shape[axis]
        at = np.arange(size)[:, None] + np.arange(-REACH, REACH + 1)
        at = np.where(at < 0, -at - 1, at)
        at = np.where(at >= size, 2 * size - 1 - at, at).clip(0, size - 1)
        places = self._whole(at)[None].expand(len(weights), -1, -1)
        values = self.put(weights)[:, None, :].expand(-1, size, -1)
        empty = torch.zeros(len(weights), size, size, device=self.device)
        return empty.scatter_add(2, places, values)

    def _blur(self, spread: npt.NDArray, axis: int) -> torch.Tensor:
        offset = np.arange(-REACH, REACH + 1)
        width = np.maximum(spread, 1e-6)[:, None]
        weights = np.exp(-0.5 * (offset / width) ** 2)
        weights[np.abs(offset) > np.minimum((TRUNCATE * width + 0.5).astype(int), REACH)] = 0
        return self._weighted(weights / weights.sum(1, keepdims=True), axis)

    def _thick(self, axis: int) -> torch.Tensor:
        """Slices of so many voxels, brought back by linear interpolation; else identity."""
        along, thick, begin = self.looks.slices.astype(np.float64).T
        thin = along != axis
        thick = np.where(thin, 1.0, thick)[:, None]
        wide = np.where(thin[:, None], 1, np.maximum(2, np.rint(thick)))
        offset = np.arange(-REACH, REACH + 1) + wide // 2
        slab = self._weighted(((offset >= 0) & (offset < wide)) / wide, axis)
        rows, size = np.arange(self.shape[axis]), self.shape[axis]
        first = ((begin[:, None] * thick - self.start[:, axis, None]) % thick) - thick
        first = np.where(thin[:, None], 0.0, first)
        low = ((rows - first) / thick).astype(int)
        weight = self.put((rows - first) / thick - low)[:, :, None]
        lower, upper = (
            self._whole(np.rint(np.clip(first + (low + more) * thick, 0, size - 1)))
            for more in (0, 1)
        )
        return _rows(slab, lower) * (1 - weight) + _rows(slab, upper) * weight

    def outliers(self, image: torch.Tensor) -> torch.Tensor:
        """The image with single voxels far brighter than the brightest, as many as its share."""
        import torch

        share = torch.rand(image.shape, generator=self.generator, device=self.device)
        chance = self.wide(self.looks.spots / np.prod(GRID))
        top = image.flatten(1).amax(1)[:, None, None, None]
        # what is left of a small uniform number, over its bound, is uniform again
        bright = top * (1 + 2 * share / chance.clamp(min=1e-9))
        return torch.where(share < chance, bright, image)


def _hat(at: torch.Tensor, cells: int) -> torch.Tensor:
    """Weights (n, out, cells) of linear interpolation at ``at`` (n, out), in cells."""
    import torch

    near = torch.arange(cells, device=at.device)
    return (1 - (at[:, :, None] - near).abs()).clamp(min=0)


def _rows(matrix: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Rows ``chosen`` (n, out) of each matrix (n, rows, in)."""
    return matrix.gather(1, chosen[:, :, None].expand(-1, -1, matrix.shape[2]))


def _along(image: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    """Each image (n, i, j, k) times its matrix (n, out, in) along a spatial axis."""
    import torch

    if axis == 0:
        flat = torch.bmm(matrix, image.flatten(2))
        return flat.view(len(image), matrix.shape[1], *image.shape[2:])
    if axis == 2:
        flat = torch.bmm(image.flatten(1, 2), matrix.transpose(1, 2))
        return flat.view(*image.shape[:3], matrix.shape[1])
    return torch.matmul(matrix[:, None], image)
