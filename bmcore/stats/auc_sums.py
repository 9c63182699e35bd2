"""Sums over all pairs of a positive and a negative case, without a table of all pairs.

The kernel of an AUC is 1 where the positive case of a pair stands above the negative one, 1/2 where
they tie, 0 below, and 0 where either was not read. U-statistics need the sums of products of two
conditions' kernels over each set of axes (readers, negative cases, positive cases). With readers r
and n cases such a table holds r n^2 numbers, 1.2 GB for ten readers and 10,000 cases. Here sums
over one case's pairs come from ranks, and what needs each pair is gone through in blocks. The sums
are exact: whole numbers of halves, and below 2^53 quarters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Axes = tuple[int, ...]

AXES = 3  # readers, negative cases, positive cases
SUBSETS: tuple[Axes, ...] = tuple(s for k in range(AXES + 1) for s in combinations(range(AXES), k))
_CELLS = (
    200_000  # pairs that are looked at in one go; below 2^22, so that sums in float32 are exact
)


@dataclass(frozen=True, eq=False)
class AucSums:
    """Sums of the kernel and of the design (1 where a reader read both cases of a pair, else 0).

    kernel, design (conditions, readers): over all pairs. kernel_by, design_by: over readers and
    pairs, for each negative (conditions, n0) and each positive case (conditions, n1). products:
    {subset of (0 readers, 1 negative, 2 positive): (conditions, conditions)}, for each two
    conditions the sum over the subset's axes of the product of their kernels summed over the other
    axes; read: the same of the design."""

    kernel: Floats
    design: Floats
    kernel_by: tuple[Floats, Floats]
    design_by: tuple[Floats, Floats]
    products: dict[Axes, Floats]
    read: dict[Axes, Floats]


def auc_sums(scores: Floats, positive: npt.NDArray[np.bool_]) -> AucSums:
    """scores (conditions, readers, cases), NaN where not read; positive bool (cases,)."""
    up, down = _ranks(scores, positive)
    above = _above(up, down)
    of_negative = above[0].sum(axis=1)
    of_positive = above[1].sum(axis=1)
    rows = above[0].sum(axis=2)
    products = _margins(rows, above[0], above[1])
    products[1, 2], products[0, 1, 2] = _by_pair(up, down)
    read_up, read_down = (up >= 0).astype(float), (down < _unread(down)).astype(float)
    pairs_down = read_down * read_up.sum(axis=2, keepdims=True)
    pairs_up = read_up * read_down.sum(axis=2, keepdims=True)
    design = pairs_down.sum(axis=2)
    read = _margins(design, pairs_down, pairs_up)
    read[1, 2], read[0, 1, 2] = _read_by_pair(read_up, read_down)
    return AucSums(
        rows,
        design,
        (of_negative, of_positive),
        (pairs_down.sum(axis=1), pairs_up.sum(axis=1)),
        products,
        read,
    )


def _ranks(
    scores: Floats, positive: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Each reader's scores as whole numbers of the same order, of positive and of negative cases.

    A case that was not read lies below all as a positive and above all as a negative one, so that
    the comparison of a pair with it is never true.
    """
    ranks = np.full(scores.shape, -1, np.int32)
    for at in np.ndindex(scores.shape[:2]):
        read = ~np.isnan(scores[at])
        ranks[at][read] = np.unique(scores[at][read], return_inverse=True)[1]
    down = ranks[:, :, ~positive]
    down[down < 0] = _unread(down)
    return ranks[:, :, positive], down


def _unread(down: npt.NDArray[np.int32]) -> int:
    return int(np.iinfo(down.dtype).max)


def _above(up: npt.NDArray[np.int32], down: npt.NDArray[np.int32]) -> tuple[Floats, Floats]:
    """The kernel summed over the positive cases, for each negative one, and the other way round."""
    negative, positive = np.zeros(down.shape), np.zeros(up.shape)
    for at in np.ndindex(up.shape[:2]):
        read_up, read_down = up[at] >= 0, down[at] < _unread(down)
        high, low = up[at][read_up], down[at][read_down]
        negative[at][read_down] = len(high) - _midranks(np.sort(high), low)
        positive[at][read_up] = _midranks(np.sort(low), high)
    return negative, positive


def _midranks(ordered: npt.NDArray[np.int32], values: npt.NDArray[np.int32]) -> Floats:
    """How many of ``ordered`` lie below each value, those that tie with it by half."""
    sides = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return np.asarray(sum(sides) / 2)


def _margins(rows: Floats, negative: Floats, positive: Floats) -> dict[Axes, Floats]:
    """The products that need no single pair. rows (conditions, readers)."""
    t = len(rows)
    tables = {
        (): rows.sum(axis=1, keepdims=True),
        (0,): rows,
        (1,): negative.sum(axis=1),
        (2,): positive.sum(axis=1),
        (0, 1): negative.reshape(t, -1),
        (0, 2): positive.reshape(t, -1),
    }
    return {axes: table @ table.T for axes, table in tables.items()}


def _by_pair(up: npt.NDArray[np.int32], down: npt.NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Products of the kernels of each pair of cases: of the sums over readers, and reader by reader
    summed up. Goes through the pairs in blocks; twice the kernel is a small whole number."""
    t, readers = up.shape[:2]
    block = max(1, _CELLS // max(1, up.shape[2]))
    whole, each = np.zeros((t, t)), np.zeros((t, t))
    for start in range(0, down.shape[2], block):
        summed: npt.NDArray[np.float32] | None = None
        for reader in range(readers):
            high = up[:, reader, None, :]
            low = down[:, reader, start : start + block, None]
            twice = ((high > low).view(np.int8) + (high >= low).view(np.int8)).reshape(t, -1)
            plain = twice.astype(np.float32)
            each += plain @ plain.T
            summed = plain if summed is None else summed + plain
        if summed is not None:
            exact = summed.astype(np.float64)
            whole += exact @ exact.T
    return whole / 4, each / 4


def _read_by_pair(up: Floats, down: Floats) -> tuple[Floats, Floats]:
    """As ``_by_pair`` of the design, which is a product: who read both cases of a pair."""
    t, readers = up.shape[:2]
    both = np.ones((t * readers, t * readers))
    for read in (up, down):
        flat = read.reshape(t * readers, -1)
        both *= flat @ flat.T
    table = both.reshape(t, readers, t, readers)
    return table.sum(axis=(1, 3)), np.einsum("arbr->ab", table)
