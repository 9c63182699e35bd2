"""What the worker has to do, what the work list shows of each case, and two indexes of votes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _runs()
    _case_index()
    op.create_index("ix_votes_case_id", "votes", ["case_id"])
    op.create_index("ix_votes_reader_case_id", "votes", ["reader", "case_id"])


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("asked_by", sa.String(80), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("cancelling", sa.Boolean, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("digest", sa.String(200)),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_runs"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="ck_runs_state"
        ),
    )
    op.create_index("ix_runs_state", "runs", ["state", "rank", "submitted_at"])


def _case_index() -> None:
    op.create_table(
        "case_index",
        sa.Column("case_id", sa.String(200), nullable=False),
        sa.Column("stamp", sa.String(60), nullable=False),
        sa.Column("added", sa.DateTime(timezone=True), nullable=False),
        sa.Column("demo", sa.Boolean, nullable=False),
        sa.Column("readable", sa.Boolean, nullable=False),
        sa.Column("age_years", sa.Float),
        sa.Column("sex", sa.String(20)),
        sa.Column("sequences", sa.String(80), nullable=False),
        sa.Column("missing", sa.Integer, nullable=False),
        sa.Column("notes", sa.Integer, nullable=False),
        sa.Column("t1c_sha256", sa.String(64), nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("votes", sa.Integer, nullable=False),
        sa.Column("readers", sa.Integer, nullable=False),
        sa.Column("predicted", sa.String(16), nullable=False),
        sa.Column("pictured", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("case_id", name="pk_case_index"),
    )
    op.create_index("ix_case_index_added", "case_index", ["added", "case_id"])
    op.create_index("ix_case_index_readers", "case_index", ["readers", "case_id"])
    op.create_table(
        "index_stamps",
        sa.Column("what", sa.String(40), nullable=False),
        sa.Column("stamp", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("what", name="pk_index_stamps"),
    )
