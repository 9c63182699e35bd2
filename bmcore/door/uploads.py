"""Uploads: bytes of an arrival written to disk as they come, in order, from where they stopped.

All files of an upload are one stream: the first byte of a file follows the last of the one before.
A piece is taken only where it begins at the byte that is expected next, so that nothing is doubled
and nothing is missing, whatever the line does. No file is ever held in memory.
"""

from __future__ import annotations

import errno
import shutil
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from bmcore import disk
from bmcore.domain import InputRefused, refuse
from bmcore.door import arrival
from bmcore.door.arrival import Arrival

PIECE = 8 * 2**20  # bytes that the browser sends at once
MOST_PIECE = 4 * PIECE
SPARE = 2 * 2**30  # bytes of the disk that stay free for everything else
MOST_WAITING = 8  # arrivals of one user
_GB = 10**9


class OutOfStep(InputRefused):
    """The piece does not begin at the byte that is expected next."""


def room(home: Path, most: int) -> int:
    """Bytes that an upload may have now: ``most``, or what the disk holds twice (an archive is
    unpacked beside itself) without what other uploads still have to bring."""
    free = shutil.disk_usage(arrival.folder_of(home)).free - SPARE - _expected(home)
    return max(0, min(most, free // 2))


def _expected(home: Path) -> int:
    return sum(a.size - a.received for a in arrival.everyones(home) if a.place is None)


def begin(
    home: Path, owner: str, files: Sequence[tuple[str, int]], mark: str, most: int
) -> Arrival:
    """A new upload, or the unfinished one of the same files.

    files: (name, bytes). mark: names this set of files. InputRefused where it is too large, before
    a byte was sent.
    """
    arrival.sweep(home)
    mine = arrival.of(home, owner)
    same = next((a for a in mine if a.mark == mark and not a.complete), None) if mark else None
    if same is not None and same.files == arrival.listed(files):
        same.touch()
        return same
    if len(mine) >= MOST_WAITING:
        raise refuse(
            f"{len(mine)} uploads of yours are already waiting",
            hint="finish one of them, or remove it.",
        )
    size, most_now = sum(bytes_ for _, bytes_ in files), room(home, most)
    if size > most_now:
        raise refuse(
            "the files are too large for this server",
            found=gigabytes(size),
            expected=f"at most {gigabytes(most_now)}",
            hint="choose the folder of one examination, or ask for room on the server's disk.",
        )
    return arrival.begin(home, owner, label_of(files), files, mark=mark)


def label_of(files: Sequence[tuple[str, int]]) -> str:
    """What a set of files is called: the folder that they all lie in, the file, or how many."""
    if len(files) == 1:
        return files[0][0]
    tops = {name.split("/")[0] for name, _ in files if "/" in name}
    if len(tops) == 1 and all("/" in name for name, _ in files):
        return f"{tops.pop()} ({len(files)} files)"
    return f"{len(files)} files"


def gigabytes(size: int) -> str:
    """For instance "3.2 GB" or "480 MB"."""
    return f"{size / _GB:.1f} GB" if size >= _GB else f"{max(1, round(size / 10**6))} MB"


@contextmanager
def appending(upload: Arrival, offset: int) -> Iterator[Writer]:
    """Take a piece that begins at byte ``offset``.

    What is written stays, also where the line breaks within the piece. OutOfStep where another byte
    is expected, or another piece is being taken.
    """
    lock = FileLock(upload.folder / "upload.lock", mode=disk.FILE_MODE)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise _out_of_step("another piece of it is being taken") from None
    try:
        there = upload.received
        if offset != there:
            raise _out_of_step(f"byte {offset} was sent, byte {there} is expected")
        writer = Writer(upload, there)
        try:
            yield writer
        finally:
            writer.close()
            upload.touch()
    finally:
        lock.release()


def _out_of_step(found: str) -> OutOfStep:
    return OutOfStep(*refuse("the upload is out of step", found=found).findings)


class Writer:
    """Spreads a stream of bytes over the files of an upload."""

    def __init__(self, upload: Arrival, at: int) -> None:
        self._upload, self._at = upload, at
        self._ends = list(accumulate(size for _, size in upload.files))
        self._number, self._file = -1, None  # type: int, IO[bytes] | None

    def write(self, piece: bytes) -> None:
        """InputRefused for more bytes than were announced, and where the disk is full."""
        if self._at + len(piece) > self._upload.size:
            raise refuse("more was sent than was announced", hint="choose the files again.")
        left = memoryview(piece)
        try:
            while left:
                number = bisect_right(self._ends, self._at)
                file = self._open(number)
                part = left[: self._ends[number] - self._at]
                written = file.write(part)  # may take less than it is given
                self._at += written
                left = left[written:]
        except OSError as fault:
            if fault.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise refuse(
                "the disk of the server is full",
                hint="what was sent so far is kept; make room and choose the same files again.",
            ) from fault

    def _open(self, number: int) -> IO[bytes]:
        if number != self._number or self._file is None:
            self.close()
            self._number = number
            self._file = disk.create(self._upload.path(number), "ab", buffering=0)
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
