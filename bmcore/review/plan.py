"""Studies in the database: locked once by hash, amended only by new versions with a reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bmcore.domain import Finding, InputRefused, Severity, refuse
from bmcore.review import chain, schema
from bmcore.review.store import Store
from bmcore.review.study import InForce, Study, parse_study

# What readings already made rest on. Readers may only be added, and only behind the others.
_FIXED = ("design", "seeds", "cases", "practice", "repeats", "preference", "case_mix")


@dataclass(frozen=True)
class Version:
    """One version of a plan as locked. reason: of the amendment, None for the first."""

    study: Study
    version: int
    digest: str
    author: str
    reason: str | None
    created_at: datetime
    site: str


def lock(store: Store, study: Study, author: str) -> Version:
    """Store ``study`` as version 1; from here on it changes only by ``amend``.

    The same plan locked again is fine; another plan of the same name is refused.
    """

    return store.write(lambda connection: enter_lock(connection, study, author))


def enter_lock(connection: sa.Connection, study: Study, author: str) -> Version:
    """``lock``, inside a transaction that writes."""
    known = _versions(connection, study.study)
    if known:
        if known[0].digest != study.digest:
            raise refuse(
                f"the study {study.study} is locked with another plan",
                found=f"hash {study.digest[:16]}",
                expected=f"hash {known[0].digest[:16]}, locked {known[0].created_at:%Y-%m-%d}",
                hint="amend it with a reason, or give the new plan a name of its own.",
            )
        return known[0]
    return _enter(connection, study, 1, author, None)


def amend(store: Store, study: Study, author: str, reason: str) -> Version:
    """Store ``study`` as the next version, with the reason for the change.

    Refused where it changes what readings rest on: design, seeds, cases, repeats, the readers
    there are, or what a question is (its wording may change, questions may be added).
    """
    return store.write(lambda connection: enter_amend(connection, study, author, reason))


def enter_amend(connection: sa.Connection, study: Study, author: str, reason: str) -> Version:
    """``amend``, inside a transaction that writes."""
    if not reason.strip():
        raise refuse("an amendment needs a reason", hint="write why you are changing the plan.")
    known = _versions(connection, study.study)
    if not known:
        raise refuse(f"the study {study.study} is not locked yet", hint="lock it first.")
    newest = known[-1]
    if newest.digest == study.digest:
        raise refuse("the amendment changes nothing", found=f"hash {study.digest[:16]}")
    problems = forbidden_changes(newest.study, study)
    if problems:
        raise InputRefused(*problems)
    return _enter(connection, study, newest.version + 1, author, reason.strip())


def versions(store: Store, study: str) -> list[Version]:
    """All versions locked at this site, oldest first: the log of amendments."""
    return store.read(lambda connection: _versions(connection, study))


def in_force(store: Store) -> InForce:
    """Looks up the newest version of the plan of a name; None where none is locked."""

    def look(study: str) -> Study | None:
        known = versions(store, study)
        return known[-1].study if known else None

    return look


def studies(store: Store) -> list[str]:
    """The names of all studies locked at this site."""
    t = schema.studies

    def look(connection: sa.Connection) -> list[str]:
        query = sa.select(t.c.study).where(t.c.site == chain.own_site(connection)).distinct()
        return sorted(connection.execute(query).scalars())

    return store.read(look)


def current(connection: sa.Connection, study: str) -> Version:
    """The version in force, inside a transaction."""
    known = _versions(connection, study)
    if not known:
        raise refuse(
            f"the study {study} is not locked",
            hint="python -m bmcore study lock study.yaml --author NAME",
        )
    return known[-1]


def forbidden_changes(old: Study, new: Study) -> list[Finding]:
    """What an amendment must not change, one Finding each."""
    problems = [
        _fixed(f"{key} cannot change once the study is locked", getattr(new, key))
        for key in _FIXED
        if getattr(old, key) != getattr(new, key)
    ]
    if new.readers[: len(old.readers)] != old.readers:
        problems.append(_fixed("readers may only be added, after those there are", new.readers))
    kept = {q.id: q for q in new.questions}
    for question in old.questions:
        now = kept.get(question.id)
        if now is None or (
            (now.substance, new.arms_of(now)) != (question.substance, old.arms_of(question))
        ):
            what = f"question {question.id} cannot be dropped or become another question"
            problems.append(_fixed(what, now))
    return problems


def _fixed(what: str, found: object) -> Finding:
    hint = "plan another study for this change."
    return Finding(Severity.REFUSED, what, None, str(found)[:80], None, hint)


def _enter(
    connection: sa.Connection, study: Study, version: int, author: str, reason: str | None
) -> Version:
    name = " ".join(author.split())
    if not 1 <= len(name) <= 80:
        raise refuse("who locks the study must be named", found=repr(author)[:90])
    values = {
        "study": study.study,
        "version": version,
        "digest": study.digest,
        "content": study.canonical,
        "author": name,
        "reason": reason,
        "created_at": datetime.now(UTC),
    }
    return _version(chain.append(connection, schema.studies, values))


def _versions(connection: sa.Connection, study: str) -> list[Version]:
    t = schema.studies
    query = (
        sa.select(t)
        .where(t.c.site == chain.own_site(connection), t.c.study == study)
        .order_by(t.c.version)
    )
    return [_version(row) for row in connection.execute(query)]


def _version(row: sa.Row[Any]) -> Version:
    values = row._mapping
    study = parse_study(
        json.loads(values["content"]), f"locked study {values['study']}", locked=True
    )
    others = ("version", "digest", "author", "reason", "created_at", "site")
    return Version(study, **{name: values[name] for name in others})
