"""What was found and which models were loaded when a version of a study's plan was locked.

Plans locked before this step have no row: what was there then cannot be told.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bmcore.review.migrations.guards import guard_table

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "starts",
        sa.Column("study", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("bundle", sa.String(200)),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "site",
            sa.String(40),
            sa.ForeignKey("chains.site", name="fk_starts_site"),
            nullable=False,
        ),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("site", "study", "version", name="pk_starts"),
        sa.UniqueConstraint("site", "seq", name="uq_starts_site_seq"),
        sa.ForeignKeyConstraint(
            ["site", "study", "version"],
            ["studies.site", "studies.study", "studies.version"],
            name="fk_starts_site_study_version",
        ),
    )
    guard_table("starts", ["study = NEW.study AND version = NEW.version", "seq = NEW.seq"])
