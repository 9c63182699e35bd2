"""In the child process: what one DICOM file says, as plain values under the names of ``tags``.

Only the header is read; of the pixel data the place, and whether as many bytes are there as the
header promises.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, MutableSequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from bmcore.intake.dicom import tags
from bmcore.intake.dicom.agent import told as told_of_agent
from bmcore.intake.dicom.deidentify import naming_words, shown

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN)
MOST_FRAMES = 20_000
_HEADER_BYTES = 2**20  # of a deflated file
_PIXELS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
_FLOATS = (b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00")
_UNDEFINED = 0xFFFFFFFF


class NotDicom(Exception):
    """The file holds something else."""


class Damaged(Exception):
    """The file is DICOM, but its header cannot be read; the message says why."""


def read_header(path: Path) -> dict[str, Any]:
    """The values of one file; NotDicom or Damaged where there are none.

    "frames" holds a mapping for each frame of an enhanced file, with what differs from the file's
    own values.
    """
    from pydicom import config

    config.settings.reading_validation_mode = config.IGNORE
    with path.open("rb") as file:
        dataset, syntax, place = _parse(file, path.stat().st_size)
        row = _values(dataset)
        row.update(_person(dataset), **_contrast(dataset))
        row["TransferSyntax"] = syntax
        row["pixels"] = _pixels(file, path.stat().st_size, row, place)
    row["frames"] = list(_frames(dataset))
    told = len(row["frames"]), int(row.get("NumberOfFrames", 1))
    if row["frames"] and told[0] != told[1] and row["pixels"]:
        row["pixels"]["fault"] = f"it describes {told[0]} frames, but says that it holds {told[1]}"
    return row


def _parse(file: IO[bytes], size: int) -> tuple[Any, str, int]:
    """The header, the transfer syntax, and where the pixel data begin (0: not known)."""
    from pydicom import dcmread

    start = file.read(132)
    named = start[128:132] == b"DICM"
    if not named and not _looks_headless(start):
        raise NotDicom
    try:
        if named and _declared_syntax(file) == DEFLATED:
            return _inflated(file), DEFLATED, 0
        file.seek(0)
        dataset = dcmread(file, stop_before_pixels=True, force=True)
        place = file.tell() if file.tell() < size else 0
    except MemoryError:
        raise
    except Exception as error:  # a parser meets anything in a damaged file
        raise Damaged(f"{type(error).__name__}: {error}"[:120]) from error
    if not named and "SOPClassUID" not in dataset and "Modality" not in dataset:
        raise NotDicom
    declared = str(getattr(dataset, "file_meta", {}).get("TransferSyntaxUID", "") or "").strip(
        "\0 "
    )
    implicit, little = dataset.original_encoding
    guessed = PLAIN[0] if implicit else PLAIN[1] if little else BIG_ENDIAN
    return dataset, declared or guessed, place


def _looks_headless(start: bytes) -> bool:
    """An old export without preamble begins with an element of group 0, 2 or 8."""
    if len(start) < 8:
        return False
    group, element = struct.unpack("<HH", start[:4])
    if (group, element) in ((0x0200, 0), (0x0800, 0)) or group in (0x0002, 0x0008):
        return element < 0x3000
    if group == 0x0000 and element in (0x0000, 0x0002):
        return struct.unpack("<I", start[4:8])[0] in range(4, 65)
    return struct.unpack(">HH", start[:4])[0] in (0x0002, 0x0008) and start[2] < 0x30


def _declared_syntax(file: IO[bytes]) -> str:
    from pydicom.filereader import read_file_meta_info

    try:
        meta = read_file_meta_info(file.name)
    except Exception as error:
        raise Damaged(f"{type(error).__name__}: {error}"[:120]) from error
    return str(meta.get("TransferSyntaxUID", ""))


def _inflated(file: IO[bytes]) -> Any:
    """The header of a deflated file, of which only the first piece is ever inflated."""
    from pydicom.filereader import read_dataset

    file.seek(132)
    head = file.read(12)
    if head[:4] != b"\x02\0\0\0":
        raise Damaged("deflated, and its length is not said")
    file.seek(144 + struct.unpack("<I", head[8:12])[0])
    begun = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_HEADER_BYTES), _HEADER_BYTES)

    def at_pixels(tag: Any, vr: Any, length: Any) -> bool:
        return int(tag) >= 0x7FE00008

    return read_dataset(BytesIO(begun), False, True, stop_when=at_pixels)


def _values(dataset: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in (*tags.TEXTS, *tags.SHOWN):
        if name == "ImageType":
            row[name] = [t.strip().upper() for t in _texts(dataset, name)]
        elif name in dataset:
            row[name] = "\\".join(_texts(dataset, name))[:160]
    for name in tags.NUMBERS:
        numbers = _numbers(dataset, name)
        if numbers:
            row[name] = numbers[0]
    for name in tags.LISTS:
        row[name] = _numbers(dataset, name) or None
    row["LossyImageCompression"] = row.get("LossyImageCompression") == "01"
    row["ModalityLut"] = "ModalityLUTSequence" in dataset
    row["FloatPixels"] = "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset
    row.update(_private(dataset))
    naming = naming_words(t for name in tags.NAMING for t in _texts(dataset, name))
    for name in tags.DESCRIPTIONS:
        row[name] = shown(" ".join(_texts(dataset, name)), naming)
    return {name: value for name, value in row.items() if value not in (None, "", [])}


def _texts(dataset: Any, name: str) -> list[str]:
    """The values of an element as texts; what cannot be decoded is read as Latin-1."""
    try:
        value = dataset.get(name)
        if value is None:
            return []
        # a person's name can be iterated too, and is one value
        many = value if isinstance(value, MutableSequence) else [value]
        return [str(v).strip("\0 ") for v in many]
    except Exception:  # illegal values are survived, whatever the parser says of them
        raw = dataset.get_item(name)
        content = getattr(raw, "value", None)
        text = content.decode("latin-1") if isinstance(content, bytes) else ""
        return [part.strip("\0 ") for part in text.split("\\")]


def _numbers(dataset: Any, name: str) -> list[float]:
    """The finite numbers of an element; [] where one of them is none."""
    numbers = []
    for text in _texts(dataset, name):
        try:
            number = float(text.replace(",", "."))
        except ValueError:
            return []
        if not math.isfinite(number):
            return []
        numbers.append(number)
    return numbers


def _person(dataset: Any) -> dict[str, str]:
    row = {}
    for name in tags.PERSON:
        words = sorted(re.findall(r"\w+", " ".join(_texts(dataset, name)).casefold()))
        if words:
            row[name] = hashlib.sha256(f"{name} {' '.join(words)}".encode()).hexdigest()
    return row


def _contrast(dataset: Any) -> dict[str, bool]:
    """What the tags say of contrast agent, as ``agent.told`` reads them."""
    texts, meanings, amounts = [], [], []
    for name in ("ContrastBolusAgent", "ContrastBolusIngredient"):
        texts += _texts(dataset, name)
    for name in ("ContrastBolusAgentSequence", "ContrastBolusIngredientCodeSequence"):
        for item in _items(dataset, name):
            meanings += _texts(item, "CodeMeaning") or _texts(item, "CodeValue")
            meanings += _texts(item, "ContrastBolusAgent")
    for name in ("ContrastBolusVolume", "ContrastBolusTotalDose"):
        amounts += _numbers(dataset, name)
    return told_of_agent((*texts, *meanings), amounts)


def _private(dataset: Any) -> dict[str, Any]:
    """Numbers that vendors keep in elements of their own."""
    row: dict[str, Any] = {}
    places = (
        (0x2005, "Philips MR Imaging DD 001", 0x0E, "PhilipsScaleSlope"),
        (0x0019, "SIEMENS MR HEADER", 0x0C, "DiffusionBValue"),
        (0x2001, "Philips Imaging DD 001", 0x03, "DiffusionBValue"),
        (0x0043, "GEMS_PARM_01", 0x39, "DiffusionBValue"),
        (0x0043, "GEMS_PARM_01", 0x2F, "GeComponent"),
    )
    for group, creator, element, name in places:
        try:
            value = dataset.private_block(group, creator)[element].value
            first = value if isinstance(value, int | float | str | bytes) else value[0]
            text = first.decode("latin-1") if isinstance(first, bytes) else str(first)
            number = float(text.split("\\")[0])
        except Exception:  # not there, or not what this vendor writes
            continue
        if not math.isfinite(number):
            continue
        if name == "DiffusionBValue":
            number %= 1e9  # GE adds 1e9
            if number <= 0 or name in row:
                continue
        row[name] = number
    return row


def _items(dataset: Any, name: str) -> list[Any]:
    try:
        return list(dataset.get(name) or [])
    except Exception:  # a sequence that cannot be read says nothing
        return []


# --- functional groups of enhanced files ---------------------------------------------------------


def _frames(dataset: Any) -> Iterator[dict[str, Any]]:
    per_frame = _items(dataset, "PerFrameFunctionalGroupsSequence")
    shared: dict[str, Any] = {}
    for item in _items(dataset, "SharedFunctionalGroupsSequence"):
        shared.update(_flat(item))
    if not per_frame and shared:
        count = int((_numbers(dataset, "NumberOfFrames") or [1])[0])
        per_frame = [None] * min(max(1, count), MOST_FRAMES)
    for item in per_frame:
        yield {**shared, **(_flat(item) if item is not None else {})}


_NOT_OF_THE_FRAME = ("ReferencedImageSequence", "SourceImageSequence", "DerivationImageSequence")


def _flat(item: Any, depth: int = 0) -> dict[str, Any]:
    """What the macros of a functional group say, whatever macro it stands in."""
    values: dict[str, Any] = {}
    for element in item:
        if element.tag.is_private or element.keyword in _NOT_OF_THE_FRAME:
            continue
        if element.VR == "SQ":
            for inner in element.value if depth < 4 else ():
                values.update(_flat(inner, depth + 1))
            continue
        name = tags.SAME_AS.get(element.keyword, element.keyword)
        if name == "ImageType":
            values[name] = [t.strip().upper() for t in _texts(item, element.keyword)]
        elif name in tags.TEXTS:
            values[name] = "\\".join(_texts(item, element.keyword))
        elif name in tags.NUMBERS and _numbers(item, element.keyword):
            values[name] = _numbers(item, element.keyword)[0]
        elif name in tags.LISTS:
            values[name] = _numbers(item, element.keyword)
    return {name: value for name, value in values.items() if value not in (None, "", [])}


# --- the pixel data ------------------------------------------------------------------------------


def _pixels(
    file: IO[bytes], size: int, row: Mapping[str, Any], place: int
) -> dict[str, Any] | None:
    """Where the pixel data lie, and what is wrong with them; None where the file has none."""
    if row["TransferSyntax"] == DEFLATED:
        return {"fault": "its data are deflated, an encoding that is not read"}
    if not place:
        needs = "Rows" in row and "Columns" in row
        return {"fault": "it holds no pixel data"} if needs else None
    file.seek(place)
    head = file.read(12)
    if head[:4] in _FLOATS:
        return {"fault": "its values are floating-point numbers, as in a map"}
    if head[:4] not in _PIXELS:
        return None
    order = ">" if head[:4] == _PIXELS[1] else "<"
    explicit = head[4:6] in (b"OB", b"OW", b"UN")
    length = struct.unpack(order + "I", head[8:12] if explicit else head[4:8])[0]
    start = place + (12 if explicit else 8)
    told = {"offset": start, "length": length, "big": order == ">"}
    fault = _fault(file, size, row, start, length)
    return {**told, "fault": fault} if fault else told


def _fault(
    file: IO[bytes], size: int, row: Mapping[str, Any], start: int, length: int
) -> str | None:
    plain, wrapped = row["TransferSyntax"] in PLAIN, length == _UNDEFINED
    if length == 0:
        return "it holds no pixel data"
    if not 1 <= row.get("NumberOfFrames", 1) <= MOST_FRAMES:
        return f"it says that it holds {row['NumberOfFrames']:g} frames"
    if wrapped:
        if plain:
            return "cannot be decoded: it says that its pixels are not compressed, but they are"
        ended = str(row["TransferSyntax"]).startswith(_JPEG_FAMILY)
        frames = int(row.get("NumberOfFrames", 1))
        return None if _is_whole(file, start, size, frames, ended) else "it is cut short"
    if not plain:
        return "cannot be decoded: it says that its pixels are compressed, but they are not"
    needed = int(
        math.prod(float(row.get(n, 1)) for n in ("Rows", "Columns", "SamplesPerPixel"))
        * row.get("NumberOfFrames", 1)
        * row.get("BitsAllocated", 16)
        / 8
    )
    if size - start < length or length < needed:
        return f"it is cut short: {min(length, size - start)} of {needed} bytes of its pixels"
    return None


_JPEG_FAMILY = ("1.2.840.10008.1.2.4.5", "1.2.840.10008.1.2.4.7", "1.2.840.10008.1.2.4.8",
                "1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")  # fmt: skip
_END_OF_IMAGE, _TAIL = b"\xff\xd9", 32


def _is_whole(file: IO[bytes], place: int, size: int, frames: int, ended: bool) -> bool:
    """True where the fragments of compressed pixels end with the mark of the end.

    ended: each image ends with a mark of its own; decoders take images without it for whole.
    """
    tails: list[bytes] = []
    while place + 8 <= size:
        file.seek(place)
        tag, length = struct.unpack("<4sI", file.read(8))
        if tag == b"\xfe\xff\xdd\xe0":
            own = tails[1:]  # the first one is the table of offsets
            checked = own if len(own) == frames else own[-1:]
            return bool(own) and (not ended or all(_END_OF_IMAGE in tail for tail in checked))
        if tag != b"\xfe\xff\x00\xe0":
            return False
        file.seek(max(place + 8, place + 8 + length - _TAIL))
        tails.append(file.read(min(_TAIL, length)))
        place += 8 + length
    return False
