"""Calibration of readers' confidences and of the models' probabilities: intercept and slope."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmcore.analysis.accuracy import KINDS
from bmcore.analysis.readings import CaseFacts, ReadingArrays, code
from bmcore.analysis.tables import ARM_NAMES, Column, Line, ResultTable
from bmcore.domain import PRIMARIES, PRIMARY_NAMES
from bmcore.stats.calibration import Calibration, calibration
from bmcore.stats.estimate import Estimate
from bmcore.stats.readings import CANNOT_TELL

_ANSWERS = ("right", "wrong answers")
_CASES = ("cases with this primary", "with another")
_COLUMNS = (Column("Intercept"), Column("Slope"), Column("Stated minus observed", "points"))


def readers_table(arrays: ReadingArrays) -> ResultTable:
    """Each reader's confidence in the primary that he named against whether he was right.

    "Cannot tell" names none, so its confidence does not count.
    """
    known, undecided = arrays.known, code(CANNOT_TELL)
    lines = []
    for i, arm in enumerate(arrays.arms):
        answers, sure = arrays.answers[i][:, known], arrays.confidences[i][:, known]
        right = answers == arrays.truth[known]
        named = (answers >= 0) & (answers != undecided)
        rows = [(n, slice(r, r + 1)) for r, n in enumerate(arrays.readers)]
        if len(rows) > 1:
            rows.insert(0, ("All readers", slice(None)))
        for name, who in rows:
            where = np.nonzero(named[who])
            if len(where[0]):
                found = calibration(
                    sure[who][where] / 100, right[who][where], where[1], kinds=_ANSWERS
                )
                lines.append(Line((name, ARM_NAMES[arm]), _cells(found)))
    return ResultTable(
        "calibration_readers",
        "Calibration of stated confidence",
        ("Who", "Phase"),
        _COLUMNS,
        tuple(lines),
        "Intercept: 0 is right, above 0 the reader is right more often than stated. Slope: 1 is "
        "right, below 1 the stated confidences are too extreme. Logistic regression, errors "
        "clustered on patients; needs 10 right and 10 wrong answers. n counts cases: all readers "
        "together give several answers to each.",
    )


def models_table(facts: Mapping[str, CaseFacts]) -> ResultTable:
    """The models' probability of each primary against whether it was so."""
    lines = []
    for kind, words in KINDS.items():
        told = [
            (f, f.answers[kind]) for _, f in sorted(facts.items()) if f.truth and kind in f.answers
        ]
        given = [(f, p) for f, p in told if p is not None]
        for number, primary in enumerate(PRIMARIES) if given else ():
            said = np.array([p[number] for _, p in given])
            seen = np.array([f.truth == primary for f, _ in given])
            found = calibration(said, seen, kinds=_CASES)
            lines.append(Line((words, PRIMARY_NAMES[primary]), _cells(found)))
    return ResultTable(
        "calibration_models",
        "Calibration of the models' probabilities",
        ("Models", "Primary"),
        _COLUMNS,
        tuple(lines),
        "One primary against the rest; needs 10 cases of either kind.",
    )


def _cells(found: Calibration) -> tuple[Estimate, ...]:
    return (found.intercept, found.slope, found.excess)
