"""The guard before everything the server offers: files, uploads, pages and the websocket.

Streamlit hands out and takes files by HTTP and runs pages by a websocket. Where people have to sign
in, nothing but the sign-in page passes without a sign-in; what passes with one is listed here, and
the rest is refused. ``websocket`` guards a websocket as long as it is open.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote

from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bmcore.domain import BmcoreError
from bmcore.review.access import RULES, Role, User
from pages.parts.access import pictures, reach, security_headers, uploads
from pages.parts.access.register import LOCAL
from pages.parts.access.request import Asked, who

STREAM = "/_stcore/stream"
_UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/[^/]+")
_UPLOADERS = RULES["cases.add"].roles | RULES["study.manage"].roles  # of the pages that take files
_BRINGERS = RULES["cases.add"].roles
_READ = ("GET", "HEAD")
_CORE = ("/_stcore/host-config", "/_stcore/bidi-components/")  # of Streamlit's own, for who is in
_PARTS = ("/component/", "/_stcore/bidi-components/")  # files that a page of ours frames
_NO_PAGES = ("/_stcore/", "/media/", "/component/", "/static/", "/app/static/", uploads.BELOW,
             pictures.BELOW)  # fmt: skip
_OUR_PAGES = ("/sign-in", "/sign-out", "/invite", "/first")
_log = logging.getLogger(__name__)


class HttpGuard:
    """ASGI middleware. base: the option server.baseUrlPath, asked when the first request comes."""

    def __init__(self, app: ASGIApp, base: Callable[[], str]) -> None:
        from pages.parts.access import sign_in

        self._app, self._base = app, base
        self._queue: sign_in.Queue | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        self._begin()
        asked = Asked(scope, self._base())
        if scope["type"] == "websocket":
            await self._websocket(asked, receive, send)
            return
        answer = _Answer(asked, send)
        try:
            own = await self._own_answer(asked, receive)
            await (own or self._app)(scope, receive, answer.send)
        except Exception:
            if not answer.begun:
                await PlainTextResponse("Internal error.", 500)(scope, receive, answer.send)
            raise

    def _begin(self) -> None:
        """At the first request, in the server's event loop."""
        if self._queue is not None:
            return
        from pages.parts.access import sign_in, websocket
        from pages.parts.access.session import REGISTER

        self._queue = sign_in.Queue()
        loop = asyncio.get_running_loop()

        def close(sessions: frozenset[str]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(websocket.close_sessions, sessions)

        REGISTER.at_every_end(close)

    async def _own_answer(self, asked: Asked, receive: Receive) -> Response | None:
        """The answer, or None where the request goes on to Streamlit."""
        if not _is_host_allowed(asked):
            return PlainTextResponse("This host name is not served here.", 400)
        if asked.inside == "/_stcore/health" and asked.method in _READ:
            return None
        try:
            token, user = await to_thread.run_sync(who, asked)
        except BmcoreError as error:
            return _no_database(asked, error)
        if asked.inside is not None and asked.page in _OUR_PAGES:
            return await self._our_page(asked, receive, token, user)
        if user is None or token is None:
            return _refused(asked)
        if asked.is_navigation:
            _register().touch(token)
        return _refusal(asked, token, user)

    async def _our_page(
        self, asked: Asked, receive: Receive, token: str | None, user: User | None
    ) -> Response:
        from pages.parts.access import invited, sign_in

        assert self._queue is not None
        if asked.method not in (*_READ, "POST"):
            return PlainTextResponse("Method not allowed.", 405)
        if asked.method == "POST" and not asked.is_same_origin(named=True):
            return PlainTextResponse("This form was sent by another page.", 403)
        if asked.page == "/sign-out":
            if asked.method == "POST":
                _register().leave(asked.token)
                return sign_in.drop_cookie(sign_in.go_to("/"), asked.secure)
            return sign_in.go_to("/")
        if token == LOCAL:
            return sign_in.go_to("/")
        if asked.page in (invited.INVITE, invited.FIRST):
            return await self._invited(asked, receive)
        if asked.method == "POST":
            request = Request(asked.scope, receive)
            return await sign_in.take(request, asked.token, asked.secure, self._queue)
        if user is not None:
            return sign_in.go_to("/")
        shown = await to_thread.run_sync(sign_in.show_for, asked.scope.get("query_string", b""))
        return sign_in.drop_cookie(shown, asked.secure) if asked.token else shown

    async def _invited(self, asked: Asked, receive: Receive) -> Response:
        """The page of an invitation, or of the first administrator."""
        from pages.parts.access import invited

        assert self._queue is not None
        if asked.method == "POST":
            request = Request(asked.scope, receive)
            return await invited.take(
                request, str(asked.page), asked.token, asked.secure, self._queue
            )
        if asked.page == invited.FIRST:
            return await to_thread.run_sync(invited.show_first)
        query = asked.scope.get("query_string", b"").decode("latin-1")
        token = parse_qs(query, max_num_fields=50).get("token", [""])[0]
        return await to_thread.run_sync(invited.show_invited, token)

    async def _websocket(self, asked: Asked, receive: Receive, send: Send) -> None:
        from pages.parts.access.websocket import Line

        token, user = None, None
        if _is_host_allowed(asked) and asked.inside == STREAM and asked.is_same_origin():
            try:
                token, user = await to_thread.run_sync(who, asked)
            except BmcoreError:
                _log.exception("the database cannot be read")
        if token is None or user is None:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "Sign in first."})
            return
        await Line(asked, token, receive, send).run(self._app)


class _Answer:
    """Adds the security headers to whatever is answered."""

    def __init__(self, asked: Asked, send: Send) -> None:
        self._asked, self._send, self.begun = asked, send, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            inside = self._asked.inside or ""
            own = MutableHeaders(scope=message)
            for name, value in security_headers.headers(
                self._asked.host,
                sign_in=self._asked.page in _OUR_PAGES,
                part=inside.startswith(_PARTS),
            ).items():
                own[name] = value
            if inside.startswith("/media/"):
                own["Cache-Control"] = "no-store"
        await self._send(message)


def _register() -> Any:
    from pages.parts.access.session import REGISTER

    return REGISTER


def _is_host_allowed(asked: Asked) -> bool:
    from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

    return bool(reach.host_name(asked.host)) and is_host_allowed(asked.host)


def _refused(asked: Asked) -> Response:
    """To the sign-in page and back, for a person; a plain refusal for all else."""
    from pages.parts.access import sign_in

    if not asked.is_navigation or (asked.inside or "").startswith(_NO_PAGES):
        return PlainTextResponse("Sign in first.", 401)
    if asked.inside is None:
        return RedirectResponse(f"/{asked.base.strip('/')}/sign-in", 303)
    query = asked.scope.get("query_string", b"").decode("latin-1")
    wanted = sign_in.safe_next(f"{asked.inside}?{query}" if query else asked.inside)
    up = "../" * (asked.inside.count("/") - 1) or "./"
    if asked.scope["path"].strip("/") == asked.base.strip("/") != "":
        up = "./" if asked.scope["path"].endswith("/") else f"./{asked.base.strip('/')}/"
    following = f"?next={quote(wanted, safe='')}" if wanted != "/" else ""
    return RedirectResponse(f"{up}sign-in{following}", 303, {"Cache-Control": "no-store"})


def _refusal(asked: Asked, token: str, user: User) -> Response | None:
    """Why somebody who is signed in may not have this; None where it passes."""
    inside = asked.inside or "/"
    if uploads.is_ours(inside):
        if user.role not in _BRINGERS or not asked.is_same_origin(named=asked.method != "GET"):
            return PlainTextResponse("Files can only be sent from this site's own page.", 403)
        _register().touch(token)
        asked.scope[uploads.USER] = user
        return None
    if asked.method in _READ:
        if inside == "/_stcore/metrics" and user.role is Role.ADMINISTRATOR:
            return None
        core = inside.startswith("/_stcore") and not inside.startswith(_CORE)
        return PlainTextResponse("Not found.", 404) if core else None
    upload = _UPLOAD.fullmatch(inside)
    if upload is None or asked.method not in ("PUT", "DELETE"):
        return PlainTextResponse("Method not allowed.", 405)
    mine = _register().owner(upload[1]) == token
    if not mine or not asked.is_same_origin() or user.role not in _UPLOADERS:
        return PlainTextResponse("Files can only be sent to this site's own page.", 403)
    return None


def _no_database(asked: Asked, error: BmcoreError) -> Response:
    _log.error("the database cannot be read: %s", error)
    told = "The database cannot be read now; the server's log says more."
    if reach.is_from_here(asked.headers, asked.peer):
        told = "\n".join([told, *(finding.sentence for finding in error.findings)])
    return PlainTextResponse(told, 503)


class _NoQueries(logging.Filter):
    """Addresses are logged without what stands after the ?, where a password may have got."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) and arg.startswith("/") else arg
                for arg in record.args
            )
        return True


def _tell_first(base: Callable[[], str]) -> None:
    """Print the code for the first account where others can reach the server and there is none."""
    from streamlit import config

    if reach.is_loopback(config.get_option("server.address")):
        return
    from pages.parts.access import invited, session

    try:
        if not session.accounts_exist():
            invited.print_code(int(config.get_option("server.port")), base())
    except BmcoreError:
        _log.exception("the database cannot be read")


def middleware() -> list[Any]:
    """For ``st.App``. What decides is looked up when asked, so nothing heavy is imported here."""
    for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logging.getLogger(name).addFilter(_NoQueries())

    def base() -> str:
        from streamlit import config

        return str(config.get_option("server.baseUrlPath") or "")

    threading.Thread(target=_tell_first, args=(base,), name="first account", daemon=True).start()
    return [Middleware(HttpGuard, base=base)]
