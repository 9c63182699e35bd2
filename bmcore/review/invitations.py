"""One-time links: a person sets the own password, and nobody else ever knows it.

An invitation holds a name and a role. It works once, for a week, and only the SHA-256 of what
stands in the link is kept. For a name that has an account it is a new password, with the role as it
is; whoever can make it is an administrator.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bmcore.domain import BmcoreError, refuse
from bmcore.review import accounts, names, schema
from bmcore.review.access import AccessRefused, Role
from bmcore.review.accounts import Account
from bmcore.review.store import Store
from bmcore.review.votes import Reader

VALID = timedelta(days=7)
Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Invitation:
    """Who is invited, as what, by whom, until when; without what stands in the link."""

    name: str
    role: Role
    made_by: str
    expires_at: datetime


def invite(
    store: Store, name: str, role: str, by: str, clock: Clock = _now
) -> tuple[Invitation, str]:
    """The invitation and the token of its link, which is told this once.

    An open invitation of the same name ends. Refused for a role that there is not.
    """
    person, token, now = Reader(name, "other"), secrets.token_urlsafe(24), clock()
    t = schema.invitations
    row = {
        "token_digest": _digest(token),
        "name_key": person.key,
        "name": person.name,
        "role": accounts.role_of(role).value,
        "made_by": by,
        "created_at": now,
        "expires_at": now + VALID,
    }

    def enter(connection: sa.Connection) -> None:
        connection.execute(sa.delete(t).where(t.c.name_key == person.key))
        connection.execute(sa.delete(t).where(t.c.expires_at < now))
        connection.execute(sa.insert(t).values(**row))

    store.write(enter)
    return Invitation(person.name, accounts.role_of(role), by, now + VALID), token


def withdraw(store: Store, name: str) -> None:
    """End the open invitation of a name, if there is one."""
    t = schema.invitations
    key = names.key(name)
    store.write(lambda connection: connection.execute(sa.delete(t).where(t.c.name_key == key)))


def open_ones(store: Store, clock: Clock = _now) -> list[Invitation]:
    """Invitations that still work, by name."""
    t, now = schema.invitations, clock()
    query = sa.select(t).where(t.c.expires_at >= now).order_by(t.c.name_key)
    return store.read(lambda connection: [_of(row) for row in connection.execute(query)])


def look(store: Store, token: str, clock: Clock = _now) -> Invitation | None:
    """The invitation of a link; None where it does not work (any more)."""
    now = clock()
    row = store.read(lambda connection: _row(connection, token))
    return None if row is None or row.expires_at < now else _of(row)


def accept(store: Store, token: str, password: str, clock: Clock = _now) -> Account:
    """Set the password and use the invitation up, in one transaction.

    AccessRefused where the link does not work; refused for a weak password, and the link stays.
    """
    invited, now = look(store, token, clock), clock()
    if invited is None:
        raise _over()
    accounts.check_password(password, invited.name)
    hashed = accounts.hashed(password)
    t = schema.invitations

    def enter(connection: sa.Connection) -> None:
        used = connection.execute(
            sa.delete(t).where(t.c.token_digest == _digest(token), t.c.expires_at >= now)
        )
        if used.rowcount != 1:  # somebody else has used it meanwhile
            raise _over()
        accounts.enter_password(connection, invited.name, invited.role, hashed)

    store.write(enter)
    return accounts.told(store, invited.name)


def _over() -> BmcoreError:
    return refuse(
        "this link no longer works",
        hint="it works once, for a week; ask an administrator for another.",
        error=AccessRefused,
    )


def _row(connection: sa.Connection, token: str) -> sa.Row[Any] | None:
    t = schema.invitations
    return connection.execute(sa.select(t).where(t.c.token_digest == _digest(token))).one_or_none()


def _of(row: sa.Row[Any]) -> Invitation:
    return Invitation(row.name, Role(row.role), row.made_by, row.expires_at)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
