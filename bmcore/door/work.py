"""The work on one arrival: a child process a step, its state in a file that every page can read.

``work.json`` holds the state, ``work.lock`` is held by the child for as long as it lives, and
``work.log`` holds what went wrong, in full. A child that died leaves its lock free; that is how it
is noticed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from bmcore import disk
from bmcore.door import arrival
from bmcore.door.arrival import Arrival
from bmcore.plain import load_json
from bmcore.settings import PROJECT

LOOK, ALIGN, STORE = "look", "align", "store"
PREVIEW, BRING = "preview", "bring"  # of a folder of patients
START_GRACE_S = 60.0
STOPPED = (
    "The work stopped before it was finished; the computer may have run out of memory or been "
    "restarted. Start it again."
)


@dataclass(frozen=True)
class Work:
    """step: "look", "align", "store", "preview" or "bring", or "" before the first. state: none,
    queued, running, done or failed. words: what is being done. fraction: 0-1 of the step. done:
    what is finished of it, in words.
    refused: why it failed, a sentence each. case_id: of the case that was stored."""

    step: str = ""
    state: str = "none"
    words: str = ""
    fraction: float = 0.0
    done: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    submitted_at: float = 0.0
    ended_at: float | None = None
    pid: int | None = None
    case_id: str | None = None

    @property
    def busy(self) -> bool:
        return self.state in ("queued", "running")


def state(of: Arrival) -> Work:
    """Where the work stands; a child that died unfinished reads as failed."""
    seen = read(of)
    if not seen.busy or _alive(of, seen):
        return seen
    again = read(of)  # it may have finished between the two looks
    return again if again != seen else replace(seen, state="failed", refused=(STOPPED,))


def submit(home: Path, of: Arrival, step: str, asked: Mapping[str, Any] | None = None) -> Work:
    """Start a step in a child process and return at once; while one runs nothing new is started.

    asked: what the user chose for this step, kept in the arrival's folder for the child.
    """
    with FileLock(of.folder / "submit.lock", mode=disk.FILE_MODE):
        now = state(of)
        if now.busy:
            return now
        if asked is not None:
            disk.write(of.folder / f"{step}.json", json.dumps(dict(asked)))
        queued = record(of, Work(step, "queued", "Starting", submitted_at=time.time()))
        of.touch()
        temporary = disk.private_folder(of.folder / "tmp")
        with disk.create(of.folder / "work.log") as log:
            child = subprocess.Popen(
                command(home, of),
                cwd=PROJECT,
                env={**os.environ, "TMPDIR": str(temporary)},  # archives are unpacked beside theirs
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    threading.Thread(target=_watch, args=(child, of, queued), daemon=True).start()
    return queued


def _watch(child: subprocess.Popen, of: Arrival, queued: Work) -> None:
    """Reap the child; if it ended without a word (it never got to its lock), say so."""
    child.wait()
    if of.folder.exists() and read(of) == queued:
        record(of, replace(queued, state="failed", refused=(STOPPED,)))


def command(home: Path, of: Arrival) -> list[str]:
    """The child's command line."""
    return [sys.executable, "-m", "bmcore.door.worker", str(Path(home).resolve()), of.id, of.owner]


def asked(of: Arrival, step: str) -> dict[str, Any]:
    """What the user chose for a step; empty where nothing was asked yet."""
    try:
        return dict(load_json(of.folder / f"{step}.json"))
    except FileNotFoundError:
        return {}


def record(of: Arrival, new: Work) -> Work:
    """Replace the state; for ``submit`` and the worker."""
    disk.write(of.folder / "work.json", json.dumps(asdict(new)))
    return new


def forget(of: Arrival, step: str) -> None:
    """Go back to before ``step``: what it made is made anew when it runs again."""
    before = {LOOK: Work(), ALIGN: Work(LOOK, "done"), STORE: Work(ALIGN, "done")}[step]
    record(of, before)
    of.touch()


def give_up(of: Arrival) -> None:
    """End the work on it and remove all that was brought."""
    seen = read(of)
    if seen.pid is not None and arrival.busy(of.folder):
        with contextlib.suppress(ProcessLookupError):  # it may just have ended
            os.killpg(seen.pid, signal.SIGKILL)  # the child leads a group of its own
    arrival.drop(of)


def read(of: Arrival) -> Work:
    try:
        told = load_json(of.folder / "work.json")
        return Work(**{**told, "done": tuple(told["done"]), "refused": tuple(told["refused"])})
    except FileNotFoundError:
        return Work()
    except (ValueError, TypeError, KeyError):
        words = "The state of this work cannot be read. Start it again."
        return Work("", "failed", refused=(words,))


def _alive(of: Arrival, seen: Work) -> bool:
    if arrival.busy(of.folder):
        return True
    return seen.pid is None and time.time() - seen.submitted_at < START_GRACE_S
