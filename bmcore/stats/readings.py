"""One row a reading: what one reader said of one case in one arm. Rows may be missing.

"Cannot tell" has one rule everywhere. For accuracy and sensitivity it is not the truth, for
agreement a category of its own. For a ROC curve it ranks lowest, all of them tied, whatever
confidence was noted beside it; a reader who gave a differential is placed by its share (rule
"differential"). ``CANNOT_TELL_RULES`` are the sensitivity analyses that stand beside the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
CANNOT_TELL = "cannot_tell"
MODELS = "models"  # in the place of an arm: the models alone
CANNOT_TELL_RULES = ("lowest", "differential", "middle", "left_out")


@dataclass(frozen=True)
class Reading:
    """What ``reader`` said of ``case`` in ``arm``; ValueError where two parts do not fit.

    truth: reference category, "" where not known. answer: the category named, ``CANNOT_TELL``, or
    "" for none. confidence: 0-100, NaN where not asked. differential: category to share, 0-1, of a
    reader who listed several. scores: category to score, of a program, which stand in the place of
    confidences. seconds: decision time, NaN where not known. lesions_mm: diameter of
    each reference lesion of the case; marks: the rating (0-100) of the mark on each of them, -inf
    where it was missed; without any mark every lesion is missed. false_marks: rating of each mark
    on no lesion; false_mm: the diameter of each, where known. period: 1, 2 ... in a crossover;
    place: number on the reader's list.
    """

    reader: str
    case: str
    arm: str
    truth: str = ""
    answer: str = ""
    confidence: float = math.nan
    differential: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    lesions_mm: tuple[float, ...] = ()
    marks: tuple[float, ...] = ()
    false_marks: tuple[float, ...] = ()
    false_mm: tuple[float, ...] = ()
    period: int = 1
    place: int = 0

    def __post_init__(self) -> None:
        where = f"reader {self.reader}, case {self.case}, arm {self.arm}"
        if not (self.reader and self.case and self.arm):
            raise ValueError(f"a reading must name its reader, case and arm: {where}")
        if not self.marks and self.lesions_mm:
            object.__setattr__(self, "marks", (-math.inf,) * len(self.lesions_mm))
        if len(self.marks) != len(self.lesions_mm):
            raise ValueError(
                f"{where}: {len(self.marks)} marks for {len(self.lesions_mm)} lesions; give one "
                "rating for each lesion, -inf where it was missed"
            )
        if self.false_mm and len(self.false_mm) != len(self.false_marks):
            raise ValueError(
                f"{where}: {len(self.false_mm)} diameters for {len(self.false_marks)} false marks; "
                "give one for each, or none"
            )
        if self.seconds <= 0:
            raise ValueError(f"{where}: a time must be above 0 s, or NaN where it is not known")
        if self.answer and not math.isnan(self.confidence) and not 0 <= self.confidence <= 100:
            raise ValueError(f"{where}: confidence must lie in 0-100, but is {self.confidence}")


def by_arm_and_reader(
    readings: Iterable[Reading], arms: Sequence[str]
) -> dict[str, dict[str, dict[str, Reading]]]:
    """The readings as arm -> reader -> case, for these arms; readers and cases sorted by name.

    ValueError where one reader has two readings of one case in one arm (keep the first).
    """
    table: dict[str, dict[str, dict[str, Reading]]] = {arm: {} for arm in arms}
    for row in sorted(readings, key=lambda r: (r.reader, r.case)):
        if row.arm not in table:
            continue
        mine = table[row.arm].setdefault(row.reader, {})
        if row.case in mine:
            raise ValueError(
                f"reader {row.reader} has two readings of case {row.case} in arm {row.arm}; "
                "keep one of them"
            )
        mine[row.case] = row
    return table


def paired(
    table: Mapping[str, Mapping[str, Mapping[str, Reading]]],
) -> dict[str, dict[str, dict[str, Reading]]]:
    """A reader's readings of the cases that he read in every arm; all of his readings where he has
    no such case (split-plot and parallel designs)."""
    out: dict[str, dict[str, dict[str, Reading]]] = {arm: {} for arm in table}
    for reader in sorted({r for arm in table.values() for r in arm}):
        rows = [arm.get(reader, {}) for arm in table.values()]
        both = set.intersection(*(set(r) for r in rows))
        for arm, mine in zip(table, rows, strict=True):
            kept = {c: row for c, row in mine.items() if c in both or not both}
            if kept:
                out[arm][reader] = kept
    return out


def class_score(reading: Reading, category: str, rule: str = "lowest") -> float:
    """How much the reading speaks for ``category``; only the order of such scores counts.

    Named: 1 plus the confidence; another named: less that. "Cannot tell" never by its confidence.
    "lowest": -inf, so all are tied below everyone. "differential": between the readings that named
    another category and those that named this one, ordered by the differential's share; -inf where
    the category is not in it. "middle": 0. "left_out": NaN. NaN without an answer or a confidence.
    """
    if rule not in CANNOT_TELL_RULES:
        raise ValueError(f"rule must be one of {', '.join(CANNOT_TELL_RULES)}, but is {rule!r}")
    if not reading.answer:
        return math.nan
    if reading.scores:
        return reading.scores.get(category, math.nan)
    if reading.answer == CANNOT_TELL:
        share = reading.differential.get(category, 0.0)
        inside = 2 * min(share, 1.0) - 1 if share > 0 else -math.inf
        return {"lowest": -math.inf, "differential": inside, "middle": 0.0}.get(rule, math.nan)
    sure = 1 + reading.confidence
    return sure if reading.answer == category else -sure
