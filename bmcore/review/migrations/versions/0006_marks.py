"""Readers' marks and corrected segmentations, each change a chained row; the vote form's drafts.

A copy of ``schema`` as it was at this step.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from bmcore.review.migrations.guards import guard_table

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

steps = sa.MetaData(
    naming_convention={
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
sa.Table("chains", steps, sa.Column("site", sa.String(40), primary_key=True))  # is there already


def upgrade() -> None:
    steps.create_all(op.get_bind(), tables=[marks, mask_versions, vote_drafts], checkfirst=False)
    mine = "case_id = NEW.case_id AND reader_key = NEW.reader_key AND version = NEW.version"
    row = ["id = NEW.id", "seq = NEW.seq"]
    guard_table("marks", [*row, f"mark = NEW.mark AND {mine}"])
    guard_table("mask_versions", [*row, mine])


def _linked() -> list[sa.Column[Any]]:
    return [
        sa.Column("site", sa.String(40), sa.ForeignKey("chains.site"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    ]


def _owned() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("case_id", sa.String(200), nullable=False),
        sa.Column("reader", sa.String(80), nullable=False),
        sa.Column("reader_key", sa.Text, nullable=False),
    ]


marks = sa.Table(
    "marks",
    steps,
    *_owned(),
    sa.Column("mark", sa.String(40), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("action", sa.String(10), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("phase", sa.String(10), nullable=False),
    sa.Column("basis", sa.String(64)),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "case_id", "reader_key", "mark", "version"),
    sa.CheckConstraint("action IN ('set', 'removed', 'restored')", name="action"),
    sa.CheckConstraint("phase IN ('unaided', 'aided')", name="phase"),
    sa.CheckConstraint("version > 1 OR action = 'set'", name="first"),
)

mask_versions = sa.Table(
    "mask_versions",
    steps,
    *_owned(),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("action", sa.String(10), nullable=False),
    sa.Column("sha256", sa.String(64)),
    sa.Column("basis", sa.String(64)),
    sa.Column("strokes", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "case_id", "reader_key", "version"),
    sa.CheckConstraint("action IN ('saved', 'dropped', 'restored')", name="action"),
    sa.CheckConstraint("(action = 'dropped') = (sha256 IS NULL)", name="sha256"),
)

vote_drafts = sa.Table(
    "vote_drafts",
    steps,
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("reader_key", sa.Text, nullable=False),
    sa.Column("phase", sa.String(10), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint("case_id", "reader_key", "phase"),
)
