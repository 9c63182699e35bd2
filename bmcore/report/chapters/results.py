"""The results as blocks: each section's sentence, its tables and the figures drawn from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmcore.analysis.tables import LEAST_CASES, ResultTable, Section, reason
from bmcore.report.blocks import Block, Heading, Picture, Table, Words
from bmcore.report.figures.results import figures_of
from bmcore.stats.estimate import Estimate, decimals

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier


def results(d: Dossier) -> list[Block]:
    """All sections; for a study that runs, what may be known."""
    if d.results is None:
        withheld = (
            "The study is not finished. Results are withheld until every reading of every reader "
            "is locked or skipped."
        )
        return [Heading("Results"), Words(withheld), *_progress(d)]
    blocks: list[Block] = []
    for section in d.results.sections:
        blocks += section_blocks(section)
        if section.key == "accuracy" and d.fused_minus_clinical.defined:
            blocks.append(Words(fused_in_words(d.fused_minus_clinical)))
    return blocks


def section_blocks(section: Section) -> list[Block]:
    """A section's sentence, its tables and figures."""
    blocks: list[Block] = [Heading(section.title)]
    if section.sentence:
        blocks.append(Words(section.sentence))
    for table in section.tables:
        blocks.append(Heading(table.title, 3))
        blocks.append(_table(table))
        blocks += [Words(text, "quiet") for text in (table.note, _why(table)) if text]
        blocks += _figures(table)
    return blocks


def _why(table: ResultTable) -> str:
    reasons = table.reasons()
    return f"Why a number is missing: {'; '.join(reasons)}." if reasons else ""


def _table(table: ResultTable) -> Table:
    """The blocks' table; a column of labels gets what its longest text needs, to a limit."""
    rows = tuple(table.texts())
    head = table.header
    labels = len(table.head)
    need = [
        min(34, max(len(head[i]) / 2, *(len(row[i]) for row in rows))) if rows else 10
        for i in range(labels)
    ]
    rest = [
        13.0 if name == table.p_name and i == len(head) - 1 else 24.0 for i, name in enumerate(head)
    ]
    weights = [*(max(12.0, n) for n in need), *rest[labels:]]
    if table.p_name:
        weights[-1] = 8.0
    share = [w / sum(weights) for w in weights]
    return Table(head, rows, tuple(share), tuple(range(labels, len(head))))


def _figures(table: ResultTable) -> list[Block]:
    """What is drawn from a table; nothing where its numbers are all missing."""
    return [
        Picture(words, lambda figure=figure: figure, drawing.report_width)  # type: ignore[misc]
        for drawing in table.drawings
        if drawing.report_width
        for words, figure in figures_of(table, drawing)
    ]


def _progress(d: Dossier) -> list[Block]:
    """How far each reader is; nothing of what was answered."""
    assert d.record is not None
    rows = []
    for reader in d.record.study.readers:
        mine = [s for s in d.record.sheets if s.place.reader == reader.id]
        states = [sum(s.state == state for s in mine) for state in ("locked", "skipped", "open")]
        rows.append((reader.name, str(len(mine)), *map(str, states)))
    head = ("Reader", "Readings", "Locked", "Skipped", "Open")
    return [Table(head, tuple(rows), (0.4, 0.15, 0.15, 0.15, 0.15), (1, 2, 3, 4))]


def fused_in_words(difference: Estimate) -> str:
    """Whether the images add to the clinical data, in one sentence."""
    if not difference.defined:
        return "Whether the images add to the clinical data cannot be said yet."
    if difference.n < LEAST_CASES:
        return (
            f"Whether the images add to the clinical data can be said once {LEAST_CASES} cases "
            f"have a known primary; there {'is' if difference.n == 1 else 'are'} {difference.n}."
        )
    if not difference.has_interval:
        return (
            f"Whether the images add to the clinical data cannot be said: on {difference.n} cases "
            f"{reason(difference)}."
        )
    value, low, high = (
        decimals(100 * x, sign="+") for x in (difference.value, difference.low, difference.high)
    )
    numbers = f"{value} percentage points (95 % interval {low} to {high}, {difference.n} cases)"
    if difference.low > 0:
        verdict = "On these cases the fused answer beats the clinical data alone"
    elif difference.high < 0:
        verdict = "On these cases the fused answer is worse than the clinical data alone"
    else:
        verdict = "It is not shown that the fused answer beats the clinical data alone"
    return f"{verdict}: {numbers}."
