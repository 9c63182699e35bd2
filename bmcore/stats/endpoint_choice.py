"""The endpoint of a reader study as a choice of fields, and what a study must hold to give it.

``endpoint.compute`` computes it. What cannot be is refused, in words, when the choice is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bmcore.stats.measures import MEASURES
from bmcore.stats.readings import CANNOT_TELL_RULES, MODELS

Aim = Literal["superiority", "non-inferiority", "equivalence"]
AIMS = ("superiority", "non-inferiority", "equivalence")
NEEDS_CLASS = ("AUC", "sensitivity", "specificity")
NEEDS_CATEGORIES = ("balanced accuracy", "macro AUC", "agreement")
ON_LESIONS = ("lesion sensitivity", "false lesions", "wAFROC")
LOWER_IS_BETTER = ("false lesions", "decision time")
BY_SIZE = ("lesion sensitivity", "false lesions")  # the only ones that read size_mm
RANKED = ("AUC", "macro AUC")  # the only ones in which "cannot tell" has a place
# What the models answer without a reader, too.
OF_MODELS = (
    "accuracy", "balanced accuracy", "AUC", "macro AUC", "sensitivity", "specificity",
    "lesion sensitivity", "false lesions",
)  # fmt: skip
SHARES = ("accuracy", "balanced accuracy", "sensitivity", "specificity", "lesion sensitivity")


@dataclass(frozen=True)
class Endpoint:
    """What is compared, and what is to be shown. ValueError, in words, on a choice that cannot be.

    measure: one of ``MEASURES``; arms: (control, new), one of which may be ``MODELS``: the models
    alone; category: for AUC, sensitivity and
    specificity; direction: "higher" or "lower" is better, "" for the measure's own; aim: one of
    ``AIMS``; margin: above 0 for non-inferiority and equivalence, in the unit of the measure; alpha
    two-sided; readers "random" (readers like these) or "fixed" (these very readers); size_mm: the
    lesions that count, from and to below, of ``BY_SIZE``; false_from: "normal" or "all" cases for
    wAFROC; cannot_tell: its place in a curve, of ``RANKED``.
    """

    measure: str
    arms: tuple[str, str]
    category: str = ""
    direction: str = ""
    aim: Aim = "superiority"
    margin: float = 0.0
    alpha: float = 0.05
    readers: str = "random"
    size_mm: tuple[float, float] = (0.0, math.inf)
    false_from: str = "all"
    cannot_tell: str = "lowest"

    def __post_init__(self) -> None:
        if wrong := _faults(self):
            raise ValueError("; ".join(wrong))

    @property
    def better(self) -> str:
        """ "higher" or "lower"."""
        return self.direction or ("lower" if self.measure in LOWER_IS_BETTER else "higher")

    @property
    def level(self) -> float:
        """Coverage of the interval that decides."""
        return 1 - self.alpha * (2 if self.aim == "equivalence" else 1)

    @property
    def name(self) -> str:
        """For instance "sensitivity for lung" or "lesion sensitivity, 5 mm to under 10 mm"."""
        low, high = self.size_mm
        size = f", {low:g} mm" + (f" to under {high:g} mm" if math.isfinite(high) else " or more")
        sized = self.measure in BY_SIZE and (low > 0 or math.isfinite(high))
        return self.measure + (f" for {self.category}" * bool(self.category)) + size * sized


@dataclass(frozen=True)
class Asked:
    """What a study asks and holds, for ``cannot_compute``: its ``arms``, ``categories`` and number
    of ``readers``; whether confidences, lesion marks with ratings, and times are recorded; whether
    normal cases (without lesions) are among its cases."""

    arms: tuple[str, ...]
    categories: tuple[str, ...]
    readers: int
    confidence: bool = True
    marks: bool = True
    ratings: bool = True
    times: bool = True
    normal_cases: bool = False


def cannot_compute(endpoint: Endpoint, asked: Asked) -> tuple[str, ...]:
    """Why this study cannot give this endpoint, a sentence each; empty where it can."""
    why = [
        f"the endpoint compares the arm {arm!r}, which the study does not have; its arms are "
        + ", ".join(asked.arms)
        for arm in endpoint.arms
        if arm not in (*asked.arms, MODELS)
    ]
    if endpoint.category and endpoint.category not in asked.categories:
        why.append(
            f"the endpoint is for {endpoint.category!r}, which is not among the answers; they are "
            + ", ".join(asked.categories)
        )
    if endpoint.measure in ("AUC", "macro AUC") and not asked.confidence:
        why.append(f"{endpoint.measure} needs confidences, which the readings do not ask for")
    if endpoint.measure in ON_LESIONS and not asked.marks:
        why.append(f"{endpoint.measure} needs lesion marks, which the readings do not ask for")
    if endpoint.measure == "wAFROC" and not asked.ratings:
        why.append("wAFROC needs a rating of each mark, which the readings do not ask for")
    if endpoint.measure == "wAFROC" and endpoint.false_from == "normal" and not asked.normal_cases:
        why.append("wAFROC with false marks of normal cases needs cases without a lesion")
    if endpoint.measure == "decision time" and not asked.times:
        why.append("decision time needs recorded times, which this study does not keep")
    if endpoint.readers == "random" and asked.readers < 2:
        why.append("random readers need two readers or more; name the readers as fixed")
    if endpoint.measure == "agreement" and asked.readers < 2:
        why.append("agreement needs two readers or more")
    return tuple(why)


def _faults(e: Endpoint) -> list[str]:
    wrong = []
    if e.measure not in MEASURES:
        wrong.append(f"measure must be one of {', '.join(MEASURES)}, but is {e.measure!r}")
    if len(e.arms) != 2 or e.arms[0] == e.arms[1]:
        wrong.append(f"arms must be two different ones (control, new), but are {e.arms}")
    if MODELS in e.arms and e.measure in MEASURES and e.measure not in OF_MODELS:
        wrong.append(
            f"{e.measure} is of readers only, and the models alone are compared in one of "
            + ", ".join(OF_MODELS)
        )
    if e.measure in NEEDS_CLASS and not e.category:
        wrong.append(f"{e.measure} must name the category it is for")
    if e.category and e.measure not in NEEDS_CLASS:
        wrong.append(f"{e.measure} is not for one category, but names {e.category!r}")
    if e.direction not in ("", "higher", "lower"):
        wrong.append(f"direction must be higher or lower, but is {e.direction!r}")
    if e.aim not in AIMS:
        wrong.append(f"aim must be one of {', '.join(AIMS)}, but is {e.aim!r}")
    elif e.aim == "superiority" and e.margin != 0:
        wrong.append(f"superiority has no margin, but {e.margin:g} is given")
    elif e.aim != "superiority" and not 0 < e.margin < math.inf:
        wrong.append(f"{e.aim} needs a margin above 0, but it is {e.margin:g}")
    if e.aim != "superiority" and e.margin >= 1 and e.measure != "false lesions":
        unit = "per cent" if e.measure == "decision time" else "points"
        wrong.append(f"the margin must be below 1 (5 {unit} are 0.05), but is {e.margin:g}")
    if not 0 < e.alpha < 0.25:
        wrong.append(
            f"alpha must lie above 0 and below 0.25 (5 per cent are 0.05), but is {e.alpha:g}"
        )
    if e.readers not in ("random", "fixed"):
        wrong.append(f"readers must be random or fixed, but are {e.readers!r}")
    if e.measure == "agreement" and e.readers == "random":
        wrong.append("agreement between readers is that of these very readers: choose fixed")
    if not 0 <= e.size_mm[0] < e.size_mm[1]:
        wrong.append(f"size_mm must run from a smaller to a larger diameter, but is {e.size_mm}")
    elif tuple(e.size_mm) != (0, math.inf) and e.measure in MEASURES and e.measure not in BY_SIZE:
        wrong.append(f"{e.measure} does not read size_mm, so it must be left out")
    if e.false_from not in ("normal", "all"):
        wrong.append(f"false_from must be normal or all, but is {e.false_from!r}")
    elif e.false_from != "all" and e.measure in MEASURES and e.measure != "wAFROC":
        wrong.append(f"{e.measure} does not read false_from, so it must be left out")
    if e.cannot_tell not in CANNOT_TELL_RULES:
        wrong.append(f"cannot_tell must be one of {', '.join(CANNOT_TELL_RULES)}")
    elif e.cannot_tell != "lowest" and e.measure in MEASURES and e.measure not in RANKED:
        wrong.append(f"{e.measure} does not read cannot_tell, so it must be left out")
    return wrong
