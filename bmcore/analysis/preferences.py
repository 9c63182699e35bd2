"""Blinded preference: which of two segmentations readers find better, sides and readers apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from bmcore.analysis.readings import Compared, StudyData
from bmcore.analysis.tables import (
    LEAST_CASES,
    TOO_FEW,
    Column,
    Line,
    ResultTable,
    Section,
    cell_text,
    count,
    guarded,
    non_empty,
    p_text,
    reason,
)
from bmcore.review.preference import pairs
from bmcore.review.record import StudyRecord
from bmcore.stats import preference

# column -> (type, unit or values, what it is)
CODEBOOK: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "reader": ("text", "", "the reader, as named in the study"),
        "case": ("text", "", "id of the case (a pseudonym)"),
        "place": ("whole number", "from 1", "place among the reader's comparisons"),
        "left": ("text", "models, reference, bundle:hash", "shown as A"),
        "right": ("text", "models, reference, bundle:hash", "shown as B"),
        "answer": ("text", "left, right, tie", "the side chosen; tie: no difference"),
        "preferred": ("text", "models, reference, bundle:hash", "what was chosen; empty: tie"),
        "left_sha256": ("text", "", "of the mask shown as A (labels and grid)"),
        "right_sha256": ("text", "", "of the mask shown as B (labels and grid)"),
        "shown_at": ("text", "UTC", "masks of models first sent; empty: they had been in an arm"),
        "chosen_at": ("text", "UTC", "when the choice was stored"),
        "seconds": ("number", "s", "from shown_at to chosen_at, pauses included"),
    }
)
NAMES = {"models": "the models", "reference": "the reference"}


def preference_section(data: StudyData) -> Section | None:
    """Bradley-Terry of the choices; None where the plan asks for no preference."""
    if data.plan is None or data.plan.preference is None:
        return None
    title = "Blinded preference"
    planned = len(data.plan.cases) * len(data.plan.readers)
    if data.comparisons_open:
        made = f"{planned - data.comparisons_open} of {planned} comparisons are made."
        when = "Which was preferred is shown once all are made, or the study is closed."
        return Section("preference", title, f"{made} {when}")
    if not data.preferences:
        return Section("preference", title, "No two segmentations were compared yet.")
    found = preference.fit(
        [
            preference.Choice(c.reader, c.case, name(c.left), name(c.right), c.answer)
            for c in data.preferences
        ]
    )
    lines = [
        Line((f"{a} rather than {b}",), (guarded(e),), found.p[a, b])
        for (a, b), e in found.preferred.items()
    ]
    habits = [Line(("all readers, between equals",), (guarded(found.side),))]
    habits += [Line((r,), (guarded(e),)) for r, e in found.left_by_reader.items()]
    tables = [
        ResultTable(
            "preferred",
            "Which segmentation is preferred",
            ("What",),
            (Column("Chance, where one is preferred", "share"),),
            tuple(lines),
            "Bradley and Terry's model with ties and the side, clustered on cases and readers; 50 "
            "% is no preference. Neither readers nor browser knew which was which. Where the "
            "model gives no number (one was always chosen, for instance) it is the plain share of "
            "the choices, sides not taken apart and without p.",
            "p",
        ),
        ResultTable(
            "no_difference",
            "No difference seen",
            ("Who",),
            (Column("Share of comparisons", "share"),),
            (Line(("all readers",), (guarded(found.ties),)),),
        ),
        ResultTable(
            "side",
            "Does the side matter?",
            ("Who",),
            (Column("Share of A, where one is preferred", "share"),),
            tuple(habits),
            "Sides were drawn, so 50 % is expected; far from it, the reader favours a side.",
        ),
    ]
    said = _sentence(lines, data.preferences, len(data.preferences) == planned)
    made = f"{len(data.preferences)} of {planned} comparisons made."
    return Section("preference", title, f"{said} {made}", non_empty(tables))


def rows(record: StudyRecord) -> list[dict[str, Any]]:
    """One row a comparison, with every column of the codebook; None: missing."""
    study = record.study
    place = {
        (r.id, pair.case_id): n
        for r in study.readers
        for n, pair in enumerate(pairs(study, r.id), start=1)
    }
    return [
        {
            "reader": study.reader(c.reader).name,
            "case": c.case_id,
            "place": place.get((c.reader, c.case_id)),
            "left": c.left,
            "right": c.right,
            "answer": c.answer,
            "preferred": {"left": c.left, "right": c.right}.get(c.answer),
            "left_sha256": c.left_sha256,
            "right_sha256": c.right_sha256,
            "shown_at": None if c.shown_at is None else c.shown_at.isoformat(),
            "chosen_at": c.created_at.isoformat(),
            "seconds": None
            if c.shown_at is None
            else round((c.created_at - c.shown_at).total_seconds(), 1),
        }
        for c in record.preferences
    ]


def name(candidate: str) -> str:
    """A candidate in words, for instance "the models"."""
    if candidate in NAMES:
        return NAMES[candidate]
    return f"bundle {candidate.removeprefix('bundle:')[:8]}"


def _sentence(lines: list[Line], choices: Sequence[Compared], complete: bool) -> str:
    first = lines[0].cells[0]
    assert first is not None
    unknown = "Which segmentation is preferred"
    if first.method.startswith(TOO_FEW):
        yet = "" if complete else " yet"
        cases = count(len({c.case for c in choices if c.answer != "tie"}), "case")
        alike = sum(c.answer == "tie" for c in choices)
        seen = f" No difference was seen in {alike} of {len(choices)} comparisons." if alike else ""
        return (
            f"{unknown} cannot be said{yet}: one was preferred in {cases}, {LEAST_CASES} needed."
            + seen
        )
    if not first.has_interval:
        return f"{unknown} cannot be said: {reason(first)}."
    shown = cell_text(Column("", "share"), first)
    pair, p = lines[0].labels[0], lines[0].p
    how = "sides not taken apart" if math.isnan(p) else f"p {p_words(p)}"
    if first.low <= 0.5 <= first.high:
        return f"No preference for {pair} is shown: {shown}, {how}."
    if first.high < 0.5:
        return (
            f"Readers prefer {' rather than '.join(pair.split(' rather than ')[::-1])}: "
            f"they chose the latter in {shown}, {how}."
        )
    return f"Readers {'chose' if math.isnan(p) else 'prefer'} {pair}: {shown}, {how}."


def p_words(p: float) -> str:
    """For instance "= 0.040" or "< 0.001"."""
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"
