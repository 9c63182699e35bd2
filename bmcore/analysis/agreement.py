"""Results on agreement: readers with each other and with themselves, on primary and quality."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from bmcore.analysis.readings import ReadingArrays, StudyData
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_CASES,
    Column,
    Drawing,
    Line,
    ResultTable,
    Section,
    cell_text,
    count,
    guarded,
    guarded_shared,
    non_empty,
)
from bmcore.review.votes import PRIMARY_CHOICES
from bmcore.stats import agreement, continuous, reliability
from bmcore.stats.estimate import Estimate, undefined

K = len(PRIMARY_CHOICES)
GRADES = 5


def agreement_section(data: StudyData, arrays: ReadingArrays) -> Section:
    """Agreement on the primary, over all readers and pair by pair, and on repeats."""
    overall = tuple(
        Line((ARM_NAMES[arm],), _overall(arrays.answers[i].T)) for i, arm in enumerate(arrays.arms)
    )
    tables = [
        ResultTable(
            "agreement",
            "All readers together, likeliest primary",
            ("Phase",),
            (
                Column("Percent agreement", "share"),
                Column("Fleiss' kappa"),
                Column("Gwet's AC1"),
                Column("Krippendorff's alpha"),
            ),
            overall,
            "Percent agreement: share of pairs of readers with the same answer. The others leave "
            "out the agreement by chance: 0 is chance, 1 is complete. Missing answers are allowed.",
        ),
        ResultTable(
            "pairs",
            "Each two readers, likeliest primary",
            ("Phase", "Readers"),
            (Column("Same answer", "share"), Column("Cohen's kappa"), Column("Gwet's AC1")),
            tuple(_pair_lines(arrays)),
            drawings=(Drawing("kappa_map", report_width=0.48),),
        ),
        _quality_table(arrays),
        _repeats(arrays),
    ]
    return Section(
        "agreement", "Agreement between readers", _sentence(arrays, overall), non_empty(tables)
    )


def _overall(ratings: np.ndarray) -> tuple[Estimate, ...]:
    """ratings (cases, readers) of the primaries."""
    return (
        agreement.percent_agreement(ratings),
        guarded(agreement.fleiss_kappa(ratings, K)),
        guarded(reliability.gwet_ac(ratings, K)),
        guarded(reliability.krippendorff_alpha(ratings, K)),
    )


def _pair_lines(arrays: ReadingArrays) -> list[Line]:
    lines = []
    for i, arm in enumerate(arrays.arms):
        for a, b in combinations(range(len(arrays.readers)), 2):
            both = arrays.answers[i, [a, b]].T
            both = both[(both >= 0).all(axis=1)]
            if not len(both):
                continue
            cells = (
                agreement.percent_agreement(both),
                guarded(agreement.cohen_kappa(both[:, 0], both[:, 1], K)),
                guarded(reliability.gwet_ac(both, K)),
            )
            names = f"{arrays.readers[a]} and {arrays.readers[b]}"
            pair = (arm, arrays.readers[a], arrays.readers[b])
            lines.append(Line((ARM_NAMES[arm], names), cells, keys=pair))
    return lines


def _quality_table(arrays: ReadingArrays) -> ResultTable:
    """The grade of the segmentation is ordered: weighted numbers."""
    lines = []
    for i, arm in enumerate(arrays.arms):
        grades = np.where(np.isnan(arrays.quality[i]), 0, arrays.quality[i]).astype(np.int64).T - 1
        if not (grades >= 0).any():
            continue
        lines.append(
            Line(
                (ARM_NAMES[arm], "all readers"),
                (
                    None,
                    guarded(reliability.gwet_ac(grades, GRADES, "quadratic")),
                    guarded(reliability.krippendorff_alpha(grades, GRADES, "ordinal")),
                    guarded_icc(arrays.quality[i].T, arrays.readers),
                ),
            )
        )
        for a, b in combinations(range(len(arrays.readers)), 2):
            both = grades[:, [a, b]]
            both = both[(both >= 0).all(axis=1)]
            if len(both):
                kappa = agreement.cohen_kappa(both[:, 0], both[:, 1], GRADES, "quadratic")
                ac = reliability.gwet_ac(both, GRADES, "quadratic")
                names = f"{arrays.readers[a]} and {arrays.readers[b]}"
                cells = (guarded(kappa), guarded(ac), None, None)
                lines.append(Line((ARM_NAMES[arm], names), cells))
    return ResultTable(
        "quality",
        "Quality of the segmentation, grades 1 to 5",
        ("Phase", "Readers"),
        (
            Column("Cohen's kappa, quadratic weights"),
            Column("Gwet's AC2, quadratic weights"),
            Column("Krippendorff's alpha, ordinal"),
            Column("ICC(2,1)"),
        ),
        tuple(lines),
        "The grades are ordered, so near grades count as partial agreement. ICC: on the cases that "
        "every reader graded.",
    )


def guarded_icc(measurements: np.ndarray, readers: Sequence[str]) -> Estimate | None:
    """ICC(2,1) on the cases that every reader measured; a reader without any value does not count.

    measurements (cases, readers), NaN missing; readers: their names. None with fewer than two
    readers. With fewer than ``LEAST_CASES`` such cases none, and who stands in the way, if anyone.
    """
    there = np.isfinite(measurements).any(axis=0)
    some = measurements[:, there]
    if some.shape[1] < 2:
        return None
    given = np.isfinite(some)
    whole = int(given.all(axis=1).sum())
    if whole < LEAST_CASES:
        names = [name for name, has in zip(readers, there, strict=True) if has]
        return guarded_shared(undefined(whole, "ICC"), given.T, names)
    return continuous.icc(some, "2,1")


def _repeats(arrays: ReadingArrays) -> ResultTable:
    lines = []
    for i, arm in enumerate(arrays.arms):
        for r, reader in enumerate(arrays.readers):
            first, second = arrays.answers[i, r], arrays.second[i, r]
            if not ((first >= 0) & (second >= 0)).any():
                continue
            found = reliability.intra_reader(first, second, K)
            cells = (found.percent, guarded(found.kappa), guarded(found.ac))
            lines.append(Line((ARM_NAMES[arm], reader), cells))
    return ResultTable(
        "repeats",
        "Intra-reader agreement, on cases that were shown twice",
        ("Phase", "Reader"),
        (Column("Same answer", "share"), Column("Cohen's kappa"), Column("Gwet's AC1")),
        tuple(lines),
    )


def _sentence(arrays: ReadingArrays, overall: tuple[Line, ...]) -> str:
    cases, readers = len(arrays.cases), len(arrays.readers)
    if not cases:
        return "There is no reading yet."
    if readers < 2:
        return f"{count(cases, 'case')}, one reader: agreement needs a second reader."
    told = []
    for line in overall:
        percent = line.cells[0]
        if percent is not None and percent.has_interval:
            where = line.labels[0][0].lower() + line.labels[0][1:]
            told.append(f"{where} {cell_text(Column('', 'share'), percent)}")
    if not told:
        return (
            f"{count(cases, 'case')}, {count(readers, 'reader')}, but no case was answered by two "
            "of them yet."
        )
    text = f"Two readers give the same primary: {'; '.join(told)} cases."
    most = max(line.cells[0].n for line in overall if line.cells[0] is not None)
    if most < LEAST_CASES:
        text += f" {count(most, 'case')} read by two: kappa and the like need {LEAST_CASES} cases."
    return text
