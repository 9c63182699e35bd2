"""Read one case: images, the models' answers when asked for, and the reader's vote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from bmcore.domain import Prediction
from pages.parts import loaders, runs, viewer
from pages.parts.access import guard
from pages.parts.access.guard import error_boundary, page
from pages.parts.case import (
    answers,
    compare,
    lesions,
    manage,
    marks,
    prior,
    reader,
    three_d,
    vote,
    what_if,
)
from pages.parts.case.compare import Compared
from pages.parts.case.header import draw_case_header, pick_case
from pages.parts.case.marks import ReadingContext
from pages.parts.case.run_models import run_models


def draw_images(reading: ReadingContext, compared: Compared | None) -> None:
    """The viewer; without the models' answers nothing but images and own marks is sent."""
    overlays, led = viewer.Overlays(), None
    if reading.prediction is not None:
        overlays = lesions.overlays(reading.prediction, marks.mask(reading))
        led = lesions.jump(reading.prediction)
    with st.container(key="viewer_side"), error_boundary():
        images = loaders.images(reading.case_id)
        beside = None
        if compared is not None:
            compare.draw_link(compared)
            beside = compare.beside(compared)
        jump = compare.newest(
            reading.case_id, led, None if compared is None else compare.jump(compared)
        )
        viewer.show(images, overlays, jump, own_desk(reading), beside)
        marks.warn(reading)
        marks.draw_downloads(reading)
        three_d.draw(images, overlays)


def own_desk(reading: ReadingContext) -> viewer.Desk:
    """Marks are taken from who may read the case, also after a sign-out in another window."""
    found = marks.desk(reading)
    receive = found.receive
    assert receive is not None

    def take(kind: str, value: Mapping[str, Any]) -> None:
        if guard.may("case.open", reading.case_id):
            receive(kind, value)

    return replace(found, receive=take)


def draw_panel(
    reading: ReadingContext, prediction: Prediction | None, compared: Compared | None
) -> None:
    """The right side: vote alone while the models are hidden, else tabs."""
    if reading.prediction is None:
        if compared is not None:
            compare.draw(compared)
        vote.draw(loaders.entry(reading.case_id), prediction, shown=False)
        if prediction is not None:
            reader.offer_models(reading.case_id, reader.current())
        return
    vote.say_problems(reading.case_id, "unaided")  # its form is over where the answers are shown
    names = ["Answers", "Lesions", "Why", "What if", "Your vote"]
    if compared is not None:
        names.append("Then and now")
    tabs = st.tabs(names, key="panel", on_change="rerun")
    with tabs[0]:
        answers.draw(reading.prediction)
    with tabs[1]:
        marks.draw_correction(reading)
        lesions.draw(reading.prediction)
        lesions.draw_download(reading.prediction)
    with tabs[2]:
        if tabs[2].open:  # the first look loads a library for about a second
            answers.draw_reasons(reading.prediction)
    with tabs[3]:
        if tabs[3].open:
            what_if.draw(reading.prediction)
    with tabs[4]:
        vote.draw(loaders.entry(reading.case_id), reading.prediction, shown=True)
    if compared is not None:
        with tabs[5]:
            compare.draw(compared)


with page("Review", "review.see"):
    with st.container(key="case_header", horizontal=True, vertical_alignment="center"):
        case_id = pick_case()
        if case_id:
            guard.check("case.open", case_id)  # nothing of a running study's case is sent
            who = reader.current()
            prediction = loaders.prediction(case_id)
            shown = prediction if reader.models_shown(case_id, who) else None
            draw_case_header(loaders.entry(case_id), prediction is not None, shown)
            manage.draw(case_id)
            said = prior.draw(case_id)
    if case_id:
        reading = ReadingContext(case_id, who[0] if who else None, shown)
        compared = None
        if said is not None:
            with error_boundary():
                compared = compare.of(reading, said)
        left, right = st.columns([2, 1], gap="medium")
        with left:
            draw_images(reading, compared)
        with right:
            reader.identity()
            if prediction is None:
                run_models(case_id)
            draw_panel(reading, prediction, compared)
    runs.get_ready()
