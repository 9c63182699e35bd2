"""The child process of one step on one arrival: ``python -m bmcore.door.worker HOME ID OWNER``.

Exit 0: the step is done. Exit 1: it failed; the state holds sentences, the log (this process's
stderr) the traceback.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from bmcore import disk
from bmcore.domain import BmcoreError
from bmcore.door import arrival, work
from bmcore.door.arrival import LOCK, Arrival
from bmcore.door.work import Work

Step = Callable[[Path, Arrival, Callable[[str, float], None]], str | None]


def main(argv: list[str]) -> int:
    if len(argv) != 3:
        print("usage: python -m bmcore.door.worker HOME ID OWNER", file=sys.stderr)
        return 2
    os.nice(5)  # the pages come first
    disk.private_process()
    home = Path(argv[0])
    return run(home, arrival.find(home, argv[1], argv[2]), known_steps())


def known_steps() -> Mapping[str, Step]:
    from bmcore.door import patients, steps

    return {
        work.LOOK: steps.look_step,
        work.ALIGN: steps.align_step,
        work.STORE: steps.store_step,
        work.PREVIEW: patients.preview_step,
        work.BRING: patients.bring_step,
    }


def run(home: Path, of: Arrival, known: Mapping[str, Step]) -> int:
    """Do the step that was submitted; the state says how far it is, and how it ended."""
    with FileLock(of.folder / LOCK, timeout=5, mode=disk.FILE_MODE):
        now = work.record(of, replace(work.read(of), state="running", pid=os.getpid()))
        told = _Told(of, now)
        try:
            case_id = known[now.step](home, of, told)
        except Exception as problem:
            _log(problem)
            told.end("failed", refused=_sentences(problem))
            return 1
        told.end("done", case_id=case_id)
    return 0


class _Told:
    """Writes down what is being done."""

    def __init__(self, of: Arrival, now: Work) -> None:
        self._of, self._now = of, now

    def __call__(self, words: str, fraction: float) -> None:
        if words == self._now.words:
            return
        begun = self._now.words not in ("", "Starting")
        done = (*self._now.done, self._now.words) if begun else self._now.done
        new = replace(self._now, words=words, done=done, fraction=min(1.0, max(0.0, fraction)))
        self._now = work.record(self._of, new)

    def end(self, state: str, **more: object) -> None:
        self("", self._now.fraction)
        changed = replace(self._now, state=state, ended_at=time.time(), **more)  # type: ignore[arg-type]
        self._now = work.record(self._of, changed)


def _log(problem: Exception) -> None:
    """The kind of fault and the lines of code; a message may quote a name of a file."""
    traceback.print_tb(problem.__traceback__)
    print(type(problem).__qualname__, file=sys.stderr)


def _sentences(problem: Exception) -> tuple[str, ...]:
    from bmcore.door.look import told

    if isinstance(problem, BmcoreError):
        return told(problem.findings)
    if isinstance(problem, MemoryError):
        return ("The computer ran out of memory. Close other programs and start it again.",)
    return ("An unexpected error stopped the work; the log beside the files says where.",)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
