"""Taking all that lies under a case's name out of the home, or giving the case another name:
wholly or not at all.

What is to be moved is first written down in a folder of its own below ``HOME/removed``, then it is
moved there. ``finish`` empties that folder for good, ``undo`` brings everything back; whoever asked
decides which of the two, also for what a power cut has left (``waiting``). Until then the name is
not free.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bmcore import disk
from bmcore.domain import refuse
from bmcore.intake.case_record import CaseEntry, write_record
from bmcore.intake.nifti import clean_case_id
from bmcore.plain import read_json

_SHELVES = (
    *("cases", "predictions", "drafts", "maps"),
    *("cache/viewer", "cache/audits", "cache/checked-maps", "cache/follow_up"),
)
_JOB_ENDINGS = ("json", "log", "lock", "submit.lock")
_NOTE, _KEPT = "moves.json", "kept-"
_log = logging.getLogger(__name__)
Step = tuple[Path, Path]


def places(home: Path, case_id: str) -> list[Path]:
    """What lies under the name of a case: images, predictions, drafts, maps and what is kept of
    them. Readers' marks and corrected masks belong to their votes and are not among it."""
    shelves = [Path(home) / shelf / case_id for shelf in _SHELVES]
    jobs = [Path(home) / "jobs" / f"{case_id}.{ending}" for ending in _JOB_ENDINGS]
    return [path for path in (*shelves, *jobs) if path.exists()]


def removal(home: Path, case_id: str, token: str) -> list[Step]:
    """The steps that take a case away. token: names the folder, and the change."""
    away = _folder(home, token)
    return [(path, away / f"old-{n}") for n, path in enumerate(places(home, case_id))]


def renaming(home: Path, entry: CaseEntry, new: str, token: str) -> list[Step]:
    """The steps that put the images of a case under the name ``new``; they are written beside.

    What the models made of it goes: it names the case. InputRefused where the name is in use.
    """
    name = clean_case_id(new)
    if name == entry.case_id or places(home, name):
        raise refuse("this name is in use", found=name, hint="choose another one.")
    draft = _folder(home, token) / "new"
    draft.mkdir(mode=disk.FOLDER_MODE)
    # every file of the record, also reference masks that were replaced
    names = {old: f"{name}{old.removeprefix(entry.case_id)}" for old in entry.sha256}
    for old, better in names.items():
        shutil.copyfile(entry.folder / old, draft / better)
    sha256 = {names[old]: digest for old, digest in entry.sha256.items()}
    write_record(replace(entry, case_id=name, folder=draft, sha256=sha256), draft)
    place = entry.folder.parent / name
    return [*removal(home, entry.case_id, token), (draft, place)]


def move(home: Path, token: str, steps: Sequence[Step]) -> None:
    """Do the steps, after they were written down."""
    note = [[str(path.relative_to(home)) for path in step] for step in steps]
    disk.write(_folder(home, token) / _NOTE, json.dumps(note))
    for old, new in steps:
        disk.move_in(old, new)


def undo(home: Path, token: str) -> None:
    """Bring back what was moved, as far as it was.

    What cannot go back, because something else has its place, stays in a folder ``kept-...``.
    """
    folder = Path(home) / "removed" / token
    if not folder.is_dir():
        return
    left = False
    for old, new in reversed(_noted(folder)):
        if not (Path(home) / new).exists():
            continue
        if (Path(home) / old).exists():
            left = True
        else:
            disk.move_in(Path(home) / new, Path(home) / old)
    if left:
        _log.warning("what was moved out of the home could not be brought back: %s", folder)
        disk.move_in(folder, folder.with_name(f"{_KEPT}{token}"))
    else:
        shutil.rmtree(folder)


def finish(home: Path, token: str) -> None:
    """Delete what was moved away, for good."""
    shutil.rmtree(Path(home) / "removed" / token, ignore_errors=False)


def waiting(home: Path) -> list[str]:
    """Changes that were neither finished nor undone."""
    there = disk.below(Path(home) / "removed")
    return [p.name for p in there if p.is_dir() and not p.name.startswith(_KEPT)]


def in_between(home: Path) -> set[str]:
    """Names of cases that are being removed or renamed; whether they go is not decided yet."""
    noted = (step for t in waiting(home) for step in _noted(Path(home) / "removed" / t))
    return {Path(old).name for old, _ in noted if Path(old).parent.name == "cases"}


def _noted(folder: Path) -> list[list[str]]:
    """The steps that ``move`` wrote down, in its order; none where it never began."""
    kept = disk.content_of(folder / _NOTE)
    return [] if kept is None else [list(step) for step in read_json(kept)]


def _folder(home: Path, token: str) -> Path:
    return disk.private_folder(disk.open_home(Path(home)) / "removed" / token)
