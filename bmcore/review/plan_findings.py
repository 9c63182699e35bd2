"""Which texts a plan may hold, and pydantic's faults in the words of a plan."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import ValidationError

from bmcore.domain import Finding, Severity
from bmcore.plain import brief

ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
CASE_ID = r"^[^\x00-\x1f\x7f/\\]+$"
CANDIDATE = r"^(models|reference|bundle:[0-9a-f]{16,64})$"
TEXT = r"^[^\x00]+$"
LINE = r"^[^\x00-\x1f\x7f]+$"
UNIT = r"^[^\x00-\x1f\x7f]*$"
_CONTROL = "text without control characters, on one line"
PATTERNS = {
    ID: "1 to 64 letters (a to z), digits, dots, dashes and underscores, a letter or digit first",
    CASE_ID: "text without control characters, / and \\",
    CANDIDATE: "models, reference, or bundle: and 16 to 64 digits of the models' hash (0-9, a-f)",
    TEXT: "text without the character of code 0",
    LINE: _CONTROL,
    UNIT: _CONTROL,
}
_TYPES = {
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys, each with its value",
    "model_type": "keys, each with its value",
    "model_attributes_type": "keys, each with its value",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_too_short": "text that is not empty",
}
_LENGTHS = {
    "too_short": "{min_length} or more entries",
    "too_long": "{max_length} entries at most",
    "string_too_long": "{max_length} characters at most",
}
_HINTS = {
    "alpha": "write 0.0001 or more, and less than 0.25: 5 per cent are 0.05.",
    "margin": "5 points, and of a decision time 5 per cent, are 0.05.",
}
_LIST_HINT = "write each entry behind a dash on a line of its own, or all in [ ]."
_QUOTES_HINT = 'put it in quotes, as in "007" or "no", if that is the text.'
_EXPECTED = re.compile(r"^(Value error, )?(Input should (be |have )?)?")
_KEYED = re.compile(r"[a-z_]+(\[\d+\])?: ")  # a sentence that begins with the key it is about


def findings(fault: ValidationError, where: str, noted: Collection[str] = ()) -> Iterator[Finding]:
    """One Finding a fault of a plan. where: the name of the plan; noted: keys of which a fault is
    told already."""
    for error in fault.errors(include_url=False):
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error["loc"])
        key, kind = path.lstrip("."), error["type"]
        if key in noted:
            continue
        if kind == "value_error":  # our own sentences, several joined
            for line in str(error["ctx"]["error"]).splitlines():
                joint = "." if _KEYED.match(line) else ": "
                yield finding(f"{key}{joint}{line}" if key else line, where)
        elif kind == "missing":
            yield finding(f"{key} is missing", where, hint="see docs/examples/study.yaml.")
        elif kind == "extra_forbidden":
            yield finding(f"{key} is not a known key", where, hint="check its spelling.")
        elif kind != "too_short" or len(error["input"]) < error["ctx"]["min_length"]:
            # else pydantic counts the entries that are sound: their faults are told already
            name, found = key or "the plan", brief(error["input"])
            expected, hint = _expected(error), _hint(key, error)
            yield finding(f"{name} cannot be used", where, found, expected, hint)


def _expected(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], "other characters")
    if kind in _LENGTHS:
        return _LENGTHS[kind].format(**context)
    return _TYPES.get(kind) or _EXPECTED.sub("", error["msg"]).replace("'", "")


def _hint(key: str, error: Any) -> str | None:
    own = _HINTS.get(key.rsplit(".", 1)[-1])
    if own is not None:
        return own
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        return _QUOTES_HINT
    return _LIST_HINT if error["type"] in ("tuple_type", "list_type") else None


def finding(
    what: str,
    where: str,
    found: str | None = None,
    expected: str | None = None,
    hint: str | None = None,
) -> Finding:
    return Finding(Severity.REFUSED, what, where, found, expected, hint)
