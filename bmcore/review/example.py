"""An example of a plan that fits what is there: its cases and readers exist, or are to fill in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

import yaml

from bmcore.intake.library import CaseEntry
from bmcore.review import accounts, plan
from bmcore.review.access import Role
from bmcore.review.readiness_people import TO_FILL_IN
from bmcore.review.store import Store
from bmcore.review.votes import Reader
from bmcore.settings import PROJECT

EXAMPLE = PROJECT / "docs" / "examples" / "study.yaml"
NO_CASE = "FILL-IN-A-CASE"


def fitted(entries: Iterable[CaseEntry], store: Store | None) -> str:
    """The shipped example with the cases of the work list, the readers and an id that is free.

    Readers are those with an account of that role, else those who have voted; where there are
    fewer than two, the missing ones are marked to be filled in.
    """
    text = EXAMPLE.read_text(encoding="utf-8")
    cases = [entry.case_id for entry in entries if entry.readable]
    known = yaml.safe_load(text)
    learnt = [c for c in known["training_cases"] if c not in cases]
    text = _replaced(text, "study", [f"study: {_free(known['study'], store)}"])
    text = _replaced(text, "readers", ["readers:", *_reader_lines(_readers(store))])
    text = _replaced(text, "cases", ["cases:", *_items(cases or [NO_CASE])])
    text = _replaced(text, "training_cases", [f"training_cases: [{', '.join(map(_word, learnt))}]"])
    count, distance = (1, 2) if len(cases) > 2 else (0, 1)
    repeats = [f"  count: {count}", f"  min_distance: {distance}"]
    return _replaced(text, "repeats", ["repeats:", *repeats])


def _readers(store: Store | None) -> list[Reader | str]:
    """Readers with role and years, or by name alone where these are not known."""
    if store is None:
        return []
    voted = {reader.key: reader for reader in store.readers()}
    signed = [a.name for a in accounts.listed(store) if a.role is Role.READER and not a.disabled]
    if not signed:
        return list(voted.values())
    return [voted.get(Reader(name, "other").key, name) for name in signed]


def _reader_lines(readers: Sequence[Reader | str]) -> list[str]:
    lines = []
    for number, reader in enumerate(readers, start=1):
        name = reader if isinstance(reader, str) else reader.name
        role, years, note = "radiologist", "0", "  # fill in role and years"
        if isinstance(reader, Reader):
            role = reader.role
            if reader.years is not None:
                years, note = f"{reader.years:g}", ""
        lines.append(_line(number, name, role, years) + note)
    for number in range(len(readers) + 1, 3):
        lines.append(_line(number, f"{TO_FILL_IN} {number}", "radiologist", "0"))
    return lines


def _line(number: int, name: str, role: str, years: str) -> str:
    return f"  - {{id: r{number:02d}, name: {json.dumps(name)}, role: {role}, years: {years}}}"


def _free(name: str, store: Store | None) -> str:
    taken = set() if store is None else set(plan.studies(store))
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _items(values: Iterable[str]) -> list[str]:
    return [f"  - {_word(value)}" for value in values]


def _word(value: str) -> str:
    """A case's id as YAML reads it back: text, also where it looks like a number."""
    return value if yaml.safe_load(f"- {value}") == [value] else json.dumps(value)


def _replaced(text: str, key: str, lines: Sequence[str]) -> str:
    """``text`` with the block of a top-level key replaced; the comment behind the key stays."""
    pattern = re.compile(rf"^{key}:[^#\n]*(?P<note>#[^\n]*)?\n(?:[ ]+[^\n]*\n)*", re.MULTILINE)
    found = pattern.search(text)
    if found is None:
        raise ValueError(f"the example has no key {key}")
    head = lines[0] + (f"  {found['note']}" if found["note"] else "")
    return text[: found.start()] + "\n".join([head, *lines[1:]]) + "\n" + text[found.end() :]
