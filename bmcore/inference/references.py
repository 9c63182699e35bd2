"""The reference primaries of the cases: what an answer counts as right against.

Those that were brought on the page lie in ``home/references.json``, each with where it comes from:
the file as its user named it and its SHA-256, the column, who kept it and when. What is replaced
stays there as history.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bmcore import disk
from bmcore.domain import Finding, Primary, refuse
from bmcore.inference import demo
from bmcore.intake.clinical_columns import ColumnReading
from bmcore.plain import read_json

TRUTH_FILES = ("truth.csv", "truth.xlsx")
STORED = "references.json"
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Preview:
    """What a table says of the primaries, before it is kept.

    rows: (case, its primary as read or None, what becomes of it) in the table's order; readings:
    how each column was read; file: as the user named it; digest: SHA-256 of its content.
    """

    rows: tuple[tuple[str, Primary | None, str], ...]
    readings: tuple[ColumnReading, ...]
    findings: tuple[Finding, ...]
    file: str
    digest: str

    @property
    def usable(self) -> dict[str, Primary]:
        """The primaries of cases that are here."""
        return {c: p for c, p, what in self.rows if p is not None and what in _KEPT}


NEW, SAME, CHANGES = "new", "as before", "replaces"
_KEPT = (NEW, SAME, CHANGES)


def truths(home: Path, table: Path | None = None) -> dict[str, Primary]:
    """The known primaries: of the demo cases, of ``home/truth.csv`` or ``truth.xlsx``, those kept
    on the page, and of ``table`` (each laid out like a clinical table); the later win. Refused
    where one is unreadable.
    """
    from bmcore.intake.clinical import read_clinical

    known = demo.truths(home)
    given = [home / name for name in TRUTH_FILES if (home / name).is_file()]
    for path in given:
        known |= _given(read_clinical(path).primaries)
    known |= {case: Primary(one["primary"]) for case, one in _stored(home)["cases"].items()}
    if table is not None:
        known |= _given(read_clinical(table).primaries)
    return known


def _given(primaries: Mapping[str, Primary | None]) -> dict[str, Primary]:
    return {case: primary for case, primary in primaries.items() if primary is not None}


def preview(path: Path, name: str, home: Path, cases: Collection[str]) -> Preview:
    """What a table would add. name: as its user named it; cases: the ids that are here.

    Refused where the file cannot be read, or no column holds primaries.
    """
    from bmcore.intake.clinical import read_clinical

    table = read_clinical(path)
    if not any(r.field == "primary" for r in table.readings):
        headings = ", ".join(r.heading for r in table.readings) or "none"
        raise refuse(
            "no column of this table holds the primary",
            file=name,
            found=f"columns {headings}",
            expected="a column such as Primary, and one with the id of the case",
        )
    known = truths(home)
    rows = []
    for case, primary in table.primaries.items():
        if case not in cases:
            what = "no case of this id is here"
        elif primary is None:
            what = "not given, or none of the six"
        elif case not in known:
            what = NEW
        else:
            what = SAME if known[case] == primary else CHANGES
        rows.append((case, primary, what))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Preview(tuple(rows), table.readings, table.findings, name, digest)


def keep(home: Path, found: Preview, by: str) -> int:
    """Keep the primaries of cases that are here, with where they come from; how many are new or
    replace another. The file is replaced whole."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    column = next(r.heading for r in found.readings if r.field == "primary")
    stored, changed = _stored(home), 0
    for case, primary in found.usable.items():
        before = stored["cases"].get(case)
        if before is not None and before["primary"] == str(primary):
            continue
        if before is not None:
            stored["replaced"].append({"case": case, **before})
        stored["cases"][case] = {
            "primary": str(primary),
            "file": found.file,
            "sha256": found.digest,
            "column": column,
            "by": by,
            "at": now,
        }
        changed += 1
    if changed:
        text = json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False)
        disk.write(home / STORED, text)
    return changed


def rename(home: Path, case_id: str, new: str) -> None:
    """Let the kept primary of a case follow it to another name."""
    stored = _stored(home)
    if case_id in stored["cases"]:
        stored["cases"][new] = stored["cases"].pop(case_id)
        text = json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False)
        disk.write(home / STORED, text)


def provenance(home: Path) -> list[dict[str, Any]]:
    """Every primary kept on the page, with its case and where it comes from."""
    return [{"case": case, **one} for case, one in sorted(_stored(home)["cases"].items())]


def _stored(home: Path) -> dict[str, Any]:
    kept = disk.content_of(home / STORED)
    if kept is None:
        return {"cases": {}, "replaced": []}
    found: dict[str, Any] = read_json(kept, _MOST_BYTES)
    return found
