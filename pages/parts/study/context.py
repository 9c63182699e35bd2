"""Who reads which study, and which sheet is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from bmcore.domain import ARM_WORDS, BmcoreError
from bmcore.review import access, conduct, plan
from bmcore.review.access import AccessRefused
from bmcore.review.allocation import Place
from bmcore.review.practice import PracticeDesk
from bmcore.review.reading_session import ReadingSession
from bmcore.review.study import Study, StudyReader
from bmcore.review.votes import Reader
from bmcore.review.worklist import WorkItem
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import escaped, in_words

COMPARED = {**ARM_WORDS, "models": "by the models alone"}  # what an endpoint may compare
STATE_WORDS = {
    "not started": "To do",
    "draft": "Begun",
    "unaided locked": "Locked",
    "aided locked": "Locked",
    "skipped": "Skipped",
}
_READING = "reading"
_FEEDBACK = "feedback"  # number of the practice case whose feedback is on the screen


@dataclass(frozen=True)
class StudyContext:
    """One reader in one locked study."""

    desk: ReadingSession
    study: Study
    reader: StudyReader

    @property
    def key(self) -> str:
        return f"{self.study.study}/{self.reader.id}"

    def work(self) -> tuple[WorkItem, ...]:
        return self.desk.work(self.reader.id)

    def standing(self, place: Place) -> access.Standing:
        return access.sheet_standing(self.study, self.work(), place)

    @property
    def promise(self) -> str:
        """What locking a sheet means, where no other step of the case follows."""
        return "Once locked it changes only by a correction with a reason."

    def go_on(self, place: Place) -> None:
        """After the last arm of a case back to the list; before it the next arm opens."""
        listed = self.work()
        following = next_item(listed)
        number = numbers(listed)
        same = following is not None and number[following.item.place] == number[place]
        st.session_state.pop(_skipped_key(self), None)
        st.session_state[f"told {self.key}"] = (
            f"Locked: case {number[place]}, {ARM_WORDS[place.arm]}."
        )
        if not same:
            close(self)


@dataclass(frozen=True)
class PracticeContext(StudyContext):
    """The same reader at a practice case, which counts nowhere."""

    desk: PracticeDesk  # type: ignore[assignment]

    def standing(self, place: Place) -> access.Standing:
        return self.desk.standing(place)

    @property
    def promise(self) -> str:
        return (
            "It does not count. Once it is locked you will see the reference and the models' "
            "answer."
        )

    def go_on(self, place: Place) -> None:
        """The feedback on what was locked comes next."""
        st.query_params[_FEEDBACK] = str(self.study.practice.index(place.case_id) + 1)

    @property
    def told(self) -> str | None:
        """The practice case whose feedback is on the screen, also after a reload; only one that
        this reader has read."""
        number = st.query_params.get(_FEEDBACK, "")
        cases = dict(enumerate(self.study.practice, start=1))
        case_id = next((c for n, c in cases.items() if str(n) == number), None)
        read = {p.case_id for p in self.desk.done() if p.reader == self.reader.id}
        return case_id if case_id in read else None

    def seen(self) -> None:
        """The feedback was read."""
        st.query_params.pop(_FEEDBACK, None)


def choose() -> StudyContext | None:
    """The study and reader of this session; None, with words, where there is none."""
    seats = {f"{name}/{reader.id}": (name, reader) for name, reader in _mine()}
    if not seats:
        _say_none()
        return None
    keys = list(seats)
    asked = st.query_params.get("seat")
    local = guard.user().local
    chosen: str | None
    if len(keys) == 1 and not local:
        chosen = keys[0]
    elif asked in keys and _READING in st.query_params:
        chosen = asked  # the screen belongs to the sheet
    else:
        chosen = st.selectbox(
            "Who is reading?" if local else "Study",
            keys,
            index=keys.index(asked) if asked in keys else None,
            format_func=lambda key: f"{seats[key][1].name}, study {seats[key][0]}",
            placeholder="Choose",
            width=420,
            key=f"seat box {asked}",
        )
        if chosen is not None and chosen != asked:
            st.query_params.from_dict({"seat": chosen})
            st.rerun()
    if chosen is None:
        st.info("Choose who is reading. Each reader has a list and an order of their own.")
        return None
    name, reader = seats[chosen]
    desk = ReadingSession(loaders.store(), name)
    return StudyContext(desk, desk.version.study, reader)


def _mine() -> list[tuple[str, StudyReader]]:
    """(study, reader) that this user may read as: the own name; the local user any."""
    user, store = guard.user(), loaders.store()
    found = []
    for name in plan.studies(store):
        for reader in ReadingSession(store, name).version.study.readers:
            if user.local or Reader(reader.name, "other").key == user.key:
                found.append((name, reader))
    return found


def _say_none() -> None:
    st.header("Study", anchor=False)
    user = guard.user()
    if user.local:
        st.info("No study is running yet. Plan and start one on the page “Run a study”.")
    else:
        st.info(
            f"There is no list for {escaped(user.name)}. The investigator names the readers of a "
            "study in its plan; the name there must be that of your account."
        )


def note_refused(reading: StudyContext, words: str) -> None:
    """Kept for the next drawing of the page, whatever is on the screen then."""
    st.session_state[f"refused {reading.key}"] = words


def draw_refused(reading: StudyContext) -> None:
    words = st.session_state.pop(f"refused {reading.key}", None)
    if words:
        st.error(escaped(words))


def refusal_words(error: BmcoreError) -> str:
    """What may not be done now, as the other pages say it; else each problem as a sentence."""
    if isinstance(error, AccessRefused):
        return in_words(error)
    return " ".join(finding.sentence for finding in error.findings)


def is_reading() -> bool:
    """A sheet is open, and not the list."""
    return _READING in st.query_params


def open_place(reading: StudyContext) -> Place | None:
    """The sheet that is being read; None while the list is shown.

    It is the next one of the list, also after a reload, or a skipped one that was chosen.
    """
    if _READING not in st.query_params:
        return None
    listed = reading.work()
    chosen = st.session_state.get(_skipped_key(reading))
    if chosen is not None and any(w.item.place == chosen and not w.locked for w in listed):
        return chosen
    following = next_item(listed)
    if following is None or following.not_before is not None:
        close(reading)
        return None
    return following.item.place


def next_item(listed: Sequence[WorkItem]) -> WorkItem | None:
    return next((w for w in listed if not w.done), None)


def open_sheet(reading: StudyContext, skipped: Place | None = None) -> None:
    """Go to the next sheet, or to ``skipped``, at the next drawing."""
    st.session_state[_skipped_key(reading)] = skipped
    st.query_params[_READING] = "1"


def halted(reading: StudyContext) -> bool:
    """The study is paused or closed: the list is shown, and no sheet."""
    return bool(conduct.of(reading.desk.store, reading.study.study).halted)


def close(reading: StudyContext) -> None:
    """Back to the list at the next drawing."""
    st.session_state.pop(_skipped_key(reading), None)
    st.query_params.pop(_READING, None)


def _skipped_key(reading: StudyContext) -> str:
    return f"skipped sheet {reading.key}"


def numbers(listed: Sequence[WorkItem]) -> dict[Place, int]:
    """Case 1, 2, ... in the reader's order. A hidden repeat has a number like any other."""
    found: dict[tuple[int, str, int], int] = {}
    for w in listed:
        found.setdefault((w.item.period, w.item.place.case_id, w.item.place.occasion), len(found))
    return {
        w.item.place: found[w.item.period, w.item.place.case_id, w.item.place.occasion] + 1
        for w in listed
    }
