"""What readers have drawn as one archive, and their blinded choices as a table.

While a study runs both hold their heads only.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmcore.analysis import drawings, preferences
from bmcore.plain import safe_cell
from bmcore.report.render.data_files import write_table

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier

_DATE = (1980, 1, 1, 0, 0, 0)  # the same dossier gives the same bytes


def write_archive(dossier: Dossier, path: Path) -> None:
    """``masks.csv``, ``marks.csv``, their codebook, and the corrected masks as NIfTI."""
    found = dossier.drawings
    book = [
        (file, column, *words)
        for file, columns in drawings.CODEBOOK.items()
        for column, words in columns.items()
    ]
    head = ("file", "column", "type", "unit or values", "what it is")
    with zipfile.ZipFile(path, "w") as archive:
        _put(archive, "codebook.csv", _table(head, book))
        for name, rows in (("masks.csv", found.masks), ("marks.csv", found.marks)):
            columns = tuple(drawings.CODEBOOK[name])
            _put(archive, name, _table(columns, _cells(columns, rows)))
        for name, sha256 in found.files.items():
            assert dossier.read_mask is not None
            _put(archive, f"masks/{name}", dossier.read_mask(sha256))


def write_preferences(dossier: Dossier, path: Path) -> None:
    """One row a blinded comparison; UTF-8, missing values are empty."""
    rows: Iterable[Mapping[str, Any]] = ()
    record = dossier.record
    if record is not None and dossier.running is None and not record.comparisons_open:
        rows = preferences.rows(record)
    columns = tuple(preferences.CODEBOOK)
    write_table(path, columns, _cells(columns, rows))


def write_preferences_codebook(path: Path) -> None:
    """What each column of the comparisons is."""
    lines = [(name, *words) for name, words in preferences.CODEBOOK.items()]
    write_table(path, ("column", "type", "unit or values", "what it is"), lines)


def _cells(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    return [[row[c] for c in columns] for row in rows]


def _table(head: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows([[safe_cell(value) for value in row] for row in rows])
    return text.getvalue().encode("utf-8")


def _put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    kind = zipfile.ZIP_STORED if name.endswith(".gz") else zipfile.ZIP_DEFLATED
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = 0o600 << 16
    archive.writestr(entry, content, compress_type=kind)
