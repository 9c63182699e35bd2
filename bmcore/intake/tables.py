"""Rows of text out of CSV and xlsx files, with limits on what is read."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmcore.domain import Finding, Severity, refuse
from bmcore.intake.child import Limits, ask
from bmcore.intake.spreadsheet import MAX_CELL, MAX_COLUMNS, MAX_ROWS

MAX_BYTES = 20 * 2**20
MAX_CELLS = 5_000_000
MAX_HEADING = 200  # characters
_HEAD = 200_000  # characters in which the first line must begin
_SAMPLE = 30  # lines that decide what parts the cells
_TITLES = 6  # rows in which headings are looked for
_START = re.compile(r"[^\r\n]+")
_SEP = re.compile(r"\ufeff?\"?sep *= *([,;\t|:^~])\"?[,;\t| ]*(?:\r\n|\r|\n)", re.IGNORECASE)
_OTHER_FILES = {  # how they begin, and what they are
    b"$FL2": "an SPSS file",
    b"$FL3": "an SPSS file",
    b"<stata_dta>": "a Stata file",
    b"{\\rtf": "a text document (RTF)",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a compressed file",
    b"<html": "a web page",
    b"<!DOCTYPE": "a web page",
    b"<?xml": "XML",
}


@dataclass(frozen=True)
class Row:
    """One row: ``number`` counted from 1 as in the file, ``cells`` one text for each heading."""

    number: int
    cells: tuple[str, ...]


def read_rows(
    path: Path, known: Callable[[str], bool] | None = None
) -> tuple[list[str], list[Row], list[Finding]]:
    """Headings, rows that are not empty, and findings. InputRefused where that is impossible.

    known: tells a heading that is understood; where none of the first row is and some of a later
    one are, the refusal says where the headings seem to stand.
    """
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
        table = _xlsx(path, notes)
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
    _check_first_row(numbered, known, path)
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
                hint="check commas inside values: such values need quotation marks.",
            )
        padded = (*cells[: len(headings)], *("",) * (len(headings) - len(cells)))
        rows.append(Row(number, padded))
    return headings, rows, notes


def _check_first_row(
    numbered: list[tuple[int, tuple[str, ...]]], known: Callable[[str], bool] | None, path: Path
) -> None:
    """Refuse a table whose headings stand below a title."""
    if known is None or _understood(numbered[0][1], known) > 1:
        return
    for number, cells in numbered[1:_TITLES]:
        if _understood(cells, known) > 1:
            raise refuse(
                f"the headings seem to be in row {number}",
                file=path.name,
                found=f"row {numbered[0][0]}: " + ", ".join(c for c in numbered[0][1] if c)[:120],
                expected="the headings in the first row, one in each cell",
                hint="remove the rows above them, and merged cells.",
            )


def _understood(cells: tuple[str, ...], known: Callable[[str], bool]) -> int:
    """How many cells are known headings; what is longer than any heading is not looked at."""
    return sum(known(cell) for cell in cells if len(cell) <= MAX_HEADING)


def _csv(path: Path, notes: list[Finding]) -> list[tuple[str, ...]]:
    text = _text(path, notes)
    declared = _SEP.match(text)
    if declared:  # Excel's own line; it stays as an empty row, so that rows count as in the file
        return _split("\n" + text[declared.end() :], declared[1], path)
    return _split(text, _delimiter(text), path)


def _text(path: Path, notes: list[Finding]) -> str:
    raw = path.read_bytes()
    for start, kind in _OTHER_FILES.items():
        if raw.startswith(start):
            raise _no_text(path, kind, "open it in the program that made it and save it as CSV.")
    if raw.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise _no_text(path, "text in UTF-32", "save it as CSV in UTF-8.")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return raw.decode("utf-16")
        except UnicodeDecodeError as error:
            hint = "it seems cut off; save it again as CSV in UTF-8."
            raise _no_text(path, "text in UTF-16 that is damaged", hint) from error
    if b"\0" in raw:
        wide = min(raw[::2].count(0), raw[1::2].count(0)) == 0 and raw.count(0) > len(raw) // 3
        raise _no_text(
            path,
            "text in UTF-16 without its mark" if wide else "binary data",
            "save it as CSV in UTF-8, or as xlsx.",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append(
            Finding(
                Severity.INFO,
                "the file is not in UTF-8; it was read as Western European (Windows)",
                path.name,
                hint="save it as UTF-8 if letters look wrong.",
            )
        )
        return raw.decode("cp1252", errors="replace")


def _no_text(path: Path, found: str, hint: str) -> Exception:
    return refuse(
        "the clinical file is not text",
        file=path.name,
        found=found,
        expected="CSV or xlsx",
        hint=hint,
    )


def _delimiter(text: str) -> str:
    """The one of comma, semicolon, tab and | that parts the first rows into cells most evenly."""
    lines = [line for line in _START.findall(text[:_HEAD]) if line.strip()][:_SAMPLE]

    def evenness(delimiter: str) -> tuple[int, int, int]:
        try:
            counts = [len(c) for c in csv.reader(lines, delimiter=delimiter)]
        except csv.Error:
            return 0, 0, 0
        first = counts[0] if counts else 0
        return int(first > 1), sum(n == first for n in counts if first > 1), first

    return max(",;\t|", key=evenness)


def _split(text: str, delimiter: str, path: Path) -> list[tuple[str, ...]]:
    """The cells of a CSV text, within the limits."""
    if text.count(delimiter) > MAX_CELLS:
        raise _too_many(path)
    try:
        rows = []
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            rows.append(tuple(_shown(c.strip()) for c in cells))
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


def _shown(cell: str) -> str:
    """A cell without the marks by which Excel keeps digits as text: ="007" and '007."""
    if cell[:1] not in ("=", "'"):
        return cell
    kept = re.fullmatch(r"=\s*\"([^\"]*)\"|'(\d[^']*)", cell)
    return (kept[1] or kept[2] or "").strip() if kept else cell


def _too_many(path: Path) -> Exception:
    return refuse(
        "the table is too long",
        file=path.name,
        expected=f"at most {MAX_ROWS} rows, {MAX_COLUMNS} columns and {MAX_CELLS} cells",
    )


def _xlsx(path: Path, notes: list[Finding]) -> list[tuple[str, ...]]:
    """The sheet as CSV, made by a child process."""
    with tempfile.TemporaryDirectory(prefix="bmcore-") as folder:
        out = Path(folder) / "sheet.csv"
        job = {"path": str(path.absolute()), "name": path.name, "out": str(out)}
        told = ask("table", job, path.name, Limits.for_file(path, 2 * 2**20))
        notes += _noticed(told, path)
        return _split(out.read_text(encoding="utf-8"), ",", path)


_NOTICED = {  # what the child met, one and several: in words, and what to try
    "formulas": (
        ("formula has no stored result", "formulas have no stored result"),
        "such cells count as empty",
        "open the file in a spreadsheet program, let it calculate, and save it again.",
    ),
    "merged": (
        ("place is merged of several cells", "places are merged of several cells"),
        "only the first cell holds the value, the others count as empty",
        "split them, and write the value into each cell.",
    ),
    "hidden_rows": (
        ("row is hidden", "rows are hidden"),
        "read like the others",
        "show what is hidden, and remove what does not belong to the table.",
    ),
    "hidden_columns": (
        ("column is hidden", "columns are hidden"),
        "read like the others",
        "show what is hidden, and remove what does not belong to the table.",
    ),
    "struck": (
        ("cell is struck through", "cells are struck through"),
        "read like the others",
        "remove what no longer holds.",
    ),
    "cut": (
        ("cell holds text that is struck through", "cells hold text that is struck through"),
        "that text was left out",
        "remove what no longer holds.",
    ),
}  # fmt: skip


def _noticed(told: Mapping[str, Any], path: Path) -> list[Finding]:
    """What a sheet shows to the eye and its cells do not."""
    found = []
    for kind, (words, meaning, hint) in _NOTICED.items():
        count, places = told.get(kind, (0, ()))
        if not count:
            continue
        what = f"{count} {words[count > 1]}; {meaning}"
        named = ", ".join(map(str, places)) + (" ..." if count > len(places) else "")
        cells = f"cells {named}" if kind in ("formulas", "struck", "cut") else named
        found.append(Finding(Severity.WARNING, what, path.name, cells, hint=hint))
    if told.get("other_sheets"):
        what = "hidden sheets were not read"
        sheets = ", ".join(map(str, told["other_sheets"]))[:200]
        found.append(Finding(Severity.INFO, what, path.name, sheets))
    return found
