"""How a study is conducted: paused, resumed, closed, deadlines; each step with its reason."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bmcore.review.migrations.guards import guard_table

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "conduct",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("study", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("due", sa.String(10)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("author", sa.String(80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "site",
            sa.String(40),
            sa.ForeignKey("chains.site", name="fk_conduct_site"),
            nullable=False,
        ),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name="pk_conduct"),
        sa.UniqueConstraint("site", "seq", name="uq_conduct_site_seq"),
        sa.CheckConstraint(
            "kind IN ('paused', 'resumed', 'closed', 'deadline')", name="ck_conduct_kind"
        ),
    )
    guard_table("conduct", ["id = NEW.id", "seq = NEW.seq"])
