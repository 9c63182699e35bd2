"""The page on which people sign in: plain HTML that the server writes, before Streamlit.

The cookie is made here, anew at each sign-in; what a browser brings is never taken over.
"""

from __future__ import annotations

import asyncio
import base64
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from bmcore.domain import RESEARCH_NOTICE
from bmcore.review import access, accounts
from pages.parts import loaders
from pages.parts.access import reach, session
from pages.parts.words import in_words

MOST_BYTES = 8192  # of the form
MOST_WAITING = 16  # sign-ins whose passwords wait to be checked
LONGEST_WAIT_S = 10.0
_HERE = Path(__file__).parent
_FORM = """<form method="post" action="$action" accept-charset="utf-8">
<h1>Sign in</h1>
$told
<label>Name<input name="name" value="$name" autocomplete="username" maxlength="80" required
 autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password"
 maxlength="200" required></label>
<input type="hidden" name="next" value="$next">
<button type="submit">Sign in</button>
<small>No account, or the password is lost? An administrator can help.</small>
</form>"""
_NO_ACCOUNTS = """<section>
<h1>Accounts are needed</h1>
<p>Other computers can reach this address, and there are no accounts yet. Create the first
one <a href="first">with the code</a> shown in the server's console, or on the computer that
runs the dashboard:</p>
<code>python -m bmcore account add NAME --role administrator</code>
</section>"""
_ENDED = "Your sign-in has ended. What you had filled in is kept as a draft."


class Queue:
    """Passwords are checked by few at once, because each check takes much memory."""

    def __init__(self, at_once: int = accounts.HASHES_AT_ONCE) -> None:
        self._free, self._waiting = asyncio.Semaphore(at_once), 0

    async def enter(self) -> bool:
        """Wait for a turn; False where too many wait, or it takes too long."""
        if self._waiting >= MOST_WAITING:
            return False
        self._waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), LONGEST_WAIT_S)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def leave(self) -> None:
        self._free.release()


def show(told: str = "", name: str = "", following: str = "/", status: int = 200) -> Response:
    """The page with the form. told: what went wrong; following: where to go then."""
    said = f'<p role="alert">{escape(told)}</p>' if told else ""
    if told == _ENDED:
        said = f'<p role="status">{_ENDED}</p>'
    inside = Template(_FORM).substitute(
        action="sign-in", told=said, name=escape(name), next=escape(following)
    )
    return page(inside, status)


def show_for(query: bytes) -> Response:
    """The page as it was asked for; of the query only where to go then is read."""
    if not session.accounts_exist():
        return page(_NO_ACCOUNTS, 403)
    asked = parse_qs(query.decode("latin-1"), max_num_fields=50)
    following = safe_next(asked.get("next", ["/"])[0])
    return show(_ENDED if "ended" in asked else "", following=following)


def page(inside: str, status: int) -> Response:
    """A page of its own around some HTML."""
    notice = escape(RESEARCH_NOTICE)
    words = _template().substitute(icon=_icon(), notice=notice, inside=inside)
    return HTMLResponse(words, status, {"Cache-Control": "no-store"})


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template((_HERE / "sign_in.html").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _icon() -> str:
    return base64.b64encode((_HERE.parent / "icon.png").read_bytes()).decode()


def safe_next(wanted: str) -> str:
    """A path with query inside the dashboard; "/" for anything else. Passwords are dropped."""
    plain = all(" " < c < "\x7f" and c != "\\" for c in wanted)
    if not plain or not wanted.startswith("/") or wanted.startswith("//") or len(wanted) > 2000:
        return "/"
    try:
        parts = urlsplit(wanted)
        pairs = parse_qsl(parts.query, max_num_fields=50)
    except ValueError:
        return "/"
    if parts.scheme or parts.netloc or parts.path.strip("/") in ("sign-in", "sign-out"):
        return "/"
    kept = urlencode([(key, value) for key, value in pairs if "pass" not in key.lower()])
    return parts.path + (f"?{kept}" if kept else "")


def go_to(following: str) -> Response:
    """From the sign-in page to a path of the dashboard; relative, whatever prefix a proxy adds."""
    place = "./" + safe_next(following).lstrip("/")
    return RedirectResponse(place, 303, {"Cache-Control": "no-store"})


async def take(request: Request, old: str | None, secure: bool, queue: Queue) -> Response:
    """Check what the form sent. old: the cookie's value so far, whose sign-in ends.

    The caller has made sure that the form is ours.
    """
    sent = await read_form(request)
    if isinstance(sent, Response):
        return sent
    name, password = (sent.get(key, "") for key in ("name", "password"))
    following = safe_next(sent.get("next", "/"))
    if not name.strip() or not password:
        return show("Enter your name and your password.", name[:80], following, 400)
    if not await queue.enter():
        return busy(following)
    try:
        account = await to_thread.run_sync(_sign_in, name, password)
    except access.AccessRefused as error:
        return show(in_words(error), name[:80], following, 401)
    finally:
        queue.leave()
    return enter(account, following, old, secure)


async def read_form(request: Request) -> dict[str, str] | Response:
    """The fields of a form that was sent, the first value of each; else the refusal."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return PlainTextResponse("Use the form on the sign-in page.", 415)
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            return PlainTextResponse("The form is too long.", 413)
    try:
        sent = parse_qs(body.decode("utf-8"), max_num_fields=10, errors="strict")
    except ValueError:
        return PlainTextResponse("The form cannot be read.", 400)
    return {key: values[0] for key, values in sent.items()}


def busy(following: str = "/") -> Response:
    """Too many passwords are waiting to be checked."""
    answer = show("Many people are signing in. Try again in a few seconds.", "", following, 503)
    answer.headers["Retry-After"] = "5"
    return answer


def enter(account: accounts.Account, following: str, old: str | None, secure: bool) -> Response:
    """Begin a sign-in with a new cookie and go on; the sign-in of the ``old`` one ends."""
    session.REGISTER.leave(old)
    token = session.REGISTER.enter(account.name, account.stamp)
    answer = go_to(following)
    answer.headers.append("Set-Cookie", _cookie(token, secure))
    return answer


def go_to_sign_in() -> Response:
    """To the form with name and password."""
    return RedirectResponse("./sign-in", 303, {"Cache-Control": "no-store"})


def _sign_in(name: str, password: str) -> accounts.Account:
    return accounts.sign_in(loaders.store(), name, password)


def drop_cookie(answer: Response, secure: bool) -> Response:
    """Let the browser forget the cookie."""
    answer.headers.append("Set-Cookie", _cookie("", secure) + "; Max-Age=0")
    return answer


def _cookie(token: str, secure: bool) -> str:
    name, ending = (reach.SECURE_COOKIE, "; Secure") if secure else (reach.COOKIE, "")
    return f"{name}={token}; Path=/; HttpOnly; SameSite=Strict{ending}"
