"""An answer sheet: what may be said to each kind of question, checked before it is stored.

Values are plain data (JSON): primary {"choice", "confidence"}; differential [choice, ...];
lesions {"lesions": {"1": "accept" | "edit" | "reject"}, "missed": n}; marks True (every
lesion that the reader sees is marked in the viewer), rated ones {"marks": {id of the mark: 0-100}};
quality 1-5; explanation "helpful" | "neutral" | "misleading"; text any text; choice one of the
options; choices [option, ...]; number and scale a number; mask {"mask": SHA-256 of the reader's
corrected segmentation, or "models" where theirs stands}.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from bmcore.domain import ARM_WORDS, Finding, InputRefused, Severity
from bmcore.review.study import Question, Study
from bmcore.review.votes import COMMENT_LIMIT, PRIMARY_CHOICES

LESION_VERDICTS = ("accept", "edit", "reject")
EXPLANATION_VERDICTS = ("helpful", "neutral", "misleading")
MODELS_MASK = "models"  # the reader lets the models' segmentation stand


def check_sheet(study: Study, arm: str, values: Mapping[str, Any], *, whole: bool) -> None:
    """Refuse answers that the arm does not ask for or that say what cannot be; all at once.

    whole: every required question must be answered, as at locking. False for a draft, in which a
    primary may lack its choice or confidence, and the lesions the number missed (None).
    """
    asked = {question.id: question for question in study.questions_in(arm)}
    problems = [
        _finding(
            f"question {name} is not asked in a reading {ARM_WORDS[arm]}", name, ", ".join(asked)
        )
        for name in values
        if name not in asked
    ]
    for name, question in asked.items():
        if values.get(name) is not None:
            value = values[name] if whole else _filled(question.kind, values[name])
            problems += check_value(question, value)
        elif whole and question.required:
            problems.append(_finding(f"question {name} is not answered", "nothing", question.text))
    if problems:
        raise InputRefused(*problems)


def check_value(question: Question, value: Any) -> list[Finding]:
    """What is wrong with ``value`` as an answer; empty if nothing."""
    expected = _CHECKS[question.kind](question, value)
    if expected is None:
        return []
    return [_finding(f"the answer to {question.id} cannot be stored", repr(value)[:80], expected)]


def _filled(kind: str, value: Any) -> Any:
    """A half-filled answer with what is missing put in, so that the rest can be checked."""
    fill: dict[str, Any] = {"choice": "cannot_tell", "confidence": 0, "missed": 0}
    if kind not in ("primary", "lesions") or not isinstance(value, dict):
        return value
    return {key: fill.get(key) if v is None else v for key, v in value.items()}


def as_text(value: Any) -> str:
    """The one spelling of a value in the database."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _primary(_: Question, value: Any) -> str | None:
    if not isinstance(value, dict) or set(value) != {"choice", "confidence"}:
        return "a choice and a confidence"
    if value["choice"] not in PRIMARY_CHOICES:
        return f"one of {', '.join(PRIMARY_CHOICES)}"
    return _whole(value["confidence"], 0, 100)


def _differential(_: Question, value: Any) -> str | None:
    sound = isinstance(value, list) and all(choice in PRIMARY_CHOICES for choice in value)
    if sound and len({*value}) == len(value):
        return None
    return f"a list without doubles of {', '.join(PRIMARY_CHOICES)}"


def _lesions(_: Question, value: Any) -> str | None:
    if not isinstance(value, dict) or set(value) != {"lesions", "missed"}:
        return "a verdict a lesion and the number missed"
    verdicts = value["lesions"]
    if not isinstance(verdicts, dict) or not all(
        isinstance(number, str) and number.isdecimal() and verdict in LESION_VERDICTS
        for number, verdict in verdicts.items()
    ):
        return f"for each lesion's number one of {', '.join(LESION_VERDICTS)}"
    return _whole(value["missed"], 0, 1000)


def _marks(question: Question, value: Any) -> str | None:
    if not question.rated:
        return None if value is True else "true: every lesion is marked in the viewer"
    rated = value.get("marks") if isinstance(value, dict) and set(value) == {"marks"} else None
    if not isinstance(rated, dict) or not all(isinstance(m, str) for m in rated):
        return "a rating for each mark's id"
    wrong = [found for found in (_whole(v, 0, 100) for v in rated.values()) if found]
    return f"for each mark {wrong[0]}" if wrong else None


def _quality(_: Question, value: Any) -> str | None:
    return _whole(value, 1, 5)


def _explanation(_: Question, value: Any) -> str | None:
    allowed = ", ".join(EXPLANATION_VERDICTS)
    return None if value in EXPLANATION_VERDICTS else f"one of {allowed}"


def _text(_: Question, value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > COMMENT_LIMIT:
        return f"text of {COMMENT_LIMIT} characters at most"
    unprintable = [
        c for c in value if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\r\t"
    ]
    return "text without control characters" if unprintable else None


def _choice(question: Question, value: Any) -> str | None:
    options = question.options or ()
    return None if value in options else f"one of {', '.join(options)}"


def _choices(question: Question, value: Any) -> str | None:
    options = question.options or ()
    sound = isinstance(value, list) and bool(value) and all(v in options for v in value)
    if sound and len({*value}) == len(value):
        return None
    return f"one or more of {', '.join(options)}, each once"


def _number(question: Question, value: Any) -> str | None:
    low, high = question.limits or (0.0, 0.0)
    if not question.decimals:
        return _whole(value, int(low), int(high))
    sound = isinstance(value, int | float) and not isinstance(value, bool)
    if sound and low <= value <= high and round(value, question.decimals) == value:
        return None
    return f"a number from {low:g} to {high:g}, {question.decimals} digits behind the point at most"


def _mask(_: Question, value: Any) -> str | None:
    named = value.get("mask") if isinstance(value, dict) and set(value) == {"mask"} else None
    sound = isinstance(named, str) and (named == MODELS_MASK or _SHA256.fullmatch(named))
    return None if sound else f"the SHA-256 of the corrected mask, or {MODELS_MASK}"


def _whole(value: Any, low: int, high: int) -> str | None:
    sound = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return None if sound else f"a whole number from {low} to {high}"


_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECKS: Mapping[str, Callable[[Question, Any], str | None]] = {
    "primary": _primary,
    "differential": _differential,
    "lesions": _lesions,
    "marks": _marks,
    "quality": _quality,
    "explanation": _explanation,
    "text": _text,
    "choice": _choice,
    "choices": _choices,
    "number": _number,
    "scale": _number,
    "mask": _mask,
}


def _finding(what: str, found: str, expected: str) -> Finding:
    return Finding(Severity.REFUSED, what, None, found, expected)
