"""What an xlsx archive holds: its sheets, where their parts lie, which styles strike through."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from xml.parsers import expat

from bmcore.domain import refuse

MAX_UNPACKED_BYTES = 200 * 2**20
MAX_SHEETS = 1000
MOST_NAMED = 10  # places in a message
SHEET = "Data"
_BLOCK = 1 << 16

Start = Callable[[str, dict[str, str]], None]


def check_kind(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse what is an archive and no xlsx file, by its name."""
    parts = set(archive.namelist())
    kinds = {
        "content.xml": "an OpenDocument file",
        "xl/workbook.bin": "a binary Excel file (xlsb)",
        "word/document.xml": "a Word document",
        "Index/Document.iwa": "a Numbers file",
    }
    found = next((kind for part, kind in kinds.items() if part in parts), None)
    if found is None and "_rels/.rels" in parts:
        return
    raise refuse(
        "this is no xlsx file" if found else "the spreadsheet is damaged, or no spreadsheet",
        file=name,
        found=found or "an archive without a workbook: " + ", ".join(sorted(parts)[:5])[:120],
        expected="an xlsx file, or CSV",
        hint="save it as xlsx or CSV." if found else "unpack it and choose the table in it.",
    )


def check_size(archive: zipfile.ZipFile, name: str) -> None:
    unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise refuse(
            "the spreadsheet is too large once unpacked",
            file=name,
            found=f"{unpacked} bytes",
            expected=f"at most {MAX_UNPACKED_BYTES} bytes",
        )


@dataclass(frozen=True)
class Parts:
    """Names in the archive: of the sheet to read, of the table of texts, of the styles. left:
    titles of sheets that are hidden and were not read."""

    sheet: str
    texts: str | None
    styles: str | None
    left: tuple[str, ...]


def parts_of(archive: zipfile.ZipFile, name: str) -> Parts:
    book = next((p for k, p, _ in _relations(archive, "") if k == "officeDocument"), None)
    if book is None:
        raise ValueError("no workbook")
    relations = list(_relations(archive, book))
    sheets: dict[str, str] = {}
    hidden: set[str] = set()

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "sheet" and len(sheets) < MAX_SHEETS:
            sheets[attributes["name"]] = attributes["id"]
            if attributes.get("state", "visible") != "visible":
                hidden.add(attributes["name"])

    _parse(archive, book, start)
    seen = [title for title in sheets if title not in hidden] or list(sheets)
    called = [title for title in seen if title.strip().lower() == SHEET.lower()]
    chosen = called if called else seen
    if len(chosen) != 1:
        raise refuse(
            f"the spreadsheet has no sheet '{SHEET}'",
            file=name,
            found=", ".join(sheets)[:200],
            expected=f"a sheet '{SHEET}', or one sheet only",
            hint=f"call the sheet with the table '{SHEET}', or save that sheet alone.",
        )
    targets = {key: part for _, part, key in relations}

    def first(kind: str) -> str | None:
        there = (part for own, part, _ in relations if own == kind)
        return next((part for part in there if part in archive.namelist()), None)

    left = tuple(sorted(hidden - set(chosen))[:MOST_NAMED]) if not called else ()
    sheet = targets[sheets[chosen[0]]]
    return Parts(sheet, first("sharedStrings"), first("styles"), left)


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
        start(local(tag), {local(key): value for key, value in attributes.items()})

    run(archive, part, parser_of(opened, None, None))


def parser_of(start: Any, end: Any, text: Any) -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _no_document_type
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    return parser


def _no_document_type(*_: object) -> None:
    raise ValueError("it declares a document type")


def run(archive: zipfile.ZipFile, part: str, parser: expat.XMLParserType) -> None:
    with archive.open(part) as stream:
        while block := stream.read(_BLOCK):
            parser.Parse(block)
        parser.Parse(b"", True)


def local(name: str) -> str:
    return name.rsplit(":", 1)[-1] if ":" in name else name


def is_on(attributes: Mapping[str, str]) -> bool:
    """Whether an element that is there counts: ``<strike/>``, but not ``<strike val="0"/>``."""
    value = next((v for key, v in attributes.items() if local(key) == "val"), "1")
    return value not in ("0", "false")


def struck_styles(archive: zipfile.ZipFile, part: str) -> set[int]:
    """The numbers of the cell styles whose font is struck through."""
    fonts: list[bool] = []
    styles: list[int] = []
    above: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        name = local(tag)
        if name == "font" and above[-1:] == ["fonts"]:
            fonts.append(False)
        elif name == "strike" and above[-2:] == ["fonts", "font"]:
            fonts[-1] = is_on(attributes)
        elif name == "xf" and above[-1:] == ["cellXfs"]:
            styles.append(int(attributes.get("fontId", "0")[:9]))
        above.append(name)

    run(archive, part, parser_of(start, lambda _: above.pop(), None))
    return {n for n, font in enumerate(styles) if font < len(fonts) and fonts[font]}
