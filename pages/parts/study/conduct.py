"""A study is paused, resumed, closed; deadlines; and what its readers are told of it."""

from __future__ import annotations

from datetime import date, datetime

import pandas as pd
import streamlit as st

from bmcore.review import conduct
from bmcore.review.conduct import Conduct
from bmcore.review.reading_session import ReadingSession
from bmcore.review.study import Study
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.study.context import StudyContext
from pages.parts.words import day, escaped, when

_TOLD = "conduct told"
_ALL = ""


def draw(desk: ReadingSession) -> Conduct:
    """How the study stands, and what the investigator may do with it; the standing."""
    study = desk.version.study
    now = conduct.of(loaders.store(), study.study)
    told = st.session_state.pop(_TOLD, None)
    if told:
        st.success(told, icon=":material/check:")
    _draw_state(now, f"The study was {now.halted.rstrip('.')}.")
    with st.container(horizontal=True, vertical_alignment="center"):
        if now.state == conduct.RUNNING:
            _draw_pause(study)
        elif now.state == conduct.PAUSED:
            _draw_resume(study)
        if now.state != conduct.CLOSED:
            _draw_deadline(study, now)
            _draw_close(study)
        _draw_log(study)
    return now


def draw_own(reading: StudyContext) -> Conduct:
    """What the reader has to know: until when, and whether anything can be read now."""
    now = conduct.of(loaders.store(), reading.study.study)
    when_ = "now" if now.state == conduct.PAUSED else "any more"
    tail = f"It takes no readings {when_}. What you have locked is kept"
    tail += ", and so is your draft." if now.state == conduct.PAUSED else "."
    _draw_state(now, f"The study was {now.halted.rstrip('.')}. {tail}")
    due = now.deadline(reading.reader.id)
    if due is not None and not now.halted and any(not w.done for w in reading.work()):
        late = datetime.now().astimezone().date() > due
        words = f"The deadline was {day(due)}." if late else f"Please read until {day(due)}."
        (st.warning if late else st.caption)(words)
    return now


def _draw_state(now: Conduct, words: str) -> None:
    if now.state == conduct.PAUSED:
        st.warning(escaped(words), icon=":material/pause_circle:")
    elif now.state == conduct.CLOSED:
        st.info(escaped(words), icon=":material/lock:")


def _draw_pause(study: Study) -> None:
    with st.popover("Pause", icon=":material/pause:"):
        st.caption("Readers can look at their list, but cannot read until you resume the study.")
        reason = st.text_input("Why? The readers are told.", key="pause reason", max_chars=500)
        by = _author("pause")
        if st.button("Pause the study", key="pause", disabled=not (reason.strip() and by)):
            guard.check("study.manage")
            conduct.pause(loaders.store(), study.study, by, reason)
            _tell(f"{study.study} is paused.")


def _draw_resume(study: Study) -> None:
    with st.popover("Resume", icon=":material/play_arrow:", type="primary"):
        by = _author("resume")
        if st.button("Resume the study", key="resume", disabled=not by):
            guard.check("study.manage")
            conduct.resume(loaders.store(), study.study, by)
            _tell(f"{study.study} goes on.")


def _draw_close(study: Study) -> None:
    with st.popover("Close", icon=":material/lock:"):
        st.caption(
            "For good. What is not locked by then stays unread, and the results open to everybody "
            "who may see them."
        )
        reason = st.text_input("Why are you closing it?", key="close reason", max_chars=500)
        by = _author("close")
        typed = st.text_input(
            f"Type the study's id: {escaped(study.study)}", key="close typed", max_chars=80
        )
        ready = reason.strip() and by and typed.strip() == study.study
        if st.button("Close the study", type="primary", key="close", disabled=not ready):
            guard.check("study.manage")
            conduct.close(loaders.store(), study.study, by, reason)
            _tell(f"{study.study} is closed.")


def _draw_deadline(study: Study, now: Conduct) -> None:
    label = f"Deadline: {day(now.due)}" if now.due else "Deadline"
    with st.popover(label, icon=":material/event:"):
        st.caption("The readers see it on their list. It does not stop anybody.")
        names = {_ALL: "All readers", **{r.id: r.name for r in study.readers}}
        who = st.selectbox("For", list(names), format_func=names.__getitem__, key="deadline for")
        known = now.due if who == _ALL else now.own.get(str(who))
        due = st.date_input("Last day", value=known, key=f"deadline {who} {known}")
        by = _author("deadline")
        chosen = due if isinstance(due, date) else None
        if st.button("Set the deadline", key="set deadline", disabled=not by or chosen == known):
            guard.check("study.manage")
            conduct.set_deadline(loaders.store(), study.study, by, chosen, str(who))
            words = f"until {day(chosen)}" if chosen else "without a deadline"
            _tell(f"{names[str(who)]}: {words}.")


def _draw_log(study: Study) -> None:
    steps = conduct.log(loaders.store(), study.study)
    if not steps:
        return
    with st.popover("What was done", icon=":material/history:"):
        names = {_ALL: "all readers", **{r.id: r.name for r in study.readers}}
        rows = [
            {
                "When": when(s.at),
                "What": _step_words(s, names.get(s.reader, s.reader)),
                "By": s.by,
                "Why": s.reason,
            }
            for s in reversed(steps)
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True)


def _step_words(step: conduct.Step, who: str) -> str:
    if step.kind != "deadline":
        return step.kind.capitalize()
    until = day(step.due) if step.due else "none"
    return f"Deadline of {who}: {until}"


def _author(what: str) -> str:
    user = guard.user()
    if not user.local:
        return user.name
    return st.text_input("Who does this?", key=f"author {what}", max_chars=80).strip()


def _tell(words: str) -> None:
    st.session_state[_TOLD] = escaped(words)
    st.rerun()
