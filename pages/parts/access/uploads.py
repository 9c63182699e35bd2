"""The route that takes uploads: a piece at a time, straight to the disk.

``POST`` announces files (or finds the unfinished upload of the same ones), ``PUT`` brings the bytes
from an offset on, ``GET`` tells how many are there, ``DELETE`` gives it up. ``http_guard`` has let
through who may bring cases, and says who that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from bmcore.domain import BmcoreError
from pages.parts.access.pictures import PictureRoute
from pages.parts.access.request import Asked

USER = "bmcore.user"  # in the scope: who was let through
BELOW = "/uploads"
_OURS = re.compile(r"/uploads(?:/([0-9a-f]{32}))?")
_MOST_LIST = 8 * 2**20  # bytes of the list of files
_LARGEST = 2**63 - 1  # bytes that a file can have
_OFFSET = re.compile(r"[0-9]{1,19}")


def is_ours(inside: str) -> bool:
    """True for a path of this route."""
    return _OURS.fullmatch(inside) is not None


class UploadRoute(BaseRoute):
    """Below whatever path the server lies. base: as for ``HttpGuard``."""

    def __init__(self, base: Callable[[], str]) -> None:
        self._base = base

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or not is_ours(Asked(scope, self._base()).inside or ""):
            return Match.NONE, {}
        return Match.FULL, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if USER not in scope:
            raise RuntimeError("an upload has passed no guard")
        found = _OURS.fullmatch(Asked(scope, self._base()).inside or "")
        answer = await _answer(Request(scope, receive), found[1] if found else None)
        await answer(scope, receive, send)


async def _answer(request: Request, upload_id: str | None) -> Response:
    try:
        if upload_id is None:
            if request.method != "POST":
                return _said("Method not allowed.", 405)
            return await _begin(request)
        if request.method == "PUT":
            return await _append(request, upload_id)
        if request.method in ("GET", "DELETE"):
            work = _tell if request.method == "GET" else _drop
            return await to_thread.run_sync(work, _owner(request), upload_id)
        return _said("Method not allowed.", 405)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody hears it; what came is on the disk
    except BmcoreError as error:
        return _refused(error)


def _owner(request: Request) -> str:
    return str(request.scope[USER].key)


def _said(words: str, status: int, **more: Any) -> JSONResponse:
    return JSONResponse({"error": words, **more}, status, {"Cache-Control": "no-store"})


def _refused(error: BmcoreError) -> Response:
    from bmcore.door.uploads import OutOfStep
    from pages.parts.words import in_words

    return _said(in_words(error), 409 if isinstance(error, OutOfStep) else 422)


def _told(upload: Any) -> Response:
    from bmcore.door.uploads import PIECE

    told = {"id": upload.id, "received": upload.received, "size": upload.size, "piece": PIECE}
    return JSONResponse(told, 200, {"Cache-Control": "no-store"})


async def _begin(request: Request) -> Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return _said("Send the list of files as JSON.", 415)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_LIST:
            return _said("There are too many files. Choose the folder of one patient.", 413)
    return await to_thread.run_sync(_announced, _owner(request), bytes(body))


def _announced(owner: str, body: bytes) -> Response:
    from bmcore.door import uploads
    from bmcore.plain import NotPlain, read_json
    from bmcore.settings import settings

    try:
        asked = read_json(body, _MOST_LIST)
        files = [(name, size) for name, size in asked["files"]]
        mark = asked.get("mark", "")[:128]
        if not all(isinstance(text, str) for text in (mark, *(name for name, _ in files))):
            raise TypeError("a name that is no text")
        if not all(type(size) is int and 0 <= size <= _LARGEST for _, size in files):
            raise ValueError("a size that no file has")
    except (NotPlain, ValueError, TypeError, KeyError, AttributeError):
        return _said("The list of files cannot be read.", 400)
    most = int(settings().upload_gb * 10**9)
    return _told(uploads.begin(settings().home, owner, files, mark, most))


async def _append(request: Request, upload_id: str) -> Response:
    from bmcore.door import arrival, uploads
    from bmcore.settings import settings

    try:
        offset = int(_OFFSET.fullmatch(request.query_params["offset"])[0])  # type: ignore[index]
        length = int(request.headers["content-length"])
    except (KeyError, ValueError, TypeError):
        return _said("The piece does not say where it begins or how long it is.", 411)
    if not 0 <= length <= uploads.MOST_PIECE:
        return _said("The piece is too long.", 413)
    upload = await to_thread.run_sync(arrival.find, settings().home, upload_id, _owner(request))
    with uploads.appending(upload, offset) as writer:
        async for piece in request.stream():
            if piece:
                await to_thread.run_sync(writer.write, piece)
    return _told(upload)


def _tell(owner: str, upload_id: str) -> Response:
    from bmcore.door import arrival
    from bmcore.settings import settings

    return _told(arrival.find(settings().home, upload_id, owner))


def _drop(owner: str, upload_id: str) -> Response:
    from bmcore.door import arrival
    from bmcore.settings import settings

    arrival.drop(arrival.find(settings().home, upload_id, owner))
    return Response(status_code=204)


def routes() -> list[BaseRoute]:
    """For ``st.App``."""

    def base() -> str:
        from streamlit import config

        return str(config.get_option("server.baseUrlPath") or "")

    return [UploadRoute(base), PictureRoute(base)]
