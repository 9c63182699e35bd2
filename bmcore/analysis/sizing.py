"""The size of a study to be: the variation of one that was read, and the result in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmcore.analysis.endpoints import as_readings
from bmcore.analysis.readings import CaseFacts, from_study
from bmcore.domain import Primary, refuse
from bmcore.review.record import StudyRecord
from bmcore.stats import mrmc
from bmcore.stats.mrmc import Components
from bmcore.stats.readings import MODELS, Reading, by_arm_and_reader, class_score
from bmcore.stats.sizing import MEASURES, Row


def pilot(
    record: StudyRecord, known: Mapping[str, Primary], measure: str
) -> tuple[Components, int]:
    """Components of the two arms that a finished study compares, and its number of cases.

    Cases that every reader read in both arms; the primary of an AUC, sensitivity or specificity is
    that of the plan's endpoint. InputRefused where the study runs, or is too small.
    """
    if not record.finished:
        raise refuse(
            f"the study {record.study.study} is not finished, so it tells nothing yet",
            found=f"{record.open_sheets} open readings",
        )
    if measure not in MEASURES:
        raise refuse("this measure is not sized", found=measure, expected=", ".join(MEASURES))
    arms, category = record.study.primary_endpoint.compare, record.study.primary_endpoint.primary
    if MODELS in arms:
        raise refuse(
            f"the endpoint of {record.study.study} compares readers with the models alone, which "
            "tells nothing of two arms",
            hint="take a study of two arms as the pilot, or a preset.",
        )
    if measure != "accuracy" and category is None:
        raise refuse(
            f"the endpoint of {record.study.study} names no primary", expected="one for "
            + measure, hint="take its accuracy as the pilot.",
        )  # fmt: skip
    facts = {
        c: CaseFacts(c, truth=str(known[c]) if c in known else None) for c in record.study.cases
    }
    rows = [r for r in as_readings(from_study(record, facts)) if r.truth]
    table = by_arm_and_reader(rows, arms)
    readers = sorted({r for arm in table.values() for r in arm})
    whole = sorted(
        set.intersection(*(set(table[a].get(r, {})) for a in arms for r in readers))
        if readers
        else set()
    )
    ill = np.array([table[arms[0]][readers[0]][c].truth == category for c in whole], bool)
    of = {"sensitivity": ill, "specificity": ~ill}.get(measure, np.ones(len(whole), bool))
    n = int(of.sum())
    small = min(int(ill.sum()), int((~ill).sum())) < 5 if measure == "AUC" else n < 10
    if len(readers) < 2 or small:
        raise refuse(
            "the pilot is too small",
            found=f"{len(readers)} readers, {n} cases read by all in both arms",
            expected="two readers and ten cases, for an AUC five of either kind",
        )
    scores = np.array(
        [[[_value(table[a][r][c], measure, category or "") for c in whole] for r in readers]
         for a in arms]
    )  # fmt: skip
    if measure == "AUC":
        return mrmc.compare_auc(scores, ill, "jackknife").components, n
    marks = scores[:, :, of]
    t, r, _ = marks.shape
    covariance = np.cov(marks.reshape(t * r, n)) / n
    figures = marks.mean(axis=2)
    return mrmc.components(figures, covariance.reshape(t, r, t, r)), n


def _value(row: Reading, measure: str, category: str) -> float:
    if measure == "AUC":
        return max(class_score(row, category), -1000.0)
    if measure == "specificity":
        return float(row.answer != category)
    return float(row.answer == row.truth)


def words(row: Row) -> str:
    """One line: readers, cases, and what to beware of."""
    needed = row.needed
    told = (
        f"{needed.cases} cases (power {needed.power:.0%})"
        if needed.cases is not None
        else f"not reached: {needed.why}"
    )
    return f"{row.readers} readers: {told}" + (f"; {row.caution}" if row.caution else "")
