"""YAML as plans of studies need it: texts, numbers, lists and keys; nothing that can swell.

No anchors and aliases (430 bytes of them can stand for gigabytes), no tags, limits on size, depth,
number of values and digits, and a key given twice is a fault. A date is the text that it is. A
number that YAML 1.1 reads as another one than most people do (030 is 24, 12:30 is 750, 1_2 is 12)
is a fault too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from bmcore.domain import refuse

MOST_BYTES = 2**20
MOST_VALUES = 20_000  # 500 cases and 50 readers have 1,200
MOST_DEPTH = 12
MOST_DIGITS = 40
_DATE = "tag:yaml.org,2002:timestamp"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_PLAIN_NUMBER = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?i:inf|nan)"
)


@dataclass(frozen=True)
class Text:
    """What a plan's text holds. faults: keys given twice and numbers that could be read as others,
    in words with their line, by the key; such a number counts as text."""

    values: Any
    faults: Mapping[str, str]


def load(text: str, where: str) -> Text:
    """What is in ``text``; InputRefused where it is not such YAML. where: its name."""
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise refuse("the study file is too large", file=where, expected=f"{MOST_BYTES} bytes")
    try:
        loader = _StrictLoader(text)
        return Text(loader.get_single_data(), loader.faults)
    except (yaml.YAMLError, ValueError, RecursionError) as fault:
        raise refuse("the study file is not YAML", file=where, found=_told(fault)) from fault


def _told(fault: Exception) -> str:
    """What is wrong and where, on one line."""
    if isinstance(fault, yaml.MarkedYAMLError) and fault.problem_mark is not None:
        mark = fault.problem_mark
        what = ", ".join(part for part in (fault.context, fault.problem) if part)
        return f"{what[:200]}, line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(fault).split())[:300]


class _StrictLoader(yaml.SafeLoader):
    """Checks each part of the text before it becomes a value."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way to say it
        first: [(tag, pattern) for tag, pattern in known if tag != _DATE]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.values = 0
        self.path: list[str] = []  # keys and places of what is read at the moment
        self.faults: dict[str, str] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.values += 1
        self.depth += 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _fault("anchors and aliases (& and *) are not used in a plan", event)
        if event.tag is not None:
            raise _fault("tags (!) are not used in a plan", event)
        if self.values > MOST_VALUES:
            raise _fault(f"it has more than {MOST_VALUES} values", event)
        if self.depth > MOST_DEPTH:
            raise _fault(f"it has more than {MOST_DEPTH} levels inside each other", event)
        self.path.append(_step(index))
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode):
            self._check(node)
        elif isinstance(node, yaml.MappingNode):
            self._check_keys(node)
        self.path.pop()
        self.depth -= 1
        return node

    def _check(self, node: yaml.ScalarNode) -> None:
        """Refuse what a plan cannot hold or would take for something else."""
        key, short = "".join(self.path).lstrip("."), node.value[:MOST_DIGITS]
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            raise _fault(f"{key} holds half of a character, which cannot be stored", node)
        if node.tag in _NUMBERS and not _PLAIN_NUMBER.fullmatch(node.value):
            node.tag = "tag:yaml.org,2002:str"
            words = "could be read as another number: write a number in plain decimal digits"
            self._note(key, f"{key}: {short} {words}, 30 or 0.05, and a text in quotes", node)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name, times in Counter(key.value for key in keys).items():
            if times > 1:
                key = "".join([*self.path, f".{name[:80]}"]).lstrip(".")
                often = "twice" if times == 2 else f"{times} times"
                again = [key for key in keys if key.value == name][1]
                self._note(key, f"the key {key} is given {often}", again)

    def _note(self, key: str, words: str, at: yaml.Node) -> None:
        self.faults[key] = f"line {at.start_mark.line + 1}: {words}"


def _step(index: Any) -> str:
    """A key, or the place in a list, behind the keys around it."""
    if isinstance(index, yaml.ScalarNode):
        return f".{index.value[:80]}"
    return f"[{index}]" if isinstance(index, int) else ""


def _fault(words: str, at: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, words, at.start_mark)


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


def _number(loader: _StrictLoader, node: yaml.ScalarNode) -> int | float:
    if len(node.value) > MOST_DIGITS:
        raise _fault(f"a number of {len(node.value)} digits", node)
    if node.tag == "tag:yaml.org,2002:int":
        return loader.construct_yaml_int(node)
    return loader.construct_yaml_float(node)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _number)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _number)
