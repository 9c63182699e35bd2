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
from bmcore.review.store import open_store
from bmcore.review.votes import VoteDraft

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
            with sa.create_engine(address).connect():
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
