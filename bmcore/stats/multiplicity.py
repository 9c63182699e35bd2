"""Several endpoints: which may be claimed, by Holm's procedure or in a fixed sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

RULES = ("holm", "fixed sequence")


@dataclass(frozen=True)
class Claim:
    """One endpoint: its ``p``, ``adjusted`` p (below alpha where ``claimed``), and the words."""

    name: str
    p: float
    adjusted: float
    claimed: bool
    words: str


def claims(
    names: Sequence[str], p_values: Sequence[float], rule: str, alpha: float = 0.05
) -> tuple[Claim, ...]:
    """The claims that keep the chance of any false one at or below ``alpha``, in the given order.

    "holm": Holm 1979 (Scand J Stat 6:65), step-down. "fixed sequence": each is tested at the full
    alpha as long as all before it were significant (Maurer, Hothorn and Lehmacher 1995). A p-value
    of NaN (no test) is not claimed and counts as 1. ValueError on an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, but is {rule!r}")
    if len(names) != len(p_values):
        raise ValueError(f"{len(names)} names need as many p-values, but there are {len(p_values)}")
    known = [1.0 if math.isnan(p) else p for p in p_values]
    adjusted = _holm(known) if rule == "holm" else _sequence(known)
    out = []
    for name, p, a in zip(names, p_values, adjusted, strict=True):
        claimed = a <= alpha
        if math.isnan(p):
            words = "not claimed: there is no test"
        elif claimed:
            words = f"claimed, {rule}, adjusted p = {a:.3g}"
        elif rule == "fixed sequence" and p <= alpha:
            words = "exploratory: an endpoint before it was not significant"
        else:
            words = f"not claimed, {rule}, adjusted p = {a:.3g}"
        out.append(Claim(name, p, a, claimed, words))
    return tuple(out)


def _holm(p_values: Sequence[float]) -> list[float]:
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def _sequence(p_values: Sequence[float]) -> list[float]:
    out, highest = [], 0.0
    for p in p_values:
        highest = max(highest, p)
        out.append(highest)
    return out
