"""Blinded preference: two candidates side by side, which one is better, or are they alike?

Bradley and Terry's model with ties and an effect of the side (Davidson 1970, J Am Stat Assoc
65:317; Davidson and Beaver 1977, Biometrics 33:693): the log odds of left over right are the
difference of two abilities plus the side's effect. The choices of one case, and those of one
reader, hang together, so the variance is clustered on both (Cameron, Gelbach and Miller 2011, J Bus
Econ Stat 29:238), with Student's t for the smaller number of clusters less one.

Where the choices are separated the likelihood has no maximum, and where candidate and side went
together it has many (Albert and Anderson 1984, Biometrika 71:1): ``fit`` looks for the directions
in which it never falls, by linear programming, and gives no log odds along them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from bmcore.stats.clustered import by_patient
from bmcore.stats.comparison import Comparison, compare, no_comparison
from bmcore.stats.estimate import Estimate, undefined

Floats = npt.NDArray[np.float64]
ANSWERS = ("left", "right", "tie")
_ENDLESS = "not finite: these choices set no limit to it"
_OPEN = "these choices do not tell the candidate from the side"


@dataclass(frozen=True)
class Choice:
    """What ``reader`` said of ``case``: ``answer`` "left", "right" or "tie" between two names."""

    reader: str
    case: str
    left: str
    right: str
    answer: str

    def __post_init__(self) -> None:
        if self.answer not in ANSWERS:
            raise ValueError(f"answer must be left, right or tie, but is {self.answer!r}")
        if self.left == self.right:
            raise ValueError(f"case {self.case}: {self.left!r} cannot be compared with itself")


@dataclass(frozen=True, eq=False)
class Preference:
    """``abilities``: log odds of each candidate against the first (whose own is 0). ``preferred``:
    for each two (a, b) the chance that a is preferred to b where one of them is, sides and readers
    apart, with the p-value against 0.5 in ``p``, NaN without a test. ``side``: the chance of left
    between equals; ``ties``: the share of ties; ``left_by_reader``: each reader's share of left."""

    candidates: tuple[str, ...]
    abilities: dict[str, Comparison]
    preferred: dict[tuple[str, str], Estimate]
    p: dict[tuple[str, str], float]
    side: Estimate
    ties: Estimate
    left_by_reader: dict[str, Estimate]


def fit(choices: Sequence[Choice], level: float = 0.95) -> Preference:
    """Abilities, preferences and side effect of all ``choices``.

    ValueError: no choice, or candidates that no chain of comparisons joins. Where a log odds has no
    finite estimate (one candidate always wins, the side always decides) or many (candidate and side
    went together) the abilities are not defined: ``preferred`` is then the plain share with
    Wilson's interval on cases, without a p-value, ``side`` is not defined, and the methods say so.
    """
    if not choices:
        raise ValueError("there is no choice to analyse")
    names = tuple(sorted({c for x in choices for c in (x.left, x.right)}))
    _check_joined(names, choices)
    design = _design(names, choices)
    answer = np.array([ANSWERS.index(c.answer) for c in choices])
    tied = bool((answer == 2).any())
    beta = _fitted(design, answer, tied)
    covariance, df = _clustered(design, answer, beta, tied, choices)
    margins = _margins(design, answer, tied)
    n, k = len({c.case for c in choices}), len(names)
    told = (
        f"Bradley-Terry with side{' and ties' if tied else ''}, {len(choices)} choices, {n} cases"
    )
    contrasts = np.eye(k)[:, 1:]
    abilities, preferred, p = {}, {}, {}

    def tested(direction: Floats, name: str) -> Comparison:
        why = _without_end(margins, direction)
        if why:
            return no_comparison(n, f"{name}; not defined: {why}")
        value = float(direction @ beta[: len(direction)])
        part = covariance[: len(direction), : len(direction)]
        variance = float(direction @ part @ direction)
        return compare(value, variance, n, name, df=df, level=level)

    rows = np.column_stack([contrasts, np.zeros(k)])
    for i, a in enumerate(names):
        abilities[a] = tested(rows[i] - rows[0], f"log odds against {names[0]}; {told}")
        for j in range(i + 1, k):
            one = tested(rows[i] - rows[j], f"chance that {a} is preferred to {names[j]}; {told}")
            preferred[a, names[j]] = (
                _as_chance(one.difference)
                if one.difference.defined
                else _plain(choices, a, names[j], level)
            )
            p[a, names[j]] = one.p
    side = tested(np.eye(k)[k - 1], f"chance of left between equals; {told}")
    lefts = [c for c in choices if c.answer != "tie"]
    ties = by_patient(answer == 2, [c.case for c in choices], "share of ties", level)
    return Preference(
        names, abilities, preferred, p, _as_chance(side.difference), ties,
        {r: _left_of(r, lefts, level) for r in sorted({c.reader for c in choices})},
    )  # fmt: skip


def _design(names: Sequence[str], choices: Sequence[Choice]) -> Floats:
    """(choices, candidates): +1 left, -1 right without the first candidate; last the side."""
    out = np.zeros((len(choices), len(names)))
    for row, c in zip(out, choices, strict=True):
        for name, sign in ((c.left, 1.0), (c.right, -1.0)):
            at = names.index(name)
            if at:
                row[at - 1] = sign
        row[-1] = 1.0
    return out


def _chances(design: Floats, beta: Floats, tied: bool) -> Floats:
    """(choices, 3) chances of left, right, tie."""
    half = design @ beta[: design.shape[1]] / 2
    tie = np.full(len(half), beta[-1] if tied else -np.inf)
    score = np.column_stack([half, -half, tie])
    score = np.exp(score - score.max(axis=1, keepdims=True))
    chances: npt.NDArray[np.float64] = score / score.sum(axis=1, keepdims=True)
    return chances


def _slopes(design: Floats, answer: npt.NDArray[np.intp], beta: Floats, tied: bool) -> Floats:
    """(choices, parameters): each choice's part of the slope of the log-likelihood."""
    missing = np.eye(3)[answer] - _chances(design, beta, tied)
    parts = design * ((missing[:, 0] - missing[:, 1]) / 2)[:, None]
    return np.column_stack([parts, missing[:, 2]]) if tied else parts


def _fitted(design: Floats, answer: npt.NDArray[np.intp], tied: bool) -> Floats:
    rows = np.arange(len(answer))

    def minus_log_likelihood(beta: Floats) -> tuple[float, Floats]:
        chance = _chances(design, beta, tied)[rows, answer]
        loss = -float(np.log(np.maximum(chance, 1e-300)).sum())
        return loss, -_slopes(design, answer, beta, tied).sum(axis=0)

    size = design.shape[1] + tied
    found = optimize.minimize(
        minus_log_likelihood, np.zeros(size), jac=True, method="BFGS", options={"gtol": 1e-9}
    )
    return np.asarray(found.x)


def _margins(design: Floats, answer: npt.NDArray[np.intp], tied: bool) -> Floats:
    """(rows, parameters): how far each choice's score lies above those of its other answers, a row
    an other answer; each different row once."""
    half = np.column_stack([design / 2, np.zeros(len(design))]) if tied else design / 2
    tie = np.zeros_like(half)
    tie[:, -1] = 1.0
    scores = np.stack([half, -half, tie] if tied else [half, -half])
    own = scores[answer, np.arange(len(answer))]
    return np.unique((own - scores).reshape(-1, half.shape[1]), axis=0)


def _without_end(margins: Floats, direction: Floats) -> str:
    """Why the log odds ``direction`` has no one finite estimate; "" where it has.

    Along what keeps every margin at 0 or above the likelihood never falls: the log odds is finite
    where nothing of that kind moves it, and open where it can go both ways.
    """
    aim = np.zeros(margins.shape[1])
    aim[: len(direction)] = direction
    ways = [
        optimize.linprog(-sign * aim, -margins, np.zeros(len(margins)), bounds=(-1, 1)).fun < -1e-6
        for sign in (1.0, -1.0)
    ]
    return _OPEN if all(ways) else _ENDLESS if any(ways) else ""


def _information(design: Floats, beta: Floats, tied: bool) -> Floats:
    chance = _chances(design, beta, tied)
    lean = chance[:, 0] - chance[:, 1]
    decided = chance[:, 0] + chance[:, 1]
    top = design.T @ (design * ((decided - lean**2) / 4)[:, None])
    if not tied:
        return np.asarray(top)
    across = design.T @ (-lean * chance[:, 2] / 2)
    corner = np.array([[float((chance[:, 2] * (1 - chance[:, 2])).sum())]])
    return np.block([[top, across[:, None]], [across[None], corner]])


def _clustered(
    design: Floats,
    answer: npt.NDArray[np.intp],
    beta: Floats,
    tied: bool,
    choices: Sequence[Choice],
) -> tuple[Floats, float]:
    """Covariance clustered on cases and readers, and the degrees of freedom."""
    bread = np.linalg.pinv(_information(design, beta, tied))
    slopes = _slopes(design, answer, beta, tied)
    cases, readers = [c.case for c in choices], [c.reader for c in choices]
    by_case, n_cases = _meat(slopes, cases)
    df = max(n_cases - 1, 1)
    filling = by_case
    if len(set(readers)) > 1:
        by_reader, n_readers = _meat(slopes, readers)
        both, _ = _meat(slopes, list(zip(cases, readers, strict=True)))
        two_way = by_case + by_reader - both
        # Not positive where readers and cases add nothing to each other: then cases alone.
        if np.linalg.eigvalsh(two_way).min() > 0:
            filling, df = two_way, max(min(n_cases, n_readers) - 1, 1)
    return bread @ filling @ bread, float(df)


def _meat(slopes: Floats, labels: Sequence[object]) -> tuple[Floats, int]:
    at = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    sums = np.zeros((len(at), slopes.shape[1]))
    np.add.at(sums, [at[x] for x in labels], slopes)
    g = len(at)
    return sums.T @ sums * (g / (g - 1) if g > 1 else 1.0), g


def _as_chance(found: Estimate) -> Estimate:
    value, low, high = special.expit((found.value, found.low, found.high))
    return Estimate(value, low, high, found.n, found.method)


def _plain(choices: Sequence[Choice], a: str, b: str, level: float) -> Estimate:
    """Share of the decided choices between a and b that went to a, clustered on cases."""
    own = [c for c in choices if {c.left, c.right} == {a, b} and c.answer != "tie"]
    won = [(c.left if c.answer == "left" else c.right) == a for c in own]
    name = f"share of choices for {a} against {b}, since their log odds are not defined"
    if not own:
        return undefined(0, f"{name}; not defined: neither was preferred in any comparison")
    return by_patient(won, [c.case for c in own], name, level)


def _left_of(reader: str, decided: Sequence[Choice], level: float) -> Estimate:
    own = [c for c in decided if c.reader == reader]
    found = by_patient(
        [c.answer == "left" for c in own], [c.case for c in own], "share of left", level
    )
    return replace(found, method=f"{found.method}; far from 0.5, the reader favours a side")


def _check_joined(names: Sequence[str], choices: Sequence[Choice]) -> None:
    reached = {names[0]}
    for _ in names:
        for c in choices:
            if {c.left, c.right} & reached:
                reached |= {c.left, c.right}
    if len(reached) < len(names):
        apart = ", ".join(sorted(set(names) - reached))
        raise ValueError(
            f"no chain of comparisons joins {names[0]} with {apart}; compare or drop them"
        )
