"""Files that appear in a folder together, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bmcore.domain import refuse


@contextmanager
def all_or_none(out: Path, names: Sequence[str]) -> Iterator[Path]:
    """A folder to write ``names`` into; they are moved to ``out`` once all of them are made.

    InputRefused where ``out`` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".report-", dir=out))
    except OSError as fault:
        raise refuse(
            "the report cannot be written here",
            file=out,
            found=fault.strerror,
            hint="choose another folder.",
        ) from fault
    try:
        yield work
        for name in names:
            (work / name).replace(out / name)
    except OSError as fault:
        raise refuse(
            "the report could not be written",
            file=out,
            found=fault.strerror,
            hint="check the free space on the disk and that no file of the report is open.",
        ) from fault
    finally:
        shutil.rmtree(work, ignore_errors=True)
