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

from bmcore.domain import Prediction
from bmcore.review import access
from bmcore.review.access import Standing
from bmcore.review.allocation import Place
from bmcore.review.masks import drawer
from pages.parts import answers, desk, guard, lesions, loaders, study_seat, study_sheet, viewer
from pages.parts.desk import Seat
from pages.parts.guard import shield
from pages.parts.study_seat import ARM_WORDS, StudySeat
from pages.parts.words import clinical

_TABS = ("Your answer", "The models' answers", "Lesions and maps", "Why")


def draw(seat: StudySeat, place: Place) -> None:
    """The sheet at ``place``, which is its turn."""
    standing = seat.standing(place)
    guard.check("study.images", at=standing)
    user = guard.user()
    helped = access.allowed(user, "study.models", standing)
    explained = access.allowed(user, "study.reasons", standing)
    prediction = loaders.prediction(place.case_id) if helped else None
    _draw_head(seat, place)
    viewer_side, sheet_side = st.columns([5, 4], gap="medium")
    with viewer_side:
        _draw_images(seat, place, prediction, explained)
    with sheet_side:
        told = st.session_state.pop(f"told {seat.key}", None)
        if told:
            st.success(f"{told} Now read it {ARM_WORDS[place.arm]}.", icon=":material/lock:")
        if helped and prediction is None:
            st.warning(
                "The models have not read this case, so this sheet cannot be answered. Skip it, "
                "and tell the investigator."
            )
        elif prediction is None:
            study_sheet.draw(seat, place, None)
        else:
            _draw_tabs(seat, place, prediction, explained)


def _draw_head(seat: StudySeat, place: Place) -> None:
    """Which case and arm, the patient, and the ways off the sheet."""
    number = study_seat.numbers(seat.work())
    entry = loaders.entry(place.case_id)
    with st.container(key="case_header", horizontal=True, vertical_alignment="center"):
        words = [
            ("Reader", seat.reader.name),
            ("Case", f"{number[place]} of {max(number.values())}"),
            ("Read", ARM_WORDS[place.arm]),
            ("Patient", clinical(entry.clinical)),
            ("Sequences", ", ".join(loaders.short_names(entry.sequences))),
        ]
        spans = [
            f'<span><span class="label">{a}</span> <b>{escape(b)}</b></span>' for a, b in words
        ]
        st.html(f'<div class="case-line">{"".join(spans)}</div>', width="content")
        _draw_flag(seat, place)
        _draw_skip(seat, place)
        if st.button("Back to the list", key="to_list", icon=":material/list:"):
            study_seat.close(seat)
            st.rerun()


def _draw_flag(seat: StudySeat, place: Place) -> None:
    flagged = next(w.flagged for w in seat.work() if w.item.place == place)
    token = study_sheet.sheet_token(seat, place)
    with st.popover("Flagged" if flagged else "Flag", icon=":material/flag:"):
        st.caption("Tells the investigator that something is wrong here. Changes no answer.")
        note = st.text_input("What should be looked at?", key=f"flag note {token}", max_chars=2000)
        words = "Take the flag away" if flagged else "Flag this sheet"
        if st.button(words, key=f"flag {flagged} {token}"):
            guard.check("study.answer", at=seat.standing(place))
            seat.desk.flag(place, note, study_sheet.new_key(), on=not flagged)
            st.rerun()


def _draw_skip(seat: StudySeat, place: Place) -> None:
    token = study_sheet.sheet_token(seat, place)
    with st.popover("Skip", icon=":material/skip_next:"):
        st.caption("The case can still be read later, from your list.")
        note = st.text_input("Why?", key=f"skip note {token}", max_chars=2000)
        if st.button("Skip this case", key=f"skip {token}"):  # a second click skips no other
            guard.check("study.answer", at=seat.standing(place))
            seat.desk.skip(place, note, study_sheet.new_key())
            study_seat.close(seat)
            st.rerun()


def _draw_images(
    seat: StudySeat, place: Place, prediction: Prediction | None, explained: bool
) -> None:
    """The viewer. Grad-CAM belongs to the reasons, and is passed on in that arm alone."""
    own = _seat(seat, place, prediction)
    overlays, jump = viewer.Overlays(), None
    if prediction is not None:
        overlays = viewer.Overlays(desk.mask(own), prediction.lesions)
        if explained:
            overlays = lesions.overlays(prediction, desk.mask(own))
        jump = _jump(seat, place, prediction, explained)
    found = desk.desk(own)
    receive = found.receive
    assert receive is not None

    def take(kind: str, value: Mapping[str, Any]) -> None:
        """Marks are taken while the sheet is open in the arm in which they were made."""
        now = seat.standing(place)
        right = now in (Standing.AIDED, Standing.EXPLAINED) if prediction else Standing.UNAIDED
        if right is True or right is now:
            guard.check("study.answer", at=now)
            receive(kind, value)
        elif kind != "lesion":
            desk.turn_away(own, "This sheet is not open any more, so nothing is added to it.")

    with st.container(key="viewer_side"), shield():
        images = loaders.images(place.case_id)
        viewer.show(images, overlays, jump, replace(found, receive=take))
        desk.warn(own)


def _seat(seat: StudySeat, place: Place, prediction: Prediction | None) -> Seat:
    return Seat(place.case_id, drawer(seat.study, place), prediction)


def _draw_tabs(seat: StudySeat, place: Place, prediction: Prediction, explained: bool) -> None:
    """The sheet first; beside it what this arm shows."""
    tabs = st.tabs(_TABS if explained else _TABS[:2], key="study_panel", on_change="rerun")
    with tabs[0]:
        study_sheet.draw(seat, place, prediction)
    with tabs[1]:
        desk.draw_correction(_seat(seat, place, prediction))
        answers.draw(prediction, alike=False)  # what a study shows must not hang on other cases
    if explained:
        with tabs[2]:
            lesions.draw(prediction)
        with tabs[3]:
            if tabs[3].open:  # the first look loads a library for about a second
                answers.draw_reasons(prediction)


def _jump(
    seat: StudySeat, place: Place, prediction: Prediction, explained: bool
) -> viewer.Jump | None:
    """Where the sheet's "Show" leads, or the row chosen in the lesion table, whichever is newer."""
    noted = st.session_state.setdefault(
        study_sheet.jump_key(seat, place), {"nonce": 0, "number": None, "table": 0}
    )
    chosen = lesions.jump(prediction) if explained else None
    if chosen is not None and chosen.nonce != noted["table"]:
        noted.update(table=chosen.nonce, nonce=noted["nonce"] + 1, number=chosen.lesion)
    found = [n for n in prediction.lesions if n.number == noted["number"]]
    if not found:
        return None
    return viewer.Jump(noted["nonce"], found[0].centroid_mm, found[0].number)
