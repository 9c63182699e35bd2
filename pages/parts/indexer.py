"""Compares the index of the work list with the folder, in the background: whatever its time says.

Once at the start of the server, again where other models are loaded, and then every few minutes.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bmcore.review.store import Store

EVERY_S = 600.0


class Indexer:
    """For one home and its database."""

    def __init__(self, home: Path, store: Store) -> None:
        self._home, self._store = home, store
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._done: tuple[str, float] | None = None

    def start(self, digest: str) -> None:
        """Begin a comparison, unless one is under way or the last one still holds."""
        with self._lock:
            fresh = self._done is not None and self._done[0] == digest
            if fresh and self._done is not None and time.monotonic() - self._done[1] < EVERY_S:
                return
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(target=self._work, args=(digest,), daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Until the comparison at hand is done."""
        if self._thread is not None:
            self._thread.join()

    def _work(self, digest: str) -> None:
        from bmcore.review import case_index

        try:
            case_index.check_all(self._store, self._home, digest)
        except Exception:  # the page meets the same fault and says it
            logging.getLogger(__name__).exception("the index of the work list was not compared")
        self._done = (digest, time.monotonic())
