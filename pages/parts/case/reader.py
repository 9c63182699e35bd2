"""Who reads, and whether this reader has seen the models' answers for a case."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from bmcore.review import exposure
from bmcore.review.access import User
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import escaped

# Widgets of a page forget their values when another page is drawn; these keys keep them.
_NAME, _ROLE = "reader_name", "reader_role"
_WINDOW = "window id"
_MEMORY = st.components.v2.component(
    "bmcore_window", js=(Path(__file__).parent / "window_memory.js").read_text(encoding="utf-8")
)


def owner() -> str:
    """Names the user to the browser, so that it gives nobody what it keeps for another."""
    user = guard.user()
    return "local" if user.local else hashlib.sha256(user.key.encode()).hexdigest()[:16]


def window() -> str | None:
    """The id of this browser window, once it was told; outlives a reload."""
    return st.session_state.get(_WINDOW)


def identity() -> tuple[str, str] | None:
    """Name and role, asked once a browser window; None until both are given.

    Who signed in has the account's name and is asked for the role alone, once.
    """
    user = guard.user()
    who = _ask() if user.local else _of_account(user)
    _remember(who)
    return who


def _remember(who: tuple[str, str] | None) -> None:
    """Let the browser window keep who reads; it tells it after a reload."""

    def told() -> None:
        found = st.session_state.get("window_memory")
        _take_up(None if found is None else found.get("told"))

    data = {"owner": owner(), "window": window(), "who": list(who) if who else None}
    _MEMORY(data=data, key="window_memory", on_told_change=told)


def _take_up(told: Any) -> None:
    """What the window kept; taken for the user it was kept for, and not against what is known."""
    from bmcore.review.votes import ROLES, Reader

    user = guard.user()
    if not isinstance(told, Mapping) or told.get("owner") != owner():
        return
    if re.fullmatch("[0-9a-f]{32}", str(told.get("window"))):
        st.session_state[_WINDOW] = told["window"]
    who = told.get("who")
    if current() is not None or not isinstance(who, list) or len(who) != 2 or who[1] not in ROLES:
        return
    if not user.local:
        st.session_state[_role_key(user)] = who[1]
        return
    name = Reader(who[0], who[1]).name
    st.session_state[_NAME], st.session_state[_ROLE] = name, who[1]
    st.session_state["reader_name_box"] = name


def _role_key(user: User) -> str:
    """A role given in this session belongs to the user who gave it."""
    return _ROLE if user.local else f"{_ROLE} {user.key}"


def _ask() -> tuple[str, str] | None:
    from bmcore.review.votes import ROLE_NAMES, ROLES

    known = {r.name: r.role for r in loaders.store().readers()}
    name, role = st.session_state.get(_NAME), st.session_state.get(_ROLE)
    title = f"Reader: {escaped(name)}, {ROLE_NAMES[role]}" if name and role else "Who is reading?"
    with st.expander(title, expanded=not (name and role), icon=":material/person:"):
        names = sorted({*known, *([name] if name else [])})
        name = st.selectbox(
            "Name or initials",
            names,
            index=names.index(name) if name else None,
            accept_new_options=True,
            placeholder="Choose, or type a new one",
            key="reader_name_box",
        )
        first = known.get(name or "", role)
        role = st.selectbox(
            "Role",
            ROLES,
            index=list(ROLES).index(first) if first else None,
            format_func=lambda r: ROLE_NAMES[r],
            placeholder="Choose",
            disabled=name in known,
            key=f"reader_role_box {name}",
        )
    name = (name or "").strip()
    if not name or not role:
        return None
    if (name, role) != (st.session_state.get(_NAME), st.session_state.get(_ROLE)):
        st.session_state[_NAME], st.session_state[_ROLE] = name, role
        st.rerun()
    return name, role


def _of_account(user: User) -> tuple[str, str] | None:
    from bmcore.review.votes import ROLE_NAMES, ROLES

    who = current()
    if who is not None:
        st.caption(f":material/person: Reader: {escaped(who[0])}, {ROLE_NAMES[who[1]]}")
        return who
    role = st.selectbox(
        f"You read as {escaped(user.name)}. What is your role?",
        ROLES,
        index=None,
        format_func=lambda r: ROLE_NAMES[r],
        placeholder="Choose",
        key=f"reader_role_box {user.key}",
    )
    if role:
        st.session_state[_role_key(user)] = role
        st.rerun()
    return None


def current() -> tuple[str, str] | None:
    """Name and role: of the account, or as given in this session; None where one is not known."""
    user = guard.user()
    if not user.local:
        for known in loaders.store().readers():
            if known.key == user.key:
                return known.name, known.role
        role = st.session_state.get(_role_key(user))
        return (user.name, role) if role else None
    name, role = st.session_state.get(_NAME), st.session_state.get(_ROLE)
    return (name, role) if name and role else None


def acting() -> str:
    """The name under which the models' answers are sent: the reader's, or the user's own."""
    who = current()
    return who[0] if who is not None else guard.user().name


def models_shown(case_id: str, who: tuple[str, str] | None) -> bool:
    """True once this reader was sent the models' answers (``bmcore.review.exposure``).

    Until then the pages send neither segmentation nor answers, lesions or reasons to the browser.
    That this very prediction is sent, too, is written before it is.
    """
    if who is None or case_id not in loaders.store().shown_to(who[0]):
        return False
    if loaders.stored(case_id) is not None:
        show_models(case_id, who)
    return True


def show_models(case_id: str, who: tuple[str, str]) -> None:
    """Write that the models' answers are sent to this reader; refused before the own vote."""
    guard.check("case.open", case_id)
    evidence = loaders.evidence(case_id, shown=True)
    loaders.store().show_models(who[0], case_id, evidence)


def has_voted(case_id: str, who: tuple[str, str], phase: str) -> bool:
    """True where a vote of this reader on the case is stored."""
    votes = loaders.store().current_votes(case_id, phase)
    return any(v.reader.casefold() == who[0].casefold() for v in votes)


def offer_models(case_id: str, who: tuple[str, str] | None) -> None:
    """The button that ends the reading without the models; it waits for the vote without them."""
    aided_only = _aided_only(case_id)
    ready = who is not None and (aided_only or has_voted(case_id, who, "unaided"))
    if ready and not aided_only:
        words = (
            "Your vote without the models is stored. Once you have seen their answers it can no "
            "longer be changed; your next vote on this case counts as one with the models."
        )
    elif aided_only:
        words = "This case is read with the models only: no vote without them is asked for."
    else:
        words = (
            "Store your own vote first: the segmentation and the models' answers stay hidden, and "
            "are not sent to this browser, until then."
        )
    if st.button(
        "Show the models' answers",
        key="show_models",
        icon=":material/visibility:",
        disabled=not ready,
        type="primary" if ready else "secondary",
    ):
        assert who is not None  # the button waits for it
        show_models(case_id, who)
        st.rerun()
    st.caption(words)
    _offer_mode(case_id, aided_only)


def _aided_only(case_id: str) -> bool:
    mode = loaders.store().read(lambda connection: exposure.mode(connection, case_id))
    return mode == exposure.AIDED_ONLY


def _offer_mode(case_id: str, aided_only: bool) -> None:
    """For who plans the reading: whether a vote without the models is asked for at all."""
    if not guard.may("case.mode", case_id):
        return
    label = "Ask for a vote without the models" if aided_only else "Read with the models only"
    with st.popover(label, type="tertiary"):
        st.caption(
            "For all readers of this case, from now on. The choice and its reason are kept with "
            "the votes."
        )
        reason = st.text_input("Why?", key=f"mode reason {case_id} {aided_only}", max_chars=500)
        if st.button(label, key=f"mode {case_id} {aided_only}", disabled=not reason.strip()):
            guard.check("case.mode", case_id)
            new = exposure.UNAIDED_FIRST if aided_only else exposure.AIDED_ONLY
            author = guard.user().name
            loaders.store().write(lambda c: exposure.set_mode(c, case_id, new, author, reason))
            st.rerun()
