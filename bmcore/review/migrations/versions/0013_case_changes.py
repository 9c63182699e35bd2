"""Cases that were deleted or renamed: who, when and why, and what stays of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bmcore.review.migrations.guards import guard_table

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "case_changes",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("case_id", sa.String(200), nullable=False),
        sa.Column("action", sa.String(10), nullable=False),
        sa.Column("new_name", sa.String(200)),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("author", sa.String(80), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("images_sha256", sa.String(64), nullable=False),
        sa.Column("votes_kept", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "site",
            sa.String(40),
            sa.ForeignKey("chains.site", name="fk_case_changes_site"),
            nullable=False,
        ),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name="pk_case_changes"),
        sa.UniqueConstraint("site", "seq", name="uq_case_changes_site_seq"),
        sa.CheckConstraint("action IN ('deleted', 'renamed')", name="ck_case_changes_action"),
        sa.CheckConstraint(
            "(action = 'renamed') = (new_name IS NOT NULL)", name="ck_case_changes_new_name"
        ),
    )
    guard_table("case_changes", ["id = NEW.id", "seq = NEW.seq"])
