"""What readers answered on practice cases, apart from the answers of the study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bmcore.review.migrations.guards import guard_table

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "practice",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("study", sa.String(64), nullable=False),
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("case_id", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("reference", sa.String(20), nullable=False),
        sa.Column("model", sa.String(20)),
        sa.Column("active_s", sa.Float, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "site",
            sa.String(40),
            sa.ForeignKey("chains.site", name="fk_practice_site"),
            nullable=False,
        ),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name="pk_practice"),
        sa.UniqueConstraint("site", "seq", name="uq_practice_site_seq"),
        sa.UniqueConstraint("site", "study", "reader", "case_id", name="uq_practice_first"),
        sa.ForeignKeyConstraint(
            ["site", "study", "version"],
            ["studies.site", "studies.study", "studies.version"],
            name="fk_practice_site_study_version",
        ),
    )
    once = "study = NEW.study AND reader = NEW.reader AND case_id = NEW.case_id"
    guard_table("practice", ["id = NEW.id", "seq = NEW.seq", once])
