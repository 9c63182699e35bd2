"""Answers that rest on what the reader drew: rated marks and the confirmed mask.

They are checked against what is in force when the sheet is locked, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bmcore.domain import Finding, InputRefused, Severity
from bmcore.review import corrections, marks
from bmcore.review.allocation import Place
from bmcore.review.marks import Mark
from bmcore.review.owner import Owner, drawer
from bmcore.review.sheet import MODELS_MASK
from bmcore.review.study import Question, Study
from bmcore.review.transactions import Transactions


@dataclass(frozen=True)
class Drawn:
    """What the reader of a sheet has drawn so far: see ``counted`` and ``mask``."""

    marks: tuple[Mark, ...] = ()
    mask: str = MODELS_MASK


def now(store: Transactions, study: Study, place: Place) -> Drawn:
    """What is drawn on the sheet of ``place`` at this moment."""

    def look(connection: sa.Connection) -> Drawn:
        return Drawn(counted(connection, study, place), mask(connection, study, place))

    return store.read(look)


def counted(connection: sa.Connection, study: Study, place: Place) -> tuple[Mark, ...]:
    """The lesions that the reader has marked on the sheet of ``place``: what ratings are for.

    In the unaided arm those that were made there; with the models all of his own.
    """
    owner = Owner(place.case_id, drawer(study, place))
    phase = "unaided" if place.arm == "unaided" else None
    return tuple(
        m for m in marks.in_force(connection, owner, phase=phase).marks if m.kind == "missed"
    )


def mask(connection: sa.Connection, study: Study, place: Place) -> str:
    """What a question of kind mask confirms: the SHA-256 of the corrected mask, or "models"."""
    found = corrections.state(connection, Owner(place.case_id, drawer(study, place)))
    return found.sha256 if found is not None and found.sha256 is not None else MODELS_MASK


def check(connection: sa.Connection, study: Study, place: Place, values: Mapping[str, Any]) -> None:
    """Refuse ratings and masks that are not those in force now; all problems at once."""
    problems = []
    for question in study.questions_in(place.arm):
        if question.id not in values:
            continue
        if question.kind == "marks" and question.rated:
            there = {m.id for m in counted(connection, study, place)}
            problems += _rating_problems(question, there, set(values[question.id]["marks"]))
        elif question.kind == "mask":
            now = mask(connection, study, place)
            if values[question.id]["mask"] != now:
                what = f"the mask of question {question.id} was changed since it was confirmed"
                problems.append(_finding(what, now[:16], "look at it and confirm it again."))
    if problems:
        raise InputRefused(*problems)


def check_correction(question: Question, old: Any, new: Any) -> None:
    """Refuse a correction of what was drawn: ratings may change, marks and masks may not."""
    problems = []
    if question.kind == "mask" and old != new:
        what = "a mask that was confirmed stays as it is"
        problems.append(_finding(what, str(new["mask"])[:16], "flag the reading instead."))
    if question.kind == "marks" and question.rated:
        problems += _rating_problems(question, set(old["marks"]), set(new["marks"]))
    if problems:
        raise InputRefused(*problems)


def _rating_problems(question: Question, there: set[str], rated: set[str]) -> list[Finding]:
    problems = []
    if there - rated:
        what = (
            f"{len(there - rated)} of {len(there)} marks of question {question.id} have no rating"
        )
        problems.append(_finding(what, None, "rate each mark from 0 to 100."))
    if rated - there:
        what = f"question {question.id} rates marks that are not there"
        problems.append(_finding(what, f"{len(rated - there)} of {len(rated)}", "rate them again."))
    return problems


def _finding(what: str, found: str | None, hint: str) -> Finding:
    return Finding(Severity.REFUSED, what, None, found, None, hint)
