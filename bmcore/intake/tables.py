"""Rows of text out of CSV and xlsx files, with limits on what is read."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bmcore.domain import Finding, Severity, refuse

MAX_BYTES = 20 * 2**20
MAX_UNPACKED_BYTES = 200 * 2**20
MAX_ROWS = 100_000
MAX_COLUMNS = 500
SHEET = "Data"


@dataclass(frozen=True)
class Row:
    """One row: ``number`` counted from 1 as in the file, ``cells`` one text for each heading."""

    number: int
    cells: tuple[str, ...]


def read_rows(path: Path) -> tuple[list[str], list[Row], list[Finding]]:
    """Headings, rows that are not empty, and findings. InputRefused where that is impossible."""
    if not path.is_file():
        raise refuse("the clinical file is not there", file=path.name, hint="check the path.")
    size = path.stat().st_size
    if size == 0 or size > MAX_BYTES:
        raise refuse(
            "the clinical file is empty" if size == 0 else "the clinical file is too large",
            file=path.name,
            found=f"{size} bytes",
            expected=f"1 to {MAX_BYTES} bytes",
        )
    start = path.read_bytes()[:8]
    notes: list[Finding] = []
    if start.startswith(b"PK"):
        table = _xlsx(path)
    elif start.startswith(b"\xd0\xcf\x11\xe0"):
        raise refuse(
            "this is an old or a protected Excel file",
            file=path.name,
            expected="xlsx without a password, or CSV",
            hint="open it in a spreadsheet program and save it as xlsx or CSV.",
        )
    else:
        table = _csv(path, notes)
    numbered = [(n, cells) for n, cells in enumerate(table, start=1) if any(cells)]
    if not numbered:
        raise refuse("the table is empty", file=path.name, expected="headings and rows")
    headings = list(numbered[0][1])
    while headings and not headings[-1]:
        headings.pop()
    rows = []
    for number, cells in numbered[1:]:
        if any(cells[len(headings) :]):
            raise refuse(
                f"row {number} has more cells than there are headings",
                file=path.name,
                found=f"{len(cells)} cells",
                expected=f"{len(headings)} cells",
                hint="check commas inside of values: such values need quotation marks.",
            )
        padded = (*cells[: len(headings)], *("",) * (len(headings) - len(cells)))
        rows.append(Row(number, padded))
    return headings, rows, notes


def _csv(path: Path, notes: list[Finding]) -> list[tuple[str, ...]]:
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
        if b"\0" in raw:
            raise refuse(
                "the clinical file is no text",
                file=path.name,
                found="binary data",
                expected="CSV or xlsx",
            )
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
        notes.append(
            Finding(
                Severity.INFO,
                "the file is not in UTF-8; it was read as Western European (Windows)",
                path.name,
                hint="save it as UTF-8 if letters look wrong.",
            )
        )
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    try:
        rows = []
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            rows.append(tuple(c.strip() for c in cells))
            if len(rows) > MAX_ROWS:
                raise _too_many(path)
    except csv.Error as error:
        raise refuse(
            "the CSV file is damaged",
            file=path.name,
            found=error,
            hint="check the quotation marks.",
        ) from error
    return rows


def _too_many(path: Path) -> Exception:
    return refuse("the table is too long", file=path.name, expected=f"at most {MAX_ROWS} rows")


def _xlsx(path: Path) -> list[tuple[str, ...]]:
    import openpyxl

    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise refuse(
                "the spreadsheet is too large once unpacked",
                file=path.name,
                found=f"{unpacked} bytes",
                expected=f"at most {MAX_UNPACKED_BYTES} bytes",
            )
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            sheet = _sheet(book, path)
            rows = []
            for cells in sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS):
                rows.append(tuple(_text(c) for c in cells))
                if len(rows) > MAX_ROWS:
                    raise _too_many(path)
            return rows
        finally:
            book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError, SyntaxError) as error:
        raise refuse(  # SyntaxError: what the XML parser raises
            "the spreadsheet is damaged",
            file=path.name,
            found=str(error)[:160] or type(error).__name__,
            expected="an xlsx file",
            hint="open it in a spreadsheet program and save it again.",
        ) from error


def _sheet(book, path: Path):  # type: ignore[no-untyped-def]
    if SHEET in book.sheetnames:
        return book[SHEET]
    if len(book.sheetnames) == 1:
        return book.worksheets[0]
    raise refuse(
        f"the spreadsheet has no sheet '{SHEET}'",
        file=path.name,
        found=", ".join(book.sheetnames)[:200],
        expected=f"a sheet '{SHEET}', or one sheet only",
    )


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()
