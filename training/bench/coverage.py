"""Do the 95 % intervals of the reader study cover? Simulated readers whose truth is known.

python -m training.bench.coverage --runs 1000, or ``make coverage``: about six minutes on one core.

Each line of the table is one interval method in one setting: the share of ``runs`` studies whose
interval holds the truth, of those that gave an interval at all. With 1,000 runs the share of a true
95 % interval lies between 93.6 and 96.4 % nineteen times in twenty. The program ends with 1 where a
method covers outside 93-97 %, except the ones in ``KNOWN``, which say so where they are documented.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import norm

from bmcore.stats import (
    afroc,
    agreement,
    binary_mrmc,
    continuous,
    decision_time,
    delong,
    learning,
    mrmc,
    paired,
    reliability,
    reliance,
    ustatistics,
)
from bmcore.stats.bootstrap import Resampling
from bmcore.stats.estimate import Estimate, proportion
from training.bench import simulated_studies

Rng = np.random.Generator
Drawn = tuple[Estimate, float]
SHARES = np.array([0.43, 0.21, 0.13, 0.09, 0.08, 0.06])  # the six primaries, uneven as in practice
# Approximate by construction or with few cases; see the docstrings of icc and cohen_kappa, and for
# two readers and the U-statistics of incomplete designs docs/statistics.md.
KNOWN = {
    ("Cohen's kappa, weights quadratic", "2 readers, 30 cases, kappa .49"),
    ("ICC(2,1)", "5 readers, 50 cases"),
    ("ICC(2,k)", "5 readers, 50 cases"),
    ("AUC near 1", "15 positive, 30 negative, AUC .98"),  # 98 %: wider than it need be
    ("endpoint accuracy", "2 readers, 60 cases, complete"),
    ("endpoint accuracy", "3 readers, 60 cases, complete"),
    ("readers less the models, accuracy", "3 readers, 60 cases"),
    ("U-statistics, incomplete, accuracy", "5 readers, 60 cases, scattered"),
    ("U-statistics, incomplete, accuracy", "5 readers, 60 cases, drop-out"),
}
RESAMPLES = 400  # enough for a standard error; the product draws 2,000


@dataclass(frozen=True)
class Check:
    """``draw`` simulates one study and gives its Estimate and the truth it should cover."""

    name: str
    setting: str
    draw: Callable[[Rng], Drawn]


@dataclass(frozen=True)
class Row:
    """``covered`` of ``given`` intervals, in ``runs`` studies; ``width``: their mean width."""

    check: Check
    covered: int
    given: int
    runs: int
    width: float

    @property
    def share(self) -> float:
        return self.covered / self.given if self.given else math.nan

    def text(self) -> str:
        missing = f"{self.runs - self.given} without" if self.given < self.runs else ""
        name = f"{self.check.name:<46} {self.check.setting:<44}"
        return f"{name} {100 * self.share:6.1f} %  {self.width:7.3f}  {missing}"


def cover(check: Check, runs: int, seed: int = 0) -> Row:
    """Simulate ``runs`` studies, each with a generator of its own."""
    covered = given = 0
    width = 0.0
    for run in range(runs):
        found, truth = check.draw(np.random.default_rng([seed, run]))
        if not found.has_interval:
            continue
        given += 1
        covered += found.low <= truth <= found.high
        width += found.high - found.low
    return Row(check, covered, given, runs, width / max(given, 1))


def votes(rng: Rng, n: int, readers: int, same: float, missing: float = 0.0) -> np.ndarray:
    """(n, readers) answers. A reader names the true class with chance ``same``, else he draws one
    from SHARES; so every kappa and alpha is ``same`` squared, whatever the weights."""
    truth = rng.choice(len(SHARES), n, p=SHARES)
    other = rng.choice(len(SHARES), (n, readers), p=SHARES)
    answers = np.where(rng.random((n, readers)) < same, truth[:, None], other)
    return np.where(rng.random((n, readers)) < missing, -1, answers)


def agreeing(same: float, weights: str = "none") -> float:
    """Expected (weighted) agreement of two readers of ``votes``."""
    w = agreement.agreement_weights(len(SHARES), weights)
    return float(same**2 + (1 - same**2) * SHARES @ w @ SHARES)


def gwet_truth(same: float, weights: str) -> float:
    k = len(SHARES)
    w = agreement.agreement_weights(k, weights)
    chance = w.sum() / (k * (k - 1)) * float((SHARES * (1 - SHARES)).sum())
    return (agreeing(same, weights) - chance) / (1 - chance)


def _agreement_checks() -> list[Check]:
    k, checks = len(SHARES), []
    how = Resampling(resamples=RESAMPLES)
    for n in (30, 60, 150):
        two = f"2 readers, {n} cases, kappa .49"
        for weights in ("none", "quadratic"):

            def cohen(rng: Rng, n: int = n, weights: str = weights) -> Drawn:
                table = votes(rng, n, 2, 0.7)
                return agreement.cohen_kappa(table[:, 0], table[:, 1], k, weights), 0.49

            checks.append(Check(f"Cohen's kappa, weights {weights}", two, cohen))
        many = f"4 readers, {n} cases, 15 % missing, kappa .49"

        def fleiss(rng: Rng, n: int = n) -> Drawn:
            return agreement.fleiss_kappa(votes(rng, n, 4, 0.7, 0.15), k), 0.49

        def percent(rng: Rng, n: int = n) -> Drawn:
            table = votes(rng, n, 4, 0.7, 0.15)
            return agreement.percent_agreement(table, how), agreeing(0.7)

        checks += [Check("Fleiss' kappa", many, fleiss), Check("percent agreement", many, percent)]
        for weights in ("none", "linear"):

            def gwet(rng: Rng, n: int = n, weights: str = weights) -> Drawn:
                found = reliability.gwet_ac(votes(rng, n, 4, 0.7, 0.15), k, weights)
                return found, gwet_truth(0.7, weights)

            checks.append(Check(f"Gwet's AC, weights {weights}", many, gwet))
        for scale in reliability.LEVELS:

            def alpha(rng: Rng, n: int = n, scale: str = scale) -> Drawn:
                table = votes(rng, n, 4, 0.7, 0.15)
                return reliability.krippendorff_alpha(table, k, scale, how), 0.49

            checks.append(Check(f"Krippendorff's alpha, {scale}", many, alpha))
    return checks


def _measurement_checks() -> list[Check]:
    checks = []
    for form in continuous.ICC_FORMS:
        for n, readers in ((20, 3), (50, 5)):

            def icc(rng: Rng, form: str = form, n: int = n, readers: int = readers) -> Drawn:
                shape = (n, readers) if form[0] == "1" else (1, readers)
                case, reader = rng.normal(0, 2, (n, 1)), rng.normal(0, 0.7, shape)
                table = case + reader + rng.normal(0, 1, (n, readers))
                noise = 1.0 if form[0] == "3" else 1.49
                many = readers if form[2] == "k" else 1
                return continuous.icc(table, form), 4 / (4 + noise / many)

            checks.append(Check(f"ICC({form})", f"{readers} readers, {n} cases", icc))
    for part, truth in (("bias", 1.0), ("lower", 1 - 2.8), ("upper", 1 + 2.8)):

        def limits(rng: Rng, part: str = part, truth: float = truth) -> Drawn:
            found = continuous.bland_altman(rng.normal(1, 2.8 / 1.959964, 20), np.zeros(20))
            return getattr(found, part), truth

        checks.append(Check(f"Bland-Altman, {part}", "20 pairs", limits))

    def dice(rng: Rng) -> Drawn:
        table = np.ones((25, 3, 3))
        easy = rng.beta(12, 2, (25, 1))
        table[:, *np.triu_indices(3, 1)] = easy * rng.beta(20, 1, (25, 3))
        return continuous.mean_reader_dice(table), 12 / 14 * 20 / 21

    checks.append(Check("Dice between readers", "3 readers, 25 cases", dice))
    return checks


@dataclass(frozen=True)
class Confidence:
    """Roe and Metz 1997 (Acad Radiol 4:298): scores of readers under two conditions are a sum of
    reader, case and interaction effects, normal each; the case effects have variance 1 in all."""

    readers: int
    positive: int
    negative: int
    shift: tuple[float, float]
    reader_var: float = 0.02
    reader_condition_var: float = 0.01

    def draw(self, rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores (2, readers, cases), truth (cases,), each reader's own shift (2, readers)."""
        n = self.positive + self.negative
        truth = np.arange(n) < self.positive
        kinds = [rng.normal(0, math.sqrt(self.reader_var), (1, self.readers, 1)) for _ in "01"]
        both = [
            rng.normal(0, math.sqrt(self.reader_condition_var), (2, self.readers, 1)) for _ in "01"
        ]
        up, down = kinds[1] + both[1], kinds[0] + both[0]
        case = rng.normal(0, math.sqrt(0.3), (1, 1, n)) + rng.normal(0, math.sqrt(0.3), (2, 1, n))
        case = case + rng.normal(0, math.sqrt(0.2), (1, self.readers, n))
        case = case + rng.normal(0, math.sqrt(0.2), (2, self.readers, n))
        shift = np.array(self.shift)[:, None, None] + up
        return case + np.where(truth, shift, down), truth, (shift - down)[:, :, 0]

    @property
    def auc(self) -> np.ndarray:
        """Expected AUC of each condition over readers like these and cases like these."""
        spread = math.sqrt(2 * (1 + self.reader_var + self.reader_condition_var))
        return norm.cdf(np.array(self.shift) / spread)

    def sensitivity(self, cut: float) -> np.ndarray:
        spread = math.sqrt(1 + self.reader_var + self.reader_condition_var)
        return norm.cdf((np.array(self.shift) - cut) / spread)


def _auc_checks() -> list[Check]:
    checks = []
    for shift, n1, n0 in ((1.2, 40, 60), (1.2, 15, 25), (2.33, 30, 40)):
        area = float(norm.cdf(shift / math.sqrt(2)))

        def one(rng: Rng, shift: float = shift, n1: int = n1, n0: int = n0) -> Drawn:
            truth = np.arange(n1 + n0) < n1
            found = delong.auc(rng.normal(size=n1 + n0) + shift * truth, truth)
            return found, float(norm.cdf(shift / math.sqrt(2)))

        setting = f"{n1} positive, {n0} negative, AUC {area:.2f}"
        checks.append(Check("AUC, DeLong with logit", setting, one))

    def difference(rng: Rng) -> Drawn:
        truth = np.arange(80) < 35
        shared = rng.normal(0, math.sqrt(0.5), 80)
        first, second = (
            shared + rng.normal(0, math.sqrt(0.5), 80) + shift * truth for shift in (1.4, 1.0)
        )
        expected = norm.cdf(1.4 / math.sqrt(2)) - norm.cdf(1 / math.sqrt(2))
        return delong.auc_difference(first, second, truth).difference, float(expected)

    checks.append(Check("AUC difference, DeLong", "35 positive, 45 negative", difference))
    for model in (
        Confidence(5, 40, 50, (1.0, 1.4)),
        Confidence(3, 40, 50, (1.0, 1.4)),
        Confidence(8, 30, 40, (1.0, 1.4), 0.1, 0.05),
    ):
        checks += _mrmc_checks(model)
    return checks


def _mrmc_checks(model: Confidence) -> list[Check]:
    setting = (
        f"{model.readers} readers, {model.positive}+{model.negative}, spread {model.reader_var}"
    )
    analyses: dict[str, Any] = {"OR": mrmc.compare_auc, "U-statistics": ustatistics.compare_auc}
    checks = []
    for name, analyse in analyses.items():

        def random(rng: Rng, analyse: Any = analyse) -> Drawn:
            scores, truth, _ = model.draw(rng)
            found = analyse(scores, truth).differences_random[0, 1].difference
            return found, float(model.auc[1] - model.auc[0])

        def fixed(rng: Rng, analyse: Any = analyse) -> Drawn:
            scores, truth, own = model.draw(rng)
            areas = norm.cdf(own / math.sqrt(2)).mean(axis=1)
            found = analyse(scores, truth).differences_fixed[0, 1].difference
            return found, float(areas[1] - areas[0])

        def mean(rng: Rng, analyse: Any = analyse) -> Drawn:
            scores, truth, _ = model.draw(rng)
            return analyse(scores, truth).random[0], float(model.auc[0])

        checks += [
            Check(f"MRMC AUC, {name}, difference, random readers", setting, random),
            Check(f"MRMC AUC, {name}, difference, fixed readers", setting, fixed),
            Check(f"MRMC AUC, {name}, one condition, random", setting, mean),
        ]

    def against_model(rng: Rng) -> Drawn:
        scores, truth, _ = model.draw(rng)
        machine = rng.normal(size=len(truth)) + 1.2 * truth
        found = ustatistics.readers_against_model(scores[0], machine, truth)[0].difference
        return found, float(model.auc[0] - norm.cdf(1.2 / math.sqrt(2)))

    checks.append(Check("readers less model, AUC, random readers", setting, against_model))
    return checks


def _binary_checks() -> list[Check]:
    model, cut = Confidence(5, 50, 50, (1.0, 1.4)), 0.4
    checks = []
    analyses: dict[str, Any] = {
        "OR": binary_mrmc.compare_rates,
        "U-statistics": binary_mrmc.compare_rates_u,
    }
    for name, analyse in analyses.items():

        def difference(rng: Rng, analyse: Any = analyse) -> Drawn:
            scores, truth, _ = model.draw(rng)
            found = analyse((scores > cut).astype(float), truth, "sensitivity")
            truths = model.sensitivity(cut)
            return found.differences_random[0, 1].difference, float(truths[1] - truths[0])

        def mean(rng: Rng, analyse: Any = analyse) -> Drawn:
            scores, truth, _ = model.draw(rng)
            found = analyse((scores > cut).astype(float), truth, "sensitivity")
            return found.random[0], float(model.sensitivity(cut)[0])

        checks.append(Check(f"sensitivity MRMC, {name}, difference", "5 readers, 50", difference))
        checks.append(Check(f"sensitivity MRMC, {name}, one condition", "5 readers, 50", mean))
    for n in (25, 60):

        def share(rng: Rng, n: int = n) -> Drawn:
            rate = rng.uniform(0.5, 0.98)  # coverage of a count swings with the rate: its mean
            return proportion(int(rng.binomial(n, rate)), n), float(rate)

        checks.append(Check("share, Wilson", f"{n} cases, rate 0.5 to 0.98", share))
    for n in (30, 80):

        def change(rng: Rng, n: int = n) -> Drawn:
            hard = rng.random(n)
            first = rng.random(n) < 0.5 + 0.4 * (hard > 0.5)
            second = rng.random(n) < 0.7 + 0.2 * (hard > 0.5)
            return paired.rate_difference(second, first), 0.1

        checks.append(Check("paired difference, Newcombe", f"{n} cases", change))
    return checks


def draw_marks(rng: Rng, readers: int, n: int) -> tuple[afroc.Marks, float]:
    """Two conditions; half of the cases have 1 to 4 lesions. Truth: the difference of the areas."""
    ill = np.arange(n) < n // 2
    where = np.repeat(np.arange(n), np.where(ill, rng.integers(1, 5, n), 0))
    case = rng.normal(0, 0.6, n)
    false, hits, areas = [], [], []
    for shift, found, wrong in ((1.0, 0.7, 0.5), (1.4, 0.8, 0.45)):
        rated = rng.normal(size=(readers, n))
        false.append(np.where(rng.random((readers, n)) < wrong, rated, -np.inf))
        seen = shift + case[where] + rng.normal(0, 0.8, (readers, len(where)))
        hits.append(np.where(rng.random((readers, len(where))) < found, seen, -np.inf))
        above = found * wrong * norm.cdf(shift / math.sqrt(2)) + found * (1 - wrong)
        areas.append(above + (1 - found) * (1 - wrong) / 2)
    return afroc.Marks(np.array(false), np.array(hits), where), float(areas[1] - areas[0])


def _marks_checks() -> list[Check]:
    checks = []
    for false_from in ("normal", "all"):

        def difference(rng: Rng, false_from: str = false_from) -> Drawn:
            marks, truth = draw_marks(rng, 4, 60)
            found = afroc.compare_afroc(marks, false_from)
            return found.differences_random[0, 1].difference, truth

        name = f"weighted AFROC, false marks of {false_from}"
        checks.append(Check(name, "4 readers, 30+30 cases", difference))
    return checks


@dataclass(frozen=True)
class Advice:
    """Readers with a model at their side: cases differ in how hard they are."""

    readers: int = 4
    n: int = 80

    def draw(self, rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Unaided and aided answers (readers, n), the model's answers and the truth (n,)."""
        n = self.n
        shape = (self.readers, n)
        hard = rng.beta(2, 2, n)
        model = np.where(rng.random(n) < 0.8 - 0.3 * hard, 0, 1)
        unaided = np.where(rng.random(shape) < 0.8 - 0.5 * hard, 0, 2)
        follows = rng.random(shape) < 0.5
        return unaided, np.where(follows, model, unaided), model, np.zeros(n, int)


@cache
def _advice_truth(name: str) -> float:
    unaided, aided, model, truth = Advice(n=400_000).draw(np.random.default_rng(99))
    return getattr(reliance.reliance_of_all(unaided, aided, model, truth), name).value


def _reliance_checks() -> list[Check]:
    checks = []
    for name in reliance.NAMES:

        def one(rng: Rng, name: str = name) -> Drawn:
            unaided, aided, model, truth = Advice(n=60).draw(rng)
            found = reliance.reliance(unaided[0], aided[0], model, truth)
            return getattr(found, name), _advice_truth(name)

        def pooled(rng: Rng, name: str = name) -> Drawn:
            unaided, aided, model, truth = Advice().draw(rng)
            found = reliance.reliance_of_all(unaided, aided, model, truth)
            return getattr(found, name), _advice_truth(name)

        checks.append(Check(f"reliance, {name}, one reader", "60 cases", one))
        checks.append(Check(f"reliance, {name}, pooled", "4 readers, 80 cases", pooled))

    def explained(rng: Rng) -> Drawn:
        reader, case = rng.normal(0, 0.15, (5, 1)), rng.normal(0, 0.5, (1, 60))
        before = np.where(case + rng.normal(size=(5, 60)) > 0, 0, 1)
        after = np.where(case + 0.3 + reader + rng.normal(size=(5, 60)) > 0, 0, 1)
        truth = norm.cdf(0.3 / math.sqrt(1 + 0.25 + 0.15**2)) - 0.5
        effect = reliance.explanation_effect(before, after, np.zeros(60, int), np.zeros(60, int))
        return effect.random["cases"].difference, float(truth)

    checks.append(Check("explanation effect", "5 readers, 60 cases", explained))
    return checks


def _time_checks() -> list[Check]:
    def one(rng: Rng) -> Drawn:
        first = rng.lognormal(4, 0.6, 20)
        return decision_time.time_ratio(first, 0.8 * first * rng.lognormal(0, 0.4, 20)).ratio, 0.8

    def trend(rng: Rng) -> Drawn:
        order = np.arange(1, 26)
        seconds = np.exp(4 - 0.01 * order + rng.normal(0, 0.4, 25))
        return learning.time_trend(order, seconds).ratio, math.exp(-0.1)

    checks = [
        Check("time ratio, one reader", "20 cases", one),
        Check("time trend over 10 cases, one reader", "25 cases", trend),
    ]
    for readers, n in ((5, 40), (3, 20)):

        def many(rng: Rng, readers: int = readers, n: int = n) -> Drawn:
            first = rng.lognormal(4, 0.6, (readers, n))
            change = rng.normal(0, 0.15, (readers, 1)) + rng.normal(0, 0.2, (1, n))
            change = change + rng.normal(0, 0.4, (readers, n)) + math.log(0.8)
            return decision_time.time_ratio_of_all(first, first * np.exp(change)).ratio, 0.8

        checks.append(Check("time ratio, random readers", f"{readers} readers, {n} cases", many))
    return checks


def _end_checks() -> list[Check]:
    return [Check(*entry) for entry in simulated_studies.end_entries()]


def _missing_checks() -> list[Check]:
    return [Check(*entry) for entry in simulated_studies.missing_entries()]


def _standalone_checks() -> list[Check]:
    return [Check(*entry) for entry in simulated_studies.standalone_entries()]


def _published_checks() -> list[Check]:
    return [Check(*entry) for entry in simulated_studies.published_entries()]


def checks() -> list[Check]:
    """Every interval method of the reader study, in one or more settings."""
    return [
        *_agreement_checks(),
        *_measurement_checks(),
        *_auc_checks(),
        *_binary_checks(),
        *_marks_checks(),
        *_reliance_checks(),
        *_time_checks(),
        *_end_checks(),
        *_missing_checks(),
        *_standalone_checks(),
        *_published_checks(),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="parts of names, with commas between")
    asked = parser.parse_args()
    start = time.perf_counter()
    print(f"{'interval':<46} {'setting':<44} covered    width")
    outside = []
    for check in checks():
        if not any(part in check.name for part in asked.only.split(",")):
            continue
        row = cover(check, asked.runs, asked.seed)
        print(row.text(), flush=True)
        if not 0.93 <= round(row.share, 4) <= 0.97:
            outside.append(row)
    print(f"{asked.runs} runs each, {time.perf_counter() - start:.0f} s")
    print(f"outside 93-97 %: {len(outside)}")
    for row in outside:
        print(row.text() + ("  known" if _is_known(row) else ""))
    if not all(_is_known(row) for row in outside):
        raise SystemExit(1)


def _is_known(row: Row) -> bool:
    return (row.check.name, row.check.setting) in KNOWN


if __name__ == "__main__":
    main()
