"""How a reader likes the viewer to begin: layout, sequences, windows. One small file a reader.

No answer and no image hangs on it, so it is no part of the chain: the last write counts, and a file
that cannot be read means the settings that everybody begins with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmcore import disk
from bmcore.domain import SEQUENCES, BmcoreError, refuse
from bmcore.plain import brief, load_json
from bmcore.review import names

LAYOUTS = ("three", "two", "four", "one")
PLANES = ("axial", "coronal", "sagittal")
DRAGS = ("cross", "scroll")
_SHOWN = (*SEQUENCES, "t1c-t1n")  # the last one is the subtraction
_LONGEST_NAME = 40


def load(home: Path, reader: str) -> dict[str, Any]:
    """The settings of a reader (a name, in whatever spelling); {} where there are none."""
    path = _path(home, reader)
    try:
        return check(load_json(path)) if path.is_file() else {}
    except (BmcoreError, OSError, ValueError):
        return {}


def save(home: Path, reader: str, raw: object) -> None:
    """Keep the settings that a browser sends; InputRefused where they are no such settings."""
    settings = check(raw)
    path = _path(home, reader)
    disk.private_folder(path.parent)
    disk.write(path, json.dumps(settings, sort_keys=True))


def check(raw: object) -> dict[str, Any]:
    """What of ``raw`` is a setting, checked; InputRefused where a value is impossible."""
    if not isinstance(raw, Mapping):
        raise refuse("the settings of the viewer cannot be read", found=brief(raw))
    found: dict[str, Any] = {}
    for name, allowed in (("layout", LAYOUTS), ("main", PLANES), ("drag", DRAGS)):
        if name in raw:
            found[name] = _one_of(name, raw[name], allowed)
    for name, most in (("pair", 2), ("four", 4)):
        value = raw.get(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise refuse(f"the setting {name} cannot be read", found=brief(value))
        if value:
            found[name] = [_one_of(name, one, _SHOWN) for one in value]
    presets = raw.get("presets", {})
    if not isinstance(presets, Mapping) or len(presets) > len(_SHOWN):
        raise refuse("the setting presets cannot be read", found=brief(presets))
    for sequence, name in presets.items():
        _one_of("presets", sequence, _SHOWN)
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise refuse("the setting presets cannot be read", found=brief(name))
    return {**found, "presets": dict(presets)}


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise refuse(
            f"the setting {name} cannot be read", found=brief(value), expected=", ".join(allowed)
        )
    return value


def _path(home: Path, reader: str) -> Path:
    key = hashlib.sha256(names.tidy(reader).casefold().encode()).hexdigest()[:32]
    return Path(home) / "views" / f"{key}.json"
