"""Results on decision time and on change along the list."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from bmcore.analysis.readings import ReadingArrays, StudyData
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_CASES,
    LEAST_OF_A_KIND,
    THESE_READERS,
    Column,
    Drawing,
    Line,
    ResultTable,
    Section,
    cell_text,
    guarded,
    guarded_shared,
    non_empty,
    phase_words,
)
from bmcore.stats import bootstrap, clustered, decision_time, learning
from bmcore.stats.estimate import Estimate

QUARTERS = ("First quarter", "Second quarter", "Third quarter", "Last quarter")
NO_TIMES = "No decision times are on record. They are taken in a reader study, not with free votes."
ON_TOP = (
    "In a sequential design the time with the models comes on top of the time without them, on the "
    "same case, so the two are not compared as a ratio."
)


def time_section(data: StudyData, arrays: ReadingArrays) -> Section:
    """Median active seconds, their ratio between phases (crossover), and the learning curve."""
    timed = np.isfinite(arrays.seconds).any()
    lines = _medians(arrays)
    crossover = data.plan is not None and data.plan.design.kind == "crossover"
    tables = [
        ResultTable(
            "time",
            "Active seconds per case, median",
            ("Who", "Phase"),
            (Column("Median", "seconds"),),
            tuple(lines),
            "Time with input; idle time is not counted. Bootstrap of patients."
            + ("" if crossover else f" {ON_TOP}"),
        ),
        *([_ratios(arrays)] if crossover else []),
        _taken_over(data, arrays),
        _curve(arrays),
        _trends(arrays),
    ]
    sentence = _sentence(lines) if timed else NO_TIMES
    return Section("time", "Time and learning", sentence, non_empty(tables))


def _medians(arrays: ReadingArrays) -> list[Line]:
    lines = []
    for i, arm in enumerate(arrays.arms):
        rows = [(n, arrays.seconds[i, r : r + 1]) for r, n in enumerate(arrays.readers)]
        if len(rows) > 1:
            rows.insert(0, ("All readers", arrays.seconds[i]))
        for name, seconds in rows:
            where = np.nonzero(np.isfinite(seconds))
            if len(where[0]):
                found = bootstrap.median(seconds[where], where[1], what="median")
                lines.append(Line((name, ARM_NAMES[arm]), (guarded(found),)))
    return lines


def _taken_over(data: StudyData, arrays: ReadingArrays) -> ResultTable:
    """How often "As before" filled a sheet; empty where it never did."""
    used = {(r.arm, r.reader, r.case_id) for r in data.readings if r.taken_over and not r.occasion}
    lines = []
    for i, arm in enumerate(arrays.arms):
        given = arrays.answers[i] >= 0
        hit = np.array(
            [[(arm, reader, case) in used for case in arrays.cases] for reader in arrays.readers]
        ).reshape(given.shape)
        if not hit.any():
            continue
        rows = [(n, hit[r : r + 1], given[r : r + 1]) for r, n in enumerate(arrays.readers)]
        if len(rows) > 1:
            rows.insert(0, ("All readers", hit, given))
        for name, own, of in rows:
            if of.any():
                found = clustered.share(own, of, "sheets filled from the step before")
                lines.append(Line((name, ARM_NAMES[arm]), (found,)))
    return ResultTable(
        "taken_over",
        "Readings filled at a click from the step before (\u201cAs before\u201d)",
        ("Who", "Phase"),
        (Column("Share of readings", "share"),),
        tuple(lines),
        "The reader could change each answer before locking it.",
    )


def _ratios(arrays: ReadingArrays) -> ResultTable:
    lines = []
    for a, b in combinations(range(len(arrays.arms)), 2):
        phases = phase_words(arrays.arms[a], arrays.arms[b]).replace(" minus ", " over ")
        first, second = arrays.seconds[a], arrays.seconds[b]
        timed = np.isfinite(first).any(axis=1) & np.isfinite(second).any(axis=1)
        if timed.sum() > 1:
            found = decision_time.time_ratio_of_all(first[timed], second[timed])
            both = np.isfinite(first[timed]) & np.isfinite(second[timed])
            names = [name for name, has in zip(arrays.readers, timed, strict=True) if has]
            ratio = guarded_shared(found.ratio, both, names)
            lines.append(Line(("Readers like these", phases), (ratio,), found.p))
        for r, name in enumerate(arrays.readers):
            if timed[r]:
                found = decision_time.time_ratio(first[r], second[r])
                lines.append(Line((name, phases), (guarded(found.ratio),), found.p))
    return ResultTable(
        "time_ratio",
        "Time of the later phase over the earlier one, same cases",
        ("Who", "Phases"),
        (Column("Ratio", "ratio"),),
        tuple(lines),
        "Below 1 is faster. Geometric mean. Readers like these: on the cases that every reader was "
        "timed on in both phases.",
        "p",
    )


def _curve(arrays: ReadingArrays) -> ResultTable:
    """Time and right answers by quarter of each reader's list."""
    lines = []
    known = np.broadcast_to(arrays.known, arrays.answers.shape[1:])
    for i, arm in enumerate(arrays.arms):
        quarter = _quarters(arrays.order[i])
        right = arrays.answers[i] == arrays.truth
        for q, words in enumerate(QUARTERS):
            inside = quarter == q
            if not inside.any():
                continue
            timed = np.nonzero(inside & np.isfinite(arrays.seconds[i]))
            median = None
            if len(timed[0]):
                seconds = arrays.seconds[i][timed]
                median = guarded(
                    bootstrap.median(seconds, timed[1], what="median"), LEAST_OF_A_KIND
                )
            share = clustered.share(right, inside & known, "right answers")
            shown: Estimate | None = guarded(share, LEAST_OF_A_KIND) if share.n else None
            lines.append(Line((ARM_NAMES[arm], words), (shown, median), keys=(arm, words)))
    return ResultTable(
        "learning",
        "Along the list: all readers, by quarter of each reader's own list",
        ("Phase", "Part of the list"),
        (Column("Right answers", "share"), Column("Median time", "seconds")),
        tuple(lines),
        THESE_READERS.strip(),
        drawings=tuple(
            Drawing(
                "along_the_list",
                column,
                words=f"{what} by quarter of the list, with intervals",
                report_width=0.6,
            )
            for column, what in enumerate(("Right answers", "Median time"))
        ),
    )


def _quarters(order: np.ndarray) -> np.ndarray:
    """order (readers, cases), NaN none -> 0 to 3, -1 where nothing was read."""
    last = np.array([np.nanmax(row) if np.isfinite(row).any() else 1 for row in order])[:, None]
    found = np.full(order.shape, -1)
    there = np.isfinite(order)
    found[there] = np.minimum(((order - 1) / last * 4)[there].astype(int), 3)
    return found


def _trends(arrays: ReadingArrays) -> ResultTable:
    lines = []
    for i, arm in enumerate(arrays.arms):
        for r, name in enumerate(arrays.readers):
            if np.isfinite(arrays.seconds[i, r]).any():
                found = learning.time_trend(arrays.order[i, r], arrays.seconds[i, r])
                lines.append(Line((name, ARM_NAMES[arm]), (guarded(found.ratio),), found.p))
    return ResultTable(
        "trend",
        f"Change of the time over {learning.STEP} cases",
        ("Reader", "Phase"),
        (Column("Factor", "ratio"),),
        tuple(lines),
        "Below 1: the reader becomes faster along the list.",
        "p",
    )


def _sentence(lines: list[Line]) -> str:
    first = [line for line in lines if line.labels[0] in ("All readers", lines[0].labels[0])]
    told = [
        f"{line.labels[1].lower()} {cell_text(Column('', 'seconds'), line.cells[0])}"
        for line in first
        if line.cells[0] is not None and line.cells[0].has_interval
    ]
    if not told:
        if any(line.cells[0] and line.cells[0].defined for line in first):
            return "The median time is the same however the cases are drawn: it has no interval."
        return f"Times are shown once there are {LEAST_CASES} cases."
    return f"Median active time per case: {'; '.join(told)}."
