"""Archives that others packed: opened, and read in part, without trust in what they say."""

from __future__ import annotations

import io
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

_ENTRY_BYTES = 200  # of the directory of an archive: 46 and the name
_LEAST, _PIECE = 2**21, 2**20
# Everything that reading a damaged archive raises.
FAULTS = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    NotImplementedError,  # a compression that Python does not know
    RuntimeError,  # a password; too deep
)


class _Careful(io.FileIO):
    """A file of which no more than ``most`` bytes are read at once.

    The directory of an archive is read in one piece: one that lists millions of files is refused
    before it is in memory.
    """

    most = _LEAST

    def read(self, size: int | None = -1, /) -> bytes:
        asked = self.most + 1 if size is None or size < 0 else size  # less than 0: to the end
        found = super().read(min(asked, self.most + 1)) or b""
        if len(found) > self.most:
            raise zipfile.BadZipFile("it lists too many files")
        return found


@contextmanager
def opened(path: Path, most_files: int) -> Iterator[zipfile.ZipFile]:
    """The archive at ``path``; BadZipFile where files overlap or there are more than these."""
    with _Careful(path) as file:
        file.most = max(_LEAST, most_files * _ENTRY_BYTES)
        with zipfile.ZipFile(file) as archive:  # type: ignore[arg-type]
            parts = archive.infolist()
            if len(parts) > most_files:
                raise zipfile.BadZipFile(f"it holds {len(parts)} files, more than {most_files}")
            if len({part.filename for part in parts}) < len(parts):
                raise zipfile.BadZipFile("it holds two files of one name")
            if sum(part.compress_size for part in parts) > path.stat().st_size:
                raise zipfile.BadZipFile("its files overlap")
            yield archive


def content(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    """The unpacked bytes of one file; BadZipFile where they are too many, KeyError if absent."""
    pieces, left = [], most_bytes
    with archive.open(name) as part:
        while piece := part.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise zipfile.BadZipFile(f"{name} holds more than {most_bytes} bytes")
            pieces.append(piece)
    return b"".join(pieces)


def load_arrays(path: Path, most_bytes: int, most_files: int = 64) -> dict[str, npt.NDArray]:
    """The arrays of numbers of an ``.npz`` file, by name; no array claims more than is there."""
    with opened(path, most_files) as archive:
        arrays, left = {}, most_bytes
        for part in archive.infolist():
            raw = content(archive, part.filename, left)
            left -= len(raw)
            arrays[part.filename.removesuffix(".npy")] = _array(raw, part.filename)
    return arrays


def _array(raw: bytes, name: str) -> npt.NDArray:
    stream = io.BytesIO(raw)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(np.lib.format.read_magic(stream))
    if read is None:
        raise ValueError(f"{name} is of an unknown version")
    try:
        shape, turned, dtype = read(stream)
    except (SyntaxError, tokenize.TokenError, MemoryError) as fault:  # it is read as Python is
        raise ValueError(f"{name} does not say what it holds") from fault
    if dtype.kind not in "biuf":
        raise ValueError(f"{name} holds other than numbers")
    if min(shape, default=0) < 0 or len(raw) - stream.tell() != _bytes(shape, dtype):
        raise ValueError(f"{name} does not hold the {shape} values that it declares")
    values = np.frombuffer(raw, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if turned else "C").copy()


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    count = dtype.itemsize
    for axis in shape:
        count *= axis
    return count
