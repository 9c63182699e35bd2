"""Practice cases: one sheet after the other, each with feedback, before the first counted case."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd
import streamlit as st

from bmcore.domain import ARM_WORDS, BmcoreError, Prediction
from bmcore.review import practice
from bmcore.review.allocation import Place
from bmcore.review.practice import PracticeDesk, Practised
from bmcore.review.reading_session import ReadingSession
from bmcore.review.study import Study
from bmcore.review.votes import CHOICE_NAMES
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.agreement import source
from pages.parts.study import case, context, sheet, waiting
from pages.parts.study.context import PracticeContext, StudyContext
from pages.parts.study.waiting import Wait
from pages.parts.words import clinical, escaped


def of(reading: StudyContext) -> PracticeContext | None:
    """The reader's practice, while it is not done or its last feedback is on the screen."""
    if not reading.study.practice:
        return None
    desk = PracticeDesk(loaders.store(), reading.study.study, _facts)
    found = PracticeContext(desk, reading.study, reading.reader)
    return found if found.told is not None or desk.left(reading.reader.id) else None


def _facts(case_id: str) -> tuple[str | None, str | None]:
    """The reference and the models' fused answer; asked once the sheet is locked."""
    known = source.known_primaries().get(case_id)
    try:
        found = loaders.prediction(case_id)
    except BmcoreError:
        found = None
    model = None if found is None else practice_answer(found)
    return (None if known is None else str(known)), model


def practice_answer(prediction: Prediction) -> str | None:
    """The models' likeliest primary."""
    from bmcore.analysis.readings import CaseFacts

    answers = {a.kind: a.probabilities for a in prediction.answers}
    return CaseFacts(prediction.case_id, answers=answers).top()


def draw(reading: PracticeContext) -> None:
    """The feedback that waits, else the next practice case."""
    if reading.told is not None:
        _draw_feedback(reading, reading.told)
        return
    place = practice.place(
        reading.study, reading.reader.id, reading.desk.left(reading.reader.id)[0]
    )
    _draw_case(reading, place)


def _draw_case(reading: PracticeContext, place: Place) -> None:
    standing = reading.standing(place)
    guard.check("study.images", at=standing)
    helped, explained = case.may_show(standing)
    found = waiting.answer(reading, place.case_id) if helped else None
    prediction = found if isinstance(found, Prediction) else None
    if prediction is not None:  # that they are sent is written before they are
        reading.desk.show(place, loaders.evidence(place.case_id, shown=True))
    _draw_head(reading, place)
    viewer_side, sheet_side = st.columns([5, 4], gap="medium")
    with viewer_side:
        case.draw_images(reading, place, prediction, explained)
    with sheet_side:
        if isinstance(found, Wait):
            waiting.draw(reading, place, found)
        elif prediction is None:
            sheet.draw(reading, place, None)
        else:
            case.draw_tabs(reading, place, prediction, explained)


def _draw_head(reading: PracticeContext, place: Place) -> None:
    practice_cases = reading.study.practice
    entry = loaders.entry(place.case_id)
    with st.container(key="case_header", horizontal=True, vertical_alignment="center"):
        words = [
            ("Reader", reading.reader.name),
            ("Practice", f"{practice_cases.index(place.case_id) + 1} of {len(practice_cases)}"),
            ("Read", ARM_WORDS[place.arm]),
            ("Patient", clinical(entry.clinical)),
        ]
        spans = [
            f'<span><span class="label">{a}</span> <b>{escape(b)}</b></span>' for a, b in words
        ]
        st.html(f'<div class="case-line">{"".join(spans)}</div>', width="content")
        if st.button("Back to the list", key="to_list", icon=":material/list:"):
            context.close(reading)
            st.rerun()
    st.caption("A practice case: it does not count, and you get feedback on your answer.")


def _draw_feedback(reading: PracticeContext, case_id: str) -> None:
    """What was said, beside the reference and the models' answer."""
    mine = [p for p in reading.desk.done() if (p.reader, p.case_id) == (reading.reader.id, case_id)]
    one = mine[-1]
    if one.model is not None:
        place = practice.place(reading.study, reading.reader.id, case_id)
        reading.desk.show(place, loaders.evidence(case_id, shown=True))
    number = reading.study.practice.index(case_id) + 1
    st.header(f"Practice case {number}: how it went", anchor=False)
    right = one.right(reading.study)
    said = CHOICE_NAMES[one.answer(reading.study)]
    st.markdown(f"**The reference: {escaped(CHOICE_NAMES[one.reference])}**")
    words = f"Your answer: {said}" + (", as the reference has it." if right else ".")
    (st.success if right else st.warning)(escaped(words))
    model = "no answer" if one.model is None else CHOICE_NAMES[one.model]
    st.markdown(escaped(f"The models' answer: {model}"))
    left = reading.desk.left(reading.reader.id)
    go = "Next practice case" if left else "Begin with the counted cases"
    if st.button(go, type="primary", key="after_practice", icon=":material/play_arrow:"):
        reading.seen()
        if not left:
            context.close(reading)
        st.rerun()


def draw_own(reading: StudyContext) -> bool:
    """On the list: what has to be practised before it begins; False where nothing has."""
    practising = of(reading)
    left = practising.desk.left(reading.reader.id) if practising is not None else ()
    if not left:
        return False
    cases = "1 practice case" if len(left) == 1 else f"{len(left)} practice cases"
    st.info(
        f"Before your list begins, please read {cases}. Practice does not count; after each case "
        "you see the reference and the models' answer.",
        icon=":material/school:",
    )
    if st.button("Read the next practice case", type="primary", key="practice"):
        context.open_sheet(reading)
        st.rerun()
    return True


def draw_results(desk: ReadingSession) -> None:
    """For the investigator: how the readers did, a line each."""
    study = desk.version.study
    if not study.practice:
        return
    done = PracticeDesk(loaders.store(), study.study, _facts).done()
    st.markdown("**Practice cases**")
    st.dataframe(pd.DataFrame(_rows(study, done)), hide_index=True)
    st.caption("They come before the first counted case and count nowhere.")


def _rows(study: Study, done: Sequence[Practised]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for reader in study.readers:
        mine = [p for p in done if p.reader == reader.id]
        judged = [p for p in mine if p.model is not None]
        rows.append(
            {
                "Reader": reader.name,
                "Read": f"{len(mine)} of {len(study.practice)}",
                "Right": f"{sum(p.right(study) for p in mine)} of {len(mine)}",
                "Models right": f"{sum(p.model == p.reference for p in judged)} of {len(judged)}",
            }
        )
    return rows
