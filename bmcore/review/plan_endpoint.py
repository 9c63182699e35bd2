"""The endpoints of a plan as fields; ``docs/study.md`` describes each key.

Plans locked before endpoints were fields name theirs in words. Such a plan stays valid, and its
hash stays what it was; ``Endpoint.choice`` says whether the words mean something that is computed.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from bmcore.domain import PRIMARIES
from bmcore.stats.endpoint_choice import AIMS, RANKED, Asked, cannot_compute
from bmcore.stats.endpoint_choice import Endpoint as Choice
from bmcore.stats.measures import MEASURES
from bmcore.stats.readings import MODELS

LOCKED = "locked"  # key of the validation context: the plan was locked before
LEAST_ALPHA = 0.0001  # below it an interval is that of the whole line in all digits that are shown
# The names of the statistics in their refusals, and those of the plan's keys.
_NAMES = (
    ("size_mm", "lesions_mm"), ("false_from", "false_marks"),
    ("name the category it is for", "name the primary it is for, under primary"),
    ("not for one category, but names", "not for one primary, but primary names"),
)  # fmt: skip
# What a measure is called on pages and in reports, where that is not its key.
MEASURE_WORDS = MappingProxyType(
    {
        "accuracy": "right answers",
        "agreement": "agreement between readers (Fleiss' kappa)",
        "false lesions": "false lesions per case",
        "lesion sensitivity": "lesions found",
    }
)
# The words of the example that plans were made from before endpoints were fields.
_WORDS = {
    "accuracy": "accuracy",
    "right answers": "accuracy",
    "accuracy of the most likely primary": "accuracy",
}
# Keys that came later: left out of the canonical text where they hold their default, so that the
# hash of a plan from before stays the same.
LATER: dict[str, Any] = {
    "primary": None,
    "direction": None,
    "aim": "superiority",
    "readers": "random",
    "lesions_mm": None,
    "false_marks": "all",
    "cannot_tell": "lowest",
}


class Endpoint(BaseModel):
    """What is compared between which two arms, and what is to be shown.

    measure: one of ``stats.measures.MEASURES``; compare: (control, new), one of which may be
    "models", the models alone; primary: of an AUC, sensitivity or specificity; lesions_mm: of a
    lesion sensitivity, diameters from and to below, None without a limit; false_marks: of wAFROC;
    cannot_tell: of AUC and macro AUC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    measure: Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00]+$")]
    compare: tuple[str, str]
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    margin: float | None = None
    primary: str | None = None
    direction: Literal["higher", "lower"] | None = None
    aim: str = "superiority"
    readers: Literal["random", "fixed"] = "random"
    lesions_mm: tuple[float | None, float | None] | None = None
    false_marks: Literal["all", "normal"] = "all"
    cannot_tell: str = "lowest"

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        if info.context and info.context.get(LOCKED):
            return self
        problems = []
        if self.measure not in MEASURES:
            problems.append(
                f"measure: {self.measure[:80]!r} is not computed; use one of {', '.join(MEASURES)}."
                " Which primary, aim and margin it has stands under keys of their own: primary, "
                "aim, margin"
            )
        if self.aim not in AIMS:
            problems.append(f"aim: {self.aim[:80]!r} is none of {', '.join(AIMS)}")
        if self.primary is not None and self.primary not in PRIMARIES:
            problems.append(
                f"primary: {self.primary[:80]!r} is none of {', '.join(map(str, PRIMARIES))}"
            )
        if self.compare[0] == self.compare[1]:
            problems.append("compare: name two different arms, the control first")
        if self.alpha < LEAST_ALPHA:
            problems.append(f"alpha: {self.alpha:g} is too small; expected {LEAST_ALPHA} or more")
        if self.measure == "false lesions" and self.lesions_mm not in (None, (None, None)):
            problems.append(
                "lesions_mm: a mark on no lesion has no diameter, so false lesions are counted "
                "whatever their size; leave it out"
            )
        if not problems:
            try:
                self._chosen()
            except ValueError as fault:
                problems = [_in_the_plans_words(line) for line in str(fault).split("; ")]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _chosen(self) -> Choice:
        low, high = self.lesions_mm or (None, None)
        return Choice(
            self.measure,
            self.compare,
            self.primary or "",
            self.direction or "",
            self.aim,  # type: ignore[arg-type]
            self.margin or 0.0,
            self.alpha,
            self.readers,
            (low or 0.0, math.inf if high is None else high),
            self.false_marks,
            self.cannot_tell,
        )

    @property
    def choice(self) -> Choice | None:
        """The endpoint that is computed; None where an old plan names it in words that mean
        nothing that could be computed. Keys that the measure does not read, which plans could hold
        once, count for nothing, so that no name tells of them."""
        if self.measure in MEASURES:
            unread = {key: LATER[key] for key in _unread(self.measure)}
            return self.model_copy(update=unread)._chosen()
        meant = _WORDS.get(" ".join(self.measure.lower().split()))
        if meant is None or self.margin:
            return None
        return Choice(meant, self.compare, alpha=self.alpha)

    @property
    def name(self) -> str:
        """For instance "sensitivity for melanoma"; an old plan's own words."""
        choice = self.choice
        return choice.name if choice is not None else self.measure


def _unread(measure: str) -> list[str]:
    """The keys that mean nothing for a measure."""
    of = {"lesions_mm": ("lesion sensitivity",), "false_marks": ("wAFROC",), "cannot_tell": RANKED}
    return [key for key, measures in of.items() if measure not in measures]


def _in_the_plans_words(line: str) -> str:
    for theirs, ours in _NAMES:
        line = line.replace(theirs, ours)
    return line


def canonical(endpoint: dict[str, Any]) -> dict[str, Any]:
    """The keys of a dumped endpoint that go into the hash."""
    return {k: v for k, v in endpoint.items() if k not in LATER or v != LATER[k]}


def asked(
    arms: tuple[str, ...],
    readers: int,
    lesions: tuple[str, ...],
    compare: tuple[str, str],
    rated: tuple[str, ...] = (),
) -> Asked:
    """What a study holds for an endpoint that compares two arms. lesions: the arms in which lesions
    are asked for; rated: those in which every lesion that counts carries a rating."""
    return Asked(
        arms,
        tuple(map(str, PRIMARIES)),
        readers,
        marks=all(arm in lesions for arm in compare if arm != MODELS),
        ratings=all(arm in rated for arm in compare if arm != MODELS),
        normal_cases=True,
    )


def problems(endpoint: Endpoint, study: Asked) -> tuple[str, ...]:
    """Why the study cannot give this endpoint, a sentence each."""
    choice = endpoint.choice
    return () if choice is None else cannot_compute(choice, study)
