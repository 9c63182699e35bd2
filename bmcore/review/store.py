"""The store of readers and votes. Append-only: what was said stays said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from datetime import UTC, datetime
from types import TracebackType
from typing import TypeVar

import sqlalchemy as sa

from bmcore.domain import ARM_WORDS, refuse
from bmcore.plain import local_time
from bmcore.review import chain, exposure, marks, names, row_mapping, schema, vote_counts
from bmcore.review.connect import WRITE, database_faults, make_engine, shown
from bmcore.review.migrate import migrate
from bmcore.review.votes import Evidence, Reader, Vote, VoteDraft, current
from bmcore.review.write_queue import queue_of

_DRAFT_FIELDS = tuple(f.name for f in fields(VoteDraft))
T = TypeVar("T")


def open_store(url: str) -> Store:
    """Open the database at a SQLAlchemy ``url`` and bring it to the newest step.

    ``StoreRefused`` (a BmcoreError) with one sentence where the file cannot be written, is damaged,
    belongs to another program or was made by a newer version.
    """
    engine = make_engine(url)
    try:
        with database_faults(shown(url)):
            migrate(engine, shown(url))
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, shown(url))


class Store:
    """Made by ``open_store``; one for all threads of a process."""

    def __init__(self, engine: sa.Engine, where: str) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**WRITE)
        self.where = where
        self.before_write: Callable[[], None] | None = None  # may refuse the write

    @property
    def url(self) -> str:
        """The SQLAlchemy URL, with its password: not for messages."""
        return self._engine.url.render_as_string(hide_password=False)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def add_reader(self, name: str, role: str, years: float | None = None) -> Reader:
        """Register a reader; the same reader once more is fine.

        Refused where the name is taken with another role or other years of experience.
        """
        asked = Reader(name, role, years)

        def enter(connection: sa.Connection) -> Reader:
            known = _reader(connection, asked)
            if known is not None:
                return _same_reader(known, asked)
            _refuse_lookalike(connection, asked)
            chain.append(connection, schema.readers, _row_of(asked))
            return asked

        return self.write(enter)

    def readers(self) -> list[Reader]:
        """All readers, by name; see ``row_mapping`` for names that two sites share."""
        return self.read(row_mapping.readers)

    def add_vote(self, draft: VoteDraft) -> Vote:
        """Store ``draft`` and return it as stored; submitted twice, it is stored once.

        The reader must be known, with the same role. An earlier vote of the reader on this case
        and phase is superseded if ``draft.reason`` says why, and else in the way. A vote without
        the models is refused once their answers were sent to the reader (``exposure``); one with
        them needs such a sending, and the vote without them before unless the case is aided only.
        """
        return self.write(lambda connection: _append(connection, draft))

    def show_models(self, reader: str, case_id: str, evidence: Evidence) -> exposure.Exposure:
        """Allow the models' answers on a case to be sent to ``reader``, see ``exposure.allow``."""
        known = self.read(lambda c: exposure.known(c, reader, case_id, evidence))
        if known is not None:
            return known
        return self.write(lambda c: exposure.allow(c, reader, case_id, evidence))

    def shown_to(self, reader: str) -> set[str]:
        """The cases whose answers of the models ``reader`` was sent, in a study or outside."""
        return set(self.read(lambda connection: exposure.of_reader(connection, reader)))

    def voted_by(self, reader: str) -> set[str]:
        """The cases on which a reader of this name has voted outside studies."""
        query = sa.select(schema.votes.c.case_id).where(schema.votes.c.reader == reader).distinct()
        return set(self.read(lambda connection: connection.execute(query).scalars().all()))

    def votes(self, case_id: str | None = None, phase: str | None = None) -> list[Vote]:
        """All votes, superseded ones too, oldest first."""
        stored = self.read(lambda connection: row_mapping.votes(connection, case_id))
        return [vote for vote in stored if phase is None or vote.phase == phase]

    def count_votes(self) -> int:
        """How many votes are stored, superseded ones too."""
        query = sa.select(sa.func.count()).select_from(schema.votes)
        return int(self.read(lambda connection: connection.execute(query).scalar_one()))

    def newest_votes(self, limit: int, offset: int = 0) -> list[Vote]:
        """The votes stored last, newest first, superseded ones too; names as at their own site."""
        t = schema.votes
        query = sa.select(t).order_by(t.c.created_at.desc(), t.c.id.desc())
        query = query.offset(offset).limit(limit)
        return [row_mapping.vote(row) for row in self.read(lambda c: c.execute(query).all())]

    def superseded(self, votes: Sequence[Vote]) -> set[int]:
        """Ids of those of ``votes`` that a later one has replaced."""
        t = schema.votes
        query = sa.select(t.c.supersedes).where(t.c.supersedes.in_([v.id for v in votes]))
        return set(self.read(lambda connection: connection.execute(query).scalars().all()))

    def current_votes(self, case_id: str | None = None, phase: str | None = None) -> list[Vote]:
        """The latest vote of each reader, case and phase, oldest first."""
        return current(self.votes(case_id, phase))

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in one transaction that writes; all of it is stored or nothing."""
        if self.before_write is not None:
            self.before_write()
        sqlite = self._engine.dialect.name == "sqlite"  # a server has its own fair queue
        with (
            queue_of(self.where).turn() if sqlite else nullcontext(),
            database_faults(self.where),
            self._writing.begin() as connection,
        ):
            return work(connection)

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in one transaction that only reads."""
        with database_faults(self.where), self._engine.begin() as connection:
            return work(connection)


def _append(connection: sa.Connection, draft: VoteDraft) -> Vote:
    table = schema.votes
    mine = table.c.site == chain.own_site(connection)
    once = sa.select(table).where(mine, table.c.idempotency_key == draft.idempotency_key)
    stored = connection.execute(once).one_or_none()
    if stored is not None:
        return _same_vote(row_mapping.vote(stored), draft)
    reader = _known_reader(connection, draft)
    _check_order(connection, draft)
    _check_images(connection, draft)
    values = {name: getattr(draft, name) for name in _DRAFT_FIELDS}
    values["reader"] = reader.name
    values["marks_sha256"], values["mask_sha256"] = marks.digests(
        connection, draft.case_id, reader.name
    )
    values["supersedes"] = _superseded(connection, draft, reader)
    values["created_at"] = datetime.now(UTC)
    made = row_mapping.vote(chain.append(connection, table, values))
    vote_counts.voted(connection, draft.case_id)
    return made


def _check_order(connection: sa.Connection, draft: VoteDraft) -> None:
    """Without the models before their answers were sent to the reader, with them after that."""
    images = draft.images_sha256
    sent = exposure.of_case(connection, draft.reader, draft.case_id, images)
    if draft.phase == "unaided":
        if sent:
            raise refuse(
                f"{draft.reader} has been shown the models' answers on case {draft.case_id}, so "
                "the vote without them is closed for good",
                found=f"shown on {local_time(sent[0].created_at)}",
                hint="vote with the models instead.",
            )
        return
    if not exposure.may_be_shown(connection, draft.reader, draft.case_id, images):
        raise refuse(
            f"{draft.reader} has not voted on case {draft.case_id} without the models",
            expected="a vote without the models before the one with them",
            hint="store that vote first.",
        )
    if not sent:
        raise refuse(
            f"the models' answers on case {draft.case_id} were never shown to {draft.reader}",
            expected="a vote with the models after their answers were opened",
            hint="open the models' answers first.",
        )


def _check_images(connection: sa.Connection, draft: VoteDraft) -> None:
    """All votes on a case rest on the same images."""
    if draft.images_sha256 is None:
        return
    t = schema.votes
    query = (
        sa.select(t.c.id)
        .where(t.c.site == chain.own_site(connection), t.c.case_id == draft.case_id)
        .where(t.c.images_sha256 != draft.images_sha256)
        .limit(1)
    )
    other = connection.execute(query).scalar_one_or_none()
    if other is not None:
        raise refuse(
            f"the images of case {draft.case_id} are not those that earlier votes rest on",
            found=f"vote {other} rests on other images",
            hint="put the images back, or add the new ones as a case of another name.",
        )


def _superseded(connection: sa.Connection, draft: VoteDraft, reader: Reader) -> int | None:
    """Id of the vote that ``draft`` replaces, None for a first vote."""
    t = schema.votes
    query = (
        sa.select(sa.func.max(t.c.id))
        .where(t.c.site == chain.own_site(connection))
        .where(t.c.case_id == draft.case_id)
        .where(t.c.reader == reader.name)
        .where(t.c.phase == draft.phase)
    )
    earlier = connection.execute(query).scalar_one_or_none()
    if earlier is not None and draft.reason is None:
        raise refuse(
            f"{reader.name} has already voted on case {draft.case_id} {ARM_WORDS[draft.phase]}",
            hint="give a reason to replace that vote; it stays on record.",
        )
    if earlier is None and draft.reason is not None:
        raise refuse(
            "a reason for a change was given, but there is no earlier vote",
            found=f"no vote of {reader.name} on case {draft.case_id} {ARM_WORDS[draft.phase]}",
            hint="leave the reason empty.",
        )
    return earlier


def _same_vote(stored: Vote, draft: VoteDraft) -> Vote:
    if not stored.says_the_same_as(draft):
        raise refuse(
            "this form was already stored with another answer",
            found=f"vote {stored.id}",
            hint="open the form again to change that vote.",
        )
    return stored


def _known_reader(connection: sa.Connection, draft: VoteDraft) -> Reader:
    asked = Reader(draft.reader, draft.role)
    known = _reader(connection, asked)
    if known is None:
        raise refuse(
            "this reader is not registered",
            found=draft.reader,
            hint="add the reader with name and role first.",
        )
    return _same_reader(known, asked)


def _same_reader(known: Reader, asked: Reader) -> Reader:
    if known.role != asked.role or (asked.years is not None and asked.years != known.years):
        raise refuse(
            f"a reader named {known.name} is registered with other details",
            found=_details(asked),
            expected=_details(known),
            hint="use the registered role, or another name if it is another person.",
        )
    return known


def _details(reader: Reader) -> str:
    years = "" if reader.years is None else f", {reader.years:g} years of experience"
    return f"{reader.role}{years}"


def _reader(connection: sa.Connection, asked: Reader) -> Reader | None:
    t = schema.readers
    query = (
        sa.select(t.c.name, t.c.role, t.c.years)
        .where(t.c.site == chain.own_site(connection))
        .where(t.c.name_key == asked.key)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Reader(*row)


def _refuse_lookalike(connection: sa.Connection, asked: Reader) -> None:
    t = schema.readers
    query = sa.select(t.c.name).where(t.c.site == chain.own_site(connection))
    for (name,) in connection.execute(query):
        if names.look(name) == names.look(asked.name):
            raise refuse(
                f"this name looks like that of the reader {name}, but is spelled with other "
                "letters",
                found=asked.name,
                hint="choose the reader that is there, or a name that can be told apart.",
            )


def _row_of(reader: Reader) -> dict[str, object]:
    return {
        "name": reader.name,
        "name_key": reader.key,
        "role": reader.role,
        "years": reader.years,
        "created_at": datetime.now(UTC),
    }
