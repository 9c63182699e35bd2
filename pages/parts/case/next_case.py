"""The next case of whoever reads: from the work list, and after a stored vote."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import streamlit as st

from bmcore.review import case_index, who_read
from bmcore.review.votes import Reader
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.case import reader
from pages.parts.words import escaped

ALL_READ = "You have voted on every case that is open to you."


def key() -> str | None:
    """Of the reader who sits here; None while nobody has said who that is."""
    who = reader.current()
    if who is not None:
        return Reader(*who).key
    user = guard.user()
    return None if user.local else user.key


def read_by(case_ids: Collection[str]) -> who_read.ReadBy:
    """Who has voted on these cases outside studies."""
    return loaders.store().read(lambda connection: who_read.who_read(connection, case_ids))


def following(after: str | None = None) -> str | None:
    """The oldest case, behind ``after``, that this reader may open and has not voted on: of those
    that ``loaders.index_cases`` has found."""
    return case_index.next_unread(loaders.store(), key(), guard.closed_cases(), after)


def open_case(case_id: str) -> None:
    """Go to a case at once."""
    st.switch_page("pages/review.py", query_params={"case": case_id})


def draw_first() -> None:
    """On the work list: one button to the case that comes next."""
    found = following()
    if found is None:
        st.caption(f":material/done_all: {ALL_READ}")
        return
    words = f"Read the next case: {escaped(found)}"
    if st.button(words, type="primary", key="next_case", icon=":material/play_arrow:"):
        open_case(found)


def draw_after(case_id: str, strong: bool) -> None:
    """Behind a stored vote: on to the next case without one. strong: nothing else is to do here."""
    loaders.index_cases()  # whoever came here by an address has not seen the work list
    found = following(case_id)
    if found is None:
        st.caption(f":material/done_all: {ALL_READ}")
        return
    words = f"Next unread case: {escaped(found)}"
    kind: Literal["primary", "secondary"] = "primary" if strong else "secondary"
    if st.button(words, type=kind, key="next_unread", icon=":material/skip_next:"):
        open_case(found)
