"""The average reader's ROC curve in each phase, and the models' own, with pointwise bands."""

from __future__ import annotations

import math

import numpy as np

from bmcore.analysis.endpoints import as_readings, of_models
from bmcore.analysis.readings import LesionMarks, StudyData
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_OF_A_KIND,
    Column,
    Curve,
    Drawing,
    Line,
    ResultTable,
)
from bmcore.domain import PRIMARY_NAMES
from bmcore.stats import delong, measures, weighted_mrmc
from bmcore.stats.bootstrap import Resampling
from bmcore.stats.endpoint_choice import Endpoint
from bmcore.stats.estimate import Estimate
from bmcore.stats.reader_curves import AverageCurve, average_curve
from bmcore.stats.readings import MODELS, Reading, class_score

SHOWN = (0.1, 0.2, 0.3)  # false positive rates at which the table gives the sensitivity
RESAMPLING = Resampling(resamples=300)


def curves_table(data: StudyData, category: str) -> ResultTable:
    """AUC and sensitivities of the mean curve, ``category`` against the rest, with the curves;
    without a line where no phase has five cases of either kind."""
    plan = data.plan.primary_endpoint if data.plan else None
    fixed = plan is not None and plan.readers == "fixed"
    rule = plan.cannot_tell if plan else "lowest"
    rows = [r for r in as_readings(data) if r.truth]
    read = {r.case for r in rows}
    alone = of_models(data, LesionMarks(), Endpoint("AUC", ("unaided", MODELS), category))
    rows += [r for r in alone if r.truth and r.case in read]
    lines, curves = [], []
    for arm in (*data.arms, MODELS):
        mine = [r for r in rows if r.arm == arm]
        found = _curve(mine, category, rule, fixed)
        if found is not None:
            lines.append(_line(arm, mine, found, (category, rule, fixed)))
            curves.append(_drawn(arm, found))
    name = PRIMARY_NAMES[category]
    return ResultTable(
        "roc",
        f"ROC curve of the average reader, {name} against the rest",
        ("Phase",),
        (
            Column("AUC"),
            *(Column(f"Sensitivity at {100 * x:.0f} % false positives", "share") for x in SHOWN),
        ),
        tuple(lines),
        "At each rate of false positives the mean of the readers' own curves; the band is "
        f"pointwise ({RESAMPLING.level:.0%}), from a bootstrap of cases"
        + (", for these very readers." if fixed else " and readers.")
        + " The AUC weighs readers by how much they read.",
        drawings=(
            Drawing(
                "roc",
                words=f"ROC curves of the average reader, {name} against the rest, with bands",
                report_width=0.6,
            ),
        ),
        curves=tuple(curves),
    )


def _curve(rows: list[Reading], category: str, rule: str, fixed: bool) -> AverageCurve | None:
    readers, cases = sorted({r.reader for r in rows}), sorted({r.case for r in rows})
    ill = {r.case: r.truth == category for r in rows}
    truth = np.array([ill[c] for c in cases], bool)
    if min(int(truth.sum()), int((~truth).sum())) < LEAST_OF_A_KIND:
        return None
    scores = np.full((len(readers), len(cases)), math.nan)
    at = {c: i for i, c in enumerate(cases)}
    for r in rows:
        scores[readers.index(r.reader), at[r.case]] = class_score(r, category, rule)
    given = ~np.isnan(scores)
    if (np.minimum((given & truth).sum(axis=1), (given & ~truth).sum(axis=1)) < 2).all():
        return None
    return average_curve(scores, truth, fixed_readers=fixed, resampling=RESAMPLING)


def _line(arm: str, rows: list[Reading], found: AverageCurve, how: tuple[str, str, bool]) -> Line:
    category, rule, fixed = how
    options = measures.Options(category, cannot_tell=rule)
    own = {
        reader: measures.auc([r for r in rows if r.reader == reader], options)
        for reader in sorted({r.reader for r in rows})
    }
    kept, _ = weighted_mrmc.usable(own)
    mean = weighted_mrmc.contrast([kept], "AUC", bounds=(0.0, 1.0))
    area = (mean.fixed if fixed or len(kept) < 2 else mean.random).difference
    if not area.has_interval and area.value in (0.0, 1.0):
        ill = {r.case: r.truth == category for r in rows if r.reader in kept}
        n1 = sum(ill.values())
        area = delong.area_at_the_end(area.value, n1, len(ill) - n1, "AUC")
    points = [int(np.argmin(np.abs(found.grid - x))) for x in SHOWN]
    cells = [
        Estimate(
            float(found.sensitivity[i]), float(found.low[i]), float(found.high[i]), found.n,
            found.method,
        )
        for i in points
    ]  # fmt: skip
    return Line((ARM_NAMES[arm],), (area, *cells), keys=(arm,))


def _drawn(arm: str, found: AverageCurve) -> Curve:
    columns = (found.grid, found.sensitivity, found.low, found.high)
    x, y, low, high = (tuple(float(v) for v in column) for column in columns)
    return Curve(arm, x, y, low, high)
