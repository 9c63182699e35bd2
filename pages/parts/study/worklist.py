"""A reader's list: how far, what comes next, and corrections of what is locked."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from bmcore.domain import ARM_WORDS
from bmcore.review.worklist import WorkItem
from pages.parts.access import guard
from pages.parts.study import conduct, context, practice, preference, questions
from pages.parts.study.context import STATE_WORDS, StudyContext
from pages.parts.words import escaped, when


def draw(reading: StudyContext) -> None:
    """Progress, one primary action, the list, corrections."""
    listed = reading.work()
    number = context.numbers(listed)
    st.header(escaped(reading.study.title), anchor=False)
    told = st.session_state.pop(f"told {reading.key}", None)
    if told:
        st.success(told, icon=":material/lock:")
    done = sum(w.done for w in listed)
    st.progress(
        done / len(listed),
        f"{escaped(reading.reader.name)}: {done} of {len(listed)} readings done, "
        f"{max(number.values())} cases",
    )
    if not conduct.draw_own(reading).halted:
        _draw_next(reading, listed)
        _draw_skipped(reading, listed)
    table = _table(listed)
    st.dataframe(table, hide_index=True, height="content" if len(table) < 12 else 420)
    _draw_correction(reading, listed)


def _draw_next(reading: StudyContext, listed: Sequence[WorkItem]) -> None:
    if practice.draw_own(reading):
        return
    following = context.next_item(listed)
    if following is None:
        _draw_end(reading, listed)
        return
    waits = following.not_before
    if waits is not None:
        st.info(f"The pause between two periods lasts until {when(waits)}. Go on after that.")
    number = context.numbers(listed)[following.item.place]
    begun = following.state == "draft" or _earlier_locked(listed, following)
    words = f"Go on with case {number}" if begun else f"Read next case ({number})"
    if st.button(
        words, type="primary", icon=":material/play_arrow:", disabled=waits is not None, key="next"
    ):
        context.open_sheet(reading)
        st.rerun()


def _draw_end(reading: StudyContext, listed: Sequence[WorkItem]) -> None:
    """Nothing waits: thanks, or the skipped cases that the reader reads now or leaves for good."""
    number = context.numbers(listed)
    left = {number[w.item.place] for w in listed if w.state == "skipped" and not w.final}
    if not left:
        if not preference.offer(reading):
            st.success("Your list is done. Thank you.", icon=":material/check:")
        return
    cases = "1 case is" if len(left) == 1 else f"{len(left)} cases are"
    st.info(
        f"{cases} skipped. Read them now, or close your list: after that they can no longer be "
        "read, and the cases and results of the study open to you.",
        icon=":material/skip_next:",
    )
    with st.popover("Close my list", icon=":material/lock:"):
        words = "this case" if len(left) == 1 else f"these {len(left)} cases"
        st.caption(f"You will not be able to read {words} in this study any more.")
        if st.button("Close it for good", key=f"close {reading.key}", type="primary"):
            guard.check("study.see")
            reading.desk.close(reading.reader.id, reading.reader.name)
            st.session_state[f"told {reading.key}"] = "Your list is closed."
            st.rerun()


def _earlier_locked(listed: Sequence[WorkItem], following: WorkItem) -> bool:
    """Another sheet of the same case is locked already: the case has been begun."""
    place = following.item.place
    return any(
        w.locked
        and (w.item.period, w.item.place.case_id, w.item.place.occasion)
        == (following.item.period, place.case_id, place.occasion)
        for w in listed
    )


def _draw_skipped(reading: StudyContext, listed: Sequence[WorkItem]) -> None:
    number = context.numbers(listed)
    skipped = {w.item.place: w for w in listed if w.state == "skipped"}
    first = {
        p: w
        for p, w in skipped.items()
        if not w.final and reading.standing(p) is not guard.Standing.WAITING
    }
    if not first:
        return
    left, right = st.columns([3, 1], vertical_alignment="bottom", width=520)
    place = left.selectbox(
        "Skipped",
        list(first),
        format_func=lambda p: f"Case {number[p]}, {ARM_WORDS[p.arm]}",
        key="skipped_box",
    )
    if right.button("Read it now", key="read_skipped"):
        context.open_sheet(reading, place)
        st.rerun()


def _table(listed: Sequence[WorkItem]) -> pd.DataFrame:
    """One row a case, one column an arm that this reader reads it in."""
    number = context.numbers(listed)
    arms = dict.fromkeys(w.item.place.arm for w in listed)
    cases: dict[int, list[WorkItem]] = {}
    for w in listed:
        cases.setdefault(number[w.item.place], []).append(w)
    rows = []
    for case, sheets in cases.items():
        states = {w.item.place.arm: _state_words(w) for w in sheets}
        rows.append(
            {
                "Case": str(case),
                **{ARM_WORDS[arm].capitalize(): states.get(arm, "") for arm in arms},
                "Flag": "flagged" if any(w.flagged for w in sheets) else "",
                "Active": _minutes(sum(w.seconds.active_s for w in sheets)),
                "Idle": _minutes(sum(w.seconds.idle_s for w in sheets)),
            }
        )
    return pd.DataFrame(rows)


def _state_words(w: WorkItem) -> str:
    return "Skipped for good" if w.final else STATE_WORDS[w.state]


def _minutes(seconds: float) -> str:
    return "" if not seconds else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _draw_correction(reading: StudyContext, listed: Sequence[WorkItem]) -> None:
    """A locked answer changes only by a new row with a reason; both stay on record."""
    number = context.numbers(listed)
    locked = [w.item.place for w in listed if w.locked]
    if not locked:
        return
    with st.expander("Correct a locked answer", icon=":material/edit:"):
        place = st.selectbox(
            "Reading",
            locked,
            index=None,
            format_func=lambda p: f"Case {number[p]}, {ARM_WORDS[p.arm]}",
            placeholder="Choose",
            key="correct_sheet",
        )
        if place is None:
            st.caption("The first answer stays on record, with the time and your reason.")
            return
        given = {a.question: a for a in reading.desk.answers() if a.place == place}
        asked = {  # a mask that was confirmed stays as it is
            q.id: q
            for q in reading.study.questions_in(place.arm)
            if q.id in given and q.kind != "mask"
        }
        name = st.selectbox("Question", list(asked), format_func=lambda q: asked[q].text)
        if name is None:
            return
        stored = given[name]
        st.text(f"Locked answer: {questions.in_words(asked[name], stored.value)}")
        token = f"correct {stored.site} {stored.id}"
        shown = questions.shown_by(stored.value)
        questions.draw(asked[name], token, shown)
        reason = st.text_input("Why are you changing it?", key=f"reason {token}", max_chars=2000)
        if st.button("Store the correction", key=f"store {token}"):
            guard.check("study.correct")
            value = questions.value(asked[name], token, shown)
            reading.desk.correct(place, name, value, reason)
            st.session_state[f"told {reading.key}"] = (
                f"Corrected: case {number[place]}, {ARM_WORDS[place.arm]}."
            )
            st.rerun()
