"""Results as JSON and back, so that what took long to compute is computed once.

Every class is written with its name, so that a file of another version is refused and not misread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from numbers import Integral
from typing import Any

from bmcore.analysis import tables
from bmcore.analysis.readings import GROUPS, StudyData, roles_of
from bmcore.analysis.results import Results
from bmcore.stats.estimate import Estimate

_OF_TABLES = [
    found
    for found in vars(tables).values()
    if isinstance(found, type) and is_dataclass(found) and found.__module__ == tables.__name__
]
_KNOWN: dict[str, type] = {c.__name__: c for c in (Results, Estimate, *_OF_TABLES)}
_CLASS, _FLOAT = "class", "float"


@dataclass(frozen=True)
class Offered:
    """What a filter of the results can let through. groups: what -> names that occur; category: the
    primary that stands against the rest where none is chosen."""

    roles: tuple[str, ...]
    arms: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    category: str


def offered(data: StudyData) -> Offered:
    """What can be chosen of ``data``."""
    there = {what: {facts.group(what) for facts in data.cases.values()} for what in GROUPS}
    groups = {what: tuple(n for n in names if n in there[what]) for what, names in GROUPS.items()}
    return Offered(roles_of(data.people), tuple(data.arms), groups, data.category)


def as_json(value: Any) -> Any:
    """Plain values of results: lists, texts, numbers; nothing that JSON does not know."""
    if is_dataclass(value) and not isinstance(value, type):
        if type(value).__name__ not in _KNOWN:
            raise TypeError(f"{type(value).__name__} is no part of results")
        told = {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
        return {_CLASS: type(value).__name__, **told}
    if isinstance(value, tuple):
        return [as_json(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: repr(float(value))}
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Integral):  # also NumPy's
        return int(value)
    raise TypeError(f"results hold no {type(value).__name__}")


def from_json(value: Any) -> Any:
    """What ``as_json`` was given; ValueError where it cannot be that."""
    if isinstance(value, list):
        return tuple(from_json(part) for part in value)
    if not isinstance(value, dict):
        return value
    if set(value) == {_FLOAT}:
        return float(value[_FLOAT])
    kind = _KNOWN.get(str(value.get(_CLASS)))
    told = {name: from_json(part) for name, part in value.items() if name != _CLASS}
    if kind is None or set(told) != {f.name for f in fields(kind)}:
        raise ValueError(f"no results of this version: {str(value)[:80]}")
    return kind(**told)
