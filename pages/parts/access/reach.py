"""Where a request comes from: this computer alone, or others too; and the cookie in its headers.

Headers are pairs of name and value, as ASGI servers and Streamlit hand them out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

COOKIE = "bmcore_sign_in"
SECURE_COOKIE = f"__Host-{COOKIE}"  # the prefix: a browser takes it only from this very host
HOST = re.compile(r"(?:\[([\da-fA-F:.]+)\]|([\w.\-]+))(?::\d{1,5})?", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
# What proxies, gateways and tunnels add. One of them: others than this computer can reach us.
_FORWARDED = re.compile(
    r"forwarded|x-forward.*|x-original.*|x-real-.*|x-client-.*|x-cluster-.*|x-remote-.*|x-proxy.*|"
    r"x-envoy-.*|x-arr-.*|x-azure-.*|x-appengine-.*|x-amzn-.*|x-amz-cf-.*|x-cloud-.*|x-scheme|"
    r"x-host|x-url-scheme|x-request-start|x-varnish|x-sourcemap-.*|via|client-ip|true-client-ip|"
    r"remote-.*|proxy-.*|cf-.*|cdn-.*|fastly-.*|fly-.*|front-end-https|ngrok-.*|tailscale-.*"
)

Headers = Iterable[tuple[str, str]]


def is_loopback(address: str | None) -> bool:
    """True for an address or name that only this computer can reach."""
    if not address:
        return False
    if address == "localhost":
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def host_name(host: str) -> str | None:
    """The name or address in a Host header, without its port; None if it is none."""
    found = HOST.fullmatch(host)
    return None if found is None else (found[1] or found[2]).lower()


def values(headers: Headers, name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]


def is_from_here(headers: Headers, peer: str | None) -> bool:
    """True where the peer and the host asked for are loopback and no proxy has left a trace.

    A page of another host that sends the browser here (its origin or referrer) is one, too.
    """
    headers = list(headers)
    hosts = values(headers, "host")
    if len(hosts) != 1 or not is_loopback(host_name(hosts[0])) or not is_loopback(peer):
        return False
    origins = [*values(headers, "origin"), *values(headers, "referer")]
    if not all(is_loopback(_origin_name(origin)) for origin in origins):
        return False
    return not any(_FORWARDED.fullmatch(key.lower()) for key, _ in headers)


def _origin_name(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None


def token(headers: Headers, secure: bool | None = None) -> str | None:
    """The value of our cookie; None where there is none, or more than one.

    secure: whether the line is HTTPS, where only the cookie of that kind counts; None: not known.
    """
    names = {None: (SECURE_COOKIE, COOKIE), True: (SECURE_COOKIE,), False: (COOKIE,)}[secure]
    pairs = [
        part.strip().partition("=")
        for line in values(headers, "cookie")
        for part in line.split(";")
    ]
    for name in names:
        found = {value for key, _, value in pairs if key == name}
        if found:
            value = found.pop()
            return value if not found and _TOKEN.fullmatch(value) else None
    return None
