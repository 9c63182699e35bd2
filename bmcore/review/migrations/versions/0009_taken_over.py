"""Which answers of a sheet were taken over from the same case's earlier arm at a click.

Empty in rows of earlier versions, whose hashes do not change.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("events", "drafts"):
        op.add_column(table, sa.Column("taken_over", sa.Text))
