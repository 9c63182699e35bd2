"""What the table says beside the clinical values: the primary as it was typed, and the person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bmcore.intake.datasets import YaleDataset

# Headings of a column that says whose scan a row is, where another column names the case.
PERSON_HEADINGS = (
    "person", "person_id", "patient", "patient_id", "patient_number", "subject", "subject_id",
)  # fmt: skip


@dataclass(frozen=True)
class TableRow:
    """primary, person: the cells as they were typed, "" where empty or without such a column."""

    primary: str
    person: str


def table_rows(dataset: YaleDataset) -> dict[str, TableRow]:
    """Case id -> row. InputRefused where the table cannot be read; {} where there is none."""
    from bmcore.intake.clinical_columns import match_columns
    from bmcore.intake.clinical_headings import YALE_HEADINGS, field_of, plain_heading
    from bmcore.intake.clinical_rows import exact_id, yale_case
    from bmcore.intake.clinical_values import MISSING
    from bmcore.intake.tables import read_rows

    path: Path | None = dataset.spreadsheet
    if path is None:
        return {}
    headings, rows, _ = read_rows(path, lambda heading: field_of(heading) is not None)
    columns, _ = match_columns(headings, rows, path)
    if "case_id" not in columns:
        return {}
    own = columns["case_id"]
    yale = plain_heading(headings[own]) in YALE_HEADINGS
    person = next(
        (n for n, h in enumerate(headings) if n != own and plain_heading(h) in PERSON_HEADINGS),
        None,
    )
    found = {}
    for row in rows:
        text = yale_case(row.cells[own]) if yale else row.cells[own]

        def cell(place: int | None, cells: tuple[str, ...] = row.cells) -> str:
            value = "" if place is None else cells[place].strip()
            return "" if value.lower() in MISSING else value

        found[exact_id(text)] = TableRow(cell(columns.get("primary")), cell(person))
    return found
