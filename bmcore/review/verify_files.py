"""Are the files that answers rest on still those that were read: images, predictions, masks?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmcore.domain import BmcoreError
from bmcore.inference import archive
from bmcore.intake import library
from bmcore.review import corrections
from bmcore.review.verify_order import Row


@dataclass(frozen=True)
class _Run:
    """One stored prediction as the chain knows it."""

    case_id: str
    bundle: str
    run: str


def file_problems(home: Path, rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """(problems, notes): one sentence a file that is not what the rows of this site say.

    A case that this home does not hold is a note: its files may lie with another site.
    """
    images, runs = _stated(rows)
    problems: list[str] = []
    absent = []
    for case_id in sorted(images):
        try:
            now = library.images_on_disk(home, case_id)
        except BmcoreError:
            absent.append(case_id)
            continue
        for stated, row in images[case_id].items():
            if stated != now:
                problems.append(f"{row}: the images of case {case_id} were changed after it")
    problems += _changed_runs(home, runs, set(absent))
    masks = [row["sha256"] for table, row in rows if table == "mask_versions" and row["sha256"]]
    problems += corrections.problems(home, masks)
    notes = []
    if absent:
        cases = (
            "1 case that answers rest on is"
            if len(absent) == 1
            else (f"{len(absent)} cases that answers rest on are")
        )
        notes.append(f"{cases} not in {home}; their files were not checked: {', '.join(absent)}")
    return problems, notes


def _stated(
    rows: Sequence[Row],
) -> tuple[Mapping[str, dict[str, str]], dict[_Run, dict[str, str]]]:
    """{case: {images' hash: first row}} and {run: {hash: first row}}."""
    images: dict[str, dict[str, str]] = defaultdict(dict)
    runs: dict[_Run, dict[str, str]] = defaultdict(dict)
    for table, row in rows:
        if table not in ("votes", "events", "exposures"):
            continue
        name = f"{table} id {row['id']} (row {row['seq']} of {row['site']})"
        if row["images_sha256"]:
            images[row["case_id"]].setdefault(row["images_sha256"], name)
        if table == "exposures" and row["prediction_sha256"]:
            run = _Run(row["case_id"], row["bundle"], row["prediction_run"])
            runs[run].setdefault(row["prediction_sha256"], name)
    return images, runs


def _changed_runs(
    home: Path, runs: Mapping[_Run, Mapping[str, Any]], absent: set[str]
) -> Iterator[str]:
    for run, stated in runs.items():
        if run.case_id in absent:
            continue
        folder = archive.find_run(home, run.case_id, run.bundle, run.run)
        try:
            now = archive.run_digest(folder)
        except OSError:
            now = None
        for digest, row in stated.items():
            if now is None:
                yield f"{row}: the prediction of case {run.case_id} that was shown is gone"
            elif digest != now:
                yield f"{row}: the prediction of case {run.case_id} was changed after it was shown"
