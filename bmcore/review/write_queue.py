"""Writers of one SQLite file take turns, so that none waits for ever.

SQLite's own waiting looks again every 100 ms and knows no order: of 50 writers on a slow disk some
met no gap within 30 s. Here the threads of a program queue in order of arrival, and between two
writes of one program lies a gap in which others, who look every few milliseconds, come in.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_GAP_S = 0.020  # longer than the longest sleep between two looks, also on a busy machine
_LOOK_S = (0.002, 0.008)


class Queue:
    """A lock that is handed on in the order in which threads came."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._busy = False
        self._free_since = -_GAP_S  # time.monotonic() of the last release

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn and hold it."""
        mine: threading.Lock | None = None
        with self._guard:
            if self._busy:
                mine = threading.Lock()
                mine.acquire()
                self._waiting.append(mine)
            self._busy = True
        if mine is not None:
            mine.acquire()
        try:
            time.sleep(max(0.0, self._free_since + _GAP_S - time.monotonic()))
            yield
        finally:
            with self._guard:
                self._free_since = time.monotonic()
                if self._waiting:
                    self._waiting.popleft().release()
                else:
                    self._busy = False


_queues: dict[str, Queue] = {}
_making = threading.Lock()


def queue_of(name: str) -> Queue:
    """The one queue of this program for the database ``name``."""
    with _making:
        return _queues.setdefault(name, Queue())


def begin_immediate(connection: sqlite3.Connection, wait_ms: int) -> None:
    """BEGIN IMMEDIATE, looking often; after ``wait_ms`` SQLite's fault ("locked") goes up."""
    deadline = time.monotonic() + wait_ms / 1000
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as fault:
                if "locked" not in str(fault) or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(*_LOOK_S))
    finally:
        connection.execute(f"PRAGMA busy_timeout = {wait_ms}")
