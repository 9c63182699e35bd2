"""The server's inbox: a folder of this computer that whoever looks after it fills.

What lies in it is read where it is and left as it is. Only what lies directly in the folder can be
taken; links are not followed.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

from bmcore import disk
from bmcore.domain import refuse
from bmcore.intake.dicom.files import is_archive
from bmcore.intake.nifti_file import is_nifti

MOST_LISTED = 500
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Item:
    """A folder or an archive in the inbox. words: how it is listed."""

    name: str
    path: Path
    words: str


def listed(folder: Path) -> list[Item]:
    """What can be taken, in the order of the names (with 2 before 10).

    InputRefused where the folder is not there or cannot be read.
    """
    try:
        paths = [p for p in Path(folder).iterdir() if not p.name.startswith(".")]
    except OSError as fault:
        raise refuse(
            "the server's inbox cannot be read",
            found=fault.strerror,
            hint="check BMCORE_INBOX, its drive, and that this account may read it.",
        ) from fault
    items = [_item(path) for path in paths if not path.is_symlink()]
    return sorted((i for i in items if i is not None), key=_natural)[:MOST_LISTED]


def find(folder: Path, name: str) -> Path:
    """Where the item of this name lies. InputRefused where there is none (any more)."""
    found = next((item for item in listed(folder) if item.name == name), None)
    if found is None:
        raise refuse("this is no longer in the server's inbox", file=name, hint="choose another.")
    return found.path


def _item(path: Path) -> Item | None:
    found = disk.stat_of(path)
    if found is None:
        return None  # taken away while the folder was read
    if stat.S_ISDIR(found.st_mode):
        return Item(path.name, path, f"{path.name} (folder)")
    if is_archive(path):
        return Item(path.name, path, f"{path.name} ({max(1, found.st_size // 10**6)} MB)")
    return Item(path.name, path, path.name) if path.is_file() and is_nifti(path) else None


def _natural(item: Item) -> list[tuple[int, str]]:
    parts = _DIGITS.split(item.name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
