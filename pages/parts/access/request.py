"""What is asked of the server, by HTTP or for a websocket, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from starlette.types import Scope

from bmcore.review.access import User
from pages.parts.access import reach

_READ = ("GET", "HEAD")


@dataclass(frozen=True)
class Asked:
    """One request, or the beginning of a websocket. base: the server's path before ours."""

    scope: Scope
    base: str = ""

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        pairs = self.scope.get("headers", [])
        return [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in pairs]

    def header(self, name: str) -> str:
        """The one value of a header; "" where there is none or more than one."""
        found = reach.values(self.headers, name)
        return found[0] if len(found) == 1 else ""

    @property
    def method(self) -> str:
        return str(self.scope.get("method", "GET"))

    @property
    def host(self) -> str:
        return self.header("host")

    @cached_property
    def inside(self) -> str | None:
        """The path below the server's base path, as Streamlit's routes compare it; None: outside.

        A mount of the whole server (``root_path``) is no part of it.
        """
        path = str(self.scope["path"])
        for prefix in (self.scope.get("root_path", ""), self.base):
            kept = prefix.strip("/")
            if kept and path == f"/{kept}":
                path = "/"
            elif kept and path.startswith(f"/{kept}/"):
                path = path[len(kept) + 1 :]
            elif kept:
                return None
        return path

    @cached_property
    def page(self) -> str:
        """The path without slashes at its end."""
        return "/" + (self.inside or "").strip("/")

    @property
    def secure(self) -> bool:
        told = self.header("x-forwarded-proto").partition(",")[0].strip().lower()
        return self.scope.get("scheme") in ("https", "wss") or told == "https"

    @property
    def peer(self) -> str | None:
        client = self.scope.get("client")
        return client[0] if client else None

    @property
    def token(self) -> str | None:
        return reach.token(self.headers, self.secure)

    @property
    def is_navigation(self) -> bool:
        """A person opens a page, as opposed to a script or an image."""
        mode = self.header("sec-fetch-mode")
        wants = "text/html" in self.header("accept")
        return self.method in _READ and wants and mode in ("", "navigate")

    def is_same_origin(self, named: bool = False) -> bool:
        """False where the browser says that a page of elsewhere sends this.

        named: it must be said, by Origin or Sec-Fetch-Site.
        """
        site, origins = self.header("sec-fetch-site"), reach.values(self.headers, "origin")
        if site and site not in ("same-origin", "none"):
            return False
        if origins:
            return len(origins) == 1 and self._is_ours(origins[0])
        return bool(site) or not named

    def _is_ours(self, origin: str) -> bool:
        from streamlit import config

        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        allowed = config.get_option("server.corsAllowedOrigins") or []
        return parts.netloc == self.host or origin in allowed


def who(asked: Asked) -> tuple[str | None, User | None]:
    """(value of the cookie or LOCAL, who that is now); blocks, so ask in a thread."""
    from pages.parts.access import session

    connection = session.Connection(asked.headers, asked.peer, asked.secure)
    if asked.scope.get("http_version") == "1.0":  # no browser: a proxy that tells nothing else
        connection = session.Connection([*asked.headers, ("via", "1.0")], asked.peer, asked.secure)
    token = session.token_of(connection)
    return token, session.user_of(token, fresh=False)
