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
        scale, shift = self._maps(x, max(1, BLOCK * x.shape[2] // edges[0]), window)
        rows = x.permute(0, 2, 3, 4, 1)[0]  # (i, j, k, channels)
        out = torch.empty_like(rows, memory_format=torch.contiguous_format)
        groups = (*rows.shape[1:3], self.num_groups, -1)
        for start in range(0, len(rows), _SLAB):
            here = slice(start, start + _SLAB)
            slab = rows[here].float().view(-1, *groups)
            slab = slab.mul_(scale[here, ..., None]).add_(shift[here, ..., None])
            out[here] = slab.view(-1, *rows.shape[1:]).mul_(self.weight).add_(self.bias)
        return out[None].permute(0, 4, 1, 2, 3)

    def _maps(self, x: torch.Tensor, block: int, window: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What each group at each place is multiplied with, and what is added: (i, j, k, groups).

        block: edge of a block in voxels of ``x``; the window has ``window`` // BLOCK blocks.
        """
        mean, square = self._blocks(x, block)
        size = [min(max(1, window // BLOCK), n) for n in mean.shape[2:]]
        mean, square = avg_pool3d(mean, size, 1), avg_pool3d(square, size, 1)
        factor = torch.rsqrt((square - mean**2).clamp_min(0) + self.eps)
        maps = torch.cat([factor, -mean * factor], 1)[0].permute(1, 2, 3, 0)
        for axis, (length, blocks) in enumerate(zip(x.shape[2:], size, strict=True)):
            weights = _between(length, maps.shape[axis], block, blocks).to(maps)
            maps = torch.tensordot(weights, maps, ([1], [axis])).movedim(0, axis)
        maps = maps.contiguous()
        return maps[..., : self.num_groups], maps[..., self.num_groups :]

    def _blocks(self, x: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and mean square of each group in each block, (1, groups, i, j, k)."""
        i, j, k = (n // block for n in x.shape[2:])
        channels = x.shape[1]
        rows = x.permute(0, 2, 3, 4, 1).reshape(i, block, j, block, k, block * channels)
        sums = []
        for values in (rows, rows * rows):
            line = values.sum((1, 3), dtype=torch.float32)
            sums.append(line.view(i, j, k, block, self.num_groups, -1).sum((3, 5)))
        number = block**3 * channels // self.num_groups
        mean, square = (total.permute(3, 0, 1, 2)[None] / number for total in sums)
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
