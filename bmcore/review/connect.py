"""From a URL to an engine that is safe for votes; and database faults in words.

SQLite 3.7.0 to 3.51.2 can lose a commit when a WAL file is reset (https://sqlite.org/wal.html), so
these versions use a rollback journal (TRUNCATE, synchronous=EXTRA); later ones use WAL.
Writers take turns for a whole transaction: by BEGIN IMMEDIATE on SQLite (waiting 30 s at
most, see ``write_queue``), by an advisory lock on PostgreSQL. So a writer sees all that was written
before.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from bmcore import disk
from bmcore.domain import BmcoreError, refuse
from bmcore.review import untrusted
from bmcore.review.write_queue import begin_immediate

BUSY_TIMEOUT_MS = 30_000
_POSTGRES_LOCK = 5_101_837  # any number, the same for all programs of ours
WRITE = {"bmcore_write": True}  # execution option of engines that will write


class StoreRefused(BmcoreError):
    """The database cannot be opened, read or written."""


def journal_settings(version: tuple[int, ...]) -> tuple[str, str]:
    """``(journal_mode, synchronous)`` for a version of SQLite."""
    affected = (3, 7, 0) <= version <= (3, 51, 2)
    return ("TRUNCATE", "EXTRA") if affected else ("WAL", "FULL")


def make_engine(url: str) -> sa.Engine:
    """An engine for SQLite in a file or for PostgreSQL; the SQLite file is made, private."""
    try:
        parsed = sa.make_url(url)
        with database_faults(shown(url)):
            if parsed.get_backend_name() == "sqlite":
                return _sqlite_engine(parsed)
            if parsed.get_backend_name() == "postgresql":
                return _postgresql_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ImportError) as problem:
        raise refuse(
            "the database URL cannot be used",
            file=shown(url),
            found=str(problem).splitlines()[0],
            expected="sqlite:///path/to/file or postgresql+psycopg://user@host/name",
            hint="check BMCORE_DATABASE_URL, and that the driver is installed.",
            error=StoreRefused,
        ) from problem
    raise refuse(
        "this kind of database is not supported",
        found=parsed.get_backend_name(),
        expected="sqlite or postgresql",
        error=StoreRefused,
    )


def make_reading_engine(url: str) -> sa.Engine:
    """An engine that cannot write: SQLite opened read-only, PostgreSQL in read-only transactions.

    A SQLite file may come from anybody, see ``untrusted``. Text that is no UTF-8 is read as it
    stands instead of being a fault.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        return make_engine(url)  # says what is wrong
    if parsed.get_backend_name() == "postgresql":
        return make_engine(url).execution_options(postgresql_readonly=True)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return make_engine(url)
    if str(parsed.database).startswith("file:"):
        path = str(parsed.database)
    else:
        if not Path(str(parsed.database)).is_file():
            raise refuse(
                "there is no such database",
                file=parsed.database,
                hint="check BMCORE_HOME, BMCORE_DATABASE_URL or --database.",
                error=StoreRefused,
            )
        path = f"file:{quote(str(Path(str(parsed.database)).resolve()))}"
    engine = sa.create_engine(f"sqlite:///{path}?mode=ro&uri=true")
    sa.event.listen(engine, "connect", _on_reading_connect)
    return engine


@contextmanager
def readable(url: str) -> Iterator[tuple[str, bool]]:
    """``(url, False)`` to read from; after a crash in mid-write ``(url of a copy, True)``.

    SQLite rolls an interrupted write back at the next opening, which a reader that writes nothing
    cannot do. The copy is rolled back instead, and is gone afterwards; the database stays as it is.
    """
    path = _sqlite_path(url)
    if path is None or not _interrupted(path):
        yield url, False
        return
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("", "-journal", "-wal"):
            beside = path.with_name(path.name + ending)
            if beside.is_file():
                shutil.copy(beside, Path(folder) / beside.name)
        copy = Path(folder) / path.name
        with closing(sqlite3.connect(copy)) as connection:
            untrusted.limit(connection)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield f"sqlite:///{copy}", True


@contextmanager
def removed_if_new(url: str) -> Iterator[None]:
    """Where this fails, an SQLite database that was not there before is not there afterwards."""
    there = _sqlite_path(url) is not None
    try:
        yield
    except BaseException:
        made = None if there else _sqlite_path(url)
        for ending in ("", "-journal", "-wal", "-shm") if made else ():
            Path(f"{made}{ending}").unlink(missing_ok=True)
        raise


def _sqlite_path(url: str) -> Path | None:
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        return None  # the opening says what is wrong
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    path = Path(str(parsed.database))
    return path if path.is_file() else None


def _interrupted(path: Path) -> bool:
    """True where a writer that is gone has left a journal to be rolled back."""
    journal = disk.stat_of(path.with_name(f"{path.name}-journal"))
    if journal is None or not journal.st_size:
        return False
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as c:
            untrusted.limit(c)
            c.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as fault:
        return "locked" not in str(fault)
    return False


def _on_reading_connect(connection: sqlite3.Connection, record: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    untrusted.limit(connection)
    record.info[untrusted.ROOM] = untrusted.check(connection)


def shown(url: str) -> str:
    """The URL without its password, for messages."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the database URL"


@contextmanager
def database_faults(where: str) -> Iterator[None]:
    """Turn faults of the database into one sentence that names it."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as fault:
        told: BaseException = fault
        while "no such savepoint" in str(told) and told.__context__ is not None:
            told = told.__context__  # what had ended the transaction before
        found = str(told.orig if isinstance(told, DBAPIError) else told).strip()
        what, hint = _in_words(found)
        if isinstance(fault, untrusted.Untrusted):
            what, hint = "the database is not as bmcore writes it", _NOT_OURS
        raise refuse(what, file=where, found=found, hint=hint, error=StoreRefused) from fault
    except OSError as fault:
        raise refuse(
            "the folder of the database cannot be made or used",
            file=where,
            found=str(fault),
            hint="check the path and its permissions.",
            error=StoreRefused,
        ) from fault


_NOT_OURS = "use a backup, or ask for the file once more; keep this one."


def _in_words(fault: str) -> tuple[str, str]:
    low = fault.lower()
    if "interrupted" in low:
        return "reading the database takes more work than its size explains", _NOT_OURS
    if "too big" in low:
        longest = untrusted.LONGEST_CELL >> 20
        return f"the database holds a value of more than {longest} MiB", _NOT_OURS
    if "nul (0x00)" in low:
        return "a text holds a NUL character, which PostgreSQL cannot keep", "take it out."
    if "not a database" in low or "malformed" in low or "corrupt" in low:
        return (
            "the file is damaged or is not a database",
            "restore it from a backup; keep this file.",
        )
    if "readonly" in low or "read-only" in low or "unable to open" in low:
        return "the database cannot be written", "check the path and its permissions."
    if "locked" in low or "busy" in low:
        return "the database stayed busy for too long", "try again; look for a hanging program."
    if "full" in low and "disk" in low:
        return "the disk is full", "make room and try again."
    if "disk i/o" in low:
        return "the disk could not be read or written", "check its free space and try again."
    return "the database reported an error", "try again; tell the administrator."


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    if url.database in (None, "", ":memory:"):
        raise refuse(
            "a database in memory forgets every vote",
            found=str(url),
            expected="sqlite:///path/to/file",
            error=StoreRefused,
        )
    _private_file(Path(unquote(str(url.database).removeprefix("file:"))))
    engine = sa.create_engine(url, pool_size=5, max_overflow=50, pool_timeout=60)
    sa.event.listen(engine, "connect", _on_sqlite_connect)
    sa.event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _private_file(path: Path) -> None:
    """Make the database's file before SQLite does, so that only this account can read it.

    SQLite gives its journals the mode of the file. One that is there is closed to others.
    """
    disk.private_folder(path.parent)
    if path.is_file():
        for name in (path.name, *(f"{path.name}-{kind}" for kind in ("journal", "wal", "shm"))):
            disk.tighten(path.with_name(name))
    elif not path.exists() and os.access(path.parent, os.W_OK | os.X_OK):
        disk.create(path, "ab").close()


def _on_sqlite_connect(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours, see below
    journal, synchronous = journal_settings(sqlite3.sqlite_version_info)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    found = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if found.upper() != journal:
        found = connection.execute(f"PRAGMA journal_mode = {journal}").fetchone()[0]
    if found.upper() == "WAL" and journal != "WAL":
        raise sqlite3.OperationalError("database is locked in WAL mode by another program")
    connection.execute(f"PRAGMA synchronous = {synchronous}")


def _on_sqlite_begin(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get("bmcore_write", False):
        connection.exec_driver_sql("BEGIN")
        return
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    begin_immediate(raw, BUSY_TIMEOUT_MS)


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=20)
    sa.event.listen(engine, "begin", _on_postgresql_begin)
    return engine


def _on_postgresql_begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("bmcore_write", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})")
