"""Blinded preference: which of two segmentations readers find better, sides and readers apart."""

from __future__ import annotations

from bmcore.analysis.readings import StudyData
from bmcore.analysis.tables import (
    LEAST_CASES,
    Column,
    Line,
    ResultTable,
    Section,
    cell_text,
    guarded,
    non_empty,
    p_text,
)
from bmcore.stats import preference

NAMES = {"models": "the models", "reference": "the reference"}


def preference_section(data: StudyData) -> Section | None:
    """Bradley-Terry of the choices; None where the plan asks for no preference."""
    if data.plan is None or data.plan.preference is None:
        return None
    title = "Blinded preference"
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
            "% is no preference. Neither readers nor browser knew which was which.",
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
            "Sides were drawn, so 50 % is expected; far from it is a habit of the side.",
        ),
    ]
    planned = len(data.plan.cases) * len(data.plan.readers)
    made = f"{len(data.preferences)} of {planned} comparisons made."
    return Section("preference", title, f"{_sentence(lines)} {made}", non_empty(tables))


def name(candidate: str) -> str:
    """A candidate in words, for instance "the models"."""
    if candidate in NAMES:
        return NAMES[candidate]
    return f"bundle {candidate.removeprefix('bundle:')[:8]}"


def _sentence(lines: list[Line]) -> str:
    first = lines[0].cells[0]
    assert first is not None
    if not first.has_interval:
        return f"Which segmentation is preferred can be said from {LEAST_CASES} cases on."
    shown = cell_text(Column("", "share"), first)
    return f"Readers prefer {lines[0].labels[0]}: {shown}, p {p_words(lines[0].p)}."


def p_words(p: float) -> str:
    """For instance "= 0.040" or "< 0.001"."""
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"
