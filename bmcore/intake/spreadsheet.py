"""The cells of one sheet of an xlsx file as CSV; runs in a child process (``child.TASKS``).

An xlsx file is a zip archive of XML. Here it is read as a stream, element by element, with limits
on everything that it could make large, and without document types, which no spreadsheet needs. A
formula counts as the value stored with it; a date is the number that is stored.
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from xml.parsers import expat

from bmcore import zips
from bmcore.domain import refuse

MAX_UNPACKED_BYTES = 200 * 2**20
MAX_PARTS = 1000
MAX_ROWS = 100_000
MAX_COLUMNS = 500
MAX_CELLS = 2_000_000
MAX_STRINGS = 1_000_000
MAX_SHEETS = 1000
MAX_CELL = 32_767  # characters, as in Excel
MOST_NAMED = 10  # cells in a message
SHEET = "Data"
_BLOCK = 1 << 16
_DAMAGE = (*zips.FAULTS, expat.ExpatError, zlib.error, IndexError)

Start = Callable[[str, dict[str, str]], None]


def read_here(job: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: write the sheet ``Data``, or the only one, of ``job["path"]`` as CSV."""
    path = Path(job["path"])
    name = str(job["name"])
    try:
        with (
            zips.opened(path, MAX_PARTS) as archive,
            Path(job["out"]).open("w", encoding="utf-8") as out,
        ):
            _check_size(archive, name)
            sheet, strings = _parts(archive, name)
            writer = csv.writer(out, lineterminator="\n")
            rows = _Rows(name, _strings(archive, strings, name) if strings else [])
            for row in rows.read(archive, sheet):
                writer.writerow(row)
    except _DAMAGE as error:
        raise refuse(
            "the spreadsheet is damaged",
            file=name,
            found=str(error)[:160] or type(error).__name__,
            expected="an xlsx file",
            hint="open it in a spreadsheet program and save it again.",
        ) from error
    return {"rows": rows.number, "formulas": rows.unstored, "formula_cells": rows.unstored_cells}


def _check_size(archive: zipfile.ZipFile, name: str) -> None:
    unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise refuse(
            "the spreadsheet is too large once unpacked",
            file=name,
            found=f"{unpacked} bytes",
            expected=f"at most {MAX_UNPACKED_BYTES} bytes",
        )


def _parts(archive: zipfile.ZipFile, name: str) -> tuple[str, str | None]:
    """Names in the archive of the sheet to read and of the table of texts, if there is one."""
    book = next((p for k, p, _ in _relations(archive, "") if k == "officeDocument"), None)
    if book is None:
        raise ValueError("no workbook")
    relations = list(_relations(archive, book))
    sheets: dict[str, str] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "sheet" and len(sheets) < MAX_SHEETS:
            sheets[attributes["name"]] = attributes["id"]

    _parse(archive, book, start)
    title = SHEET if SHEET in sheets else next(iter(sheets), "")
    if SHEET not in sheets and len(sheets) != 1:
        raise refuse(
            f"the spreadsheet has no sheet '{SHEET}'",
            file=name,
            found=", ".join(sheets)[:200],
            expected=f"a sheet '{SHEET}', or one sheet only",
        )
    targets = {key: part for _, part, key in relations}
    texts = [part for kind, part, _ in relations if kind == "sharedStrings"]
    return targets[sheets[title]], texts[0] if texts else None


def _relations(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, str, str]]:
    """(kind, part of the archive, id) of everything that ``part`` refers to."""
    place = PurePosixPath(part)
    found: list[tuple[str, str, str]] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag != "Relationship" or attributes.get("TargetMode") == "External":
            return
        target = attributes["Target"]
        inside = target[1:] if target.startswith("/") else str(place.parent / target)
        kind = attributes["Type"].rsplit("/", 1)[-1]
        if len(found) < MAX_SHEETS:
            found.append((kind, inside, attributes["Id"]))

    _parse(archive, str(place.parent / "_rels" / f"{place.name}.rels"), start)
    yield from found


def _parse(archive: zipfile.ZipFile, part: str, start: Start) -> None:
    """Walk through one part; tags and attributes come without their namespaces."""

    def opened(tag: str, attributes: dict[str, str]) -> None:
        start(_local(tag), {_local(key): value for key, value in attributes.items()})

    _run(archive, part, _parser(opened, None, None))


def _parser(start: Any, end: Any, text: Any) -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _no_document_type
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    return parser


def _no_document_type(*_: object) -> None:
    raise ValueError("it declares a document type")


def _run(archive: zipfile.ZipFile, part: str, parser: expat.XMLParserType) -> None:
    with archive.open(part) as stream:
        while block := stream.read(_BLOCK):
            parser.Parse(block)
        parser.Parse(b"", True)


def _local(name: str) -> str:
    return name.rsplit(":", 1)[-1] if ":" in name else name


def _strings(archive: zipfile.ZipFile, part: str, name: str) -> list[str]:
    """The table of texts; cells refer to it by number."""
    strings: list[str] = []
    pieces: list[str] = []
    spoken = 0  # inside of how a word is spoken, which is not a part of it
    inside = False

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal spoken, inside
        inside = tag.endswith("t") and _local(tag) == "t" and not spoken
        spoken += tag.endswith("rPh")

    def end(tag: str) -> None:
        nonlocal spoken, inside
        inside = False
        spoken -= tag.endswith("rPh")
        if tag.endswith("si"):
            strings.append(_cell("".join(pieces), name))
            pieces.clear()
            if len(strings) > MAX_STRINGS:
                raise _too_large(name, f"more than {MAX_STRINGS} texts")

    def text(piece: str) -> None:
        if inside:
            pieces.append(piece)

    _run(archive, part, _parser(start, end, text))
    return strings


class _Rows:
    """Reads the rows of a sheet; an empty list for each row that is left out."""

    def __init__(self, name: str, strings: list[str]) -> None:
        self.name, self.strings = name, strings
        self.number = self.cells = 0
        self.ready: list[list[str]] = []
        self.row: list[str] = []
        self.column = 0
        self.kind = self.value = ""
        self.pieces: list[str] | None = None
        self.spoken = 0
        self.formula = False
        self.place = ""
        self.unstored = 0  # formulas without a result
        self.unstored_cells: list[str] = []

    def read(self, archive: zipfile.ZipFile, part: str) -> Iterator[list[str]]:
        parser = _parser(self._start, self._end, self._text)
        with archive.open(part) as stream:
            while block := stream.read(_BLOCK):
                parser.Parse(block)
                yield from self.ready
                self.ready.clear()
            parser.Parse(b"", True)
        yield from self.ready

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        local = _local(tag)
        if local == "c":
            self._start_cell(attributes)
        elif local == "f":
            self.formula = True
        elif local in ("v", "t"):
            self.pieces = None if self.spoken else []
        elif local == "row":
            self._start_row(attributes)
        elif local == "rPh":
            self.spoken += 1

    def _start_row(self, attributes: dict[str, str]) -> None:
        number = int(attributes["r"][:9]) if "r" in attributes else self.number + 1
        if number > MAX_ROWS:
            raise refuse(
                "the table is too long", file=self.name, expected=f"at most {MAX_ROWS} rows"
            )
        if number <= self.number:
            raise ValueError(f"row {number} comes after row {self.number}")
        self.ready += [[]] * (number - self.number - 1)
        self.number, self.row, self.column = number, [], 0

    def _start_cell(self, attributes: dict[str, str]) -> None:
        place = attributes.get("r")
        self.column = self.column + 1 if place is None else _column(place)
        self.kind, self.value, self.pieces = attributes.get("t", "n"), "", None
        self.formula, self.place = False, (place or f"row {self.number}")[:20]
        self.cells += 1
        if self.cells > MAX_CELLS:
            raise _too_large(self.name, f"more than {MAX_CELLS} cells")

    def _text(self, piece: str) -> None:
        if self.pieces is not None:
            self.pieces.append(piece)

    def _end(self, tag: str) -> None:
        local = _local(tag)
        if local == "c":
            if self.formula and not self.value:
                self.unstored += 1
                if len(self.unstored_cells) < MOST_NAMED:
                    self.unstored_cells.append(self.place)
            if self.value:
                self._keep(_cell(self._plain(), self.name))
        elif local in ("v", "t") and self.pieces is not None:
            self.value += "".join(self.pieces)
            self.pieces = None
        elif local == "row":
            self.ready.append(self.row)
        elif local == "rPh":
            self.spoken -= 1

    def _plain(self) -> str:
        if self.kind == "n":
            return _number(self.value.strip())
        if self.kind == "s":
            place = int(self.value[:12])
            if not 0 <= place < len(self.strings):
                raise ValueError(f"a cell refers to text {place} of {len(self.strings)}")
            return self.strings[place]
        if self.kind == "b":
            return {"1": "yes", "0": "no"}.get(self.value.strip(), "")
        return self.value

    def _keep(self, text: str) -> None:
        if not text:
            return
        if self.column > MAX_COLUMNS:
            raise _too_large(self.name, f"a value in column {self.column}")
        if self.column <= len(self.row):
            raise ValueError(f"two cells in column {self.column} of row {self.number}")
        self.row += [""] * (self.column - len(self.row) - 1) + [text]


def _column(place: str) -> int:
    letters = place.rstrip("0123456789")
    if not (letters.isascii() and letters.isalpha() and letters.isupper() and len(letters) <= 3):
        raise ValueError(f"a cell at {place[:20]}")
    return _place(letters)


@lru_cache(maxsize=1000)
def _place(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _number(text: str) -> str:
    if text.isascii() and text.isdigit() and len(text) <= 40:
        return text
    if not text:
        return ""
    value = float(text[:60])
    whole = value.is_integer() and abs(value) < 1e15
    return str(int(value)) if whole else repr(value)


def _cell(text: str, name: str) -> str:
    if len(text) > MAX_CELL:
        raise _too_large(name, f"a cell of {len(text)} characters")
    return text.strip()


def _too_large(name: str, found: str) -> Exception:
    expected = f"at most {MAX_COLUMNS} columns and cells of {MAX_CELL} characters"
    return refuse("the table is too large", file=name, found=found, expected=expected)
