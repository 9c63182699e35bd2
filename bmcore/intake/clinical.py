"""Clinical records from a CSV file or from the spreadsheet of Pretreat-MetsToBrain-Masks.

Columns are matched by aliases, whatever their order. An empty cell or a word such as "NA" is a
missing value, never 0. What was not understood is reported, not guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bmcore.domain import ClinicalRecord, Finding, InputRefused, Primary, Severity, refuse
from bmcore.intake.clinical_columns import (
    Column,
    ColumnReading,
    match_columns,
    understand,
    without_heading,
)
from bmcore.intake.clinical_headings import FIELD_WORDS, field_of, may_be_an_id
from bmcore.intake.clinical_rows import RowReader, exact_id
from bmcore.intake.clinical_values import MISSING, Word
from bmcore.intake.tables import Row, read_rows

__all__ = ["FIELD_WORDS", "ClinicalTable", "ColumnReading", "read_clinical"]

MAX_TOLD = 200  # problems; what nobody reads to the end is only counted


@dataclass(frozen=True)
class ClinicalTable:
    """What a clinical file says.

    records: case id as in the file -> record (ids of Pretreat-MetsToBrain-Masks by the name of the
    case); a row of a file without a column of case ids has the key ``row-N``, with N counted as in
    the file. primaries: case id -> Primary, or None where it is missing or none of the six.
    recognised: heading -> what it was taken for, in words. unrecognised: headings that were not
    understood. readings: each column and how it was read. findings: everything noticed, each with
    row and column in words. perhaps_ids: columns of a file without a column of case ids that may
    hold one, with their first value.
    """

    records: Mapping[str, ClinicalRecord] = field(default_factory=dict)
    primaries: Mapping[str, Primary | None] = field(default_factory=dict)
    recognised: Mapping[str, str] = field(default_factory=dict)
    unrecognised: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    readings: tuple[ColumnReading, ...] = ()
    names_cases: bool = True
    perhaps_ids: Mapping[str, str] = field(default_factory=dict)

    def record_for(self, case_id: str) -> ClinicalRecord | None:
        """The record whose id is exactly ``case_id``; the only record where the file names no
        case; by number for cases of Pretreat-MetsToBrain-Masks; else None. InputRefused where the
        only record may be that of another case, by a column that is not understood."""
        exact = exact_id(case_id)
        if exact in self.records:
            return self.records[exact]
        number = _YALE_ID.fullmatch(exact)
        if number and str(int(number[1])) in self.records:
            return self.records[str(int(number[1]))]
        if len(self.records) != 1 or self.names_cases:
            return None
        if self.perhaps_ids and exact not in self.perhaps_ids.values():
            raise refuse(
                "the clinical table does not say whose row it is, and a column that is not "
                "understood may say it",
                found=", ".join(f"'{h}' with {v[:40]}" for h, v in self.perhaps_ids.items())[:200],
                expected="a column case_id, or one row without such columns",
                hint="head the column with the id case_id, or take these columns out.",
            )
        return next(iter(self.records.values()))

    def like(self, case_id: str) -> tuple[str, ...]:
        """Ids that could be meant by ``case_id``, for a message; never used as a key."""
        wanted = _loose(case_id)
        near = [key for key in self.records if _loose(key) == wanted]
        return tuple(near or list(self.records)[:3])

    @property
    def asked(self) -> tuple[ColumnReading, ...]:
        """Columns with codes whose meaning is not said."""
        return tuple(reading for reading in self.readings if reading.codes)

    def as_findings(self, case_id: str) -> tuple[Finding, ...]:
        """How the columns were read, to be kept with the case; the headings are not."""
        told = {r.field: r.how for r in self.readings if r.used and r.field != "case_id"}
        return tuple(
            Finding(Severity.INFO, f"{FIELD_WORDS[name]} was read from a table: {how}")
            for name, how in told.items()
            if name in FIELD_WORDS and name != "not used"
        )


def read_clinical(
    path: str | Path, legends: Mapping[str, Mapping[str, Word]] | None = None
) -> ClinicalTable:
    """Read a clinical table: CSV (comma, semicolon, tab or |; UTF-8) or xlsx (sheet ``Data``).

    legends: field -> code -> value, as the user says; they win over the heading's. A value that
    cannot be read is refused (InputRefused) where the file holds one record; in a table it becomes
    missing and is listed as a warning. InputRefused also where the file cannot be read, no column
    is understood, or one case has two different records.
    """
    path = Path(path)
    headings, rows, notes = read_rows(path, lambda heading: field_of(heading) is not None)
    columns, findings = match_columns(headings, rows, path)
    findings = [*notes, *_without_ids(columns, rows, path), *findings]
    findings += without_heading(headings, rows, path)
    understood = {
        name: understand(name, place, headings, rows, path, legends or {})
        for name, place in columns.items()
    }
    for column in understood.values():
        findings += column.findings
    columns = {n: c for n, c in columns.items() if understood[n].usable}
    bad: list[Finding] = []
    more = 0
    records: dict[str, ClinicalRecord] = {}
    primaries: dict[str, Primary | None] = {}
    where: dict[str, int] = {}
    for row in rows:
        reader = RowReader(row, headings, columns, understood, path.name)
        key = reader.key()
        record, primary = reader.record(), reader.primary()
        bad += reader.problems[: MAX_TOLD - len(bad)]
        more += len(reader.problems)
        if key is None:
            continue
        if key in records and (records[key], primaries[key]) != (record, primary):
            raise refuse(
                f"case {key} is in the table twice with different values",
                file=path.name,
                found=f"rows {where[key]} and {row.number}",
                expected="one row for each case",
                hint="remove one of the two rows.",
            )
        records[key], primaries[key], where[key] = record, primary, row.number
    if not records and not bad:
        raise refuse("the table has headings but no rows", file=path.name, expected="a record")
    refused = [f for f in bad if f.severity is Severity.REFUSED]
    if len(rows) == 1 and refused:
        raise InputRefused(*refused)
    findings += [_as_warning(f) for f in bad]
    if more > len(bad):
        what = f"{more - len(bad)} more cells of this table are not understood"
        findings.append(Finding(Severity.WARNING, what, path.name, hint="fix those above first."))
    taken = {headings[c]: FIELD_WORDS[f] for f, c in columns.items()}
    taken |= {h: FIELD_WORDS["not used"] for h in headings if field_of(h) == "not used"}
    unknown = tuple(h for h in headings if h and field_of(h) is None)
    readings = tuple(
        understood[name].reading(headings[place]) for name, place in sorted_by_place(understood)
    )
    named = "case_id" in columns
    perhaps = {} if named or len(records) > 1 else dict(_perhaps_ids(headings, rows))
    return ClinicalTable(
        records, primaries, taken, unknown, tuple(findings), readings, named, perhaps
    )


def _without_ids(columns: Mapping[str, int], rows: list[Row], path: Path) -> list[Finding]:
    """A finding where several rows name no case, so that none can be joined to its images."""
    if "case_id" in columns or len(rows) < 2:
        return []
    what = "no column of case ids was recognised, so no row can be joined to its case"
    hint = "head the column with the ids case_id."
    return [Finding(Severity.WARNING, what, path.name, expected="a column case_id", hint=hint)]


def _perhaps_ids(headings: list[str], rows: list[Row]) -> Iterator[tuple[str, str]]:
    """Columns that are not understood and may hold an id: by their heading or by their value."""
    for place, heading in enumerate(headings):
        value = next((r.cells[place] for r in rows if r.cells[place].lower() not in MISSING), "")
        if value and field_of(heading) is None and may_be_an_id(heading, value):
            yield heading or "(no heading)", exact_id(value)


def sorted_by_place(understood: Mapping[str, Column]) -> list[tuple[str, int]]:
    """Fields and their columns in the order of the file."""
    return sorted(((n, c.place) for n, c in understood.items()), key=lambda pair: pair[1])


_YALE_ID = re.compile(r"BraTS-MET-(\d{5})-000")


def _loose(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(c for c in plain if c.isalnum() and not unicodedata.combining(c))
    return kept.lstrip("0") or "0"


def _as_warning(finding: Finding) -> Finding:
    if finding.severity is not Severity.REFUSED:
        return finding
    what = finding.what + ("; it counts as missing" if finding.expected else "")
    return Finding(
        Severity.WARNING, what, finding.file, finding.found, finding.expected, finding.hint
    )
