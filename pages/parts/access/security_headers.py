"""What every answer tells the browser: who may frame it, and that nothing comes from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from bmcore.settings import settings
from pages.parts.access.reach import HOST

_FIXED = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), "
    "serial=(), hid=(), midi=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
}
# Streamlit and the components need scripts in the page, compiled at run time and from blobs.
_STREAMLIT = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "media-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "frame-src": "'self' data: blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
_SIGN_IN = {
    "default-src": "'none'",
    "style-src": "'unsafe-inline'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'self'",
}


def headers(host: str, sign_in: bool = False, part: bool = False) -> Mapping[str, str]:
    """Name to value. sign_in: our own page; part: a component's file, which our pages frame."""
    policy = dict(_SIGN_IN if sign_in else _STREAMLIT)
    if not sign_in:
        here = f" ws://{host} wss://{host}" if HOST.fullmatch(host) else ""
        policy["connect-src"] = f"'self' data: blob:{here}"  # some browsers want the socket named
    allowed = settings().frame_ancestors
    if part:
        allowed = "'self'" if allowed == "'none'" else f"'self' {allowed}"
    policy["frame-ancestors"] = allowed
    told = {**_FIXED, "Content-Security-Policy": "; ".join(f"{k} {v}" for k, v in policy.items())}
    simple = {"'none'": "DENY", "'self'": "SAMEORIGIN"}.get(allowed)
    return {**told, "X-Frame-Options": simple} if simple else told
