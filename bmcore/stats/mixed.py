"""A linear mixed model with crossed random effects by REML, for incomplete designs.

One row a reading; a missing reading is simply not there. The profiled REML criterion of Bates,
Maechler, Bolker and Walker 2015 (J Stat Softw 67:1), as in lme4; degrees of freedom by
Satterthwaite from the curvature of the criterion, as in lmerTest (Kuznetsova, Brockhoff and
Christensen 2017, J Stat Softw 82:13). Answers that are right or wrong are taken as 1 and 0, so that
the arms' effect is a difference of shares; with shares near 0 or 1 the U-statistics and the
endpoint's own method hold better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize, sparse

from bmcore.stats.comparison import Comparison, compare, no_comparison

Floats = npt.NDArray[np.float64]
_DENSE = 60_000
_TOO_FAR = 1e30  # a criterion larger than any
_STEP = 1e-3  # relative step of the numerical derivatives


@dataclass(frozen=True, eq=False)
class MixedFit:
    """``effects``: each fixed effect with its test; ``components``: variance of each random effect
    by name, and "residual"; ``criterion``: minus twice the REML log-likelihood, as lme4 prints;
    ``singular``: random effects whose variance is 0; ``covariance`` of the fixed effects, in the
    order of ``effects``."""

    effects: dict[str, Comparison]
    components: dict[str, float]
    criterion: float
    singular: tuple[str, ...]
    covariance: Floats


def fit(
    outcome: npt.ArrayLike,
    fixed: Mapping[str, npt.ArrayLike],
    random: Mapping[str, Sequence[object]],
    level: float = 0.95,
    what: str = "",
) -> MixedFit:
    """Fit outcome (n,) on an intercept, the ``fixed`` columns (n,) and crossed ``random`` effects.

    random: name to the label of each row, so {"reader": [...], "case": [...]}. ValueError: shapes
    that differ, a column that the others determine, no more rows than effects, an effect with one
    label only or one label a row.
    """
    y = np.asarray(outcome, dtype=float)
    names = ("intercept", *fixed)
    x = np.column_stack([np.ones(len(y)), *(np.asarray(v, dtype=float) for v in fixed.values())])
    if not np.isfinite(y).all() or not np.isfinite(x).all():
        raise ValueError("a mixed model takes no missing values; leave those rows out")
    if len(y) <= x.shape[1] or np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError("the fixed effects cannot be told apart on these rows")
    if not random:
        raise ValueError("a mixed model needs a random effect, for instance of readers or cases")
    model = _Model(y, x, [_indicator(name, labels, len(y)) for name, labels in random.items()])
    theta = model.fitted()
    deviance, sigma2 = model.profiled(theta)
    variances = np.append(theta**2 * sigma2, sigma2)
    beta, covariance = model.effects(variances)
    free = np.flatnonzero(variances > 1e-7 * sigma2)
    curvature = model.uncertainty(variances, free)
    effects = {}
    for i, name in enumerate(names):
        df = model.satterthwaite(variances, free, curvature, i)
        method = f"{what or name}, linear mixed model, REML, Satterthwaite df"
        effects[name] = compare(
            float(beta[i]), float(covariance[i, i]), len(y), method, df=df, level=level
        )
    parts = dict(zip((*random, "residual"), variances.tolist(), strict=True))
    still = tuple(n for n, t in zip(random, theta, strict=True) if t < 3e-4)
    return MixedFit(effects, parts, deviance, still, covariance)


def compare_arms(
    outcome: npt.ArrayLike,
    readers: Sequence[str],
    cases: Sequence[str],
    arms: Sequence[str],
    pair: tuple[str, str],
    *,
    fixed_readers: bool = False,
    level: float = 0.95,
    what: str = "",
) -> Comparison:
    """Second arm of ``pair`` less the first, one row a reading: outcome, reader, case, arm (n,).

    Random effects: reader, case, reader by case, reader by arm and case by arm; with fixed readers
    the readers are columns, and only case effects are random. Rows with a NaN and other arms are
    left out. An interaction that the rows cannot show (one reading a label) is not fitted. The
    degrees of freedom are at least the number of random readers less one. n: the number of cases.
    Not defined: an arm without a reading, fewer than two cases, and for random readers fewer than
    two readers.
    """
    y = np.asarray(outcome, dtype=float)
    keep = [i for i, a in enumerate(arms) if a in pair and math.isfinite(y[i])]
    who, which = [readers[i] for i in keep], [cases[i] for i in keep]
    second = np.array([arms[i] == pair[1] for i in keep], float)
    n = len(set(which))
    name = f"{what or 'difference'}, {len(set(who))} readers, {n} cases, linear mixed model"
    if not keep or second.min() == second.max() or n < 2:
        return no_comparison(n, f"{name}; not defined: each arm needs readings of two cases")
    if not fixed_readers and len(set(who)) < 2:
        return no_comparison(n, f"{name}; not defined: one reader is not a sample of readers")
    columns: dict[str, npt.ArrayLike] = {"arm": second}
    random: dict[str, Sequence[object]] = {"case": which}
    by_arm = {"case by arm": list(zip(which, second, strict=True))}
    if fixed_readers:
        columns |= {r: np.array([w == r for w in who], float) for r in sorted(set(who))[1:]}
    else:
        random["reader"] = who
        by_arm["reader by case"] = list(zip(who, which, strict=True))
        by_arm["reader by arm"] = list(zip(who, second, strict=True))
    random |= {k: v for k, v in by_arm.items() if len(set(v)) < len(v)}
    fitted = fit(y[keep], columns, random, level, what or "difference")
    found, at = fitted.effects["arm"], list(fitted.effects).index("arm")
    told = f"{name}, {'fixed' if fixed_readers else 'random'} readers, REML, Satterthwaite df"
    # Satterthwaite's can fall below 1 where a variance is barely seen; the readers are a bound.
    df = max(found.df, 1.0 if fixed_readers else len(set(who)) - 1.0)
    variance = float(fitted.covariance[at, at])
    return compare(found.difference.value, variance, n, told, df=df, level=level)


class _Model:
    """The sums of products that the REML criterion needs; labels of all effects side by side.

    The effect with the most labels is eliminated first, where its block of M is diagonal; what is
    left is small and dense.
    """

    def __init__(self, y: Floats, x: Floats, effects: list[sparse.csc_matrix]) -> None:
        self.n, self.p = x.shape
        self.big = int(np.argmax([e.shape[1] for e in effects]))
        self.sizes = [e.shape[1] for e in effects if e is not effects[self.big]]
        first = effects[self.big]
        rest = [e for e in effects if e is not effects[self.big]]
        z = sparse.hstack(rest, format="csc") if rest else sparse.csc_matrix((self.n, 0))
        right = np.column_stack([x, y])
        self.counts = np.asarray(first.sum(axis=0)).ravel()
        across = (first.T @ z).tocsr()
        # Few labels: the overhead of sparse arrays costs more than the zeros.
        self.across = across.toarray() if across.shape[0] * across.shape[1] < _DENSE else across
        self.inner = (z.T @ z).toarray()
        self.first_right, self.rest_right = first.T @ right, z.T @ right
        self.right = right.T @ right

    def solved(self, theta: Floats) -> tuple[float, float, Floats, Floats]:
        """Log determinant of M, penalised squares, effects and the X'V^-1X of relative sd theta."""
        own, scale = theta[self.big], np.repeat(np.delete(theta, self.big), self.sizes)
        diagonal = own**2 * self.counts + 1
        if isinstance(self.across, np.ndarray):
            across = own * self.across * scale
            lowered = across / diagonal[:, None]
            taken = across.T @ lowered
        else:
            across = own * self.across @ sparse.diags(scale)
            lowered = sparse.diags(1 / diagonal) @ across
            taken = (across.T @ lowered).toarray()
        schur = scale[:, None] * self.inner * scale + np.eye(len(scale)) - taken
        top = own * self.first_right
        rest = scale[:, None] * self.rest_right - lowered.T @ top
        root = np.linalg.cholesky(schur)
        half = linalg.solve_triangular(root, rest, lower=True, check_finite=False)
        kept = self.right - top.T @ (top / diagonal[:, None]) - half.T @ half
        a, b = kept[:-1, :-1], kept[:-1, -1]
        beta = np.linalg.solve(a, b)
        log_m = np.log(diagonal).sum() + 2 * np.log(np.diag(root)).sum()
        return float(log_m), float(kept[-1, -1] - b @ beta), beta, a

    def profiled(self, theta: Floats) -> tuple[float, float]:
        """The criterion at theta with the residual variance that is best there."""
        log_m, squares, _, a = self.solved(theta)
        free = self.n - self.p
        sigma2 = max(squares, 1e-300) / free
        deviance = log_m + np.linalg.slogdet(a)[1] + free * (1 + math.log(2 * math.pi * sigma2))
        return float(deviance), sigma2

    def _searched(self, theta: Floats) -> float:
        """``profiled`` for the search, which may try variances so large that rounding leaves no
        positive definite matrix: there it is to turn back."""
        try:
            return self.profiled(theta)[0]
        except np.linalg.LinAlgError:
            return _TOO_FAR

    def criterion(self, variances: Floats) -> float:
        """The criterion at given variances, the residual one last."""
        sigma2 = variances[-1]
        log_m, squares, _, a = self.solved(np.sqrt(variances[:-1] / sigma2))
        free = self.n - self.p
        logs = log_m + np.linalg.slogdet(a)[1] + free * math.log(2 * math.pi * sigma2)
        return float(logs + squares / sigma2)

    def fitted(self) -> Floats:
        """The relative standard deviations with the smallest criterion; a second start where one
        of them is 0, since the criterion is flat there."""
        k = len(self.sizes) + 1
        best: tuple[float, Floats] = (math.inf, np.ones(k))
        for start in (1.0, 0.3):
            if best[1].min() > 1e-3 and best[0] < math.inf:
                break
            found = optimize.minimize(
                self._searched,
                np.full(k, start),
                method="L-BFGS-B",
                bounds=[(0, None)] * k,
                options={"ftol": 1e-11, "gtol": 1e-7, "eps": 1e-7},
            )
            if found.fun < best[0] - 1e-9:
                best = (float(found.fun), np.asarray(found.x))
        return best[1]

    def effects(self, variances: Floats) -> tuple[Floats, Floats]:
        """Fixed effects and their covariance at given variances."""
        _, _, beta, a = self.solved(np.sqrt(variances[:-1] / variances[-1]))
        return beta, variances[-1] * np.linalg.inv(a)

    def uncertainty(self, variances: Floats, free: npt.NDArray[np.intp]) -> Floats:
        """Covariance of the variances ``free``: twice the inverse of the criterion's curvature."""
        k = len(free)
        steps = _STEP * variances[free]
        hessian = np.empty((k, k))

        def at(moves: Floats) -> float:
            moved = variances.copy()
            moved[free] += moves
            return self.criterion(moved)

        units = np.diag(steps)
        middle = at(np.zeros(k))
        for i in range(k):
            hessian[i, i] = (at(units[i]) - 2 * middle + at(-units[i])) / steps[i] ** 2
            for j in range(i):
                both = at(units[i] + units[j]) + at(-units[i] - units[j])
                apart = at(units[i] - units[j]) + at(units[j] - units[i])
                hessian[i, j] = hessian[j, i] = (both - apart) / (4 * steps[i] * steps[j])
        return np.asarray(2 * np.linalg.pinv(hessian), dtype=np.float64)

    def satterthwaite(
        self, variances: Floats, free: npt.NDArray[np.intp], curvature: Floats, which: int
    ) -> float:
        """Degrees of freedom of one fixed effect: 2 v^2 / variance of v."""
        slopes = np.empty(len(free))
        for i, at in enumerate(free):
            step = _STEP * variances[at]
            up, down = variances.copy(), variances.copy()
            up[at] += step
            down[at] -= step
            ends = [self.effects(v)[1][which, which] for v in (up, down)]
            slopes[i] = (ends[0] - ends[1]) / (2 * step)
        spread = float(slopes @ curvature @ slopes)
        v = float(self.effects(variances)[1][which, which])
        return 2 * v**2 / spread if spread > 0 else math.inf


def _indicator(name: str, labels: Sequence[object], n: int) -> sparse.csc_matrix:
    if len(labels) != n:
        raise ValueError(f"{name} must hold a label for each of {n} rows, but holds {len(labels)}")
    found = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    if not 1 < len(found) < n:
        raise ValueError(
            f"{name} has {len(found)} labels on {n} rows; a random effect needs two or more, and "
            "fewer than rows"
        )
    columns = [found[label] for label in labels]
    return sparse.csc_matrix((np.ones(n), (np.arange(n), columns)), shape=(n, len(found)))
