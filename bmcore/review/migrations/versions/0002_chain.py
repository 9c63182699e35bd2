"""Each row holds the hash of the row before; a site id makes rows of two databases distinct.

Keys change, so both tables are made anew and their rows, chained in the order of writing (readers
first, then votes), are put back, all in the one transaction of the upgrade.
"""

from __future__ import annotations

import uuid
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from alembic import op

from bmcore.review.chain import GENESIS, digest
from bmcore.review.migrations.guards import guard_chains, guard_table, make_function

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    readers = _rows("readers", "created_at, name")
    votes = _rows("votes", "id")
    _drop_old()
    chains = _make_chains()
    tables = {"readers": _make_readers(), "votes": _make_votes()}
    op.create_index(
        "uq_votes_first",
        "votes",
        ["site", "case_id", "reader", "phase"],
        unique=True,
        sqlite_where=sa.text("supersedes IS NULL"),
        postgresql_where=sa.text("supersedes IS NULL"),
    )
    site, previous = f"site-{uuid.uuid4().hex[:12]}", GENESIS
    # the chain's head is written first for the foreign keys, and moved by one row at a time
    op.get_bind().execute(sa.insert(chains).values(site=site, own=True, length=0, head=GENESIS))
    named = [("readers", row) for row in readers] + [("votes", row) for row in votes]
    for seq, (name, row) in enumerate(named, start=1):
        linked = {**row, "site": site, "seq": seq, "previous": previous}
        previous = linked["hash"] = digest(name, linked)
        op.get_bind().execute(sa.insert(tables[name]).values(linked))
        op.get_bind().execute(sa.update(chains).values(length=seq, head=previous))
    _guard()


def _rows(table: str, order: str) -> list[dict[str, Any]]:
    query = sa.text(f"SELECT * FROM {table} ORDER BY {order}")
    typed = query.columns(created_at=sa.DateTime(timezone=True))
    rows = [dict(row._mapping) for row in op.get_bind().execute(typed)]
    for row in rows:
        at = row["created_at"]
        row["created_at"] = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return rows


def _drop_old() -> None:
    op.drop_table("votes")
    op.drop_table("readers")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION votes_append_only()")


def _linked() -> list[sa.Column[Any]]:
    return [
        sa.Column("site", sa.String(40), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    ]


def _make_chains() -> sa.Table:
    return op.create_table(
        "chains",
        sa.Column("site", sa.String(40), nullable=False),
        sa.Column("own", sa.Boolean, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("site", name="pk_chains"),
    )


def _make_readers() -> sa.Table:
    return op.create_table(
        "readers",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("name_key", sa.Text, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("years", sa.Float),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *_linked(),
        sa.PrimaryKeyConstraint("site", "name", name="pk_readers"),
        sa.ForeignKeyConstraint(["site"], ["chains.site"], name="fk_readers_site"),
        sa.UniqueConstraint("site", "name_key", name="uq_readers_site_name_key"),
        sa.UniqueConstraint("site", "seq", name="uq_readers_site_seq"),
    )


def _make_votes() -> sa.Table:
    return op.create_table(
        "votes",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("case_id", sa.String(200), nullable=False),
        sa.Column("reader", sa.String(80), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("phase", sa.String(10), nullable=False),
        sa.Column("primary", sa.String(20), nullable=False),
        sa.Column("confidence", sa.Integer, nullable=False),
        sa.Column("segmentation_quality", sa.Integer),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("bundle_digest", sa.String(200)),
        sa.Column("model_primary", sa.String(20)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idempotency_key", sa.String(100), nullable=False),
        sa.Column("supersedes", sa.Integer),
        sa.Column("reason", sa.Text),
        *_linked(),
        sa.PrimaryKeyConstraint("site", "id", name="pk_votes"),
        sa.ForeignKeyConstraint(["site"], ["chains.site"], name="fk_votes_site"),
        sa.ForeignKeyConstraint(
            ["site", "reader"], ["readers.site", "readers.name"], name="fk_votes_site_reader"
        ),
        sa.UniqueConstraint("site", "idempotency_key", name="uq_votes_site_idempotency_key"),
        sa.UniqueConstraint("site", "seq", name="uq_votes_site_seq"),
        sa.UniqueConstraint("site", "supersedes", name="uq_votes_site_supersedes"),
        sa.UniqueConstraint(
            *("site", "id", "case_id", "reader", "phase"),
            name="uq_votes_site_id_case_id_reader_phase",
        ),
        sa.ForeignKeyConstraint(
            ["site", "supersedes", "case_id", "reader", "phase"],
            ["votes.site", "votes.id", "votes.case_id", "votes.reader", "votes.phase"],
            name="fk_votes_site_supersedes_case_id_reader_phase",
        ),
        *_checks(),
    )


def _checks() -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint("phase IN ('unaided', 'aided')", name="ck_votes_phase"),
        sa.CheckConstraint("confidence BETWEEN 0 AND 100", name="ck_votes_confidence"),
        sa.CheckConstraint("segmentation_quality BETWEEN 1 AND 5", name="ck_votes_quality"),
        sa.CheckConstraint(
            "phase = 'aided' OR (segmentation_quality IS NULL AND model_primary IS NULL)",
            name="ck_votes_unaided",
        ),
        sa.CheckConstraint("(supersedes IS NULL) = (reason IS NULL)", name="ck_votes_reason"),
    ]


def _guard() -> None:
    make_function()
    guard_table("readers", ["name = NEW.name", "name_key = NEW.name_key", "seq = NEW.seq"])
    guard_table(
        "votes",
        [
            *("id = NEW.id", "seq = NEW.seq", "idempotency_key = NEW.idempotency_key"),
            "supersedes = NEW.supersedes",
            "NEW.supersedes IS NULL AND supersedes IS NULL AND case_id = NEW.case_id "
            "AND reader = NEW.reader AND phase = NEW.phase",
        ],
    )
    guard_chains()
