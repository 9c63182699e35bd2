"""The same store on a real PostgreSQL server, started here; skipped where there is none."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from bmcore.domain import BmcoreError
from bmcore.review import accounts, chain, invitations, plan, practice, schema
from bmcore.review.access import AccessRefused
from bmcore.review.connect import make_engine
from bmcore.review.merge import merge
from bmcore.review.practice import PracticeDesk
from bmcore.review.preference import PreferenceDesk
from bmcore.review.reading_session import ReadingSession
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.review.verify import verify
from bmcore.review.votes import VoteDraft
from bmcore.review.worklist import Seconds
from tests import study_fixture as drawn
from tests.test_review_chain import make_step_1

pytest.importorskip("psycopg", reason="the PostgreSQL driver psycopg is not installed")
INITDB = shutil.which("initdb") or next(
    (str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None
)
pytestmark = pytest.mark.skipif(INITDB is None, reason="no PostgreSQL server on this machine")


@pytest.fixture(scope="module")
def url():
    # a folder of its own: PostgreSQL refuses to run as root, and pytest's folders are root's alone
    home = Path(tempfile.mkdtemp(prefix="bmcore-postgres-"))
    as_user = {"user": "nobody"} if os.geteuid() == 0 else {}
    if as_user:
        shutil.chown(home, "nobody")
    data, programs = home / "data", Path(INITDB).resolve().parent
    quiet = {"stdout": subprocess.DEVNULL, "cwd": home, **as_user}
    create = [INITDB, "-D", str(data), "-U", "bm", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(create, check=True, **quiet)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = [programs / "postgres", "-D", data, "-k", home, "-p", str(port), "-F"]
    server = subprocess.Popen(serve, stderr=subprocess.DEVNULL, **quiet)
    address = f"postgresql+psycopg://bm@127.0.0.1:{port}/postgres"
    try:
        _wait_for(address)
        yield address
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown, without waiting for clients
        server.wait(20)
        shutil.rmtree(home)


def _wait_for(address):
    for _ in range(100):
        try:
            with sa.create_engine(address, poolclass=sa.NullPool).connect():
                return
        except sa.exc.OperationalError:
            time.sleep(0.1)
    raise TimeoutError("the PostgreSQL server did not start within 10 s")


def draft(number, reader, **changes):
    values = {
        "case_id": f"case {number}",
        "reader": reader,
        "role": "oncologist",
        "phase": "unaided",
        "primary": "gi",
        "confidence": 10,
        "idempotency_key": f"{reader} {number}",
    }
    return VoteDraft(**{**values, **changes})


def test_postgresql_keeps_votes_of_8_threads_and_refuses_changes(url):
    with open_store(url) as store:
        faults, gate = [], threading.Barrier(8)

        def write(name):
            try:
                gate.wait()
                store.add_reader(name, "oncologist")
                for n in range(10):
                    said = draft(n, name)
                    assert store.add_vote(said) == store.add_vote(said)
            except Exception as fault:
                faults.append(fault)

        threads = [threading.Thread(target=write, args=(f"Reader {n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        assert len(store.votes()) == 80
        changed = store.add_vote(draft(0, "Reader 0", idempotency_key="x", reason="New scan."))
        assert changed.supersedes is not None
        assert len(store.current_votes()) == 80
        for statement in ("UPDATE votes SET confidence = 9", "DELETE FROM votes", "TRUNCATE votes"):
            with (
                pytest.raises(sa.exc.DBAPIError, match="append-only"),
                store._engine.begin() as connection,
            ):
                connection.execute(sa.text(statement))
        assert len(store.votes()) == 81
        assert store.votes()[0].created_at.utcoffset().total_seconds() == 0


def test_the_same_form_sent_to_postgresql_by_8_threads_at_once_is_one_vote(url):
    with open_store(url) as store:
        store.add_reader("Same", "oncologist")
        got, gate = [], threading.Barrier(8)

        def send():
            gate.wait()
            got.append(store.add_vote(draft(1, "Same")).id)

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 8
        assert len(set(got)) == 1


def test_a_postgresql_server_that_is_not_there_is_told_in_a_sentence():
    with pytest.raises(BmcoreError) as refused:
        open_store("postgresql+psycopg://bm:secret@127.0.0.1:1/none")
    assert "secret" not in str(refused.value)


def test_the_chain_on_postgresql_is_whole_and_tampering_is_named(url):
    with open_store(url) as store:
        store.add_reader("Chained", "oncologist", 4.5)
        gate = threading.Barrier(8)

        def write(name):
            gate.wait()
            for n in range(100, 105):
                store.add_vote(
                    draft(n, "Chained", case_id=f"{name} {n}", idempotency_key=name + str(n))
                )

        threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report = verify(url)
        assert report.problems == ()
        (rows,) = [n for n, _ in report.heads.values()]
        assert rows == len(store.votes()) + len(store.readers())
        newest = max(v.id for v in store.votes())
        for statement, named in (
            (
                f"UPDATE votes SET confidence = 77 WHERE id = {newest - 3}",
                f"votes id {newest - 3} ",
            ),
            (f"DELETE FROM votes WHERE id >= {newest - 1}", "missing at the end of the chain"),
            ("UPDATE readers SET years = 40 WHERE name = 'Chained'", "readers 'Chained'"),
            (
                "ALTER TABLE votes DISABLE TRIGGER votes_no_change",
                "trigger votes_no_change: removed",
            ),
            (
                "CREATE OR REPLACE FUNCTION rows_append_only() RETURNS trigger LANGUAGE plpgsql "
                "AS $$ BEGIN RETURN NEW; END $$",
                "trigger chains_forward: changed",
            ),
            (
                "CREATE OR REPLACE TRIGGER votes_no_change BEFORE DELETE ON votes "
                "FOR EACH ROW EXECUTE FUNCTION rows_append_only()",
                "trigger votes_no_change: changed",
            ),
            (
                "CREATE OR REPLACE TRIGGER chains_forward BEFORE UPDATE ON chains FOR EACH ROW "
                "WHEN (NEW.own <> OLD.own) EXECUTE FUNCTION rows_append_only()",
                "trigger chains_forward: changed",
            ),
        ):
            problems = _tampered(url, store, statement)
            assert any(named in p for p in problems), (statement, problems)
        assert verify(url).problems == ()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE RULE quiet AS ON INSERT TO votes DO ALSO DELETE FROM drafts", "rule quiet on v"),
        ("CREATE RULE r AS ON DELETE TO drafts DO INSTEAD NOTHING", "rule r on drafts"),
        ("CREATE POLICY p ON votes USING (confidence > 5)", "row security policy p on v"),
        ("ALTER TABLE votes ENABLE ROW LEVEL SECURITY", "row security on votes"),
        ("ALTER TABLE votes DISABLE TRIGGER ALL", "table votes: its foreign keys are switched off"),
        ("CREATE TABLE more () INHERITS (votes)", "table more, a part of votes"),
        ("ALTER TABLE remarks ALTER COLUMN about_site SET DEFAULT now()", "default now() of rem"),
        ("ALTER TABLE votes ADD COLUMN twice int GENERATED ALWAYS AS (id * 2) STORED", "default "),
        ("ALTER TABLE votes ADD CONSTRAINT c CHECK (random() < 2)", "check c on votes"),
        ("CREATE INDEX i ON votes (lower(comment))", "index i on votes"),
        (
            "CREATE TRIGGER t AFTER INSERT ON drafts FOR EACH ROW "
            "EXECUTE FUNCTION rows_append_only()",
            "trigger t: not one of bmcore's",
        ),
    ],
)
def test_what_runs_with_a_table_on_postgresql_and_is_not_ours_is_found(url, statement, named):
    with open_store(url) as store:
        problems = _tampered(url, store, statement)
    assert any(p.startswith(named) for p in problems), problems


def test_a_view_in_the_place_of_a_table_on_postgresql_is_not_read(url):
    statements = (
        "ALTER TABLE remarks RENAME TO kept; CREATE VIEW remarks AS SELECT k.* FROM kept k, "
        "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n) m"
    )
    with open_store(url) as store, pytest.raises(BmcoreError, match=r"is none \(found remarks"):
        _tampered(url, store, statements)


def _tampered(url, store, statement):
    """The problems found in a copy of the database in which ``statement`` was run unguarded."""
    copy = url.replace("/postgres", "/forged")
    store._engine.dispose()
    elsewhere = url.replace("/postgres", "/template1")  # the copied database must have no user
    with sa.create_engine(
        elsewhere, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    ).connect() as admin:
        admin.exec_driver_sql("DROP DATABASE IF EXISTS forged WITH (FORCE)")
        admin.exec_driver_sql("CREATE DATABASE forged TEMPLATE postgres")
    engine = sa.create_engine(copy, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("SET session_replication_role = replica")  # no triggers
        connection.exec_driver_sql(statement)
    engine.dispose()
    return verify(copy).problems


def test_a_postgresql_database_from_before_the_chain_is_chained(url):
    with sa.create_engine(
        url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    ).connect() as admin:
        admin.exec_driver_sql("CREATE DATABASE older TEMPLATE template0")
    older = url.replace("/postgres", "/older")
    make_step_1(make_engine(older))
    with open_store(older) as store:
        assert [(v.id, v.supersedes, v.primary) for v in store.votes()] == [
            (1, None, "gi"),
            (2, None, "gi"),
            (5, 1, "rcc"),
        ]
    assert verify(older).problems == ()


def test_a_sqlite_database_moves_to_postgresql_and_a_user_with_few_rights_can_vote(url, tmp_path):
    source = f"sqlite:///{tmp_path / 'site.sqlite'}"
    with open_store(source) as store:
        store.add_reader("Moved", "oncologist", 4.5)
        store.add_vote(draft(1, "Moved"))
        store.add_vote(draft(1, "Moved", idempotency_key="k", reason="MRI."))
    with sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as c:
        c.exec_driver_sql("CREATE DATABASE moved TEMPLATE template0")
        c.exec_driver_sql("CREATE ROLE few LOGIN")
    moved = url.replace("/postgres", "/moved")
    merge([source], moved)
    assert verify(source).heads.items() <= verify(moved).heads.items()
    assert verify(moved).problems == ()
    tables = ", ".join(table.name for table in schema.CHAINED)
    with sa.create_engine(moved, poolclass=sa.NullPool).begin() as c:  # as in docs/database.md
        c.exec_driver_sql(f"GRANT SELECT, INSERT ON {tables} TO few")
        changing = "drafts, vote_drafts, sign_in_attempts, runs, case_index, index_stamps"
        c.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {changing} TO few")
        c.exec_driver_sql("GRANT SELECT, INSERT, UPDATE ON accounts TO few")
        c.exec_driver_sql("GRANT SELECT, UPDATE ON chains, alembic_version TO few")
    with open_store(moved.replace("bm@", "few@")) as store:
        store.add_reader("New", "oncologist")
        store.add_vote(draft(2, "New"))
        accounts.add(store, "New", "administrator", "seven quiet horses")
        with pytest.raises(AccessRefused, match="is wrong"):
            accounts.sign_in(store, "Nobody", "seven quiet horses")
        accounts.sign_in(store, "New", "seven quiet horses")
        assert [(v.reader, v.supersedes) for v in store.votes()] == [
            ("Moved", None),
            ("Moved", 1),
            ("New", None),
        ]
        for statement in (
            "UPDATE votes SET confidence = 1",
            "DROP TRIGGER votes_no_change ON votes",
        ):
            with pytest.raises(BmcoreError, match=r"denied|owner"):
                store.write(lambda c, s=statement: c.exec_driver_sql(s))
    assert verify(moved).problems == ()


def _new_database(url, name):
    with sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as c:
        c.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
    return url.replace("/postgres", f"/{name}")


def _as_step_8(url):
    """Take away what migrations 0009 to 0016 bring, as a database of version 0008 is without it."""
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as c:
        c.exec_driver_sql("SET session_replication_role = replica")
        later = ("practice", "preferences", "invitations", "case_changes", "conduct")
        later += ("prior_examinations",)
        for table in (*later, "runs", "case_index", "index_stamps"):
            c.exec_driver_sql(f"DROP TABLE {table} CASCADE")
        for index in ("ix_votes_case_id", "ix_votes_reader_case_id"):
            c.exec_driver_sql(f"DROP INDEX {index}")
        for table in ("events", "drafts"):
            c.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN taken_over")
        c.exec_driver_sql("UPDATE alembic_version SET version_num = '0008'")


def test_a_text_that_postgresql_cannot_hold_is_named_with_its_row(url, tmp_path, monkeypatch):
    source = f"sqlite:///{tmp_path / 'old.sqlite'}"
    monkeypatch.setattr(chain, "_storable", lambda name, value: value)  # as earlier versions
    with open_store(source) as store:
        desk = drawn.read(store, drawn.study(), stop_after=2)
        desk.flag(desk.next("r01").item.place, "a\x00b", "k")
    with pytest.raises(BmcoreError, match=r"row \d+ of \S+ \(events\) cannot .* its note holds"):
        merge([source], _new_database(url, "with_nul"))
    merged = f"sqlite:///{tmp_path / 'all.sqlite'}"
    merge([source], merged)
    assert verify(merged).problems == ()


def test_a_study_read_on_postgresql_before_step_9_is_carried_on_whole(url):
    address = _new_database(url, "study_of_8")
    with open_store(address) as store:
        desk = drawn.read(store, drawn.study(cases=list(drawn.CASES[:3])), stop_after=5)
        answers = desk.answers()
        heads = verify(address).heads
    _as_step_8(address)
    with open_store(address) as store:
        assert verify(address).problems == ()
        assert verify(address).heads == heads
        desk = ReadingSession(store, "drawn")
        assert desk.answers() == answers
        place = desk.next("r01").item.place
        values = {"primary": {"choice": "gi", "confidence": 50}}
        desk.save_draft(place, values, Seconds(), taken_over=("primary",))
        assert desk.draft(place).taken_over == ("primary",)


def test_practice_preferences_and_invitations_work_on_postgresql(url):
    address = _new_database(url, "later")
    made = drawn.study(
        cases=list(drawn.CASES[:2]),
        practice=["try"],
        design={"kind": "sequential", "arms": ["unaided"]},
        questions=[{"id": "primary", "kind": "primary", "text": "Which?"}],
        primary_endpoint={"measure": "accuracy", "compare": ["models", "unaided"]},
        preference={"candidates": ["models", "reference"]},
    )
    said = {"primary": {"choice": "gi", "confidence": 50}}
    with open_store(address) as store:
        plan.lock(store, made, "Ida Lund")
        desk = ReadingSession(store, "drawn")
        trial = PracticeDesk(store, "drawn", lambda case: ("gi", "rcc"))
        place = practice.place(made, "r01", "try")
        trial.submit(place, said, Seconds(), "t")
        trial.submit(place, said, Seconds(), "t")
        assert [(p.reference, p.model) for p in trial.done()] == [("gi", "rcc")]
        for number, work in enumerate(desk.work("r01")):
            desk.submit(work.item.place, said, Seconds(), f"k{number}")
        chooser = PreferenceDesk(store, "drawn")
        pair = chooser.next("r01")
        chooser.choose("r01", pair.case_id, "tie", ("a" * 64, "b" * 64))
        assert len(read_record(store, "drawn").preferences) == 1
        for statement in (
            "UPDATE practice SET reference = 'rcc'",
            "DELETE FROM preferences",
            "UPDATE preferences SET answer = 'left'",
        ):
            with (
                pytest.raises(sa.exc.DBAPIError, match="append-only"),
                store._engine.begin() as connection,
            ):
                connection.execute(sa.text(statement))
        assert verify(address).problems == ()
        accounts.add(store, "Ida Lund", "administrator", "seven quiet horses")
        _, token = invitations.invite(store, "Ada Lund", "reader", "Ida Lund")
        assert [one.name for one in invitations.open_ones(store)] == ["Ada Lund"]
        assert invitations.accept(store, token, "eight loud horses").name == "Ada Lund"
        assert invitations.look(store, token) is None
