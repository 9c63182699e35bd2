"""One worker: fair turns, what was asked for outlives everybody, and no death goes unnoticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from bmcore.domain import InputRefused
from bmcore.review import runs, schema
from bmcore.review.runs import CLICKED, MANY, PREDICT, Run
from bmcore.review.store import Store, open_store
from bmcore.running import keeper, line, progress, worker
from bmcore.running.tasks import Bench, Later
from bmcore.settings import settings
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path))
    monkeypatch.setenv("BMCORE_WORKER_MINUTES", "0.01")  # ends 0.6 s after its last work
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with open_store(settings().url) as opened:
        yield opened


def _task(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let the worker do ``body`` for a case; it knows bench, case_id and home."""
    code = (
        f"import os, signal, sys, time; sys.path[:0] = [{str(ROOT)!r}]\n"
        "from pathlib import Path\n"
        "from bmcore.domain import refuse\n"
        "from bmcore.running import tasks, worker\n"
        "def predict(bench, case_id):\n"
        "    home = bench.home\n"
        "    with open(home / 'begun', 'a') as file: file.write(case_id + '\\n')\n"
        "    bench.tell('Looking', 0.5)\n"
        f"    {body}\n"
        "    return 'ab' * 32\n"
        "tasks.known = lambda: {'predict': predict}\n"
        "tasks.warm_up = lambda at_work: None\n"
        "sys.exit(worker.main(sys.argv[1:]))\n"
    )
    monkeypatch.setattr(keeper, "COMMAND", [sys.executable, "-c", code])


WAIT = "while not (home / 'go').exists(): bench.tell('Looking', 0.5); time.sleep(0.02)"


def begun(home: Path) -> list[str]:
    path = home / "begun"
    return path.read_text().split() if path.exists() else []


def ask(store: Store, *cases: str, by: str = "Ada", rank: int = CLICKED) -> None:
    runs.ask(store, PREDICT, cases, by, rank)


def drain(store: Store) -> list[str]:
    """Every run that waits, in the order in which the turns come."""
    order = []
    while (run := runs.take(store)) is not None:
        order.append(run.subject)
        runs.finish(store, run, "done")
    return order


# ---- whose turn it is ---------------------------------------------------------------------------


def test_first_come_first_served_for_one_person(store: Store) -> None:
    ask(store, "A", "C", "B")
    assert drain(store) == ["A", "C", "B"]


def test_two_people_take_turns_and_a_click_goes_before_many(store: Store) -> None:
    ask(store, "a1", "a2", "a3", by="Ada", rank=MANY)
    ask(store, "b1", "b2", by="Ben", rank=MANY)
    first = runs.take(store)
    assert first is not None and first.subject == "a1"
    runs.finish(store, first, "done")
    ask(store, "c1", by="Cleo")
    ask(store, "a3", by="Ada")  # waits already: the click brings it forward
    assert drain(store) == ["c1", "a3", "b1", "a2", "b2"]


def test_the_number_ahead_is_what_then_comes_before(store: Store) -> None:
    ask(store, "a1", "a2", "a3", by="Ada", rank=MANY)
    ask(store, "b1", "b2", by="Ben", rank=MANY)
    ask(store, "c1", by="Cleo")
    told = {name: runs.ahead(store, _found(store, name)) for name in ("c1", "a1", "a3", "b2")}
    order = drain(store)
    assert told["c1"] == 0 and told["a1"] == order.index("a1") == 1
    assert told["a3"] == order.index("a3") and abs(told["b2"] - order.index("b2")) <= 1


def _found(store: Store, subject: str) -> Run:
    run = runs.find(store, PREDICT, subject)
    assert run is not None
    return run


def test_what_waits_or_runs_is_not_asked_for_twice_and_what_ended_is(store: Store) -> None:
    assert runs.ask(store, PREDICT, ["A", "A", "B"], "Ada") == 2
    assert runs.ask(store, PREDICT, ["A", "C"], "Ben") == 1
    assert drain(store) == ["A", "C", "B"]
    assert runs.ask(store, PREDICT, ["A"], "Ben") == 1
    again = _found(store, "A")
    assert (again.state, again.attempts, again.asked_by) == ("queued", 0, "Ben")


def test_cancelling_takes_out_of_the_queue_and_asks_the_running_one_to_end(store: Store) -> None:
    ask(store, "A", "B", by="Ada")
    ask(store, "C", by="Ben")
    running = runs.take(store)
    assert running is not None and not runs.is_cancelled(store, running)
    assert runs.cancel(store, PREDICT, asked_by="Ada") == 2
    assert runs.is_cancelled(store, running)
    assert {name: _found(store, name).state for name in "ABC"} == {
        "A": "running", "B": "cancelled", "C": "queued"
    }  # fmt: skip
    assert runs.cancel(store, PREDICT, ["C"]) == 1
    assert not runs.waits(store)


def test_what_a_dead_worker_left_is_done_once_more_and_then_given_up(store: Store) -> None:
    ask(store, "A")
    for state in ("queued", "failed"):
        assert runs.take(store) is not None
        runs.recover(store)
        assert _found(store, "A").state == state
    assert _found(store, "A").message == runs.STOPPED
    ask(store, "B")
    assert runs.take(store) is not None
    runs.cancel(store, PREDICT, ["B"])
    runs.recover(store)
    assert _found(store, "B").state == "cancelled"


def test_what_is_usual_is_the_median_of_the_last_finished_runs(store: Store) -> None:
    assert runs.usual_s(store) is None
    for number, spent in enumerate((900, 10, 20, 30, 40, 50)):  # the first is the oldest
        start = datetime.fromtimestamp(1000.0 * number, UTC)
        end = datetime.fromtimestamp(1000.0 * number + spent, UTC)
        run = Run(PREDICT, f"C{number}", "done", 0, "Ada", start, start, end, 1)
        store.write(lambda c, run=run: c.execute(sa.insert(schema.runs), runs._values(run)))
    assert runs.usual_s(store) == 30


def test_the_time_left_is_first_that_of_earlier_cases_then_that_of_this_one() -> None:
    """100 s are usual; this case goes at half the speed: a quarter took 50 s, so 150 s are left."""
    assert progress.left(1, 0.02, None) is None
    assert progress.left(1, 0.02, 100) == pytest.approx(98)
    assert progress.left(50, 0.25, 100) == pytest.approx(150)
    between = progress.left(35, 0.175, 100)
    assert between is not None and 82.5 < between < 165  # 100 * 0.825 and 35 / 0.175 * 0.825
    assert progress.left(50, 0.5, None) == pytest.approx(50)


def test_what_nobody_asked_for_comes_last_and_a_click_brings_it_forward(store: Store) -> None:
    for case in "AB":
        runs.ask(store, runs.MAPS, [case], "Ada", runs.BEHIND)
    ask(store, "C", "D", by="Ben", rank=MANY)
    runs.ask(store, runs.MAPS, ["B"], "Cleo", CLICKED)  # somebody waits for a map of B
    order = []
    while (run := runs.take(store)) is not None:
        order.append((run.kind, run.subject, runs.waits_before(store, run)))
        runs.finish(store, run, "done")
    assert order == [
        (runs.MAPS, "B", False), (PREDICT, "C", False), (PREDICT, "D", False),
        (runs.MAPS, "A", False),
    ]  # fmt: skip


def test_a_task_that_stops_half_way_goes_on_after_what_is_more_urgent(
    home: Path, store: Store
) -> None:
    steps: list[str] = []

    def maps(bench: Bench, case_id: str) -> str:
        steps.append(f"map of {case_id}")
        if runs.waits_before(bench.store, bench.run):
            raise Later(bench.run.rank)
        return "ab" * 32

    def predict(bench: Bench, case_id: str) -> str:
        steps.append(f"answer on {case_id}")
        return "ab" * 32

    runs.ask(store, runs.MAPS, ["A"], "Ada", runs.BEHIND)
    first = runs.take(store)
    assert first is not None
    ask(store, "B", by="Ben", rank=MANY)  # comes in meanwhile
    known = {runs.MAPS: maps, PREDICT: predict}
    worker.work(home, store, first, known)
    while (run := runs.take(store)) is not None:
        worker.work(home, store, run, known)
    assert steps == ["map of A", "answer on B", "map of A"]
    done = runs.find(store, runs.MAPS, "A")
    assert done is not None and (done.state, done.attempts) == ("done", 1)


def test_a_sign_of_life_puts_the_end_of_the_worker_off(home: Path, store: Store) -> None:
    """Somebody opens a case long after the last work: the models stay for as long again."""
    line_ = worker._Line(home)
    line_.asks()
    line_._worked -= 500
    assert line_.quiet_s >= 500
    assert line_.asks() is False and line_.quiet_s >= 500  # nobody came
    path = progress.folder(home) / keeper.WAKE
    path.touch()
    assert line_.asks() is True and line_.quiet_s < 100


# ---- the process --------------------------------------------------------------------------------


def test_one_worker_does_all_tells_how_far_it_is_and_ends_when_nothing_comes(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _task(
        monkeypatch, f"(home / str(os.getpid())).touch(); {WAIT}".replace("; while", "\n    while")
    )
    assert line.state(home, store, "A").state == line.NEVER
    begin = time.monotonic()
    assert line.submit(home, store, ["A", "B"], "Ada") == 2
    assert time.monotonic() - begin < 5  # the worker would wait for ever for 'go'
    until(lambda: line.state(home, store, "A").fraction == 0.5)
    seen, other = line.state(home, store, "A"), line.state(home, store, "B")
    assert (seen.state, seen.stage) == ("running", "Looking")
    assert (other.state, other.message) == ("queued", "Waiting for 1 other case to finish.")
    assert keeper.alive(home) and line.look(home, store).busy == 2
    (home / "go").touch()
    until(lambda: not runs.any_busy(store))
    end = _found(store, "B")
    assert (end.state, end.digest, end.attempts) == ("done", "ab" * 32, 1)
    assert end.started_at and end.ended_at and end.submitted_at <= end.started_at <= end.ended_at
    assert len([p for p in home.iterdir() if p.name.isdigit()]) == 1  # one process did both
    until(lambda: not keeper.alive(home))
    line.submit(home, store, ["A"], "Ada")  # and the next one comes by itself
    until(lambda: begun(home) == ["A", "B", "A"] and not runs.any_busy(store))


def test_a_running_case_is_cancelled_and_the_next_one_goes_on(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _task(monkeypatch, f"if case_id == 'A':\n        {WAIT}")
    line.submit(home, store, ["A", "B"], "Ada")
    until(lambda: line.state(home, store, "A").stage == "Looking")
    line.cancel(store, ["A"])
    until(lambda: not runs.any_busy(store))
    assert (_found(store, "A").state, _found(store, "B").state) == ("cancelled", "done")


def test_a_worker_that_is_killed_is_followed_and_the_case_is_done_once_more(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    _task(monkeypatch, f"if case_id == 'bad' or begun(home).count('A') < 2: {kill}")
    keeper.COMMAND[2] = keeper.COMMAND[2].replace(
        "def predict", "def begun(home): return (home / 'begun').read_text().split()\ndef predict"
    )
    line.submit(home, store, ["A"], "Ada")
    until(lambda: not runs.any_busy(store))
    assert (_found(store, "A").state, _found(store, "A").attempts) == ("done", 2)
    line.submit(home, store, ["bad", "A"], "Ada")
    until(lambda: not runs.any_busy(store))
    assert (_found(store, "bad").state, _found(store, "bad").message) == ("failed", runs.STOPPED)
    assert _found(store, "A").state == "done" and begun(home).count("bad") == 2


def test_a_worker_that_cannot_even_start_is_told_in_a_sentence(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "COMMAND", [sys.executable, "-c", "1/0"])
    line.submit(home, store, ["A"], "Ada")
    until(lambda: not runs.any_busy(store))
    end = _found(store, "A")
    assert end.state == "failed" and "cannot start" in end.message
    log = keeper.log_path(home).read_text()
    assert log.count("ZeroDivisionError") == keeper.BAD_STARTS and str(home) in end.message


def test_a_refusal_reaches_the_user_as_its_sentence_and_an_error_the_log(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = "raise refuse('the image is empty', file='a.nii.gz')"
    _task(monkeypatch, f"if case_id == 'A': {refusal}\n    1 / 0")
    line.submit(home, store, ["A", "B"], "Ada")
    until(lambda: not runs.any_busy(store))
    assert line.state(home, store, "A").message == "a.nii.gz: the image is empty."
    told = line.state(home, store, "B")
    assert told.state == "failed" and "unexpected error" in told.message
    assert "Zero" not in told.message
    assert "ZeroDivisionError" in keeper.log_path(home).read_text()


def test_what_was_asked_for_outlives_the_server_and_the_worker(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server asks for two cases and is killed; a new one goes on."""
    _task(monkeypatch, "pass")
    code = (
        f"import os, signal, sys; sys.path[:0] = [{str(ROOT)!r}]\n"
        "from bmcore.review.store import open_store\n"
        "from bmcore.running import keeper, line\n"
        "from bmcore.settings import settings\n"
        "keeper.COMMAND = [sys.executable, '-c', 'import time; time.sleep(0)']\n"
        "with open_store(settings().url) as store:\n"
        "    line.submit(settings().home, store, ['A', 'B'], 'Ada')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    gone = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert gone.returncode == -signal.SIGKILL
    assert runs.counts(store, PREDICT) == {"queued": 2}
    line.resume(home, store)
    until(lambda: not runs.any_busy(store))
    assert runs.counts(store, PREDICT) == {"done": 2}


def test_a_second_worker_leaves_the_first_alone(home: Path, store: Store) -> None:
    from filelock import FileLock

    from bmcore.running import worker

    with FileLock(progress.folder(home) / keeper.LOCK):
        assert keeper.alive(home)
        assert worker.main([str(home)]) == 0
    assert not keeper.alive(home)
    os.nice(0)


@pytest.mark.parametrize("case_id", ["../x", "a/b", ""])
def test_a_case_name_cannot_lead_out_of_the_folder(home: Path, store: Store, case_id: str) -> None:
    with pytest.raises(InputRefused):
        line.submit(home, store, [case_id], "Ada")
