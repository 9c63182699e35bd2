"""The questions of a plan as fields; ``docs/study.md`` describes each kind and its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from bmcore.review import names
from bmcore.review import plan_findings as allowed
from bmcore.review.plan_endpoint import LOCKED

Arm = Literal["unaided", "aided", "aided_explained"]
ARMS: tuple[Arm, ...] = ("unaided", "aided", "aided_explained")
Kind = Literal[
    "primary", "differential", "lesions", "marks", "quality", "explanation", "text",
    "choice", "choices", "number", "scale", "mask",
]  # fmt: skip
# Kinds of which a plan may have several, each a question of its own in the results.
FREE: tuple[Kind, ...] = ("choice", "choices", "number", "scale", "text", "mask")
# What has to be on the screen before a question makes sense.
SHOWN_IN: dict[str, tuple[Arm, ...]] = {
    "lesions": ("aided", "aided_explained"),
    "quality": ("aided", "aided_explained"),
    "mask": ("aided", "aided_explained"),
    "explanation": ("aided_explained",),
}
# Keys that came later: left out of the canonical text where they hold their default, so that the
# hash of a plan from before stays the same.
LATER: dict[str, Any] = {
    "options": None,
    "limits": None,
    "decimals": 0,
    "unit": "",
    "ends": None,
    "rated": False,
}
# Which of them belong to which kind.
_KEYS: dict[str, tuple[str, ...]] = {
    "choice": ("options",),
    "choices": ("options",),
    "number": ("limits", "decimals", "unit"),
    "scale": ("limits", "ends"),
    "marks": ("rated",),
}
_NEEDED = {"choice": "options", "choices": "options", "number": "limits", "scale": "limits"}
LARGEST = 1_000_000.0
LONGEST_SCALE = 101  # steps
_Id = Annotated[str, Field(pattern=allowed.ID)]
_Text = Annotated[str, Field(min_length=1, max_length=4000, pattern=allowed.TEXT)]
_Words = Annotated[str, Field(min_length=1, max_length=200, pattern=allowed.LINE)]
_Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


class Question(BaseModel):
    """arms: where it is asked; all arms of the design if left out.

    options: of a choice, in the order of the screen; limits: lowest and highest number, or ends of
    a scale; decimals: digits behind the point of a number; ends: what the ends of a scale mean;
    rated: each mark carries a rating from 0 to 100.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    id: _Id
    kind: Kind
    text: _Text
    required: bool = True
    arms: tuple[Arm, ...] | None = None
    options: Annotated[tuple[_Words, ...], Field(min_length=2, max_length=50)] | None = None
    limits: tuple[_Number, _Number] | None = None
    decimals: Annotated[int, Field(ge=0, le=3)] = 0
    unit: Annotated[str, Field(max_length=20, pattern=allowed.UNIT)] = ""
    ends: tuple[_Words, _Words] | None = None
    rated: bool = False

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        faults = [*self._foreign_keys(), *self._limits_problems(), *self._options_problems()]
        if self.arms is not None and len(set(self.arms)) != max(1, len(self.arms)):
            faults.append("arms: name each arm once, or leave the key out for all arms")
        if info.context and info.context.get(LOCKED):
            return self
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _foreign_keys(self) -> Iterator[str]:
        allowed = _KEYS.get(self.kind, ())
        for key, usual in LATER.items():
            if getattr(self, key) != usual and key not in allowed:
                yield f"{key}: a question of kind {self.kind} has no {key}"
        needed = _NEEDED.get(self.kind)
        if needed and getattr(self, needed) is None:
            yield f"{needed}: a question of kind {self.kind} needs {needed}"

    def _limits_problems(self) -> Iterator[str]:
        if self.limits is None:
            return
        low, high = self.limits
        if not low < high:
            yield f"limits: the second must be above the first, but they are {low:g} and {high:g}"
        if any(round(x, self.decimals) != x for x in self.limits):
            words = "whole numbers" if not self.decimals else f"{self.decimals} digits behind it"
            yield f"limits: expected {words}; found {low:g} and {high:g}"
        if self.kind == "scale" and high - low >= LONGEST_SCALE:
            yield f"limits: a scale has {LONGEST_SCALE} steps at most; use a number instead"

    def _options_problems(self) -> Iterator[str]:
        plain = [names.as_seen(o).casefold() for o in self.options or ()]
        for words, times in Counter(plain).items():
            if times > 1:
                yield f"options: {words!r} appears {times} times; expected once"
            if not words:
                yield "options: one of them is blank"
            if "|" in words:
                yield f"options: {words!r} holds a |, which parts several answers in a table"

    @property
    def substance(self) -> tuple[Any, ...]:
        """What answers rest on: it must not change once the plan is locked."""
        return (self.kind, *(getattr(self, key) for key in LATER))

    @property
    def steps(self) -> tuple[int, ...]:
        """The answers of a scale, lowest first."""
        assert self.limits is not None
        low, high = self.limits
        return tuple(range(int(low), int(high) + 1))


def canonical(question: dict[str, Any]) -> dict[str, Any]:
    """The keys of a dumped question that go into the hash."""
    return {k: v for k, v in question.items() if k not in LATER or v != LATER[k]}
