"""Plain data that others wrote: JSON read within limits, and text that is safe to show or export.

All faults are ``NotPlain``, a ``ValueError``: what reads a file turns them into a refusal that
names it.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Any

MOST_BYTES = 16 * 2**20
MOST_VALUES = 1_000_000
MOST_DEPTH = 64
MOST_DIGITS = 400  # a double written out in full has 325
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")  # controls, formats, blanks: a spreadsheet may skip them


class NotPlain(ValueError):
    """The text is no JSON, or goes beyond a limit; the message says which."""


def load_json(path: Path, most_bytes: int = MOST_BYTES, finite: bool = True) -> Any:
    """``read_json`` of a file, of which no more than the limit is read. OSError as usual."""
    with path.open("rb") as file:
        return read_json(file.read(most_bytes + 1), most_bytes, finite)


def read_json(text: bytes | str, most_bytes: int = MOST_BYTES, finite: bool = True) -> Any:
    """The value in ``text`` (UTF-8), which was measured before it is parsed.

    At most ``most_bytes``, 1,000,000 values, 64 levels and 400 digits a number; text must be
    encodable. finite: refuse NaN and infinity, which some writers put into JSON.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > most_bytes:
        raise NotPlain(f"more than {most_bytes} bytes")
    _measure(raw)
    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_int=_whole,
            parse_float=_real,
            parse_constant=_not_finite if finite else float,
        )
        if b"\\ud" in raw.lower():  # half of a character, which no file and no database can hold
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError as fault:
        raise NotPlain(f"not text in UTF-8: {fault.reason}") from fault  # type: ignore[attr-defined]
    except json.JSONDecodeError as fault:
        raise NotPlain(f"not JSON: {fault}") from fault
    return value


def _measure(raw: bytes) -> None:
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MOST_VALUES:
        raise NotPlain(f"more than {MOST_VALUES} values")
    depth = 0
    for token in _TOKEN.finditer(raw):
        first = raw[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MOST_DEPTH:
                raise NotPlain(f"more than {MOST_DEPTH} levels inside each other")
        elif first in b"]}":
            depth -= 1


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise NotPlain(f"a number of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text) if len(text) <= MOST_DIGITS else math.inf
    if math.isinf(value):
        raise NotPlain(f"a number that is too large: {text[:40]}")
    return value


def _not_finite(text: str) -> float:
    raise NotPlain(f"a number that is not finite: {text}")


def local_time(when: datetime) -> str:
    """ "23 Nov 2026, 12:04 CET": an aware time where this computer is, with its zone."""
    return f"{when.astimezone():%-d %b %Y, %H:%M %Z}"


def brief(value: object, most: int = 80) -> str:
    """``repr`` of anything that came in, short: neither depth nor a huge number can break it."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = most
    try:
        return short.repr(value)[:most]
    except ValueError:  # a number of more digits than Python writes
        return f"a very large {type(value).__name__}"


def safe_cell(value: object) -> str:
    """Text that a spreadsheet will not run: a leading ``'`` where a formula could begin.

    The rule of OWASP on CSV injection, with full-width signs and unseen characters before them
    too. Every table that leaves bmcore goes through it.
    """
    if isinstance(value, int | float):
        return repr(value)  # a number is no formula, also below 0
    text = "" if value is None else str(value)
    seen = next((c for c in text if unicodedata.category(c) not in _UNSEEN), "")
    risky = text.startswith(_FORMULA_STARTS) or seen in _FORMULA_STARTS
    return f"'{text}" if risky else text
