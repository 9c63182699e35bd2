"""The answers of one sheet: kept as a draft at each change, then locked for good.

The time at the sheet is counted in the browser (``study_clock``) and stored with the draft.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from bmcore.domain import BmcoreError, Prediction
from bmcore.review import drawn
from bmcore.review.allocation import Place
from bmcore.review.study import Question
from bmcore.review.worklist import Seconds
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.access.guard import unexpected
from pages.parts.study import clock, context, questions
from pages.parts.study.context import StudyContext, refusal_words
from pages.parts.words import escaped
from pages.parts.words import place as lesion_place

_SAVING = "Not saved: "
ANSWERS = "The models' answers"


def draw(reading: StudyContext, place: Place, prediction: Prediction | None) -> None:
    """Questions of the arm and the button that locks. prediction: where the arm shows it."""
    lesions = _lesions(prediction)
    _state(reading, place).update(helped=prediction is not None, standing=reading.standing(place))
    _restore(reading, place)
    _draw_sheet(reading, place, lesions)
    clock.draw(
        sheet_token(reading, place), _state(reading, place)["told"], _tell(reading, place, lesions)
    )


def new_key() -> str:
    return uuid.uuid4().hex


def sheet_token(reading: StudyContext, place: Place) -> str:
    """Names the widgets of one sheet; a digest, because the browser receives it."""
    words = f"{reading.study.study}|{place}"
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def jump_key(reading: StudyContext, place: Place) -> str:
    return f"study jump {sheet_token(reading, place)}"


def note_opened(reading: StudyContext, place: Place) -> None:
    """The models' answers are on the screen; without that an aided sheet does not lock."""
    st.session_state[_opened_key(reading, place)] = True


def _opened_key(reading: StudyContext, place: Place) -> str:
    return f"answers opened {sheet_token(reading, place)}"


def no_jump() -> dict[str, Any]:
    """Where the viewer is led, before anything was chosen."""
    return {"nonce": 0, "number": None, "point": None, "table": 0}


@guard.fragment("study.see")
def _draw_sheet(reading: StudyContext, place: Place, lesions: Mapping[int, str]) -> None:
    """A fragment: an answer redraws the sheet alone, not the viewer."""
    state = _state(reading, place)
    if state["locked"] or state["refused"]:
        _take_along(reading, place)
        st.rerun()
    token = sheet_token(reading, place)
    saved = partial(_save, reading, place, lesions)
    show = partial(_show, reading, place)
    _draw_as_before(reading, place, lesions)
    shown = _shown(reading, place, lesions)
    for question in reading.study.questions_in(place.arm):
        questions.draw(question, token, shown, saved, show)
        if question.kind == "lesions" and lesions:
            words = "Accept all that have no verdict yet"
            st.button(words, key=f"all {token}", on_click=_accept, args=(question, token, saved))
    if state["problem"]:
        st.error(escaped(state["problem"]))
    st.button(
        "Lock my answer",
        type="primary",
        icon=":material/lock:",
        key=f"lock {token}",
        on_click=_lock,
        args=(reading, place, lesions),
    )
    st.caption(_promise(reading, place, state["saved"]))
    if state["jumped"]:
        state["jumped"] = False
        st.rerun()


def _take_along(reading: StudyContext, place: Place) -> None:
    """After a refusal the page is drawn anew; where another window has ended the sheet, what was
    refused is said on the screen that comes instead."""
    state = _state(reading, place)
    if state["refused"] and reading.standing(place) is not state["standing"]:
        context.note_refused(reading, state["problem"])
        state["problem"] = None
    state["refused"] = False


def _promise(reading: StudyContext, place: Place, saved: bool) -> str:
    draft = "Your draft is saved at each change. " if saved else ""
    arms = reading.study.design.arms
    if reading.study.design.kind == "sequential" and place.arm != arms[-1]:
        return draft + "Once locked it changes only by a correction. Then the next step opens."
    return draft + reading.promise


def _lesions(prediction: Prediction | None) -> dict[int, str]:
    if prediction is None:
        return {}
    return {
        n.number: f"{lesion_place(n)}, {n.largest_diameter_mm:.0f} mm" for n in prediction.lesions
    }


def _draw_as_before(reading: StudyContext, place: Place, lesions: Mapping[int, str]) -> None:
    """One button that fills in what the reader said of the case in the step before."""
    if not reading.desk.earlier(place):
        return
    st.button(
        "As before",
        icon=":material/content_copy:",
        key=f"as before {sheet_token(reading, place)}",
        help="Fills in your locked answers of the step before. Check them; only you lock them.",
        on_click=_take_over,
        args=(reading, place, lesions),
    )
    if _state(reading, place)["taken_over"]:
        st.caption("Filled in from your step before. You can still change it.")


def _take_over(reading: StudyContext, place: Place, lesions: Mapping[int, str]) -> None:
    """Fill the sheet, before anything is drawn, and keep that it was so."""
    before = reading.desk.earlier(place)
    token = sheet_token(reading, place)
    for question in reading.study.questions_in(place.arm):
        if question.id in before:
            questions.fill(question, token, before[question.id])
    _state(reading, place)["taken_over"] = tuple(before)
    _save(reading, place, lesions)


def _shown(reading: StudyContext, place: Place, lesions: Mapping[int, str]) -> questions.Shown:
    """What the questions are about now; what the reader has drawn, where the arm asks for it."""
    if not any(q.kind in ("marks", "mask") for q in reading.study.questions_in(place.arm)):
        return questions.Shown(lesions)
    own = drawn.now(loaders.store(), reading.study, place)
    return questions.Shown(lesions, {m.id: m.points_mm[0] for m in own.marks}, own.mask)


def _state(reading: StudyContext, place: Place) -> dict[str, Any]:
    """What this session knows of a sheet. told: seconds as of ``at`` (monotonic)."""
    return st.session_state.setdefault(
        f"sheet {sheet_token(reading, place)}",
        {
            "restored": False,
            "locked": False,
            "refused": False,
            "saved": False,
            "jumped": False,
            "problem": None,
            "taken_over": (),
            "helped": False,
            "standing": None,
            "told": Seconds(),
            "at": time.monotonic(),
        },
    )


def _restore(reading: StudyContext, place: Place) -> None:
    """Put a stored draft into the widgets, where they have no value in this session.

    Widgets forget their values when another page is drawn; the draft does not.
    """
    state, token = _state(reading, place), sheet_token(reading, place)
    asked = reading.study.questions_in(place.arm)
    if _widget_keys(asked, token):
        return
    draft = reading.desk.draft(place)
    if draft is None:
        return
    for question in asked:
        if draft.values.get(question.id) is not None:
            questions.fill(question, token, draft.values[question.id])
    if not state["restored"]:
        state.update(restored=True, told=draft.seconds, at=time.monotonic())
        state["taken_over"] = draft.taken_over
    state["saved"] = True


def _widget_keys(asked: tuple[Question, ...], token: str) -> list[str]:
    """Keys of this sheet's question widgets that the session knows."""
    names = {q.id for q in asked}
    return [
        str(key)
        for key in st.session_state
        if str(key).endswith(token) and str(key).split(" ")[0] in names
    ]


def _values(reading: StudyContext, place: Place, lesions: Mapping[int, str]) -> dict[str, Any]:
    token, shown = sheet_token(reading, place), _shown(reading, place, lesions)
    found = {q.id: questions.value(q, token, shown) for q in reading.study.questions_in(place.arm)}
    return {name: value for name, value in found.items() if value is not None}


def _seconds(state: Mapping[str, Any]) -> Seconds:
    """As the browser told last, and the time since then: whoever answers is active."""
    since = min(clock.TELL_S, time.monotonic() - state["at"])
    return Seconds(state["told"].active_s + since, state["told"].idle_s)


def _save(reading: StudyContext, place: Place, lesions: Mapping[int, str]) -> None:
    """Keep the draft; runs before anything is drawn."""
    state = _state(reading, place)
    try:
        guard.check("study.answer", at=reading.standing(place))
        values = _values(reading, place, lesions)
        reading.desk.save_draft(place, values, _seconds(state), state["taken_over"])
        state.update(saved=True, problem=None)
    except BmcoreError as error:
        state.update(problem=_SAVING + refusal_words(error), refused=True)
    except Exception:
        state["problem"] = _SAVING + unexpected()


def _tell(reading: StudyContext, place: Place, lesions: Mapping[int, str]):  # type: ignore[no-untyped-def]
    def take(seconds: Seconds) -> None:
        state = _state(reading, place)
        if not state["locked"]:
            state.update(told=seconds, at=time.monotonic())
            _save(reading, place, lesions)

    return take


def _accept(question: Question, token: str, saved) -> None:  # type: ignore[no-untyped-def]
    for key in list(st.session_state):
        name = str(key).split(" ")
        mine = name[0] == question.id and str(key).endswith(token) and name[1].isdecimal()
        if mine and st.session_state[key] is None:
            st.session_state[key] = "accept"
    saved()


def _show(
    reading: StudyContext, place: Place, number: int | None, point: questions.Point | None
) -> None:
    noted = st.session_state.setdefault(jump_key(reading, place), no_jump())
    noted.update(nonce=noted["nonce"] + 1, number=number, point=point)
    _state(reading, place)["jumped"] = True


def _lock(reading: StudyContext, place: Place, lesions: Mapping[int, str]) -> None:
    """Lock the sheet, before anything is drawn; a second click finds it locked."""
    state = _state(reading, place)
    if state["locked"]:
        return
    values = _values(reading, place, lesions)
    token, shown = sheet_token(reading, place), _shown(reading, place, lesions)
    missing = [
        words
        for q in reading.study.questions_in(place.arm)
        for words in questions.missing(q, token, values.get(q.id), shown)
    ]
    if state["helped"] and not st.session_state.get(_opened_key(reading, place)):
        missing.append(f"a look at “{ANSWERS}”, in the tab beside your answer")
    if missing:
        state["problem"] = f"Not locked yet. Still missing: {'; '.join(missing)}."
        return
    try:
        guard.check("study.answer", at=reading.standing(place))
        key = f"lock {sheet_token(reading, place)}"
        rests = loaders.evidence(place.case_id, shown=place.arm != "unaided")
        reading.desk.submit(place, values, _seconds(state), key, rests, state["taken_over"])
    except BmcoreError as error:
        state.update(problem=f"Not locked. {refusal_words(error)}", refused=True)
    except Exception:
        state["problem"] = f"Not locked. {unexpected()}"
    else:
        state.update(locked=True, problem=None)
        reading.go_on(place)
