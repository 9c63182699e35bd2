"""Who acts: read anew from the cookie of the connection at every look, never from the page.

A Streamlit session belongs to the first sign-in that used it, and to no other ever after.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit import runtime
from streamlit.runtime import Runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from bmcore.domain import BmcoreError, refuse
from bmcore.review import access, accounts, names
from bmcore.review.access import AccessRefused, User
from bmcore.settings import settings
from pages.parts import database
from pages.parts.access import reach
from pages.parts.access.register import LOCAL, Register

_LOOK_AGAIN_S = 5.0
_known_need: dict[str, tuple[float, bool]] = {}
_lock = threading.Lock()

REGISTER = Register(lambda: 60.0 * settings().idle_minutes)


@dataclass(frozen=True)
class Connection:
    """What a browser or a program sent when it connected."""

    headers: Sequence[tuple[str, str]]
    peer: str | None
    secure: bool | None = None  # None: not known


def _changed(name_key: str) -> None:
    """An account was made or changed by this process: its sign-ins end at once."""
    with _lock:
        _known_need.clear()
    REGISTER.leave_all_of(lambda name: names.key(name) == name_key)


accounts.on_change(_changed)


def needed(connection: Connection | None) -> bool:
    """True where somebody has to sign in: there are accounts, or others can reach the server.

    None: no browser, but a test or a page that is run by hand.
    """
    here = reach.is_loopback(st.get_option("server.address"))
    if connection is not None:
        here = here and reach.is_from_here(connection.headers, connection.peer)
    return not here or accounts_exist()


def accounts_exist() -> bool:
    """Once there is an account there always is one; else looked up every few seconds."""
    store = database.opened()
    with _lock:
        at, found = _known_need.get(store.where, (-_LOOK_AGAIN_S, False))
        if not found and time.monotonic() - at >= _LOOK_AGAIN_S:
            found = accounts.exist(store)
            _known_need[store.where] = (time.monotonic(), found)
        return found


def token_of(connection: Connection) -> str | None:
    """The cookie's value of a connection that somebody signed in on; LOCAL where nobody has to."""
    if not needed(connection):
        return LOCAL
    return reach.token(connection.headers, connection.secure)


def user_of(token: str | None, fresh: bool = True) -> User | None:
    """Who a cookie stands for now. fresh: asks the database, else that may be a second ago."""
    if token == LOCAL:
        return access.LOCAL
    believed = None if fresh else REGISTER.believed(token)
    if believed is not None:
        return believed
    store = database.opened()
    return REGISTER.user(token, lambda name, stamp: accounts.session_user(store, name, stamp))


def current(fresh: bool = False) -> User | None:
    """Who acts in this run of a script; None where nobody is signed in (any more)."""
    return user_of(_token(), fresh)


def _token() -> str | None:
    session = _session()
    if session is None:
        return None if needed(None) else LOCAL
    connection = _connection(session)
    if connection is None:  # the window was closed while this run goes on
        owner = REGISTER.owner(session)
        return None if owner == LOCAL and accounts_exist() else owner
    token = token_of(connection)
    return token if token is not None and REGISTER.own(session, token) else None


def _session() -> str | None:
    """The id of the Streamlit session of this run; None where no server runs it."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None or not runtime.exists() or type(runtime.get_instance()) is not Runtime:
        return None
    return context.session_id


def _connection(session: str) -> Connection | None:
    client = runtime.get_instance().get_client(session)
    context = None if client is None else client.client_context
    if context is None:
        return None
    return Connection(list(context.headers), context.remote_ip)


def require() -> None:
    """AccessRefused in the run of a script where nobody is signed in (any more).

    Asked before each write to the database, see ``loaders.store``.
    """
    if get_script_run_ctx(suppress_warning=True) is not None and current(fresh=True) is None:
        raise nobody()


def nobody() -> BmcoreError:
    return refuse("nobody is signed in", hint="reload the page.", error=AccessRefused)


def touch() -> None:
    """A sign of life of who reads here, told by the page and not by a click."""
    REGISTER.touch(_token())


def sign_out() -> None:
    """End the sign-in of this browser, in all its windows."""
    REGISTER.leave(_token())
