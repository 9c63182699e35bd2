"""A reader's own marks on one case as a table to take away."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from bmcore.plain import safe_cell
from bmcore.review.marks import Mark

COLUMNS = (
    *("case", "reader", "number", "kind", "lesion", "plane", "value", "unit", "second_value"),
    *("points_ras_mm", "made"),
)


def marks_csv(case_id: str, reader: str, marks: Sequence[Mark]) -> str:
    """CSV with a row a mark; every cell is safe for a spreadsheet.

    value: mm of a length and of the longest diameter, degrees of an angle, mm² of an area ("mm2").
    second_value: of two diameters the one across. points_ras_mm: "(x y z) (x y z)", world
    coordinates of the file (RAS). made: unaided or aided.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, mark in enumerate(marks, start=1):
        found = mark.measures
        points = " ".join("(" + " ".join(f"{v:.2f}" for v in p) + ")" for p in mark.points_mm)
        row = (
            *(case_id, reader, number, mark.kind, mark.lesion, mark.plane),
            *((round(found[0][0], 2), found[0][1]) if found else (None, None)),
            round(found[1][0], 2) if len(found) > 1 else None,
            points,
            mark.phase,
        )
        writer.writerow([safe_cell(value) for value in row])
    return out.getvalue()
