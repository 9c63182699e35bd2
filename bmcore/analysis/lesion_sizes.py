"""Lesions found and false marks by size and phase, with their differences, mean of the readers."""

from __future__ import annotations

import math
from itertools import combinations

from bmcore.analysis.endpoints import as_readings
from bmcore.analysis.readings import LesionMarks, StudyData
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_OF_A_KIND,
    TOO_FEW,
    Column,
    Line,
    ResultTable,
    phase_words,
)
from bmcore.stats.endpoint import Finding, compute
from bmcore.stats.endpoint_choice import Endpoint
from bmcore.stats.estimate import Estimate, undefined
from bmcore.stats.lesion_tables import by_size
from bmcore.stats.readings import Reading


def size_tables(data: StudyData, marks: LesionMarks) -> list[ResultTable]:
    """Sensitivity by longest diameter, and false marks, of each two phases with marks."""
    rows = [r for r in as_readings(data, marks) if (r.arm, r.reader, r.case) in marks.hits]
    arms = [a for a in data.arms if any(r.arm == a for r in rows)]
    kind = "random" if len({r.reader for r in rows}) > 1 else "fixed"
    tables = []
    for pair in combinations(arms, 2):
        lines = [
            Line(
                (size_words(row.low_mm, row.high_mm), str(row.lesions)),
                tuple(
                    _enough(e, row.lesions)
                    for e in (*row.sensitivity.arms, row.sensitivity.difference)
                ),
                row.sensitivity.p,
            )
            for row in by_size(rows, pair, readers=kind)
            if row.lesions
        ]
        tables.append(
            ResultTable(
                f"by_size_{pair[0]}_{pair[1]}",
                "Lesions found by longest diameter, mean of the readers",
                ("Diameter", "Lesions"),
                (*(Column(ARM_NAMES[a], "share") for a in pair), Column("Difference", "points")),
                tuple(lines),
                f"{phase_words(*pair)}. A case without a mark counts as all missed.",
                "p",
            )
        )
        tables.append(_false(rows, pair, kind))
    return tables


def _false(rows: list[Reading], pair: tuple[str, str], kind: str) -> ResultTable:
    found = compute(Endpoint("false lesions", pair, readers=kind), rows)
    n = len({r.case for r in rows})
    cells = _cells(found, n)
    return ResultTable(
        f"false_{pair[0]}_{pair[1]}",
        "False marks per case, mean of the readers",
        ("",),
        (*(Column(ARM_NAMES[a]) for a in pair), Column("Difference")),
        (Line(("All",), cells, found.p),),
        f"{phase_words(*pair)}.",
        "p",
    )


def _cells(found: Finding, n: int) -> tuple[Estimate, ...]:
    return tuple(_enough(e, n) for e in (*found.arms, found.difference))


def _enough(e: Estimate, n: int) -> Estimate:
    if n >= LEAST_OF_A_KIND:
        return e
    return undefined(n, f"{TOO_FEW}n = {n}, {LEAST_OF_A_KIND} needed")


def size_words(low: float, high: float) -> str:
    """For instance "5 to under 10 mm"."""
    if math.isinf(high):
        return f"{low:g} mm or more"
    return f"under {high:g} mm" if low == 0 else f"{low:g} to under {high:g} mm"
