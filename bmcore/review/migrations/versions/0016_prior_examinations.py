"""Which case is the earlier examination of which: said or taken back, by whom, when and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bmcore.review.migrations.guards import guard_table

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prior_examinations",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("case_id", sa.String(200), nullable=False),
        sa.Column("action", sa.String(10), nullable=False),
        sa.Column("prior_id", sa.String(200)),
        sa.Column("images_sha256", sa.String(64), nullable=False),
        sa.Column("prior_sha256", sa.String(64)),
        sa.Column("author", sa.String(80), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "site",
            sa.String(40),
            sa.ForeignKey("chains.site", name="fk_prior_examinations_site"),
            nullable=False,
        ),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name="pk_prior_examinations"),
        sa.UniqueConstraint("site", "seq", name="uq_prior_examinations_site_seq"),
        sa.CheckConstraint("action IN ('set', 'cleared')", name="ck_prior_examinations_action"),
        sa.CheckConstraint(
            "(action = 'set') = (prior_id IS NOT NULL) AND "
            "(prior_id IS NULL) = (prior_sha256 IS NULL)",
            name="ck_prior_examinations_prior_id",
        ),
    )
    guard_table("prior_examinations", ["id = NEW.id", "seq = NEW.seq"])
