"""One websocket, guarded as long as it is open: it ends when the sign-in that it rests on does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from anyio import to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bmcore.domain import BmcoreError
from pages.parts.access.activity import Activity
from pages.parts.access.register import LOCAL, LOOK_AGAIN_S
from pages.parts.access.request import Asked, who
from pages.parts.access.session import REGISTER

SIGNED_OUT = 4401  # code of the close; the 4000s are for applications
_PROTOCOL = b"sec-websocket-protocol"
_log = logging.getLogger(__name__)


class Line:
    """Stands between the server and Streamlit's websocket. token: as in ``request.who``."""

    def __init__(self, asked: Asked, token: str, receive: Receive, send: Send) -> None:
        self._asked, self._token = asked, token
        self._receive, self._send = receive, send
        self._over = asyncio.Event()
        self._accepted = self._closed = False
        self._looked = time.monotonic()
        self._pending: asyncio.Future[Message] | None = None
        self._activity = Activity()

    async def run(self, app: ASGIApp) -> None:
        """Let Streamlit talk until the window goes or the sign-in ends."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._over.set)

        if self._token != LOCAL and not REGISTER.on_end(self._token, self, ended):
            self._over.set()
        try:
            await app(self._own_scope(), self.receive, self.send)
        finally:
            REGISTER.no_longer(self._token, self)
            if self._pending is not None:
                self._pending.cancel()

    def _own_scope(self) -> Scope:
        """Without the Streamlit session that the browser asks for, unless it is of this sign-in."""
        headers = []
        for name, value in self._asked.scope["headers"]:
            if name.lower() == _PROTOCOL:
                parts = value.decode("latin-1").split(",")
                mine = len(parts) == 3 and REGISTER.owner(parts[2].strip()) == self._token
                value = ",".join(parts if mine else parts[:2]).encode("latin-1")
            headers.append((name, value))
        return {**self._asked.scope, "headers": headers}

    async def send(self, message: Message) -> None:
        """Pass on to the browser; nothing any more once the sign-in has ended."""
        if self._closed or self._over.is_set():
            raise OSError("the sign-in of this connection has ended")
        if message["type"] == "websocket.accept":
            self._accepted = True
        await self._send(message)

    async def receive(self) -> Message:
        """The next message that may be handled; a disconnect once the sign-in has ended."""
        while True:
            await self._wait()
            if self._closed or not await self._is_valid():
                return await self._end()
            if self._pending is None or not self._pending.done():
                continue
            message, self._pending = self._pending.result(), None
            if message["type"] != "websocket.receive" or message.get("bytes") is None:
                return message
            allowed, by_hand = self._activity.see(message["bytes"])
            if by_hand:
                REGISTER.touch(self._token)
            if allowed:
                return message

    async def _wait(self) -> None:
        """Until a message is there, the sign-in has ended, or it is time to look again."""
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._receive())
        over = asyncio.ensure_future(self._over.wait())
        either: set[asyncio.Future[Any]] = {self._pending, over}
        await asyncio.wait(either, timeout=LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()

    async def _is_valid(self) -> bool:
        """Whether the connection still stands for who opened it."""
        if self._over.is_set() or (self._token != LOCAL and REGISTER.find(self._token) is None):
            return False
        if time.monotonic() - self._looked < LOOK_AGAIN_S:
            return True
        try:
            token, user = await to_thread.run_sync(who, self._asked)
        except BmcoreError:
            _log.exception("the database cannot be read")
            return False
        self._looked = time.monotonic()
        return token == self._token and user is not None

    async def _end(self) -> Message:
        """Send the window to the sign-in page and close."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):  # the window has gone by itself
                if self._accepted:
                    await self._send({"type": "websocket.send", "bytes": self._redirect()})
                told = {"code": SIGNED_OUT if self._accepted else 1008, "reason": "signed out"}
                await self._send({"type": "websocket.close", **told})
        return {"type": "websocket.disconnect", "code": SIGNED_OUT}

    def _redirect(self) -> bytes:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        page, query = self._activity.page, self._activity.query
        following = f"/{page.strip('/')}" + (f"?{query}" if query else "")
        message = ForwardMsg()
        message.auth_redirect.url = f"sign-in?{urlencode({'ended': 1, 'next': following})}"
        return message.SerializeToString()


def close_sessions(sessions: Iterable[str]) -> None:
    """Shut Streamlit sessions down with all that they hold; in the server's event loop."""
    from streamlit import runtime

    if runtime.exists():
        for session in sessions:
            runtime.get_instance().close_session(session)
