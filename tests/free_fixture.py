"""A study of the drawn fixture with one question of each free kind, and rated marks."""

from __future__ import annotations

from typing import Any

from bmcore.review.study import Study
from tests import study_fixture as drawn

BOTH = ["unaided", "aided"]
QUESTIONS: list[dict[str, Any]] = [
    {
        "id": "next",
        "kind": "choice",
        "text": "What next?",
        "options": ["biopsy", "radiotherapy", "follow-up"],
    },
    {
        "id": "seen",
        "kind": "choices",
        "text": "What do you see?",
        "options": ["oedema", "bleeding", "necrosis"],
        "required": False,
    },
    {
        "id": "large",
        "kind": "number",
        "text": "Largest lesion",
        "limits": [0.0, 120.0],
        "decimals": 1,
        "unit": "mm",
    },
    {
        "id": "rely",
        "kind": "scale",
        "text": "Would you rely on it?",
        "limits": [1, 5],
        "ends": ["not at all", "fully"],
    },
    {"id": "note", "kind": "text", "text": "Why?", "required": False},
]


def study(*more: dict[str, Any], **changes: Any) -> Study:
    asked = drawn.study().model_dump(mode="json")["questions"]
    return drawn.study(questions=[*asked, *QUESTIONS, *more], **changes)


def said(reader: str, case: str, arm: str) -> dict[str, Any]:
    """Ada says biopsy on even cases, Bo always; aided both find the lesion 2 mm larger."""
    n = drawn.CASES.index(case)
    even = n % 2 == 0 or reader == "r02"
    return {
        "next": "biopsy" if even else "follow-up",
        "seen": ["oedema", "necrosis"] if n < 3 else ["oedema"],
        "large": 10.0 + n + (2.0 if arm == "aided" else 0.0) + (0.5 if reader == "r02" else 0.0),
        "rely": 1 + n % 5,
    }
