"""What a reader has filled in of a vote form and not yet stored as a vote. Changes; not chained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bmcore.domain import refuse
from bmcore.review import schema
from bmcore.review.store import Store

MAX_LENGTH = 20_000


@dataclass(frozen=True)
class Slot:
    """Which form. reader_key: as a reader's, or a browser window that nobody has named yet."""

    case_id: str
    reader_key: str
    phase: str

    @property
    def _at(self) -> list[sa.ColumnElement[bool]]:
        t = schema.vote_drafts
        return [
            t.c.case_id == self.case_id,
            t.c.reader_key == self.reader_key,
            t.c.phase == self.phase,
        ]


def load(store: Store, slot: Slot) -> Mapping[str, Any]:
    """What was filled in; empty where there is nothing."""
    query = sa.select(schema.vote_drafts.c.content).where(*slot._at)
    text = store.read(lambda connection: connection.execute(query).scalar_one_or_none())
    return {} if text is None else json.loads(text)


def save(store: Store, slot: Slot, values: Mapping[str, Any]) -> None:
    """Keep the form as it is now; the newest takes the place of the one before."""
    given = {name: value for name, value in values.items() if value not in (None, "")}
    text = json.dumps(given, sort_keys=True)
    if len(text) > MAX_LENGTH:
        raise refuse("the vote form holds too much text", expected=f"{MAX_LENGTH} characters")
    row = {"case_id": slot.case_id, "reader_key": slot.reader_key, "phase": slot.phase}

    def enter(connection: sa.Connection) -> None:
        t = schema.vote_drafts
        connection.execute(sa.delete(t).where(*slot._at))
        if given:
            row_now = {**row, "content": text, "updated_at": datetime.now(UTC)}
            connection.execute(sa.insert(t).values(row_now))

    store.write(enter)


def remove(store: Store, slot: Slot) -> None:
    """Forget the form, once its vote is stored or another one took it over."""
    query = sa.delete(schema.vote_drafts).where(*slot._at)
    store.write(lambda connection: connection.execute(query))
