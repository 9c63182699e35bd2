"""The child process that reads files: whatever happens in it becomes a sentence about the file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bmcore.domain import InputRefused
from bmcore.intake import child
from bmcore.intake.child import Limits, ask
from tests import child_tasks

QUICK = Limits(1.0)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(autouse=True)
def tasks(monkeypatch):
    child.end_children()
    monkeypatch.setattr(child, "COMMAND", child_tasks.COMMAND)
    yield
    child.end_children()


def refused(task: str, limits: Limits = QUICK, **job) -> str:
    with pytest.raises(InputRefused) as caught:
        ask(task, job, "scan.nii", limits)
    return str(caught.value)


def children() -> list[int]:
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(pid) for path in listed for pid in path.read_text().split()]


def gone(pid: int) -> bool:
    """True once no process has this number, or only its exit code is left."""
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("task", "say"),
    [
        ("swell", "scan.nii: reading the file takes too much memory (found more than 1000 MiB)"),
        ("spin", "scan.nii: reading the file takes too long (found more than 1 seconds)"),
        ("sleep", "scan.nii: reading the file takes too long (found more than 1 seconds)"),
        ("crash", "scan.nii: the file is damaged and cannot be read (found the program"),
        ("stumble", "scan.nii: the file is damaged and cannot be read (found IndexError"),
        ("flood", "scan.nii: the file is damaged and cannot be read"),
        ("decline", "inner: the file is not liked (found 7)"),
    ],
)
def test_what_goes_wrong_in_the_child_is_one_sentence_here(task, say):
    started = time.monotonic()
    limits = Limits(8.0) if task == "swell" else QUICK
    assert say in refused(task, limits)
    assert time.monotonic() - started < 10
    assert ask("say", {"word": "still here"}, "b.nii", QUICK)["word"] == "still here"


def test_one_child_serves_one_file_after_the_other_and_is_replaced_after_trouble():
    first = ask("say", {}, "a.nii", QUICK)["pid"]
    refused("decline")
    assert ask("say", {}, "b.nii", QUICK)["pid"] == first
    refused("sleep")
    second = ask("say", {}, "c.nii", QUICK)["pid"]
    assert second != first and gone(first)
    assert children().count(second) == 1  # no other, dead or alive


def test_a_child_that_hangs_takes_what_it_started_with_it(tmp_path):
    assert "too long" in refused("leave", out=str(tmp_path / "pid"))
    assert gone(int((tmp_path / "pid").read_text()))


def test_what_a_library_prints_is_no_answer():
    assert ask("chatter", {}, "a.nii", QUICK) == {"value": 1}


def test_the_child_knows_no_secret_of_its_parent(monkeypatch):
    monkeypatch.setenv("BMCORE_DATABASE_URL", "postgresql://bm:secret@db/bm")
    assert not [n for n in ask("say", {}, "a.nii", QUICK)["names"] if "BMCORE" in n]


def test_a_child_that_was_started_ahead_serves_the_first_file(monkeypatch):
    monkeypatch.undo()  # the real tasks
    child.warm()
    child.warm()
    for _ in range(200):
        if child._idle:
            break
        time.sleep(0.05)
    (waiting,) = child._idle
    assert child.ask("start", {}, "a.nii", QUICK) == {} and child._idle == [waiting]


def test_few_files_are_read_at_once_and_the_others_wait():
    pids: list[int] = []

    def read() -> None:
        pids.append(ask("say", {"s": 0.3}, "a.nii", Limits(5))["pid"])

    threads = [threading.Thread(target=read) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 5 and len(set(pids)) <= child.TOGETHER


def test_the_child_ends_when_its_parent_is_killed():
    code = (
        "import sys, time; from bmcore.intake import child; from tests import child_tasks;"
        "child.COMMAND = child_tasks.COMMAND;"
        "print(child.ask('say', {}, 'a', child.Limits(5))['pid'], flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)
