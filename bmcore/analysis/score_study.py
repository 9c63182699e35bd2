"""A reader study of scores that another program recorded: AUCs of readers under modalities.

What iMRMC's and RJafroc's files hold: reader, case, modality, score. Computed as a study of our own
is: Obuchowski and Rockette's analysis with the jackknife, and U-statistics as in iMRMC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from bmcore.analysis.tables import Column, Line, ResultTable, Section, count, non_empty
from bmcore.domain import refuse
from bmcore.stats import delong, incomplete, mrmc, weighted_mrmc
from bmcore.stats.estimate import Estimate
from bmcore.stats.imrmc_file import ImrmcStudy
from bmcore.stats.measures import auc_of_scores
from bmcore.stats.weighted_mrmc import Figure


def score_section(study: ImrmcStudy, modalities: tuple[str, ...] = ()) -> Section:
    """AUCs, differences of each two modalities, and the components of variance where the design is
    complete. InputRefused on a modality that the study does not have."""
    names = modalities or study.modalities
    try:
        scores, truth = study.arrays(names)
    except KeyError as fault:
        raise refuse(
            "this modality is not in the file", found=", ".join(names),
            expected=", ".join(study.modalities),
        ) from fault  # fmt: skip
    cases = tuple(study.truth)
    figures = [_figures(table, truth, cases, study.readers) for table in scores]
    tables = [
        _each_reader(names, study.readers, scores, truth),
        _means(names, figures, scores, truth),
        _differences(names, figures, scores, truth),
        _components(names, study.readers, scores, truth),
    ]
    read = int((~np.isnan(scores)).sum())
    missing = scores.size - read
    sentence = (
        f"{count(len(study.readers), 'reader')}, {count(len(cases), 'case')} "
        f"({int(truth.sum())} positive), {count(len(names), 'modality').replace('ys', 'ies')}; "
        f"{count(read, 'reading')}, {missing} missing."
    )
    return Section("scores", "Areas under the ROC curve", sentence, non_empty(tables))


def _figures(
    table: np.ndarray, truth: np.ndarray, cases: tuple[str, ...], readers: tuple[str, ...]
) -> dict[str, Figure]:
    """reader -> the area with its jackknife, of those who read enough."""
    found = {}
    for name, scores in zip(readers, table, strict=True):
        read = ~np.isnan(scores)
        own = tuple(c for c, r in zip(cases, read, strict=True) if r)
        found[name] = auc_of_scores(scores[read], truth[read], own)
    return weighted_mrmc.usable(found)[0]


def _each_reader(
    names: tuple[str, ...], readers: tuple[str, ...], scores: np.ndarray, truth: np.ndarray
) -> ResultTable:
    lines = []
    for r, reader in enumerate(readers):
        cells: list[Estimate | None] = []
        for table in scores:
            read = ~np.isnan(table[r])
            enough = min(int(truth[read].sum()), int((~truth[read]).sum())) >= 2
            cells.append(delong.auc(table[r, read], truth[read]) if enough else None)
        lines.append(Line((reader,), tuple(cells)))
    return ResultTable(
        "score_readers", "Each reader", ("Reader",), tuple(Column(n) for n in names), tuple(lines),
        "DeLong's interval on the logit scale.",
    )  # fmt: skip


def _means(
    names: tuple[str, ...], figures: list[dict[str, Figure]], scores: np.ndarray, truth: np.ndarray
) -> ResultTable:
    by_u = incomplete.compare_auc(scores, truth).means
    lines = []
    for i, name in enumerate(names):
        found = weighted_mrmc.contrast([figures[i]], "AUC", bounds=(0.0, 1.0))
        cells = (found.random.difference, by_u[i], found.fixed.difference)
        lines.append(Line((name,), cells))
    return _three("score_means", "Mean of the readers", ("Modality",), lines)


def _differences(
    names: tuple[str, ...], figures: list[dict[str, Figure]], scores: np.ndarray, truth: np.ndarray
) -> ResultTable:
    lines = []
    by_u = incomplete.compare_auc(scores, truth).differences
    for i, j in combinations(range(len(names)), 2):
        found = weighted_mrmc.contrast(
            [figures[i], figures[j]], "AUC, difference", bounds=(-1.0, 1.0)
        )
        cells = (found.random.difference, by_u[i, j].difference, found.fixed.difference)
        lines.append(Line((f"{names[j]} minus {names[i]}",), cells, found.random.p))
    return _three("score_differences", "Differences", ("Modalities",), lines, "p")


def _three(
    key: str, title: str, head: tuple[str, ...], lines: list[Line], p_name: str = ""
) -> ResultTable:
    return ResultTable(
        key,
        title,
        head,
        (
            Column("Readers like these (OR)"),
            Column("Readers like these (U)"),
            Column("These readers (OR)"),
        ),
        tuple(lines),
        "OR: Obuchowski and Rockette with the jackknife over cases, Hillis's degrees of freedom. "
        "U: U-statistics, as iMRMC." + (" p of the first column." if p_name else ""),
        p_name,
    )


def _components(
    names: tuple[str, ...], readers: tuple[str, ...], scores: np.ndarray, truth: np.ndarray
) -> ResultTable:
    """Obuchowski and Rockette's components of a complete design of two modalities or more."""
    lines: list[Line] = []
    if not np.isnan(scores).any() and len(names) > 1 and len(readers) > 1:
        parts = mrmc.compare_auc(scores, truth, "jackknife").components
        values: Mapping[str, float] = {
            "Reader": parts.reader,
            "Reader by modality": parts.interaction,
            "Error": parts.var,
            "Covariance 1 (same reader)": parts.cov1,
            "Covariance 2 (same modality)": parts.cov2,
            "Covariance 3 (neither)": parts.cov3,
        }
        lines = [Line((name, f"{v:.8f}"), ()) for name, v in values.items() if math.isfinite(v)]
    return ResultTable(
        "score_components", "Components of variance", ("Component", "Variance"), (), tuple(lines),
        "For sizing a further study, see docs/statistics.md.",
    )  # fmt: skip
