"""How many readers and cases a comparison of AUCs (or another figure of merit) needs.

Hillis, Obuchowski and Berbaum 2011 (Acad Radiol 18:129): power of Obuchowski and Rockette's test of
two conditions, from the components of a pilot study or from conjectured ones (Obuchowski 1995, Acad
Radiol 2:S22). Covariances shrink with the number of cases, reader variance does not: with few
readers no number of cases may suffice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats as _scipy

from bmcore.stats.mrmc import Components

MOST_CASES = 100_000


@dataclass(frozen=True)
class Power:
    """Power of the two-sided test, with its noncentrality, denominator degrees of freedom and
    critical F (critical chi-squared, df infinite, for fixed readers, and for random ones where
    no spread from reader to reader is left)."""

    power: float
    noncentrality: float
    df: float
    critical: float
    readers: int
    cases: int


@dataclass(frozen=True)
class SampleSize:
    """``cases``: the smallest number that reaches the power, None where no number up to
    ``MOST_CASES`` does; then ``power`` is what ``MOST_CASES`` reach, and ``why`` says so."""

    readers: int
    cases: int | None
    power: float
    why: str


def power(
    pilot: Components,
    pilot_cases: int,
    effect: float,
    readers: int,
    cases: int,
    *,
    alpha: float = 0.05,
    fixed_readers: bool = False,
) -> Power:
    """Power to find a difference ``effect`` of two conditions with ``readers`` and ``cases``.

    Negative components count as 0. The share of positive cases is taken to stay that of the pilot.
    Without an effect the power is ``alpha``. ValueError: one reader taken as random, no cases, an
    alpha outside 0-1, an effect that is no finite number, components that leave no variance.
    """
    if readers < (1 if fixed_readers else 2) or cases < 2 or pilot_cases < 2:
        raise ValueError(
            "power needs two readers (one if fixed) and two cases or more, but has "
            f"{readers} readers, {cases} cases and {pilot_cases} pilot cases"
        )
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, but is {alpha}")
    if not math.isfinite(effect):
        raise ValueError(f"the effect must be a number, for instance 0.05, but is {effect}")
    shrink = pilot_cases / cases
    shared = max(_or_zero(pilot.cov2) - _or_zero(pilot.cov3), 0.0)
    own = max(pilot.var - pilot.cov1, 0.0)
    reader = 0.0 if fixed_readers else max(_or_zero(pilot.interaction), 0.0)
    error = reader + shrink * (own + (readers - 1) * shared)
    if not error > 1e-15:
        raise ValueError(
            "nothing changed between the two phases of the pilot, or everything alike, so it does "
            "not tell how much such changes vary: take another study or a preset"
        )
    centre = readers * effect**2 / 2 / error
    square = reader + shrink * (own - shared)
    if fixed_readers or square <= 1e-6 * error:  # no spread from reader to reader: F's limit
        critical = float(_scipy.chi2.ppf(1 - alpha, 1))
        reached = float(_scipy.ncx2.sf(critical, 1, centre)) if centre else alpha
        return Power(reached, centre, math.inf, critical, readers, cases)
    df = error**2 / (square**2 / (readers - 1))
    critical = float(_scipy.f.ppf(1 - alpha, 1, df))
    reached = float(_scipy.ncf.sf(critical, 1, df, centre)) if centre else alpha  # ncf fails at 0
    return Power(reached, centre, df, critical, readers, cases)


def cases_needed(
    pilot: Components,
    pilot_cases: int,
    effect: float,
    readers: int,
    target: float = 0.8,
    *,
    alpha: float = 0.05,
    fixed_readers: bool = False,
) -> SampleSize:
    """Smallest number of cases with which ``readers`` find ``effect`` with power ``target``;
    ValueError as in ``power``, and for a target outside 0-1."""
    if not 0 < target < 1:
        raise ValueError(f"the power must lie between 0 and 1, for instance 0.8, but is {target}")

    def reached(cases: int) -> float:
        found = power(
            pilot, pilot_cases, effect, readers, cases, alpha=alpha, fixed_readers=fixed_readers
        )
        return found.power

    most = reached(MOST_CASES)
    if most < target:
        why = f"{readers} readers reach a power of {most:.2f} at most; more readers are needed"
        if effect == 0:
            why = f"a difference of 0 is found as often as alpha ({alpha:g}) says, by any study"
        return SampleSize(readers, None, most, why)
    low, high = 1, MOST_CASES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle > 1 and reached(middle) >= target else (middle, high)
    return SampleSize(readers, high, reached(high), f"power {target:.0%} at alpha {alpha:g}")


def auc_variance(auc: float, positive: int, negative: int) -> float:
    """Conjectured variance of one reader's AUC under the binormal model with equal variances.

    Obuchowski 1994 (Acad Radiol 1:223; also Obuchowski 1998, Stat Methods Med Res 7:371). Meant for
    rating scales; for finely graded confidences it is too large by about a quarter at 0.8, so the
    numbers of cases that follow from it are on the safe side.
    """
    if not 0.5 <= auc < 1 or min(positive, negative) < 1:
        raise ValueError(
            "auc must lie between 0.5 and 1 with cases of each kind, but they are "
            f"{auc}, {positive} and {negative}"
        )
    a = float(_scipy.norm.ppf(auc)) * 1.414
    ratio = negative / positive
    spread = 0.0099 * math.exp(-(a**2) / 2) * ((5 * a**2 + 8) + (a**2 + 8) / ratio)
    return spread / positive


def conjecture(
    auc: float,
    positive: int,
    negative: int,
    correlations: tuple[float, float, float],
    interaction_sd: float,
) -> Components:
    """Components without a pilot: the variance of ``auc_variance``, ``correlations`` of the errors
    (same reader and other condition, other reader and same condition, both other), and
    ``interaction_sd``, the standard deviation from reader to reader of the true difference (half
    its square is the component of readers by conditions)."""
    r1, r2, r3 = correlations
    if not -1 <= r3 <= min(r1, r2) <= max(r1, r2) <= 1:
        raise ValueError(f"correlations must satisfy r3 <= r1, r2 <= 1, but are {correlations}")
    var = auc_variance(auc, positive, negative)
    interaction = interaction_sd**2 / 2
    none = math.nan
    return Components(none, none, none, var, r1 * var, r2 * var, r3 * var, none, interaction)


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
