"""Conformal prediction sets: the primaries that cannot be ruled out at a chosen coverage.

Adaptive prediction sets (Romano, Sesia and Candès, NeurIPS 2020) without randomisation: a set holds
the most likely primaries, as many as it takes until their probabilities reach a threshold. The
score of a primary is therefore the probability of all primaries that are more likely than it, 0 for
the most likely one, and the threshold is the split-conformal quantile of the scores of the true
primaries: the ceil((n + 1) coverage)-th smallest of n (Vovk et al. 2005; Lei et al. 2018). A new
patient, exchangeable with those n, then has the true primary in the set with at least that chance,
however wrong the probabilities are; wrong probabilities make the sets large.

Why not randomised: randomised sets are a little smaller on average, but the same patient would get
another set with every draw, and some sets would be empty. Here a set never is, and one patient has
one set. The price is coverage a little above the chosen one where the most likely primary is right
more often than asked.

Why not class by class (a threshold for each primary): with 14 to 17 patients of a rare primary a
coverage of 0.9 asks for the largest score but one or two, so nearly every set would name all rare
primaries. Coverage holds on average over patients; what it is for each primary is measured and
written beside it by ``training.uncertainty``.

The scores come from patients held out in cross-validation, by models fitted on the other folds, and
are used with models fitted on all: the guarantee is then that of cross-conformal prediction, close
to the chosen coverage where the models of the folds are alike (Barber et al., Ann. Statist. 2021,
49:486-507: at least 1 - 2 (1 - coverage) in the worst case).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES, Primary

Array = npt.NDArray[np.float64]
COVERAGE = 0.9


def scores(probabilities: npt.ArrayLike) -> Array:
    """For each row (n, 6) and primary the probability of all that are more likely (n, 6).

    Primaries of equal probability have equal scores, so their order decides nothing.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != len(PRIMARIES) or not np.isfinite(p).all() or (p < 0).any():
        raise ValueError(f"probabilities must be (n, {len(PRIMARIES)}), but are {p.shape}")
    if p.size and np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("the probabilities of a row must sum to 1")
    more_likely = p[:, None, :] > p[:, :, None]
    return np.where(more_likely, p[:, None, :], 0).sum(axis=2)


@dataclass(frozen=True, eq=False)
class Conformal:
    """A fitted threshold. known (n,): sorted scores of the true primaries; coverage in (0, 1)."""

    known: Array
    coverage: float = COVERAGE

    def __post_init__(self) -> None:
        known = np.sort(np.asarray(self.known, dtype=np.float64))
        if known.ndim != 1 or known.size == 0 or not (known >= 0).all() or known[-1] > 1 + 1e-3:
            raise ValueError("the scores must be one or more numbers between 0 and 1")
        if not 0 < self.coverage < 1:
            raise ValueError(f"coverage must lie between 0 and 1, but is {self.coverage}")
        object.__setattr__(self, "known", known)

    @property
    def n(self) -> int:
        return int(self.known.size)

    @property
    def threshold(self) -> float:
        """The conformal quantile; infinite, so that every set is full, where n is too small."""
        rank = math.ceil((self.n + 1) * self.coverage - 1e-9)  # 1e-9: 0.9 * 10 is not quite 9
        return math.inf if rank > self.n else float(self.known[rank - 1])

    def prediction_set(self, p: npt.ArrayLike) -> tuple[Primary, ...]:
        """The primaries that cannot be ruled out, the most likely first; never empty. p: (6,)."""
        p = np.asarray(p, dtype=np.float64)
        kept = self.members(p[None])[0]
        return tuple(PRIMARIES[i] for i in np.argsort(-p, kind="stable") if kept[i])

    def members(self, probabilities: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which primaries are in the set of each row: (n, 6) to bool (n, 6)."""
        return scores(probabilities) <= self.threshold

    def at(self, coverage: float) -> Conformal:
        """The same scores at another coverage."""
        return replace(self, coverage=coverage)

    def tensors(self) -> dict[str, Array]:
        return {"scores": self.known, "coverage": np.array([self.coverage])}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray]) -> Conformal:
        """The inverse of ``tensors``. ValueError on other names, shapes or impossible numbers."""
        if set(tensors) != {"scores", "coverage"} or np.shape(tensors["coverage"]) != (1,):
            raise ValueError(
                f"tensors must be scores (n,) and coverage (1,), not {sorted(tensors)}"
            )
        return cls(tensors["scores"], float(tensors["coverage"][0]))


def fit(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, coverage: float = COVERAGE
) -> Conformal:
    """Learn the threshold from patients the model has not seen.

    probabilities (n, 6), rows sum to 1; labels (n,) positions in ``PRIMARIES``. ValueError on
    wrong shapes.
    """
    y = np.asarray(labels, dtype=np.int64)
    every = scores(probabilities)
    if y.shape != every.shape[:1] or y.size == 0 or y.min() < 0 or y.max() >= len(PRIMARIES):
        raise ValueError(f"labels must be ({every.shape[0]},) numbers 0 to {len(PRIMARIES) - 1}")
    return Conformal(every[np.arange(y.size), y], coverage)
