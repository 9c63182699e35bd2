"""Results against the known primary: readers, models, and readers against models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmcore.analysis.readings import RESTATED, CaseFacts, ReadingArrays, StudyData, code
from bmcore.analysis.roc import curves_table
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_CASES,
    LEAST_OF_A_KIND,
    THESE_READERS,
    TOO_FEW,
    Column,
    Drawing,
    Line,
    ResultTable,
    Section,
    cell_text,
    count,
    non_empty,
)
from bmcore.domain import PRIMARIES, PRIMARY_NAMES
from bmcore.stats import clustered, delong, reader, ustatistics
from bmcore.stats.estimate import Estimate, proportion, undefined
from bmcore.stats.readings import CANNOT_TELL

KINDS: Mapping[str, str] = {
    "clinical": "Models, clinical data only",
    "image": "Models, images only",
    "fused": "Models, fused",
    RESTATED: "Models, fused, for the plan's case mix",
}


NO_TRUTH = (
    "No case has a known primary, so nothing can be said of right and wrong. Give the primaries "
    "with the cases, or with --truth on the command line."
)


def accuracy_section(data: StudyData, arrays: ReadingArrays, category: str) -> Section:
    """Readers and models against the reference; AUC and shares: ``category`` against the rest."""
    known = int(arrays.known.sum())
    title = "Against the known primary"
    if not known:
        return Section("accuracy", title, NO_TRUTH)
    lines = _reader_lines(arrays, category) + _model_lines(data, category)
    name = PRIMARY_NAMES[category]
    columns = (
        Column("Right answers", "share"),
        Column(f"Sensitivity, {name}", "share"),
        Column(f"Specificity, {name}", "share"),
        Column(f"AUC, {name}"),
    )
    tables = [
        ResultTable(
            "accuracy",
            "Readers and models against the known primary",
            ("Who", "Phase"),
            columns,
            tuple(lines),
            "Other and cannot tell count as not right. AUC from the confidence that it is this "
            "primary against the rest; cannot tell ranks lowest, whatever its confidence; from "
            f"{LEAST_OF_A_KIND} cases of either kind upwards." + THESE_READERS,
            drawings=(
                Drawing(
                    "intervals",
                    words="Share of right answers of each reader and of the models, with intervals",
                    report_width=0.7,
                ),
            ),
        ),
        _against_models(arrays),
        _auc_against_model(data, arrays, category),
        curves_table(data, category),
    ]
    return Section("accuracy", title, _sentence(arrays, lines, known), non_empty(tables))


def _reader_lines(arrays: ReadingArrays, category: str) -> list[Line]:
    lines = []
    known = arrays.known
    truth = arrays.truth[known]
    for i, arm in enumerate(arrays.arms):
        answers = arrays.answers[i][:, known]
        given = answers >= 0
        if not given.any():
            continue
        if len(arrays.readers) > 1:
            cells = _pooled(answers, truth, category)
            lines.append(Line(("All readers", ARM_NAMES[arm]), cells, keys=(arm,)))
        for r, name in enumerate(arrays.readers):
            if given[r].any():
                sure = np.nan_to_num(arrays.confidences[i, r, known])
                cells = _score(answers[r], truth, category, sure)
                lines.append(Line((name, ARM_NAMES[arm]), cells, keys=(arm,)))
    return lines


def _pooled(answers: np.ndarray, truth: np.ndarray, category: str) -> tuple[Estimate | None, ...]:
    """Over all readings (readers, cases); the AUC is left to the comparison of the phases."""
    given, ill = answers >= 0, truth == code(category)
    return (
        clustered.share(answers == truth, given, "right answers"),
        clustered.share(answers == code(category), given & ill, "sensitivity"),
        clustered.share(answers != code(category), given & ~ill, "specificity"),
        None,
    )


def _score(
    answers: np.ndarray, truth: np.ndarray, category: str, sure: np.ndarray
) -> tuple[Estimate | None, ...]:
    found = reader.score_reader(answers, truth, code(category), sure, undecided=code(CANNOT_TELL))
    return (
        found.accuracy,
        found.sensitivity,
        found.specificity,
        enough(found.auc, answers, truth, category),
    )


def enough(area: Estimate, answers: np.ndarray, truth: np.ndarray, category: str) -> Estimate:
    """The AUC where there are enough cases of either kind, else the words why not."""
    ill = truth[answers >= 0] == code(category)
    fewest = int(min(ill.sum(), (~ill).sum()))
    if fewest >= LEAST_OF_A_KIND:
        return area
    why = f"{TOO_FEW}{count(fewest, 'case')} of the rarer kind, {LEAST_OF_A_KIND} needed"
    return undefined(len(ill), why)


def _model_lines(data: StudyData, category: str) -> list[Line]:
    facts = [f for _, f in sorted(data.cases.items()) if f.truth and f.answers]
    lines = []
    for kind, name in KINDS.items() if facts else ():
        if kind == RESTATED and not any(kind in f.answers for f in facts):
            continue  # the plan states no case mix
        truth = np.array([code(f.truth) for f in facts])
        answers = np.array([code(f.top(kind)) for f in facts])
        scores = np.array([_chance(f, kind, category) for f in facts])
        ill, given = truth == code(category), answers >= 0
        right = proportion(int((answers == truth).sum()), len(truth))
        found = reader.score_reader(answers, truth, code(category))
        area = (
            delong.auc(scores[given], ill[given])
            if given.any()
            else undefined(0, "AUC; not defined: no answer")
        )
        cells = (
            right,
            found.sensitivity,
            found.specificity,
            enough(area, answers, truth, category),
        )
        lines.append(Line((name, "a missing answer is not right" if (~given).any() else ""), cells))
    return lines


def _chance(facts: CaseFacts, kind: str, category: str) -> float:
    found = facts.answers.get(kind)
    return np.nan if found is None else found[[str(p) for p in PRIMARIES].index(category)]


def _against_models(arrays: ReadingArrays) -> ResultTable:
    lines = []
    known = arrays.known
    for i, arm in enumerate(arrays.arms):
        for r, name in enumerate(arrays.readers):
            model = arrays.model[i, r, known]
            answers, truth = arrays.answers[i, r, known], arrays.truth[known]
            if not ((answers >= 0) & (model >= 0)).any():
                continue
            found = reader.against_model(answers, model, truth)
            lines.append(Line((name, ARM_NAMES[arm]), (found.difference,), found.mid_p))
    return ResultTable(
        "reader_less_model",
        "Each reader minus the models' fused answer, right answers on the same cases",
        ("Reader", "Phase"),
        (Column("Difference", "points"),),
        tuple(lines),
        "Above 0 the reader is right more often. McNemar's test, mid-p.",
        "p",
    )


def _auc_against_model(data: StudyData, arrays: ReadingArrays, category: str) -> ResultTable:
    lines = []
    known = arrays.known
    model = np.array(
        [
            _chance(data.cases[c], "fused", category)
            for c, k in zip(arrays.cases, known, strict=True)
            if k
        ]
    )
    ill = arrays.truth[known] == code(category)
    for i, arm in enumerate(arrays.arms):
        scores = class_scores(arrays, i, category)[:, known]
        whole = np.isfinite(scores).all(axis=0) & np.isfinite(model)
        if min(ill[whole].sum(), (~ill[whole]).sum()) < LEAST_OF_A_KIND or len(scores) < 2:
            continue
        found, _ = ustatistics.readers_against_model(scores, model, ill)
        lines.append(Line((ARM_NAMES[arm],), (found.difference,), found.p))
    return ResultTable(
        "auc_less_model",
        f"Mean AUC of the readers minus that of the fused models, {PRIMARY_NAMES[category]}",
        ("Phase",),
        (Column("Difference"),),
        tuple(lines),
        "For readers and cases like these (U-statistics).",
        "p",
    )


def class_scores(arrays: ReadingArrays, arm: int, category: str) -> np.ndarray:
    """Scores (readers, cases) for ``category`` from answers and confidences, NaN without."""
    return np.array(
        [
            delong.class_scores(a, np.where(a >= 0, c, 0), code(category), code(CANNOT_TELL))
            for a, c in zip(arrays.answers[arm], arrays.confidences[arm], strict=True)
        ]
    ).reshape(len(arrays.readers), len(arrays.cases))


def _sentence(arrays: ReadingArrays, lines: list[Line], known: int) -> str:
    told = [
        f"{name.lower() if name.startswith(('All', 'Models')) else name} "
        f"{cell_text(Column('', 'share'), line.cells[0])}"
        + (f" {ARM_NAMES[arm].lower()}" if (arm := _arm(line)) else "")
        for line in lines
        if (name := line.labels[0]) in ("All readers", KINDS["fused"]) or len(arrays.readers) == 1
    ]
    text = f"{count(known, 'case')} with a known primary. Right answers: {'; '.join(told)}."
    if known < LEAST_CASES:
        text += f" With fewer than {LEAST_CASES} cases these numbers decide nothing."
    return text


def _arm(line: Line) -> str:
    return next((a for a, words in ARM_NAMES.items() if words == line.labels[1]), "")
