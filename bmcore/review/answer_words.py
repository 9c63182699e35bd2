"""A stored answer of a study in words, for pages and the report alike."""

from __future__ import annotations

from typing import Any

from bmcore.review.sheet import MODELS_MASK
from bmcore.review.study import Question
from bmcore.review.votes import CHOICE_NAMES

QUALITY = {1: "1 unusable", 2: "2 poor", 3: "3 fair", 4: "4 good", 5: "5 very good"}


def in_words(question: Question, stored: Any) -> str:
    """A stored answer as one line; what values there are: ``bmcore.review.sheet``."""
    match question.kind:
        case "primary":
            return f"{CHOICE_NAMES[stored['choice']]}, {stored['confidence']} of 100"
        case "differential":
            return ", ".join(CHOICE_NAMES[choice] for choice in stored)
        case "quality":
            return QUALITY[stored]
        case "marks":
            return _marks(stored)
        case "lesions":
            verdicts = ", ".join(f"{n} {v}" for n, v in _by_number(stored["lesions"]))
            return f"{verdicts or 'no lesion'}; missed: {stored['missed']}"
        case "mask":
            models = stored["mask"] == MODELS_MASK
            return "the models' segmentation as it is" if models else "corrected by the reader"
        case "choices":
            return ", ".join(stored)
        case "number":
            shown = f"{stored:.{question.decimals}f}"
            return f"{shown} {question.unit}" if question.unit else shown
        case "scale" if question.ends:
            low, high = question.steps[0], question.steps[-1]
            return f"{stored} ({low} {question.ends[0]}, {high} {question.ends[1]})"
    return str(stored)


def _marks(stored: Any) -> str:
    if not isinstance(stored, dict):
        return "every lesion marked"
    ratings = ", ".join(str(v) for v in sorted(stored["marks"].values(), reverse=True))
    n = len(stored["marks"])
    return f"{n} marked, rated {ratings}" if n else "no lesion marked"


def _by_number(verdicts: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(verdicts.items(), key=lambda item: int(item[0]))
