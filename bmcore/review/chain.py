"""The hash chain: every row that must not change holds the hash of the row before it.

One chain a site, through all chained tables in the order of writing (``seq`` 1, 2, ...). The hash
of a row is the SHA-256 of its canonical JSON (all columns but ``hash``, among them ``previous``);
the first row's ``previous`` is ``GENESIS``. The table ``chains`` keeps the length and the last
hash of each chain, so that a missing end is seen. What this cannot show: ``docs/study.md``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bmcore.domain import refuse
from bmcore.review import schema
from bmcore.review.connect import StoreRefused
from bmcore.review.votes import check_text, free_text

GENESIS = hashlib.sha256(b"bmcore: first row of a chain").hexdigest()


def digest(table: str, row: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a row. Never changes: the rows of all databases depend on it.

    Times are written in UTC with microseconds. ``TypeError`` for a value that no column of ours
    can hold.
    """
    later = schema.ADDED_LATER.get(table, frozenset())
    values = {
        name: _plain(value)
        for name, value in row.items()
        if name != "hash" and not (value is None and name in later)
    }
    text = json.dumps({"row": values, "table": table}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value  # SQLite gives 12.0 back as 12 at times
    if value is None or type(value) in (int, str):
        return value
    raise TypeError(f"a chained row cannot hold {type(value).__name__}")


def _storable(name: str, value: Any) -> Any:
    if isinstance(value, str):
        if name in ("note", "reason"):
            return free_text(name, value)
        check_text(name.replace("_", " "), value)
    return value


def own_site(connection: sa.Connection) -> str:
    """The id of this database's own chain."""
    chains = schema.chains
    return str(connection.execute(sa.select(chains.c.site).where(chains.c.own)).scalar_one())


def append(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> sa.Row[Any]:
    """Add one row to this site's chain, inside a transaction that writes; returns it as stored.

    Notes and reasons are tidied; text that no database keeps is refused.

    Writers take turns (``connect``), and the row of ``chains`` is locked besides, so no two rows
    follow the same one.
    """
    chains = schema.chains
    head = connection.execute(sa.select(chains).where(chains.c.own).with_for_update()).one()
    row: dict[str, Any] = {column.name: None for column in table.columns if column.name != "hash"}
    row |= {name: _storable(name, value) for name, value in values.items()}
    row |= {"site": head.site, "seq": head.length + 1, "previous": head.head}
    if "id" in table.c:
        newest = sa.select(sa.func.max(table.c.id)).where(table.c.site == head.site)
        row["id"] = (connection.execute(newest).scalar_one() or 0) + 1
    row["hash"] = digest(table.name, row)
    stored = connection.execute(sa.insert(table).values(row).returning(*table.columns)).one()
    if digest(table.name, dict(stored._mapping)) != row["hash"]:
        raise refuse(
            f"the database did not keep a row of {table.name} as it was given",
            hint="nothing was stored; tell the administrator.",
            error=StoreRefused,
        )
    step = sa.update(chains).where(chains.c.site == head.site)
    connection.execute(step.values(length=row["seq"], head=row["hash"]))
    return stored
