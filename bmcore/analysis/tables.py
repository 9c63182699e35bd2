"""Results as tables of Estimates: computed once, drawn by the page and by every file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import ARM_WORDS
from bmcore.stats.estimate import Estimate, decimals, per_cent, undefined

# The simulated studies (training.bench.coverage) start at 30 cases; with fewer than ten an interval
# of a chance-corrected number says next to nothing.
LEAST_CASES = 10
LEAST_OF_A_KIND = 5
TOO_FEW = "too few: "
THESE_READERS = " Intervals are for these very readers, and cases like these."
ARM_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **{arm: words[0].upper() + words[1:] for arm, words in ARM_WORDS.items()},
        "models": "By the models alone",
    }
)
DRAWINGS = ("kappa_map", "calibration", "intervals", "first_line", "along_the_list", "roc")
UNITS = ("number", "share", "points", "seconds", "ratio", "grade")
NONE = "\u2013"


@dataclass(frozen=True)
class Column:
    """unit: "share" (0-1, shown in per cent), "points" (a difference of shares), "number",
    "seconds", "ratio" (shown with a multiplication sign), "grade" (one decimal)."""

    name: str
    unit: str = "number"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit must be one of {', '.join(UNITS)}, but is {self.unit!r}")

    @property
    def scale(self) -> float:
        """Factor from a stored number to the one that is shown: shares are drawn in per cent."""
        return 100.0 if self.unit in ("share", "points") else 1.0


@dataclass(frozen=True)
class Line:
    """labels: what the line is about; cells: one a column, None where it makes no sense; p: of the
    test that the table's note names, NaN where there is none, and made NaN where the first cell,
    to which it belongs, holds no number; keys: for charts, the arm first."""

    labels: tuple[str, ...]
    cells: tuple[Estimate | None, ...]
    p: float = math.nan
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        first = self.cells[0] if self.cells else None
        if first is not None and not first.defined:
            object.__setattr__(self, "p", math.nan)


@dataclass(frozen=True)
class Drawing:
    """A figure that belongs to a table; the page and the report draw it, each in its own way.

    kind: "kappa_map" (readers by readers, one a phase), "calibration", "intervals" (one column as
    dots with intervals), "first_line" (all columns of the first line likewise), "along_the_list" or
    "roc" (the table's curves with their bands).
    column: the one that is drawn; guide: where a dotted line stands, None without; only: the last
    label of the lines that are drawn, "" for all; words: what it shows, for who cannot see it;
    report_width: share of the report's page, 0 where only the Agreement page draws it.
    """

    kind: str
    column: int = 0
    guide: float | None = None
    only: str = ""
    words: str = ""
    report_width: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in DRAWINGS:
            raise ValueError(f"kind must be one of {', '.join(DRAWINGS)}, but is {self.kind!r}")


@dataclass(frozen=True)
class Curve:
    """A line with a band, points of equal number: ``arm``, ``x`` and ``y`` with ``low`` to
    ``high``; of a ROC curve the false positive rate and the sensitivity, 0-1."""

    arm: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class ResultTable:
    """One table. head: over the labels; note: how to read it; p_name: the test, "" without one;
    drawings: the figures that show it; curves: what a drawing of curves shows."""

    key: str
    title: str
    head: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    note: str = ""
    p_name: str = ""
    drawings: tuple[Drawing, ...] = ()
    curves: tuple[Curve, ...] = ()

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line.labels) != len(self.head) or len(line.cells) != len(self.columns):
                raise ValueError(f"a line of {self.key} does not fit its columns: {line.labels}")

    @property
    def header(self) -> tuple[str, ...]:
        """The names of all columns as shown."""
        p = (self.p_name,) if self.p_name else ()
        return (*self.head, *(c.name for c in self.columns), *p)

    def texts(self) -> list[tuple[str, ...]]:
        """The lines as shown; each number with its interval and n."""
        return [
            (
                *line.labels,
                *(cell_text(c, e) for c, e in zip(self.columns, line.cells, strict=True)),
                *((p_text(line.p),) if self.p_name else ()),
            )
            for line in self.lines
        ]

    def reasons(self) -> tuple[str, ...]:
        """Why cells hold no number, each reason once."""
        found = [reason(e) for line in self.lines for e in line.cells if e is not None]
        return tuple(sorted({r for r in found if r}))


@dataclass(frozen=True)
class Section:
    """One topic. sentence: the finding, or what is missing for one, in words."""

    key: str
    title: str
    sentence: str
    tables: tuple[ResultTable, ...] = ()

    def table(self, key: str) -> ResultTable:
        """The table of this key; StopIteration where there is none."""
        return next(t for t in self.tables if t.key == key)


def guarded(estimate: Estimate, least: int = LEAST_CASES) -> Estimate:
    """The estimate, or none with the words why where fewer than ``least`` cases are there."""
    if estimate.n >= least:
        return estimate
    return undefined(estimate.n, f"{TOO_FEW}n = {estimate.n}, {least} needed")


def guarded_shared(
    estimate: Estimate, given: npt.ArrayLike, readers: Sequence[str], least: int = LEAST_CASES
) -> Estimate:
    """As ``guarded``, for an estimate that rests on the cases which every reader has.

    given: bool (readers, cases), the reader has the case; readers: their names. Where some reader
    has ``least`` cases and all together have not, it says who stands in the way.
    """
    table = np.asarray(given, bool)
    table = table[:, table.any(axis=0)]
    own = table.sum(axis=1)
    if estimate.n >= least or not (own >= least).any():
        return guarded(estimate, least)
    few = [f"{name} has {n}" for name, n in zip(readers, own, strict=True) if n < least]
    who = "; ".join(few) or "the readers have different cases"
    shared = f"only {estimate.n} of {count(table.shape[1], 'case')} have every reader"
    return undefined(estimate.n, f"not defined: {shared}, {least} needed: {who}")


def cell_text(column: Column, estimate: Estimate | None) -> str:
    """For instance "71 % (55 to 83), n = 30"; never a number without its interval and n."""
    if estimate is None:
        return NONE
    if estimate.method.startswith(TOO_FEW):
        return estimate.method
    if not estimate.defined:
        return f"not defined, n = {estimate.n}"
    if not estimate.has_interval:
        return f"no interval, n = {estimate.n}"
    value, low, high = (
        _number(column.unit, x) for x in (estimate.value, estimate.low, estimate.high)
    )
    mark = {"share": "\u00a0%", "points": "\u00a0points", "seconds": "\u00a0s"}.get(column.unit, "")
    sign = "\u00d7\u00a0" if column.unit == "ratio" else ""
    return f"{sign}{value}{mark} ({low} to {high}), n\u00a0=\u00a0{estimate.n}"


def _number(unit: str, value: float) -> str:
    if unit == "share":
        return per_cent(value)
    if unit == "points":
        return decimals(100 * value, sign="+")
    return decimals(value, {"seconds": 0, "grade": 1}.get(unit, 2))


def p_text(p: float) -> str:
    """A p value as shown: three digits, "< 0.001", or a dash where there is none."""
    if math.isnan(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def reason(estimate: Estimate) -> str:
    """Why an estimate holds no number to show; empty where it does, or where it is too few."""
    if estimate.method.startswith(TOO_FEW) or (estimate.defined and estimate.has_interval):
        return ""
    return estimate.method.rsplit("no interval: ", 1)[-1].rsplit("not defined: ", 1)[-1]


def as_dict(section: Section) -> dict[str, Any]:
    """For JSON: every number with interval, n and method; NaN becomes None."""
    return {
        "title": section.title,
        "sentence": section.sentence,
        "tables": {
            t.key: {
                "title": t.title,
                "note": t.note,
                "lines": [
                    {
                        **dict(zip(t.head, line.labels, strict=True)),
                        **{
                            c.name: None if e is None else {**e.as_dict(), "unit": c.unit}
                            for c, e in zip(t.columns, line.cells, strict=True)
                        },
                        **({t.p_name: None if math.isnan(line.p) else line.p} if t.p_name else {}),
                    }
                    for line in t.lines
                ],
            }
            for t in section.tables
        },
    }


CSV_COLUMNS = (
    *("section", "table", "about", "measure", "unit", "value", "low", "high", "n", "p", "method"),
)


def csv_rows(sections: Iterable[Section]) -> list[tuple[object, ...]]:
    """One row a number, in the order of CSV_COLUMNS; what is not defined is empty."""
    rows: list[tuple[object, ...]] = []
    for s in sections:
        for t in s.tables:
            for line in t.lines:
                for column, e in zip(t.columns, line.cells, strict=True):
                    if e is None:
                        continue
                    numbers = ["" if math.isnan(x) else x for x in (e.value, e.low, e.high)]
                    p = "" if math.isnan(line.p) else line.p
                    about = "; ".join(line.labels)
                    rows.append(
                        (
                            s.title,
                            t.title,
                            about,
                            column.name,
                            column.unit,
                            *numbers,
                            e.n,
                            p,
                            e.method,
                        )
                    )
    return rows


def count(number: int, noun: str) -> str:
    """For instance "1 case", "3 cases"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def non_empty(tables: list[ResultTable]) -> tuple[ResultTable, ...]:
    """The tables that have a line."""
    return tuple(t for t in tables if t.lines)


def phase_words(first: str, second: str) -> str:
    """For instance "With the models minus without the models"."""
    name = ARM_NAMES[first]
    return f"{ARM_NAMES[second]} minus {name[0].lower()}{name[1:]}"


def cell_words(found: Estimate) -> str:
    """An estimate as two short lines, for a field of the kappa map."""
    if found.method.startswith(TOO_FEW):
        return f"too few\nn = {found.n}"
    if not found.has_interval:
        return f"no\ninterval\nn = {found.n}"
    return f"{decimals(found.value, 2)}\nn = {found.n}"


def dot_worthy(cells: tuple[Estimate | None, ...]) -> bool:
    """Enough cases for a dot; the mean confidence may lack an interval, the share may not."""
    mean, share = cells[:2]
    if mean is None or share is None or not mean.defined:
        return False
    return share.has_interval and share.n >= LEAST_OF_A_KIND


def has_interval(found: Estimate | None) -> bool:
    """There is a number, with an interval: it may be drawn."""
    return found is not None and found.has_interval
