"""When a reader was first sent the models' answers on a case. From then on the reader's answer
without the models is closed for ever.

An exposure is a row of the chain, written in the transaction that allows the sending: what is not
written is not sent. Outside a study a reader votes without the models first, unless the site chose
"aided only" for the case. All functions here work inside a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bmcore.domain import refuse
from bmcore.review import chain, schema
from bmcore.review.votes import Evidence, Reader

UNAIDED_FIRST, AIDED_ONLY = "unaided first", "aided only"


@dataclass(frozen=True)
class Exposure:
    """One reader was sent the answers of one prediction. study: "" outside a study.

    site, seq: whose chain, and its place there; bundle: digest of the models.
    """

    site: str
    case_id: str
    reader: str
    study: str
    arm: str
    occasion: int
    bundle: str
    seq: int
    created_at: datetime

    def after(self, site: str, seq: int, at: datetime | None) -> bool:
        """Later than a row: by the chain at one site, by the clock between two."""
        if site == self.site:
            return self.seq > seq
        return at is not None and self.created_at > at


def allow(connection: sa.Connection, reader: str, case_id: str, evidence: Evidence) -> Exposure:
    """Allow the models' answers on a case to be sent to ``reader``, outside a study.

    Refused without a stored vote of the reader without the models, unless the case is read aided
    only. Asked again for the same prediction, nothing new is written. See ``Store.show_models``.
    """
    if not may_be_shown(connection, reader, case_id, evidence.images):
        raise refuse(
            f"the models' answers on case {case_id} are not open to {reader} yet",
            found="no stored vote without the models",
            hint="store your own vote first.",
        )
    return record(connection, reader, case_id, evidence)


def record(
    connection: sa.Connection,
    reader: str,
    case_id: str,
    evidence: Evidence,
    study: str = "",
    arm: str = "",
    occasion: int = 0,
) -> Exposure:
    """Write the exposure, once for each reader, prediction and reading; inside a transaction."""
    there = known(connection, reader, case_id, evidence, study, occasion)
    if there is not None:
        return there
    person = Reader(reader, "other")
    row = {
        "case_id": case_id,
        "reader": person.name,
        "reader_key": person.key,
        "study": study,
        "arm": arm,
        "occasion": occasion,
        "bundle": evidence.bundle or "",
        "images_sha256": evidence.images,
        "prediction_run": evidence.run or "",
        "prediction_sha256": evidence.prediction,
        "created_at": datetime.now(UTC),
    }
    return _exposure(chain.append(connection, schema.exposures, row))


def of_reader(connection: sa.Connection, reader: str) -> dict[str, list[Exposure]]:
    """{case: exposures} of a reader, oldest first; also those that a merge brought along."""
    found: dict[str, list[Exposure]] = {}
    for exposure in _select(connection, reader, None):
        found.setdefault(exposure.case_id, []).append(exposure)
    return found


def of_all(connection: sa.Connection) -> list[Exposure]:
    """All exposures of all sites, in each site's order."""
    t = schema.exposures
    return [_exposure(row) for row in connection.execute(sa.select(t).order_by(t.c.site, t.c.seq))]


def of_case(
    connection: sa.Connection, reader: str, case_id: str, images: str | None = None
) -> list[Exposure]:
    """A reader's exposures to one case, oldest first; also those that a merge brought along.

    images: only to these, where an exposure says its images: others had the same name.
    A name that two sites share counts here as one person: what one of them was shown closes the
    answer without the models for both.
    """
    return _select(connection, reader, case_id, images)


def may_be_shown(
    connection: sa.Connection, reader: str, case_id: str, images: str | None = None
) -> bool:
    """True where the reader has voted without the models, has seen them, or need not vote first.

    images: as for ``of_case``.
    """
    if mode(connection, case_id) == AIDED_ONLY or of_case(connection, reader, case_id, images):
        return True
    t = schema.votes
    query = sa.select(t.c.reader).where(t.c.case_id == case_id, t.c.phase == "unaided")
    query = _on(query, t.c.images_sha256, images)
    key = Reader(reader, "other").key
    return any(Reader(name, "other").key == key for (name,) in connection.execute(query))


def mode(connection: sa.Connection, case_id: str) -> str:
    """How a case is read outside a study: UNAIDED_FIRST or AIDED_ONLY."""
    t = schema.reading_modes
    query = (
        sa.select(t.c.mode)
        .where(t.c.site == chain.own_site(connection), t.c.case_id == case_id)
        .order_by(t.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none() or UNAIDED_FIRST


def set_mode(connection: sa.Connection, case_id: str, new: str, author: str, reason: str) -> None:
    """Choose how a case is read outside a study; the choice and its reason stand in the chain."""
    if new not in (UNAIDED_FIRST, AIDED_ONLY):
        raise refuse("no such way of reading", found=new, expected=f"{UNAIDED_FIRST}, {AIDED_ONLY}")
    if not reason.strip():
        raise refuse("this choice needs a reason", hint="write why the case is read this way.")
    if mode(connection, case_id) == new:
        return
    row = {"case_id": case_id, "mode": new, "author": author, "reason": reason.strip()}
    chain.append(connection, schema.reading_modes, {**row, "created_at": datetime.now(UTC)})


def sent_runs(connection: sa.Connection, case_id: str) -> Mapping[str, str]:
    """{run: SHA-256} of the predictions of a case that readers of this site were sent."""
    t = schema.exposures
    query = sa.select(t.c.prediction_run, t.c.prediction_sha256).where(
        t.c.site == chain.own_site(connection),
        t.c.case_id == case_id,
        t.c.prediction_sha256.is_not(None),
    )
    return {row[0]: row[1] for row in connection.execute(query.order_by(t.c.id.desc()))}


def known(
    connection: sa.Connection,
    reader: str,
    case_id: str,
    evidence: Evidence,
    study: str = "",
    occasion: int = 0,
) -> Exposure | None:
    """The exposure of ``reader`` to this very prediction, None where it was not sent yet."""
    t = schema.exposures
    query = sa.select(t).where(
        t.c.site == chain.own_site(connection),
        t.c.case_id == case_id,
        t.c.reader_key == Reader(reader, "other").key,
        t.c.study == study,
        t.c.occasion == occasion,
        t.c.bundle == (evidence.bundle or ""),
        t.c.prediction_run == (evidence.run or ""),
    )
    query = _on(query, t.c.images_sha256, evidence.images)
    row = connection.execute(query).one_or_none()
    return None if row is None else _exposure(row)


def _on(query: sa.Select[Any], column: sa.Column[Any], images: str | None) -> sa.Select[Any]:
    """Rows on these images; older rows say none, and count."""
    return query if images is None else query.where(sa.or_(column.is_(None), column == images))


def _select(
    connection: sa.Connection, reader: str, case_id: str | None, images: str | None = None
) -> list[Exposure]:
    t = schema.exposures
    query = sa.select(t).where(t.c.reader_key == Reader(reader, "other").key)
    if case_id is not None:
        query = query.where(t.c.case_id == case_id)
    query = _on(query, t.c.images_sha256, images)
    rows = connection.execute(query.order_by(t.c.created_at, t.c.site, t.c.seq))
    return [_exposure(row) for row in rows]


def _exposure(row: sa.Row[Any]) -> Exposure:
    names = ("site", "case_id", "reader", "study", "arm", "occasion", "bundle", "seq", "created_at")
    return Exposure(**{name: row._mapping[name] for name in names})
