"""The guard before the pages: a cookie that names a browser, and who signed in with it.

Streamlit takes uploads and hands out files by HTTP, past every page. While sign-in is needed,
this middleware lets them through only from a browser in which somebody has signed in. The cookie is
a random number that means nothing elsewhere; who it stands for lies in this process alone, so a
restart of the server signs everybody out.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "bmcore_browser"
IDLE_S = 2 * 3600.0  # signed out after so long without a look at any page
_GUARDED = ("/_stcore/upload_file", "/media")
_MOST = 10_000


@dataclass
class Signed:
    """Who signed in with a browser, and when it was last seen."""

    name: str
    stamp: str
    seen_s: float


class Register:
    """Browsers (value of the cookie) -> who signed in; shared by the server's threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._signed: dict[str, Signed] = {}
        self._lock, self._clock = threading.Lock(), clock

    def enter(self, browser: str, name: str, stamp: str) -> None:
        with self._lock:
            if len(self._signed) >= _MOST:
                self._signed.pop(min(self._signed, key=lambda b: self._signed[b].seen_s))
            self._signed[browser] = Signed(name, stamp, self._clock())

    def leave(self, browser: str) -> None:
        with self._lock:
            self._signed.pop(browser, None)

    def find(self, browser: str | None) -> Signed | None:
        """Who signed in with this browser; None after ``IDLE_S`` without a sign of life."""
        with self._lock:
            found = self._signed.get(browser or "")
            if found is None:
                return None
            if self._clock() - found.seen_s > IDLE_S:
                del self._signed[str(browser)]
                return None
            found.seen_s = self._clock()
            return found


REGISTER = Register()


class Door:
    """ASGI middleware.

    needed: must people sign in, given the Host asked for; known: is this browser signed in?
    """

    def __init__(
        self,
        app: ASGIApp,
        needed: Callable[[str | None], bool],
        known: Callable[[str | None], bool],
    ) -> None:
        self._app, self._needed, self._known = app, needed, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        browser, host = _browser(headers.get("cookie", "")), headers.get("host")
        inside = scope["path"].removeprefix(scope.get("root_path", ""))
        guarded = inside.startswith(_GUARDED) and scope["method"] != "OPTIONS"
        if guarded and not await to_thread.run_sync(self._passes, host, browser):
            refusal = PlainTextResponse("Sign in first.", status_code=403)
            await refusal(scope, receive, send)
            return
        secure = scope.get("scheme") == "https"

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and browser is None:
                own = MutableHeaders(scope=message)
                if own.get("content-type", "").startswith("text/html"):
                    own.append("set-cookie", _cookie(secure))
            await send(message)

        await self._app(scope, receive, answer)

    def _passes(self, host: str | None, browser: str | None) -> bool:
        return not self._needed(host) or self._known(browser)


def middleware() -> list[Any]:
    """For ``st.App``. What decides is looked up when asked, so nothing heavy is imported here."""

    def needed(host: str | None) -> bool:
        from pages.parts import sign_in

        return sign_in.needed(host)

    def known(browser: str | None) -> bool:
        from pages.parts import sign_in

        return sign_in.of_browser(browser) is not None

    return [Middleware(Door, needed=needed, known=known)]


def _browser(cookies: str) -> str | None:
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and len(found.value) == 43 else None


def _cookie(secure: bool) -> str:
    ending = "; Secure" if secure else ""
    return f"{COOKIE}={secrets.token_urlsafe(32)}; Path=/; HttpOnly; SameSite=Strict{ending}"
