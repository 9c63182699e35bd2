"""From stored rows to readers and votes, in a database of one site or of several.

Where a merge brought several sites together, their votes are numbered anew, oldest first, and a
name that two sites use is followed by the site: they are taken for two people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace

import sqlalchemy as sa

from bmcore.review import schema
from bmcore.review.votes import Reader, Vote

_VOTE_FIELDS = tuple(f.name for f in fields(Vote))
_NAME_LIMIT = 80


def vote(row: sa.Row) -> Vote:
    """One stored row as the vote it is at its own site."""
    values = row._mapping
    return Vote(**{name: values[name] for name in _VOTE_FIELDS})


def readers(connection: sa.Connection) -> list[Reader]:
    """All readers, by name."""
    t = schema.readers
    shown = shown_names(connection)
    found = connection.execute(sa.select(t).order_by(t.c.name_key, t.c.site))
    return [Reader(shown[row.site, row.name], row.role, row.years) for row in found]


def votes(connection: sa.Connection, case_id: str | None = None) -> list[Vote]:
    """All votes of all sites, superseded ones too, oldest first; of one case if given."""
    t = schema.votes
    query = sa.select(t).order_by(t.c.id)
    several = connection.execute(sa.select(sa.func.count()).select_from(schema.chains)).scalar_one()
    if several == 1:
        query = query if case_id is None else query.where(t.c.case_id == case_id)
        return [vote(row) for row in connection.execute(query)]
    stored = sorted(connection.execute(query), key=_age())
    number = {(row.site, row.id): n for n, row in enumerate(stored, start=1)}
    shown = shown_names(connection)
    return [
        replace(
            vote(row),
            id=number[row.site, row.id],
            reader=shown[row.site, row.reader],
            supersedes=row.supersedes and number[row.site, row.supersedes],
        )
        for row in stored
        if case_id is None or row.case_id == case_id
    ]


def _age():  # type: ignore[no-untyped-def]
    """Sort key: time, but a site's own order comes first where its clock went backwards."""
    latest: dict[str, object] = {}

    def key(row: sa.Row) -> tuple:
        at = max(latest.get(row.site, row.created_at), row.created_at)  # type: ignore[type-var]
        latest[row.site] = at
        return (at, row.site, row.id)

    return key


def shown_names(connection: sa.Connection) -> Mapping[tuple[str, str], str]:
    """{(site, reader): the name on screens and in reports}."""
    t = schema.readers
    found = list(connection.execute(sa.select(t.c.site, t.c.name, t.c.name_key)))
    often = Counter(row.name_key for row in found)
    return {
        (row.site, row.name): row.name if often[row.name_key] == 1 else _with_site(row)
        for row in found
    }


def _with_site(row: sa.Row) -> str:
    ending = f" ({row.site})"
    return row.name[: _NAME_LIMIT - len(ending)] + ending
