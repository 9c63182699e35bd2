"""Arrivals: what somebody is bringing, one private folder each below ``HOME/uploads``.

``arrival.json`` says whose it is and how the files are called; the files themselves lie under
numbers. Names of files are kept for as long as the arrival lives, and nowhere else.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bmcore import disk
from bmcore.domain import BmcoreError, refuse
from bmcore.intake.dicom.found import SourceFile
from bmcore.plain import load_json

KEPT_HOURS = 24
MOST_FILES = 50_000
_ID = re.compile(r"[0-9a-f]{32}")
_RECORD, _FILES, LOCK = "arrival.json", "files", "work.lock"


@dataclass(frozen=True)
class Arrival:
    """owner: key of the user who brings it. label: what it is called on the screen.

    files: (name as the user knows it, bytes), in the order of their numbers; empty for a place of
    the inbox. place: the file or folder of the inbox, which is read where it lies, and left there.
    many: the place is a folder of patients. demo: it is the synthetic study. mark: what the browser
    calls this set of files, so that an interrupted upload finds itself.
    """

    id: str
    folder: Path
    owner: str
    label: str
    begun: datetime
    files: tuple[tuple[str, int], ...] = ()
    place: Path | None = None
    mark: str = ""
    demo: bool = False
    many: bool = False

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)

    @property
    def received(self) -> int:
        """Bytes that are there. Files are written one after the other, so few are looked at."""
        low, high = 0, len(self.files)
        while low < high:  # the first file that is not begun
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.path(middle).exists() else (low, middle)
        if low == 0:
            return 0
        last = disk.stat_of(self.path(low - 1))  # None: it was given up in another window
        return sum(size for _, size in self.files[: low - 1]) + (last.st_size if last else 0)

    @property
    def complete(self) -> bool:
        return self.place is not None or self.received == self.size

    def path(self, number: int) -> Path:
        return self.folder / _FILES / f"{number:06d}"

    def sources(self) -> list[SourceFile | Path]:
        """What the readers of files take: each file with the name that the user knows."""
        if self.place is not None:
            return [self.place]
        return [SourceFile(self.path(n), name) for n, (name, _) in enumerate(self.files)]

    def touch(self) -> None:
        """Somebody is at it: it is kept for ``KEPT_HOURS`` from now on."""
        (self.folder / _RECORD).touch()


def folder_of(home: Path) -> Path:
    return disk.private_folder(disk.open_home(Path(home)) / "uploads")


def begin(
    home: Path,
    owner: str,
    label: str,
    files: Sequence[tuple[str, int]] = (),
    *,
    place: Path | None = None,
    mark: str = "",
    demo: bool = False,
    many: bool = False,
) -> Arrival:
    """Make the folder of a new arrival. InputRefused for too many files or none at all."""
    kept = listed(files)
    if len(kept) > MOST_FILES:
        raise refuse(
            "there are too many files",
            found=len(kept),
            expected=f"at most {MOST_FILES}",
            hint="choose the folder of one patient.",
        )
    if not kept and place is None:
        raise refuse("there is nothing in it", hint="choose files that are not empty.")
    name = secrets.token_hex(16)
    folder = disk.private_folder(folder_of(home) / name)
    disk.private_folder(folder / _FILES)
    now = datetime.now(UTC)
    made = Arrival(name, folder, owner, _shown(label), now, kept, place, mark, demo, many)
    record = {
        "owner": owner, "label": made.label, "begun": made.begun.isoformat(), "mark": mark,
        "demo": demo, "many": many,
        "files": [list(pair) for pair in kept], "place": None if place is None else str(place),
    }  # fmt: skip
    disk.write(folder / _RECORD, json.dumps(record))
    return made


def listed(files: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The files of an arrival: names fit for the screen, empty files left out."""
    return tuple((_shown(name), size) for name, size in files if size > 0)


def _shown(name: str) -> str:
    """A name on one line; it is shown, and never used as a path."""
    line = "".join(c if c.isprintable() else "?" for c in name.replace("\\", "/"))
    return line.lstrip("/")[-400:] or "a file without a name"


def find(home: Path, arrival_id: str, owner: str) -> Arrival:
    """The arrival of this user. InputRefused where there is none: gone, or another user's."""
    found = _read(folder_of(home) / arrival_id) if _ID.fullmatch(arrival_id) else None
    if found is None or found.owner != owner:
        raise refuse(
            "these files are no longer here",
            expected=f"files that were brought in the last {KEPT_HOURS} hours",
            hint="bring them again.",
        )
    return found


def everyones(home: Path) -> list[Arrival]:
    """All arrivals of all users."""
    there = disk.below(folder_of(home))
    found = (_read(folder) for folder in there if _ID.fullmatch(folder.name))
    return [arrival for arrival in found if arrival is not None]


def of(home: Path, owner: str) -> list[Arrival]:
    """All arrivals of a user, oldest first."""
    mine = [a for a in everyones(home) if a.owner == owner]
    return sorted(mine, key=lambda a: (a.begun, a.id))


def drop(arrival: Arrival) -> None:
    """Remove it with all that was brought. A place of the inbox stays as it is."""
    shutil.rmtree(arrival.folder, ignore_errors=True)


def empty(arrival: Arrival) -> None:
    """Remove what was brought and all that was made of it; what became of it can still be told."""
    kept = {_RECORD, "work.json", "work.log", LOCK, "submit.lock"}
    for path in disk.below(arrival.folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in kept:
            path.unlink(missing_ok=True)
    record = load_json(arrival.folder / _RECORD)
    bare = {**record, "label": "Added", "files": [], "place": str(arrival.folder), "mark": ""}
    disk.write(arrival.folder / _RECORD, json.dumps(bare))


def sweep(home: Path) -> int:
    """Remove what nobody has been at for ``KEPT_HOURS``; how many arrivals that were."""
    oldest, gone = time.time() - 3600 * KEPT_HOURS, 0
    for folder in disk.below(folder_of(home)):
        if not _ID.fullmatch(folder.name):
            continue
        seen = disk.stat_of(folder / _RECORD) or disk.stat_of(folder)
        if seen is not None and seen.st_mtime < oldest and not busy(folder):
            shutil.rmtree(folder, ignore_errors=True)
            gone += 1
    return gone


def busy(folder: Path) -> bool:
    """True while a child process works on it."""
    lock = folder / LOCK
    if not lock.exists():
        return False
    try:
        FileLock(lock, mode=disk.FILE_MODE).acquire(blocking=False).lock.release()
    except Timeout:
        return True
    return False


def _read(folder: Path) -> Arrival | None:
    try:
        record: dict[str, Any] = load_json(folder / _RECORD)
        return Arrival(
            id=folder.name,
            folder=folder,
            owner=str(record["owner"]),
            label=str(record["label"]),
            begun=datetime.fromisoformat(record["begun"]),
            files=tuple((str(name), int(size)) for name, size in record["files"]),
            place=None if record["place"] is None else Path(record["place"]),
            mark=str(record["mark"]),
            demo=bool(record["demo"]),
            many=bool(record.get("many", False)),  # absent in one that an earlier version began
        )
    except (OSError, KeyError, ValueError, TypeError, BmcoreError):
        return None  # half made, half removed, or not ours: swept later
