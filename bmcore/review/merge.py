"""Bring the databases of several sites together in a new one, every chain as it was written.

Rows are copied as they are, hash and all, so the merged file verifies each site's chain on its
own. The new database has a chain of its own, empty at first, for what is decided there. Drafts
stay where they are: they are no answers yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bmcore.domain import Finding, Severity, refuse
from bmcore.review import merge_checks, schema, untrusted
from bmcore.review.connect import (
    StoreRefused,
    database_faults,
    make_reading_engine,
    readable,
    removed_if_new,
    shown,
)
from bmcore.review.migrate import newest_step, step_of
from bmcore.review.store import open_store
from bmcore.review.verify import verify


@dataclass(frozen=True)
class Merged:
    """What came together. sites: {site: rows}; notes: what a person should know, in sentences."""

    sites: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Site:
    """One chain as read: its head, and (table, row) in the order of writing."""

    head: dict[str, Any]
    rows: tuple[tuple[sa.Table, dict[str, Any]], ...]
    source: str

    @property
    def name(self) -> str:
        return str(self.head["site"])

    def begins_like(self, other: _Site) -> bool:
        """True where the shorter of both chains is the beginning of the longer."""
        shorter = min(len(self.rows), len(other.rows))
        mine, theirs = ([r["hash"] for _, r in site.rows[:shorter]] for site in (self, other))
        return mine == theirs


def merge(sources: Sequence[str], out: str) -> Merged:
    """Copy all chains of ``sources`` (URLs) into a new database at ``out`` (a URL).

    ``StoreRefused`` where a source is broken, or two sources hold different continuations of one
    site's chain, or a study's case has other images at another site, or ``out`` holds rows
    already. Nothing is written then. Free votes on cases of equal id and different images are
    kept apart (``row_mapping.shown_cases``), and told.
    """
    if out in sources:
        raise refuse("the merged database must be a new one, not a source", file=shown(out))
    problems = [
        Finding(Severity.REFUSED, f"a broken chain cannot be merged: {problem}", shown(source))
        for source in sources
        for problem in verify(source).problems
    ]
    if problems:
        raise StoreRefused(*problems)
    sites: dict[str, _Site] = {}
    for source in sources:
        for site in _read(source):
            _keep_the_longer(sites, site)
    together = [merge_checks.SiteRows(s.name, s.rows) for s in sites.values()]
    problems = [
        *merge_checks.different_images(together),
        *merge_checks.late_sheets(together),
        *merge_checks.unstorable(together, out.startswith("postgresql")),
    ]
    if problems:
        raise StoreRefused(*problems)
    with removed_if_new(out):
        with open_store(out) as store:
            store.write(lambda connection: _write(connection, sites, out))
        written = verify(out)
        if written.problems:
            raise refuse("the merged database does not verify", file=out, found=written.problems[0])
    return Merged(
        {s.name: len(s.rows) for s in sites.values()},
        (*_notes(sites.values()), *merge_checks.notes(together)),
    )


def _read(source: str) -> list[_Site]:
    with readable(source) as (readable_source, _):
        return _read_from(readable_source, source)


def _read_from(url: str, source: str) -> list[_Site]:
    engine = make_reading_engine(url)
    try:
        with database_faults(shown(source)), engine.connect() as connection:
            if step_of(connection) != newest_step():
                raise refuse("open this database once with this version first", file=shown(source))
            chains = untrusted.rows(connection, sa.select(schema.chains))
            heads = [dict(r._mapping) for r in chains]
            return [_Site(head, _rows(connection, head["site"]), source) for head in heads]
    finally:
        engine.dispose()


def _rows(connection: sa.Connection, site: str) -> tuple[tuple[sa.Table, dict[str, Any]], ...]:
    found = [
        (table, dict(row._mapping))
        for table in schema.CHAINED
        for row in untrusted.rows(connection, sa.select(table).where(table.c.site == site))
    ]
    return tuple(sorted(found, key=lambda pair: pair[1]["seq"]))


def _keep_the_longer(sites: dict[str, _Site], site: _Site) -> None:
    """An older copy of a chain adds nothing; one that went another way is a fault."""
    known = sites.get(site.name)
    if known is None:
        sites[site.name] = site
    elif not known.begins_like(site):
        raise refuse(
            f"the chain of {site.name} goes on in two different ways",
            file=shown(site.source),
            found=f"another continuation in {shown(known.source)}",
            hint="a copy was written to; find out which of both is the site's own.",
            error=StoreRefused,
        )
    elif len(site.rows) > len(known.rows):
        sites[site.name] = site


def _write(connection: sa.Connection, sites: dict[str, _Site], out: str) -> None:
    """All chains but empty ones; rows in each site's own order, as their references need."""
    there = connection.execute(sa.select(sa.func.sum(schema.chains.c.length))).scalar_one()
    others = connection.execute(sa.select(sa.func.count()).select_from(schema.chains)).scalar_one()
    if there or others != 1:
        raise refuse(
            "the database to be written holds rows already",
            file=shown(out),
            found=f"{there} rows",
            expected="a new database",
            error=StoreRefused,
        )
    for site in sites.values():
        if not site.rows:
            continue
        connection.execute(sa.insert(schema.chains).values({**site.head, "own": False}))
        for table, row in site.rows:
            connection.execute(sa.insert(table).values(row))


def _notes(sites: Iterable[_Site]) -> list[str]:
    """Names that two sites share, and studies whose plans differ."""
    owners: dict[str, set[str]] = {}
    plans: dict[str, dict[str, str]] = {}
    for site in sites:
        for table, row in site.rows:
            if table is schema.readers:
                owners.setdefault(row["name_key"], set()).add(site.name)
            if table is schema.studies:
                plans.setdefault(row["study"], {})[site.name] = row["digest"]  # the newest wins
    notes = [
        f"reader {name!r} is registered at {len(at)} sites and counts as {len(at)} people"
        for name, at in sorted(owners.items())
        if len(at) > 1
    ]
    return notes + [
        f"study {study!r}: the sites have different plans in force; amend one of them"
        for study, at in sorted(plans.items())
        if len(set(at.values())) > 1
    ]
