"""What the report says, in order, as blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmcore.report.blocks import Block
from bmcore.report.chapters import appendix, cases, findings, results

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier


def sections(dossier: Dossier) -> list[Block]:
    """The whole report below its title."""
    return [
        *findings.summary(dossier),
        *findings.who_was_counted(dossier),
        *results.results(dossier),
        *cases.answer_by_answer(dossier),
        *cases.failures(dossier),
        *cases.cases(dossier),
        *cases.votes(dossier),
        *cases.comments(dossier),
        *appendix.deviations(dossier),
        *appendix.versions(dossier),
        *appendix.checklists(dossier),
    ]
