"""The database keeps every vote, once, for good; and says in a sentence what is wrong."""

import os
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from bmcore.domain import BmcoreError, InputRefused
from bmcore.review import chain, connect, schema
from bmcore.review.migrate import newest_step
from bmcore.review.store import open_store
from bmcore.review.votes import Evidence, VoteDraft

ROOT = Path(__file__).resolve().parent.parent
WRITER = """
import sys
from bmcore.review.migrate import newest_step
from bmcore.review.store import open_store
from bmcore.review.votes import VoteDraft
with open_store(sys.argv[1]) as store:
    store.add_reader(sys.argv[2], "oncologist")
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(int(sys.argv[3])):
        print(store.add_vote(VoteDraft(case_id=f"case {n}", reader=sys.argv[2], role="oncologist",
            phase="unaided", primary="rcc", confidence=n, idempotency_key=f"{sys.argv[2]} {n}")).id)
"""


def draft(number=0, **changes):
    values = {
        "case_id": f"case {number}",
        "reader": "Ida Lund",
        "role": "radiologist",
        "phase": "unaided",
        "primary": "nsclc",
        "confidence": 50,
        "idempotency_key": f"form {number}",
    }
    return VoteDraft(**{**values, **changes})


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'new folder' / 'votes.sqlite'}"


@pytest.fixture
def store(url):
    with open_store(url) as opened:
        opened.add_reader("Ida Lund", "radiologist", 12)
        yield opened


def file_of(url):
    return url.removeprefix("sqlite:///")


def raw(url):
    connection = sqlite3.connect(file_of(url), isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def test_a_vote_comes_back_as_it_was_given(store):
    said = draft(
        phase="aided",
        segmentation_quality=5,
        comment="Ring enhancement.\nIs that haemorrhage? \U0001f9e0",
        bundle_digest="abc",
        model_primary="melanoma",
    )
    store.add_vote(draft(idempotency_key="first"))
    store.show_models("Ida Lund", "case 0", Evidence(bundle="abc"))
    before = datetime.now(UTC)
    vote = store.add_vote(said)
    assert vote.says_the_same_as(said)
    assert timedelta(0) <= vote.created_at - before < timedelta(seconds=20)
    assert store.votes(phase="aided") == [vote]


def test_a_double_submit_is_one_vote_and_a_changed_form_is_not_lost_in_silence(store):
    first, second = store.add_vote(draft()), store.add_vote(draft())
    assert first == second
    assert len(store.votes()) == 1
    with pytest.raises(InputRefused, match="already stored with another answer"):
        store.add_vote(draft(primary="rcc"))


def test_a_changed_mind_needs_a_reason_and_keeps_the_earlier_vote(store):
    first = store.add_vote(draft())
    with pytest.raises(InputRefused, match="already voted on case case 0 without the models"):
        store.add_vote(draft(idempotency_key="again", primary="rcc"))
    second = store.add_vote(draft(idempotency_key="b", primary="rcc", reason="Saw the kidney."))
    third = store.add_vote(draft(idempotency_key="c", primary="gi", reason="Colon cancer 2019."))
    assert (first.supersedes, second.supersedes, third.supersedes) == (None, first.id, second.id)
    assert store.votes() == [first, second, third]
    assert store.current_votes() == [third]


def test_a_reason_without_an_earlier_vote_is_refused(store):
    with pytest.raises(InputRefused, match="no earlier vote"):
        store.add_vote(draft(reason="why not"))


def test_phases_are_separate_and_votes_can_be_asked_by_case_and_phase(store):
    unaided = store.add_vote(draft(1))
    store.show_models("Ida Lund", "case 1", Evidence(bundle="abc"))
    aided = store.add_vote(draft(1, phase="aided", idempotency_key="k"))
    other = store.add_vote(draft(2))
    assert store.votes(case_id="case 1") == [unaided, aided]
    assert store.votes(phase="unaided") == [unaided, other]
    assert store.current_votes("case 1", "aided") == [aided]


def test_readers_are_known_once_and_with_one_role(store):
    again = store.add_reader(" ida LUND", "radiologist")
    assert (again.name, again.years) == ("Ida Lund", 12)
    assert len(store.readers()) == 1
    with pytest.raises(InputRefused, match="registered with other details"):
        store.add_reader("Ida Lund", "oncologist")
    with pytest.raises(InputRefused, match="not registered"):
        store.add_vote(draft(reader="Somebody"))
    with pytest.raises(InputRefused, match="registered with other details"):
        store.add_vote(draft(role="oncologist"))
    assert store.add_vote(draft(reader="IDA lund")).reader == "Ida Lund"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE votes SET confidence = 99",
        "DELETE FROM votes",
        "INSERT OR REPLACE INTO votes SELECT * FROM votes",
        "REPLACE INTO votes SELECT id + 9, case_id, reader, role, phase, 'rcc', confidence, "
        "segmentation_quality, comment, bundle_digest, model_primary, created_at, "
        "idempotency_key, supersedes, reason, site, seq + 9, previous, hash, NULL, NULL, NULL, "
        "NULL, NULL FROM votes",
        "INSERT OR REPLACE INTO votes SELECT id + 9, case_id, reader, role, 'aided', 'rcc', "
        "confidence, segmentation_quality, comment, bundle_digest, model_primary, created_at, "
        "'other key', supersedes, reason, site, seq, previous, hash, NULL, NULL, NULL, NULL, NULL "
        "FROM votes",
    ],
)
def test_the_database_itself_refuses_to_change_a_vote(store, url, statement):
    vote = store.add_vote(draft())
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw(url).execute(statement)
    assert store.votes() == [vote]


@pytest.mark.parametrize(
    "changes",
    [
        {"confidence": 101},
        {"phase": "later"},
        {"segmentation_quality": 3},
        {"model_primary": "rcc"},
        {"reader": "Somebody"},
        {"supersedes": 1, "reason": "w", "phase": "aided"},
        {"supersedes": 77, "reason": "w"},
        {"supersedes": 1},
    ],
)
def test_the_schema_refuses_rows_that_no_draft_could_make(store, changes):
    vote = store.add_vote(draft(1))
    row = {
        "id": 2,
        "case_id": "case 1",
        "reader": vote.reader,
        "role": "radiologist",
        "phase": "unaided",
        "primary": "gi",
        "confidence": 1,
        "comment": "",
        "created_at": datetime.now(UTC),
        "idempotency_key": "x",
        "seq": 3,
        "previous": "",
        "hash": "",
    }
    if "supersedes" not in changes:
        row["case_id"] = "case 2"
    with store._writing.begin() as connection:
        row["site"] = chain.own_site(connection)
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(sa.insert(schema.votes).values({**row, **changes}))
        sound = {"case_id": "case 2"}  # the same row without the fault is taken
        connection.execute(sa.insert(schema.votes).values({**row, **sound}))


def test_16_threads_with_20_votes_each_lose_none_and_double_none(store, url):
    names = [f"Reader {n:02d}" for n in range(16)]
    for name in names:
        store.add_reader(name, "radiologist")
    faults, gate = [], threading.Barrier(16)

    def write(name):
        try:
            gate.wait()
            for n in range(20):
                said = draft(n, reader=name, idempotency_key=f"{name} {n}")
                assert store.add_vote(said) == store.add_vote(said)
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    votes = store.votes()
    assert len(votes) == 320
    assert {v.idempotency_key for v in votes} == {f"{r} {n}" for r in names for n in range(20)}
    assert [v.id for v in votes] == list(range(1, 321))


def test_the_same_form_sent_by_8_threads_at_once_is_one_vote(store):
    got, gate = [], threading.Barrier(8)

    def send():
        gate.wait()
        got.append(store.add_vote(draft()).id)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [1] * 8
    assert len(store.votes()) == 1


def test_a_second_program_writes_to_the_same_file(store, url):
    run = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, "Noor", "25"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout.readline() == "ready\n"
    run.stdin.write("go\n")
    run.stdin.flush()
    mine = [store.add_vote(draft(n)).id for n in range(25)]
    theirs = [int(line) for line in run.communicate(timeout=60)[0].split()]
    assert run.returncode == 0
    assert sorted(mine + theirs) == list(range(1, 51))
    assert [v.id for v in store.votes()] == list(range(1, 51))


def test_an_acknowledged_vote_survives_the_death_of_the_program(tmp_path, url):
    open_store(url).close()
    run = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, "Noor", "90"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout.readline() == "ready\n"
    run.stdin.write("go\n")
    run.stdin.flush()
    seen = [int(run.stdout.readline()) for _ in range(5)]
    run.kill()
    seen += [int(line) for line in run.communicate()[0].split()]
    with open_store(url) as again:
        kept = [v.id for v in again.votes()]
    assert set(seen) <= set(kept)
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) < 90


def test_opening_again_finds_the_votes_and_several_may_open_an_empty_file_at_once(url):
    faults, gate = [], threading.Barrier(6)

    def first_start(n):
        try:
            gate.wait()
            with open_store(url) as store:
                store.add_reader(f"Reader {n}", "other")
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=first_start, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with open_store(url) as store:
        assert len(store.readers()) == 6


def test_the_steps_lead_to_the_tables_of_the_code(store):
    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == newest_step()


def test_a_newer_database_is_refused_and_left_alone(store, url):
    store.close()
    raw(url).execute("UPDATE alembic_version SET version_num = '9999'")
    before = Path(file_of(url)).read_bytes()
    with pytest.raises(BmcoreError, match="made by a newer version of bmcore") as refused:
        open_store(url)
    assert "step 9999" in str(refused.value)
    assert Path(file_of(url)).read_bytes() == before


def test_the_tables_of_another_program_are_not_touched(url):
    Path(file_of(url)).parent.mkdir()
    raw(url).execute("CREATE TABLE votes (party TEXT)")
    with pytest.raises(BmcoreError, match="tables of another program"):
        open_store(url)


def test_a_damaged_file_is_refused_in_a_sentence(store, url):
    for n in range(30):
        store.add_vote(draft(n, comment="x" * 900))
    store.close()
    file = Path(file_of(url))
    whole = file.read_bytes()
    file.write_bytes(b"This is no database at all. " * 400)
    with pytest.raises(BmcoreError, match="damaged or is not a database"):
        open_store(url)
    file.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    with pytest.raises(BmcoreError, match="damaged"):
        open_store(url)


def test_a_file_that_cannot_be_written_is_refused_in_a_sentence(store, url, tmp_path):
    store.close()
    readonly = f"sqlite:///file:{file_of(url)}?mode=ro&uri=true"
    with pytest.raises(BmcoreError, match="cannot be written"):
        open_store(readonly)
    with pytest.raises(BmcoreError, match="cannot be written"):
        open_store(f"sqlite:///{tmp_path}")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BmcoreError, match="folder of the database"):
        open_store(f"sqlite:///{tmp_path / 'file' / 'votes.sqlite'}")


def test_a_useless_url_is_refused_and_no_password_is_shown():
    for url in ("nonsense", "mysql://u:secret@h/d", "sqlite://", "nodriver+x://u:secret@h/d"):
        with pytest.raises(BmcoreError) as refused:
            open_store(url)
        assert "secret" not in str(refused.value)


def test_a_busy_database_is_told_and_the_vote_is_not_half_stored(store, url, monkeypatch):
    monkeypatch.setattr(connect, "BUSY_TIMEOUT_MS", 50)
    blocker = raw(url)
    with open_store(url) as other:
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(BmcoreError, match="stayed busy"):
            other.add_vote(draft())
        blocker.execute("ROLLBACK")
        assert other.votes() == []
        assert other.add_vote(draft()).id == 1


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 40, 1), ("TRUNCATE", "EXTRA")),
        ((3, 51, 2), ("TRUNCATE", "EXTRA")),
        ((3, 51, 3), ("WAL", "FULL")),
        ((3, 52, 0), ("WAL", "FULL")),
    ],
)
def test_the_journal_follows_the_version_of_sqlite(version, expected):
    assert connect.journal_settings(version) == expected


def test_the_settings_are_in_force_on_a_connection(store):
    journal, _ = connect.journal_settings(sqlite3.sqlite_version_info)
    with store._engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    assert values["journal_mode"].upper() == journal
    assert (values["foreign_keys"], values["busy_timeout"]) == (1, 30_000)
    assert values["synchronous"] == (3 if journal == "TRUNCATE" else 2)
