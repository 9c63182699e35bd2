"""Where somebody arrives: a reader whose list in a study waits is led to its next sheet, once."""

from __future__ import annotations

import streamlit as st

from bmcore.review import seats
from pages.parts import loaders
from pages.parts.access import session

_FIRST = "first page of this visit"


def note(title: str) -> None:
    """Remember which page this visit began with."""
    st.session_state.setdefault(_FIRST, title)


def to_own_list(title: str) -> None:
    """Go on to the reader's own sheet where this visit began with the page ``title``."""
    begun = st.session_state.get(_FIRST) == title
    st.session_state[_FIRST] = None
    seat = seats.first_waiting(loaders.store(), session.current()) if begun else None
    if seat is not None:
        st.switch_page("pages/study.py", query_params={"seat": seat, "reading": "1"})
