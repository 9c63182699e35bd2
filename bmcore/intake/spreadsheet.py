"""The cells of one sheet of an xlsx file as CSV; runs in a child process (``child.TASKS``).

An xlsx file is a zip archive of XML. Here it is read as a stream, element by element, with limits
on everything that it could make large, and without document types, which no spreadsheet needs. A
formula counts as the value stored with it; a date is the number that is stored.
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.parsers import expat

from bmcore import zips
from bmcore.domain import refuse
from bmcore.intake.spreadsheet_parts import (
    MOST_NAMED,
    check_kind,
    check_size,
    is_on,
    local,
    parser_of,
    parts_of,
    run,
    struck_styles,
)

MAX_PARTS = 1000
MAX_ROWS = 100_000
MAX_COLUMNS = 500
MAX_CELLS = 2_000_000
MAX_STRINGS = 1_000_000
MAX_CELL = 32_767  # characters, as in Excel
_BLOCK = 1 << 16
_DAMAGE = (*zips.FAULTS, expat.ExpatError, zlib.error, IndexError)


def read_here(job: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: write the sheet ``Data``, or the only one, of ``job["path"]`` as CSV."""
    path = Path(job["path"])
    name = str(job["name"])
    try:
        with (
            zips.opened(path, MAX_PARTS) as archive,
            Path(job["out"]).open("w", encoding="utf-8") as out,
        ):
            check_size(archive, name)
            check_kind(archive, name)
            parts = parts_of(archive, name)
            writer = csv.writer(out, lineterminator="\n")
            texts = _strings(archive, parts.texts, name) if parts.texts else ([], set())
            struck = struck_styles(archive, parts.styles) if parts.styles else set()
            rows = _Rows(name, *texts, struck)
            for row in rows.read(archive, parts.sheet):
                writer.writerow(row)
    except _DAMAGE as error:
        raise refuse(
            "the spreadsheet is damaged",
            file=name,
            found=str(error)[:160] or type(error).__name__,
            expected="an xlsx file",
            hint="open it in a spreadsheet program and save it again.",
        ) from error
    told = {key: place.told() for key, place in rows.noticed.items()}
    return {"rows": rows.number, "other_sheets": parts.left, **told}


def _strings(archive: zipfile.ZipFile, part: str, name: str) -> tuple[list[str], set[int]]:
    """The table of texts, to which cells refer by number, without what is struck through; and the
    numbers of those from which something was left out for that."""
    strings: list[str] = []
    cut: set[int] = set()
    pieces: list[str] = []
    spoken = 0  # inside of how a word is spoken, which is not a part of it
    inside = struck = False

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal spoken, inside, struck
        kind = local(tag)
        if kind == "strike":
            struck = is_on(attributes)
        elif kind == "r":
            struck = False
        inside = kind == "t" and not spoken
        spoken += kind == "rPh"

    def end(tag: str) -> None:
        nonlocal spoken, inside, struck
        kind = local(tag)
        inside = False
        spoken -= kind == "rPh"
        if kind == "r":
            struck = False
        elif kind == "si":
            strings.append(_cell("".join(pieces), name))
            pieces.clear()
            if len(strings) > MAX_STRINGS:
                raise _too_large(name, f"more than {MAX_STRINGS} texts")

    def text(piece: str) -> None:
        if inside and struck:
            cut.add(len(strings))
        elif inside:
            pieces.append(piece)

    run(archive, part, parser_of(start, end, text))
    return strings, cut


class _Noticed:
    """How many places of one kind were met, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, place: str) -> None:
        self.count += 1
        if len(self.first) < MOST_NAMED:
            self.first.append(place[:20])

    def told(self) -> tuple[int, list[str]]:
        return self.count, self.first


class _Rows:
    """Reads the rows of a sheet; an empty list for each row that is left out."""

    def __init__(self, name: str, strings: list[str], cut: set[int], struck: set[int]) -> None:
        self.name, self.strings, self.cut, self.struck = name, strings, cut, struck
        self.number = self.cells = 0
        self.ready: list[list[str]] = []
        self.row: list[str] = []
        self.column = 0
        self.kind = self.value = ""
        self.pieces: list[str] | None = None
        self.spoken = 0
        self.formula = False
        self.place = self.style = ""
        self.hidden = self.crossed = False
        self.hidden_columns: set[int] = set()
        # formulas without a result, merged cells, hidden rows and columns, struck through
        kinds = ("formulas", "merged", "hidden_rows", "hidden_columns", "struck", "cut")
        self.noticed = {kind: _Noticed() for kind in kinds}

    def read(self, archive: zipfile.ZipFile, part: str) -> Iterator[list[str]]:
        parser = parser_of(self._start, self._end, self._text)
        with archive.open(part) as stream:
            while block := stream.read(_BLOCK):
                parser.Parse(block)
                yield from self.ready
                self.ready.clear()
            parser.Parse(b"", True)
        yield from self.ready

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        kind = local(tag)
        if kind == "c":
            self._start_cell(attributes)
        elif kind == "f":
            self.formula = True
        elif kind in ("v", "t"):
            self.pieces = None if self.spoken or self.crossed else []
            if self.crossed and not self.spoken:
                self.noticed["cut"].add(self.place)
        elif kind in ("r", "strike"):
            self.crossed = kind == "strike" and is_on(attributes)
        elif kind == "row":
            self._start_row(attributes)
        elif kind == "rPh":
            self.spoken += 1
        elif kind == "mergeCell":
            self.noticed["merged"].add(attributes.get("ref", ""))
        elif kind == "col" and attributes.get("hidden", "0") in ("1", "true"):
            ends = (int(attributes.get(end, "0")[:9]) for end in ("min", "max"))
            self.hidden_columns |= set(range(next(ends), min(next(ends), MAX_COLUMNS) + 1))

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
        self.hidden = attributes.get("hidden", "0") in ("1", "true")

    def _start_cell(self, attributes: dict[str, str]) -> None:
        place = attributes.get("r")
        self.column = self.column + 1 if place is None else _column(place)
        self.kind, self.value, self.pieces = attributes.get("t", "n"), "", None
        self.formula, self.place = False, (place or f"row {self.number}")[:20]
        self.style, self.crossed = attributes.get("s", ""), False
        self.cells += 1
        if self.cells > MAX_CELLS:
            raise _too_large(self.name, f"more than {MAX_CELLS} cells")

    def _text(self, piece: str) -> None:
        if self.pieces is not None:
            self.pieces.append(piece)

    def _end(self, tag: str) -> None:
        kind = local(tag)
        if kind == "c":
            if self.formula and not self.value:
                self.noticed["formulas"].add(self.place)
            if self.value:
                self._keep(_cell(self._plain(), self.name))
        elif kind in ("v", "t") and self.pieces is not None:
            self.value += "".join(self.pieces)
            self.pieces = None
        elif kind == "row":
            self.ready.append(self.row)
            if self.hidden and self.row:
                self.noticed["hidden_rows"].add(f"row {self.number}")
        elif kind == "rPh":
            self.spoken -= 1

    def _plain(self) -> str:
        if self.kind == "n":
            return _number(self.value.strip())
        if self.kind == "s":
            place = int(self.value[:12])
            if not 0 <= place < len(self.strings):
                raise ValueError(f"a cell refers to text {place} of {len(self.strings)}")
            if place in self.cut:
                self.noticed["cut"].add(self.place)
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
        if self.style.isdigit() and int(self.style[:9]) in self.struck:
            self.noticed["struck"].add(self.place)
        if self.column in self.hidden_columns:
            self.hidden_columns.discard(self.column)  # once is enough
            self.noticed["hidden_columns"].add(self.place.rstrip("0123456789"))


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
