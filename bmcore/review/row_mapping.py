"""From stored rows to readers and votes, in a database of one site or of several.

Where a merge brought several sites together, their votes are numbered anew, oldest first, and a
name that two sites use is followed by the site: they are taken for two people. So is the id of a
case whose images differ between the sites: they are two patients.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bmcore.review import schema
from bmcore.review.votes import Reader, Vote

_VOTE_FIELDS = tuple(f.name for f in fields(Vote))
_NAME_LIMIT, _CASE_LIMIT = 80, 200


def vote(row: sa.Row[Any]) -> Vote:
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
    shown, cases = shown_names(connection), shown_cases(stored)
    return [
        replace(
            vote(row),
            id=number[row.site, row.id],
            case_id=cases.get((row.site, row.case_id), row.case_id),
            reader=shown[row.site, row.reader],
            supersedes=row.supersedes and number[row.site, row.supersedes],
        )
        for row in stored
        if case_id is None or case_id in (row.case_id, cases.get((row.site, row.case_id)))
    ]


def shown_cases(stored: Iterable[sa.Row[Any]]) -> Mapping[tuple[str, str], str]:
    """{(site, case): name with the site} of cases whose images differ between sites."""
    images: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in stored:
        if row.images_sha256 is not None:
            images[row.case_id][row.site].add(row.images_sha256)
    apart = {
        case
        for case, sites in images.items()
        if len(sites) > 1 and not set.intersection(*sites.values())
    }
    return {(row.site, row.case_id): _apart(row) for row in stored if row.case_id in apart}


def _apart(row: sa.Row[Any]) -> str:
    ending = f" ({row.site})"
    return str(row.case_id[: _CASE_LIMIT - len(ending)] + ending)


def unknown_order(connection: sa.Connection) -> set[int]:
    """Ids, as ``votes`` gives them, of old votes that may have been given after the models'
    answers were seen (``remarks``, step 0005)."""
    t = schema.remarks
    query = sa.select(t.c.about_site, t.c.about_vote).where(t.c.kind == "order not shown")
    marked = {(row.about_site, row.about_vote) for row in connection.execute(query)}
    if not marked:
        return set()
    stored = sorted(
        connection.execute(sa.select(schema.votes).order_by(schema.votes.c.id)), key=_age()
    )
    several = len({row.site for row in stored}) > 1
    return {
        number if several else row.id
        for number, row in enumerate(stored, start=1)
        if (row.site, row.id) in marked
    }


def _age() -> Callable[[sa.Row[Any]], tuple[datetime, str, int]]:
    """Sort key: time, but a site's own order comes first where its clock went backwards."""
    latest: dict[str, datetime] = {}

    def key(row: sa.Row[Any]) -> tuple[datetime, str, int]:
        at = max(latest.get(row.site, row.created_at), row.created_at)
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


def _with_site(row: sa.Row[Any, Any, Any]) -> str:
    ending = f" ({row.site})"
    return str(row.name[: _NAME_LIMIT - len(ending)] + ending)
