"""What stated confidence is worth: calibration, overconfidence, agreement of the confidences."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, pairwise
from types import MappingProxyType

import numpy as np

from bmcore.analysis.agreement import guarded_icc
from bmcore.analysis.calibration import models_table, readers_table
from bmcore.analysis.readings import CaseFacts, ReadingArrays
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_CASES,
    THESE_READERS,
    Column,
    Drawing,
    Line,
    ResultTable,
    Section,
    cell_text,
    guarded,
    non_empty,
)
from bmcore.stats import (
    bootstrap,
    clustered,
    continuous,
)

BINS = (0, 20, 40, 60, 80, 100)


def confidence_section(
    arrays: ReadingArrays, facts: Mapping[str, CaseFacts] = MappingProxyType({})
) -> Section:
    """Is a sure reader right? Calibration, and agreement of the confidences."""
    title = "Confidence"
    if not arrays.cases:
        return Section("confidence", title, "There is no reading yet.")
    lines, over = _bins(arrays), _overconfidence(arrays)
    tables = [
        ResultTable(
            "calibration",
            "Right answers by stated confidence, all readers",
            ("Phase", "Confidence"),
            (Column("Mean confidence", "grade"), Column("Right answers", "share")),
            tuple(lines),
            "A well calibrated reader who says 70 is right in 70 of 100 cases." + THESE_READERS,
            drawings=(
                Drawing(
                    "calibration",
                    words="Share of right answers against stated confidence, with intervals",
                    report_width=0.6,
                ),
            ),
        ),
        ResultTable(
            "overconfidence",
            "Confidence minus the share of right answers",
            ("Who", "Phase"),
            (Column("Difference", "points"),),
            tuple(over),
            "Above 0: surer than right. Bootstrap of patients.",
            drawings=(Drawing("intervals", guide=0.0),),
        ),
        readers_table(arrays),
        models_table(facts),
        *confidence_agreement(arrays),
    ]
    return Section("confidence", title, _confidence_sentence(over), non_empty(tables))


def _bins(arrays: ReadingArrays) -> list[Line]:
    lines = []
    known = arrays.known
    for i, arm in enumerate(arrays.arms):
        answers, sure = arrays.answers[i][:, known], arrays.confidences[i][:, known]
        right = answers == arrays.truth[known]
        for low, high in pairwise(BINS):
            top = sure <= high if high == BINS[-1] else sure < high
            inside = (answers >= 0) & (sure >= low) & top
            if not inside.any():
                continue
            where = np.nonzero(inside)
            mean = bootstrap.mean(sure[where], where[1], what="mean confidence")
            words = f"{low} to {high if high == BINS[-1] else high - 1}"
            share = clustered.share(right, inside, "right answers")
            lines.append(Line((ARM_NAMES[arm], words), (mean, share), keys=(arm,)))
    return lines


def _overconfidence(arrays: ReadingArrays) -> list[Line]:
    lines = []
    known = arrays.known
    for i, arm in enumerate(arrays.arms):
        answers = arrays.answers[i][:, known]
        over = arrays.confidences[i][:, known] / 100 - (answers == arrays.truth[known])
        given = answers >= 0
        rows = [(name, over[r : r + 1], given[r : r + 1]) for r, name in enumerate(arrays.readers)]
        if len(arrays.readers) > 1:
            rows.insert(0, ("All readers", over, given))
        for name, values, there in rows:
            if there.any():
                where = np.nonzero(there)
                found = bootstrap.mean(
                    values[where], where[1], what="confidence minus right answers"
                )
                lines.append(Line((name, ARM_NAMES[arm]), (guarded(found),)))
    return lines


def confidence_agreement(arrays: ReadingArrays) -> list[ResultTable]:
    """ICC of the confidences, and Bland and Altman's limits of each two readers."""
    shared, limits = [], []
    for i, arm in enumerate(arrays.arms):
        found = guarded_icc(arrays.confidences[i].T, arrays.readers)
        if found is not None:
            shared.append(Line((ARM_NAMES[arm],), (found,)))
        for a, b in combinations(range(len(arrays.readers)), 2):
            one, two = arrays.confidences[i, a], arrays.confidences[i, b]
            n = int((np.isfinite(one) & np.isfinite(two)).sum())
            if n == 0:
                continue
            ba = continuous.bland_altman(one, two)
            names = f"{arrays.readers[a]} minus {arrays.readers[b]}"
            cells = tuple(guarded(e) for e in (ba.bias, ba.lower, ba.upper))
            limits.append(Line((ARM_NAMES[arm], names), cells))
    return [
        ResultTable(
            "confidence_icc",
            "Do readers feel sure on the same cases?",
            ("Phase",),
            (Column("ICC(2,1) of the confidences"),),
            tuple(shared),
            "1: all readers give a case the same confidence; 0: confidence depends on the reader. "
            "On the cases for which every reader gave one.",
        ),
        ResultTable(
            "confidence_limits",
            "Difference of the confidences of two readers (Bland and Altman)",
            ("Phase", "Readers"),
            (
                Column("Mean", "grade"),
                Column("Lower limit", "grade"),
                Column("Upper limit", "grade"),
            ),
            tuple(limits),
            "Confidences run from 0 to 100; 95 % of the differences lie between the limits.",
        ),
    ]


def _confidence_sentence(over: list[Line]) -> str:
    first = next(
        (line for line in over if line.cells[0] is not None and line.cells[0].has_interval), None
    )
    if first is None or first.cells[0] is None:
        told = (line for line in over if line.cells[0] is not None and line.cells[0].defined)
        if same := next(told, None):
            return (
                f"{same.labels[0]}, {same.labels[1].lower()}: stated confidence minus right "
                "answers is the same in every case, so it has no interval."
            )
        most = max((line.cells[0].n for line in over if line.cells[0] is not None), default=0)
        return (
            f"Whether sure readers are right can be said once {LEAST_CASES} cases with a known "
            f"primary are read; there {'is' if most == 1 else 'are'} {most}."
        )
    found, phase = first.cells[0], first.labels[1].lower()
    shown = cell_text(Column("", "points"), found)
    if found.low > 0:
        return f"Readers are surer than they are right, {phase}: {shown}."
    if found.high < 0:
        return f"Readers are right more often than they think, {phase}: {shown}."
    return (
        "No difference between stated confidence and the share of right answers is shown, "
        f"{phase}: {shown}."
    )
