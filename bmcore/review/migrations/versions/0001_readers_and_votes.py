"""Readers and append-only votes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _make_readers()
    _make_votes()
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    elif op.get_bind().dialect.name == "postgresql":
        _guard_postgresql()
    else:
        raise NotImplementedError("votes can only be kept append-only on SQLite and PostgreSQL")


def _make_readers() -> None:
    op.create_table(
        "readers",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("name_key", sa.Text, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("years", sa.Float),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_readers"),
        sa.UniqueConstraint("name_key", name="uq_readers_name_key"),
    )


def _make_votes() -> None:
    op.create_table(
        "votes",
        sa.Column("id", sa.Integer, primary_key=True),
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
        sa.ForeignKeyConstraint(["reader"], ["readers.name"], name="fk_votes_reader"),
        sa.UniqueConstraint("idempotency_key", name="uq_votes_idempotency_key"),
        sa.UniqueConstraint("supersedes", name="uq_votes_supersedes"),
        sa.UniqueConstraint(
            "id", "case_id", "reader", "phase", name="uq_votes_id_case_id_reader_phase"
        ),
        sa.ForeignKeyConstraint(
            ["supersedes", "case_id", "reader", "phase"],
            ["votes.id", "votes.case_id", "votes.reader", "votes.phase"],
            name="fk_votes_supersedes_case_id_reader_phase",
        ),
        sa.CheckConstraint("phase IN ('unaided', 'aided')", name="ck_votes_phase"),
        sa.CheckConstraint("confidence BETWEEN 0 AND 100", name="ck_votes_confidence"),
        sa.CheckConstraint("segmentation_quality BETWEEN 1 AND 5", name="ck_votes_quality"),
        sa.CheckConstraint(
            "phase = 'aided' OR (segmentation_quality IS NULL AND model_primary IS NULL)",
            name="ck_votes_unaided",
        ),
        sa.CheckConstraint("(supersedes IS NULL) = (reason IS NULL)", name="ck_votes_reason"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_votes_first",
        "votes",
        ["case_id", "reader", "phase"],
        unique=True,
        sqlite_where=sa.text("supersedes IS NULL"),
        postgresql_where=sa.text("supersedes IS NULL"),
    )


def _guard_sqlite() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER votes_no_{verb.lower()} BEFORE {verb} ON votes "
            "BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END"
        )
    # INSERT OR REPLACE deletes without firing the delete trigger, so it is stopped here.
    op.execute(
        "CREATE TRIGGER votes_no_replace BEFORE INSERT ON votes WHEN EXISTS (SELECT 1 FROM votes "
        "WHERE id = NEW.id OR idempotency_key = NEW.idempotency_key "
        "OR supersedes = NEW.supersedes OR (NEW.supersedes IS NULL AND supersedes IS NULL "
        "AND case_id = NEW.case_id AND reader = NEW.reader AND phase = NEW.phase)) "
        "BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END"
    )


def _guard_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION votes_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'votes are append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER votes_no_change BEFORE UPDATE OR DELETE ON votes "
        "FOR EACH ROW EXECUTE FUNCTION votes_append_only()"
    )
    op.execute(
        "CREATE TRIGGER votes_no_truncate BEFORE TRUNCATE ON votes "
        "FOR EACH STATEMENT EXECUTE FUNCTION votes_append_only()"
    )
