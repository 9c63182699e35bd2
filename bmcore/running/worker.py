"""The worker: ``python -m bmcore.running.worker HOME``. One for a home, while it is needed.

It does one run after the other, as ``review.runs`` says whose turn it is, keeps the models loaded,
and ends after ``settings().worker_minutes`` without work. Exit 0: nothing was left to do, or
another worker is at it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from bmcore import disk
from bmcore.domain import BmcoreError

if TYPE_CHECKING:
    from bmcore.review.runs import Run
    from bmcore.review.store import Store
    from bmcore.running.tasks import Task

LOOK_S = 0.05  # between two looks whether somebody wants something
LOOK_ANYWAY_S = 2.0  # and, where nothing was heard, into the database
GAP_S = 0.2  # between two runs: others who wait for the machine come in here
ASK_S = 0.5  # between two looks whether the run was cancelled
NICE = 10


class Cancelled(Exception):
    """Somebody has asked this run to end."""


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        print("usage: python -m bmcore.running.worker HOME", file=sys.stderr)
        return 2
    os.nice(NICE)  # the pages come first
    # Threads that wait for each other let the processor go at once: spinning would take it from the
    # pages, and from themselves where others are at work.
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    disk.private_process()
    home = Path(argv[0]).resolve()
    while True:
        with _only_one(home) as mine:
            if not mine:
                return 0  # another one is at it
            at_work = threading.Event()
            threading.Thread(target=_warm, args=[at_work], name="warm", daemon=True).start()
            serve(home, at_work)
        if not _came_late():
            return 0


@contextmanager
def _only_one(home: Path) -> Iterator[bool]:
    """True where this is the worker of ``home`` now, for the length of the block."""
    from bmcore.running import keeper, progress

    lock = FileLock(progress.folder(home) / keeper.LOCK, mode=disk.FILE_MODE)
    try:
        lock.acquire(timeout=1)  # a page may hold it for a moment, to see whether we live
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _came_late() -> bool:
    """True where something was asked for between the last look and the end of the lock; whoever
    asked then still saw this worker alive."""
    from bmcore.review import runs
    from bmcore.review.store import open_store
    from bmcore.settings import settings

    with open_store(settings().url) as store:
        return runs.waits(store)


def _warm(at_work: threading.Event) -> None:
    from bmcore.running import tasks

    try:
        tasks.warm_up(at_work.is_set)
    except Exception:  # the run that needs the models meets the same fault and says it
        traceback.print_exc()


def serve(home: Path, at_work: threading.Event | None = None) -> None:
    """Do what is asked for until nothing was for ``settings().worker_minutes``.

    at_work: is set once something was asked for.
    """
    from bmcore.review import runs
    from bmcore.review.store import open_store
    from bmcore.running import tasks
    from bmcore.settings import settings

    with open_store(settings().url) as store:
        runs.recover(store)
        line, known = _Line(home), tasks.known()
        while line.quiet_s < 60 * settings().worker_minutes:
            run = runs.take(store) if line.asks() else None
            if run is None:
                time.sleep(LOOK_S)
            else:
                if at_work is not None:
                    at_work.set()
                work(home, store, run, known)
                line.worked()
                time.sleep(GAP_S)


class _Line:
    """Whether it is worth while to look into the database: somebody has touched the file ``wake``,
    or the last look is a while ago. A touch puts the end off: somebody is there."""

    def __init__(self, home: Path) -> None:
        from bmcore.running import keeper, progress

        self._wake = progress.folder(home) / keeper.WAKE
        self._heard, self._looked = -1, 0.0
        self._worked = time.monotonic()

    def asks(self) -> bool:
        try:
            heard = self._wake.stat().st_mtime_ns
        except FileNotFoundError:
            heard = 0
        now = time.monotonic()
        if heard == self._heard and now - self._looked < LOOK_ANYWAY_S:
            return False
        if heard != self._heard:
            self._worked = now
        self._heard, self._looked = heard, now
        return True

    def worked(self) -> None:
        self._worked, self._heard = time.monotonic(), -1

    @property
    def quiet_s(self) -> float:
        return time.monotonic() - self._worked


def work(home: Path, store: Store, run: Run, known: Mapping[str, Task]) -> None:
    """Do one run that was taken, and write down how it ended."""
    from bmcore.review import runs
    from bmcore.running.progress import Teller
    from bmcore.running.tasks import AlreadyRead, Bench, Later

    tell = _Cancellable(store, run, Teller(home, run, runs.usual_s(store, run.kind)))
    try:
        with _machine(home, tell):
            digest = known[run.kind](Bench(home, store, tell, run), run.subject)
    except Later as later:
        runs.put_back(store, run, later.rank)
    except Cancelled:
        runs.finish(store, run, "cancelled")
    except AlreadyRead as there:
        runs.finish(store, run, "done", runs.ALREADY, there.digest)
    except Exception as problem:
        print(f"{run.kind} of {run.subject}:", file=sys.stderr)
        traceback.print_exc()
        runs.finish(store, run, "failed", _sentence(problem, home))
    else:
        runs.finish(store, run, "done", digest=digest)
    sys.stderr.flush()


class _Cancellable:
    """Tells how far the run is, unless it was cancelled: then it ends here."""

    def __init__(self, store: Store, run: Run, tell: Callable[[str, float], None]) -> None:
        self._store, self._run, self._tell = store, run, tell
        self._asked = time.monotonic()

    def __call__(self, stage: str, fraction: float) -> None:
        from bmcore.review import runs

        if time.monotonic() - self._asked >= ASK_S:
            self._asked = time.monotonic()
            if runs.is_cancelled(self._store, self._run):
                raise Cancelled
        self._tell(stage, fraction)


@contextmanager
def _machine(home: Path, tell: Callable[[str, float], None]) -> Iterator[None]:
    """One heavy work at a time on this computer: the lock that the alignment of scans takes, too.

    While it waits the run can be cancelled.
    """
    from bmcore.running import progress

    lock = FileLock(progress.folder(home) / "one-at-a-time.lock", mode=disk.FILE_MODE)
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            tell("Waiting for the alignment of other scans", 0.0)
            time.sleep(4 * LOOK_S)
    try:
        yield
    finally:
        lock.release()


def _sentence(problem: Exception, home: Path) -> str:
    from bmcore.running import keeper

    if isinstance(problem, BmcoreError):
        return " ".join(finding.sentence for finding in problem.findings)
    if isinstance(problem, MemoryError):
        return "The computer ran out of memory. Close other programs and start it again."
    return f"An unexpected error stopped the work. The details are in {keeper.log_path(home)}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
