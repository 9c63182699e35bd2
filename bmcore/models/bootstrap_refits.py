"""How far an answer moves when the regression behind it had met other patients.

The training patients are drawn anew with replacement, as many as there were (bootstrap, Efron
1979), and the regression is learnt again from each draw: filling of gaps, scaling, coefficients. A
case asked of all these regressions gets as many answers; the middle 95 % of them is the interval
that is drawn.

Penalty and temperature are those of the shipped regression. Chosen anew in each draw they would
lean to flat answers, since a draw holds only about 63 % of the patients: on the demo cohort the
shipped answer then lay beside the interval for one primary in nine, and in none with both kept.

What it covers: the chance of which patients were there to learn from. What it does not cover: the
nets that read the images are the same in all, their own spread is left out; nor does it say how
often the answer is right, which is the matter of the prediction sets (``conformal``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES
from bmcore.models.mlr import MLR
from bmcore.models.softmax import softmax

Array = npt.NDArray[np.float64]
REFITS = 200
LEVEL = 0.95
_CLASSES = len(PRIMARIES)


@dataclass(frozen=True, eq=False)
class Refits:
    """R regressions of one kind: slope (R, 6, m) per unit of x, mean (R, m), offset (R, 6).

    The log-odds of regression r are ``offset[r] + slope[r] @ (x - mean[r])``, 0 where x is missing.
    """

    slope: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        slope, mean, offset = (np.asarray(v) for v in (self.slope, self.mean, self.offset))
        if slope.ndim != 3 or slope.shape[0] < 2 or slope.shape[1] != _CLASSES:
            raise ValueError(f"slope must be (R, {_CLASSES}, m) with R > 1, but is {slope.shape}")
        r, _, m = slope.shape
        if mean.shape != (r, m) or offset.shape != (r, _CLASSES):
            raise ValueError(f"mean {mean.shape} and offset {offset.shape} do not fit {r}, {m}")
        if not all(np.isfinite(v).all() for v in (slope, mean, offset)):
            raise ValueError("the refits hold numbers that are not finite")

    @property
    def n(self) -> int:
        return int(self.slope.shape[0])

    def probabilities(self, x: npt.ArrayLike) -> Array:
        """What each regression answers to one row x (m,), NaN where missing: (R, 6)."""
        x = np.asarray(x, np.float64)
        if x.shape != self.mean.shape[1:]:
            raise ValueError(f"x must be {self.mean.shape[1:]}, but is {x.shape}")
        away = np.nan_to_num(x - self.mean.astype(np.float64), nan=0.0)
        logits = np.einsum("rcm,rm->rc", self.slope.astype(np.float64), away) + self.offset
        return softmax(logits)

    def interval(self, x: npt.ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
        """Lower and upper end (6,) of the middle ``level`` of the answers to x."""
        tail = (1 - level) / 2
        low, high = np.quantile(self.probabilities(x), [tail, 1 - tail], axis=0)
        return low, high

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        return {"slope": self.slope, "mean": self.mean, "offset": self.offset}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray]) -> Refits:
        """The inverse of ``tensors``. ValueError on other names, shapes or impossible numbers."""
        if set(tensors) != {"slope", "mean", "offset"}:
            raise ValueError(f"tensors must be slope, mean and offset, not {sorted(tensors)}")
        return cls(tensors["slope"], tensors["mean"], tensors["offset"])


def fit(
    shipped: MLR,
    x: npt.NDArray,
    y: npt.NDArray,
    persons: npt.NDArray,
    refits: int = REFITS,
    seed: int = 0,
) -> Refits:
    """Learn ``refits`` regressions from x (n, m), y (n,), each from persons (n,) drawn anew.

    shipped: the regression learnt from these rows; its penalty, weights and temperature are kept.
    A drawn person brings all own rows. Draws that hold a single primary are drawn again.
    ValueError where fewer than two primaries occur at all, or ``refits`` is below 2.
    """
    x, y, persons = np.asarray(x, np.float64), np.asarray(y), np.asarray(persons)
    if refits < 2 or np.unique(y).size < 2:
        raise ValueError("at least two refits and two primaries are needed")
    names = np.unique(persons)
    rows_of = [np.flatnonzero(persons == name) for name in names]
    random = np.random.default_rng([seed, 20260])
    found: list[MLR] = []
    while len(found) < refits:
        drawn = random.integers(len(names), size=len(names))
        rows = np.concatenate([rows_of[d] for d in drawn])
        if np.unique(y[rows]).size > 1:
            found.append(shipped.refit(x[rows], y[rows]))
    return Refits(
        np.stack([m.coef_ / m.scale_ for m in found]).astype(np.float32),
        np.stack([m.mean_ for m in found]).astype(np.float32),
        np.stack([m.intercept_ for m in found]).astype(np.float32),
    )
