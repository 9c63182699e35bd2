"""Wrong passwords are counted by name, whether there is an account of it or not.

Locks that are in force at this step end: they last a quarter of an hour at most.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sign_in_attempts",
        sa.Column("name_digest", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True)),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name_digest", name="pk_sign_in_attempts"),
    )
    op.drop_column("accounts", "failures")
    op.drop_column("accounts", "locked_until")
