"""The route that hands out the small pictures of the work list as files: ``/pictures/CASE/NAME``.

``http_guard`` has let through who is signed in. A name changes with the image it was made from, so
a browser may keep what it got.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from pages.parts.access.request import Asked

BELOW = "/pictures/"
_OURS = re.compile(r"/pictures/([A-Za-z0-9][\w.-]*)/(thumb-[0-9a-f-]+\.png)", re.ASCII)


def address(case_id: str, name: str) -> str:
    """Of a picture, as a page of ours names it: relative, below whatever path the server lies."""
    return f"{BELOW[1:]}{case_id}/{name}"


class PictureRoute(BaseRoute):
    """base: as for ``HttpGuard``."""

    def __init__(self, base: Callable[[], str]) -> None:
        self._base = base

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        inside = Asked(scope, self._base()).inside or "" if scope["type"] == "http" else ""
        return (Match.FULL, {}) if inside.startswith(BELOW) else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _answer(Asked(scope, self._base()))
        await answer(scope, receive, send)


def _answer(asked: Asked) -> Response:
    from bmcore.settings import settings

    found = _OURS.fullmatch(asked.inside or "")
    if found is None or asked.method not in ("GET", "HEAD"):
        return PlainTextResponse("Not found.", 404)
    path = settings().home / "cache" / "viewer" / found[1] / found[2]
    if not path.is_file():
        return PlainTextResponse("Not found.", 404)
    kept = {"Cache-Control": "private, max-age=604800, immutable"}
    return FileResponse(path, media_type="image/png", headers=kept)
