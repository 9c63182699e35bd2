"""Which of two segmentations a reader preferred, without knowing which was which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bmcore.review.migrations.guards import guard_table

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "preferences",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("study", sa.String(64), nullable=False),
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("case_id", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("left_side", sa.String(80), nullable=False),
        sa.Column("right_side", sa.String(80), nullable=False),
        sa.Column("left_sha256", sa.String(64), nullable=False),
        sa.Column("right_sha256", sa.String(64), nullable=False),
        sa.Column("answer", sa.String(10), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "site",
            sa.String(40),
            sa.ForeignKey("chains.site", name="fk_preferences_site"),
            nullable=False,
        ),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name="pk_preferences"),
        sa.UniqueConstraint("site", "seq", name="uq_preferences_site_seq"),
        sa.UniqueConstraint("site", "study", "reader", "case_id", name="uq_preferences_first"),
        sa.ForeignKeyConstraint(
            ["site", "study", "version"],
            ["studies.site", "studies.study", "studies.version"],
            name="fk_preferences_site_study_version",
        ),
        sa.CheckConstraint("answer IN ('left', 'right', 'tie')", name="ck_preferences_answer"),
    )
    once = "study = NEW.study AND reader = NEW.reader AND case_id = NEW.case_id"
    guard_table("preferences", ["id = NEW.id", "seq = NEW.seq", once])
