"""What the worker has to do and has done: one row a kind and subject, and whose turn it is.

The order is fair: what a person clicked on goes before what was asked for many cases at once, that
before what nobody asked for (maps of every case that was read); among those who asked, whoever was
served longest ago comes next with the oldest of the own runs.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bmcore.domain import refuse
from bmcore.review import schema
from bmcore.review.store import Store

PREDICT, RESULTS, MAPS = "predict", "results", "maps"
CLICKED, MANY, BEHIND = 0, 1, 2  # ranks
MOST_ATTEMPTS = 2
STOPPED = (
    "The work stopped before it was finished, twice; the computer may have run out of memory. "
    "Close other programs and start it again."
)
ALREADY = "These models had read the case already, so it was not read again."
_T = schema.runs
_BUSY = ("queued", "running")


@dataclass(frozen=True)
class Run:
    """The newest run of a kind on a subject, as stored; see ``schema.runs``. Times in UTC.

    state: queued, running, done, failed or cancelled. message: why it failed, for the user, or
    ``ALREADY``. attempts: how often it was begun. cancelling: somebody wants the running one to
    end.
    """

    kind: str
    subject: str
    state: str
    rank: int
    asked_by: str
    submitted_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    cancelling: bool = False
    message: str = ""
    digest: str | None = None

    @property
    def busy(self) -> bool:
        return self.state in _BUSY


_COLUMNS = [_T.c[f.name] for f in fields(Run)]


def ask(
    store: Store, kind: str, subjects: Sequence[str], asked_by: str, rank: int = CLICKED
) -> int:
    """Queue a run on each subject, in this order; how many are new.

    What is queued or running stays where it is, but a click brings it forward.
    """
    wanted = list(dict.fromkeys(subjects))
    if not wanted:
        return 0
    return store.write(lambda connection: _ask(connection, kind, wanted, asked_by, rank))


def _ask(
    connection: sa.Connection, kind: str, wanted: Sequence[str], asked_by: str, rank: int
) -> int:
    there = {run.subject: run for run in _select(connection, _T.c.kind == kind)}
    now = datetime.now(UTC)
    new: list[dict[str, Any]] = []
    again: list[dict[str, Any]] = []
    for number, subject in enumerate(wanted):
        known = there.get(subject)
        if known is not None and known.busy:
            if known.state == "queued" and rank < known.rank:
                connection.execute(_at(sa.update(_T), kind, subject).values(rank=rank))
            continue
        at = now + timedelta(microseconds=number)  # the order in which they were asked for
        row = _values(Run(kind, subject, "queued", rank, asked_by, at))
        (new if known is None else again).append(row)
    if new:
        connection.execute(sa.insert(_T), new)
    for row in again:
        connection.execute(_at(sa.update(_T), kind, row["subject"]).values(**row))
    return len(new) + len(again)


def waits(store: Store) -> bool:
    """True where something is queued."""
    query = sa.select(sa.literal(1)).where(_T.c.state == "queued").limit(1)
    return store.read(lambda c: c.execute(query).first()) is not None


def waits_before(store: Store, run: Run) -> bool:
    """True where something is queued that goes before a running ``run``: of a lower rank."""
    earlier = (_T.c.state == "queued", _T.c.rank < run.rank)
    query = sa.select(sa.literal(1)).where(*earlier).limit(1)
    return store.read(lambda c: c.execute(query).first()) is not None


def put_back(store: Store, run: Run, rank: int) -> None:
    """A running run is queued again, with this rank: it has stopped half-way, to go on later."""
    changed = {"state": "queued", "rank": rank, "attempts": 0}
    query = _at(sa.update(_T), run.kind, run.subject).where(_T.c.state == "running")
    store.write(lambda connection: connection.execute(query.values(**changed)))


def any_busy(store: Store) -> bool:
    """True where something is queued or running."""
    query = sa.select(sa.literal(1)).where(_T.c.state.in_(_BUSY)).limit(1)
    return store.read(lambda c: c.execute(query).first()) is not None


def take(store: Store) -> Run | None:
    """The run whose turn it is, now running; None where nothing is queued."""
    return store.write(_take) if waits(store) else None


def _take(connection: sa.Connection) -> Run | None:
    served = (
        sa.select(_T.c.asked_by.label("who"), sa.func.max(_T.c.started_at).label("last"))
        .group_by(_T.c.asked_by)
        .subquery()
    )
    query = (
        sa.select(*_COLUMNS)
        .join(served, served.c.who == _T.c.asked_by)
        .where(_T.c.state == "queued")
        .order_by(
            _T.c.rank,
            sa.func.coalesce(served.c.last, datetime(1970, 1, 1, tzinfo=UTC)),
            _T.c.submitted_at,
            _T.c.subject,
        )
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    run = _run(row)
    changed = {
        "state": "running",
        "started_at": datetime.now(UTC),
        "attempts": run.attempts + 1,
        "cancelling": False,
    }
    connection.execute(_at(sa.update(_T), run.kind, run.subject).values(**changed))
    return Run(**{**_values(run), **changed})


def finish(
    store: Store, run: Run, state: str, message: str = "", digest: str | None = None
) -> None:
    """Say how a running run ended: done, failed or cancelled."""
    if state not in ("done", "failed", "cancelled"):
        raise ValueError(f"a run does not end as {state!r}")
    kept = message.encode("utf-8", "replace").decode().replace("\0", "?")  # as a database can
    changed = {"state": state, "ended_at": datetime.now(UTC), "message": kept, "digest": digest}
    query = _at(sa.update(_T), run.kind, run.subject).where(_T.c.state == "running")
    store.write(lambda connection: connection.execute(query.values(**changed)))


def recover(store: Store) -> None:
    """What was running when the worker died is queued once more, and fails after that.

    For the worker that has just come up: nothing can be running then.
    """

    def again(connection: sa.Connection) -> None:
        for run in _select(connection, _T.c.state == "running"):
            changed: dict[str, Any] = {"state": "queued"}
            if run.cancelling:
                changed = {"state": "cancelled", "ended_at": datetime.now(UTC)}
            elif run.attempts >= MOST_ATTEMPTS:
                changed = {"state": "failed", "message": STOPPED, "ended_at": datetime.now(UTC)}
            connection.execute(_at(sa.update(_T), run.kind, run.subject).values(**changed))

    store.write(again)


def give_up(store: Store, why: str) -> int:
    """Everything that waits fails with this sentence; how many. For when no worker can start."""
    changed = {"state": "failed", "message": why, "ended_at": datetime.now(UTC)}
    query = sa.update(_T).where(_T.c.state.in_(_BUSY)).values(**changed)
    return store.write(lambda connection: connection.execute(query).rowcount)


def cancel(
    store: Store, kind: str, subjects: Collection[str] | None = None, asked_by: str | None = None
) -> int:
    """Take runs out of the queue and ask the running one to end; how many. None: all of them.

    asked_by: only what this person asked for.
    """
    mine = [_T.c.kind == kind]
    if subjects is not None:
        mine.append(_T.c.subject.in_(list(subjects)))
    if asked_by is not None:
        mine.append(_T.c.asked_by == asked_by)
    ended = {"state": "cancelled", "ended_at": datetime.now(UTC)}

    def work(connection: sa.Connection) -> int:
        waiting = sa.update(_T).where(*mine, _T.c.state == "queued").values(**ended)
        running = sa.update(_T).where(*mine, _T.c.state == "running").values(cancelling=True)
        return connection.execute(waiting).rowcount + connection.execute(running).rowcount

    return store.write(work)


def is_cancelled(store: Store, run: Run) -> bool:
    """True where somebody has asked the running ``run`` to end."""
    query = sa.select(_T.c.cancelling).where(_T.c.kind == run.kind, _T.c.subject == run.subject)
    return bool(store.read(lambda connection: connection.execute(query).scalar_one_or_none()))


def find(store: Store, kind: str, subject: str) -> Run | None:
    """The newest run on ``subject``."""
    return next(iter(find_all(store, kind, [subject]).values()), None)


def find_all(store: Store, kind: str, subjects: Collection[str]) -> dict[str, Run]:
    """{subject: its newest run} of those that have one."""
    wanted = (_T.c.kind == kind, _T.c.subject.in_(list(subjects)))
    return {run.subject: run for run in store.read(lambda c: _select(c, *wanted))}


def in_line(store: Store, kind: str, limit: int) -> list[Run]:
    """The running run, then those that wait, nearest first, at most ``limit``.

    In the order of rank and time; among several people the turns alternate.
    """
    query = (
        sa.select(*_COLUMNS)
        .where(_T.c.kind == kind, _T.c.state.in_(_BUSY))
        .order_by(_T.c.state.desc(), _T.c.rank, _T.c.submitted_at, _T.c.subject)
        .limit(limit)
    )
    return [_run(row) for row in store.read(lambda c: c.execute(query).all())]


def counts(store: Store, kind: str) -> dict[str, int]:
    """{state: number of runs}."""
    query = sa.select(_T.c.state, sa.func.count()).where(_T.c.kind == kind).group_by(_T.c.state)
    return {str(state): int(n) for state, n in store.read(lambda c: c.execute(query).all())}


def failed(store: Store, kind: str, limit: int) -> list[Run]:
    """The runs that failed last."""
    query = (
        sa.select(*_COLUMNS)
        .where(_T.c.kind == kind, _T.c.state == "failed")
        .order_by(_T.c.ended_at.desc())
        .limit(limit)
    )
    return [_run(row) for row in store.read(lambda c: c.execute(query).all())]


def passed_over(store: Store, kind: str, hours: float = 24.0) -> int:
    """How many runs had nothing to do in the last hours, see ``ALREADY``."""
    since = datetime.now(UTC) - timedelta(hours=hours)
    query = sa.select(sa.func.count()).where(
        _T.c.kind == kind, _T.c.state == "done", _T.c.message == ALREADY, _T.c.ended_at > since
    )
    return int(store.read(lambda connection: connection.execute(query).scalar_one()))


def ahead(store: Store, run: Run) -> int:
    """How many runs come before a queued one, if nobody asks for more."""
    waiting = sa.select(_T.c.rank, _T.c.asked_by, sa.func.count()).where(_T.c.state == "queued")
    older = sa.or_(
        _T.c.submitted_at < run.submitted_at,
        sa.and_(_T.c.submitted_at == run.submitted_at, _T.c.subject < run.subject),
    )

    def look(connection: sa.Connection) -> int:
        found = connection.execute(waiting.group_by(_T.c.rank, _T.c.asked_by)).all()
        own = (_T.c.asked_by == run.asked_by, _T.c.rank == run.rank)
        mine = connection.execute(
            sa.select(sa.func.count()).where(_T.c.state == "queued", *own, older)
        ).scalar_one()
        running = connection.execute(
            sa.select(sa.func.count()).where(_T.c.state == "running")
        ).scalar_one()
        total = int(running) + int(mine)
        for rank, who, number in found:
            if rank < run.rank:
                total += int(number)
            elif rank == run.rank and who != run.asked_by:
                total += min(int(number), int(mine))  # one of theirs for each of mine
        return total

    return store.read(look)


def usual_s(store: Store, kind: str = PREDICT, last: int = 5) -> float | None:
    """Median seconds that the last finished runs took on this computer, without those that had
    nothing to do; None if there are none."""
    query = (
        sa.select(_T.c.started_at, _T.c.ended_at)
        .where(_T.c.kind == kind, _T.c.state == "done", _T.c.started_at.is_not(None))
        .where(_T.c.message != ALREADY)
        .order_by(_T.c.ended_at.desc())
        .limit(last)
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    return statistics.median((end - begun).total_seconds() for begun, end in rows) if rows else None


def forget(store: Store, kind: str, subject: str) -> None:
    """Remove what is known of runs on ``subject``, for instance a case that was removed."""
    run = find(store, kind, subject)
    if run is not None and run.busy:
        raise refuse(f"the models are at work on {subject}", hint="cancel that first.")
    query = _at(sa.delete(_T), kind, subject)
    store.write(lambda connection: connection.execute(query))


def _select(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Run]:
    return [_run(row) for row in connection.execute(sa.select(*_COLUMNS).where(*where))]


def _run(row: sa.Row[Any]) -> Run:
    return Run(**row._mapping)


def _values(run: Run) -> dict[str, Any]:
    return {f.name: getattr(run, f.name) for f in fields(Run)}


def _at(query: Any, kind: str, subject: str) -> Any:
    return query.where(_T.c.kind == kind, _T.c.subject == subject)
