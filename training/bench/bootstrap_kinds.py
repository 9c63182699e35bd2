"""Does another bootstrap interval than the percentile one pay near the ends? Coverage of three.

python -m training.bench.bootstrap_kinds --runs 1000

Percentile, BCa (Efron 1987, J Am Stat Assoc 82:171) and studentised (bootstrap-t with the
linearised standard error, on the logit scale for F1 and the logarithm for means; Efron and
Tibshirani 1993, chapter 12), each on the same resamples of simulated patients whose truth is known.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from bmcore.stats.bootstrap import Resampling, draw_weights

Floats = npt.NDArray[np.float64]
KINDS = ("percentile", "BCa", "studentised")


@dataclass(frozen=True)
class Ratio:
    """A statistic that is a sum over patients by another: ``top`` and ``bottom``, (n,) each; a mean
    has a bottom of ones. ``bounded``: it lies in 0-1."""

    top: Floats
    bottom: Floats
    bounded: bool

    def of(self, weights: Floats) -> tuple[Floats, Floats]:
        """Value and linearised standard error under each row of weights (b, n)."""
        n = weights.sum(axis=1)
        below = weights @ self.bottom
        value = (weights @ self.top) / below
        spread = weights @ (self.top**2) - 2 * value * (weights @ (self.top * self.bottom))
        spread = spread + value**2 * (weights @ (self.bottom**2))
        variance = spread / n / (below / n) ** 2 / (n - 1)
        return value, np.sqrt(np.maximum(variance, 0))


def intervals(one: Ratio, resampling: Resampling) -> dict[str, tuple[float, float]]:
    """The three intervals; NaN limits where one is not defined."""
    n = len(one.top)
    whole, error = (float(x[0]) for x in one.of(np.ones((1, n))))
    blocks = [one.of(w) for w in draw_weights(np.arange(n), resampling)]
    draws, errors = (np.concatenate(part) for part in zip(*blocks, strict=True))
    tail = (1 - resampling.level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    found = {"percentile": (float(low), float(high)), "BCa": _bca(one, whole, draws, tail)}
    return {**found, "studentised": _studentised(one, (whole, error), (draws, errors), tail)}


def _bca(one: Ratio, whole: float, draws: Floats, tail: float) -> tuple[float, float]:
    below = (draws < whole).mean() + (draws == whole).mean() / 2
    left_out, _ = one.of(np.ones((len(one.top),) * 2) - np.eye(len(one.top)))
    gaps = left_out.mean() - left_out
    if not 0 < below < 1 or (gaps == 0).all():
        return np.nan, np.nan
    shift, skew = norm.ppf(below), (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    z = shift + norm.ppf([tail, 1 - tail])
    ends = np.quantile(draws, norm.cdf(shift + z / (1 - skew * z)))
    return float(ends[0]), float(ends[1])


def _studentised(
    one: Ratio, whole: tuple[float, float], drawn: tuple[Floats, Floats], tail: float
) -> tuple[float, float]:
    value, error = whole
    if error == 0 or not 0 < value < (1 if one.bounded else np.inf):
        return np.nan, np.nan

    def scale(x: Floats) -> Floats:
        return np.asarray(np.log(x / (1 - x)) if one.bounded else np.log(x))

    def slope(x: Floats) -> Floats:
        return np.asarray(1 / (x * (1 - x)) if one.bounded else 1 / x)

    draws, errors = drawn
    used = (errors > 0) & (draws > 0) & (draws < (1 if one.bounded else np.inf))
    if used.mean() < 0.5:
        return np.nan, np.nan
    here = scale(np.array(value))
    t = (scale(draws[used]) - here) / (errors[used] * slope(draws[used]))
    far, near = np.quantile(t, [1 - tail, tail])
    step = error * float(slope(np.array(value)))
    ends = np.array([here - far * step, here - near * step])
    back = 1 / (1 + np.exp(-ends)) if one.bounded else np.exp(ends)
    return float(back[0]), float(back[1])


def f1(rng: np.random.Generator, n: int = 60) -> tuple[Ratio, float]:
    """F1 of a class with a third of the patients, found with sensitivity and specificity .95."""
    ill = rng.random(n) < 1 / 3
    named = np.where(ill, rng.random(n) < 0.95, rng.random(n) < 0.05)
    hit = 2 / 3 * 0.95
    return (
        Ratio((2 * (ill & named)).astype(np.float64), (1 * ill + named).astype(np.float64), True),
        hit / (hit + 2 / 3 * 0.05 + 1 / 3 * 0.05),
    )


def brier(rng: np.random.Generator, n: int = 40) -> tuple[Ratio, float]:
    """Brier score of a sure model: 92 % of patients near 0, the others near 1.6."""
    right = rng.random(n) < 0.92
    loss = np.where(right, rng.beta(1, 12, n), 1.2 + 0.8 * rng.random(n))
    return Ratio(loss, np.ones(n), False), 0.92 / 13 + 0.08 * 1.6


def false_lesions(rng: np.random.Generator, n: int = 40) -> tuple[Ratio, float]:
    """False lesions a case, .3 in the mean, cases unlike (negative binomial, size .5)."""
    return Ratio(rng.negative_binomial(0.5, 0.5 / 0.8, n).astype(float), np.ones(n), False), 0.3


SETTINGS: dict[str, Callable[[np.random.Generator], tuple[Ratio, float]]] = {
    "F1 near 1, 60 patients": f1,
    "Brier score, 40 patients": brier,
    "false lesions a case, 40 cases": false_lesions,
}


def coverage(
    draw: Callable[[np.random.Generator], tuple[Ratio, float]], runs: int, resamples: int = 1000
) -> dict[str, tuple[float, float, int]]:
    """{kind: (share that hold the truth, mean width, studies with such an interval)}; a study
    without an interval does not hold it."""
    held = dict.fromkeys(KINDS, 0)
    widths: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in range(runs):
        one, truth = draw(np.random.default_rng([17, seed]))
        for kind, (low, high) in intervals(one, Resampling(resamples, seed)).items():
            if low <= high:
                held[kind] += low <= truth <= high
                widths[kind].append(high - low)
    return {k: (held[k] / runs, float(np.mean(widths[k])), len(widths[k])) for k in KINDS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    asked = parser.parse_args()
    for name, draw in SETTINGS.items():
        for kind, (share, width, given) in coverage(draw, asked.runs).items():
            print(f"{name:<32} {kind:<12} {share:6.1%}  width {width:.3f}  given {given}")


if __name__ == "__main__":
    main()
