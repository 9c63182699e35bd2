"""The questions of a study as widgets, from the plan alone; nothing is chosen beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from bmcore.review.answer_words import QUALITY, in_words
from bmcore.review.sheet import EXPLANATION_VERDICTS, LESION_VERDICTS, MODELS_MASK
from bmcore.review.study import Question
from bmcore.review.votes import CHOICE_NAMES, PRIMARY_CHOICES
from pages.parts.study import free_questions
from pages.parts.words import escaped

__all__ = ["QUALITY", "Shown", "draw", "fill", "in_words", "missing", "shown_by", "value"]
Saved = Callable[[], None] | None
_ALL_MARKED = "that every lesion is marked"
Point = tuple[float, float, float]
Show = Callable[[int | None, Point | None], None] | None


@dataclass(frozen=True)
class Shown:
    """What questions are about. lesions: number of the models' lesion -> its place in words; marks:
    id of the reader's own mark -> where it lies, in world mm; mask: the segmentation in force."""

    lesions: Mapping[int, str] = field(default_factory=dict)
    marks: Mapping[str, Point | None] = field(default_factory=dict)
    mask: str = ""


def draw(
    question: Question,
    token: str,
    shown: Shown = Shown(),
    saved: Saved = None,
    show: Show = None,
) -> None:
    """One question. token: ends the widgets' keys; saved: called after each change; show: jump to
    a lesion of the models (number) or to a point."""
    need = "" if question.required else " (optional)"
    if question.kind == "lesions":
        _draw_lesions(question, token, shown.lesions, saved, show)
        return
    if question.kind == "marks":
        _draw_marks(question, token, shown, saved, show)
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
        case "mask":
            st.markdown(label)
            words = "The segmentation as shown now is right"
            how["key"] = _mask_key(question, token, shown.mask)
            st.checkbox(f"{words}, with my corrections" if _corrected(shown) else words, **how)
        case _:
            free_questions.draw(question, label, how)


def _draw_lesions(
    question: Question,
    token: str,
    lesions: Mapping[int, str],
    saved: Saved,
    show: Show,
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
                    help=f"Show lesion {number} in the images",
                    on_click=show,
                    args=(number, None),
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


def _draw_marks(question: Question, token: str, shown: Shown, saved: Saved, show: Show) -> None:
    """How many lesions are marked, with a rating each where the plan asks for it."""
    st.markdown(escaped(question.text + ("" if question.required else " (optional)")))
    n = len(shown.marks)
    st.markdown(f"You have marked **{n} lesion{'' if n == 1 else 's'}** in the images.")
    if question.rated and n:
        st.caption("How sure are you of each? 0: surely no metastasis, 100: surely one.")
        with st.container(height=300 if n > 5 else "content", border=n > 5):
            for number, (identity, point) in enumerate(shown.marks.items(), start=1):
                _draw_rating(_Rated(question, token, number, identity, point), saved, show)
    words = "I have marked every lesion that I see, or there is none"
    st.checkbox(words, key=_key(question, token), on_change=saved)


@dataclass(frozen=True)
class _Rated:
    """One mark on the sheet, with its number there."""

    question: Question
    token: str
    number: int
    mark: str
    point: Point | None


def _draw_rating(rated: _Rated, saved: Saved, show: Show) -> None:
    columns = st.columns([5, 6, 2], vertical_alignment="center")
    where = "" if rated.point is None else f", at {_point_in_words(rated.point)}"
    columns[0].text(f"Yours {rated.number}{where}")
    columns[1].number_input(
        f"How sure are you that mark {rated.number} is a metastasis? (0 to 100)",
        0,
        100,
        value=None,
        step=5,
        placeholder="0 to 100",
        label_visibility="collapsed",
        key=_key(rated.question, rated.token, rated.mark),
        on_change=saved,
    )
    if show is not None and rated.point is not None:
        columns[2].button(
            "Show",
            key=_key(rated.question, rated.token, f"show {rated.mark}"),
            help=f"Show mark {rated.number} in the images",
            on_click=show,
            args=(None, rated.point),
        )


def _point_in_words(point: Point) -> str:
    """For instance "12 L 5 A 30 S mm", as the viewer names a place."""
    ends = ("RL", "AP", "SI")
    return " ".join(f"{abs(x):.0f} {e[x < 0]}" for x, e in zip(point, ends, strict=True)) + " mm"


def value(question: Question, token: str, shown: Shown = Shown()) -> Any:
    """What is filled in, as ``bmcore.review.sheet`` wants it; None where nothing is."""
    got = st.session_state.get(_key(question, token))
    if question.kind == "primary":
        sure = st.session_state.get(_key(question, token, "confidence"))
        if got is None and sure is None:
            return None
        return {"choice": got, "confidence": None if sure is None else int(sure)}
    if question.kind == "lesions":
        verdicts = {
            str(n): st.session_state.get(_key(question, token, str(n))) for n in shown.lesions
        }
        missed = st.session_state.get(_key(question, token, "missed"))
        given = {n: v for n, v in verdicts.items() if v is not None}
        if not given and missed is None:
            return None
        return {"lesions": given, "missed": None if missed is None else int(missed)}
    if question.kind == "marks" and question.rated:
        return _ratings(question, token, shown)
    if question.kind == "mask":
        confirmed = st.session_state.get(_mask_key(question, token, shown.mask))
        return {"mask": shown.mask} if confirmed else None
    if question.kind == "text":
        return (got or "").strip() or None
    if question.kind in ("number", "scale"):
        return free_questions.number(question, got)
    return got or None  # an empty differential is none


def _ratings(question: Question, token: str, shown: Shown) -> Any:
    """All ratings so far; None where nothing is rated and the reader has not said it is all."""
    given = {m: st.session_state.get(_key(question, token, m)) for m in shown.marks}
    rated = {m: int(v) for m, v in given.items() if v is not None}
    said = st.session_state.get(_key(question, token))
    return {"marks": rated} if said or rated else None


def fill(question: Question, token: str, stored: Any) -> None:
    """Put a stored value into the widgets; to be called before they are drawn."""
    if question.kind == "primary":
        _put(_key(question, token), stored["choice"])
        _put(_key(question, token, "confidence"), stored["confidence"])
    elif question.kind == "lesions":
        for number, verdict in stored["lesions"].items():
            _put(_key(question, token, number), verdict)
        _put(_key(question, token, "missed"), stored["missed"])
    elif question.kind == "marks" and question.rated:
        for mark, rating in stored["marks"].items():
            _put(_key(question, token, mark), rating)
    elif question.kind == "mask":
        _put(_mask_key(question, token, stored["mask"]), True)
    elif question.kind == "number" and question.decimals:
        _put(_key(question, token), float(stored))
    else:
        _put(_key(question, token), stored)


def missing(question: Question, token: str, given: Any, shown: Shown = Shown()) -> list[str]:
    """What must be filled in before the sheet can be locked, in words."""
    if given is None:
        return [f"“{question.text}”"] if question.required else []
    if question.kind == "primary":
        lacks = {"the primary": given["choice"], "how sure you are": given["confidence"]}
        return [words for words, v in lacks.items() if v is None]
    if question.kind == "lesions":
        left = [str(n) for n in shown.lesions if str(n) not in given["lesions"]]
        words = [f"a verdict on lesion {', '.join(left)}"] if left else []
        return words + (["how many lesions were missed"] if given["missed"] is None else [])
    if question.kind == "marks" and question.rated:
        unrated = [str(i) for i, m in enumerate(shown.marks, start=1) if m not in given["marks"]]
        words = [f"how sure you are of mark {', '.join(unrated)}"] if unrated else []
        return words + ([] if st.session_state.get(_key(question, token)) else [_ALL_MARKED])
    return []


def shown_by(*stored: Any) -> Shown:
    """What stored answers are about, without the places."""
    lesions: dict[int, str] = {}
    marks: dict[str, Point | None] = {}
    for one in stored:
        if isinstance(one, dict):
            lesions |= {int(n): "lesion" for n, _ in _by_number(one.get("lesions", {}))}
            marks |= dict.fromkeys(one.get("marks", {}))
    return Shown(dict(sorted(lesions.items())), marks)


def _by_number(verdicts: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    return sorted(verdicts.items(), key=lambda item: int(item[0]))


def _put(key: str, stored: Any) -> None:
    if stored is not None:
        st.session_state[key] = stored


def _corrected(shown: Shown) -> bool:
    return shown.mask not in ("", MODELS_MASK)


def _mask_key(question: Question, token: str, mask: str) -> str:
    """Another correction is another box, so that nobody confirms what was painted later."""
    return _key(question, token, f"mask {mask[:16]}")


def _key(question: Question, token: str, part: str = "") -> str:
    return f"{question.id} {part} {token}"
