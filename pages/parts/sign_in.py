"""Who is at the browser: the one local user, or somebody who signed in; the form for that."""

from __future__ import annotations

import ipaddress
import threading
import time
from urllib.parse import urlsplit

import streamlit as st

from bmcore.review import access, accounts
from pages.parts import door, guard, loaders

_SESSION = "signed in as"  # (name, stamp); lies on the server, a browser cannot set it
_LOOK_AGAIN_S = 5.0
_known_need: dict[str, tuple[float, bool]] = {}
_lock = threading.Lock()


def needed(host: str | None) -> bool:
    """True where there are accounts, or where others than this computer may reach the server.

    That is where it listens on more than loopback, or where a browser asked for another ``host``:
    then a proxy brings others in.
    """
    here = _is_loopback(st.get_option("server.address"))
    if host is not None:
        here = here and _is_loopback(urlsplit(f"//{host}").hostname)
    return not here or _accounts_exist()


def _is_loopback(address: str | None) -> bool:
    if not address:
        return False
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _accounts_exist() -> bool:
    """Once there is an account there always is one; else looked up every few seconds."""
    store = loaders.store()
    with _lock:
        at, found = _known_need.get(store.where, (-_LOOK_AGAIN_S, False))
        if not found and time.monotonic() - at >= _LOOK_AGAIN_S:
            found = accounts.exist(store)
            _known_need[store.where] = (time.monotonic(), found)
        return found


def of_browser(browser: str | None) -> access.User | None:
    """Who signed in with this browser's cookie; also a thread without a page may ask."""
    found = door.REGISTER.find(browser)
    if found is None:
        return None
    return accounts.session_user(loaders.store(), found.name, found.stamp)


def current() -> access.User | None:
    """Who acts; None where somebody has to sign in first."""
    host = st.context.headers.get("Host")
    if not needed(host if isinstance(host, str) else None):
        return access.LOCAL
    session = st.session_state.get(_SESSION)
    if session is not None:
        user = accounts.session_user(loaders.store(), *session)
        browser = _cookie()
        if user is None or (browser is not None and door.REGISTER.find(browser) is None):
            _forget()  # shut, changed, signed out in another window, or idle for too long
            return None
        return user
    return of_browser(_cookie())


def _cookie() -> str | None:
    found = st.context.cookies.get(door.COOKIE)
    return found if isinstance(found, str) else None  # there is none without a browser


def sign_out() -> None:
    """End the session of this browser, in all its windows."""
    browser = _cookie()
    if browser is not None:
        door.REGISTER.leave(browser)
    _forget()


def _forget() -> None:
    for key in list(st.session_state.keys()):
        del st.session_state[key]


def draw() -> None:
    """The form; or what has to be done before anybody can sign in."""
    if not _accounts_exist():
        st.header("Accounts are needed", anchor=False)
        st.markdown(
            "Others than this computer can reach this address, and there are no accounts yet. Make "
            "the first one on the computer that runs the dashboard, then reload this page:"
        )
        st.code("python -m bmcore account add NAME --role administrator", language="shell")
        return
    _, middle, _ = st.columns([1, 1, 1])
    with middle, st.form("sign in"):
        st.header("Sign in", anchor=False)
        name = st.text_input("Name", autocomplete="username", max_chars=80)
        password = st.text_input(
            "Password", type="password", autocomplete="current-password", max_chars=200
        )
        if st.form_submit_button("Sign in", type="primary", width="stretch"):
            _try(name, password)
        st.caption("No account, or the password is lost? An administrator can help.")


def _try(name: str, password: str) -> None:
    if not name.strip() or not password:
        st.error("Give your name and your password.")
        return
    try:
        account = accounts.sign_in(loaders.store(), name, password)
    except access.AccessRefused as error:
        st.error(guard.in_words(error))
        return
    _forget()
    st.session_state[_SESSION] = (account.name, account.stamp)
    browser = _cookie()
    if browser is not None:
        door.REGISTER.enter(browser, account.name, account.stamp)
    st.rerun()


def draw_badge(user: access.User) -> None:
    """Who is signed in, below the notice on the right, with the way out."""
    with st.container(
        horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"
    ):
        st.text(f"{user.name}, {user.role}", width="content")
        st.button("Sign out", key="sign_out", on_click=sign_out, icon=":material/logout:")
