"""Makes picture and t1c block of many cases, in a process of its own that comes after the pages.

``python -m pages.parts.viewer.preparer HOME`` reads ids of cases from its input, a line each, and
writes each one back when it is done: "id" or "id<tab>why not". The other sequences (about 1.4 MB
each) are made when a case is opened, after t1c is sent.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from bmcore import disk
from bmcore.domain import BmcoreError
from bmcore.settings import PROJECT

NICE = 12
Ask = Callable[[], Sequence[str]]  # the next cases to prepare; empty: nothing is left
Tell = Callable[[Sequence[str]], None]  # these are done


class Preparer:
    """Keeps one such process at work for one home.

    failed: case id -> why it could not be prepared; opening the case says it to the reader.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.failed: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, ask: Ask, tell: Tell) -> None:
        """Begin, unless it is at work already."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, args=(ask, tell), daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Until the work at hand is done."""
        if self._thread is not None:
            self._thread.join()

    def _work(self, ask: Ask, tell: Tell) -> None:
        try:
            while cases := ask():
                self._one_process(cases, tell)
        except (BmcoreError, OSError):
            logging.getLogger(__name__).exception("the pictures of the work list were not made")

    def _one_process(self, cases: Sequence[str], tell: Tell) -> None:
        """Each case is told of, also one on which the process died: none is tried for ever."""
        left = dict.fromkeys(cases)
        with subprocess.Popen(
            [sys.executable, "-m", __name__, str(self.home)],
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


def main(argv: Sequence[str]) -> int:
    """Prepare the cases of the input."""
    from bmcore.intake import library
    from pages.parts.viewer import block_cache

    os.nice(NICE)
    disk.private_process()
    home = Path(argv[0])
    for line in sys.stdin:
        case_id, why = line.rstrip("\n"), ""
        try:
            entry = library.get_entry(home, case_id)
            if block_cache.thumbnail(home, entry) is None:
                block_cache.block(home, entry, "t1c")
        except (BmcoreError, OSError) as error:
            why = " ".join(str(error).split())
        print(case_id, why, sep="\t" if why else "", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
