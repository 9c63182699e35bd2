"""Simulated reader studies with known truth: ends, few readers, missing reads, published presets.

Each entry is (name, setting, draw); ``draw`` simulates one study and gives the Estimate and the
truth. ``training.bench.coverage`` counts how often one holds the other. The presets take readers,
cases and effects from published studies of brain metastases; what their abstracts do not print
(the readers' and cases' spread) is assumed and stands in ``Preset.assumed``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from bmcore.stats import clustered, delong, incomplete, mixed, preference, segmentation
from bmcore.stats.bootstrap import Resampling
from bmcore.stats.endpoint import Finding, compute
from bmcore.stats.endpoint_choice import Endpoint
from bmcore.stats.estimate import Estimate, mean_of_shares, proportion
from bmcore.stats.readings import MODELS, Reading

Rng = np.random.Generator
Draw = Callable[[Rng], tuple[Estimate, float]]
Entry = tuple[str, str, Draw]
ARMS = ("unaided", "aided")


@dataclass(frozen=True)
class Spread:
    """Standard deviations on the probit scale: of readers, of a reader's change between the arms,
    of cases, and of the case's change; the rest of every answer has variance 1."""

    reader: float = 0.25
    reader_arm: float = 0.15
    case: float = 0.6
    case_arm: float = 0.2

    @property
    def total(self) -> float:
        parts = (self.reader, self.reader_arm, self.case, self.case_arm)
        return math.sqrt(1 + sum(x**2 for x in parts))

    def draw(self, rng: Rng, readers: int, cases: int) -> np.ndarray:
        """(2, readers, cases) of what readers and cases add, before the answer's own part."""
        reader = rng.normal(0, self.reader, (1, readers, 1))
        own = rng.normal(0, self.reader_arm, (2, readers, 1))
        case = rng.normal(0, self.case, (1, 1, cases))
        return reader + own + case + rng.normal(0, self.case_arm, (2, 1, cases))


@dataclass(frozen=True)
class Preset:
    """One published study: what it printed, its source, and what is assumed beside it."""

    name: str
    source: str
    assumed: str
    draw: Draw


# --- shares near 0 and 1 -------------------------------------------------------------------------


def end_entries() -> list[Entry]:
    entries: list[Entry] = []
    for rate in (0.02, 0.05, 0.95):
        # The coverage of a count of n swings with n and the share: a mean over near values.
        def plain(rng: Rng, rate: float = rate) -> tuple[Estimate, float]:
            n, share = int(rng.integers(20, 61)), float(rate + rng.uniform(-0.015, 0.015))
            return proportion(int(rng.binomial(n, share)), n), share

        entries.append(("share near the end, Wilson", f"20 to 60 cases, rate {rate:.2f}", plain))
    for rate in (0.05, 0.95):

        def lesions(rng: Rng, rate: float = rate) -> tuple[Estimate, float]:
            of = rng.integers(1, 7, 30)
            own = rng.beta(20 * rate, 20 * (1 - rate), 30)
            return clustered.ratio(rng.binomial(of, own), of, "share"), rate

        def readings(rng: Rng, rate: float = rate) -> tuple[Estimate, float]:
            own = rng.beta(20 * rate, 20 * (1 - rate), 40)
            hit = rng.random((4, 40)) < own
            return clustered.share(hit, np.ones((4, 40), bool), "share"), rate

        entries += [
            ("share of lesions, clustered", f"30 patients, rate {rate:.2f}", lesions),
            ("share of readings, clustered", f"4 readers, 40 cases, rate {rate:.2f}", readings),
        ]

    def area(rng: Rng) -> tuple[Estimate, float]:
        truth = np.arange(45) < 15
        return delong.auc(rng.normal(size=45) + 3 * truth, truth), float(norm.cdf(3 / math.sqrt(2)))

    def balanced(rng: Rng) -> tuple[Estimate, float]:
        rates, sizes = (0.98, 0.9, 0.8), (20, 12, 8)
        parts = [proportion(int(rng.binomial(n, r)), n) for r, n in zip(rates, sizes, strict=True)]
        return mean_of_shares(parts, "balanced accuracy"), float(np.mean(rates))

    def false(rng: Rng) -> tuple[Estimate, float]:
        found = segmentation.false_lesions_per_case(
            rng.poisson(0.3, 40), None, Resampling(resamples=400)
        )
        return found, 0.3

    entries += [
        ("AUC near 1", "15 positive, 30 negative, AUC .98", area),
        ("balanced accuracy near 1", "classes of 20, 12 and 8", balanced),
        ("false lesions a case", "40 cases, .3 a case", false),
    ]
    return entries


# --- few readers, missing reads ------------------------------------------------------------------


def right_answers(
    rng: Rng, readers: int, cases: int, rates: tuple[float, float], spread: Spread = Spread()
) -> tuple[np.ndarray, float]:
    """Right answers, bool (2, readers, cases), and the true difference of the shares."""
    limits = norm.ppf(rates) * spread.total
    score = spread.draw(rng, readers, cases) + rng.normal(size=(2, readers, cases))
    return score < limits[:, None, None], rates[1] - rates[0]


def as_readings(right: np.ndarray, read: np.ndarray | None = None) -> list[Reading]:
    """Two classes by turns; read: bool (2, readers, cases), what was read, everything if None."""
    rows = []
    for t, j, i in np.ndindex(*right.shape):
        if read is None or read[t, j, i]:
            truth, other = ("lung", "breast") if i % 2 else ("breast", "lung")
            answer = truth if right[t, j, i] else other
            rows.append(Reading(f"R{j}", f"{i:03d}", ARMS[t], truth, answer))
    return rows


def missing(rng: Rng, readers: int, cases: int, how: str) -> np.ndarray:
    """What was read, bool (2, readers, cases): "scattered" a fifth missing; "drop-out" the last
    reader stopped after a tenth; "split-plot" two halves of readers with a half of cases each."""
    read = np.ones((2, readers, cases), bool)
    if how == "scattered":
        return rng.random(read.shape) >= 0.2
    if how == "drop-out":
        read[:, -1, cases // 10 :] = False
        return read
    half = cases // 2
    read[:, : readers // 2, half:] = read[:, readers // 2 :, :half] = False
    return read


def missing_entries() -> list[Entry]:
    entries: list[Entry] = []
    accuracy = Endpoint("accuracy", ARMS)
    for readers in (2, 3, 5):

        def few(rng: Rng, readers: int = readers) -> tuple[Estimate, float]:
            right, truth = right_answers(rng, readers, 60, (0.6, 0.72))
            return compute(accuracy, as_readings(right)).difference, truth

        entries.append(("endpoint accuracy", f"{readers} readers, 60 cases, complete", few))
    for how, readers in (("scattered", 5), ("drop-out", 5), ("split-plot", 8)):
        setting = f"{readers} readers, 60 cases, {how}"

        def holes(rng: Rng, how: str = how, readers: int = readers) -> tuple[Estimate, float]:
            right, truth = right_answers(rng, readers, 60, (0.6, 0.72))
            rows = as_readings(right, missing(rng, readers, 60, how))
            return compute(accuracy, rows).difference, truth

        def unbiased(rng: Rng, how: str = how, readers: int = readers) -> tuple[Estimate, float]:
            right, truth = right_answers(rng, readers, 60, (0.6, 0.72))
            table = np.where(missing(rng, readers, 60, how), right, np.nan)
            return incomplete.compare_shares(table).differences[0, 1].difference, truth

        entries += [
            ("endpoint accuracy", setting, holes),
            ("U-statistics, incomplete, accuracy", setting, unbiased),
        ]

    def fitted(rng: Rng) -> tuple[Estimate, float]:
        right, truth = right_answers(rng, 5, 30, (0.6, 0.72))
        kept = np.argwhere(missing(rng, 5, 30, "scattered")).tolist()
        return (
            mixed.compare_arms(
                [float(right[t, j, i]) for t, j, i in kept],
                [f"R{j}" for _, j, _ in kept],
                [f"C{i}" for _, _, i in kept],
                [ARMS[t] for t, _, _ in kept],
                ARMS,
            ).difference,
            truth,
        )

    entries.append(("mixed model, accuracy", "5 readers, 30 cases, scattered", fitted))
    return entries


# --- readers against the models alone ------------------------------------------------------------


def standalone_entries() -> list[Entry]:
    entries: list[Entry] = []
    for readers in (3, 6):

        def against(rng: Rng, readers: int = readers) -> tuple[Estimate, float]:
            found, truth = standalone_study(rng, readers, 60, (0.72, 0.6))
            return found.difference, truth

        entries.append(
            ("readers less the models, accuracy", f"{readers} readers, 60 cases", against)
        )
    return entries


def standalone_study(
    rng: Rng, readers: int, cases: int, rates: tuple[float, float], spread: Spread = Spread()
) -> tuple[Finding, float]:
    """Right answers of the models and of unaided readers on the same cases; rates: (models,
    readers). The models share what is hard about a case, and have no reader's part."""
    alone = math.sqrt(1 + spread.case**2)
    among = math.sqrt(alone**2 + spread.reader**2)
    hard = rng.normal(0, spread.case, cases)
    own = rng.normal(0, spread.reader, (readers, 1))
    right = rng.normal(size=(readers, cases)) + hard + own < norm.ppf(rates[1]) * among
    models = rng.normal(size=cases) + hard < norm.ppf(rates[0]) * alone
    said = {True: "lung", False: "breast"}
    rows = [
        Reading(f"R{j}", f"{i:03d}", ARMS[0], "lung", said[bool(right[j, i])])
        for j, i in np.ndindex(*right.shape)
    ]
    rows += [
        Reading(MODELS, f"{i:03d}", MODELS, "lung", said[bool(ok)]) for i, ok in enumerate(models)
    ]
    return compute(Endpoint("accuracy", (MODELS, ARMS[0])), rows), rates[1] - rates[0]


# --- presets from published studies --------------------------------------------------------------


def lesion_study(
    rng: Rng, readers: int, cases: int, per_case: float, rates: tuple[float, float]
) -> Finding:
    """Lesion sensitivity: ``per_case`` lesions a case in the mean (a geometric number, 1 or more);
    readers, and cases, differ."""
    spread = Spread(case=0.4)
    limits = norm.ppf(rates) * spread.total
    counts = rng.geometric(1 / per_case, cases)
    base = spread.draw(rng, readers, cases)
    rows = []
    for t, j, i in itertools.product(range(2), range(readers), range(cases)):
        seen = base[t, j, i] + rng.normal(size=counts[i]) < limits[t]
        marks = tuple(80.0 if s else -math.inf for s in seen)
        rows.append(
            Reading(f"R{j}", f"{i:03d}", ARMS[t], lesions_mm=(5.0,) * int(counts[i]), marks=marks)
        )
    return compute(Endpoint("lesion sensitivity", ARMS), rows)


def time_study(rng: Rng, readers: int, cases: int, ratio: float) -> Finding:
    """Decision times, log-normal with standard deviation .5 within a reader; readers gain unlike
    amounts of time (standard deviation .1 on the logarithm)."""
    case = rng.normal(0, 0.3, cases)
    reader, gain = rng.normal(0, 0.3, readers), rng.normal(math.log(ratio), 0.1, readers)
    rows = [
        Reading(f"R{j}", f"{i:03d}", ARMS[t],
                seconds=float(np.exp(4.5 + reader[j] + case[i] + t * gain[j] + rng.normal(0, 0.5))))
        for t, j, i in itertools.product(range(2), range(readers), range(cases))
    ]  # fmt: skip
    return compute(Endpoint("decision time", ARMS), rows)


def auc_study(
    rng: Rng, readers: int, cases: int, share: float, areas: tuple[float, float]
) -> Finding:
    """AUC of confidences for one primary that is the truth in ``share`` of the cases."""
    truth = np.arange(cases) < round(share * cases)
    reader_var, arm_var = 0.03, 0.03
    shift = norm.ppf(areas) * math.sqrt(2 * (1 + reader_var + arm_var))
    case = rng.normal(0, math.sqrt(0.3), (1, 1, cases)) + rng.normal(
        0, math.sqrt(0.3), (2, 1, cases)
    )
    score = case + rng.normal(0, math.sqrt(0.2), (1, readers, cases))
    score = score + rng.normal(0, math.sqrt(0.2), (2, readers, cases))
    for kind in (True, False):
        own = rng.normal(0, math.sqrt(reader_var), (1, readers, 1))
        own = own + rng.normal(0, math.sqrt(arm_var), (2, readers, 1))
        score = np.where(truth == kind, score + own, score)
    score = score + shift[:, None, None] * truth
    # A monotone change of scale: the area is that of the scores.
    sure = 100 * norm.cdf(score / 2)
    rows = [
        Reading(f"R{j}", f"{i:03d}", ARMS[t], "melanoma" if truth[i] else "lung", "melanoma",
                float(sure[t, j, i]))
        for t, j, i in np.ndindex(*score.shape)
    ]  # fmt: skip
    return compute(Endpoint("AUC", ARMS, "melanoma"), rows)


def preference_study(rng: Rng, readers: int, cases: int, chance: float) -> Estimate:
    """Blinded choices between the model's and the expert's mask in random sides; every case has
    its own log odds (standard deviation .5), and readers lean to the left by .2."""
    better = math.log(chance / (1 - chance))
    case = rng.normal(0, 0.5, cases)
    choices = []
    for j, i in itertools.product(range(readers), range(cases)):
        first = rng.random() < 0.5
        odds = (1 if first else -1) * (better + case[i]) + 0.2
        left = rng.random() < 1 / (1 + math.exp(-odds))
        names = ("model", "expert") if first else ("expert", "model")
        choices.append(preference.Choice(f"R{j}", f"C{i}", *names, "left" if left else "right"))
    return preference.fit(choices).preferred["expert", "model"]


def _marginal_chance(chance: float, case: float = 0.5, side: float = 0.2) -> float:
    """What the mean log odds over cases of ``preference_study`` come to, as a chance of "expert":
    the model without case effects estimates the log odds of the mean chance."""
    better = math.log(chance / (1 - chance))
    x, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()

    def mean(sign: float) -> float:
        return float((w / (1 + np.exp(-(sign * (better + case * x) + side)))).sum())

    left_model, left_expert = mean(1), mean(-1)
    log_odds = (
        math.log(left_model / (1 - left_model)) - math.log(left_expert / (1 - left_expert))
    ) / 2
    return 1 / (1 + math.exp(log_odds))


PRESETS: tuple[Preset, ...] = (
    Preset(
        "Yin 2022, lesion sensitivity .745 to .94",
        "Yin et al. 2022, Neuro Oncol 24:1559: 6 readers, 148 patients with 1,066 metastases; each "
        "reader .685 to .804 alone and .927 to .950 with the model",
        "the middle of each range as the truth; a geometric number of lesions; 80 of the patients, "
        "for speed; spread of readers and cases",
        lambda rng: (lesion_study(rng, 6, 80, 7.2, (0.745, 0.94)).difference, 0.195),
    ),
    Preset(
        "Hua 2025, reading time x .69",
        "Hua et al. 2025, Acad Radiol, a multicentre model-assisted study: 10 readers, 423 "
        "patients, reading time down by 30.87 %",
        "log-normal times; 80 of the patients, for speed; spread of readers and cases",
        lambda rng: (time_study(rng, 10, 80, 0.6913).difference, 0.6913),
    ),
    Preset(
        "Lu 2021, lesion sensitivity .826 to .913",
        "Lu et al. 2021, Neuro Oncol 23:1560: 9 medical professionals, three of them set the "
        "reference, 10 cases of brain tumours; sensitivity .826 alone, .913 with the model",
        "6 readers; 3 lesions a case in the mean; spread of readers and cases",
        lambda rng: (lesion_study(rng, 6, 10, 3.0, (0.826, 0.913)).difference, 0.087),
    ),
    Preset(
        "Kniep 2019, AUC for melanoma",
        "Kniep et al. 2019, Radiology 290:479 (doi 10.1148/radiol.2018180946): 189 patients, 658 "
        "metastases, 89 of them of melanoma",
        "both areas, .65 without the model and .82 with it; 5 readers, 100 patients; the structure "
        "HH of Roe and Metz 1997",
        lambda rng: (auc_study(rng, 5, 100, 0.2, (0.65, 0.82)).difference, 0.17),
    ),
    Preset(
        "Han 2026, the model's contours preferred, .84",
        "Han et al. 2026, Med Phys (doi 10.1002/mp.70538): blinded preference in 20 patients, the "
        "model's contours chosen in 81 to 87 % of comparisons",
        "three readers, two lesions a patient taken as 40 cases; sides lean by .2",
        lambda rng: (preference_study(rng, 3, 40, 0.84), _marginal_chance(0.84)),
    ),
)


def published_entries() -> list[Entry]:
    return [(p.name, "as published", p.draw) for p in PRESETS]
