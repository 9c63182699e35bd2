"""Novelty: how unlike the training cases a case is, from statistics of its images.

A case is described by its ``imaging.image_statistics``.

The distance of a case from the training cases is Mahalanobis' (Lee et al., NeurIPS 2018, use it on
a net's features), over the numbers that could be measured: a missing sequence is NaN and takes no
part, in the case or in the cases it is compared with. The covariance is that of the training cases,
shrunk as Ledoit and Wolf (J. Multivar. Anal. 2004, 88:365-411) propose, plus ``TOLERANCES``:
training cases are synthetic or from few scanners and vary less than scanners do.

Sequences that were exchanged are looked for on their own: a case whose statistics are much more
likely with two names exchanged than with the names it came with. What is unfamiliar for other
reasons weighs on both sides alike, so this holds on scanners that the training cases do not cover.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bmcore.domain import SEQUENCES
from bmcore.imaging.image_statistics import STATISTICS

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
FOLDS = 5
LEAST_PATIENTS = 2 * FOLDS
LEAST_GAIN = 10.0  # of twice the log-likelihood, before names count as exchanged
JITTERS = 5

# How far a statistic may lie from the training cases for reasons that are no alarm (one standard
# deviation): scanner, protocol, skull stripping. Set by hand, in round numbers.
TOLERANCES: Mapping[str, float] = {
    "volume": 0.2, "width": 0.08, "length": 0.08, "height": 0.12, "fill": 0.05,
    "compactness": 0.015, "shape.symmetry": 0.03,
    "p1": 1.0, "p5": 0.6, "p25": 0.2, "p95": 0.6, "p99": 1.0,
    "near": 0.06, "far": 0.1, "symmetry": 0.15,
    "depth0": 0.3, "depth1": 0.3, "depth2": 0.4, "depth3": 0.6,
    "all": 0.25, "tissue": 0.25,
}  # fmt: skip


def tolerance(name: str) -> float:
    """The tolerance of one of ``STATISTICS``, in its own units."""
    return TOLERANCES[name] if name in TOLERANCES else TOLERANCES[name.split(".")[1]]


def _exchanged(a: str, b: str) -> npt.NDArray[np.int64]:
    """Where in ``STATISTICS`` each statistic stands once sequences ``a`` and ``b`` change names."""
    turn, order = {a: b, b: a}, {name: i for i, name in enumerate((*SEQUENCES, "shape"))}

    def other(name: str) -> str:
        group, kind = name.split(".")
        parts = sorted((turn.get(s, s) for s in group.split("~")), key=order.__getitem__)
        return f"{'~'.join(parts)}.{kind}"

    return np.array([STATISTICS.index(other(name)) for name in STATISTICS])


EXCHANGES = {pair: _exchanged(*pair) for pair in combinations(SEQUENCES, 2)}


@dataclass(frozen=True)
class NoveltyConfig:
    """How the alarm is set.

    false_alarms: share of cases like the training ones whose distance may exceed the limit before
        the margin is added. margin: factor on the limit of the distance; training cases do not vary
        as much as scanners do. error_margin: the same for the error of reconstruction, which is
        measured on reference masks but used on the segmenter's.
    """

    false_alarms: float = 0.01
    margin: float = 1.5
    error_margin: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < 0.5 or min(self.margin, self.error_margin) < 1:
            raise ValueError(f"false_alarms must lie in (0, 0.5) and margins be 1 or more: {self}")


@dataclass(frozen=True)
class NoveltyResult:
    """A case against the training cases. Each ``limit`` is what an ordinary case stays below.

    distance: root of the mean squared Mahalanobis distance a statistic; inf where nothing could be
    measured. furthest: of the one statistic that is furthest from the mean, in standard deviations.
    gain: twice the gain in log-likelihood by exchanging the names of the sequences
    ``pair``, the exchange furthest over (or least below) its limit; exchanging a sequence with one
    that is missing only renames it. error: of reconstruction, None where no lesion was found.
    unusual: the statistics furthest from the training cases, the furthest first.
    """

    distance: float
    distance_limit: float
    furthest: float
    furthest_limit: float
    gain: float
    gain_limit: float
    pair: tuple[str, str] | None
    error: float | None
    error_limit: float
    unusual: tuple[str, ...] = ()

    @property
    def image_score(self) -> float:
        """The largest share of a limit that is reached, errors of reconstruction apart."""
        return max(
            self.distance / self.distance_limit,
            self.furthest / self.furthest_limit,
            self.gain / self.gain_limit,
        )


class NoveltyModel:
    """The training cases' statistics, and what follows from them.

    rows (n, f): ``statistics`` of training cases, NaN where missing; patient (n,): rows of one
    patient share a number; errors (m,): reconstruction errors of patients held out. Limits: the
    distance of each training case is measured with a Gaussian fitted on patients of other folds,
    over the same statistics as the case at hand has, so that every choice of sequences has a limit
    of its own.
    """

    def __init__(
        self,
        rows: npt.ArrayLike,
        patient: npt.ArrayLike,
        errors: npt.ArrayLike,
        config: NoveltyConfig | None = None,
    ) -> None:
        self.rows = np.asarray(rows, dtype=np.float64)
        self.patient = np.asarray(patient, dtype=np.int64)
        self.errors = np.sort(np.asarray(errors, dtype=np.float64))
        self.config = config or NoveltyConfig()
        n, f = self.rows.shape if self.rows.ndim == 2 else (0, 0)
        if f != len(STATISTICS) or np.isinf(self.rows).any() or self.patient.shape != (n,):
            raise ValueError(f"rows must be (n, {len(STATISTICS)}) and patient (n,)")
        if np.unique(self.patient).size < LEAST_PATIENTS:
            raise ValueError(f"novelty needs {LEAST_PATIENTS} patients or more")
        if self.errors.ndim != 1 or self.errors.size < 2 or not np.isfinite(self.errors).all():
            raise ValueError("errors must be two or more finite numbers")
        self._gaussians: dict[int, _Gaussian] = {}
        self._limits: dict[tuple[bytes, str], float] = {}

    def judge(self, row: npt.ArrayLike, error: float | None = None) -> NoveltyResult:
        """Compare one case (f,) with the training cases; ``error``: of its reconstruction."""
        row = np.asarray(row, dtype=np.float64)
        if row.shape != (len(STATISTICS),):
            raise ValueError(f"row must be ({len(STATISTICS)},), but is {row.shape}")
        error_limit = _upper(self.errors, self.config.false_alarms) * self.config.error_margin
        row = np.where(np.isfinite(self.rows).sum(axis=0) >= 2 * FOLDS, row, np.nan)
        known = np.isfinite(row)
        if not known.any():
            return NoveltyResult(np.inf, 1.0, 0.0, 1.0, 0.0, LEAST_GAIN, None, error, error_limit)
        gaussian = self._gaussian(-1)
        z = np.abs(np.where(known, gaussian.z(row), 0))
        gains = {p: float(gaussian.gains(row[None], known, p)[0]) for p in self._exchanges(known)}
        pair = max(gains, key=lambda p: gains[p] / self.gain_limit(known, p), default=None)
        return NoveltyResult(
            distance=float(gaussian.distances(row[None], known)[0]),
            distance_limit=self.distance_limit(known),
            furthest=float(z.max()),
            furthest_limit=self.furthest_limit(known),
            gain=0.0 if pair is None else gains[pair],
            gain_limit=LEAST_GAIN if pair is None else self.gain_limit(known, pair),
            pair=pair,
            error=error,
            error_limit=error_limit,
            unusual=tuple(STATISTICS[i] for i in np.argsort(-z)[:3] if z[i] > 2),
        )

    def distance_limit(self, known: Mask) -> float:
        """The distance that cases with the statistics ``known`` (f,) stay below."""
        key = (known.tobytes(), "")
        if key not in self._limits:
            found = self.held_out(lambda g, rows: g.distances(rows, known))
            self._limits[key] = _upper(found, self.config.false_alarms) * self.config.margin
        return self._limits[key]

    def furthest_limit(self, known: Mask) -> float:
        """The standard deviations that no statistic of cases with ``known`` ones is away."""
        key = (known.tobytes(), "furthest")
        if key not in self._limits:
            found = self.held_out(
                lambda g, rows: np.nan_to_num(np.abs(g.z(rows)))[:, known].max(axis=1)
            )
            self._limits[key] = _upper(found, self.config.false_alarms) * self.config.margin
        return self._limits[key]

    def gain_limit(self, known: Mask, pair: tuple[str, str]) -> float:
        """The gain by exchanging ``pair`` that cases with the right names stay below."""
        key = (known.tobytes(), "~".join(pair))
        if key not in self._limits:
            found = self.held_out(lambda g, rows: g.gains(rows, known, pair))
            usual = _upper(found, self.config.false_alarms / len(EXCHANGES))
            self._limits[key] = max(LEAST_GAIN, usual * self.config.margin)
        return self._limits[key]

    def held_out(self, measured: Callable[[_Gaussian, Array], Array]) -> Array:
        """``measured`` (n * JITTERS,) of the training rows, by Gaussians of patients elsewhere.

        Each row is moved JITTERS times by what ``TOLERANCES`` allow, alike at every call: as if the
        case had come from an unfamiliar scanner.
        """
        rng = np.random.default_rng(0)
        moved = self.rows + rng.normal(size=(JITTERS, *self.rows.shape)) * _TOLERATED
        fold, out = self._fold(), np.zeros(moved.shape[:2])
        for k in range(FOLDS):
            rows = moved[:, fold == k].reshape(-1, len(STATISTICS))
            out[:, fold == k] = measured(self._gaussian(k), rows).reshape(JITTERS, -1)
        return out.ravel()

    def _exchanges(self, known: Mask) -> list[tuple[str, str]]:
        """The exchanges that change something and lead to statistics the training cases have."""
        trained = np.isfinite(self.rows).sum(axis=0) >= 2 * FOLDS
        found = []
        for pair, order in EXCHANGES.items():
            after = known[order]
            if not (after & ~trained).any() and any(known[_own(s)].any() for s in pair):
                found.append(pair)
        return found

    def _fold(self) -> npt.NDArray[np.int64]:
        """Patients in turn, in the order of their numbers: no chance, so nothing to be seeded."""
        _, order = np.unique(self.patient, return_inverse=True)
        return order % FOLDS

    def _gaussian(self, left_out: int) -> _Gaussian:
        """Of all patients but those of one fold; -1: of all."""
        if left_out not in self._gaussians:
            self._gaussians[left_out] = _Gaussian(self.rows[self._fold() != left_out])
        return self._gaussians[left_out]

    def tensors(self) -> dict[str, npt.NDArray]:
        return {"rows": self.rows, "patient": self.patient, "errors": self.errors}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, npt.NDArray], config: NoveltyConfig
    ) -> NoveltyModel:
        """The inverse of ``tensors``. ValueError on other names or shapes."""
        if set(tensors) != {"rows", "patient", "errors"}:
            raise ValueError(f"tensors must be errors, patient and rows, not {sorted(tensors)}")
        return cls(tensors["rows"], tensors["patient"], tensors["errors"], config)


def _own(sequence: str) -> npt.NDArray[np.int64]:
    """Where the statistics of one sequence alone stand."""
    return np.array([i for i, s in enumerate(STATISTICS) if s.startswith(f"{sequence}.")])


class _Gaussian:
    """Mean and covariance of rows (n, f) with NaN where missing, tolerances added.

    Kept in units of ``scale``: the root of the summed variances of training cases and tolerance.
    """

    def __init__(self, rows: Array) -> None:
        from sklearn.covariance import ledoit_wolf

        seen = np.isfinite(rows)
        count = np.maximum(seen.sum(axis=0), 1)
        self.mean = np.where(seen, rows, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(seen, rows - self.mean, 0) ** 2).sum(axis=0) / count)
        self.scale = np.sqrt(spread**2 + _TOLERATED**2)
        shrunk, _ = ledoit_wolf(np.where(seen, self.z(rows), 0), assume_centered=True)
        self.covariance = shrunk + np.diag((_TOLERATED / self.scale) ** 2)

    def z(self, rows: Array) -> Array:
        return (rows - self.mean) / self.scale

    def distances(self, rows: Array, known: Mask) -> Array:
        """Root mean squared Mahalanobis distance (n,) a statistic, over the ``known`` ones (f,).

        What a row itself lacks is taken as the mean.
        """
        return np.sqrt(self._squared(rows, known) / known.sum())

    def gains(self, rows: Array, known: Mask, pair: tuple[str, str]) -> Array:
        """Twice the gain in log-likelihood (n,) if the names of ``pair`` are exchanged."""
        order = EXCHANGES[pair]
        before = self._squared(rows, known) + self._log_determinant(known)
        after = self._squared(rows[:, order], known[order]) + self._log_determinant(known[order])
        return before - after

    def _squared(self, rows: Array, known: Mask) -> Array:
        z = self.z(rows)[:, known]
        z = np.where(np.isfinite(z), z, 0)
        return (z * np.linalg.solve(self.covariance[np.ix_(known, known)], z.T).T).sum(axis=1)

    def _log_determinant(self, known: Mask) -> float:
        """Of the covariance in the statistics' own units."""
        part = self.covariance[np.ix_(known, known)]
        return float(np.linalg.slogdet(part)[1] + 2 * np.log(self.scale[known]).sum())


_TOLERATED = np.array([tolerance(name) for name in STATISTICS])


def _upper(values: Array, share: float) -> float:
    """The limit that a new value exceeds with at most chance ``share``; the largest if n is small.

    The ceil((n + 1)(1 - share))-th smallest, as in ``conformal``.
    """
    ordered = np.sort(values)
    rank = int(np.ceil((ordered.size + 1) * (1 - share) - 1e-9))
    return float(ordered[min(rank, ordered.size) - 1])
