"""The tables as they are now. How they came about: ``migrations/versions``, one file a step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UTCDateTime(sa.types.TypeDecorator[datetime]):
    """Aware in Python, always UTC; SQLite keeps no zone, so it is put back when read."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


readers = sa.Table(
    "readers",
    metadata,
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("name_key", sa.Text, nullable=False, unique=True),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("years", sa.Float),
    sa.Column("created_at", UTCDateTime, nullable=False),
)

votes = sa.Table(
    "votes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("reader", sa.String(80), sa.ForeignKey("readers.name"), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("phase", sa.String(10), nullable=False),
    sa.Column("primary", sa.String(20), nullable=False),
    sa.Column("confidence", sa.Integer, nullable=False),
    sa.Column("segmentation_quality", sa.Integer),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("bundle_digest", sa.String(200)),
    sa.Column("model_primary", sa.String(20)),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("idempotency_key", sa.String(100), nullable=False, unique=True),
    sa.Column("supersedes", sa.Integer, unique=True),
    sa.Column("reason", sa.Text),
    sa.UniqueConstraint("id", "case_id", "reader", "phase"),
    # What is superseded is a vote of the same reader, case and phase; with the unique column above
    # and the index below, the votes of one reader, case and phase form one chain.
    sa.ForeignKeyConstraint(
        ["supersedes", "case_id", "reader", "phase"],
        ["votes.id", "votes.case_id", "votes.reader", "votes.phase"],
    ),
    sa.CheckConstraint("phase IN ('unaided', 'aided')", name="phase"),
    sa.CheckConstraint("confidence BETWEEN 0 AND 100", name="confidence"),
    sa.CheckConstraint("segmentation_quality BETWEEN 1 AND 5", name="quality"),
    sa.CheckConstraint(
        "phase = 'aided' OR (segmentation_quality IS NULL AND model_primary IS NULL)",
        name="unaided",
    ),
    sa.CheckConstraint("(supersedes IS NULL) = (reason IS NULL)", name="reason"),
    sqlite_autoincrement=True,
)

first_vote = sa.Index(
    "uq_votes_first",
    votes.c.case_id,
    votes.c.reader,
    votes.c.phase,
    unique=True,
    sqlite_where=votes.c.supersedes.is_(None),
    postgresql_where=votes.c.supersedes.is_(None),
)
