"""Group norm by place: a net that has learnt on windows reads a whole head in one go.

Group norm takes mean and variance over all it is given. A net that was trained on windows is wrong
about a whole head, whose mean and variance are others (measured: docs/performance.md). Inside
``by_place`` each voxel gets the mean and variance of the window around it instead, as if it lay in
the middle of a window of its own; at the rim of the volume the window is moved inwards, as sliding
windows are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.functional import avg_pool3d

BLOCK = 16  # input voxels; means are taken over blocks of this edge first
_SLAB = 8  # layers that are scaled at once: they stay in the processor's cache
_now = threading.local()


@contextmanager
def by_place(edges: Sequence[int], window: int) -> Iterator[None]:
    """In this thread, norms take the window of ``window`` input voxels around each place.

    edges: of the net's input (i, j, k), multiples of BLOCK.
    """
    _now.place = (tuple(edges), window)
    try:
        yield
    finally:
        _now.place = None


def is_placed() -> bool:
    """True inside ``by_place``."""
    return getattr(_now, "place", None) is not None


class PlacedNorm(nn.GroupNorm):
    """Group norm, inside ``by_place`` with statistics by place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        place = getattr(_now, "place", None)
        return super().forward(x) if place is None else self._placed(x, *place)

    def _placed(self, x: torch.Tensor, edges: tuple[int, ...], window: int) -> torch.Tensor:
        if len(x) != 1:
            raise ValueError(f"one volume at a time is normed by place, but here are {len(x)}")
        rows = x.permute(0, 2, 3, 4, 1)[0].contiguous()  # (i, j, k, channels)
        block = max(1, BLOCK * x.shape[2] // edges[0])
        maps, size = self._maps(rows, block, max(1, window // BLOCK))
        for axis in (1, 2):
            weights = _between(rows.shape[axis], maps.shape[axis], block, size[axis]).to(maps)
            maps = torch.tensordot(weights, maps, ([1], [axis])).movedim(0, axis)
        along = _between(rows.shape[0], maps.shape[0], block, size[0]).to(maps)
        maps, channels = maps.reshape(len(maps), -1), rows.shape[3]
        out = torch.empty_like(rows)
        for start in range(0, len(rows), _SLAB):
            here = slice(start, start + _SLAB)
            factor, term = (along[here] @ maps).view(-1, *rows.shape[1:3], 2, channels).unbind(3)
            out[here] = torch.addcmul(term, rows[here].float(), factor)
        return out[None].permute(0, 4, 1, 2, 3)

    def _maps(
        self, rows: torch.Tensor, block: int, window: int
    ) -> tuple[torch.Tensor, tuple[int, ...]]:
        """What each channel is multiplied with, and what is added, in each window (i, j, k, 2 *
        channels), and how many blocks a window has along each axis.

        rows (i, j, k, channels). block: edge of a block in voxels; window: in blocks.
        """
        mean, square = self._blocks(rows, block)
        size = tuple(min(window, n) for n in mean.shape[2:])
        mean, square = avg_pool3d(mean, size, 1), avg_pool3d(square, size, 1)
        factor = torch.rsqrt((square - mean**2).clamp_min(0) + self.eps)
        each = self.num_channels // self.num_groups
        factor, term = (
            m[0].permute(1, 2, 3, 0).repeat_interleave(each, -1) for m in (factor, -mean * factor)
        )
        return torch.cat([factor * self.weight, term * self.weight + self.bias], -1), size

    def _blocks(self, rows: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and mean square of each group in each block, (1, groups, i, j, k)."""
        _, j, k = (n // block for n in rows.shape[:3])
        number = block**3 * self.num_channels // self.num_groups
        sums: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for start in range(0, len(rows), block):
            layers = rows[start : start + block].float()
            for values, kept in zip((layers, layers * layers), sums, strict=True):
                flat = values.sum(0).view(j, block, k, block, self.num_groups, -1)
                kept.append(flat.sum((1, 3, 5)) / number)
        mean, square = (torch.stack(kept).permute(3, 0, 1, 2)[None] for kept in sums)
        return mean, square


def _between(length: int, windows: int, block: int, blocks: int) -> torch.Tensor:
    """Weights (length, windows) of the windows for each voxel: linear between their centres."""
    at = ((torch.arange(length) + 0.5) / block - blocks / 2).clamp(0, windows - 1)
    apart = (at[:, None] - torch.arange(windows)).abs()
    return (1 - apart).clamp_min(0)


def placed(net: nn.Module) -> None:
    """Put a PlacedNorm in place of every group norm, with the same weights under the same names."""
    for part in net.modules():
        for name, norm in part.named_children():
            if type(norm) is nn.GroupNorm:
                other = PlacedNorm(norm.num_groups, norm.num_channels, norm.eps)
                other.weight, other.bias = norm.weight, norm.bias
                setattr(part, name, other)
