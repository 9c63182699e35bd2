"""Cases that were read but are not in the home folder: it was moved, not mounted, or emptied."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import sqlalchemy as sa

from bmcore.domain import Finding, Severity
from bmcore.intake import library
from bmcore.review import case_changes, chain, schema
from bmcore.review.store import Store

_NAMED = 5


def absent(store: Store, home: Path, there: Collection[str] | None = None) -> Finding | None:
    """What to tell where cases are missing from ``home``; None where none is.

    there: ids of the cases in ``home``; None: those that the index of the work list holds, which
    the database then looks up by itself. Every case on which something was stored at this site must
    be among them. Where ``home`` holds no case at all, those count too that the models have read
    or readers have marked; otherwise such a case may have been removed on purpose.
    """
    if there is None:
        told, empty = store.read(lambda c: (_told_of(c, indexed=False), _index_is_empty(c)))
    else:
        told, empty = known_cases(store) - set(there), not there
    voted = sorted(told - store.read(case_changes.gone)) if told else []
    if voted:
        return _missing(voted, "voted on", home)
    traced = sorted(library.traces(home)) if empty else []
    return _missing(traced, "read by the models or marked before", home) if traced else None


def known_cases(store: Store) -> set[str]:
    """Cases on which this site has stored something that does not change any more."""
    return store.read(_told_of)


def _index_is_empty(connection: sa.Connection) -> bool:
    return connection.execute(sa.select(schema.case_index.c.case_id).limit(1)).first() is None


def _told_of(connection: sa.Connection, indexed: bool = True) -> set[str]:
    """indexed: those that the index of the work list holds, too."""
    site = chain.own_site(connection)
    found: set[str] = set()
    for table in schema.metadata.sorted_tables:
        if {"case_id", "site", "hash"} <= set(table.c.keys()):
            query = sa.select(table.c.case_id).where(table.c.site == site).distinct()
            if not indexed:
                query = query.where(table.c.case_id.not_in(sa.select(schema.case_index.c.case_id)))
            found |= set(connection.execute(query).scalars())
    return found


def _missing(cases: list[str], which: str, home: Path) -> Finding:
    more = len(cases) - _NAMED
    named = ", ".join(cases[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    are = f"1 case {which} is" if len(cases) == 1 else f"{len(cases)} cases {which} are"
    return Finding(
        Severity.WARNING,
        f"{are} not in this home folder",
        str(home),
        found=named,
        hint="check BMCORE_HOME and that its drive is mounted, or restore the folder cases.",
    )
