"""Makes the pictures and image blocks of many cases, in a process that comes after the pages.

``python -m pages.parts.viewer.preparer HOME`` reads ids of cases from its input, a line each, and
writes each one back when its picture and its t1c block are there, which the first slice is drawn
from: "id" or "id<tab>why not". Then come the other sequences of the cases that were added lately,
which somebody will soon open. Those of older cases (about 1.4 MB each) are made when a case is
opened, after t1c is sent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bmcore import disk
from bmcore.domain import BmcoreError

NICE = 12
LATELY = timedelta(days=1)


def main(argv: Sequence[str]) -> int:
    """Prepare the cases of the input."""
    from bmcore.intake import library
    from pages.parts.viewer import block_cache

    os.nice(NICE)
    disk.private_process()
    home, lately = Path(argv[0]), []
    for line in sys.stdin:
        case_id, why = line.rstrip("\n"), ""
        try:
            entry = library.get_entry(home, case_id)
            if block_cache.thumbnail(home, entry) is None:
                block_cache.block(home, entry, "t1c")
            if datetime.now(UTC) - entry.added < LATELY:
                lately.append(entry)
        except (BmcoreError, OSError) as error:
            why = " ".join(str(error).split())
        print(case_id, why, sep="\t" if why else "", flush=True)
    for entry in lately:
        for sequence in entry.sequences:
            try:
                block_cache.ensure(home, entry, sequence)
            except (BmcoreError, OSError) as error:  # opening the case says it to the reader
                print(f"{entry.case_id}, {sequence}: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
