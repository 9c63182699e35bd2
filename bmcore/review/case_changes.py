"""Deleting and renaming a case: a row of the chain and the files, both or neither.

A case of a locked study is neither deleted nor renamed. Votes and marks are never deleted; a case
that has some is deleted only where its name was typed, and they stay, and it keeps its name, which
stands in their rows. The name of a deleted case is not proposed for another one, and where readers
have worked on it, other images are refused under it (``case_names``).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock, Timeout

from bmcore import disk
from bmcore.domain import refuse
from bmcore.inference import references
from bmcore.intake import case_names, library, removal
from bmcore.intake.case_record import CaseEntry
from bmcore.review import chain, plan, prior, schema
from bmcore.review.store import Store

DELETED, RENAMED = "deleted", "renamed"
_PATIENCE_S = 20.0
_OF_THE_SITE = (schema.case_changes.name, schema.prior_examinations.name)  # no work of readers


@dataclass(frozen=True)
class Kept:
    """What is stored on a case and stays: votes, and everything else that readers left."""

    votes: int
    other: int
    studies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """Who changes which case, and why. typed: the name of the case, typed to confirm."""

    case_id: str
    author: str
    reason: str
    typed: str = ""

    def __post_init__(self) -> None:
        if not self.author.strip() or not self.reason.strip():
            raise refuse("this needs a name and a reason", hint="write why; it stays on record.")


def kept(store: Store, case_id: str) -> Kept:
    """What stays where the case goes, and the locked studies that it belongs to."""
    return store.read(lambda connection: _kept(connection, case_id))


def delete(store: Store, home: Path, wish: Wish) -> None:
    """Take the case out of ``home``, with what the models made of it; recorded in the chain."""
    with _alone(store, home):
        there = {entry.case_id: entry for entry in library.list_cases(home)}  # damaged ones too
        entry = there.get(wish.case_id) or library.get_entry(home, wish.case_id)

        def check(found: Kept) -> None:
            if (found.votes or found.other) and wish.typed.strip() != wish.case_id:
                raise refuse(
                    f"readers have worked on case {wish.case_id}",
                    found=f"{found.votes} votes, {found.other} other rows, which all stay",
                    hint="type the name of the case to delete its images all the same.",
                )

        _change(_Site(store, home), wish, entry, check, None)
        references.forget(home, wish.case_id)


def rename(store: Store, home: Path, wish: Wish, new: str) -> None:
    """Give the case another name; what the models made of it goes. Recorded in the chain."""
    with _alone(store, home):
        entry = library.get_entry(home, wish.case_id)

        def check(found: Kept) -> None:
            if found.votes or found.other:
                raise refuse(
                    f"case {wish.case_id} keeps its name",
                    found="what readers stored on it names it, and is never changed",
                    hint="add the images under another name, if the name itself must go.",
                )

        _change(_Site(store, home), wish, entry, check, new)
        references.rename(home, wish.case_id, new.strip())


def reserve_names(store: Store, home: Path) -> None:
    """Put names of cases that are no longer here into the list of ``case_names``: those that an
    earlier version removed, or that were removed by hand."""
    there = set(library.record_stamps(home))  # at every start: no record is read
    case_names.reserve(home, store.read(lambda connection: _names_of(connection, there)))


def _names_of(connection: sa.Connection, there: set[str]) -> dict[str, set[str]]:
    """{name: hashes of the images that readers have worked on}, of cases that are not ``there``."""
    found: dict[str, set[str]] = {name: set() for name in gone(connection)}
    site = chain.own_site(connection)
    for table in schema.CHAINED:
        if "case_id" not in table.c or table.name in _OF_THE_SITE:
            continue
        column = table.c.get("images_sha256", sa.null())
        query = sa.select(table.c.case_id, column).where(table.c.site == site).distinct()
        for name, images in connection.execute(query):
            found.setdefault(str(name), set()).update({images} - {None})
    return {name: images for name, images in found.items() if name not in there}


def recover(store: Store, home: Path) -> None:
    """Finish or undo what was cut off in the middle; nothing where another process is at it."""
    if not removal.waiting(home):
        return
    try:
        with FileLock(Path(home) / "case-changes.lock", 0, mode=disk.FILE_MODE):
            _settle(store, home)
    except Timeout:
        return


def gone(connection: sa.Connection) -> set[str]:
    """Names that cases of this site had and have no more; inside a transaction."""
    t = schema.case_changes
    query = sa.select(t.c.case_id).where(t.c.site == chain.own_site(connection))
    return set(connection.execute(query).scalars())


@dataclass(frozen=True)
class _Site:
    store: Store
    home: Path


def _change(
    at: _Site, wish: Wish, entry: CaseEntry, check: Callable[[Kept], None], new: str | None
) -> None:
    """The row and the files in one transaction; where it fails, the files are brought back."""
    home, token = at.home, uuid.uuid4().hex

    def work(connection: sa.Connection) -> None:
        found = _kept(connection, wish.case_id)
        if found.studies:
            raise refuse(
                f"case {wish.case_id} belongs to a locked study, so it stays as it is",
                found=", ".join(found.studies),
            )
        check(found)
        row = {
            "case_id": wish.case_id,
            "action": DELETED if new is None else RENAMED,
            "new_name": None if new is None else new.strip(),
            "token": token,
            "author": " ".join(wish.author.split())[:80],
            "reason": wish.reason.strip(),
            "images_sha256": entry.images_sha256,
            "votes_kept": found.votes,
            "created_at": datetime.now(UTC),
        }
        chain.append(connection, schema.case_changes, row)
        said = prior.Statement(wish.case_id, wish.author, f"{row['action']}: {row['reason']}")
        prior.follow(connection, said, entry.images_sha256, new)
        try:
            if new is None:
                steps = removal.removal(home, wish.case_id, token)
            else:
                steps = removal.renaming(home, entry, new, token)
            removal.move(home, token, steps)
        except OSError as error:
            raise refuse(
                f"the files of case {wish.case_id} could not be moved, so nothing was changed",
                found=str(error.strerror or error),
                hint="check the disk and its permissions.",
            ) from error

    try:
        at.store.write(work)
    finally:
        _settle(at.store, home)


def _settle(store: Store, home: Path) -> None:
    """What the chain knows was done is finished, everything else undone."""
    t = schema.case_changes
    for token in removal.waiting(home):
        if token in store.read(lambda c: set(c.execute(sa.select(t.c.token)).scalars())):
            reserve_names(store, home)
            removal.finish(home, token)
        else:
            removal.undo(home, token)


@contextmanager
def _alone(store: Store, home: Path) -> Iterator[None]:
    """One change at a time; first what an earlier one left is dealt with."""
    try:
        with FileLock(Path(home) / "case-changes.lock", _PATIENCE_S, mode=disk.FILE_MODE):
            _settle(store, home)
            yield
    except Timeout:
        raise refuse("another case is being changed", hint="try again in a moment.") from None


def _kept(connection: sa.Connection, case_id: str) -> Kept:
    votes, other = 0, 0
    for table in schema.CHAINED:
        if "case_id" not in table.c or table.name in _OF_THE_SITE:
            continue
        query = sa.select(sa.func.count()).where(table.c.case_id == case_id)
        count = connection.execute(query).scalar_one()
        votes, other = (votes + count, other) if table is schema.votes else (votes, other + count)
    mine = schema.studies.c.site == chain.own_site(connection)
    query = sa.select(schema.studies.c.study).where(mine).distinct()
    names = sorted(str(name) for name in connection.execute(query).scalars())
    found = {name: plan.current(connection, name).study for name in names}
    studies = (n for n, study in found.items() if case_id in (*study.practice, *study.cases))
    return Kept(votes, other, tuple(studies))
