"""The questions of a study as widgets, from the plan alone; nothing is chosen beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from bmcore.review.sheet import EXPLANATION_VERDICTS, LESION_VERDICTS
from bmcore.review.study import Question
from bmcore.review.votes import CHOICE_NAMES, PRIMARY_CHOICES
from pages.parts.words import escaped

QUALITY = {1: "1 unusable", 2: "2 poor", 3: "3 fair", 4: "4 good", 5: "5 very good"}
Saved = Callable[[], None] | None


def draw(
    question: Question,
    token: str,
    lesions: Mapping[int, str],
    saved: Saved = None,
    show: Callable[[int], None] | None = None,
) -> None:
    """One question. token: ends the widgets' keys; lesions: number -> place in words;
    saved: called after each change; show: jump to a lesion."""
    need = "" if question.required else " (optional)"
    if question.kind == "lesions":
        _draw_lesions(question, token, lesions, saved, show)
        return
    how: dict[str, Any] = {"key": _key(question, token), "on_change": saved}
    label = escaped(question.text + need)
    match question.kind:
        case "primary":
            st.radio(
                label,
                PRIMARY_CHOICES,
                index=None,
                format_func=CHOICE_NAMES.__getitem__,
                horizontal=True,
                **how,
            )
            st.number_input(
                "How sure are you? (0 to 100)",
                0,
                100,
                value=None,
                step=5,
                placeholder="0 is a guess, 100 is certain",
                key=_key(question, token, "confidence"),
                on_change=saved,
            )
        case "differential":
            st.multiselect(
                label, PRIMARY_CHOICES, format_func=CHOICE_NAMES.__getitem__, placeholder="", **how
            )
        case "quality":
            st.radio(
                label,
                list(QUALITY),
                index=None,
                format_func=QUALITY.__getitem__,
                horizontal=True,
                **how,
            )
        case "marks":
            st.markdown(label)
            st.checkbox("I have marked every lesion that I see, or there is none", **how)
        case "explanation":
            st.radio(
                label,
                EXPLANATION_VERDICTS,
                index=None,
                format_func=str.capitalize,
                horizontal=True,
                **how,
            )
        case "text":
            st.text_area(label, max_chars=4000, height=68, **how)


def _draw_lesions(
    question: Question,
    token: str,
    lesions: Mapping[int, str],
    saved: Saved,
    show: Callable[[int], None] | None,
) -> None:
    st.markdown(escaped(question.text + ("" if question.required else " (optional)")))
    if not lesions:
        st.caption("The models found no lesion in these images.")
    with st.container(height=300 if len(lesions) > 5 else "content", border=len(lesions) > 5):
        for number, words in lesions.items():
            columns = st.columns([5, 6, 2], vertical_alignment="center")
            columns[0].text(f"{number}: {words}")
            columns[1].segmented_control(
                f"Lesion {number}",
                LESION_VERDICTS,
                format_func=str.capitalize,
                label_visibility="collapsed",
                key=_key(question, token, str(number)),
                on_change=saved,
            )
            if show is not None:
                columns[2].button(
                    "Show",
                    key=_key(question, token, f"show {number}"),
                    help=f"Lead the viewer to lesion {number}",
                    on_click=show,
                    args=(number,),
                )
    st.number_input(
        "Lesions that the models missed",
        0,
        1000,
        value=None,
        placeholder="0 if none",
        key=_key(question, token, "missed"),
        on_change=saved,
    )


def value(question: Question, token: str, lesions: Mapping[int, str]) -> Any:
    """What is filled in, as ``bmcore.review.sheet`` wants it; None where nothing is."""
    got = st.session_state.get(_key(question, token))
    if question.kind == "primary":
        sure = st.session_state.get(_key(question, token, "confidence"))
        if got is None and sure is None:
            return None
        return {"choice": got, "confidence": None if sure is None else int(sure)}
    if question.kind == "lesions":
        verdicts = {str(n): st.session_state.get(_key(question, token, str(n))) for n in lesions}
        missed = st.session_state.get(_key(question, token, "missed"))
        given = {n: v for n, v in verdicts.items() if v is not None}
        if not given and missed is None:
            return None
        return {"lesions": given, "missed": None if missed is None else int(missed)}
    if question.kind == "text":
        return (got or "").strip() or None
    return got or None  # an empty differential is none


def fill(question: Question, token: str, stored: Any) -> None:
    """Put a stored value into the widgets; to be called before they are drawn."""
    if question.kind == "primary":
        _put(_key(question, token), stored["choice"])
        _put(_key(question, token, "confidence"), stored["confidence"])
    elif question.kind == "lesions":
        for number, verdict in stored["lesions"].items():
            _put(_key(question, token, number), verdict)
        _put(_key(question, token, "missed"), stored["missed"])
    else:
        _put(_key(question, token), stored)


def missing(question: Question, given: Any, lesions: Mapping[int, str]) -> list[str]:
    """What must be filled in before the sheet can be locked, in words."""
    if given is None:
        return [f"“{question.text}”"] if question.required else []
    if question.kind == "primary":
        lacks = {"the primary": given["choice"], "how sure you are": given["confidence"]}
        return [words for words, v in lacks.items() if v is None]
    if question.kind == "lesions":
        left = [str(n) for n in lesions if str(n) not in given["lesions"]]
        words = [f"a verdict on lesion {', '.join(left)}"] if left else []
        return words + (["how many lesions were missed"] if given["missed"] is None else [])
    return []


def in_words(question: Question, stored: Any) -> str:
    """A stored answer for the screen."""
    match question.kind:
        case "primary":
            return f"{CHOICE_NAMES[stored['choice']]}, {stored['confidence']} of 100"
        case "differential":
            return ", ".join(CHOICE_NAMES[choice] for choice in stored)
        case "quality":
            return QUALITY[stored]
        case "marks":
            return "every lesion marked"
        case "lesions":
            verdicts = ", ".join(f"{n} {v}" for n, v in _by_number(stored["lesions"]))
            return f"{verdicts or 'no lesion'}; missed: {stored['missed']}"
    return str(stored)


def lesion_numbers(stored: Any) -> dict[int, str]:
    """The lesions that a stored answer judges, without their places."""
    if not isinstance(stored, dict) or "lesions" not in stored:
        return {}
    return {int(n): "lesion" for n, _ in _by_number(stored["lesions"])}


def _by_number(verdicts: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    return sorted(verdicts.items(), key=lambda item: int(item[0]))


def _put(key: str, stored: Any) -> None:
    if stored is not None:
        st.session_state[key] = stored


def _key(question: Question, token: str, part: str = "") -> str:
    return f"{question.id} {part} {token}"
