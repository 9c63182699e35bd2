"""Multinomial logistic regression: learnt with scikit-learn, used with plain numpy.

p(class | x) = softmax(coef_ z + intercept_), z = (x - mean_) / scale_, and z = 0 where x is
missing (NaN): the mean of the training patients stands in. ``coef_`` and ``intercept_`` hold the
temperature already, so ``logits`` are the calibrated log-odds and their SHAP values are exact
(``contributions``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES
from bmcore.models.folds import stratified_folds
from bmcore.models.known_values import mean_and_spread
from bmcore.models.softmax import softmax

Array = npt.NDArray[np.float64]
CLASSES = len(PRIMARIES)
C_GRID: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_TENSORS = ("coef", "intercept", "mean", "scale", "fitted")


@dataclass(frozen=True)
class MLRConfig:
    """How an MLR is fitted.

    c: inverse strength of the L2 penalty; None chooses it from ``C_GRID`` by the log loss of an
        inner cross-validation.
    balanced: weigh each class alike; probabilities then answer for equally common primaries.
    folds: of the inner cross-validation; seed: of its deal.
    """

    c: float | None = None
    balanced: bool = False
    folds: int = 5
    seed: int = 0


class MLR:
    """A multinomial logistic regression over the six primaries with its scaler inside.

    After ``fit``: ``coef_`` (6, m), ``intercept_`` (6,), both calibrated, for scaled input;
    ``mean_`` and ``scale_`` (m,) in the units of x; ``c_`` the penalty chosen; ``temperature_``
    already divided out; ``n_`` patients.
    """

    coef_: Array
    intercept_: Array
    mean_: Array
    scale_: Array
    c_: float
    temperature_: float
    n_: int

    def __init__(self, features: Sequence[str] = (), config: MLRConfig | None = None) -> None:
        self.features = tuple(features)
        self.config = config or MLRConfig()

    # --- learn ---------------------------------------------------------------------------------

    def fit(self, x: npt.ArrayLike, y: npt.ArrayLike, patients: npt.ArrayLike | None = None) -> MLR:
        """Learn from x (n, m), NaN where missing, and y (n,) positions in ``PRIMARIES``.

        patients (n,): whose row it is where a patient has several; the inner folds keep them
        together.

        Everything is learnt from these rows alone: imputation, scaling, penalty, temperature (Guo
        et al. 2017, fitted on out-of-fold logits of the inner cross-validation). A primary that
        does not occur among n rows gets a flat probability of about 1 / (n + 6) (Laplace).
        ValueError on wrong shapes or where fewer than two primaries occur.
        """
        x, y = self._checked(x), np.asarray(y, dtype=np.int64)
        if y.shape != x.shape[:1] or y.size == 0 or y.min() < 0 or y.max() >= CLASSES:
            raise ValueError(f"y must be ({x.shape[0]},) with numbers 0 to {CLASSES - 1}")
        if np.unique(y).size < 2:
            raise ValueError("at least two primaries must occur among the training patients")
        grid = C_GRID if self.config.c is None else (self.config.c,)
        held_out = self._held_out_logits(x, y, grid, patients)
        losses = [log_loss(logits, y) for logits in held_out]
        best = int(np.argmin(losses))
        self.c_ = float(grid[best])
        self.temperature_ = temperature(held_out[best], y)
        self._fit_once(x, y, self.c_)
        self.coef_ = self.coef_ / self.temperature_
        self.intercept_ = self.intercept_ / self.temperature_
        return self

    def _held_out_logits(
        self, x: Array, y: Array, grid: Sequence[float], patients: npt.ArrayLike | None
    ) -> list[Array]:
        """Logits (n, 6) for each penalty, each row by a model that has not seen its patient."""
        whose = np.arange(y.size) if patients is None else np.asarray(patients)
        count = min(self.config.folds, np.unique(whose).size)
        fold = stratified_folds(y, count, self.config.seed, whose)
        out = [np.zeros((y.size, CLASSES)) for _ in grid]
        for k in range(count):
            train, test = fold != k, fold == k
            if np.unique(y[train]).size < 2:
                continue  # nothing can be learnt here: logits stay flat
            for logits, c in zip(out, grid, strict=True):
                inner = MLR(self.features, self.config)
                inner._fit_once(x[train], y[train], c)
                logits[test] = inner.logits(x[test])
        return out

    def _fit_once(self, x: Array, y: Array, c: float) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        self.mean_, spread = mean_and_spread(x)
        constant = spread <= 1e-6 * np.maximum(1.0, np.abs(self.mean_))
        self.scale_ = np.where(constant, 1.0, spread)
        self.n_ = int(y.size)
        weight = "balanced" if self.config.balanced else None
        model = LogisticRegression(C=c, class_weight=weight, max_iter=2000, tol=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            model.fit(self.scaled(x), y)
        coef, intercept = model.coef_, model.intercept_
        if (
            len(model.classes_) == 2
        ):  # scikit-learn then keeps one row: the second against the first
            coef, intercept = np.vstack([-coef, coef]) / 2, np.array([-1, 1]) * intercept / 2
        mean_logit = float(np.logaddexp.reduce(intercept))
        self.coef_ = np.zeros((CLASSES, x.shape[1]))
        self.intercept_ = np.full(CLASSES, mean_logit - np.log(y.size + CLASSES))
        self.coef_[model.classes_] = coef
        self.intercept_[model.classes_] = intercept

    def refit(self, x: npt.ArrayLike, y: npt.ArrayLike) -> MLR:
        """A regression learnt from other rows with this one's penalty and temperature.

        ``balanced`` is that of ``config``: give it to a model read from tensors before.
        """
        new = MLR(self.features, self.config)
        new._fit_once(self._checked(x), np.asarray(y, dtype=np.int64), self.c_)
        new.c_, new.temperature_ = self.c_, self.temperature_
        new.coef_ = new.coef_ / self.temperature_
        new.intercept_ = new.intercept_ / self.temperature_
        return new

    # --- use -----------------------------------------------------------------------------------

    def _checked(self, x: npt.ArrayLike) -> Array:
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or (self.features and x.shape[1] != len(self.features)):
            width = len(self.features) or "m"
            raise ValueError(f"x must be (n, {width}), but is {x.shape}")
        if np.isinf(x).any():
            raise ValueError("x holds infinite numbers")
        return x

    def scaled(self, x: npt.ArrayLike) -> Array:
        """z (n, m): standardised with the training patients' mean and spread, 0 where missing."""
        return np.nan_to_num((self._checked(x) - self.mean_) / self.scale_, nan=0.0)

    def logits(self, x: npt.ArrayLike) -> Array:
        """Calibrated log-odds (n, 6) up to a constant a row."""
        return self.scaled(x) @ self.coef_.T + self.intercept_

    def predict_proba(self, x: npt.ArrayLike) -> Array:
        """Probabilities (n, 6) in the order of ``PRIMARIES``; each row sums to 1."""
        return softmax(self.logits(x))

    def contributions(self, x: npt.ArrayLike) -> Array:
        """SHAP values of the logits (n, 6, m): ``coef_`` times z.

        Exact for a linear model with features taken as independent (Lundberg and Lee 2017); the
        background is the mean training patient, so parts and ``intercept_`` add up to ``logits``.
        """
        return self.scaled(x)[:, None, :] * self.coef_[None]

    @property
    def background_mean(self) -> Array:
        """The mean training patient (m,) in the units of x: where all contributions are 0."""
        return self.mean_

    # --- keep ----------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Array]:
        """All that ``predict_proba`` needs, as float64 arrays; ``from_tensors`` reads them back."""
        return {
            "coef": self.coef_,
            "intercept": self.intercept_,
            "mean": self.mean_,
            "scale": self.scale_,
            "fitted": np.array([self.c_, self.temperature_, self.n_], dtype=np.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray], features: Sequence[str] = ()) -> MLR:
        """The model that ``tensors`` came from. ValueError on missing names or wrong shapes."""
        if set(tensors) != set(_TENSORS):
            raise ValueError(f"tensors must be {sorted(_TENSORS)}, but are {sorted(tensors)}")
        new = cls(features)
        m = len(features) or int(np.shape(tensors["mean"])[0])
        shapes = {
            "coef": (CLASSES, m),
            "intercept": (CLASSES,),
            "mean": (m,),
            "scale": (m,),
            "fitted": (3,),
        }
        for name, shape in shapes.items():
            if np.shape(tensors[name]) != shape:
                raise ValueError(f"{name} must be {shape}, but is {np.shape(tensors[name])}")
            if not np.isfinite(tensors[name]).all():
                raise ValueError(f"{name} holds numbers that are not finite")
        for name in ("coef", "intercept", "mean", "scale"):
            setattr(new, f"{name}_", np.asarray(tensors[name], dtype=np.float64))
        new.c_, new.temperature_ = (float(v) for v in tensors["fitted"][:2])
        new.n_ = int(tensors["fitted"][2])
        return new


def log_loss(logits: Array, y: npt.NDArray) -> float:
    return float((np.logaddexp.reduce(logits, axis=1) - logits[np.arange(y.size), y]).mean())


def temperature(logits: Array, y: npt.NDArray) -> float:
    """The temperature between 1/4 and 8 with the least log loss of ``softmax(logits / t)``."""
    from scipy.optimize import minimize_scalar

    best = minimize_scalar(
        lambda log_t: log_loss(logits / np.exp(log_t), y),
        bounds=(np.log(0.25), np.log(8.0)),
        method="bounded",
    )
    return float(np.exp(best.x))
