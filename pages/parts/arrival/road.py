"""The road from files to a case on the Cases page: bring, look, choose, check the outline, add."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from bmcore.door import arrival, work
from pages.parts import loaders, runs
from pages.parts.access import guard
from pages.parts.access.guard import error_boundary
from pages.parts.arrival import bring, choose, outline, patients
from pages.parts.words import count, escaped, when

if TYPE_CHECKING:
    from bmcore.door.arrival import Arrival
    from bmcore.door.work import Work

_STEPS = ("Bring the files", "Check the series", "Check the brain outline", "Add the case")
_STEPS_OF_MANY = ("Choose the folder", "Check the patients", "Bring them in")
_AT = {"": 1, work.LOOK: 1, work.ALIGN: 2, work.STORE: 3, work.PREVIEW: 1, work.BRING: 2}
_TITLES = {
    work.LOOK: "Looking at the files",
    work.ALIGN: "Aligning the sequences and finding the brain",
    work.STORE: "Adding the case",
    work.PREVIEW: "Looking at the patients",
    work.BRING: "Bringing the patients in",
}


def is_open() -> bool:
    """True while files of this user are on the road, or were interrupted."""
    return bool(arrival.of(loaders.home(), guard.user().key))


def draw_open() -> bool:
    """Draw where the files are that have arrived; False where none have."""
    arrival.sweep(loaders.home())
    current = _current([a for a in arrival.of(loaders.home(), guard.user().key) if a.complete])
    if current is not None:
        _one(current)
    return current is not None


def draw_new() -> None:
    """Draw the ways to bring files, and what was interrupted."""
    mine = arrival.of(loaders.home(), guard.user().key)
    _others([a for a in mine if not a.complete])
    bring.draw()


def _current(complete: list[Arrival]) -> Arrival | None:
    """The arrival that is open: the one that was chosen, else the newest."""
    if not complete:
        return None
    labels = {a.id: f"{escaped(a.label)} ({_ago(a)})" for a in reversed(complete)}
    if len(complete) == 1:
        return complete[0]
    chosen = st.selectbox(
        f"{len(complete)} sets of files are waiting", list(labels), format_func=labels.__getitem__
    )
    return next(a for a in complete if a.id == chosen)


def _ago(of: Arrival) -> str:
    return when(of.begun)


def _others(unfinished: list[Arrival]) -> None:
    """Uploads that were interrupted: how to go on, and a way to remove them."""
    from bmcore.door.uploads import gigabytes

    for one in unfinished:
        words, button = st.columns([5, 1], vertical_alignment="center")
        words.info(
            f"**{escaped(one.label)}** was interrupted: {gigabytes(one.received)} of "
            f"{gigabytes(one.size)} are here. Choose the same files again to go on.",
            icon=":material/pause_circle:",
        )
        if button.button("Remove", key=f"remove {one.id}"):
            _remove(one)


def _one(of: Arrival) -> None:
    now = work.state(of)
    if now.state == "none":
        guard.check("cases.add")
        now = work.submit(loaders.home(), of, work.PREVIEW if of.many else work.LOOK)
    _head(of, now)
    if now.busy:
        _follow(of.id, of.owner, now.step)
    elif now.state == "failed":
        _failed(of, now)
    else:
        with error_boundary():
            _DRAWN[now.step](of)


def _head(of: Arrival, now: Work) -> None:
    """Which files these are, and where on the road they are."""
    words, button = st.columns([5, 1], vertical_alignment="center")
    at = _AT[now.step]
    steps = _STEPS_OF_MANY if of.many else _STEPS
    names = " → ".join(f"**{name}**" if n == at else name for n, name in enumerate(steps))
    words.markdown(f"{escaped(of.label)}  \n:small[{names}]")
    label = "Stop and close" if of.many else "Remove these files"
    ended = now.step == work.STORE or (now.step == work.BRING and now.state == "done")
    if not ended and button.button(label, key=f"remove {of.id}"):
        _remove(of)


def _remove(of: Arrival) -> None:
    guard.check("cases.add")
    work.give_up(of)
    st.rerun()


@guard.fragment("cases.add", run_every=1.0)
def _follow(arrival_id: str, owner: str, step: str) -> None:
    """What is being done; the page is drawn anew at the end of the step."""
    of = arrival.find(loaders.home(), arrival_id, owner)
    now = work.state(of)
    if not now.busy:
        st.rerun(scope="app")
    status = st.status(_TITLES[step], expanded=True)
    with status:
        for words in now.done:
            st.markdown(f":material/check: {escaped(words)}")
        st.markdown(f":material/pending: **{escaped(now.words or 'Starting')}** …")
    status.update(state="running")
    st.caption("This goes on if you leave the page; come back to it here.")


def _failed(of: Arrival, now: Work) -> None:
    """Every reason, and the one way on from there."""
    titles = {
        work.LOOK: "These files cannot be used.",
        work.ALIGN: "A case cannot be made of these series.",
        work.STORE: "The case could not be added.",
        work.BRING: "The import was stopped.",
    }
    st.error(titles.get(now.step, titles[work.LOOK]), icon=":material/block:")
    st.markdown(f"{count(len(now.refused), 'reason').capitalize()}:")
    for sentence in now.refused:
        st.markdown(f"- {escaped(sentence)}")
    if now.step in (work.ALIGN, work.STORE):
        if st.button("Back to the series", type="primary", icon=":material/arrow_back:"):
            work.forget(of, work.ALIGN)
            st.rerun()
    elif st.button("Choose other files", type="primary", icon=":material/folder_open:"):
        _remove(of)


def _stored(of: Arrival) -> None:
    """The case is there: the models run, and its page opens."""
    case_id = work.state(of).case_id
    if case_id is None:
        return
    guard.check("cases.add")
    loaders.case_added()
    if loaders.models().info is not None and runs.state(case_id).state == "none":
        runs.submit(case_id)
    arrival.drop(of)
    st.switch_page("pages/review.py", query_params={"case": case_id})


_DRAWN = {
    work.LOOK: choose.draw,
    work.ALIGN: outline.draw,
    work.STORE: _stored,
    work.PREVIEW: patients.draw_preview,
    work.BRING: patients.draw_brought,
}
