"""Folders and files that only this account can read, from the moment they are made; and writing
that is on the disk, whole, when it appears.

The modes are given to the system when a thing is made, so they hold under any umask and there is
no moment at which others could open it.
"""

from __future__ import annotations

import errno
import gzip
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bmcore.domain import BmcoreError, Finding, Severity, refuse

FOLDER_MODE, FILE_MODE = 0o700, 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FULL = ("No space left", "Disk quota exceeded", "File too large", "file write failed",
         "requested and")  # fmt: skip
_ROOM = "make room, or take a folder on another disk, and try again."
_OWN = "take another folder, or ask whom this one belongs to."
_FAULTS = {  # what the system says: in words, and what to try
    errno.ENOSPC: ("the disk is full", _ROOM),
    errno.EDQUOT: ("the disk is full for this account", _ROOM),
    errno.EFBIG: ("the file grew larger than the system allows here", _ROOM),
    errno.EROFS: ("the disk is read-only", "take a folder on another disk."),
    errno.EACCES: ("this account may not read or write here", _OWN),
    errno.EPERM: ("this account may not read or write here", _OWN),
    errno.ENOENT: ("there is no such file or folder", "check the path, and make its folder first."),
    errno.ENOTDIR: ("a file stands where a folder is needed", "check the path."),
    errno.EISDIR: ("a folder stands where a file is needed", "check the path."),
    errno.EEXIST: ("something of this name is there already", "take another name."),
    errno.ENOTEMPTY: ("the folder is not empty", "take a new folder."),
    errno.ENAMETOOLONG: ("the name is too long for the disk", "take a shorter name."),
}


def private_process() -> None:
    """From now on nothing that this process makes can be read by others, whoever writes it."""
    os.umask(_OTHERS)


def private_folder(folder: Path | str) -> Path:
    """``folder``, made with all that is missing above it; one that is there stays as it is."""
    folder = Path(folder)
    if not folder.is_dir():
        if folder.parent != folder:
            private_folder(folder.parent)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    return folder


def open_home(home: Path) -> Path:
    """``home``, made private; an older one of this account is closed to others with all in it."""
    tighten(home)
    return private_folder(home)


def create(path: Path | str, mode: str = "wb", **how: Any) -> IO[Any]:
    """Open ``path`` for writing ("wb", "w", "ab", "x" ...); a new file is this account's alone."""
    return open(path, mode, opener=_private, **how)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


def write(path: Path, content: bytes | str) -> None:
    """Replace ``path``: a reader sees the old file or the new one, also after a power cut."""
    with beside(path) as new, create(new) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name next to ``path`` to write under; what was written takes its place at the end."""
    path = Path(path)
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}{ending}")
    try:
        yield new
        move_in(new, path)
    finally:
        new.unlink(missing_ok=True)


def move_in(new: Path, place: Path) -> None:
    """Rename a finished file or folder to ``place``, with its content and its name on the disk.

    A file there is replaced; OSError where a folder is there already.
    """
    if new.is_dir():
        for path in sorted(new.rglob("*")):
            sync(path)
        sync(new)
        new.rename(place)
    else:
        sync(new)
        new.replace(place)
    sync(place.parent)


def sync(path: Path) -> None:
    """Return when a file's content, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folder
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def below(folder: Path | str) -> list[Path]:
    """What lies directly in ``folder``, by name; nothing where it is no folder, or none any more.

    Others add and remove while one looks: what is listed may be gone when it is asked for, so ask
    with ``stat_of``, or be ready for FileNotFoundError.
    """
    try:
        return sorted(Path(folder).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def stat_of(path: Path | str) -> os.stat_result | None:
    """What the system says of ``path`` now; None where there is nothing (any more).

    In one step: between ``exists`` and ``stat`` another process may remove it.
    """
    try:
        return Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def content_of(path: Path | str) -> bytes | None:
    """The bytes of a file; None where there is none (any more)."""
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def save_image(image: Any, path: Path) -> None:
    """Write a nibabel image, private; the same image gives the same bytes, gzip or not."""
    with create(path) as file:
        if path.suffix != ".gz":
            image.to_stream(file)
            return
        with gzip.GzipFile("", "wb", 1, file, mtime=0) as packer:
            image.to_stream(packer)


def refusal(fault: BaseException, place: object = None) -> BmcoreError | None:
    """The refusal, in a sentence, for what the system could not read or write; None where ``fault``
    is something else.

    place: what was written, for faults that name no file. Libraries that write weights tell of a
    full disk in words of their own.
    """
    full = any(words in str(fault) for words in _FULL)
    if isinstance(fault, ConnectionError) or not (full or isinstance(fault, OSError)):
        return None
    number = fault.errno if isinstance(fault, OSError) else None
    known = _FAULTS.get(errno.ENOSPC if full and number is None else number or 0)
    what, hint = known or ("the system could not read or write here", "check the disk.")
    found = None if known else getattr(fault, "strerror", None) or str(fault)
    named = getattr(fault, "filename", None)
    file = place if named is None or _is_beside(named, place) else named
    return refuse(what, file=file, found=found, hint=hint)


def _is_beside(named: object, place: object) -> bool:
    """True for a hidden name in ``place`` or next to it, under which it is written at first."""
    path, place = Path(str(named)), Path(str(place))
    return any(
        folder in path.parents and path.relative_to(folder).parts[0].startswith(".")
        for folder in (place, place.parent)
    )


@contextmanager
def refusing(place: object) -> Iterator[None]:
    """Turn what the system cannot read or write into a refusal, see ``refusal``."""
    try:
        yield
    except (OSError, RuntimeError) as fault:
        told = refusal(fault, place)
        if told is None:
            raise
        raise told from fault


def tighten(path: Path) -> None:
    """Close a file or folder of this account to others; of an open folder also what is in it."""
    if not _close(path):
        return
    for place, folders, names in os.walk(path):
        for name in (*folders, *names):
            if not Path(place, name).is_symlink():
                _close(Path(place, name))


def _close(path: Path) -> bool:
    """Close it where it is open and ours; False where it is not, or is gone."""
    found = stat_of(path)
    if found is None or not found.st_mode & _OTHERS or not _ours(found):
        return False
    with suppress(FileNotFoundError):
        path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    return True


def open_to_others(path: Path) -> Finding | None:
    """What to tell where other accounts of the computer can look into ``path``; None if not."""
    now = stat_of(path)
    if now is None or not now.st_mode & _OTHERS:
        return None
    return Finding(
        Severity.WARNING,
        "other accounts of this computer can look into the home folder",
        str(path),
        found=f"mode {stat.S_IMODE(now.st_mode):04o}, of another account",
        expected="0700",
        hint="let its owner close it: chmod -R go= FOLDER.",
    )


def _ours(found: os.stat_result) -> bool:
    return os.name == "nt" or found.st_uid == os.geteuid()
