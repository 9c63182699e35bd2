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

A threshold of its own for each primary (class-conditional sets, Vovk 2012): with one for all the
sets hold on average, but a rare primary is missed far more often than one in ten. Each primary with
at least ``LEAST_OWN`` calibration patients has the quantile of its own patients; the rarer ones
share one, that of all their patients together (clustered conformal prediction, Ding et al., NeurIPS
2023, with the clusters fixed as "rare" beforehand). What is covered of each primary is measured and
stands beside the sets (``training.uncertainty``). Bundles of the first version keep no labels and
have one threshold.

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
ROUNDING = 1e-9  # how far two sums of the same probabilities may lie apart
LEAST_OWN = 40  # calibration patients from which a primary has a threshold of its own


def scores(probabilities: npt.ArrayLike) -> Array:
    """For each row (n, 6) and primary the probability of all that are more likely (n, 6).

    Primaries of equal probability have equal scores. Sums of the same probabilities in another
    order differ in the last digit: whoever compares scores allows for ``ROUNDING``.
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
    """Fitted thresholds.

    known (n,): scores of the true primaries of the calibration patients; coverage in (0, 1); labels
    (n,): those primaries as positions in PRIMARIES, None for one threshold over all.
    """

    known: Array
    coverage: float = COVERAGE
    labels: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        known = np.asarray(self.known, dtype=np.float64)
        if known.ndim != 1 or known.size == 0 or not (known >= 0).all() or known.max() > 1 + 1e-3:
            raise ValueError("the scores must be one or more numbers between 0 and 1")
        if not 0 < self.coverage < 1:
            raise ValueError(f"coverage must lie between 0 and 1, but is {self.coverage}")
        order = np.argsort(known, kind="stable")
        object.__setattr__(self, "known", known[order])
        if self.labels is None:
            return
        labels = np.asarray(self.labels, dtype=np.int64)
        if labels.shape != known.shape or labels.min() < 0 or labels.max() >= len(PRIMARIES):
            raise ValueError(f"labels must be ({known.size},) numbers 0 to {len(PRIMARIES) - 1}")
        object.__setattr__(self, "labels", labels[order])

    @property
    def n(self) -> int:
        return int(self.known.size)

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """Which primaries share a threshold (6,): equal numbers share one."""
        if self.labels is None:
            return np.zeros(len(PRIMARIES), np.int64)
        count = np.bincount(self.labels, minlength=len(PRIMARIES))
        return np.where(count >= LEAST_OWN, np.arange(len(PRIMARIES)), len(PRIMARIES))

    @property
    def thresholds(self) -> Array:
        """The conformal quantile of each primary (6,); infinite, so that no set leaves the primary
        out, where its patients are too few."""
        groups = self.groups
        own = groups[self.labels] if self.labels is not None else np.zeros(self.n, np.int64)
        return np.array([_quantile(self.known[own == group], self.coverage) for group in groups])

    @property
    def patients(self) -> npt.NDArray[np.int64]:
        """How many calibration patients stand behind the threshold of each primary (6,)."""
        groups = self.groups
        own = groups[self.labels] if self.labels is not None else np.zeros(self.n, np.int64)
        return np.array([np.count_nonzero(own == group) for group in groups])

    def prediction_set(self, p: npt.ArrayLike) -> tuple[Primary, ...]:
        """The primaries that cannot be ruled out, the most likely first; never empty. p: (6,)."""
        p = np.asarray(p, dtype=np.float64)
        kept = self.members(p[None])[0]
        return tuple(PRIMARIES[i] for i in np.argsort(-p, kind="stable") if kept[i])

    def members(self, probabilities: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which primaries are in the set of each row: (n, 6) to bool (n, 6).

        A score that equals the threshold but for ``ROUNDING`` is within: this can only add a
        primary, so the promised coverage stays.
        """
        return scores(probabilities) <= self.thresholds + ROUNDING

    def at(self, coverage: float) -> Conformal:
        """The same scores at another coverage."""
        return replace(self, coverage=coverage)

    def tensors(self) -> dict[str, npt.NDArray]:
        kept: dict[str, npt.NDArray] = {
            "scores": self.known, "coverage": np.array([self.coverage])
        }  # fmt: skip
        return kept if self.labels is None else kept | {"labels": self.labels}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray]) -> Conformal:
        """The inverse of ``tensors``. ValueError on other names, shapes or impossible numbers."""
        fits = set(tensors) - {"labels"} == {"scores", "coverage"}
        if not fits or np.shape(tensors["coverage"]) != (1,):
            raise ValueError(
                f"tensors must be scores (n,), coverage (1,) and perhaps labels (n,), not "
                f"{sorted(tensors)}"
            )
        return cls(tensors["scores"], float(tensors["coverage"][0]), tensors.get("labels"))


def _quantile(known: Array, coverage: float) -> float:
    rank = math.ceil((known.size + 1) * coverage - 1e-9)  # 1e-9: 0.9 * 10 is not quite 9
    return math.inf if rank > known.size else float(np.sort(known)[rank - 1])


def fit(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, coverage: float = COVERAGE
) -> Conformal:
    """Learn the thresholds from patients the model has not seen.

    probabilities (n, 6), rows sum to 1; labels (n,) positions in ``PRIMARIES``. ValueError on
    wrong shapes and on labels that are no such position, for instance NaN or None.
    """
    given, every = np.asarray(labels), scores(probabilities)
    positions = range(len(PRIMARIES))
    fits = given.shape == every.shape[:1] and given.size > 0
    if not fits or not all(label in positions for label in given.tolist()):
        raise ValueError(
            f"labels must be ({every.shape[0]},) whole numbers 0 to {len(PRIMARIES) - 1}, places "
            f"in PRIMARIES, but are {given.shape}, the first {given.ravel()[:3].tolist()}; leave "
            "out patients without a known primary"
        )
    y = given.astype(np.int64)
    return Conformal(every[np.arange(y.size), y], coverage, y)
