"""A folder that a table describes: ``cases.csv`` with a row a case and a column a sequence.

Columns: ``case`` (its id), any of ``t1n``, ``t1c``, ``t2w``, ``t2f`` and ``seg`` (paths, from the
table's folder on), and ``patient`` where several cases are of one person. An empty cell is a
sequence that is not there.
"""

from __future__ import annotations

from pathlib import Path

from bmcore.domain import Finding, InputRefused, Severity
from bmcore.intake.layouts.case import KINDS, LayoutCase
from bmcore.intake.tables import read_rows

NAME = "cases.csv"


def find(folder: Path) -> list[LayoutCase]:
    """The cases of the table; none without one. InputRefused with every row that is wrong."""
    table = folder / NAME
    if not table.is_file():
        return []
    headings, rows, _ = read_rows(table, lambda heading: heading.strip().lower() in ("case", "t1c"))
    columns = {heading.strip().lower(): place for place, heading in enumerate(headings)}
    problems: list[Finding] = []
    if "case" not in columns or "t1c" not in columns:
        what = "the table of cases needs the columns case and t1c"
        raise InputRefused(_no(what, ", ".join(headings)))
    found: dict[str, LayoutCase] = {}
    for row in rows:
        cells = {name: str(row.cells[place] or "").strip() for name, place in columns.items()}
        where = f"row {row.number}"
        if not cells["case"] or cells["case"] in found:
            problems.append(_no("each row needs a case id of its own", cells["case"] or where))
            continue
        files = {kind: folder / cells[kind] for kind in KINDS if cells.get(kind)}
        problems += [_no(f"the file of {kind} is not there", f"{where}: {cells[kind]}")
                     for kind, path in files.items() if not _inside(path, folder)]  # fmt: skip
        patient = cells.get("patient") or cells["case"]
        found[cells["case"]] = LayoutCase(cells["case"], files, patient)
    if problems:
        raise InputRefused(*problems)
    return list(found.values())


def _inside(path: Path, folder: Path) -> bool:
    """A file below ``folder``: a table that came with data may not point elsewhere."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _no(what: str, found: str) -> Finding:
    return Finding(Severity.REFUSED, what, NAME, found, hint=f"fix {NAME}.")
