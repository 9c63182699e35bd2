"""Worker processes do their work and do not outlive the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bmcore.workers import in_processes, worker_pool
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent
STARTER = """
import sys
from tests.test_workers import rest
from bmcore.workers import worker_pool

if __name__ == "__main__":
    with worker_pool(2) as pool:
        list(pool.map(rest, [sys.argv[1]] * 6))
"""
_begun: list[str] = []


def remember(word: str) -> None:
    _begun.append(word)


def recall(_: int) -> tuple[list[str], int]:
    return _begun, os.getpid()


def halve(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def rest(folder: str) -> None:
    """Leave a note of this process, then do nothing for a minute."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_each_process_begins_as_told() -> None:
    with worker_pool(2, remember, ("ready",)) as pool:
        answers = list(pool.map(recall, range(4)))
    assert all(begun == ["ready"] and process != os.getpid() for begun, process in answers)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_job_is_done_and_an_error_is_raised(workers: int) -> None:
    done = dict(in_processes(halve, [(2,), (4,), (8,)], workers))
    assert done == {0: 1, 1: 2, 2: 4}
    with pytest.raises(ValueError, match="5 is odd"):
        list(in_processes(halve, [(2,), (5,)], workers))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, how: int) -> None:
    script = tmp_path / "starter.py"
    script.write_text(STARTER)
    notes = tmp_path / "notes"
    notes.mkdir()
    place = os.environ | {"PYTHONPATH": str(ROOT)}
    starter = subprocess.Popen([sys.executable, script, notes], env=place, cwd=ROOT)
    try:
        until(lambda: len(list(notes.iterdir())) == 2, 60)
        workers = [int(note.name) for note in notes.iterdir()]
        assert all(map(_alive, workers))
        starter.send_signal(how)
        starter.wait(10)
        until(lambda: not any(map(_alive, workers)), 10)
    finally:
        starter.kill()
