"""Writing that is never half there: write beside, then rename; one file, or several together."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bmcore import disk
from bmcore.domain import refuse
from bmcore.plain import load_json

BEFORE = ".bmcore-before"  # in a folder whose files are being replaced: the earlier ones
_LIST = "list.json"  # in BEFORE, as long as the new files are not all in place


def folder_name(text: str, what: str) -> str:
    """``text`` if it can safely be one folder or file name, else ``InputRefused``."""
    if not text.strip() or text.startswith(".") or any(c in text for c in "/\\\0\n\r"):
        raise refuse(
            f"{what} cannot be used as the name of a folder",
            found=repr(text),
            expected="letters, digits, spaces, '-', '_' and '.', not beginning with '.'",
        )
    return text


def to_json(value: Mapping[str, Any]) -> str:
    """Readable JSON; ValueError on NaN or infinity, which are not JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` so that a reader sees the old file or the new one, never a part."""
    disk.write(path, to_json(value))


@contextmanager
def staging(parent: Path, name: str) -> Iterator[Path]:
    """A fresh hidden folder in ``parent``; removed at the end unless it was moved away
    (``disk.move_in``)."""
    folder = disk.private_folder(parent) / f".{name}.{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=disk.FOLDER_MODE)
    try:
        yield folder
    finally:
        if folder.exists():
            shutil.rmtree(folder)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the file ``lock``; InputRefused where another program holds it."""
    held = FileLock(lock, mode=disk.FILE_MODE)
    try:
        held.acquire(blocking=False)
    except Timeout:
        raise refuse(
            "another program is writing here", file=lock.parent, hint="wait until it is done."
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            lock.unlink()
        held.release()


@contextmanager
def new_folder(place: Path, last: str) -> Iterator[Path]:
    """A private folder to fill, which then becomes ``place``: whole, or not at all.

    ``place`` must be new or empty, else InputRefused, also where it cannot be written. A new one
    appears by one rename; an empty one, which may be a disk of its own, gets ``last`` last. What a
    program that was stopped has left is made anew.
    """
    there, existed = place.resolve(), place.exists()
    unfinished = (there if existed else there.parent) / f".{there.name}.unfinished"
    _check_new(place, unfinished)
    with disk.refusing(place):
        disk.private_folder(unfinished.parent)
        with alone(unfinished.with_suffix(".lock")):
            _check_new(place, unfinished)
            try:
                shutil.rmtree(unfinished, ignore_errors=True)
                yield disk.private_folder(unfinished)
                if existed:
                    _move_up(unfinished, last)
                else:
                    disk.move_in(unfinished, there)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)


def _check_new(place: Path, unfinished: Path) -> None:
    own = {unfinished.name, unfinished.with_suffix(".lock").name}
    others = [path for path in disk.below(place) if path.name not in own]
    if others and (place / unfinished.name).exists():
        raise refuse(
            "this folder was being filled when the program was stopped",
            file=place,
            hint="remove all that is in it, also what is hidden, and try again.",
        )
    if others or (place.exists() and not place.is_dir()):
        raise refuse("the folder must be new or empty", file=place, hint="name a new folder.")


def _move_up(new: Path, last: str) -> None:
    """Move what lies in ``new`` into the folder around it, all or nothing."""
    moved = []
    try:
        for path in sorted(new.iterdir(), key=lambda path: path.name == last):
            disk.move_in(path, new.parent / path.name)
            moved.append(new.parent / path.name)
    except BaseException:
        for path in moved:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


@contextmanager
def together(out: Path, names: Sequence[str]) -> Iterator[Path]:
    """A private folder to write ``names`` into; then all of them take their places in ``out``, or
    none does. InputRefused where they cannot.

    The last of ``names`` goes away first and comes last: where it stands, all belong together.
    Where the program is stopped in between, the next one finds the earlier files in a hidden folder
    of ``out`` and puts them back first.
    """
    with disk.refusing(out):
        if not out.exists():
            with staging(out.absolute().parent, "bmcore-new") as new:
                yield new
                disk.move_in(new, out)
            return
        check_places(out, names)
        with alone(out / ".bmcore-out.lock"):
            _put_back(out)
            for left in out.glob(".bmcore-new.*"):  # by a program that was stopped
                shutil.rmtree(left)
            with staging(out, "bmcore-new") as new:
                yield new
                _exchange(new, out, names)


def check_places(out: Path, names: Sequence[str]) -> None:
    """InputRefused where a folder stands where one of the files must go."""
    if not out.is_dir():
        raise refuse("the output folder is a file", file=out, hint="name another folder.")
    taken = [out / name for name in names if (out / name).is_dir()]
    if taken:
        raise refuse(
            "a folder stands where an output file must go",
            file=taken[0],
            hint="remove it, or name another folder.",
        )


def _exchange(new: Path, out: Path, names: Sequence[str]) -> None:
    for name in names:
        disk.sync(new / name)
    check_places(out, names)
    before = out / BEFORE
    earlier = [name for name in names if (out / name).exists()]
    before.mkdir(mode=disk.FOLDER_MODE)
    try:
        disk.write(before / _LIST, to_json({"names": list(names), "earlier": earlier}))
        disk.sync(out)
        for name in reversed(earlier):
            (out / name).rename(before / name)
        disk.sync(before)
        for name in names:
            disk.move_in(new / name, out / name)
        (before / _LIST).unlink()  # from here on the new files count
        disk.sync(before)
    except BaseException:
        _put_back(out)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _put_back(out: Path) -> None:
    """Undo an exchange that was not finished; remove what a finished one left."""
    before = out / BEFORE
    if (before / _LIST).exists():
        names, earlier = _listed(before / _LIST)
        for name in names:
            if (before / name).exists():
                disk.move_in(before / name, out / name)
            elif name not in earlier:
                (out / name).unlink(missing_ok=True)
        (before / _LIST).unlink()
    if before.exists():
        shutil.rmtree(before)


def _listed(path: Path) -> tuple[list[str], list[str]]:
    try:
        listed = load_json(path)
        return [folder_name(name, "a file") for name in listed["names"]], listed["earlier"]
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise refuse(
            "files were being replaced here when the program was stopped, and the list is damaged",
            file=path,
            hint="the earlier files lie beside it: move them one folder up, and remove the rest.",
        ) from fault
