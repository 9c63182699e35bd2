"""Results on reliance: what readers make of the models' answers, and what the reasons add."""

from __future__ import annotations

import numpy as np

from bmcore.analysis.accuracy import NO_TRUTH
from bmcore.analysis.readings import ReadingArrays, StudyData
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_OF_A_KIND,
    THESE_READERS,
    Column,
    Drawing,
    Line,
    ResultTable,
    Section,
    cell_text,
    guarded_shared,
    non_empty,
)
from bmcore.stats import clustered, reliance
from bmcore.stats.estimate import Estimate

RELIANCE_NAMES = {
    "helped": "Helped",
    "harmed": "Harmed",
    "ignored": "Right advice ignored",
    "over_reliance": "Over-reliance",
    "followed_error": "Followed an error",
}


def reliance_section(data: StudyData, arrays: ReadingArrays) -> Section:
    """Helped, harmed, ignored, over-reliance, for each phase with the models against unaided."""
    title = "What readers make of the models' answers"
    if "unaided" not in arrays.arms or len(arrays.arms) < 2:
        return Section("reliance", title, "Readings without and with the models are needed.")
    if not arrays.known.any():
        return Section("reliance", title, NO_TRUTH)
    lines = []
    for b, arm in enumerate(arrays.arms):
        if arm != "unaided":
            lines += _reliance_lines(arrays, b)
    tables = [
        ResultTable(
            "reliance",
            "Share of cases, against the reading without the models",
            ("Who", "Phase"),
            tuple(Column(name, "share") for name in RELIANCE_NAMES.values()),
            tuple(lines),
            "Helped: wrong before, right after. Harmed: right before, wrong after. Ignored: stayed "
            "wrong although the models were right. Over-reliance: gave up a right answer for the "
            "models' wrong one. Followed an error: gave the models' wrong answer, of all cases "
            "where they erred." + THESE_READERS,
            drawings=(Drawing("first_line"),),
        ),
        *_explanation(arrays),
        _explanation_votes(data, arrays),
    ]
    return Section("reliance", title, _reliance_sentence(lines), non_empty(tables))


def _reliance_lines(arrays: ReadingArrays, b: int) -> list[Line]:
    known = arrays.known
    before, after = arrays.answers[arrays.arm("unaided")][:, known], arrays.answers[b][:, known]
    model, truth = arrays.model[b][:, known], arrays.truth[known]
    used = (before >= 0) & (after >= 0) & (model >= 0)
    phase = ARM_NAMES[arrays.arms[b]]
    lines = []

    def cells(found: reliance.Reliance) -> tuple[Estimate, ...]:
        return tuple(getattr(found, name) for name in RELIANCE_NAMES)

    if used.any() and len(arrays.readers) > 1:
        truths = np.broadcast_to(truth, before.shape)
        found = reliance.reliance_of_all(before, after, model, truths)
        lines.append(Line(("All readers", phase), cells(found)))
    for r, name in enumerate(arrays.readers):
        if used[r].any():
            found = reliance.reliance(before[r], after[r], model[r], truth)
            lines.append(Line((name, phase), cells(found)))
    return lines


def _explanation(arrays: ReadingArrays) -> list[ResultTable]:
    """The stage with reasons against the one with answers alone."""
    if not {"aided", "aided_explained"} <= set(arrays.arms):
        return []
    known = arrays.known
    a, b = arrays.arm("aided"), arrays.arm("aided_explained")
    before, after = arrays.answers[a][:, known], arrays.answers[b][:, known]
    both = (before >= 0) & (after >= 0)
    there = both.any(axis=1)
    if not there.any():
        return []
    model = arrays.model[b][:, known].max(axis=0)
    effect = reliance.explanation_effect(before[there], after[there], model, arrays.truth[known])
    right = model == arrays.truth[known]
    strata = (
        ("cases", "All cases", np.ones(len(right), bool)),
        ("model_right", "Models right", right),
        ("model_wrong", "Models wrong", (model >= 0) & ~right),
    )
    readers = [name for name, has in zip(arrays.readers, there, strict=True) if has]
    lines = []
    for key, words, among in strata:
        given = both[there][:, among]
        cells = tuple(
            guarded_shared(found[key].difference, given, readers, LEAST_OF_A_KIND)
            for found in (effect.random, effect.fixed)
        )
        lines.append(Line((words,), cells, effect.random[key].p))
    return [
        ResultTable(
            "explanation",
            "Effect of the reasons: right answers with reasons minus without",
            ("Cases",),
            (Column("Readers like these", "points"), Column("These readers", "points")),
            tuple(lines),
            "Mean of the readers, cases that all read in both stages. p of the first column.",
            "p",
        )
    ]


def _explanation_votes(data: StudyData, arrays: ReadingArrays) -> ResultTable:
    """Helpful, neutral or misleading, where the models were right and where they were wrong."""
    said: dict[str, np.ndarray] = {}
    shape = (len(arrays.readers), len(arrays.cases))
    for r in data.readings:
        if r.explanation and not r.occasion:
            place = (arrays.readers.index(r.reader), arrays.cases.index(r.case_id))
            said.setdefault(r.explanation, np.zeros(shape, bool))[place] = True
    lines = []
    if said:
        given = np.any(list(said.values()), axis=0)
        model = arrays.model.max(axis=(0, 1))
        right = (model == arrays.truth) & arrays.known
        for words, among in (
            ("All", np.ones(len(arrays.cases), bool)),
            ("Models right", right),
            ("Models wrong", arrays.known & (model >= 0) & ~right),
        ):
            of = given & among
            if of.any():
                none = np.zeros(shape, bool)
                cells = tuple(
                    clustered.share(said.get(k, none), of, k)
                    for k in ("helpful", "neutral", "misleading")
                )
                lines.append(Line((words,), cells))
    return ResultTable(
        "explanation_votes",
        "What readers said of the reasons",
        ("Cases",),
        (Column("Helpful", "share"), Column("Neutral", "share"), Column("Misleading", "share")),
        tuple(lines),
    )


def _reliance_sentence(lines: list[Line]) -> str:
    if not lines:
        return (
            "What readers made of the models' answers cannot be said yet: it needs cases with a "
            "known primary and an answer of the models, read in both phases."
        )
    share = Column("", "share")
    helped, harmed, _, over, _ = lines[0].cells
    who = "The readers" if lines[0].labels[0] == "All readers" else lines[0].labels[0]
    text = (
        f"{who}, {lines[0].labels[1].lower()}: helped in {cell_text(share, helped)}; harmed in "
        f"{cell_text(share, harmed)}."
    )
    if over is not None and over.n >= LEAST_OF_A_KIND:
        text += f" Right answers given up for the models' error: {cell_text(share, over)}."
    return text
