"""Predictions in the background: one child process a case, one at a time, state in files.

``<home>/jobs/`` holds for each case ``<case>.json`` (the state, replaced whole), ``<case>.lock``
(held by the child as long as it lives) and ``<case>.log`` (what went wrong, in full). A child that
died leaves its lock free, whatever its process number means by then; that is how it is noticed.
Children wait for each other on ``one-at-a-time.lock``, first come, first served.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from bmcore import disk
from bmcore.domain import refuse
from bmcore.inference.files import folder_name, write_json
from bmcore.plain import load_json
from bmcore.settings import PROJECT

START_GRACE_S = 60.0
STOPPED = (
    "The work stopped before it was finished; the computer may have run out of memory or been "
    "restarted. Start it again."
)


@dataclass(frozen=True)
class JobState:
    """Where the work on one case stands.

    state: "none" (never started), "queued", "running", "done" or "failed". stage: what is being
    done, in words. fraction: 0-1 of the whole. message: one sentence for the user.
    submitted_at, started_at, ended_at: seconds since 1970 (UTC). eta_s: seconds still to go, if it
    can be told. digest: of the bundle whose prediction was stored.
    """

    state: str = "none"
    stage: str = ""
    fraction: float = 0.0
    message: str = ""
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    pid: int | None = None
    eta_s: float | None = None
    digest: str | None = None

    @property
    def busy(self) -> bool:
        return self.state in ("queued", "running")


def submit(home: Path | str, case_id: str) -> JobState:
    """Start predicting a case in a child process and return at once.

    While the case is queued or running nothing new is started and its state is returned; after
    "done" or "failed" the work is done again.
    """
    home = Path(home).resolve()
    with _lock(_file(home, case_id, "submit.lock")):
        now = state(home, case_id)
        if now.busy:
            return now
        queued = JobState(
            "queued", "Waiting to start", message="Waiting to start.", submitted_at=time.time()
        )
        record(home, case_id, queued)
        with disk.create(log_path(home, case_id)) as log:
            child = subprocess.Popen(
                worker_command(home, case_id),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    threading.Thread(target=_watch, args=(child, home, case_id, queued), daemon=True).start()
    return queued


def state(home: Path | str, case_id: str) -> JobState:
    """Where the work on a case stands; a child that died unfinished reads as "failed"."""
    seen = _read(home, case_id)
    if not seen.busy or _alive(home, case_id, seen):
        return seen
    again = _read(home, case_id)  # it may have finished between the two looks
    if again != seen:
        return again
    return replace(seen, state="failed", stage="Stopped", message=STOPPED, eta_s=None)


def usual_s(home: Path | str, last: int = 5) -> float | None:
    """Median seconds that the last finished cases took on this computer; None if there are none."""
    ended: list[tuple[float, float]] = []
    for path in _folder(home).glob("*.json"):
        if path.name.startswith("."):
            continue
        seen = _read(home, path.name.removesuffix(".json"))
        if seen.state == "done" and seen.started_at and seen.ended_at:
            ended.append((seen.ended_at, seen.ended_at - seen.started_at))
    return statistics.median(spent for _, spent in sorted(ended)[-last:]) if ended else None


def silent_s(home: Path | str, case_id: str) -> float:
    """Seconds since the work on a case last said something; 0 where it never has."""
    path = _file(home, case_id, "json")
    return max(0.0, time.time() - path.stat().st_mtime) if path.is_file() else 0.0


def log_path(home: Path | str, case_id: str) -> Path:
    """The file with the full story of the last run, for whoever looks after the machine."""
    return _file(home, case_id, "log")


def worker_command(home: Path, case_id: str) -> list[str]:
    """The child's command line."""
    return [sys.executable, "-m", "bmcore.inference.worker", str(home), case_id]


def record(home: Path | str, case_id: str, new: JobState) -> JobState:
    """Replace the state file of a case; for ``submit`` and the worker."""
    write_json(_file(home, case_id, "json"), asdict(new))
    return new


@contextmanager
def claim(home: Path | str, case_id: str) -> Iterator[JobState]:
    """Hold a case for the life of the worker, with its state as submitted.

    ``InputRefused`` if another worker holds it.
    """
    try:
        with _lock(_file(home, case_id, "lock")).acquire(timeout=5):
            # submit wrote "queued" before it started this child; one started by hand finds none
            seen = _read(home, case_id)
            submitted = seen.submitted_at if seen.busy else time.time()
            yield record(
                home,
                case_id,
                JobState("queued", "Waiting to start", submitted_at=submitted, pid=os.getpid()),
            )
    except Timeout:
        raise refuse(f"case {case_id} is being worked on already") from None


@contextmanager
def turn(home: Path | str, case_id: str, mine: JobState) -> Iterator[None]:
    """Wait until no earlier case is waiting and none is running, then hold the machine."""
    machine = _lock(_folder(home) / "one-at-a-time.lock")
    while True:
        ahead = _before(home, case_id, mine)
        if ahead == 0:
            try:
                machine.acquire(blocking=False)
                break
            except Timeout:
                ahead = 1
        cases = "1 other case" if ahead == 1 else f"{ahead} other cases"
        words = replace(mine, message=f"Waiting for {cases} to finish.")
        if words != _read(home, case_id):
            record(home, case_id, words)
        time.sleep(0.3)
    try:
        yield
    finally:
        machine.release()


def _lock(path: Path) -> FileLock:
    return FileLock(path, mode=disk.FILE_MODE)


def _folder(home: Path | str) -> Path:
    folder = Path(home) / "jobs"
    return disk.private_folder(folder)


def _file(home: Path | str, case_id: str, ending: str) -> Path:
    return _folder(home) / f"{folder_name(case_id, 'the name of the case')}.{ending}"


def _read(home: Path | str, case_id: str) -> JobState:
    path = _file(home, case_id, "json")
    try:
        return JobState(**load_json(path))
    except FileNotFoundError:
        return JobState()
    except (ValueError, TypeError):
        return JobState("failed", message="The state of this work cannot be read. Start it again.")


def _alive(home: Path | str, case_id: str, seen: JobState) -> bool:
    """True while the child holds its lock, or may not have had the time to take it."""
    try:
        _lock(_file(home, case_id, "lock")).acquire(blocking=False).lock.release()
    except Timeout:
        return True
    starting = seen.pid is None and seen.submitted_at is not None
    return starting and time.time() - (seen.submitted_at or 0) < START_GRACE_S


def _before(home: Path | str, case_id: str, mine: JobState) -> int:
    """How many living jobs are running or were submitted earlier than ``mine``."""
    turn_of_mine = (mine.submitted_at or 0, case_id)
    before = 0
    for path in _folder(home).glob("*.json"):
        other = path.name.removesuffix(".json")
        if other == case_id or other.startswith("."):
            continue
        seen = state(home, other)
        earlier = (seen.submitted_at or 0, other) < turn_of_mine
        before += seen.state == "running" or (seen.state == "queued" and earlier)
    return before


def _watch(child: subprocess.Popen, home: Path, case_id: str, queued: JobState) -> None:
    """Reap the child; if it ended without a word (it never got to its lock), say so."""
    child.wait()
    if _read(home, case_id) == queued:
        record(home, case_id, replace(queued, state="failed", stage="Stopped", message=STOPPED))
