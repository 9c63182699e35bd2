"""Starts the worker process where it is needed, and again where it has died with work left.

``HOME/jobs/worker.lock`` is held by the worker for as long as it lives, whoever started it; a
worker that died leaves it free. The worker goes on when the program that started it ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from filelock import FileLock, Timeout

from bmcore import disk
from bmcore.domain import BmcoreError
from bmcore.review import runs
from bmcore.review.store import Store
from bmcore.running import progress
from bmcore.settings import PROJECT

LOCK, WAKE, LOG = "worker.lock", "wake", "worker.log"
BAD_STARTS = 3  # so often in a row a worker may end before it has taken a run
_LOG_BYTES = 2**20
CANNOT_START = (
    "The program that runs the models cannot start, so this was not done. Whoever looks after the "
    "computer finds the reason in {log}."
)
COMMAND = [sys.executable, "-m", "bmcore.running.worker"]

_children: dict[Path, subprocess.Popen[bytes]] = {}
_guard = threading.Lock()


def log_path(home: Path | str) -> Path:
    """What the worker has to say, for whoever looks after the machine."""
    return Path(home) / progress.FOLDER / LOG


def alive(home: Path | str) -> bool:
    """True while a worker holds its lock, whoever started it."""
    path = Path(home) / progress.FOLDER / LOCK
    if not path.exists():
        return False
    try:
        FileLock(path, mode=disk.FILE_MODE).acquire(blocking=False).lock.release()
    except Timeout:
        return True
    return False


def ensure(home: Path | str, store: Store) -> None:
    """See to it that a worker is there, or on its way, and looks for work now."""
    home = Path(home).resolve()
    (progress.folder(home) / WAKE).touch(disk.FILE_MODE)
    with _guard:
        child = _children.get(home)
        if (child is not None and child.poll() is None) or alive(home):
            return
        _start(home, store, 0)


def child_of(home: Path | str) -> int | None:
    """The process number of the worker that this program has started; None where none lives."""
    with _guard:
        child = _children.get(Path(home).resolve())
    return None if child is None or child.poll() is not None else child.pid


def _start(home: Path, store: Store, bad_starts: int) -> None:
    log = log_path(home)
    found = disk.stat_of(log)
    if found is not None and found.st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with disk.create(log, "ab") as file:
        child = subprocess.Popen(
            [*COMMAND, str(home)],
            cwd=PROJECT,
            env={**os.environ, "BMCORE_HOME": str(home), "BMCORE_DATABASE_URL": store.url},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    _children[home] = child
    arguments = (child, home, store, bad_starts)
    threading.Thread(target=_watch, args=arguments, name="worker", daemon=True).start()


def _watch(child: subprocess.Popen[bytes], home: Path, store: Store, bad_starts: int) -> None:
    """Reap the child, and start the next one where work is left: it died, or somebody asked for
    something while it was ending."""
    begun = _taken(home)
    code = child.wait()
    with _guard:
        if _children.get(home) is child:
            del _children[home]
        if not _work_left(store) or alive(home):
            return
        bad_starts = 0 if code == 0 or _taken(home) != begun else bad_starts + 1
        if bad_starts < BAD_STARTS:
            _start(home, store, bad_starts)
            return
    runs.give_up(store, CANNOT_START.format(log=log_path(home)))


def _taken(home: Path) -> float:
    """When the worker last said something of a run."""
    found = disk.stat_of(Path(home) / progress.FOLDER / "now.json")
    return 0.0 if found is None else found.st_mtime


def _work_left(store: Store) -> bool:
    try:
        return runs.any_busy(store)
    except BmcoreError:
        return False  # no database, no work: whoever asks for it next starts a worker
