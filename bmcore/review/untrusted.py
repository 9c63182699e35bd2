"""A SQLite file that others wrote is read as plain tables, at a cost that its size allows.

A view, a virtual table or a generated column runs what the writer of the file put there, and pages
that point at each other hold rows without end. ``connect.database_faults`` turns what is raised
here into a sentence that names the file.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from bmcore.plain import brief
from bmcore.review import schema

ROOM = "bmcore_room"  # key of ``info``: bytes that are still to come from this connection
LONGEST_CELL = 64 * 2**20  # bytes; the largest of ours, a study's plan, has some 100,000
_SHORTEST_ROW = 128  # bytes of a chained row: its two hashes
_CALL_AFTER = 100_000  # steps of SQLite's machine
_STEPS, _STEPS_A_BYTE = 5_000_000, 10  # reading every row once takes less than 1 a byte
_WRITTEN = re.compile(r"CREATE (UNIQUE )?(TABLE|INDEX|TRIGGER|VIEW|VIRTUAL TABLE)\b")


class Untrusted(sqlite3.DatabaseError):
    """The file is not as bmcore and SQLite write it; the message says where."""


class _Steps:
    """Counts what SQLite does, and stops it where that is more than reading the file takes."""

    def __init__(self) -> None:
        self.left = _STEPS

    def __call__(self) -> bool:
        self.left -= _CALL_AFTER
        return self.left < 0


def limit(connection: sqlite3.Connection) -> None:
    """Bound the size of a cell and the work of SQLite, before anything is read."""
    steps = _Steps()
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_CELL)
    connection.set_progress_handler(steps, _CALL_AFTER)
    connection.execute("PRAGMA trusted_schema = OFF")
    steps.left += _STEPS_A_BYTE * _size(connection)


def check(connection: sqlite3.Connection) -> int:
    """Refuse a file whose tables are not plain ones; returns its size in bytes. See ``limit``."""
    ours = {*schema.metadata.tables, "alembic_version"}
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        written = _WRITTEN.match(str(sql)) if sql is not None else None
        if written is None and (kind, sql) != ("index", None):
            raise Untrusted(f"an entry {brief(name)} that SQLite did not write")
        if written is None or kind in ("index", "trigger") or str(name).lower() not in ours:
            continue
        if written[2] != "TABLE":
            raise Untrusted(f"{name} is a {written[2].lower()} instead of a table")
        columns = connection.execute(f'PRAGMA table_xinfo("{name}")')
        computed = [str(column[1]) for column in columns if column[6]]
        if computed:
            raise Untrusted(f"table {name} computes its column {brief(computed[0])}")
    return _size(connection)


def rows(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
    """The rows of a query, each asked for once; refused where they are more than the file holds."""
    for row in connection.execute(query):
        if ROOM in connection.info:
            size = sum(len(value) for value in row if isinstance(value, str | bytes))
            connection.info[ROOM] -= max(size, _SHORTEST_ROW)
            if connection.info[ROOM] < 0:
                raise Untrusted("more rows than a file of this size can hold")
        yield row


def _size(connection: sqlite3.Connection) -> int:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])
