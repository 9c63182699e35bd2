"""How many readers and cases a study needs, from what is expected of it.

The readers' spread and the cases' share of it come from a pilot (``mrmc.Components``) or from a
preset: the structures with which Roe and Metz 1997 (Acad Radiol 4:298, table 1) spanned published
ROC studies, as the files with which iMRMC simulates that table hold them
(``RMconfigurations``, github.com/DIDSR/iMRMC). Scores are sums of normal effects; the covariances
of AUCs and shares that follow are exact (bivariate normal probabilities), and ``sample_size`` turns
them into power by Obuchowski and Rockette's test with Hillis's degrees of freedom (Hillis,
Obuchowski and Berbaum 2011). No reader study of the primary of brain metastases has published such
components: the presets say how much readers differ in radiology at large, and a pilot is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as _scipy
from scipy.special import owens_t

from bmcore.stats import mrmc, sample_size
from bmcore.stats.mrmc import Components
from bmcore.stats.sample_size import Power, SampleSize

MEASURES = ("AUC", "accuracy", "sensitivity", "specificity")


@dataclass(frozen=True)
class Variation:
    """Variance of a score from the ``reader`` and the reader in one condition, and, adding up to
    1, from the ``case``, the case in one condition, the reader on the case, and the rest."""

    name: str
    source: str
    reader: float
    reader_condition: float
    case: float
    case_condition: float
    reader_case: float
    rest: float

    def __post_init__(self) -> None:
        parts = (self.case, self.case_condition, self.reader_case, self.rest)
        if min(*parts, self.reader, self.reader_condition) < 0 or abs(sum(parts) - 1) > 1e-9:
            raise ValueError(f"{self.name}: variances must be 0 or more, those of cases sum to 1")


_RM = "Roe and Metz 1997, Acad Radiol 4:298, table 1, as in iMRMC's files"
PRESETS: dict[str, Variation] = {
    v.name: v
    for v in (
        Variation("readers alike, cases differ much", f"{_RM}, structure HL",
                  0.0055, 0.0055, 0.3, 0.3, 0.2, 0.2),
        Variation("readers alike, cases differ little", f"{_RM}, structure LL",
                  0.0055, 0.0055, 0.1, 0.1, 0.2, 0.6),
        Variation("readers differ, cases differ much", f"{_RM}, structure HH at AUC .855",
                  0.030, 0.030, 0.3, 0.3, 0.2, 0.2),
        Variation("readers differ, cases differ little", f"{_RM}, structure LH at AUC .855",
                  0.030, 0.030, 0.1, 0.1, 0.2, 0.6),
        Variation("readers differ much, cases differ much", f"{_RM}, structure HH at AUC .962",
                  0.056, 0.056, 0.3, 0.3, 0.2, 0.2),
    )
}  # fmt: skip

# A published study's components and number of cases: AUC of spin-echo and cine MRI for aortic
# dissection (Van Dyke 1993), printed by OR-DBM MRMC 2.51.
VAN_DYKE = (
    Components(
        0.00479617, 0.00383620, 0.00055103, 0.00080229, 0.00034661, 0.00034407, 0.00023903,
        0.00153500, 0.00020040,
    ),
    114,
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What is to be found: a ``difference`` from the ``expected`` control value of the ``measure``
    (one of ``MEASURES``), in cases of which the share ``prevalence`` is positive, at two-sided
    ``alpha``, for random or fixed readers. ValueError, in words, on values that cannot be."""

    measure: str
    expected: float
    difference: float
    prevalence: float = 0.5
    alpha: float = 0.05
    fixed_readers: bool = False

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ValueError(
                f"measure must be one of {', '.join(MEASURES)}, but is {self.measure!r}"
            )
        least = 0.5 if self.measure == "AUC" else 0.0
        ends = (self.expected, self.expected + self.difference)
        if not all(least < x < 1 for x in ends):
            raise ValueError(
                f"the expected {self.measure} must lie between {least:g} and 1 in both arms, but "
                f"is {ends[0]:g} and {ends[1]:g}"
            )
        if self.difference == 0:
            raise ValueError("a difference of 0 can not be found; give the least that matters")
        if not 0 < self.prevalence < 1:
            raise ValueError(f"prevalence must lie between 0 and 1, but is {self.prevalence:g}")


@dataclass(frozen=True)
class Row:
    """One number of readers: the ``needed`` cases for the wanted power, the power ``curve`` over
    numbers of cases, and a ``caution`` in words, "" where there is none."""

    readers: int
    needed: SampleSize
    curve: tuple[Power, ...]
    caution: str


def power_table(
    question: Question,
    variation: Variation | None = None,
    pilot: tuple[Components, int] | None = None,
    readers: Sequence[int] = (2, 3, 4, 5, 6, 8, 10),
    cases: Sequence[int] = (20, 40, 60, 80, 100, 150, 200, 300),
    target: float = 0.8,
) -> tuple[Row, ...]:
    """Needed cases and power curves, a row a number of readers.

    Give either a ``variation`` or the components and number of cases of a ``pilot``. Cases are all
    of the study; for a sensitivity those with the class are their share ``prevalence``.
    """
    if (variation is None) == (pilot is None):
        raise ValueError("sizing needs either a preset or a pilot, not both and not neither")
    base, n = pilot if pilot else (components(question, variation, 1000), 1000)
    rows = []
    for r in readers:
        if r < 2 and not question.fixed_readers:
            continue
        alpha, fixed = question.alpha, question.fixed_readers
        needed = sample_size.cases_needed(
            base, n, question.difference, r, target, alpha=alpha, fixed_readers=fixed
        )
        curve = tuple(
            sample_size.power(base, n, question.difference, r, c, alpha=alpha, fixed_readers=fixed)
            for c in cases
        )
        rows.append(Row(r, needed, curve, caution(r, question.fixed_readers)))
    return tuple(rows)


def caution(readers: int, fixed_readers: bool = False) -> str:
    """What to say of so few readers; "" where nothing need be said."""
    if fixed_readers:
        return "the result will hold for these very readers, not for others like them"
    if readers < 4:
        return (
            f"with {readers} readers, intervals for readers like these cover 90-93 % instead of "
            "95 % in simulations, and one unusual reader decides; plan four or more"
        )
    return ""


def components(question: Question, variation: Variation | None, cases: int) -> Components:
    """Expected components of the study with ``cases`` cases, at the mean of both arms."""
    if variation is None:
        raise ValueError("components need a preset")
    middle = question.expected + question.difference / 2
    positive = max(2, round(cases * question.prevalence))
    if question.measure == "AUC":
        return auc_components(variation, middle, positive, max(2, cases - positive))
    of = {"accuracy": cases, "sensitivity": positive}.get(question.measure, cases - positive)
    return share_components(variation, middle, max(2, of))


def auc_components(v: Variation, auc: float, positive: int, negative: int) -> Components:
    """Components of AUCs of readers and cases like ``v``, expected area ``auc`` in both arms.

    A pair's score difference has variance 2 (1 + reader parts); two pairs that share a reader or a
    case are correlated by what they share, and both are won with a bivariate normal probability.
    """
    z = float(_scipy.norm.ppf(auc))
    total = 2 * (1 + v.reader + v.reader_condition)

    def both(reader: float, up: float, down: float) -> float:
        return _both(z, (2 * reader + up + down) / total)

    def covariance(reader: float, case: float) -> float:
        """Of two areas that share reader effects and case effects; without the readers' own."""
        own = both(reader, 0, 0)
        pairs = positive * negative
        one, other = (positive - 1) / pairs, (negative - 1) / pairs
        rest = (positive - 1) * (negative - 1) / pairs
        moments = (
            both(reader, case, case) / pairs
            + other * both(reader, case, 0)
            + one * both(reader, 0, case)
            + rest * own
        )
        return moments - own

    same, both_arms = v.reader + v.reader_condition, v.reader
    none = math.nan
    return Components(
        none, none, none,
        var=covariance(same, 1.0),
        cov1=covariance(both_arms, v.case + v.reader_case),
        cov2=covariance(0.0, v.case + v.case_condition),
        cov3=covariance(0.0, v.case),
        reader=both(both_arms, 0, 0) - auc**2,
        interaction=both(same, 0, 0) - both(both_arms, 0, 0),
    )  # fmt: skip


def share_components(v: Variation, share: float, cases: int) -> Components:
    """Components of shares of right answers: an answer is right where the score passes a limit."""
    z = float(_scipy.norm.ppf(share))
    total = 1 + v.reader + v.reader_condition

    def covariance(reader: float, case: float) -> float:
        return (_both(z, (reader + case) / total) - _both(z, reader / total)) / cases

    same, both_arms, none = v.reader + v.reader_condition, v.reader, math.nan
    return Components(
        none, none, none,
        var=covariance(same, 1.0),
        cov1=covariance(both_arms, v.case + v.reader_case),
        cov2=covariance(0.0, v.case + v.case_condition),
        cov3=covariance(0.0, v.case),
        reader=_both(z, both_arms / total) - share**2,
        interaction=_both(z, same / total) - _both(z, both_arms / total),
    )  # fmt: skip


def _both(z: float, correlation: float) -> float:
    """Chance that two standard normal variables of this correlation both lie below z."""
    if correlation <= 0:
        return float(_scipy.norm.cdf(z)) ** 2
    if correlation >= 1 - 1e-12:
        return float(_scipy.norm.cdf(z))
    # Owen's T for equal limits: exact, and quick.
    slope = math.sqrt((1 - correlation) / (1 + correlation))
    return float(_scipy.norm.cdf(z) - 2 * owens_t(z, slope))


def pilot_of(figures: Sequence[Sequence[float]], covariance: np.ndarray) -> Components:
    """Components of a pilot's figures (conditions, readers) and their covariance."""
    table = np.asarray(figures, dtype=float)
    t, r = table.shape
    return mrmc.components(table, np.asarray(covariance, dtype=float).reshape(t, r, t, r))
