"""Results on lesions: verdicts on the models' lesions, lesion marks against the reference, Dice."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from bmcore.analysis.lesion_sizes import size_tables
from bmcore.analysis.readings import LesionMarks, Reading, StudyData
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_CASES,
    TOO_FEW,
    Column,
    Line,
    ResultTable,
    Section,
    cell_text,
    guarded,
    non_empty,
    phase_words,
)
from bmcore.review.sheet import LESION_VERDICTS
from bmcore.stats import afroc, bootstrap, clustered, continuous
from bmcore.stats.estimate import Estimate, undefined

VERDICT_NAMES = {"accept": "Accepted", "edit": "Edited", "reject": "Rejected"}


def lesion_section(data: StudyData, marks: LesionMarks) -> Section:
    """Verdicts, marks against the reference, agreement of corrected masks."""
    verdicts = _verdict_lines(data)
    found, figures, changes = _mark_tables(data, marks)
    tables = [
        ResultTable(
            "verdicts",
            "What readers did with the lesions that the models found",
            ("Reader", "Phase"),
            (
                *(Column(VERDICT_NAMES[v], "share") for v in LESION_VERDICTS),
                Column("Missed lesions per case", "number"),
            ),
            tuple(verdicts),
            "Shares of the models' lesions; the lesions of one patient count as one cluster.",
        ),
        found,
        *size_tables(data, marks),
        figures,
        changes,
        dice_table(data),
    ]
    return Section("lesions", "Lesions", _sentence(verdicts, found), non_empty(tables))


def _verdict_lines(data: StudyData) -> list[Line]:
    given: dict[tuple[str, str], list[Reading]] = {}
    for r in data.readings:
        if r.lesions is not None and not r.occasion:
            given.setdefault((r.reader, r.arm), []).append(r)
    lines = []
    for (name, arm), readings in sorted(given.items()):
        judged = [list(r.lesions["lesions"].values()) for r in readings if r.lesions is not None]
        missed = np.array([r.lesions["missed"] for r in readings if r.lesions is not None], float)
        most = max((len(j) for j in judged), default=0)
        table = (
            np.array([[*j, *[""] * (most - len(j))] for j in judged], object).reshape(-1, most).T
        )
        cells: list[Estimate] = []
        for verdict in LESION_VERDICTS:
            if most:
                cells.append(clustered.share(table == verdict, table != "", verdict))
            else:
                cells.append(undefined(0, "not defined: the models found no lesion"))
        cells.append(_mean(missed, "missed lesions per case"))
        lines.append(Line((name, ARM_NAMES[arm]), tuple(cells)))
    return lines


def _mean(values: np.ndarray, what: str) -> Estimate:
    """Mean over cases (n,); no interval where all are alike, which says nothing of others."""
    if len(values) and np.ptp(values) == 0:
        why = f"{what}; no interval: the number is the same in every case"
        return Estimate(float(values[0]), np.nan, np.nan, len(values), why)
    return bootstrap.mean(values, what=what)


def _mark_tables(
    data: StudyData, marks: LesionMarks
) -> tuple[ResultTable, ResultTable, ResultTable]:
    """Lesions found and false marks; the AFROC figure of merit; its change between phases."""
    wanted = {p.name for p in data.people}
    counted = {k: v for k, v in marks.hits.items() if k[1] in wanted and k[2] in data.cases}
    readers = tuple(sorted({reader for _, reader, _ in counted}))
    arms = tuple(a for a in data.arms if any(k[0] == a for k in counted))
    found = _found_lines(counted, arms, readers, marks.lesions)
    whole = [
        c for c in sorted(marks.lesions) if all((a, r, c) in counted for a in arms for r in readers)
    ]
    figures, changes = _afroc_lines(counted, arms, readers, whole, marks)
    rated = bool(_rated_arms(arms, readers, whole, marks))
    return (
        ResultTable(
            "marks",
            "Lesions marked, against the reference mask",
            ("Reader", "Phase"),
            (Column("Lesions found", "share"), Column("False marks per case", "number")),
            tuple(found),
        ),
        ResultTable(
            "afroc",
            "Figure of merit of the lesion marks (AFROC, each patient counts alike)",
            ("Reader", "Phase"),
            (Column("Figure of merit"),),
            tuple(figures),
            "The chance that a lesion is marked rather than a wrong spot; 0.5 is chance. "
            + ("By the readers' ratings." if rated else "Marks carry no rating: marked or not."),
        ),
        ResultTable(
            "afroc_change",
            "Change of the figure of merit between phases, readers like these",
            ("Phases",),
            (Column("Difference"),),
            tuple(changes),
            "Obuchowski-Rockette's analysis, jackknife over cases.",
            "p",
        ),
    )


def _found_lines(
    counted: Mapping[tuple[str, str, str], tuple[frozenset[int], int]],
    arms: tuple[str, ...],
    readers: tuple[str, ...],
    lesions: Mapping[str, int],
) -> list[Line]:
    lines = []
    for arm in arms:
        for reader in readers:
            cases = sorted(c for a, r, c in counted if (a, r) == (arm, reader))
            if cases:
                told = [counted[arm, reader, c] for c in cases]
                cells = _found(told, [lesions[c] for c in cases])
                lines.append(Line((reader, ARM_NAMES[arm]), cells))
    return lines


def _found(told: list[tuple[frozenset[int], int]], lesions: list[int]) -> tuple[Estimate, ...]:
    most = max(lesions, default=0)
    there = np.array([[n < count for count in lesions] for n in range(most)], bool)
    hit = np.array([[n + 1 in h for h, _ in told] for n in range(most)], bool)
    if not there.any():
        share = undefined(0, "not defined: no reference lesion")
    else:
        share = clustered.share(hit, there, "lesions found")
    false = _mean(np.array([f for _, f in told], float), "false marks per case")
    return (share, false)


def _afroc_lines(
    counted: Mapping[tuple[str, str, str], tuple[frozenset[int], int]],
    arms: tuple[str, ...],
    readers: tuple[str, ...],
    whole: list[str],
    marks: LesionMarks,
) -> tuple[list[Line], list[Line]]:
    if not readers or not arms:
        return [], []
    if len(whole) < LEAST_CASES:
        why = f"{TOO_FEW}n = {len(whole)}, {LEAST_CASES} needed"
        none = undefined(len(whole), why)
        return [Line((r, ARM_NAMES[a]), (none,)) for a in arms for r in readers], []
    shown = _afroc_marks(arms, readers, whole, marks)
    estimates = afroc.afroc(shown, "all")
    figures = [
        Line((r, ARM_NAMES[a]), (estimates[i][j],))
        for i, a in enumerate(arms)
        for j, r in enumerate(readers)
    ]
    changes = []
    if len(arms) > 1 and estimates[0][0].defined:
        study = afroc.compare_afroc(shown, "all")
        for i, j in combinations(range(len(arms)), 2):
            change = study.differences_random[i, j]
            changes.append(Line((phase_words(arms[i], arms[j]),), (change.difference,), change.p))
    return figures, changes


def _rated_arms(
    arms: tuple[str, ...], readers: tuple[str, ...], whole: list[str], marks: LesionMarks
) -> set[str]:
    """The arms in which all sheets rate their marks."""
    return {
        a for a in arms if whole and all((a, r, c) in marks.ratings for r in readers for c in whole)
    }


def _afroc_marks(
    arms: tuple[str, ...], readers: tuple[str, ...], whole: list[str], marks: LesionMarks
) -> afroc.Marks:
    """The ratings of an arm whose sheets have them; else 1 where there is a mark, -inf where there
    is none."""
    rated = _rated_arms(arms, readers, whole, marks)
    where = np.repeat(np.arange(len(whole)), [marks.lesions[c] for c in whole])
    hits = np.full((len(arms), len(readers), len(where)), -np.inf)
    false = np.full((len(arms), len(readers), len(whole)), -np.inf)
    for i, arm in enumerate(arms):
        for j, reader in enumerate(readers):
            on: list[float] = []
            for c, case in enumerate(whole):
                at = (arm, reader, case)
                if arm in rated:
                    ratings, beside = marks.ratings[at]
                else:
                    found, wrong = marks.hits[at]
                    numbers = range(1, marks.lesions[case] + 1)
                    ratings = tuple(1.0 if n in found else -np.inf for n in numbers)
                    beside = (1.0,) * wrong
                on += ratings
                false[i, j, c] = max(beside, default=-np.inf)
            hits[i, j] = on
    return afroc.Marks(false, hits, where)


def _sentence(verdicts: list[Line], found: ResultTable) -> str:
    share = Column("", "share")
    if found.lines:
        told = [
            f"{x.labels[0]}, {x.labels[1].lower()}: {cell_text(share, x.cells[0])}"
            for x in found.lines
        ]
        return f"Lesions found of the reference: {'; '.join(told[:4])}."
    if verdicts:
        told = [f"{x.labels[0]} {cell_text(share, x.cells[0])}" for x in verdicts]
        return f"Lesions of the models that were accepted: {'; '.join(told[:4])}."
    return (
        "No lesions were judged yet. Lesion marks count where the case has a reference mask; "
        "outlines count where two readers corrected the segmentation of a case."
    )


def dice_table(data: StudyData) -> ResultTable:
    """Agreement of the readers' corrected segmentations."""
    names = tuple(sorted({n for owners, _ in data.dice.values() for n in owners}))
    tables = np.full((len(data.dice), len(names), len(names)), np.nan)
    for c, (owners, table) in enumerate(data.dice.values()):
        at = [names.index(n) for n in owners]
        tables[c][np.ix_(at, at)] = table
    lines = []
    if len(names) > 1:
        lines.append(Line(("all readers",), (guarded(continuous.mean_reader_dice(tables), 5),)))
    return ResultTable(
        "dice",
        "Overlap of the readers' corrected segmentations, tumour core",
        ("Readers",),
        (Column("Dice"),),
        tuple(lines),
        "1 is the same outline, 0 no voxel in common. Counted where two readers corrected a case.",
    )
