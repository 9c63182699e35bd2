"""How a locked study is conducted: paused, resumed, closed; until when it is to be read.

Each step is a row of the chain with who took it, when and why. A study that is paused takes no
reading until it is resumed; one that is closed takes none ever again: what was not read by then
stays unread. A deadline is a day, of the whole study or of one reader; it tells, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from bmcore.domain import refuse
from bmcore.review import chain, schema
from bmcore.review.plan import current
from bmcore.review.store import Store

RUNNING, PAUSED, CLOSED = "running", "paused", "closed"
KINDS = ("paused", "resumed", "closed", "deadline")


@dataclass(frozen=True)
class Step:
    """One row. reader: "" for all; due: of a deadline, None where it was taken away."""

    kind: str
    reader: str
    due: date | None
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True)
class Conduct:
    """How a study stands. last: the step that led there, None where it just runs; due: of all
    readers; own: {reader's id: own deadline}, which goes before ``due``."""

    state: str = RUNNING
    last: Step | None = None
    due: date | None = None
    own: Mapping[str, date] = field(default_factory=dict)

    def deadline(self, reader: str) -> date | None:
        """Until when (that day included) a reader is asked to read."""
        return self.own.get(reader, self.due)

    @property
    def halted(self) -> str:
        """Why nothing can be read now, in words; empty while the study runs."""
        if self.last is None or self.state == RUNNING:
            return ""
        why = f": {self.last.reason}" if self.last.reason else ""
        return f"{self.state} by {self.last.by} on {self.last.at.astimezone():%-d %b %Y}{why}"


def of(store: Store, study: str) -> Conduct:
    """How a study stands at this site."""
    return store.read(lambda connection: standing(connection, study))


def log(store: Store, study: str) -> tuple[Step, ...]:
    """All steps at this site, oldest first."""
    return store.read(lambda connection: _steps(connection, study))


def pause(store: Store, study: str, by: str, reason: str) -> None:
    """Take no reading until the study is resumed. reason: told to the readers."""
    _enter(store, study, "paused", by, reason)


def resume(store: Store, study: str, by: str, reason: str = "") -> None:
    """Let a paused study go on."""
    _enter(store, study, "resumed", by, reason)


def close(store: Store, study: str, by: str, reason: str) -> None:
    """End a study for good: what is not locked by now stays unread, results open to its readers."""
    _enter(store, study, "closed", by, reason)


def set_deadline(store: Store, study: str, by: str, due: date | None, reader: str = "") -> None:
    """Ask for all readings, or those of one reader, until the end of a day; None takes it away."""

    def enter(connection: sa.Connection) -> None:
        plan = current(connection, study).study
        if reader:
            plan.reader(reader)
        now = standing(connection, study)
        if now.state == CLOSED:
            raise refuse(f"the study {study} is closed", found=now.halted)
        known = now.own.get(reader) if reader else now.due
        if known != due:
            _append(connection, study, Step("deadline", reader, due, "", by, datetime.now(UTC)))

    store.write(enter)


def standing(connection: sa.Connection, study: str) -> Conduct:
    """``of``, inside a transaction."""
    return _standing(_steps(connection, study))


def ended_words(connection: sa.Connection, study: str) -> str:
    """Why what is unread stays so, where the study is closed at this site; else empty."""
    now = standing(connection, study)
    return f"the study was {now.halted}" if now.state == CLOSED else ""


def ended_everywhere(connection: sa.Connection, study: str) -> str:
    """As ``ended_words``, where every site that has locked the study has closed it too."""
    t = schema.studies
    sites = set(connection.execute(sa.select(t.c.site).where(t.c.study == study)).scalars())
    stood = [_standing(_steps(connection, study, site)) for site in sorted(sites)]
    if not stood or any(s.state != CLOSED for s in stood):
        return ""
    return f"the study was {stood[-1].halted}"


def steps_everywhere(connection: sa.Connection, study: str) -> tuple[Step, ...]:
    """The steps of all sites, by time."""
    t = schema.conduct
    sites = sorted(set(connection.execute(sa.select(t.c.site).where(t.c.study == study)).scalars()))
    found = [step for site in sites for step in _steps(connection, study, site)]
    return tuple(sorted(found, key=lambda step: step.at))


def check(connection: sa.Connection, study: str) -> None:
    """Refuse a reading of a study that is paused or closed."""
    now = standing(connection, study)
    if now.halted:
        raise refused(study, now)


def refused(study: str, now: Conduct) -> Exception:
    """What a reader is told."""
    if now.state == CLOSED:
        return refuse(
            f"the study {study} is closed and takes no more readings",
            found=now.halted,
            hint="what you have locked is kept.",
        )
    return refuse(
        f"the study {study} is paused and takes no readings now",
        found=now.halted,
        hint="your draft is kept; go on once the investigator resumes the study.",
    )


def _enter(store: Store, study: str, kind: str, by: str, reason: str) -> None:
    def enter(connection: sa.Connection) -> None:
        current(connection, study)  # is there at all
        now = standing(connection, study)
        allowed = {RUNNING: ("paused", "closed"), PAUSED: ("resumed", "closed"), CLOSED: ()}
        if kind not in allowed[now.state]:
            raise refuse(
                f"the study {study} cannot be {kind} now",
                found=now.halted or "it is running",
                hint="a closed study stays closed." if now.state == CLOSED else None,
            )
        if kind != "resumed" and not reason.strip():
            raise refuse("this needs a reason", hint="write why; the readers are told.")
        step = Step(kind, "", None, reason.strip(), by.strip(), datetime.now(UTC))
        _append(connection, study, step)

    if not by.strip():
        raise refuse("say who does this", expected="a name")
    store.write(enter)


def _append(connection: sa.Connection, study: str, step: Step) -> None:
    row: dict[str, Any] = {"study": study, "kind": step.kind, "reader": step.reader}
    row |= {"due": step.due.isoformat() if step.due else None, "reason": step.reason}
    row |= {"author": step.by, "created_at": step.at}
    chain.append(connection, schema.conduct, row)


def _steps(connection: sa.Connection, study: str, site: str | None = None) -> tuple[Step, ...]:
    t = schema.conduct
    mine = (t.c.site == (site or chain.own_site(connection)), t.c.study == study)
    return tuple(
        Step(
            row.kind,
            row.reader,
            date.fromisoformat(row.due) if row.due else None,
            row.reason,
            row.author,
            row.created_at,
        )
        for row in connection.execute(sa.select(t).where(*mine).order_by(t.c.id))
    )


def _standing(steps: tuple[Step, ...]) -> Conduct:
    state, last, due, own = RUNNING, None, None, dict[str, date]()
    for step in steps:
        if step.kind == "deadline":
            if not step.reader:
                due = step.due
            elif step.due is None:
                own.pop(step.reader, None)
            else:
                own[step.reader] = step.due
            continue
        state, last = (RUNNING if step.kind == "resumed" else step.kind), step
    return Conduct(state, last, due, own)
