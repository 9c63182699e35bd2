"""Two plain pages of the server before Streamlit: an invitation's link, where a person sets the own
password; and the first administrator of a server that others can reach.

The first administrator is made by who reads the server's console: a code is printed there.
"""

from __future__ import annotations

import hmac
import secrets
import sys
from functools import lru_cache
from html import escape
from string import Template
from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from bmcore.domain import BmcoreError
from bmcore.review import accounts, invitations
from pages.parts import loaders
from pages.parts.access import session, sign_in
from pages.parts.words import in_words

if TYPE_CHECKING:
    from pages.parts.access.sign_in import Queue

INVITE, FIRST = "/invite", "/first"
_PASSWORDS = f"""<label>Password, {accounts.SHORTEST} characters or more
<input name="password" type="password" autocomplete="new-password" maxlength="200"
 minlength="{accounts.SHORTEST}" required autofocus></label>
<label>Repeat the password<input name="again" type="password" autocomplete="new-password"
 maxlength="200" required></label>"""
_INVITED = f"""<form method="post" action="invite" accept-charset="utf-8">
<h1>Welcome, $name</h1>
$told
<p>Choose a password. You will sign in with it and the name $name.</p>
{_PASSWORDS}
<input type="hidden" name="token" value="$token">
<button type="submit">Set the password and sign in</button>
<small>Several words in a row are easy to remember and hard to guess.</small>
</form>"""
_OVER = """<section>
<h1>This link no longer works</h1>
<p>It works once, for a week. Ask an administrator for another one.</p>
<p><a href="sign-in">Sign in</a></p>
</section>"""
_FIRST = f"""<form method="post" action="first" accept-charset="utf-8">
<h1>The first administrator</h1>
$told
<p>Others can reach this server, and there are no accounts yet. The code is shown in the console in
which the server was started.</p>
<label>Code<input name="token" autocomplete="off" maxlength="80" required value="$token"></label>
<label>Your name<input name="name" autocomplete="username" maxlength="80" required
 value="$name"></label>
{_PASSWORDS.replace(" autofocus", "")}
<button type="submit">Create the account and sign in</button>
</form>"""


@lru_cache(maxsize=1)
def first_code() -> str:
    """Made once a server; whoever can read its console may make the first account."""
    return secrets.token_urlsafe(12)


def print_code(port: int, base: str) -> None:
    """Say in the console how the first account is made."""
    place = f"{base.strip('/')}/first".lstrip("/")
    sys.stderr.write(
        "\n  Others can reach this server and there are no accounts yet.\n"
        f"  Create the first administrator at http://<this computer>:{port}/{place}\n"
        f"  Code: {first_code()}\n\n"
    )
    sys.stderr.flush()


def show_invited(token: str, told: str = "", status: int = 200) -> Response:
    """The form of an invitation, or the words that its link is over."""
    found = invitations.look(loaders.store(), token)
    if found is None:
        return sign_in.page(_OVER, 404)
    inside = Template(_INVITED).substitute(
        name=escape(found.name), told=_alert(told), token=escape(token)
    )
    return sign_in.page(inside, status)


def show_first(told: str = "", name: str = "", token: str = "", status: int = 200) -> Response:
    """The form of the first administrator; to the sign-in page once there is an account."""
    if session.accounts_exist():
        return sign_in.go_to_sign_in()
    inside = Template(_FIRST).substitute(
        told=_alert(told), name=escape(name[:80]), token=escape(token[:80])
    )
    return sign_in.page(inside, status)


def _alert(told: str) -> str:
    return f'<p role="alert">{escape(told)}</p>' if told else ""


async def take(
    request: Request, page: str, old: str | None, secure: bool, queue: Queue
) -> Response:
    """What a form of either page sent. old: the cookie's value so far, whose sign-in ends."""
    form = await sign_in.read_form(request)
    if isinstance(form, Response):
        return form
    if not await queue.enter():
        return sign_in.busy()
    try:
        return await to_thread.run_sync(_enter, page, form, old, secure)
    finally:
        queue.leave()


def _enter(page: str, form: dict[str, str], old: str | None, secure: bool) -> Response:
    token, name, password = (form.get(key, "") for key in ("token", "name", "password"))

    def again(told: str, status: int = 400) -> Response:
        if page == FIRST:
            return show_first(told, name, token, status)
        return show_invited(token, told, status)

    if password != form.get("again", ""):
        return again("The two passwords do not match.")
    try:
        if page == FIRST:
            if session.accounts_exist():
                return sign_in.go_to_sign_in()
            if not hmac.compare_digest(token.strip().encode(), first_code().encode()):
                return again("This is not the code shown in the server's console.", 403)
            account = accounts.add_first(loaders.store(), name, password)
        else:
            account = invitations.accept(loaders.store(), token, password)
    except BmcoreError as refused:
        return again(in_words(refused))
    return sign_in.enter(account, "/", old, secure)
