"""What the report says, in order, as blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmcore.report import outline_back, outline_cases, outline_front, outline_results
from bmcore.report.blocks import NONE, Block, Heading, Picture, Table, Words, moment

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier

__all__ = ["NONE", "Block", "Heading", "Picture", "Table", "Words", "moment", "sections"]


def sections(dossier: Dossier) -> list[Block]:
    """The whole report below its title."""
    return [
        *outline_front.summary(dossier),
        *outline_front.who_was_counted(dossier),
        *outline_results.results(dossier),
        *outline_cases.answer_by_answer(dossier),
        *outline_cases.failures(dossier),
        *outline_cases.cases(dossier),
        *outline_cases.votes(dossier),
        *outline_cases.comments(dossier),
        *outline_back.deviations(dossier),
        *outline_back.versions(dossier),
        *outline_back.checklists(dossier),
    ]
