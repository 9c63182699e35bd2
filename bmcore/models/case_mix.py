"""The same evidence among other patients: probabilities for another case mix, and balanced.

A probability answers for how common each primary was among the training patients. Where it is
known how common they are at a site, Bayes' rule exchanges the one for the other: each probability
is multiplied by (share at the site / share in training) and the row is scaled to 1 (Saerens,
Latinne and Decaestecker, Neural Computation 2002, 14:21-41, equation 2.4). This holds where a
primary looks the same at both places and only its frequency differs.

The balanced decision takes the primary whose likelihood ratio is largest, that is the likeliest if
all primaries were equally common: it finds rare primaries more often and is wrong more often on the
whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, Primary, refuse

Array = npt.NDArray[np.float64]
ONE_KIND = "all patients, all shares of 1, or all percentages, which add up to 100"
LEAST = 0.001  # share that no primary goes below: nothing is ruled out by a case mix


@dataclass(frozen=True)
class CaseMix:
    """Shares of the six primaries in the order of PRIMARIES; they sum to 1, none is below LEAST."""

    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        s = np.asarray(self.shares, float)
        if s.shape != (len(PRIMARIES),) or not np.isfinite(s).all() or (s < LEAST / 2).any():
            raise ValueError(f"shares must be six numbers of {LEAST} or more: {self.shares}")
        if abs(s.sum() - 1) > 1e-6:
            raise ValueError(f"shares must sum to 1, but sum to {s.sum():.4f}")

    @property
    def words(self) -> str:
        """For instance "Breast 13%, Gastrointestinal 7%, …"."""
        parts = zip(PRIMARIES, self.shares, strict=True)
        return ", ".join(f"{PRIMARY_NAMES[p]} {share:.0%}" for p, share in parts)


EVEN = CaseMix((1 / len(PRIMARIES),) * len(PRIMARIES))


def from_counts(counts: Mapping[str, float]) -> CaseMix:
    """Shares from numbers of patients, primary -> number; one not named counts 0.

    Shares of 1 and percentages do as well. Nobody's share is below ``LEAST``. ValueError for
    unknown primaries, numbers below 0 or beyond counting, or no patient at all.
    """
    unknown = set(counts) - {str(p) for p in PRIMARIES}
    values = np.array([float(counts.get(str(p), 0)) for p in PRIMARIES])
    total = sum(values.tolist())
    if unknown or not 0 < total < math.inf or (values < 0).any():
        raise ValueError(
            "a number of patients, or a share, of each primary is needed, none below 0; the names "
            f"are {', '.join(PRIMARIES)}; found {dict(counts)}"
        )
    shares = np.maximum(values / values.sum(), LEAST)
    return CaseMix(tuple(float(s) for s in shares / shares.sum()))


def of_two_kinds(counts: Mapping[str, float]) -> bool:
    """True where one number lies between 0 and 1 and another above 1, unless they are percentages
    (100 together)."""
    values = np.array([float(n) for n in counts.values()])
    mixed = ((values > 0) & (values < 1)).any() and (values > 1).any()
    return bool(mixed) and abs(float(values.sum()) - 100) > 1


def parse(text: str) -> CaseMix | None:
    """The case mix of a setting such as "breast=30, nsclc=90, melanoma=40"; None where it is empty.

    Numbers are all patients, all percentages (with the sign or without) or all shares: they are
    scaled to 1. InputRefused otherwise, and where only some have a sign or they exceed 100 %.
    """
    counts = counts_of(text)
    return None if counts is None else from_counts(counts)


def counts_of(text: str) -> dict[str, float] | None:
    """The numbers themselves, by primary, as ``parse`` reads them."""
    if not text.strip():
        return None
    counts: dict[str, float] = {}
    entries = text.split(",")
    signs = sum("%" in entry for entry in entries)
    try:
        for entry in entries:
            name, _, number = entry.partition("=")
            if name.strip().lower() in counts:
                raise ValueError("a primary is named twice")
            counts[name.strip().lower()] = float(number.strip().removesuffix("%"))
        from_counts(counts)
        # whole percentages of six primaries may exceed 100 by 3 from rounding
        if signs and (signs < len(entries) or sum(counts.values()) > 103):
            raise ValueError("a sign behind some numbers only, or more than 100 %")
        if of_two_kinds(counts):
            raise ValueError("shares beside numbers of patients")
        return counts
    except ValueError:
        raise refuse(
            "the shares of the primaries cannot be read",
            found=text[:200],
            expected="for instance 'breast=30, gi=12, sclc=15, melanoma=40, nsclc=90, rcc=14'; "
            f"the names are {', '.join(PRIMARIES)}",
            hint=f"let the numbers be {ONE_KIND}; write % behind each of them or behind none.",
        ) from None


def exchange(probabilities: npt.ArrayLike, learnt: CaseMix, wanted: CaseMix) -> Array:
    """Probabilities (6,) or (n, 6) that answered for the case mix ``learnt``, for ``wanted``."""
    p = np.asarray(probabilities, float)
    weighed = p * (np.array(wanted.shares) / np.array(learnt.shares))
    return weighed / weighed.sum(axis=-1, keepdims=True)


def balanced(probabilities: npt.ArrayLike, learnt: CaseMix) -> npt.NDArray[np.int64]:
    """Position in PRIMARIES of the largest likelihood ratio: a number, or (n,) for (n, 6)."""
    return np.asarray(exchange(probabilities, learnt, EVEN).argmax(axis=-1), dtype=np.int64)


def balanced_primary(probabilities: npt.ArrayLike, learnt: CaseMix) -> Primary:
    """The balanced decision for one row (6,)."""
    return PRIMARIES[int(balanced(probabilities, learnt))]
