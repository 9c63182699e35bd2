"""One sheet of a study on the screen: the images, what its arm allows, and the questions.

What the arm does not show is never passed to a widget, so it is not sent to the browser. Whether
the models' answers may be shown is asked of ``access`` with the state of the sheet in the database,
not of anything that the browser says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

import streamlit as st

from bmcore.domain import ARM_WORDS, Prediction
from bmcore.inference import case_mix, uncertainty
from bmcore.review import access
from bmcore.review.access import Standing
from bmcore.review.allocation import Place
from bmcore.review.owner import drawer
from bmcore.review.worklist import skipped_with
from pages.parts import loaders, viewer
from pages.parts.access import guard
from pages.parts.access.guard import error_boundary
from pages.parts.case import answers, lesions, marks
from pages.parts.case.marks import ReadingContext
from pages.parts.study import context, sheet, waiting
from pages.parts.study.context import StudyContext
from pages.parts.study.waiting import Wait
from pages.parts.words import clinical, escaped

_TABS = ("Your answer", sheet.ANSWERS, "Lesions and maps", "Why")


def draw(reading: StudyContext, place: Place) -> None:
    """The sheet at ``place``, which is its turn."""
    standing = reading.standing(place)
    guard.check("study.images", at=standing)
    helped, explained = may_show(standing)
    found = waiting.answer(reading, place.case_id) if helped else None
    wait = found if isinstance(found, Wait) else None
    prediction = found if isinstance(found, Prediction) else None
    if prediction is not None:  # that they are sent is written before they are
        reading.desk.show(place, loaders.evidence(place.case_id, shown=True))
    _draw_head(reading, place, wait)
    viewer_side, sheet_side = st.columns([5, 4], gap="medium")
    with viewer_side:
        draw_images(reading, place, prediction, explained)
    with sheet_side:
        told = st.session_state.pop(f"told {reading.key}", None)
        if told:
            next_words = f" Now read it {ARM_WORDS[place.arm]}." if wait is None else ""
            st.success(f"{escaped(told)}{next_words}", icon=":material/lock:")
        if wait is not None:
            waiting.draw(reading, place, wait)
        elif prediction is None:
            sheet.draw(reading, place, None)
        else:
            draw_tabs(reading, place, prediction, explained)


def may_show(standing: Standing) -> tuple[bool, bool]:
    """Whether the models' answers, and their reasons, may be sent for a sheet of this standing."""
    user = guard.user()
    helped = access.allowed(user, "study.models", standing)
    return helped, access.allowed(user, "study.reasons", standing)


def _draw_head(reading: StudyContext, place: Place, wait: Wait | None) -> None:
    """Which case and arm, the patient, and the ways off the sheet.

    While the models can still read the case, a skip is no way on: the arm would be lost.
    """
    number = context.numbers(reading.work())
    entry = loaders.entry(place.case_id)
    with st.container(key="case_header", horizontal=True, vertical_alignment="center"):
        words = [
            ("Reader", reading.reader.name),
            ("Case", f"{number[place]} of {max(number.values())}"),
            ("Arm", ARM_WORDS[place.arm]),
            ("Patient", clinical(entry.clinical)),
            ("Sequences", ", ".join(loaders.short_names(entry.sequences))),
        ]
        spans = [
            f'<span><span class="label">{a}</span> <b>{escape(b)}</b></span>' for a, b in words
        ]
        st.html(f'<div class="case-line">{"".join(spans)}</div>', width="content")
        _draw_flag(reading, place)
        if wait in (None, Wait.FAILED):
            _draw_skip(reading, place)
        if st.button("Back to the list", key="to_list", icon=":material/list:"):
            context.close(reading)
            st.rerun()


def _draw_flag(reading: StudyContext, place: Place) -> None:
    flagged = next(w.flagged for w in reading.work() if w.item.place == place)
    token = sheet.sheet_token(reading, place)
    with st.popover("Flagged" if flagged else "Flag", icon=":material/flag:"):
        st.caption("Tells the investigator that something is wrong here. Changes no answer.")
        note = st.text_input("What should be looked at?", key=f"flag note {token}", max_chars=2000)
        words = "Remove the flag" if flagged else "Flag this reading"
        if st.button(words, key=f"flag {flagged} {token}"):
            guard.check("study.answer", at=reading.standing(place))
            reading.desk.flag(place, note, sheet.new_key(), on=not flagged)
            st.rerun()


def _draw_skip(reading: StudyContext, place: Place) -> None:
    token = sheet.sheet_token(reading, place)
    with st.popover("Skip", icon=":material/skip_next:"):
        st.text(_skip_words(reading, place))
        note = st.text_input("Why?", key=f"skip note {token}", max_chars=2000)
        begun = (
            reading.study.design.kind == "sequential" and place.arm != reading.study.design.arms[0]
        )
        words = "Skip the rest of this case" if begun else "Skip this case"
        if st.button(words, key=f"skip {token}"):  # a second click skips no other
            guard.check("study.answer", at=reading.standing(place))
            reading.desk.skip(place, note, sheet.new_key())
            context.close(reading)
            st.rerun()


def _skip_words(reading: StudyContext, place: Place) -> str:
    """Which steps of the case are left out."""
    arms = [f"· {ARM_WORDS[arm]}" for arm in skipped_with(reading.study, place)]
    first = "A skip leaves out this reading of the case:"
    if len(arms) > 1:
        first = f"A skip leaves out {len(arms)} readings of the case:"
    return "\n".join([first, *arms, "They can be read later, until you close your list."])


def draw_images(
    reading: StudyContext, place: Place, prediction: Prediction | None, explained: bool
) -> None:
    """The viewer. Grad-CAM belongs to the reasons, and is passed on in that arm alone."""
    own = _context(reading, place, prediction)
    overlays = viewer.Overlays()
    if prediction is not None:
        doubt = uncertainty.mask_doubt(prediction.novelty)
        overlays = viewer.Overlays(
            marks.mask(own), prediction.lesions, basis=prediction.mask, doubt=doubt
        )
        if explained:
            overlays = lesions.overlays(prediction, marks.mask(own))
    jump = _jump(reading, place, prediction, explained)
    found = marks.desk(own)
    receive = found.receive
    assert receive is not None

    def take(kind: str, value: Mapping[str, Any]) -> None:
        """Marks are taken while the sheet is open in the arm in which they were made."""
        now = reading.standing(place)
        if now in (Standing.UNAIDED, Standing.AIDED, Standing.EXPLAINED):  # of this very place
            guard.check("study.answer", at=now)
            receive(kind, value)
        elif kind not in ("lesion", "settings"):
            marks.turn_away(own, "This reading is no longer open, so nothing is added to it.")

    with st.container(key="viewer_side"), error_boundary():
        images = loaders.images(place.case_id)
        viewer.show(images, overlays, jump, replace(found, receive=take))
        marks.warn(own)


def _context(reading: StudyContext, place: Place, prediction: Prediction | None) -> ReadingContext:
    own = drawer(reading.study, place)
    return ReadingContext(place.case_id, own, prediction, person=place.reader)


def draw_tabs(reading: StudyContext, place: Place, prediction: Prediction, explained: bool) -> None:
    """The sheet first; beside it what this arm shows."""
    tabs = st.tabs(_TABS if explained else _TABS[:2], key="study_panel", on_change="rerun")
    if tabs[1].open:
        sheet.note_opened(reading, place)
    with tabs[0]:
        sheet.draw(reading, place, prediction)
    with tabs[1]:
        marks.draw_correction(_context(reading, place, prediction))
        # what a study shows must not hang on other cases, nor on the site where it is read
        same = case_mix.restated(prediction, reading.study.mix)
        answers.draw(same, alike=False, whose=answers.STUDY)
    if explained:
        with tabs[2]:
            lesions.draw(prediction)
        with tabs[3]:
            if tabs[3].open:  # the first look loads a library for about a second
                answers.draw_reasons(prediction)


def _jump(
    reading: StudyContext, place: Place, prediction: Prediction | None, explained: bool
) -> viewer.Jump | None:
    """Where the sheet's "Show" leads, or the row chosen in the lesion table, whichever is newer."""
    noted = st.session_state.setdefault(sheet.jump_key(reading, place), sheet.no_jump())
    chosen = lesions.jump(prediction) if explained and prediction is not None else None
    if chosen is not None and chosen.nonce != noted["table"]:
        noted.update(table=chosen.nonce, nonce=noted["nonce"] + 1, number=chosen.lesion, point=None)
    if noted["point"] is not None:
        return viewer.Jump(noted["nonce"], noted["point"])
    there = prediction.lesions if prediction is not None else ()
    found = [n for n in there if n.number == noted["number"]]
    if not found:
        return None
    return viewer.Jump(noted["nonce"], found[0].centroid_mm, found[0].number)
