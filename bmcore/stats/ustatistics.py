"""Means over crossed samples (readers, positive cases, negative cases) with an unbiased variance.

The "one-shot" variance of Gallas 2006 (Acad Radiol 13:353) and Gallas, Bandos, Samuelson and Wagner
2009 (Commun Stat Theory Methods 38:2586), as in the iMRMC software, for a complete design. A kernel
holds one number for each combination: for an AUC, 1 where the positive case stands above the
negative one, 0.5 where they tie. Its mean squared, less the mean of products of two kernel values
that share no reader and no case, estimates the variance without bias. If that comes out negative,
the plug-in (maximum likelihood) variance, which is the ideal bootstrap's and is biased upwards,
takes its place, and the method says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bmcore.stats.auc_sums import auc_sums
from bmcore.stats.comparison import Comparison, compare, no_comparison
from bmcore.stats.estimate import Estimate
from bmcore.stats.mrmc import Pair, whole_cases

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UStudy:
    """As ``mrmc.ReaderStudy``: ``figures`` (conditions, readers), Estimates of the means and
    differences by pair (earlier, later), for random and for fixed readers."""

    figures: Floats
    random: tuple[Estimate, ...]
    fixed: tuple[Estimate, ...]
    differences_random: dict[Pair, Comparison]
    differences_fixed: dict[Pair, Comparison]


def compare_auc(scores: npt.ArrayLike, truth: npt.ArrayLike, level: float = 0.95) -> UStudy:
    """Compare AUC between conditions: scores (conditions, readers, cases), truth bool (cases,).

    A case that any reader did not score (NaN) is left out for all. Random readers: Student's t with
    Hillis's 2007 degrees of freedom. ValueError with fewer than two positive or negative cases.
    """
    kernel, n, name = _auc_kernel(scores, truth)
    return compare_kernels(kernel, n, name, level)


def readers_against_model(
    scores: npt.ArrayLike, model: npt.ArrayLike, truth: npt.ArrayLike, level: float = 0.95
) -> tuple[Comparison, Comparison]:
    """Mean AUC of the readers less the AUC of the model, for random and for fixed readers.

    scores (readers, cases), model (cases,), truth bool (cases,). The model is one and the same
    throughout, so it is no sample; the cases that both saw are. A case without the model's score
    or any reader's is left out. ValueError as in ``compare_auc``.
    """
    readers, machine = np.asarray(scores, dtype=float), np.asarray(model, dtype=float)
    if readers.ndim != 2 or machine.shape != readers.shape[1:]:
        raise ValueError(
            "scores must be (readers, cases) and model (cases,), but are "
            f"{readers.shape} and {machine.shape}"
        )
    both = np.stack([readers, np.broadcast_to(machine, readers.shape)])
    table, positive = _whole(both, truth)
    sums, sign = auc_sums(table, positive), np.array([1.0, -1.0])
    r, n0, n1 = len(readers), int((~positive).sum()), int(positive.sum())
    name, wide = f"{_name(positive)}; readers minus model", (-1.0, 1.0)
    figures = (sums.kernel[0] - sums.kernel[1]) / (n0 * n1)
    change = {axes: float(sign @ product @ sign) for axes, product in sums.products.items()}
    each = _Sums(float(figures.mean()), (r, n0, n1), change)
    # Of the mean over readers: squared sums over all readers, so the readers' axis is gone.
    mean = {(): change[()], (0,): change[1,], (1,): change[2,], (0, 1): change[1, 2]}
    mean = {axes: square / r**2 for axes, square in mean.items()}
    these = _Sums(each.mean, (n0, n1), mean)
    random = _random(figures, each, len(positive), name, level, wide)
    return random, _fixed(r, these, len(positive), name, level, wide)


def compare_kernels(
    kernels: npt.ArrayLike,
    n: int,
    name: str,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> UStudy:
    """Means and differences of kernels (conditions, readers, cases[, cases of the other kind])."""
    table = np.asarray(kernels, dtype=float)
    t, r = table.shape[:2]
    figures = table.reshape(t, r, -1).mean(axis=2)
    wide = (bounds[0] - bounds[1], bounds[1] - bounds[0])
    random, fixed = {}, {}
    for a, b in combinations(range(t), 2):
        change = table[b] - table[a]
        random[a, b] = random_mean(change, n, f"{name}; difference", level, wide)
        fixed[a, b] = fixed_mean(change, n, f"{name}; difference", level, wide)
    return UStudy(
        figures=figures,
        random=tuple(random_mean(k, n, name, level, bounds).difference for k in table),
        fixed=tuple(fixed_mean(k, n, name, level, bounds).difference for k in table),
        differences_random=random,
        differences_fixed=fixed,
    )


def random_mean(
    kernel: npt.ArrayLike,
    n: int,
    name: str,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Comparison:
    """Mean of a kernel (readers, cases[, cases]), readers and cases random, tested against 0.

    Degrees of freedom: total variance squared over (variance of the readers' means over their
    number) squared, times readers less one (Hillis 2007). Not defined: one reader.
    """
    table = np.asarray(kernel, dtype=float)
    figures = table.reshape(len(table), -1).mean(axis=1)
    return _random(figures, _sums(table), n, name, level, bounds)


def fixed_mean(
    kernel: npt.ArrayLike,
    n: int,
    name: str,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Comparison:
    """As ``random_mean`` for these very readers: only the cases are a sample."""
    table = np.asarray(kernel, dtype=float)
    return _fixed(len(table), _sums(table.mean(axis=0)), n, name, level, bounds)


def unbiased_variance(kernel: npt.ArrayLike) -> float:
    """Unbiased variance of the mean of a kernel whose every axis is a random sample.

    Mean squared less the mean product of values that differ in every index; that sum comes from
    inclusion and exclusion over the axes. May be negative. ValueError: an axis of length 1.
    """
    sums = _sums(np.asarray(kernel, dtype=float))
    if min(sums.shape) < 2:
        raise ValueError(f"every axis must hold two or more, but the shape is {sums.shape}")
    return _unbiased(sums)


def plugin_variance(kernel: npt.ArrayLike) -> float:
    """Variance of the mean if every axis were drawn anew, with replacement, from what was seen.

    It equals the variance of the bootstrap that draws readers and cases independently.
    """
    return _plugin(_sums(np.asarray(kernel, dtype=float)))


@dataclass(frozen=True)
class _Sums:
    """What the variances need of a kernel: its mean and shape, and for each set of axes the sum
    over them of the squared sum over the others."""

    mean: float
    shape: tuple[int, ...]
    squares: dict[tuple[int, ...], float]


def _sums(table: Floats) -> _Sums:
    squares = {}
    for shared in _subsets(table.ndim):
        rest = tuple(axis for axis in range(table.ndim) if axis not in shared)
        squares[shared] = float((table.sum(axis=rest) ** 2).sum())
    return _Sums(float(table.mean()), table.shape, squares)


def _unbiased(sums: _Sums) -> float:
    products = sum((-1) ** len(shared) * square for shared, square in sums.squares.items())
    terms = math.prod(size * (size - 1) for size in sums.shape)
    return float(sums.mean**2 - products / terms)


def _plugin(sums: _Sums) -> float:
    total, size_of = 0.0, dict(enumerate(sums.shape))
    for shared, square in sums.squares.items():
        share = math.prod(
            1 / size if axis in shared else 1 - 1 / size for axis, size in size_of.items()
        )
        over = math.prod(size if axis in shared else size**2 for axis, size in size_of.items())
        total += share * square / over
    return total - sums.mean**2


def _variance(sums: _Sums) -> tuple[float, str]:
    if min(sums.shape) < 2:
        return math.nan, "variance needs two of each kind"
    unbiased = _unbiased(sums)
    if unbiased > 1e-12:
        return unbiased, "unbiased one-shot variance"
    return _plugin(sums), "plug-in variance, since the unbiased one is not positive"


def _random(
    figures: Floats, sums: _Sums, n: int, name: str, level: float, bounds: tuple[float, float]
) -> Comparison:
    """figures (readers,): the mean of each."""
    r = len(figures)
    if r < 2:
        return no_comparison(n, f"{name}; not defined: one reader is not a sample of readers")
    variance, how = _variance(sums)
    own = float(figures.var(ddof=1)) / r
    df = math.inf if own < 1e-15 else max(variance**2 / (own**2 / (r - 1)), r - 1.0)
    method = f"{name}, mean of {r} readers, random readers and cases, {how}"
    return compare(sums.mean, variance, n, method, df=df, level=level, bounds=bounds)


def _fixed(
    readers: int, sums: _Sums, n: int, name: str, level: float, bounds: tuple[float, float]
) -> Comparison:
    variance, how = _variance(sums)
    method = f"{name}, mean of {readers} readers, fixed readers, random cases, {how}"
    return compare(sums.mean, variance, n, method, level=level, bounds=bounds)


def _auc_kernel(scores: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, int, str]:
    """Kernel (conditions, readers, negative, positive), number of cases, name of the figure."""
    table, positive = _whole(scores, truth)
    above = table[:, :, positive][:, :, None, :] - table[:, :, ~positive][:, :, :, None]
    return (np.sign(above) + 1) / 2, len(positive), _name(positive)


def _whole(scores: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    table, positive = whole_cases(scores, truth)
    if min(positive.sum(), (~positive).sum()) < 2:
        raise ValueError("AUC needs two positive and two negative cases that everyone has read")
    return table, positive


def _name(positive: npt.NDArray[np.bool_]) -> str:
    return f"AUC, {int(positive.sum())} positive of {len(positive)} cases, U-statistics"


def _subsets(axes: int) -> list[tuple[int, ...]]:
    return [chosen for size in range(axes + 1) for chosen in combinations(range(axes), size)]
