"""Damaged files of every kind that users bring: each is read or refused in words, and soon.

2,000 by seed here, 10,000 by ``make mutants``. One is had again by
``mutants.mutant("nii.gz", 17)``; a failure names it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bmcore.domain import BmcoreError
from bmcore.intake import child
from tests import mutants

ALL = int(os.environ.get("BMCORE_MUTANTS", "2000"))
SHARE = {
    "plan": 0.18, "csv": 0.09, "xlsx": 0.14, "nii": 0.09, "nii.gz": 0.12, "nii2.gz": 0.05,
    "npz": 0.05, "package": 0.05, "case.json": 0.04, "manifest.json": 0.04, "anchor": 0.03,
    "marks.json": 0.02, "prediction.json": 0.04, "safetensors": 0.03, "sqlite": 0.03,
}  # fmt: skip
GIB = 2**30
UNIT = 1 if sys.platform == "darwin" else 1024


def peak_bytes(process: int | str = "self") -> int:
    """The most memory that a process had at once. ``getrusage`` counts its parent's too."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
    (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def outcome(kind: str, raw: bytes, folder: Path) -> str:
    """ "read", "refused", or what went wrong."""
    name, read = mutants.READERS[kind]
    folder.mkdir()
    (folder / name).write_bytes(raw)
    started = time.monotonic()
    try:
        read(folder / name)
        ended = "read"
    except BmcoreError as error:
        # Only the child says this, of what it did not foresee.
        unforeseen = "the file is damaged and cannot be read" in str(error)
        ended = f"unforeseen: {error}" if unforeseen else "refused"
    except Exception as error:
        ended = f"{type(error).__name__}: {str(error)[:200]}"
    spent = time.monotonic() - started
    shutil.rmtree(folder)
    return ended if spent < 10 else f"{ended} after {spent:.0f} s"


def test_the_shares_are_of_every_kind_and_make_a_whole():
    assert set(SHARE) == set(mutants.READERS) == set(mutants.WHOLE)
    assert sum(SHARE.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", SHARE)
def test_the_whole_file_is_read(kind, tmp_path):
    expected = "refused" if kind == "npz" else "read"  # the rest of the prediction is not there
    assert outcome(kind, mutants.whole_file(kind), tmp_path / "x") == expected


def outcomes(kind: str, number: int, folder: Path) -> tuple[dict[int, str], int, int]:
    """What became of each mutant, the memory that this process took for it, and its child's."""
    before = peak_bytes()
    ends = {n: outcome(kind, mutants.mutant(kind, n), folder) for n in range(number)}
    below = max((peak_bytes(one.process.pid) for one in child._idle), default=0)
    child.end_children()
    return ends, peak_bytes() - before, below


@pytest.mark.parametrize("kind", SHARE)
def test_a_damaged_file_is_read_or_refused_in_time_and_memory(kind, tmp_path):
    # A process of its own: what the tests before took is no measure of these files.
    command = [sys.executable, "-m", "tests.test_mutants", kind, str(round(ALL * SHARE[kind]))]
    run = subprocess.run(
        [*command, str(tmp_path / "x")], cwd=mutants.ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    ends, own, below = json.loads(run.stdout)
    wrong = {n: said for n, said in ends.items() if said not in ("read", "refused")}
    assert not wrong
    assert list(ends.values()).count("refused") > len(ends) / 10  # they are damaged indeed
    assert own < GIB
    assert below < GIB


if __name__ == "__main__":
    print(json.dumps(outcomes(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
