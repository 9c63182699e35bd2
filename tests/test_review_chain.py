"""Nothing is edited, removed, added or moved behind the program's back without being named."""

import json
import random
import re
import shutil
import sqlite3
import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from bmcore.cli import app
from bmcore.domain import BmcoreError
from bmcore.review import chain, row_mapping, schema
from bmcore.review.connect import make_engine
from bmcore.review.store import open_store
from bmcore.review.verify import verify
from bmcore.review.votes import VoteDraft

ROUNDS = 500


def draft(n, reader="Ida Lund", **changes):
    values = {
        "case_id": f"case {n}",
        "reader": reader,
        "role": "radiologist",
        "phase": "unaided",
        "primary": "nsclc",
        "confidence": n % 100,
        "comment": f"remark {n}",
        "idempotency_key": f"{reader} {n}",
    }
    return VoteDraft(**{**values, **changes})


def url_of(path):
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file of two readers and 24 votes, some of them changed minds."""
    path = tmp_path_factory.mktemp("whole") / "votes.sqlite"
    with open_store(url_of(path)) as store:
        for name, years in (("Ida Lund", 12), ("Noor", 3.5)):
            store.add_reader(name, "radiologist", years)
            for n in range(10):
                store.add_vote(draft(n, name))
            for n in range(2):
                store.add_vote(draft(n, name, idempotency_key=f"{name} again {n}", reason="MRI."))
    return path


def unguarded(path):
    """The file opened raw, its triggers away; ``(connection, the triggers to put back)``."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA synchronous = OFF")  # the disk need not keep a forgery
    raw.execute("PRAGMA journal_mode = MEMORY")
    triggers = raw.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'").fetchall()
    for name, _ in triggers:
        raw.execute(f"DROP TRIGGER {name}")
    return raw, [sql for _, sql in triggers]


def edit(raw, rng):
    table = rng.choice(["votes", "votes", "votes", "readers", "chains"])
    columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
    rowids = [r[0] for r in raw.execute(f"SELECT rowid FROM {table}")]
    row, column = rng.choice(rowids), rng.choice(columns)
    old = raw.execute(f'SELECT "{column}" FROM {table} WHERE rowid=?', (row,)).fetchone()[0]
    others = [o for (o,) in raw.execute(f'SELECT "{column}" FROM {table}') if o != old]
    new = rng.choice([*others, "", None, 1, 7, 99, "x", f"{old}x", "2026-01-01 00:00:00.000000"])
    raw.execute(f'UPDATE {table} SET "{column}"=? WHERE rowid=?', (new, row))
    now = raw.execute(f'SELECT "{column}" FROM {table} WHERE rowid=?', (row,)).fetchone()[0]
    return now != old and f"{table}.{column}: {old!r} -> {now!r}"


def delete(raw, rng):
    table = rng.choice(["votes", "votes", "readers"])
    rowids = [r[0] for r in raw.execute(f"SELECT rowid FROM {table} ORDER BY seq")]
    how = rng.choice(["last", "last few", "any", "any two"])
    n = len(rowids)
    gone = {
        "last": rowids[-1:],
        "last few": rowids[-rng.randint(1, n) :],
        "any": rng.sample(rowids, 1),
        "any two": rng.sample(rowids, min(2, n)),
    }[how]
    raw.executemany(f"DELETE FROM {table} WHERE rowid=?", [(g,) for g in gone])
    return f"{table}: {how}"


def insert(raw, rng):
    """A copy of a row at a free place, often with a hash that is right for its content."""
    columns = [row[1] for row in raw.execute("PRAGMA table_info(votes)")]
    rows = [
        dict(zip(columns, r, strict=True)) for r in raw.execute("SELECT * FROM votes ORDER BY seq")
    ]
    count, head = raw.execute("SELECT length, head FROM chains").fetchone()
    forged = {**rng.choice(rows), "supersedes": None, "reason": None}
    place = rng.choice([count + 1, count + 1, rng.randint(1, count), count + 5, 0, -1])
    before = [r for r in rows if r["seq"] == place - 1]
    forged |= {"case_id": f"case {rng.randint(100, 999)}", "idempotency_key": f"{rng.random()}"}
    forged |= {"id": 500, "seq": place, "previous": before[0]["hash"] if before else head}
    if rng.random() < 0.7:
        at = datetime.fromisoformat(forged["created_at"]).replace(tzinfo=UTC)
        forged["hash"] = chain.digest("votes", {**forged, "created_at": at})
    if rng.random() < 0.3:
        raw.execute("DELETE FROM votes WHERE seq=?", (place,))
    marks = ",".join("?" * len(columns))
    raw.execute(f"INSERT INTO votes VALUES ({marks})", [forged[c] for c in columns])
    return f"row {place}"


def reorder(raw, rng):
    """Two rows change places: their numbers, their links, or their contents."""
    (a, sa_, pa, ha), (b, sb, pb, hb) = rng.sample(
        raw.execute("SELECT rowid, seq, previous, hash FROM votes").fetchall(), 2
    )
    how = rng.choice(["seq", "seq and links", "id", "content"])
    if how == "id":
        ia, ib = (
            raw.execute("SELECT id FROM votes WHERE rowid=?", (r,)).fetchone()[0] for r in (a, b)
        )
        raw.execute("UPDATE votes SET id=-1 WHERE rowid=?", (a,))
        raw.execute("UPDATE votes SET id=? WHERE rowid=?", (ia, b))
        raw.execute("UPDATE votes SET id=? WHERE rowid=?", (ib, a))
    elif how == "content":
        get = "SELECT case_id, confidence, comment FROM votes WHERE rowid=?"
        put = "UPDATE votes SET case_id=?, confidence=?, comment=? WHERE rowid=?"
        first, second = raw.execute(get, (a,)).fetchone(), raw.execute(get, (b,)).fetchone()
        if first == second:
            return False
        raw.execute(put, (f"{first[0]} away", *first[1:], a))
        raw.execute(put, (*first, b))
        raw.execute(put, (*second, a))
    else:
        raw.execute("UPDATE votes SET seq=-1 WHERE rowid=?", (a,))
        raw.execute("UPDATE votes SET seq=? WHERE rowid=?", (sa_, b))
        raw.execute("UPDATE votes SET seq=? WHERE rowid=?", (sb, a))
        if how == "seq and links":
            raw.execute("UPDATE votes SET previous=?, hash=? WHERE rowid=?", (pb, hb, a))
            raw.execute("UPDATE votes SET previous=?, hash=? WHERE rowid=?", (pa, ha, b))
    return how


def test_500_of_500_random_edits_deletions_insertions_and_reorderings_are_found(whole, tmp_path):
    assert verify(url_of(whole)).problems == ()
    rng, done, missed = random.Random(20261125), 0, []
    counts = {f.__name__: 0 for f in (edit, delete, insert, reorder)}
    copy = tmp_path / "copy.sqlite"
    while done < ROUNDS:
        shutil.copy(whole, copy)
        raw, triggers = unguarded(copy)
        deed = rng.choice([edit, edit, delete, insert, reorder])
        try:
            what = deed(raw, rng)
        except sqlite3.IntegrityError:
            what = False  # the schema itself refused; not a tampering
        for sql in triggers:
            raw.execute(sql)
        raw.close()
        if not what:
            continue
        done += 1
        counts[deed.__name__] += 1
        if not verify(url_of(copy)).problems:
            missed.append(f"{deed.__name__}: {what}")
    assert missed == [], missed[:20]
    assert sum(counts.values()) == ROUNDS
    assert min(counts.values()) >= 60, counts


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE votes SET confidence = 99 WHERE id = 3", r"votes id 3 \(row 4 of site-"),
        ("DELETE FROM votes WHERE id = 3", r"row 4 is missing before votes id 4"),
        ("DELETE FROM votes WHERE id BETWEEN 3 AND 5", "rows 4 to 6 are missing before votes id 6"),
        ("DELETE FROM votes WHERE id = 24", "row 26 is missing at the end"),
        ("DELETE FROM votes WHERE id > 20", "rows 23 to 26 are missing at the end"),
        ("UPDATE readers SET years = 30 WHERE name = 'Noor'", r"readers 'Noor' \(row 14 of"),
        ("UPDATE chains SET length = 25", "the head of the chain says 25 rows"),
        ("UPDATE chains SET own = 0", "exactly one site must be"),
        ("DELETE FROM chains", "a chain that the table chains does not know"),
        ("UPDATE votes SET created_at = 'yesterday' WHERE id = 2", "votes id 2"),
        ("UPDATE votes SET comment = CAST(x'ff00fe' AS TEXT) WHERE id = 2", "votes id 2"),
        ("UPDATE votes SET comment = x'ff00fe' WHERE id = 2", "votes id 2"),
    ],
)
def test_a_problem_names_the_row(whole, tmp_path, statement, named):
    copy = tmp_path / "copy.sqlite"
    shutil.copy(whole, copy)
    raw, triggers = unguarded(copy)
    raw.execute(statement)
    for sql in triggers:
        raw.execute(sql)
    raw.close()
    problems = verify(url_of(copy)).problems
    assert any(re.search(named, p) for p in problems), problems


def test_a_removed_guard_is_named_and_the_guards_stop_the_head_from_going_back(whole, tmp_path):
    copy = tmp_path / "copy.sqlite"
    shutil.copy(whole, copy)
    raw = sqlite3.connect(copy, isolation_level=None)
    for statement in (
        "UPDATE chains SET length = length - 1",
        "DELETE FROM chains",
        "REPLACE INTO chains SELECT site, own, 0, head FROM chains",
        "DELETE FROM readers",
        "UPDATE readers SET years = 1",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(statement)
    raw.execute("DROP TRIGGER votes_no_update")
    raw.close()
    assert [p for p in verify(url_of(copy)).problems if "votes_no_update" in p]


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("CREATE TRIGGER votes_no_update BEFORE UPDATE ON votes BEGIN SELECT 1; END", "changed"),
        (
            "CREATE TRIGGER votes_no_update BEFORE UPDATE ON votes WHEN 0 "
            "BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END",
            "changed",
        ),
        (
            "CREATE TRIGGER votes_no_update BEFORE UPDATE ON drafts "
            "BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END",
            "changed",
        ),
    ],
)
def test_a_guard_of_the_right_name_that_does_nothing_is_found(whole, tmp_path, planted, said):
    copy = tmp_path / "copy.sqlite"
    shutil.copy(whole, copy)
    raw = sqlite3.connect(copy, isolation_level=None)
    raw.execute("DROP TRIGGER votes_no_update")
    raw.execute(planted)
    raw.close()
    (problem,) = verify(url_of(copy)).problems
    assert problem.startswith(f"trigger votes_no_update: {said}")


def test_a_trigger_that_is_not_ours_is_found(whole, tmp_path):
    copy = tmp_path / "copy.sqlite"
    shutil.copy(whole, copy)
    raw = sqlite3.connect(copy, isolation_level=None)
    for name, table in (("a", "votes"), ("b", "VOTES"), ("c", '"Answers"'), ("d", "drafts")):
        raw.execute(f"CREATE TRIGGER {name} AFTER INSERT ON {table} BEGIN DELETE FROM drafts; END")
    raw.execute("CREATE VIEW seen AS SELECT * FROM votes")
    raw.execute("CREATE TRIGGER e INSTEAD OF INSERT ON seen BEGIN DELETE FROM drafts; END")
    raw.close()
    assert verify(url_of(copy)).problems == tuple(
        f"trigger {name}: not one of bmcore's; it may change what is written" for name in "abcde"
    )


def test_every_chained_table_has_its_guards():
    from bmcore.review import triggers

    made = triggers._made_by_sqlite()
    for table in schema.CHAINED:
        assert set(made) >= {f"{table.name}_no_{verb}" for verb in ("update", "delete", "replace")}
    assert set(made) >= {"chains_forward", "chains_no_delete", "chains_no_replace"}
    assert len(made) == 3 * len(schema.CHAINED) + 3


def rewrite(path):
    """Forge the file well: the last three rows go, all others are chained anew, the head fits."""
    raw, triggers = unguarded(path)
    raw.execute("DELETE FROM votes WHERE id > 21")
    raw.execute("UPDATE votes SET confidence = 1 WHERE id = 2")
    raw.close()
    engine = make_engine(url_of(path))
    with engine.execution_options(bmcore_write=True).begin() as connection:
        tables = {t.name: t for t in schema.CHAINED}
        found = [
            (name, dict(row._mapping))
            for name, t in tables.items()
            for row in connection.execute(sa.select(t))
        ]
        previous = chain.GENESIS
        for name, row in sorted(found, key=lambda pair: pair[1]["seq"]):
            values = {"previous": previous}
            values["hash"] = previous = chain.digest(name, {**row, **values})
            t = tables[name]
            connection.execute(sa.update(t).where(t.c.seq == row["seq"]).values(values))
        connection.execute(sa.update(schema.chains).values(length=len(found), head=previous))
    engine.dispose()
    raw = sqlite3.connect(path, isolation_level=None)
    for sql in triggers:
        raw.execute(sql)
    raw.close()


def test_a_chain_written_wholly_anew_is_seen_only_with_an_anchor(whole, tmp_path):
    copy, anchor = tmp_path / "copy.sqlite", tmp_path / "anchor.jsonl"
    anchor.write_text(verify(url_of(whole)).anchor + "\n")
    shutil.copy(whole, copy)
    with open_store(url_of(copy)) as store:
        store.add_vote(draft(77))
    assert verify(url_of(copy), anchor).problems == ()  # rows after the anchor are fine
    rewrite(copy)
    assert verify(url_of(copy)).problems == ()  # the limit that docs/study.md states
    (problem,) = verify(url_of(copy), anchor).problems
    assert "row 26 is not the one anchored at" in problem


def test_the_command_says_intact_broken_or_unusable(whole, tmp_path):
    run = CliRunner().invoke
    anchor = tmp_path / "anchor.jsonl"
    fine = run(app, ["verify", "--database", str(whole), "--write-anchor", str(anchor)])
    assert fine.exit_code == 0
    assert "26 rows" in fine.output
    assert json.loads(anchor.read_text())["bmcore_anchor"] == 1
    copy = tmp_path / "copy.sqlite"
    shutil.copy(whole, copy)
    raw, _ = unguarded(copy)
    raw.execute("DELETE FROM votes WHERE id > 22")
    raw.close()
    before = copy.read_bytes()
    broken = run(app, ["verify", "--database", str(copy), "--write-anchor", str(tmp_path / "none")])
    assert broken.exit_code == 1
    assert "rows 25 to 26 are missing at the end" in broken.output
    assert copy.read_bytes() == before
    assert not (tmp_path / "none").exists()
    for useless in (tmp_path / "not there", anchor, "mysql://u@h/d", "sqlite://"):
        assert run(app, ["verify", "--database", str(useless)]).exit_code == 2
    bad = run(app, ["verify", "--database", str(whole), "--anchor", str(whole)])
    assert bad.exit_code == 2


def test_a_database_from_before_the_chain_is_chained_with_its_votes_unchanged(tmp_path):
    path = tmp_path / "old.sqlite"
    make_step_1(make_engine(url_of(path)))
    with pytest.raises(BmcoreError, match="step 0001"):
        verify(url_of(path))
    with open_store(url_of(path)) as store:
        votes = store.votes()
        assert [(v.id, v.supersedes, v.reason, v.primary) for v in votes] == [
            (1, None, None, "gi"),
            (2, None, None, "gi"),
            (5, 1, "why", "rcc"),
        ]
        assert votes[0].created_at == datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
        assert [(r.name, r.years) for r in store.readers()] == [("Ida Lund", 12.5)]
        assert store.add_vote(draft(9)).id == 6
    report = verify(url_of(path))
    assert report.problems == ()
    assert [n for n, _ in report.heads.values()] == [7]
    # vote 5 took the place of vote 1 before exposures were kept: nobody can say what was seen
    assert [note[:40] for note in report.notes if "earlier version" in note] == [
        "1 votes of an earlier version may have b"
    ]
    with open_store(url_of(path)) as store:
        assert store.read(row_mapping.unknown_order) == {5}


def make_step_1(engine):
    """A database as version 0.1.0 wrote it, with a gap in its ids."""
    from alembic import command

    from bmcore.review.migrate import _config

    config = _config()
    with engine.execution_options(bmcore_write=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        at = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
        old = sa.MetaData()
        old.reflect(connection)
        readers, votes = old.tables["readers"], old.tables["votes"]
        at = at.replace(tzinfo=None) if engine.dialect.name == "sqlite" else at
        connection.execute(
            sa.insert(readers).values(
                name="Ida Lund",
                name_key="ida lund",
                role="radiologist",
                years=12.5,
                created_at=at,
            )
        )
        for n, case, replaced, reason, primary in (
            (1, "a", None, None, "gi"),
            (2, "b", None, None, "gi"),
            (5, "a", 1, "why", "rcc"),
        ):
            connection.execute(
                sa.insert(votes).values(
                    id=n,
                    case_id=case,
                    reader="Ida Lund",
                    role="radiologist",
                    phase="unaided",
                    primary=primary,
                    confidence=n,
                    comment="",
                    created_at=at,
                    idempotency_key=str(n),
                    supersedes=replaced,
                    reason=reason,
                )
            )
    engine.dispose()


def test_the_hash_never_changes():
    """A stored constant: whoever changes the canonical form breaks every database."""
    row = {"id": 1, "name": "Åsa", "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "years": 2.0}
    expected = "81fd2ba76aa2e084af84119fe580ca63176ecefb2ce94ddfa63097a1a46142c0"
    assert chain.digest("votes", row) == expected
    assert chain.digest("votes", {**row, "hash": "left out", "years": 2}) == expected
    assert chain.digest("readers", row) != expected
    with pytest.raises(TypeError):
        chain.digest("votes", {"x": b"bytes"})


def test_the_chain_stays_whole_while_16_threads_write(tmp_path):
    url = url_of(tmp_path / "many.sqlite")
    faults, gate = [], threading.Barrier(16)
    with open_store(url) as store:

        def write(name):
            try:
                gate.wait()
                store.add_reader(name, "radiologist")
                for n in range(6):
                    store.add_vote(draft(n, name))
            except Exception as fault:
                faults.append(fault)

        threads = [threading.Thread(target=write, args=(f"Reader {n}",)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []
    report = verify(url)
    assert report.problems == ()
    assert [n for n, _ in report.heads.values()] == [16 * 7]
