"""Practice cases: read before the first counted case, with feedback, and counted nowhere.

Each reader answers the questions of the design's last arm, in the plan's order of practice cases;
then the reference and the models' answer are shown. What was said is a chained row of its own
table, never among the answers of the study.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bmcore.domain import PRIMARIES, refuse
from bmcore.review import access, chain, conduct, drawn, exposure, schema
from bmcore.review.allocation import Place
from bmcore.review.plan import current
from bmcore.review.reading_session import Draft
from bmcore.review.sheet import as_text, check_sheet
from bmcore.review.store import Store
from bmcore.review.study import Study
from bmcore.review.votes import Evidence
from bmcore.review.worklist import Seconds, at, columns

Facts = Callable[[str], tuple[str | None, str | None]]  # case -> reference and the models' answer


@dataclass(frozen=True)
class Practised:
    """One practice case as a reader answered it. model: the models' fused answer, if there was."""

    site: str
    reader: str
    case_id: str
    values: Mapping[str, Any]
    reference: str
    model: str | None
    created_at: datetime

    def answer(self, study: Study) -> str:
        """The primary that the reader named."""
        asked = next(q.id for q in study.questions if q.kind == "primary" and q.id in self.values)
        return str(self.values[asked]["choice"])

    def right(self, study: Study) -> bool:
        return self.answer(study) == self.reference


def place(study: Study, reader: str, case_id: str) -> Place:
    """The sheet of a practice case: that of the last arm."""
    return Place(reader, case_id, study.design.arms[-1])


def done(connection: sa.Connection, study: str) -> list[Practised]:
    """What was practised, of all readers and sites, in each site's order."""
    t = schema.practice
    query = sa.select(t).where(t.c.study == study).order_by(t.c.site, t.c.id)
    names = ("site", "reader", "case_id", "reference", "model", "created_at")
    return [
        Practised(values=json.loads(row.content), **{name: row._mapping[name] for name in names})
        for row in connection.execute(query)
    ]


def left(study: Study, read: Iterable[Practised], reader: str) -> tuple[str, ...]:
    """The practice cases that a reader has not read yet, in the plan's order."""
    known = {p.case_id for p in read if p.reader == reader}
    return tuple(case for case in study.practice if case not in known)


class PracticeDesk:
    """One study's practice cases; what a sheet asks of ``ReadingSession``, without its list.

    facts: the reference primary of a case and the models' answer, asked only when a sheet is
    locked. clock: the time (UTC), for tests.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        facts: Facts,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._study, self._facts, self._clock = store, study, facts, clock

    def left(self, reader: str) -> tuple[str, ...]:
        """The practice cases still to be read."""
        return self._store.read(lambda connection: self._left(connection, reader))

    def standing(self, place: Place) -> access.Standing:
        """How the reader of ``place`` stands to this practice sheet."""
        if place.case_id in self.left(place.reader) and conduct.of(self._store, self._study).halted:
            return access.Standing.PAUSED
        return access.practice_standing(self.left(place.reader), place)

    def done(self) -> list[Practised]:
        """What was practised so far."""
        return self._store.read(lambda connection: done(connection, self._study))

    def draft(self, place: Place) -> Draft | None:
        """What was saved of an unfinished practice sheet."""
        t = schema.drafts
        query = sa.select(t).where(*at(t, self._study, place))
        row = self._store.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return None
        return Draft(json.loads(row.content), Seconds(row.active_s, row.idle_s), row.updated_at)

    def earlier(self, place: Place) -> Mapping[str, Any]:
        """Nothing: a practice case has one sheet."""
        return {}

    def save_draft(
        self,
        place: Place,
        values: Mapping[str, Any],
        seconds: Seconds,
        taken_over: Sequence[str] = (),
    ) -> None:
        """Keep an unfinished practice sheet."""

        def keep(connection: sa.Connection) -> None:
            plan = self._open(connection, place)
            check_sheet(plan, place.arm, values, whole=False)
            t = schema.drafts
            connection.execute(sa.delete(t).where(*at(t, self._study, place)))
            row = {**columns(self._study, place), "content": as_text(dict(values))}
            row |= {"active_s": seconds.active_s, "idle_s": seconds.idle_s}
            connection.execute(sa.insert(t).values(**row, updated_at=self._clock()))

        self._store.write(keep)

    def show(self, place: Place, evidence: Evidence) -> exposure.Exposure:
        """Allow the models' answers to be sent: in an arm that shows them, or as feedback."""

        def enter(connection: sa.Connection) -> exposure.Exposure:
            plan = current(connection, self._study).study
            read = done(connection, self._study)
            if place.case_id in left(plan, read, place.reader):
                self._open(connection, place)
                if place.arm == "unaided":
                    raise refuse("this reading is without the models", found=place.words)
            elif place.case_id not in plan.practice:
                raise refuse("this is not a practice case", found=place.case_id)
            name = plan.reader(place.reader).name
            return exposure.record(
                connection, name, place.case_id, evidence, self._study, place.arm
            )

        return self._store.write(enter)

    def submit(
        self,
        place: Place,
        values: Mapping[str, Any],
        seconds: Seconds,
        idempotency_key: str,
        evidence: Evidence = Evidence(),
        taken_over: Sequence[str] = (),
    ) -> None:
        """Lock a practice sheet for good; sent twice, it is kept once."""

        def enter(connection: sa.Connection) -> None:
            version = current(connection, self._study)
            mine = [p for p in done(connection, self._study) if p.reader == place.reader]
            if any(p.case_id == place.case_id for p in mine):
                return
            self._open(connection, place)
            said = {name: value for name, value in values.items() if value is not None}
            check_sheet(version.study, place.arm, said, whole=True)
            drawn.check(connection, version.study, place, said)
            reference, model = self._facts(place.case_id)
            if reference not in PRIMARIES:
                raise refuse(
                    f"practice case {place.case_id} has no known primary to compare with",
                    hint="the investigator brings it under Reference.",
                )
            row: dict[str, Any] = {"study": self._study, "reader": place.reader}
            row["case_id"] = place.case_id
            row |= {"version": version.version, "content": as_text(said)}
            row |= {"reference": str(reference), "model": model, "active_s": seconds.active_s}
            chain.append(connection, schema.practice, {**row, "created_at": self._clock()})
            t = schema.drafts
            connection.execute(sa.delete(t).where(*at(t, self._study, place)))

        self._store.write(enter)

    def _left(self, connection: sa.Connection, reader: str) -> tuple[str, ...]:
        plan = current(connection, self._study).study
        return left(plan, own(connection, self._study), reader)

    def _open(self, connection: sa.Connection, asked: Place) -> Study:
        plan = current(connection, self._study).study
        conduct.check(connection, self._study)
        waiting = self._left(connection, asked.reader)
        if not waiting or asked != place(plan, asked.reader, waiting[0]):
            raise refuse(
                "it is not this practice case's turn",
                found=asked.case_id,
                expected=waiting[0] if waiting else "no practice case is left",
            )
        return plan


def own(connection: sa.Connection, study: str) -> list[Practised]:
    """What was practised at this site."""
    site = chain.own_site(connection)
    return [p for p in done(connection, study) if p.site == site]
