"""Pictures and image blocks are made ahead, by a process of its own, so that nobody waits for them.

It is started when the server starts (for cases that came before), when a case is added, and where
the work list meets a case that came past both. The process is ``viewer/preparer``. It is named and
not imported: what the viewer's package registers may be imported only while a page runs.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmcore.domain import BmcoreError
from bmcore.settings import PROJECT

if TYPE_CHECKING:
    from bmcore.review.store import Store

MODULE = "pages.parts.viewer.preparer"
AT_ONCE = 50  # cases for one process
Ask = Callable[[], Sequence[str]]  # the next cases to prepare; empty: nothing is left
Tell = Callable[[Sequence[str]], None]  # these are done
_known: dict[Path, Preparer] = {}
_guard = threading.Lock()


def make(home: Path, store: Store) -> None:
    """Make what the index says is missing, unless that is under way."""
    from bmcore.review import case_index

    with _guard:
        preparer = _known.setdefault(Path(home).resolve(), Preparer(Path(home)))
    preparer.start(
        lambda: case_index.unpictured(store, AT_ONCE)[0],
        lambda cases: case_index.set_pictured(store, cases),
    )


def catch_up(home: Path, store: Store) -> None:
    """For a server's start: bring the index to what lies in the folder, make what is missing."""
    from bmcore.review import case_index

    while case_index.sync(store, home):
        pass
    make(home, store)


class Preparer:
    """Keeps one such process at work for one home.

    failed: case id -> why it could not be prepared; opening the case says it to the reader.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.failed: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._wanted = False

    def start(self, ask: Ask, tell: Tell) -> None:
        """Begin; where it is at work already, it asks once more before it ends."""
        with self._lock:
            self._wanted = True
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, args=(ask, tell), daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Until the work at hand is done."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self, ask: Ask, tell: Tell) -> None:
        try:
            while self._goes_on():
                while cases := ask():
                    self._one_process(cases, tell)
        except (BmcoreError, OSError):
            logging.getLogger(__name__).exception("the pictures of the work list were not made")

    def _goes_on(self) -> bool:
        """True where somebody has asked since the last look; else the thread is over."""
        with self._lock:
            wanted, self._wanted = self._wanted, False
            if not wanted:
                self._thread = None
            return wanted

    def _one_process(self, cases: Sequence[str], tell: Tell) -> None:
        """Each case is told of, also one on which the process died: none is tried for ever."""
        left = dict.fromkeys(cases)
        with subprocess.Popen(
            [sys.executable, "-m", MODULE, str(self.home)],
            cwd=PROJECT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write("".join(f"{case_id}\n" for case_id in cases))
            child.stdin.close()
            for line in child.stdout:
                case_id, _, why = line.rstrip("\n").partition("\t")
                if why:
                    self.failed[case_id] = why
                left.pop(case_id, None)
                tell([case_id])
        if left:
            case_id = next(iter(left))
            self.failed[case_id] = f"the program that prepares it ended with {child.returncode}"
            tell([case_id])
