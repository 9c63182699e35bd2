"""Many readers, many cases, two or more conditions: Obuchowski and Rockette's analysis.

Every reader reads every case under every condition (unaided, aided, ...). Readers are taken as a
sample of readers (``random``: the result holds for readers like these) or as themselves
(``fixed``). Obuchowski and Rockette 1995 (Commun Stat Simul Comput 24:285); degrees of freedom and
the single-condition intervals: Hillis 2007 (Stat Med 26:596). The covariances of the readers'
figures come from DeLong (AUC) or from the jackknife over cases (any figure of merit).
A difference is always the later condition minus the earlier one, so aided minus unaided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats as _scipy

from bmcore.stats import delong
from bmcore.stats.comparison import Comparison, compare, interval, no_comparison
from bmcore.stats.estimate import Estimate, undefined

Floats = npt.NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Components:
    """Mean squares and error (co)variances. ``var``: a reader's error variance; ``cov1``: same
    reader, other condition; ``cov2``: other reader, same condition; ``cov3``: both other.
    ``reader`` and ``interaction`` are the variance components of readers and of readers by
    conditions; such estimates may be negative. NaN with a single reader or condition."""

    ms_condition: float
    ms_reader: float
    ms_interaction: float
    var: float
    cov1: float
    cov2: float
    cov3: float
    reader: float
    interaction: float


@dataclass(frozen=True, eq=False)
class ReaderStudy:
    """``figures`` (conditions, readers). ``random`` and ``fixed``: one Estimate a condition, the
    mean over readers. Differences by pair (earlier, later); ``by_reader`` one for each reader.
    ``p_random`` and ``p_fixed``: no condition differs from another (F and chi-squared tests)."""

    figures: Floats
    components: Components
    random: tuple[Estimate, ...]
    fixed: tuple[Estimate, ...]
    differences_random: dict[Pair, Comparison]
    differences_fixed: dict[Pair, Comparison]
    by_reader: dict[Pair, tuple[Comparison, ...]]
    f_random: float
    df_random: float
    p_random: float
    chi2_fixed: float
    p_fixed: float


def compare_auc(
    scores: npt.ArrayLike,
    truth: npt.ArrayLike,
    covariance: str = "delong",
    level: float = 0.95,
) -> ReaderStudy:
    """Compare AUC between conditions: scores (conditions, readers, cases), truth bool (cases,).

    A case that any reader did not score (NaN) is left out for all. ``covariance``: "delong" or
    "jackknife". ValueError with fewer than two usable positive or negative cases. With one reader
    the random-reader results are not defined, and say so; the fixed ones are DeLong's. A mean area
    of exactly 0 or 1 has the interval of ``delong.area_at_the_end``.
    """
    table, positive = whole_cases(scores, truth)
    t, r, n = table.shape
    flat = table.reshape(t * r, n)
    if covariance == "delong":
        areas, between = delong.auc_covariance(flat, positive)
    elif covariance == "jackknife":
        areas, between = _jackknife_auc(flat, positive)
    else:
        raise ValueError(f"covariance must be delong or jackknife, but is {covariance!r}")
    name = f"AUC, {int(positive.sum())} positive of {n} cases, {covariance} covariance"
    found = analyse(areas.reshape(t, r), between, n, name, level)
    n1 = int(positive.sum())

    def ended(one: Estimate) -> Estimate:
        if one.has_interval or one.value not in (0.0, 1.0):
            return one
        what = one.method.split("; no interval")[0]
        return delong.area_at_the_end(one.value, n1, n - n1, what, level)

    return replace(
        found, random=tuple(map(ended, found.random)), fixed=tuple(map(ended, found.fixed))
    )


def analyse(
    figures: npt.ArrayLike,
    covariance: npt.ArrayLike,
    n: int,
    name: str,
    level: float = 0.95,
) -> ReaderStudy:
    """Obuchowski and Rockette's analysis of any figure of merit between 0 and 1.

    figures: (conditions, readers); covariance: (conditions * readers,) squared, conditions outer;
    n: number of cases, for the Estimates; name: what the figure is.
    """
    table = np.asarray(figures, dtype=float)
    t, r = table.shape
    cov = np.asarray(covariance, dtype=float).reshape(t, r, t, r)
    parts = components(table, cov)
    pairs = list(combinations(range(t), 2))
    random, fixed, by_reader = {}, {}, {}
    for a, b in pairs:
        change = float(table[b].mean() - table[a].mean())
        random[a, b] = _random_difference(change, parts, (t, r), n, name, level)
        fixed[a, b] = _fixed_difference(change, parts, r, n, name, level)
        by_reader[a, b] = tuple(
            _one_reader(table, cov, (a, b), j, n, name, level) for j in range(r)
        )
    f, df, p = _f_test(parts, t, r)
    chi2, p_fixed = _chi2_test(parts, t, r)
    return ReaderStudy(
        figures=table,
        components=parts,
        random=tuple(_random_mean(table[i], cov[i, :, i], n, name, level) for i in range(t)),
        fixed=tuple(_fixed_mean(table[i], cov[i, :, i], n, name, level) for i in range(t)),
        differences_random=random,
        differences_fixed=fixed,
        by_reader=by_reader,
        f_random=f,
        df_random=df,
        p_random=p,
        chi2_fixed=chi2,
        p_fixed=p_fixed,
    )


def components(figures: Floats, covariance: Floats) -> Components:
    """Mean squares of figures (t, r) and the mean covariances of covariance (t, r, t, r)."""
    t, r = figures.shape
    grand, rows, columns = figures.mean(), figures.mean(axis=1), figures.mean(axis=0)
    rest = figures - rows[:, None] - columns + grand
    ms_t = r * float(((rows - grand) ** 2).sum()) / (t - 1) if t > 1 else math.nan
    ms_r = t * float(((columns - grand) ** 2).sum()) / (r - 1) if r > 1 else math.nan
    ms_tr = float((rest**2).sum()) / ((t - 1) * (r - 1)) if t > 1 and r > 1 else math.nan
    same_t = np.eye(t, dtype=bool)[:, None, :, None]
    same_r = np.eye(r, dtype=bool)[None, :, None, :]
    var, cov1, cov2, cov3 = (
        _mean_where(covariance, np.broadcast_to(chosen, covariance.shape))
        for chosen in (same_t & same_r, ~same_t & same_r, same_t & ~same_r, ~same_t & ~same_r)
    )
    interaction = ms_tr - var + cov1 + cov2 - cov3
    reader = (ms_r - ms_tr) / t - cov1 + cov3
    return Components(ms_t, ms_r, ms_tr, var, cov1, cov2, cov3, reader, interaction)


def jackknife_covariance(left_out: npt.ArrayLike) -> Floats:
    """Covariance (m, m) of m figures from their values with each case left out, (m, n)."""
    values = np.atleast_2d(np.asarray(left_out, dtype=float))
    n = values.shape[1]
    centred = values - values.mean(axis=1, keepdims=True)
    covariance: Floats = (n - 1) / n * centred @ centred.T
    return covariance


def whole_cases(
    scores: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Scores (conditions, readers, cases) of the cases that all have read, and their truth."""
    table = np.asarray(scores, dtype=float)
    positive = np.asarray(truth)
    if table.ndim != 3 or positive.shape != table.shape[2:]:
        raise ValueError(
            "scores must be (conditions, readers, cases) and truth (cases,), but are "
            f"{table.shape} and {positive.shape}"
        )
    whole = ~np.isnan(table).any(axis=(0, 1))
    kept, positive = delong.check_scores(
        table[:, :, whole].reshape(table.shape[0] * table.shape[1], whole.sum()), positive[whole]
    )
    return kept.reshape(*table.shape[:2], whole.sum()), positive


def _jackknife_auc(flat: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """AUC and its jackknife covariance; leaving one case out needs its placement only."""
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if min(n1, n0) < 2:
        raise ValueError(f"AUC covariance needs two cases of each kind, but has {n1} and {n0}")
    up, down = delong.placements(flat, positive)
    areas = up.mean(axis=1)
    without = np.empty_like(flat)
    without[:, positive] = (n1 * areas[:, None] - up) / (n1 - 1)
    without[:, ~positive] = (n0 * areas[:, None] - down) / (n0 - 1)
    return areas, jackknife_covariance(without)


def _mean_where(covariance: Floats, chosen: npt.NDArray[np.bool_]) -> float:
    return float(covariance[chosen].mean()) if chosen.any() else math.nan


def _shared(parts: Components) -> float:
    """Cov2 minus Cov3, not below 0; 0 with a single reader, where it does not enter."""
    return 0.0 if math.isnan(parts.cov2) else max(parts.cov2 - parts.cov3, 0.0)


def _random_difference(
    change: float, parts: Components, shape: Pair, n: int, name: str, level: float
) -> Comparison:
    t, r = shape
    if r < 2:
        return no_comparison(n, f"{name}; not defined: one reader is not a sample of readers")
    error = parts.ms_interaction + r * _shared(parts)
    method = f"{name}; difference of means of {r} readers, random readers and cases (OR, Hillis df)"
    df = _hillis_df(error, parts.ms_interaction, (t - 1) * (r - 1))
    bounds = (-1.0, 1.0)
    return compare(change, 2 * error / r, n, method, df=df, level=level, bounds=bounds)


def _fixed_difference(
    change: float, parts: Components, r: int, n: int, name: str, level: float
) -> Comparison:
    method = f"{name}; difference of means of {r} readers, fixed readers, random cases (OR)"
    variance = 2 / r * _fixed_error(parts, r)
    return compare(change, variance, n, method, level=level, bounds=(-1.0, 1.0))


def _fixed_error(parts: Components, r: int) -> float:
    return parts.var - parts.cov1 + (r - 1) * _shared(parts)


def _one_reader(
    table: Floats, cov: Floats, pair: Pair, j: int, n: int, name: str, level: float
) -> Comparison:
    a, b = pair
    variance = cov[a, j, a, j] + cov[b, j, b, j] - 2 * cov[a, j, b, j]
    change = float(table[b, j] - table[a, j])
    method = f"{name}; difference of one reader, random cases"
    return compare(change, variance, n, method, level=level, bounds=(-1.0, 1.0))


def _random_mean(figures: Floats, cov: Floats, n: int, name: str, level: float) -> Estimate:
    r = len(figures)
    if r < 2:
        return undefined(n, f"{name}; not defined: one reader is not a sample of readers")
    spread = float(figures.var(ddof=1))
    shared = max(float((cov.sum() - np.trace(cov)) / (r * (r - 1))), 0.0)
    error = spread + r * shared
    df = _hillis_df(error, spread, r - 1)
    method = f"{name}; mean of {r} readers, random readers and cases (OR, Hillis df)"
    mean = float(figures.mean())
    return interval(mean, error / r, n, method, df=df, level=level, bounds=(0.0, 1.0))


def _fixed_mean(figures: Floats, cov: Floats, n: int, name: str, level: float) -> Estimate:
    r = len(figures)
    method = f"{name}; mean of {r} readers, fixed readers, random cases (OR)"
    variance = float(cov.sum()) / r**2
    return interval(float(figures.mean()), variance, n, method, level=level, bounds=(0.0, 1.0))


def _hillis_df(error: float, mean_square: float, df: int) -> float:
    """Hillis 2007, ddf_H; infinite where the readers do not differ."""
    return math.inf if mean_square < 1e-15 else error**2 / (mean_square**2 / df)


def _f_test(parts: Components, t: int, r: int) -> tuple[float, float, float]:
    if t < 2 or r < 2:
        return math.nan, math.nan, math.nan
    error = parts.ms_interaction + r * _shared(parts)
    if error < 1e-15:
        return math.nan, math.nan, math.nan
    df = _hillis_df(error, parts.ms_interaction, (t - 1) * (r - 1))
    f = parts.ms_condition / error
    p = _scipy.chi2.sf(f * (t - 1), t - 1) if math.isinf(df) else _scipy.f.sf(f, t - 1, df)
    return f, df, float(p)


def _chi2_test(parts: Components, t: int, r: int) -> tuple[float, float]:
    if t < 2 or not _fixed_error(parts, r) > 1e-15:
        return math.nan, math.nan
    chi2 = (t - 1) * parts.ms_condition / _fixed_error(parts, r)
    return chi2, float(_scipy.chi2.sf(chi2, t - 1))
