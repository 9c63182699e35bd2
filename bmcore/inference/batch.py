"""Many cases for the models: few processes at a time, the others wait in this program's memory.

A restart forgets who waits; what was done stays done, so the same cases can be asked for again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from bmcore.domain import BmcoreError
from bmcore.inference import jobs
from bmcore.inference.jobs import JobState

AT_ONCE = 2  # one works, the next has loaded already
LOOK_S = 0.5

_lines: dict[Path, deque[str]] = {}
_guard = threading.Lock()


def submit_all(home: Path | str, case_ids: Iterable[str]) -> None:
    """Start predicting these cases one after the other and return at once.

    A case that is waiting or being worked on already is not started twice.
    """
    home = Path(home).resolve()
    with _guard:
        feeding = home in _lines
        line = _lines.setdefault(home, deque())
        line.extend(c for c in case_ids if c not in line)
    if not feeding:
        threading.Thread(target=_feed, args=(home,), daemon=True).start()


def waiting(home: Path | str) -> tuple[str, ...]:
    """The cases that are asked for and have no process yet, the next one first."""
    with _guard:
        return tuple(_lines.get(Path(home).resolve(), ()))


def _feed(home: Path) -> None:
    """Start one case after the other until the line is empty."""
    started: set[str] = set()
    while True:
        started = {case_id for case_id in started if jobs.state(home, case_id).busy}
        with _guard:
            line = _lines[home]
            following = line.popleft() if line and len(started) < AT_ONCE else None
            if following is None and not line:
                del _lines[home]
                return
        if following is None:
            time.sleep(LOOK_S)
            continue
        try:
            jobs.submit(home, following)
        except (BmcoreError, OSError) as fault:
            jobs.record(home, following, JobState("failed", message=f"It did not start: {fault}"))
        started.add(following)
