"""In the child process: stored pixels to values, and a stack of slices to a file of voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse
from bmcore.intake.dicom.header import PLAIN


def stored_values(piece: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """The values of one frame (rows, columns) as whole numbers, from the bits that hold them.

    piece: path, frame, name, and the values of the header. Bits outside of BitsStored (overlays,
    rubbish) are masked away, and the sign is taken from the highest stored bit.
    """
    raw = _raw(piece)
    stored, high = int(piece["BitsStored"]), int(piece["HighBit"])
    values = raw.astype(np.int64) & ((1 << int(piece["BitsAllocated"])) - 1)
    values = (values >> max(0, high + 1 - stored)) & ((1 << stored) - 1)
    return _signed(values, stored) if int(piece["PixelRepresentation"]) else values


def _signed(values: Any, bits: int) -> Any:
    return values - ((values >> (bits - 1)) & 1) * (1 << bits)


def frame_values(piece: Mapping[str, Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The rescaled values (rows, columns), bright for much signal, and where there is padding."""
    stored = stored_values(piece)
    padded = _padding(stored, piece)
    if piece["PhotometricInterpretation"] == "MONOCHROME1":
        top = (1 << int(piece["BitsStored"])) - 1
        stored = (-1 if int(piece["PixelRepresentation"]) else top) - stored
    slope, intercept = float(piece["RescaleSlope"]), float(piece["RescaleIntercept"])
    return (stored * slope + intercept).astype(np.float32), padded


def _padding(stored: npt.NDArray, piece: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    if piece.get("PixelPaddingValue") is None:
        return np.zeros(stored.shape, bool)
    bits, sign = int(piece["BitsStored"]), int(piece["PixelRepresentation"])

    def as_stored(value: float) -> int:
        # in a header of the wrong type, -2000 is written as 63536
        masked = int(value) & ((1 << bits) - 1)
        return int(_signed(masked, bits)) if sign else masked

    first = as_stored(piece["PixelPaddingValue"])
    limit = piece.get("PixelPaddingRangeLimit")
    last = first if limit is None else as_stored(limit)
    return (stored >= min(first, last)) & (stored <= max(first, last))


def _raw(piece: Mapping[str, Any]) -> npt.NDArray:
    rows, columns = int(piece["Rows"]), int(piece["Columns"])
    bits = int(piece["BitsAllocated"])
    if (
        piece["TransferSyntax"] in PLAIN
        and bits in (8, 16, 32)
        and not (piece["big"] and bits == 8)
    ):
        kind = np.dtype(f"{'>' if piece['big'] else '<'}u{bits // 8}")
        offset = int(piece["offset"]) + int(piece["frame"]) * rows * columns * kind.itemsize
        values = np.fromfile(piece["path"], kind, rows * columns, offset=offset)
        if values.size < rows * columns:
            raise refuse("it is cut short", file=piece["name"], hint="copy or export it again.")
        return values.reshape(rows, columns)
    return _decoded(piece, rows, columns)


def _decoded(piece: Mapping[str, Any], rows: int, columns: int) -> npt.NDArray:
    """A compressed frame, by pydicom and its plug-ins."""
    from pydicom.pixels import pixel_array

    try:
        frame = pixel_array(_dataset(piece["path"]), index=int(piece["frame"]), raw=True)
    except (MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # each decoder has its own errors, one of them no Exception
        raise refuse(
            "its pixels cannot be decoded",
            file=piece["name"],
            found=f"encoding {_encoding_name(piece['TransferSyntax'])}",
            expected="a complete image",
            hint="export the series again, uncompressed.",
        ) from error
    if frame.shape != (rows, columns):
        raise refuse(
            "its pixels cannot be decoded",
            file=piece["name"],
            found=f"an image of {' x '.join(map(str, frame.shape))}",
            expected=f"{rows} x {columns}",
        )
    return frame


@lru_cache(maxsize=1)
def _dataset(path: str) -> Any:
    from pydicom import config, dcmread

    config.settings.reading_validation_mode = config.IGNORE
    return dcmread(path, force=True)


def _encoding_name(syntax: str) -> str:
    from pydicom.uid import UID

    return str(UID(syntax).name)


def can_decode(syntax: str) -> bool:
    """True where the pixels of this transfer syntax can be read here."""
    if syntax in PLAIN:
        return True
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    try:
        return bool(get_decoder(UID(syntax)).is_available)
    except NotImplementedError:
        return False


def digest(piece: Mapping[str, Any]) -> str:
    """A hash of a frame's stored values; "" where all pixels are the same and say nothing."""
    values = stored_values(piece)
    if values.min() == values.max():
        return ""
    return hashlib.sha256(values.tobytes()).hexdigest()


def write_voxels(pieces: Sequence[Mapping[str, Any]], out: Path) -> dict[str, Any]:
    """Write the frames as float32 (column, row, slice), columns fastest; padding is background.

    Returns the least and the greatest value, the share of padding, and how many frames look as if
    they were written on. InputRefused naming the file that cannot be read.
    """
    shape = (int(pieces[0]["Columns"]), int(pieces[0]["Rows"]), len(pieces))
    voxels = np.memmap(out, np.float32, "w+", shape=shape, order="F")
    padding: list[tuple[int, npt.NDArray[np.uint8]]] = []
    least, most, lost, written = np.inf, -np.inf, 0, 0
    for place, piece in enumerate(pieces):
        values, padded = frame_values(piece)
        if padded.any():
            padding.append((place, np.packbits(padded)))
            lost += int(padded.sum())
        real = values[~padded]
        if real.size:
            least, most = min(least, float(real.min())), max(most, float(real.max()))
        voxels[:, :, place] = values.T
        written += _looks_written_on(values)
    for place, packed in padding:
        hidden = np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape[1], shape[0])
        voxels[:, :, place][hidden.astype(bool).T] = least if np.isfinite(least) else 0.0
    finite = np.isfinite(least) and np.isfinite(most)
    return {
        "least": least if finite else 0.0,
        "most": most if finite else 0.0,
        "finite": bool(finite),
        "padded": lost / voxels.size,
        "written": written,
    }


_LETTERS = 60  # pixels of letters beside a black background


def _looks_written_on(values: npt.NDArray[np.float32]) -> bool:
    """True where many pixels of the greatest value lie straight beside black ones, as letters do.

    Tissue does not: from bright to black it takes a pixel or two.
    """
    top = float(values.max())
    if top <= 0:
        return False
    bright, black = values == top, values <= 0.03 * top
    beside = np.zeros(values.shape, bool)
    beside[:, 1:] |= black[:, :-1]
    beside[:, :-1] |= black[:, 1:]
    return int((bright & beside).sum()) >= _LETTERS
