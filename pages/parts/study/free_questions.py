"""The widgets of free questions: choice, several choices, number, scale."""

from __future__ import annotations

from typing import Any

import streamlit as st

from bmcore.review.study import Question
from pages.parts.words import escaped

_SHORT = 70  # characters of all options that fit in one row
_MOST_BUTTONS = 11


def draw(question: Question, label: str, how: dict[str, Any]) -> None:
    """One question; nothing is chosen beforehand. how: the key and what is called at a change."""
    match question.kind:
        case "choice":
            options = question.options or ()
            short = sum(len(o) + 4 for o in options) <= _SHORT
            st.radio(label, options, index=None, format_func=escaped, horizontal=short, **how)
        case "choices":
            placeholder = "Choose one or more"
            st.multiselect(label, question.options or (), placeholder=placeholder, **how)
        case "number":
            _draw_number(question, label + _unit(question), how)
        case "scale":
            _draw_scale(question, label, how)


def _draw_number(question: Question, label: str, how: dict[str, Any]) -> None:
    low, high = question.limits or (0.0, 0.0)
    between = f"{_shown(question, low)} to {_shown(question, high)}"
    if question.decimals:
        step = 10.0**-question.decimals
        limits: dict[str, Any] = {"min_value": low, "max_value": high, "step": step}
        limits["format"] = f"%.{question.decimals}f"
    else:
        limits = {"min_value": int(low), "max_value": int(high), "step": 1}
    st.number_input(label, value=None, placeholder=between, **limits, **how)


def _draw_scale(question: Question, label: str, how: dict[str, Any]) -> None:
    steps, ends = question.steps, question.ends or ("", "")
    words = {steps[0]: ends[0], steps[-1]: ends[1]}
    if len(steps) > _MOST_BUTTONS:
        between = " to ".join(f"{n} {words[n]}".strip() for n in (steps[0], steps[-1]))
        st.number_input(
            f"{label} ({escaped(between)})", steps[0], steps[-1], value=None, step=1, **how
        )
        return
    st.radio(
        label,
        steps,
        index=None,
        format_func=lambda n: escaped(f"{n} {words.get(n, '')}".strip()),
        horizontal=True,
        **how,
    )


def number(question: Question, got: Any) -> int | float | None:
    """What a number or scale holds, rounded as the plan has it."""
    if got is None:
        return None
    return round(float(got), question.decimals) if question.decimals else int(got)


def _unit(question: Question) -> str:
    return f" [{escaped(question.unit)}]" if question.unit else ""


def _shown(question: Question, number: float) -> str:
    return f"{number:.{question.decimals}f}"
