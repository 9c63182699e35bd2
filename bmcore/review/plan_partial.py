"""A faulty plan as far as it can be read: what is wrong with one key hides no fault of another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

M = TypeVar("M", bound=BaseModel)
Check = Callable[[], Iterable[str]]
_UNREADABLE = object()


def read(model: type[M], data: Mapping[str, Any], context: Mapping[str, Any]) -> M:
    """The object in ``data``, of which the attributes that cannot be read are absent."""
    values, absent = {}, []
    for name, field in model.model_fields.items():
        kind = (
            Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        )
        if name not in data:
            absent += [name] * field.is_required()
            continue
        value = _value(kind, data[name], context)
        if value is _UNREADABLE:
            value = _parts(field.annotation, data[name], context)
        if value is _UNREADABLE:
            absent.append(name)
        else:
            values[name] = value
    made = model.model_construct(**values)
    for name in absent:
        made.__dict__.pop(name, None)
    return made


def told(checks: Iterable[Check]) -> Iterator[str]:
    """What the checks find; one that needs what is absent finds nothing."""
    for check in checks:
        try:
            yield from check()
        except (AttributeError, ValueError):
            continue


def _value(kind: Any, data: Any, context: Mapping[str, Any]) -> Any:
    try:
        return TypeAdapter(kind).validate_json(json.dumps(data), strict=True, context=dict(context))
    except ValidationError:
        return _UNREADABLE


def _parts(kind: Any, data: Any, context: Mapping[str, Any]) -> Any:
    """A list or a part with a fault somewhere inside, as far as it can be read."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(data, dict):
        return read(kind, data, context)
    if get_origin(kind) is not tuple or not isinstance(data, list | tuple):
        return _UNREADABLE
    item = get_args(kind)[0]
    if get_origin(item) is Annotated and get_args(item)[0] is str:
        return tuple(map(str, data))  # a faulty name still counts as one
    parts = [_parts(item, entry, context) for entry in data]
    return _UNREADABLE if any(part is _UNREADABLE for part in parts) else tuple(parts)
