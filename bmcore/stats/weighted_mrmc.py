"""Obuchowski and Rockette's analysis where not every reader read every case in every arm.

A reader counts with the weight of what he read; the readers' covariances come from the jackknife
over cases, in which a case that a reader did not read changes nothing for him. For a complete
design it is ``mrmc.analyse`` with the jackknife, to the last digit. A reader whose figure is not
defined once any one case is left out does not enter, and ``left_out`` names him.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats.comparison import Comparison, compare, no_comparison

Floats = npt.NDArray[np.float64]
TOGETHER = "all readers"  # the one name where a figure is of all readers together


@dataclass(frozen=True, eq=False)
class Figure:
    """One reader in one arm: ``value`` of his figure of merit, its values with each of his
    ``cases`` left out, (n,), and his ``weight``: how much he read of what the figure needs."""

    value: float
    left_out: Floats
    cases: tuple[str, ...]
    weight: float

    @property
    def usable(self) -> bool:
        return (
            len(self.cases) > 1
            and math.isfinite(self.value)
            and bool(np.isfinite(self.left_out).all())
        )


@dataclass(frozen=True, eq=False)
class Contrast:
    """A mean over readers, or the difference of two, as a number to test against 0.

    ``random`` and ``fixed``: for readers like these, for these very readers. ``readers`` and
    ``cases`` that entered. ``components``: variance of the mean from readers (with what is their
    own in it) and from the cases that they share."""

    random: Comparison
    fixed: Comparison
    readers: int
    cases: int
    components: tuple[float, float]


def contrast(
    arms: Sequence[Mapping[str, Figure]],
    name: str,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Contrast:
    """The mean over readers of one arm, or of the second arm less that of the first.

    arms: one or two, reader -> usable Figure. Weighted means; random readers: between-reader
    variance plus the covariance that cases bring, Hillis's degrees of freedom with the effective
    number of readers, 1 / sum(weights squared). Not defined: an arm without a reader; for random
    readers: fewer than two.
    """
    signs = (1.0,) if len(arms) == 1 else (-1.0, 1.0)
    if not all(arms):
        none = no_comparison(0, f"{name}; not defined: no reader has read enough in every arm")
        return Contrast(none, none, 0, 0, (math.nan, math.nan))
    readers = sorted({r for arm in arms for r in arm})
    weights = [_shares(arm, readers) for arm in arms]
    means = [
        sum(w * arm[r].value for r, w in zip(readers, share, strict=True) if r in arm)
        for arm, share in zip(arms, weights, strict=True)
    ]
    value = sum(s * m for s, m in zip(signs, means, strict=True))
    own = np.zeros(len(readers))
    for sign, arm, share, mean in zip(signs, arms, weights, means, strict=True):
        own += [
            sign * w * (arm[r].value - mean) if r in arm else 0.0
            for r, w in zip(readers, share, strict=True)
        ]
    changes, n = _case_changes(arms, signs, readers, weights)
    covariance = (n - 1) / n * np.einsum("arc,bsc->abrs", changes, changes)
    random, parts = _random(value, own, covariance, weights, n, name, level, bounds)
    method = f"{name}, {_who(readers)}, fixed readers, jackknife over cases"
    fixed = compare(value, float(covariance.sum()), n, method, level=level, bounds=bounds)
    return Contrast(random, fixed, len(readers), n, parts)


def usable(figures: Mapping[str, Figure]) -> tuple[dict[str, Figure], tuple[str, ...]]:
    """The readers that can enter, and the names of those who have read too little."""
    kept = {r: f for r, f in figures.items() if f.usable}
    return kept, tuple(r for r in figures if r not in kept)


def _who(readers: Sequence[str]) -> str:
    if list(readers) == [TOGETHER]:
        return "all readers together"
    return f"mean of {len(readers)} readers" if len(readers) > 1 else "one reader"


def _shares(arm: Mapping[str, Figure], readers: Sequence[str]) -> Floats:
    raw = np.array([arm[r].weight if r in arm else 0.0 for r in readers])
    shares: Floats = raw / raw.sum()
    return shares


def _case_changes(
    arms: Sequence[Mapping[str, Figure]],
    signs: Sequence[float],
    readers: Sequence[str],
    weights: Sequence[Floats],
) -> tuple[Floats, int]:
    """(arms, readers, cases): how each reader's part changes as each case is left out."""
    cases = sorted({c for arm in arms for f in arm.values() for c in f.cases})
    at = {c: i for i, c in enumerate(cases)}
    out = np.zeros((len(arms), len(readers), len(cases)))
    for i, (sign, arm, share) in enumerate(zip(signs, arms, weights, strict=True)):
        for j, reader in enumerate(readers):
            if reader not in arm:
                continue
            one = arm[reader]
            n = len(one.cases)
            # The jackknife of a reader of n cases in the frame of all: its variance stays his own.
            scale = math.sqrt((n - 1) / n * len(cases) / (len(cases) - 1))
            where = [at[c] for c in one.cases]
            out[i, j, where] = sign * share[j] * scale * (one.left_out - one.left_out.mean())
    return out, len(cases)


def _random(
    value: float,
    own: Floats,
    covariance: Floats,
    weights: Sequence[Floats],
    n: int,
    name: str,
    level: float,
    bounds: tuple[float, float],
) -> tuple[Comparison, tuple[float, float]]:
    r = len(own)
    if min((w > 0).sum() for w in weights) < 2:
        why = f"{name}; not defined: one reader is not a sample of readers"
        return no_comparison(n, why), (math.nan, math.nan)
    squares = float(np.mean([(w**2).sum() for w in weights]))
    between = float((own**2).sum()) / (1 - squares)
    table = np.array(weights)
    others = 1 - table @ table.T  # weight of the pairs of two different readers, by arms
    pairs = covariance.sum(axis=(2, 3)) - np.trace(covariance, axis1=2, axis2=3)
    shared = max(float((pairs / others).sum()), 0.0)
    apart = len(weights) == 2 and not ((weights[0] > 0) & (weights[1] > 0)).any()
    free = (1 / squares - 1) * (2 if apart else 1)
    total = between + shared
    df = math.inf if between < 1e-15 else max(total**2 / (between**2 / free), free)
    method = f"{name}, mean of {r} readers, random readers and cases (OR, jackknife, Hillis df)"
    if total < 1e-15:
        # Readers who happen to change alike: what the cases bring is the least there is.
        total, df = float(covariance.sum()), free
        method += ", readers change alike: variance of these very readers"
    found = compare(value, total, n, method, df=df, level=level, bounds=bounds)
    return found, (between, shared)
