""" "As before": what a reader said of a case in the earlier arms of the same sitting.

Taking it over fills a later sheet at a click; the reader still checks and locks it, and the row
that locks names the questions that were filled so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from bmcore.domain import refuse
from bmcore.review import chain, schema, worklist
from bmcore.review.allocation import Place
from bmcore.review.answers import answer, in_force
from bmcore.review.plan_question import FREE
from bmcore.review.study import Study

# A mask is another one in each arm, and verdicts, grades and marks belong to what is on the screen.
KINDS = ("primary", "differential", *(kind for kind in FREE if kind != "mask"))


def answers(connection: sa.Connection, study: Study, place: Place) -> Mapping[str, Any]:
    """{question: answer in force} of the newest earlier arm that asked it, of questions that this
    arm asks too. Empty in a crossover, in the first arm, and while an earlier arm is open."""
    told = worklist.events(connection, study.study, place.reader)
    asked = {q.id for q in study.questions_in(place.arm) if q.kind in KINDS}
    t = schema.answers
    found: dict[str, Any] = {}
    for arm in worklist.earlier_arms(study, place):
        before = replace(place, arm=arm)
        if told.get(before, worklist.Told()).closed != "locked":
            return {}
        mine = (t.c.site == chain.own_site(connection), *worklist.at(t, study.study, before))
        rows = [answer(row) for row in connection.execute(sa.select(t).where(*mine))]
        found |= {a.question: a.value for a in in_force(rows) if a.question in asked}
    return found


def check(connection: sa.Connection, study: Study, place: Place, questions: Iterable[str]) -> None:
    """Refuse to record as taken over what was not answered before."""
    named = set(questions)
    unknown = named - set(answers(connection, study, place)) if named else set()
    if unknown:
        raise refuse(
            "an answer cannot be taken over that was not given in an earlier step of the case",
            found=", ".join(sorted(unknown))[:80],
        )


def as_text(questions: Sequence[str]) -> str | None:
    """The one spelling in the database; None where nothing was taken over."""
    return json.dumps(sorted({*questions})) if questions else None


def from_text(stored: str | None) -> tuple[str, ...]:
    """The questions that were taken over."""
    return tuple(json.loads(stored)) if stored else ()
