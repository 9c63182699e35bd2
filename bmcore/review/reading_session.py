"""Reading a study: each reader's work list, the state of each sheet, drafts, locking, skip, flag.

A sheet (``Place``) opens only when it is its turn: everything before it on the list is locked or
skipped, in a sequential design the same case's earlier arms are locked, in a crossover the washout
is over. What is locked changes only by a correction with a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bmcore.domain import InputRefused, refuse
from bmcore.plain import local_time
from bmcore.review import chain, conduct, drawn, earlier, exposure, marks, schema, worklist
from bmcore.review.allocation import Place, work_list
from bmcore.review.answers import StudyAnswer, all_answers, answer, in_force
from bmcore.review.owner import drawer
from bmcore.review.plan import Version, current
from bmcore.review.sheet import as_text, check_sheet, check_value
from bmcore.review.store import Store
from bmcore.review.study import Study
from bmcore.review.votes import Evidence
from bmcore.review.worklist import STATES, Seconds, WorkItem, at, columns, place_of

_NO_TIME, _NOTHING = Seconds(), Evidence()


@dataclass(frozen=True)
class Draft:
    """What was typed and not yet locked. taken_over: see ``earlier``."""

    values: Mapping[str, Any]
    seconds: Seconds
    updated_at: datetime
    taken_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Event:
    """What happened to a sheet, as it is stored."""

    kind: str
    note: str = ""
    seconds: Seconds = _NO_TIME
    evidence: Evidence = _NOTHING
    taken_over: tuple[str, ...] = ()


class ReadingSession:
    """All readers' work in one locked study. ``clock`` gives the time (UTC), for tests."""

    def __init__(
        self, store: Store, study: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store, self._study, self._clock = store, study, clock
        self.version  # refused here where the study is not locked  # noqa: B018

    @property
    def store(self) -> Store:
        """Where everything of the study lies."""
        return self._store

    @property
    def version(self) -> Version:
        """The plan in force."""
        return self._store.read(lambda connection: current(connection, self._study))

    def work(self, reader: str) -> tuple[WorkItem, ...]:
        """The reader's whole list, in the seeded order."""
        return self._store.read(lambda connection: self._work(connection, reader))

    def next(self, reader: str) -> WorkItem | None:
        """The sheet to read now (``not_before`` says if only later); None when all is done."""
        return next((w for w in self.work(reader) if not w.done), None)

    def draft(self, place: Place) -> Draft | None:
        """What was saved of an unfinished sheet."""
        t = schema.drafts
        query = sa.select(t).where(*at(t, self._study, place))
        row = self._store.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return None
        seconds = Seconds(row.active_s, row.idle_s)
        taken_over = earlier.from_text(row.taken_over)
        return Draft(json.loads(row.content), seconds, row.updated_at, taken_over)

    def earlier(self, place: Place) -> Mapping[str, Any]:
        """The reader's answers of the same sitting that this sheet may take over."""

        def look(connection: sa.Connection) -> Mapping[str, Any]:
            plan = current(connection, self._study).study
            return earlier.answers(connection, plan, place)

        return self._store.read(look)

    def save_draft(
        self,
        place: Place,
        values: Mapping[str, Any],
        seconds: Seconds,
        taken_over: Sequence[str] = (),
    ) -> None:
        """Keep an unfinished sheet; the newest replaces the one before. seconds: so far in all."""

        def keep(connection: sa.Connection) -> None:
            plan = current(connection, self._study).study
            self._open(connection, plan, place)
            check_sheet(plan, place.arm, values, whole=False)
            earlier.check(connection, plan, place, taken_over)
            t = schema.drafts
            connection.execute(sa.delete(t).where(*at(t, self._study, place)))
            row = {**columns(self._study, place), "content": as_text(dict(values))}
            row["taken_over"] = earlier.as_text(taken_over)
            row |= {"active_s": seconds.active_s, "idle_s": seconds.idle_s}
            connection.execute(sa.insert(t).values(**row, updated_at=self._clock()))

        self._store.write(keep)

    def show(self, place: Place, evidence: Evidence) -> exposure.Exposure:
        """Allow the models' answers to be sent for an open sheet of an arm that shows them.

        The sending stands in the chain from then on; shown again, nothing new is written.
        """

        def look(connection: sa.Connection) -> exposure.Exposure | None:
            name = current(connection, self._study).study.reader(place.reader).name
            where = (self._study, place.occasion)
            return exposure.known(connection, name, place.case_id, evidence, *where)

        def enter(connection: sa.Connection) -> exposure.Exposure:
            plan = current(connection, self._study).study
            self._open(connection, plan, place)
            if place.arm == "unaided":
                raise refuse("this reading is without the models", found=place.words)
            name = plan.reader(place.reader).name
            where = (self._study, place.arm, place.occasion)
            return exposure.record(connection, name, place.case_id, evidence, *where)

        known = self._store.read(look) if place.arm != "unaided" else None
        return known if known is not None else self._store.write(enter)

    def submit(
        self,
        place: Place,
        values: Mapping[str, Any],
        seconds: Seconds,
        idempotency_key: str,
        evidence: Evidence = Evidence(),
        taken_over: Sequence[str] = (),
    ) -> list[StudyAnswer]:
        """Lock a sheet: all its answers and the times, in one transaction; the draft goes.

        Sent twice with one key, it is locked once. Refused if incomplete or not yet its turn.
        evidence: what the answers rest on; taken_over: questions filled from an earlier arm at a
        click; both are kept with the row that locks.
        """

        def enter(connection: sa.Connection) -> list[StudyAnswer]:
            version = current(connection, self._study)
            said = {name: value for name, value in values.items() if value is not None}
            if self._sent_before(connection, place, "locked", idempotency_key):
                return self._same_answers(connection, place, said)
            self._open(connection, version.study, place)
            check_sheet(version.study, place.arm, said, whole=True)
            drawn.check(connection, version.study, place, said)
            earlier.check(connection, version.study, place, taken_over)
            stored = [
                self._answer(connection, version, place, question.id, said[question.id])
                for question in version.study.questions_in(place.arm)
                if question.id in said
            ]
            self._event(
                connection,
                place,
                _Event("locked", "", seconds, evidence, tuple(taken_over)),
                idempotency_key,
            )
            t = schema.drafts
            connection.execute(sa.delete(t).where(*at(t, self._study, place)))
            return stored

        return self._store.write(enter)

    def correct(self, place: Place, question: str, value: Any, reason: str) -> StudyAnswer:
        """Replace one answer of a locked sheet by a new row; the old one stays. Needs a reason."""
        if not reason.strip():
            raise refuse("a correction needs a reason", hint="write why the answer changes.")

        def enter(connection: sa.Connection) -> StudyAnswer:
            version = current(connection, self._study)
            conduct.check(connection, self._study)
            told = worklist.events(connection, self._study, place.reader).get(place)
            if told is None or told.closed != "locked":
                raise refuse("only a locked reading can be corrected", found=place.words)
            self._refuse_late(connection, version.study, place, told)
            check_sheet(version.study, place.arm, {question: value}, whole=False)
            if value is None:
                raise refuse("a correction cannot take an answer away", found=question)
            asked = next(q for q in version.study.questions_in(place.arm) if q.id == question)
            problems = check_value(asked, value)  # whole, unlike a draft's
            if problems:
                raise InputRefused(*problems)
            known = [a for a in self._answers(connection, place) if a.question == question]
            old = known[0] if known else None
            if old is None:
                raise refuse(f"question {question} was left open when the reading was locked")
            drawn.check_correction(asked, old.value, value)
            if (as_text(old.value), old.reason) == (as_text(value), reason.strip()):
                return old  # the same correction sent once more
            return self._answer(connection, version, place, question, value, old.id, reason.strip())

        return self._store.write(enter)

    def skip(self, place: Place, note: str, idempotency_key: str) -> None:
        """Leave a sheet (and the same case's later arms) open and go on.

        It can be read later, until the list is closed or ``worklist.final`` says otherwise.
        """
        self._mark(place, "skipped", note, idempotency_key)

    def flag(self, place: Place, note: str, idempotency_key: str, on: bool = True) -> None:
        """Mark a sheet for the investigator, or take the mark away; changes no answer."""
        self._mark(place, "flagged" if on else "unflagged", note, idempotency_key)

    def close(self, reader: str, by: str) -> None:
        """Close a list that is read to its end: what is skipped until now stays skipped.

        by: who closes it. Refused while a sheet waits; a closed list is not closed twice.
        """

        def enter(connection: sa.Connection) -> None:
            listed = self._work(connection, reader)
            waiting = sum(not w.done for w in listed)
            if waiting:
                raise refuse(
                    "the list cannot be closed yet",
                    found=f"{waiting} readings are neither locked nor skipped",
                    hint="read or skip them first.",
                )
            if not any(w.state == "skipped" and not w.final for w in listed):
                return
            row = {"study": self._study, "reader": reader, "closed_by": by}
            chain.append(connection, schema.closings, {**row, "created_at": self._clock()})

        self._store.write(enter)

    def answers(self) -> list[StudyAnswer]:
        """All answers in force, of all sites in the database."""
        return in_force(self._store.read(lambda c: all_answers(c, self._study)))

    def history(self) -> list[StudyAnswer]:
        """All answers, corrected ones too."""
        return self._store.read(lambda connection: all_answers(connection, self._study))

    def progress(self) -> dict[str, dict[str, int]]:
        """{reader: {state: sheets}}; says nothing of what was answered."""
        counts: dict[str, dict[str, int]] = {}
        for reader in self.version.study.readers:
            counts[reader.id] = dict.fromkeys([*STATES, "flagged"], 0)
            for work in self.work(reader.id):
                counts[reader.id][work.state] += 1
                counts[reader.id]["flagged"] += work.flagged
        return counts

    def last_activity(self) -> dict[str, datetime]:
        """{reader: when a sheet was last typed in, locked, skipped or flagged}; nobody who never
        did."""
        return self._store.read(lambda connection: worklist.last_activity(connection, self._study))

    def notes(self) -> list[worklist.Note]:
        """Flags that stand and skips, with what the readers wrote."""
        return self._store.read(lambda connection: worklist.notes(connection, self._study))

    # inside a transaction

    def _work(self, connection: sa.Connection, reader: str) -> tuple[WorkItem, ...]:
        plan = current(connection, self._study).study
        return worklist.work(connection, plan, reader, self._clock())

    def _open(self, connection: sa.Connection, plan: Study, place: Place) -> None:
        worklist.check_open(plan, self._work(connection, place.reader), place)

    def _refuse_late(
        self, connection: sa.Connection, plan: Study, place: Place, locked: worklist.Told
    ) -> None:
        """An answer without the models stays as it is once their answers were shown."""
        if place.arm != "unaided":
            return
        sent = exposure.of_case(connection, plan.reader(place.reader).name, place.case_id)
        later = [e for e in sent if e.after(locked.site, locked.seq, locked.at)]
        if later:
            raise refuse(
                "the answer without the models is closed for good",
                found=f"the models' answers were shown on {local_time(later[0].created_at)}",
                hint="flag the reading, and tell the investigator what was wrong.",
            )

    def _mark(self, place: Place, kind: str, note: str, key: str) -> None:
        def enter(connection: sa.Connection) -> None:
            plan = current(connection, self._study).study
            if self._sent_before(connection, place, kind, key):
                return
            if kind == "skipped":
                self._open(connection, plan, place)
            elif place not in {item.place for item in work_list(plan, place.reader)}:
                raise refuse("this reading is not on the reader's list", found=place.words)
            self._event(connection, place, _Event(kind, note), key)

        self._store.write(enter)

    def _event(self, connection: sa.Connection, place: Place, event: _Event, key: str) -> None:
        rests = event.evidence
        row = {**columns(self._study, place), "kind": event.kind, "note": event.note.strip()}
        row |= {"images_sha256": rests.images, "prediction_run": rests.run}
        row |= {"prediction_sha256": rests.prediction}
        row["taken_over"] = earlier.as_text(event.taken_over)
        if event.kind == "locked":
            plan = current(connection, self._study).study
            owner = drawer(plan, place)
            digests = marks.digests(connection, place.case_id, owner)
            row["marks_sha256"], row["mask_sha256"] = digests
        row |= {"active_s": event.seconds.active_s, "idle_s": event.seconds.idle_s}
        row |= {"version": current(connection, self._study).version, "created_at": self._clock()}
        chain.append(connection, schema.events, {**row, "idempotency_key": key})

    def _answer(
        self,
        connection: sa.Connection,
        version: Version,
        place: Place,
        question: str,
        value: Any,
        supersedes: int | None = None,
        reason: str | None = None,
    ) -> StudyAnswer:
        row = {**columns(self._study, place), "question": question, "value": as_text(value)}
        row |= {"version": version.version, "supersedes": supersedes, "reason": reason}
        stored = chain.append(connection, schema.answers, {**row, "created_at": self._clock()})
        return answer(stored)

    def _sent_before(self, connection: sa.Connection, place: Place, kind: str, key: str) -> bool:
        t = schema.events
        query = sa.select(t).where(
            t.c.site == chain.own_site(connection), t.c.idempotency_key == key
        )
        row = connection.execute(query).one_or_none()
        if row is None:
            return False
        stored = place_of(row)
        if (row.study, stored, row.kind) != (self._study, place, kind):
            raise refuse("this form was already used for something else", found=stored.words)
        return True

    def _same_answers(
        self, connection: sa.Connection, place: Place, said: Mapping[str, Any]
    ) -> list[StudyAnswer]:
        first = [a for a in self._all(connection, place) if a.supersedes is None]
        if {a.question: as_text(a.value) for a in first} != {
            q: as_text(v) for q, v in said.items()
        }:
            raise refuse(
                "this form was already locked with other answers",
                found=place.words,
                hint="correct the answer with a reason.",
            )
        return first

    def _answers(self, connection: sa.Connection, place: Place) -> list[StudyAnswer]:
        return in_force(self._all(connection, place))

    def _all(self, connection: sa.Connection, place: Place) -> list[StudyAnswer]:
        t = schema.answers
        mine = t.c.site == chain.own_site(connection)
        query = sa.select(t).where(mine, *at(t, self._study, place)).order_by(t.c.id)
        return [answer(row) for row in connection.execute(query)]
