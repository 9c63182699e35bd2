"""A free question while it is filled in: text of the form in, the plan's question out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

# id -> (what it is called in the form, the question); questions.yaml holds the same and more.
READY_MADE: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "reliability": (
            "How reliable is the models' answer? (five steps)",
            {
                "kind": "choice",
                "text": "How reliable is the models' answer on this case?",
                "arms": ["aided", "aided_explained"],
                "options": [
                    "1 reliable, I adopt it",
                    "2 probably reliable, I checked it and agree",
                    "3 cannot be judged on these images",
                    "4 probably wrong, I keep my own answer",
                    "5 wrong, I disregard it",
                ],
            },
        ),
        "count": (
            "How many lesions do you see?",
            {
                "kind": "number",
                "text": "How many metastases do you see?",
                "limits": [0, 200],
            },
        ),
        "quality-images": (
            "Quality of the images (five steps)",
            {
                "kind": "scale",
                "text": "Quality of the images for this reading",
                "limits": [1, 5],
                "ends": ["not usable", "very good"],
            },
        ),
        "mask": (
            "Is the outline right? (the corrected one is confirmed)",
            {
                "kind": "mask",
                "text": "Correct the outline where it is wrong, and confirm it",
                "arms": ["aided", "aided_explained"],
            },
        ),
    }
)


@dataclass(frozen=True)
class QuestionDraft:
    """The fields of a free question as the form holds them. options: one a line; arms: empty is
    every arm; low, high: of a number or scale; ends: what these mean on a scale, "" unsaid."""

    id: str
    kind: str
    text: str
    required: bool = True
    arms: tuple[str, ...] = ()
    options: str = ""
    low: float = 0.0
    high: float = 10.0
    decimals: int = 0
    unit: str = ""
    ends: tuple[str, str] = ("", "")

    def as_question(self, arms: Sequence[str]) -> dict[str, Any]:
        """The plan's question; only the keys of its kind. arms: of the design."""
        made: dict[str, Any] = {"id": self.id.strip(), "kind": self.kind, "text": self.text.strip()}
        if not self.required:
            made["required"] = False
        chosen = [a for a in arms if a in self.arms]
        if chosen and chosen != list(arms):
            made["arms"] = chosen
        if self.kind in ("choice", "choices"):
            made["options"] = [x.strip() for x in self.options.splitlines() if x.strip()]
        if self.kind in ("number", "scale"):
            made["limits"] = [self.low, self.high]
        if self.kind == "number":
            made |= {"decimals": self.decimals} if self.decimals else {}
            made |= {"unit": self.unit.strip()} if self.unit.strip() else {}
        ends = [e.strip() for e in self.ends]
        if self.kind == "scale" and all(ends):
            made["ends"] = ends
        return made


def draft_of(
    question: Mapping[str, Any], name: str = "", taken: Collection[str] = ()
) -> QuestionDraft:
    """A draft from the plan's question; without an id one like ``name`` that is not ``taken``."""
    free, number = question.get("id") or name, 2
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    low, high = question.get("limits") or (0.0, 10.0)
    ends = question.get("ends") or ("", "")
    return QuestionDraft(
        id=free,
        kind=question["kind"],
        text=question["text"],
        required=question.get("required", True),
        arms=tuple(question.get("arms") or ()),
        options="\n".join(question.get("options") or ()),
        low=float(low),
        high=float(high),
        decimals=question.get("decimals", 0),
        unit=question.get("unit", ""),
        ends=(ends[0], ends[1]),
    )
