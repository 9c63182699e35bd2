"""A SQLite file that somebody else made is read as plain tables, at a cost that its size allows."""

import shutil
import sqlite3
import struct
import time

import pytest

from bmcore.domain import BmcoreError
from bmcore.review import untrusted
from bmcore.review.merge import merge
from bmcore.review.store import open_store
from bmcore.review.verify import verify
from tests import study_fixture

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "site.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        study_fixture.read(store, study_fixture.study(), stop_after=2)
    return path


def columns_of(raw, table):
    return [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]


def endless_view(raw, table, value="x"):
    names = ", ".join(f"{value} AS {name}" for name in columns_of(raw, table))
    raw.execute(f"DROP TABLE {table}")
    raw.execute(f"CREATE VIEW {table} AS {ENDLESS} SELECT {names} FROM n")


def view_that_says_it_is_a_table(raw):
    endless_view(raw, "remarks")
    raw.execute("PRAGMA writable_schema = ON")
    raw.execute("UPDATE sqlite_master SET type = 'table' WHERE name = 'remarks'")


def view_in_capitals(raw):
    endless_view(raw, "remarks")
    (sql,) = raw.execute("SELECT sql FROM sqlite_master WHERE name = 'remarks'").fetchone()
    raw.execute("DROP VIEW remarks")
    raw.execute(sql.replace("VIEW remarks", "VIEW REMARKS"))


def virtual_table(raw):
    names = ", ".join(columns_of(raw, "remarks"))
    raw.execute("DROP TABLE remarks")
    raw.execute(f"CREATE VIRTUAL TABLE remarks USING fts4({names})")


def generated_column(raw):
    names = ", ".join(c for c in columns_of(raw, "remarks") if c != "kind")
    raw.execute("DROP TABLE remarks")
    raw.execute(f"CREATE TABLE remarks ({names}, kind AS (hex(zeroblob(400000000))))")


def huge_cell(raw):
    raw.execute("DROP TRIGGER answers_no_update")
    size = untrusted.LONGEST_CELL + 1
    raw.execute("UPDATE answers SET value = CAST(zeroblob(?) AS TEXT) WHERE id = 1", (size,))


def two_steps(raw):
    raw.execute("INSERT INTO alembic_version VALUES ('0001')")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: endless_view(raw, "remarks"), "remarks is a view instead of a table"),
        (lambda raw: endless_view(raw, "chains"), "chains is a view instead of a table"),
        (lambda raw: endless_view(raw, "alembic_version"), "alembic_version is a view"),
        (view_that_says_it_is_a_table, "remarks is a view|malformed"),
        (view_in_capitals, "REMARKS is a view instead of a table"),
        (virtual_table, "remarks is a virtual table instead of a table"),
        (generated_column, "table remarks computes its column 'kind'"),
        (huge_cell, "holds a value of more than 64 MiB"),
        (two_steps, "cannot be verified by this version"),
    ],
)
def test_a_hostile_database_is_refused_by_name_before_it_is_read(whole, tmp_path, change, words):
    copy = tmp_path / "evil.sqlite"
    shutil.copy(whole, copy)
    raw = sqlite3.connect(copy, isolation_level=None)
    raw.execute("PRAGMA foreign_keys = OFF")
    change(raw)
    raw.close()
    for read in (verify, lambda url: merge([url], f"sqlite:///{tmp_path / 'all.sqlite'}")):
        started = time.monotonic()
        with pytest.raises(BmcoreError, match=words) as refused:
            read(f"sqlite:///{copy}")
        assert "evil.sqlite" in str(refused.value)
        assert time.monotonic() - started < 10
    assert not (tmp_path / "all.sqlite").exists()


def fan_out(path, table, levels, wide=300):
    """The pages of a table, pointed at ``wide`` times by each of ``levels`` pages above them."""
    with sqlite3.connect(path) as raw:
        (root,) = raw.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
    pages = bytearray(path.read_bytes())
    leaf = bytes(pages[(root - 1) * size : root * size])
    assert leaf[0] in (5, 13)  # a table's page
    below = len(pages) // size + 1
    pages += leaf
    for level in range(levels):
        cells = [struct.pack(">IB", below, 1)] * wide
        start = size - 5 * wide
        head = struct.pack(">BHHHBI", 5, 0, wide, start, 0, below)
        places = b"".join(struct.pack(">H", start + 5 * n) for n in range(wide))
        page = (head + places).ljust(start, b"\0") + b"".join(cells)
        if level == levels - 1:
            pages[(root - 1) * size : root * size] = page
        else:
            pages += page
            below = len(pages) // size
    pages[28:32] = struct.pack(">I", len(pages) // size)
    pages[92:96] = pages[24:28]
    path.write_bytes(pages)


@pytest.mark.parametrize("table", ["answers", "chains", "alembic_version"])
def test_pages_that_point_at_each_other_are_no_rows_without_end(whole, tmp_path, table):
    copy = tmp_path / "evil.sqlite"
    shutil.copy(whole, copy)
    fan_out(copy, table, 6)
    started = time.monotonic()
    with pytest.raises(BmcoreError, match=r"evil\.sqlite: .* (not as bmcore writes|be verified)"):
        verify(f"sqlite:///{copy}")
    assert time.monotonic() - started < 10


def test_work_without_end_is_stopped(whole):
    raw = sqlite3.connect(whole)
    untrusted.limit(raw)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        raw.execute(f"{ENDLESS} SELECT count(*) FROM n").fetchone()
    raw.close()


def test_a_long_answer_and_a_large_table_are_read(whole, tmp_path):
    """What bmcore may have written is within the limits: 30 MB in one cell, 20,000 rows."""
    copy = tmp_path / "large.sqlite"
    shutil.copy(whole, copy)
    raw = sqlite3.connect(copy, isolation_level=None)
    raw.execute("DROP TRIGGER answers_no_update")
    raw.execute("UPDATE answers SET value = ? WHERE id = 1", ("x" * 30_000_000,))
    names = columns_of(raw, "remarks")
    values = {"site": "(SELECT site FROM chains)", "id": "x", "seq": "x + 1000000"}
    values |= dict.fromkeys(("previous", "hash"), f"'{'a' * 64}'")
    chosen = ", ".join(values.get(name, "1") for name in names)
    raw.execute("DROP TRIGGER remarks_no_replace")
    raw.execute(f"INSERT INTO remarks {ENDLESS} SELECT {chosen} FROM n LIMIT 20000")
    raw.close()
    report = verify(f"sqlite:///{copy}")
    assert sum(rows for rows, _ in report.heads.values()) > 20_000
