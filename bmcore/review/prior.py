"""Which case is an earlier examination of the patient of another: said by a person, with a reason.

Each statement is a row of the chain; the newest of a case is in force. Nothing is ever taken for a
patient's earlier examination by itself: ``intake.time_points`` proposes, a person says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bmcore.domain import BmcoreError, refuse
from bmcore.intake import library
from bmcore.review import chain, schema
from bmcore.review.store import Store

SET, CLEARED = "set", "cleared"
_T = schema.prior_examinations


@dataclass(frozen=True)
class Statement:
    """Who says something of the earlier examination of a case, and why."""

    case_id: str
    author: str
    reason: str

    def __post_init__(self) -> None:
        if not self.author.strip() or not self.reason.strip():
            raise refuse("this needs a name and a reason", hint="write why; it stays on record.")


@dataclass(frozen=True)
class Prior:
    """One statement. prior_id: the earlier examination; None where it was taken back. prior_sha256:
    of its images when it was said."""

    case_id: str
    prior_id: str | None
    prior_sha256: str | None
    author: str
    reason: str
    at: datetime


def of_case(store: Store, case_id: str) -> Prior | None:
    """The earlier examination of a case as it is in force; None where there is none."""
    return store.read(lambda connection: _in_force(connection).get(case_id))


def log(store: Store, case_id: str) -> tuple[Prior, ...]:
    """All that was said of a case at this site, oldest first."""

    def look(connection: sa.Connection) -> tuple[Prior, ...]:
        mine = (_T.c.site == chain.own_site(connection), _T.c.case_id == case_id)
        return tuple(
            _prior(row) for row in connection.execute(sa.select(_T).where(*mine).order_by(_T.c.id))
        )

    return store.read(look)


def set_prior(store: Store, home: Path, said: Statement, prior_id: str) -> None:
    """Say that ``prior_id`` is an earlier examination of the patient of a case.

    Refused where it is the case itself or holds the same images, is not in ``home``, or has the
    case among its own earlier ones. Said once more, nothing new is written.
    """
    entry, earlier = (library.get_entry(home, case) for case in (said.case_id, prior_id))
    if entry.case_id == earlier.case_id:
        raise refuse("a case is not its own earlier examination", found=entry.case_id)
    if entry.images_sha256 == earlier.images_sha256:
        raise refuse(
            f"{earlier.case_id} holds the same images as {entry.case_id}",
            hint="choose the case of another day; one of these two may be deleted.",
        )

    def work(connection: sa.Connection) -> None:
        known = _in_force(connection)
        before = known.get(entry.case_id)
        if before is not None and (before.prior_id, before.prior_sha256) == (
            earlier.case_id,
            earlier.images_sha256,
        ):
            return
        at: str | None = earlier.case_id
        while at is not None and at in known:
            at = known[at].prior_id
            if at == entry.case_id:
                raise refuse(
                    f"{entry.case_id} is already an earlier examination of {earlier.case_id}",
                    hint="take that back first, if it is the other way round.",
                )
        _append(connection, said, entry.images_sha256, earlier.case_id, earlier.images_sha256)

    store.write(work)


def clear(store: Store, home: Path, said: Statement) -> None:
    """Say that a case has no earlier examination here (any more). Refused where it has none."""
    digest = library.get_entry(home, said.case_id).images_sha256

    def work(connection: sa.Connection) -> None:
        if said.case_id not in _in_force(connection):
            raise refuse(
                f"case {said.case_id} has no earlier examination", hint="choose one first."
            )
        _append(connection, said, digest)

    store.write(work)


def problem(home: Path, prior: Prior) -> str | None:
    """Why the earlier examination cannot be shown, in a sentence; None where it can."""
    assert prior.prior_id is not None
    try:
        entry = library.get_entry(home, prior.prior_id)
    except BmcoreError:
        return f"The earlier examination {prior.prior_id} is not in the work list any more."
    if entry.images_sha256 != prior.prior_sha256:
        return (
            f"The images of {prior.prior_id} are not those that were said to be the earlier "
            "examination. Choose it again if they are."
        )
    return None


def masks_open(store: Store, reader: str | None, prior: Prior) -> bool:
    """True where this reader was sent the models' answers on both examinations.

    Until then no mask of the models is shown beside, of neither: what they outlined then says where
    to look now.
    """
    return reader is not None and {prior.case_id, prior.prior_id} <= set(store.shown_to(reader))


def follow(connection: sa.Connection, said: Statement, digest: str, new: str | None) -> None:
    """A case is renamed to ``new``, or deleted (None): what was said of it, and of cases of which
    it is the earlier examination, follows. Inside the transaction that writes the change."""
    known = _in_force(connection)
    own = known.get(said.case_id)
    if own is not None:
        _append(connection, said, digest)
        if new is not None:
            moved = Statement(new, said.author, said.reason)
            _append(connection, moved, digest, own.prior_id, own.prior_sha256)
    for case_id, other in known.items():
        if other.prior_id != said.case_id:
            continue
        about = Statement(case_id, said.author, said.reason)
        kept = None if new is None else other.prior_sha256
        _append(connection, about, _digest_said(connection, case_id), new, kept)


def _digest_said(connection: sa.Connection, case_id: str) -> str:
    query = sa.select(_T.c.images_sha256).where(
        _T.c.site == chain.own_site(connection), _T.c.case_id == case_id
    )
    return str(connection.execute(query.order_by(_T.c.id.desc()).limit(1)).scalar_one())


def _in_force(connection: sa.Connection) -> Mapping[str, Prior]:
    """{case: its earlier examination}, of the cases that have one."""
    newest = (
        sa.select(sa.func.max(_T.c.id))
        .where(_T.c.site == chain.own_site(connection))
        .group_by(_T.c.case_id)
    )
    mine = (_T.c.site == chain.own_site(connection), _T.c.id.in_(newest), _T.c.action == SET)
    return {row.case_id: _prior(row) for row in connection.execute(sa.select(_T).where(*mine))}


def _append(
    connection: sa.Connection,
    said: Statement,
    digest: str,
    prior_id: str | None = None,
    prior_sha256: str | None = None,
) -> None:
    row = {
        "case_id": said.case_id,
        "action": CLEARED if prior_id is None else SET,
        "prior_id": prior_id,
        "images_sha256": digest,
        "prior_sha256": prior_sha256,
        "author": " ".join(said.author.split())[:80],
        "reason": said.reason.strip(),
        "created_at": datetime.now(UTC),
    }
    chain.append(connection, _T, row)


def _prior(row: sa.Row[Any]) -> Prior:
    return Prior(
        row.case_id, row.prior_id, row.prior_sha256, row.author, row.reason, row.created_at
    )
