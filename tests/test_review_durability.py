"""Fifty writers at once, and writers killed in the middle: no acknowledged vote lost or doubled.

20 kills here; the long form is ``BMCORE_TEST_KILLS=200 pytest tests/test_review_durability.py``.
"""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from bmcore.review.store import open_store
from bmcore.review.verify import verify
from bmcore.review.votes import VoteDraft

KILLS = int(os.environ.get("BMCORE_TEST_KILLS", "20"))
WRITERS_AT_ONCE = 3
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["bmcore.review.store", "tests.test_review_durability"])


def draft(reader, n):
    return VoteDraft(
        case_id=f"case {n}",
        reader=reader,
        role="oncologist",
        phase="unaided",
        primary="rcc",
        confidence=n % 101,
        idempotency_key=f"{reader} {n}",
    )


def write_for_ever(url, reader, start, acknowledge):
    """A program that tells of a vote only once ``add_vote`` has come back."""
    with open_store(url) as store:
        store.add_reader(reader, "oncologist")
        n = start
        while True:
            store.add_vote(draft(reader, n))
            acknowledge.send(n)
            n += 1


def write_some(url, readers, votes, gate):
    """Five threads with one store, as the pages have it."""
    with open_store(url) as store:
        gate.wait()

        def write(reader):
            store.add_reader(reader, "oncologist")
            for n in range(votes):
                store.add_vote(draft(reader, n))
                store.add_vote(draft(reader, n))  # a double click

        threads = [threading.Thread(target=write, args=(reader,)) for reader in readers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture
def url(tmp_path):
    address = f"sqlite:///{tmp_path / 'votes.sqlite'}"
    open_store(address).close()
    return address


def test_50_writers_in_5_programs_and_10_threads_each_lose_and_double_nothing(url):
    names = [f"Reader {n:02d}" for n in range(50)]
    gate = CONTEXT.Barrier(5)
    programs = [
        CONTEXT.Process(target=write_some, args=(url, names[n::5], 3, gate)) for n in range(5)
    ]
    for program in programs:
        program.start()
    for program in programs:
        program.join(300)
    assert [program.exitcode for program in programs] == [0] * 5
    with open_store(url) as store:
        votes = store.votes()
    keys = sorted(vote.idempotency_key for vote in votes)
    assert keys == sorted(f"{name} {n}" for name in names for n in range(3))
    report = verify(url)
    assert report.problems == ()
    assert [rows for rows, _ in report.heads.values()] == [50 + 150]


def test_writers_killed_in_the_middle_lose_no_acknowledged_vote_and_double_none(url):
    rng = random.Random(9)
    names = [f"Reader {n}" for n in range(WRITERS_AT_ONCE)]
    acknowledged = dict.fromkeys(names, -1)
    killed = 0
    while killed < KILLS:
        writers = []
        for name in names:
            heard, said = CONTEXT.Pipe(duplex=False)
            # the last vote may be stored but not acknowledged: it is sent again, with its key
            args = (url, name, acknowledged[name] + 1, said)
            writer = CONTEXT.Process(target=write_for_ever, args=args)
            writer.start()
            said.close()
            writers.append((name, writer, heard))
        assert writers[0][2].poll(120), "no vote was acknowledged within two minutes"
        time.sleep(rng.uniform(0, 0.2))
        for _, writer, _ in rng.sample(writers, len(writers)):
            assert writer.is_alive()
            os.kill(writer.pid, signal.SIGKILL)
            time.sleep(rng.uniform(0, 0.02))
        for name, writer, heard in writers:
            writer.join(60)
            assert writer.exitcode == -signal.SIGKILL
            killed += 1
            acknowledged[name] = max([acknowledged[name], *drained(heard)])
        check(url, acknowledged)
    assert sum(acknowledged.values()) > KILLS // 4, acknowledged


def drained(heard):
    while True:
        try:
            yield heard.recv()
        except EOFError:
            return


def check(url, acknowledged):
    with open_store(url) as store:
        votes = store.votes()
    keys = [vote.idempotency_key for vote in votes]
    assert len(keys) == len(set(keys))
    assert [vote.id for vote in votes] == list(range(1, len(votes) + 1))
    for name, last in acknowledged.items():
        stored = {vote.case_id for vote in votes if vote.reader == name}
        missing = [n for n in range(last + 1) if f"case {n}" not in stored]
        assert missing == [], f"{name}: acknowledged but lost: {missing}"
        assert len(stored) <= last + 2  # at most one was stored and not acknowledged
    assert verify(url).problems == ()


INTERRUPTED = """
import os, sqlite3, sys
raw = sqlite3.connect(sys.argv[1], isolation_level=None)
raw.execute("PRAGMA cache_size = 1")
raw.execute("PRAGMA cache_spill = 1")
raw.execute("BEGIN IMMEDIATE")
raw.execute("CREATE TABLE filler (x)")
for n in range(400):
    raw.execute("INSERT INTO filler VALUES (?)", ("x" * 4000,))
os._exit(9)
"""


def test_verify_reads_a_database_whose_last_write_was_interrupted(tmp_path):
    """It says so, finds the rows whole, and changes no file."""
    path = tmp_path / "votes.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        store.add_reader("Ida Lund", "radiologist")
    subprocess.run([sys.executable, "-c", INTERRUPTED, str(path)], check=False)
    journal = path.with_name(path.name + "-journal")
    assert journal.stat().st_size > 0
    before = path.read_bytes(), journal.read_bytes()
    report = verify(f"sqlite:///{path}")
    assert report.problems == ()
    assert any("a write was interrupted" in note for note in report.notes)
    assert (path.read_bytes(), journal.read_bytes()) == before
