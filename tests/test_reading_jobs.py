"""Work in the background: one at a time, first come first served, and no death goes unnoticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from bmcore.domain import InputRefused, Prediction
from bmcore.inference import archive, jobs, worker
from bmcore.inference.jobs import JobState
from tests.reading_fixture import prediction
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent


def _child(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let ``submit`` start a worker whose prediction is ``body``; it knows home and case_id."""
    code = (
        f"import sys, time, os, signal; sys.path[:0] = [{str(ROOT)!r}]\n"
        "from pathlib import Path\n"
        "from bmcore.domain import *\n"
        "from bmcore.inference.worker import work\n"
        "from tests.reading_fixture import prediction\n"
        "def predict(home, case_id, tell):\n"
        "    tell('Looking', 0.5)\n"
        f"    {body}\n"
        "sys.exit(work(Path(sys.argv[1]), sys.argv[2], predict))\n"
    )
    monkeypatch.setattr(
        jobs, "worker_command", lambda home, case: [sys.executable, "-c", code, str(home), case]
    )


def test_a_case_never_submitted_has_no_state(tmp_path: Path) -> None:
    assert jobs.state(tmp_path, "A") == JobState()


def test_submit_returns_at_once_and_the_prediction_is_there_when_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = "while not Path(home, 'go').exists(): time.sleep(0.02)\n    return prediction(case_id)"
    _child(monkeypatch, wait)
    begun = time.monotonic()
    assert jobs.submit(tmp_path, "A").state == "queued"
    assert time.monotonic() - begun < 5  # the child would wait for ever for 'go'
    until(lambda: jobs.state(tmp_path, "A").state == "running")
    until(lambda: jobs.state(tmp_path, "A").fraction == 0.5)
    seen = jobs.state(tmp_path, "A")
    assert (seen.stage, seen.message) == ("Looking", "Looking: 50% of the work is done.")
    (tmp_path / "go").touch()
    until(lambda: not jobs.state(tmp_path, "A").busy)
    end = jobs.state(tmp_path, "A")
    assert (end.state, end.fraction, end.digest) == ("done", 1.0, "ab" * 32)
    assert end.submitted_at and end.started_at and end.ended_at
    assert end.submitted_at <= end.started_at <= end.ended_at
    stored = archive.latest(tmp_path, "A", "ab" * 32)
    assert stored is not None and stored.case_id == "A"


def test_a_second_submit_while_running_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _child(
        monkeypatch,
        "Path(home, f'run-{os.getpid()}').touch()\n"
        "    while not Path(home, 'go').exists(): time.sleep(0.02)\n"
        "    return prediction(case_id)",
    )
    first = jobs.submit(tmp_path, "A")
    again = [jobs.submit(tmp_path, "A") for _ in range(3)]
    assert {s.submitted_at for s in again} == {first.submitted_at}
    (tmp_path / "go").touch()
    until(lambda: jobs.state(tmp_path, "A").state == "done")
    assert len(list(tmp_path.glob("run-*"))) == 1
    assert jobs.submit(tmp_path, "A").submitted_at != first.submitted_at  # done: once more
    until(lambda: jobs.state(tmp_path, "A").state == "done")
    assert len(list(tmp_path.glob("run-*"))) == 2


def test_two_cases_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _child(
        monkeypatch,
        "f = Path(home, 'busy'); f.touch(exist_ok=False)\n"
        "    while not Path(home, 'go').exists(): time.sleep(0.02)\n"
        "    f.unlink(); return prediction(case_id)",
    )
    jobs.submit(tmp_path, "A")
    until(lambda: jobs.state(tmp_path, "A").state == "running")
    for case in ("C", "B"):  # not in the order of their names
        jobs.submit(tmp_path, case)
    until(lambda: "2 other cases" in jobs.state(tmp_path, "B").message)
    (tmp_path / "go").touch()
    until(lambda: not any(jobs.state(tmp_path, c).busy for c in "ABC"))
    ends = {c: jobs.state(tmp_path, c) for c in "ABC"}
    assert {s.state for s in ends.values()} == {"done"}, ends  # 'busy' never stood there twice
    begun = {c: s.started_at or 0 for c, s in ends.items()}
    assert begun["A"] < begun["C"] < begun["B"]  # first come, first served


def test_a_refusal_reaches_the_user_as_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _child(monkeypatch, "raise refuse('the image is empty', file='a.nii.gz')")
    jobs.submit(tmp_path, "A")
    until(lambda: not jobs.state(tmp_path, "A").busy)
    end = jobs.state(tmp_path, "A")
    assert (end.state, end.message) == ("failed", "a.nii.gz: the image is empty.")
    assert archive.latest(tmp_path, "A") is None


def test_an_unexpected_error_is_a_sentence_and_the_traceback_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _child(monkeypatch, "raise ZeroDivisionError('deep inside')")
    jobs.submit(tmp_path, "A")
    until(lambda: not jobs.state(tmp_path, "A").busy)
    end = jobs.state(tmp_path, "A")
    assert end.state == "failed"
    assert "unexpected error" in end.message and "Zero" not in end.message
    log = jobs.log_path(tmp_path, "A").read_text()
    assert "Traceback" in log and "ZeroDivisionError: deep inside" in log


def test_a_child_that_is_killed_reads_as_failed_and_can_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _child(monkeypatch, "os.kill(os.getpid(), signal.SIGKILL)")
    jobs.submit(tmp_path, "A")
    until(lambda: not jobs.state(tmp_path, "A").busy)
    end = jobs.state(tmp_path, "A")
    assert (end.state, end.message) == ("failed", jobs.STOPPED)
    _child(monkeypatch, "return prediction(case_id)")
    jobs.submit(tmp_path, "A")
    until(lambda: jobs.state(tmp_path, "A").state == "done")


def test_a_child_that_cannot_even_start_reads_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "worker_command", lambda home, case: [sys.executable, "-c", "1/0"])
    jobs.submit(tmp_path, "A")
    until(lambda: jobs.state(tmp_path, "A").state == "failed")


def test_a_running_state_whose_lock_is_free_is_stale_whatever_its_pid(tmp_path: Path) -> None:
    mine = JobState("running", "Looking", 0.4, submitted_at=time.time(), pid=os.getpid())
    jobs.record(tmp_path, "A", mine)
    assert jobs.state(tmp_path, "A").state == "failed"  # the pid lives, but holds no lock
    with FileLock(tmp_path / "jobs" / "A.lock"):
        assert jobs.state(tmp_path, "A").state == "running"


def test_a_child_that_never_came_up_is_given_up_after_a_minute(tmp_path: Path) -> None:
    jobs.record(tmp_path, "A", JobState("queued", submitted_at=time.time()))
    assert jobs.state(tmp_path, "A").state == "queued"
    long_ago = time.time() - jobs.START_GRACE_S - 1
    jobs.record(tmp_path, "A", JobState("queued", submitted_at=long_ago))
    assert jobs.state(tmp_path, "A").state == "failed"


def test_a_dead_job_in_the_queue_keeps_nobody_waiting(tmp_path: Path) -> None:
    jobs.record(tmp_path, "A", JobState("queued", submitted_at=1.0, pid=1))
    done: list[int] = []
    thread = threading.Thread(
        target=lambda: done.append(worker.work(tmp_path, "B", _predict)), daemon=True
    )
    thread.start()
    thread.join(10)
    assert done == [0]


def _predict(home: Path, case_id: str, tell: Callable[[str, float], None]) -> Prediction:
    tell("Looking", 0.2)
    return prediction(case_id)


def test_a_state_file_is_always_whole(tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for state in ("done", "failed"):
                jobs.record(tmp_path, "A", JobState(state, message="x" * 5000))

    thread = threading.Thread(target=write)
    jobs.record(tmp_path, "A", JobState("done", message="x" * 5000))
    thread.start()
    try:
        for _ in range(300):
            assert jobs.state(tmp_path, "A").message == "x" * 5000
    finally:
        stop.set()
        thread.join()
    assert not list((tmp_path / "jobs").glob(".A.json*"))


@pytest.mark.parametrize("case_id", ["../x", "a/b", ""])
def test_a_case_name_cannot_lead_out_of_the_jobs_folder(tmp_path: Path, case_id: str) -> None:
    with pytest.raises(InputRefused):
        jobs.submit(tmp_path, case_id)


def test_a_worker_outlives_the_process_that_submitted_it(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
        "import pytest, tests.test_reading_jobs as t\n"
        "from bmcore.inference import jobs\n"
        "with pytest.MonkeyPatch.context() as patch:\n"
        "    t._child(patch, 'time.sleep(1); return prediction(case_id)')\n"
        f"    jobs.submit({str(tmp_path)!r}, 'A')\n"
        "import os, signal; os.killpg(os.getpgid(0), signal.SIGKILL)\n"
    )
    gone = subprocess.run([sys.executable, "-c", code], start_new_session=True, timeout=30)
    assert gone.returncode == -signal.SIGKILL
    until(lambda: jobs.state(tmp_path, "A").state == "done")


def test_the_time_left_is_first_that_of_earlier_cases_then_that_of_this_one() -> None:
    """100 s are usual; this case goes at half the speed: a quarter took 50 s, so 150 s are left."""
    assert worker._left(1, 0.02, None) is None
    assert worker._left(1, 0.02, 100) == pytest.approx(98)
    assert worker._left(50, 0.25, 100) == pytest.approx(150)
    between = worker._left(35, 0.175, 100)
    assert between is not None and 82.5 < between < 165  # 100 * 0.825 and 35 / 0.175 * 0.825
    assert worker._left(50, 0.5, None) == pytest.approx(50)


def test_what_is_usual_is_the_median_of_the_last_finished_cases(tmp_path: Path) -> None:
    assert jobs.usual_s(tmp_path) is None
    for number, spent in enumerate((900, 10, 20, 30, 40, 50)):  # the first is the oldest
        begun = 1000.0 * number
        state = JobState("done", started_at=begun, ended_at=begun + spent)
        jobs.record(tmp_path, f"C{number}", state)
    jobs.record(tmp_path, "broken", JobState("failed", started_at=9e6, ended_at=9e6 + 1))
    assert jobs.usual_s(tmp_path) == 30


def test_silence_is_counted_from_the_last_word(tmp_path: Path) -> None:
    assert jobs.silent_s(tmp_path, "A") == 0
    jobs.record(tmp_path, "A", JobState("running"))
    path = tmp_path / "jobs" / "A.json"
    os.utime(path, (time.time() - 300, time.time() - 300))
    assert jobs.silent_s(tmp_path, "A") == pytest.approx(300, abs=20)
