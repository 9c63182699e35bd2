"""Local accounts: names, roles and Argon2 hashes; wrong passwords cost time.

After five wrong passwords in a row a name is locked for a minute, and twice as long with each
further one, up to 15 minutes. An attempt is counted before the password is looked at, so many
attempts at once gain nothing. A name without an account is counted, locked and answered like one
with, and takes as long.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from bmcore.domain import InputRefused, refuse
from bmcore.review import names, schema
from bmcore.review.access import AccessRefused, Role, User
from bmcore.review.store import Store
from bmcore.review.votes import Reader

FREE_TRIES = 5
FIRST_LOCK_S, LONGEST_LOCK_S = 60, 900
SHORTEST, LONGEST = 12, 200  # characters of a password
HASHES_AT_ONCE = 2  # each takes 64 MiB and a core
_COUNTED_FOR = timedelta(days=1)  # a wrong password is forgotten after that
_MOST_COUNTED = 10_000  # names; who has not been tried for longest is forgotten first
_turns = threading.BoundedSemaphore(HASHES_AT_ONCE)
_listeners: list[Callable[[str], None]] = []

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Account:
    """One account, without its hash. stamp: see ``session_user``."""

    name: str
    role: Role
    disabled: bool
    stamp: str
    created_at: datetime


def on_change(listener: Callable[[str], None]) -> None:
    """Call ``listener`` with the key of the name after each change made by this process."""
    _listeners.append(listener)


def add(store: Store, name: str, role: str, password: str) -> Account:
    """Make an account. Refused where the name is taken, or the password too short or the name."""
    person = Reader(name, "other")
    check_password(password, person.name)
    row = {
        "name_key": person.key,
        "name": person.name,
        "role": role_of(role).value,
        "password": hashed(password),
        "disabled": False,
        "stamp": secrets.token_hex(8),
        "created_at": _now(),
    }

    def enter(connection: sa.Connection) -> Account:
        if _row(connection, person.key) is not None:
            raise refuse("there is already an account of this name", found=person.name)
        connection.execute(sa.insert(schema.accounts).values(**row))
        return _account(_known(connection, person.key))

    return _told(person.key, store.write(enter))


def add_first(store: Store, name: str, password: str) -> Account:
    """The first account, an administrator; refused where there is one already."""
    person = Reader(name, "other")
    check_password(password, person.name)
    stored = hashed(password)

    def enter(connection: sa.Connection) -> None:
        count = sa.select(sa.func.count()).select_from(schema.accounts)
        if connection.execute(count).scalar_one():
            raise refuse("there is an account already", hint="ask its administrator for one.")
        enter_password(connection, person.name, Role.ADMINISTRATOR, stored)

    store.write(enter)
    return told(store, person.name)


def listed(store: Store) -> list[Account]:
    """All accounts, by name."""
    query = sa.select(schema.accounts).order_by(schema.accounts.c.name_key)
    return store.read(lambda connection: [_account(row) for row in connection.execute(query)])


def exist(store: Store) -> bool:
    """True as soon as there is an account, disabled or not: then everybody signs in."""
    query = sa.select(sa.func.count()).select_from(schema.accounts)
    return bool(store.read(lambda connection: connection.execute(query).scalar_one()))


def set_role(store: Store, name: str, role: str) -> Account:
    """Give another role; sessions that began before end."""
    return _change(store, name, {"role": role_of(role).value}, keeps_administrator=True)


def set_disabled(store: Store, name: str, disabled: bool) -> Account:
    """Shut an account or open it again; it is never deleted, its name stands by its answers."""
    return _change(store, name, {"disabled": disabled}, keeps_administrator=True)


def set_password(store: Store, name: str, password: str) -> Account:
    """A new password; takes a lock away, and sessions that began before end."""
    check_password(password, Reader(name, "other").name)
    changed = _change(store, name, {"password": hashed(password)})
    store.write(lambda connection: _forget_attempts(connection, names.key(name)))
    return changed


def change_own_password(store: Store, name: str, old: str, new: str) -> Account:
    """The person's own new password, for who knows the old one; every sign-in of theirs ends.

    A wrong old password counts as at the sign-in.
    """
    check_password(new, Reader(name, "other").name)
    sign_in(store, name, old)
    return set_password(store, name, new)


def enter_password(connection: sa.Connection, name: str, role: Role, stored: str) -> None:
    """Inside a transaction: the password of ``name``, whose account is made where there is none;
    one that is there keeps its role, and a lock on the name ends. stored: see ``hashed``."""
    person, t = Reader(name, "other"), schema.accounts
    known = _row(connection, person.key)
    values = {"password": stored, "stamp": secrets.token_hex(8)}
    if known is not None:
        if known.disabled:
            raise refuse("this account is disabled", hint="an administrator can enable it again.")
        connection.execute(sa.update(t).where(t.c.name_key == person.key).values(**values))
    else:
        own = {"name_key": person.key, "name": person.name, "role": role.value}
        rest = {"disabled": False, "created_at": _now()}
        connection.execute(sa.insert(t).values(**own, **values, **rest))
    _forget_attempts(connection, person.key)


def told(store: Store, name: str) -> Account:
    """The account of ``name`` as it is now, after the listeners were told of a change."""
    key = Reader(name, "other").key
    return _told(key, store.read(lambda connection: _account(_known(connection, key))))


def sign_in(store: Store, name: str, password: str, clock: Clock = _now) -> Account:
    """The account of ``name`` if the password is right; AccessRefused, in one wording, if not."""
    key, now = names.key(name), clock()
    store.write(lambda connection: _attempt(connection, key, now))
    row = store.read(lambda connection: _row(connection, key)) if _is_name(name) else None
    nobody = _nobody()  # also where it is not needed: the first one takes time to make
    right = _matches(row.password if row is not None else nobody, password)
    if row is None or row.disabled or not right:
        raise refuse(
            "the name or the password is wrong",
            hint=f"after {FREE_TRIES} wrong passwords the name is locked for a while.",
            error=AccessRefused,
        )
    fresh = hashed(password) if _hasher().check_needs_rehash(row.password) else row.password
    t = schema.accounts

    def enter(connection: sa.Connection) -> Account:
        _forget_attempts(connection, key)
        if fresh != row.password:
            query = sa.update(t).where(t.c.name_key == key, t.c.password == row.password)
            connection.execute(query.values(password=fresh))
        return _account(_known(connection, key))

    return store.write(enter)


def _is_name(name: str) -> bool:
    """False where no account can have this name: too long, or characters that no name holds."""
    try:
        Reader(name, "other")
    except InputRefused:
        return False
    return True


def hashed(password: str) -> str:
    """The Argon2id hash of a password, as it is stored."""
    with _turns:
        return _hasher().hash(password)


def _matches(stored: str, password: str) -> bool:
    try:
        with _turns:
            return bool(_hasher().verify(stored, password[: LONGEST + 1]))
    except (VerificationError, InvalidHashError):
        return False


def session_user(store: Store, name: str, stamp: str) -> User | None:
    """Who a session belongs to; None where the account was shut or changed since it began."""
    key = Reader(name, "other").key
    row = store.read(lambda connection: _row(connection, key))
    if row is None or row.disabled or row.stamp != stamp:
        return None
    return User(row.name, Role(row.role))


def _attempt(connection: sa.Connection, key: str, now: datetime) -> None:
    """Count one attempt at a name, whether there is an account or not; refused while it is locked.

    The name itself is not stored: somebody may have typed the password there.
    """
    t = schema.sign_in_attempts
    connection.execute(sa.delete(t).where(t.c.tried_at < now - _COUNTED_FOR))
    mine = t.c.name_digest == _digest(key)
    row = connection.execute(sa.select(t).where(mine)).one_or_none()
    until = None if row is None else row.locked_until
    # a lock of more than the longest was set by a clock that was ahead, and is over
    if until is not None and now < until <= now + timedelta(seconds=LONGEST_LOCK_S):
        wait = int((until - now).total_seconds()) + 1
        raise refuse(
            "this name is locked after too many wrong passwords",
            hint=f"try again in {wait} s, or ask an administrator for a new password.",
            error=AccessRefused,
        )
    failures = 1 if row is None else row.failures + 1
    over = failures - FREE_TRIES
    lock = None
    if over >= 0:
        lock = now + timedelta(seconds=min(LONGEST_LOCK_S, FIRST_LOCK_S * 2 ** min(over, 10)))
    values = {"failures": failures, "locked_until": lock, "tried_at": now}
    if row is not None:
        connection.execute(sa.update(t).where(mine).values(**values))
        return
    _make_room(connection)
    connection.execute(sa.insert(t).values(name_digest=_digest(key), **values))


def _make_room(connection: sa.Connection) -> None:
    t = schema.sign_in_attempts
    if connection.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() < _MOST_COUNTED:
        return
    oldest = sa.select(t.c.name_digest).order_by(t.c.tried_at).limit(_MOST_COUNTED // 10)
    connection.execute(sa.delete(t).where(t.c.name_digest.in_(oldest)))


def _forget_attempts(connection: sa.Connection, key: str) -> None:
    t = schema.sign_in_attempts
    connection.execute(sa.delete(t).where(t.c.name_digest == _digest(key)))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _change(
    store: Store, name: str, new: dict[str, object], keeps_administrator: bool = False
) -> Account:
    key = Reader(name, "other").key
    t = schema.accounts

    def enter(connection: sa.Connection) -> Account:
        _known(connection, key)
        values = {**new, "stamp": secrets.token_hex(8)}
        connection.execute(sa.update(t).where(t.c.name_key == key).values(**values))
        active = sa.select(sa.func.count()).where(
            t.c.role == Role.ADMINISTRATOR.value, t.c.disabled.is_(False)
        )
        if keeps_administrator and not connection.execute(active).scalar_one():
            raise refuse(
                "there must be at least one administrator",
                hint="make another account an administrator first.",
            )
        return _account(_known(connection, key))

    return _told(key, store.write(enter))


def _told(key: str, account: Account) -> Account:
    for listener in _listeners:
        listener(key)
    return account


def _row(connection: sa.Connection, key: str) -> sa.Row[Any] | None:
    t = schema.accounts
    return connection.execute(sa.select(t).where(t.c.name_key == key)).one_or_none()


def _known(connection: sa.Connection, key: str) -> sa.Row[Any]:
    row = _row(connection, key)
    if row is None:
        raise refuse("there is no account of this name", found=key)
    return row


def _account(row: sa.Row[Any]) -> Account:
    role = Role(row.role)
    return Account(row.name, role, row.disabled, row.stamp, row.created_at)


def role_of(role: str) -> Role:
    """The role of this name; refused where there is none."""
    try:
        return Role(role)
    except ValueError:
        raise refuse("there is no such role", found=role, expected=", ".join(Role)) from None


def check_password(password: str, name: str) -> None:
    """Refuse a password that is too short, too long, or holds the name."""
    problem = None
    if not SHORTEST <= len(password) <= LONGEST:
        problem = f"{len(password)} characters"
    elif name.casefold() in password.casefold() or len(set(password)) < 5:
        problem = "the name, or the same few characters again and again"
    if problem is not None:
        raise refuse(
            "this password is too weak",
            found=problem,
            expected=f"{SHORTEST} to {LONGEST} characters, without the name",
            hint="several words in a row are easy to remember and hard to guess.",
        )


@lru_cache(maxsize=1)
def _hasher() -> PasswordHasher:
    """Argon2id with the library's parameters (RFC 9106, low memory: 64 MiB, 3 passes)."""
    return PasswordHasher()


@lru_cache(maxsize=1)
def _nobody() -> str:
    return hashed(secrets.token_hex(16))
