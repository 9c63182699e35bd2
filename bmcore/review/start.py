"""The start of a study: its plan is locked once all is there, and with which models is kept.

``plan.lock`` locks whatever it is given (a package brings its cases and models along); people lock
by ``lock`` here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from bmcore.domain import Finding, InputRefused, Severity, refuse
from bmcore.review import chain, plan, readiness, schema
from bmcore.review.plan import Version
from bmcore.review.readiness_facts import Facts
from bmcore.review.store import Store
from bmcore.review.study import Study


class NotReady(InputRefused):
    """Something that the study needs is missing; one Finding a fault."""


@dataclass(frozen=True)
class Start:
    """What was found when a version was locked. bundle: hash of the models, None without any;
    findings: (severity, sentence), among them the warnings that were accepted."""

    version: int
    bundle: str | None
    findings: tuple[tuple[str, str], ...]
    created_at: datetime


def lock(
    store: Store,
    study: Study,
    facts: Facts,
    author: str,
    *,
    confirm: str,
    accept_warnings: bool = False,
) -> Version:
    """Lock ``study`` as version 1. confirm: its id, typed by the person who locks it.

    ``NotReady`` while a fault stands, or a warning that is not accepted. The same plan locked once
    more changes nothing.
    """
    known = plan.versions(store, study.study)
    if known and known[0].digest == study.digest:
        return known[0]
    findings = readiness.check(study, facts)
    refuse_unready(findings, accept_warnings)
    if confirm.strip() != study.study:
        raise refuse(
            "the id of the study was not typed as it is in the plan",
            found=repr(confirm.strip())[:80],
            expected=study.study,
            hint="a locked plan cannot be taken back; type its id to lock it.",
        )

    def enter(connection: sa.Connection) -> Version:
        version = plan.enter_lock(connection, study, author)
        if not _starts(connection, study.study):
            _keep(connection, version, facts, findings)
        return version

    return store.write(enter)


def amend(
    store: Store,
    study: Study,
    facts: Facts,
    author: str,
    reason: str,
    *,
    accept_warnings: bool = False,
) -> Version:
    """Store ``study`` as the next version; ``NotReady`` where the change itself brings a fault."""
    known = plan.versions(store, study.study)
    if not known:
        raise refuse(f"the study {study.study} is not locked yet", hint="lock it first.")
    findings = readiness.arisen(known[-1].study, study, facts)
    refuse_unready(findings, accept_warnings)

    def enter(connection: sa.Connection) -> Version:
        version = plan.enter_amend(connection, study, author, reason)
        _keep(connection, version, facts, findings)
        return version

    return store.write(enter)


def starts(store: Store, study: str) -> tuple[Start, ...]:
    """What was found at each lock at this site, oldest first; none for plans of old versions."""
    return store.read(lambda connection: _starts(connection, study))


def other_models(store: Store, study: str, loaded: str | None) -> str | None:
    """The hash of the models that the study was locked with, where others are ``loaded`` now.

    None where they are the same, or where it was not kept.
    """
    first = next(iter(starts(store, study)), None)
    if first is None or first.bundle is None or first.bundle == loaded:
        return None
    return first.bundle


def refuse_unready(findings: Sequence[Finding], accept_warnings: bool) -> None:
    """``NotReady`` while a fault stands, or a warning that is not accepted."""
    faults = readiness.blocking(findings)
    if faults:
        raise NotReady(*faults)
    warned = readiness.warnings(findings)
    if warned and not accept_warnings:
        what = "a warning stands" if len(warned) == 1 else f"{len(warned)} warnings stand"
        hint = "fix what they name, or accept them."
        raise NotReady(*warned, Finding(Severity.REFUSED, what, hint=hint))


def _keep(
    connection: sa.Connection, version: Version, facts: Facts, findings: tuple[Finding, ...]
) -> None:
    used = facts.bundle if readiness.needs_models(version.study) else None
    said = [[str(f.severity), f.sentence] for f in findings]
    row = {
        "study": version.study.study,
        "version": version.version,
        "bundle": None if used is None else used.digest,
        "findings": json.dumps(said, separators=(",", ":")),
        "created_at": datetime.now(UTC),
    }
    chain.append(connection, schema.starts, row)


def _starts(connection: sa.Connection, study: str) -> tuple[Start, ...]:
    t = schema.starts
    mine = (t.c.site == chain.own_site(connection), t.c.study == study)
    rows = connection.execute(sa.select(t).where(*mine).order_by(t.c.version))
    return tuple(
        Start(r.version, r.bundle, tuple(tuple(f) for f in json.loads(r.findings)), r.created_at)
        for r in rows
    )
