"""Read one case: images, the models' answers when asked for, and the reader's vote."""

from __future__ import annotations

import streamlit as st

from bmcore.domain import Case, Prediction
from pages.parts import answers, lesions, loaders, reader, viewer, vote
from pages.parts.case_line import draw_case_line, draw_notes, pick_case
from pages.parts.guard import page
from pages.parts.run_models import run_models


def draw_images(case: Case, prediction: Prediction | None) -> None:
    """The viewer; without ``prediction`` nothing but images goes to the browser."""
    overlays, jump = viewer.Overlays(), None
    if prediction is not None:
        overlays, jump = lesions.overlays(prediction), lesions.jump(prediction)
    with st.container(key="viewer_side"):
        viewer.show(case, loaders.case_stamp(case.case_id), overlays, jump)


def draw_panel(case: Case, prediction: Prediction | None, shown: bool) -> None:
    """The right side: vote alone while the models are hidden, else tabs."""
    if prediction is None or not shown:
        vote.draw(case, prediction, shown=False)
        if prediction is not None:
            reader.offer_models(case.case_id)
        return
    tabs = st.tabs(["Answers", "Lesions", "Why", "Your vote"], key="panel", on_change="rerun")
    with tabs[0]:
        answers.draw(prediction)
    with tabs[1]:
        lesions.draw(case, prediction)
    with tabs[2]:
        if tabs[2].open:  # the first look loads a library for about a second
            answers.draw_reasons(prediction)
    with tabs[3]:
        vote.draw(case, prediction, shown=True)


with page("Review"):
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        case_id = pick_case()
        if case_id:
            case = loaders.case(case_id)
            prediction = loaders.prediction(case_id)
            shown = reader.models_shown(case_id, reader.current())
            draw_case_line(case, prediction)
            draw_notes(case, prediction if shown else None)
    if case_id:
        left, right = st.columns([2, 1], gap="medium")
        with left:
            draw_images(case, prediction if shown else None)
        with right:
            reader.identity()
            if prediction is None:
                run_models(case_id)
            draw_panel(case, prediction, shown)
