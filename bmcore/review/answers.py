"""Answers of a study as stored: one a reader, case, arm, occasion and question; never changed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bmcore.review import schema
from bmcore.review.allocation import Place


@dataclass(frozen=True, kw_only=True)
class StudyAnswer:
    """One answer. value: plain data, see ``sheet``; supersedes: the id (of this site) it corrects.

    site: of the database it was given in; version: of the plan in force at that time.
    """

    site: str
    id: int
    study: str
    version: int
    reader: str
    case_id: str
    arm: str
    occasion: int
    question: str
    value: Any
    supersedes: int | None
    reason: str | None
    created_at: datetime

    @property
    def place(self) -> Place:
        return Place(self.reader, self.case_id, self.arm, self.occasion)


def all_answers(connection: sa.Connection, study: str) -> list[StudyAnswer]:
    """All answers of all sites, corrected ones too, oldest first within each site."""
    t = schema.answers
    query = sa.select(t).where(t.c.study == study).order_by(t.c.site, t.c.id)
    return [answer(row) for row in connection.execute(query)]


def in_force(answers: Iterable[StudyAnswer]) -> list[StudyAnswer]:
    """Without those that a later one corrects; the order stays."""
    listed = list(answers)
    replaced = {(a.site, a.supersedes) for a in listed}
    return [a for a in listed if (a.site, a.id) not in replaced]


def answer(row: sa.Row[Any]) -> StudyAnswer:
    """One stored row as a StudyAnswer."""
    values = {f.name: row._mapping[f.name] for f in fields(StudyAnswer)}
    values["value"] = json.loads(values["value"])
    return StudyAnswer(**values)
