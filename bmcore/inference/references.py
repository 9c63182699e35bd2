"""The reference primaries of the cases: what an answer counts as right against."""

from __future__ import annotations

from pathlib import Path

from bmcore.domain import Primary
from bmcore.inference import demo

TRUTH_FILES = ("truth.csv", "truth.xlsx")


def truths(home: Path, table: Path | None = None) -> dict[str, Primary]:
    """The known primaries: of the demo cases, of ``home/truth.csv`` or ``truth.xlsx``, and of
    ``table`` (each laid out like a clinical table); the later win. Refused where one is unreadable.
    """
    from bmcore.intake.clinical import read_clinical

    known = demo.truths(home)
    given = [home / name for name in TRUTH_FILES if (home / name).is_file()]
    for path in [*given, *([table] if table is not None else [])]:
        primaries = read_clinical(path).primaries
        known |= {case: primary for case, primary in primaries.items() if primary is not None}
    return known
