"""Rows of text out of CSV and xlsx files, with limits on what is read."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bmcore.domain import Finding, Severity, refuse
from bmcore.intake.child import Limits, ask
from bmcore.intake.spreadsheet import MAX_CELL, MAX_COLUMNS, MAX_ROWS

MAX_BYTES = 20 * 2**20
MAX_CELLS = 5_000_000
MAX_HEADING = 200  # characters
_HEAD = 200_000  # characters in which the first line must begin
_START = re.compile(r"[^\r\n]+")


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
    long = next((h for h in headings if len(h) > MAX_HEADING), None)
    if long is not None:
        raise refuse(
            "a heading is too long",
            file=path.name,
            found=f"{long[:40]}… with {len(long)} characters",
            expected=f"at most {MAX_HEADING} characters",
        )
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
    first = next((line for line in _START.findall(text[:_HEAD]) if line.strip()), "")
    return _split(text, max(",;\t", key=first.count), path)


def _split(text: str, delimiter: str, path: Path) -> list[tuple[str, ...]]:
    """The cells of a CSV text, within the limits."""
    if text.count(delimiter) > MAX_CELLS:
        raise _too_many(path)
    try:
        rows = []
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            rows.append(tuple(c.strip() for c in cells))
            if len(rows) > MAX_ROWS or len(cells) > MAX_COLUMNS:
                raise _too_many(path)
            if max(map(len, cells), default=0) > MAX_CELL:
                raise refuse(
                    f"row {len(rows)} has a cell that is too long",
                    file=path.name,
                    expected=f"at most {MAX_CELL} characters",
                    hint="check the quotation marks.",
                )
    except csv.Error as error:
        raise refuse(
            "the CSV file is damaged",
            file=path.name,
            found=error,
            hint="check the quotation marks.",
        ) from error
    return rows


def _too_many(path: Path) -> Exception:
    return refuse(
        "the table is too long",
        file=path.name,
        expected=f"at most {MAX_ROWS} rows, {MAX_COLUMNS} columns and {MAX_CELLS} cells",
    )


def _xlsx(path: Path) -> list[tuple[str, ...]]:
    """The sheet as CSV, made by a child process."""
    with tempfile.TemporaryDirectory(prefix="bmcore-") as folder:
        out = Path(folder) / "sheet.csv"
        job = {"path": str(path.absolute()), "name": path.name, "out": str(out)}
        ask("table", job, path.name, Limits.for_file(path, 2 * 2**20))
        return _split(out.read_text(encoding="utf-8"), ",", path)
