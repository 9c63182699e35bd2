"""The reader study: plans, what happened to each reading, answers, decisions and drafts.

A copy of ``schema`` as it was at this step.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from bmcore.review.migrations.guards import guard_table

revision = "0003"
down_revision = "0002"
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
    new = [studies, events, answers, decisions, drafts]
    steps.create_all(op.get_bind(), tables=new, checkfirst=False)
    place = "study = NEW.study AND case_id = NEW.case_id AND arm = NEW.arm"
    sheet = f"{place} AND reader = NEW.reader AND occasion = NEW.occasion"
    first = "NEW.supersedes IS NULL AND supersedes IS NULL AND question = NEW.question"
    guard_table("studies", ["study = NEW.study AND version = NEW.version", "seq = NEW.seq"])
    row = ["id = NEW.id", "seq = NEW.seq"]
    locked = f"kind = 'locked' AND NEW.kind = 'locked' AND {sheet}"
    guard_table("events", [*row, "idempotency_key = NEW.idempotency_key", locked])
    line = [*row, "supersedes = NEW.supersedes"]
    guard_table("answers", [*line, f"{first} AND {sheet}"])
    guard_table("decisions", [*line, f"{first} AND {place}"])


def _linked() -> list[sa.Column[Any]]:
    return [
        sa.Column("site", sa.String(40), sa.ForeignKey("chains.site"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    ]


# A study as locked (version 1) and each amendment of it; content: the canonical JSON of the plan.
studies = sa.Table(
    "studies",
    steps,
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("author", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "study", "version"),
    sa.UniqueConstraint("site", "seq"),
    sa.CheckConstraint("(version = 1) = (reason IS NULL)", name="reason"),
)


def _placed() -> list[sa.Column[Any]]:
    """Whose reading of what, see ``allocation.Place``."""
    return [
        sa.Column("study", sa.String(64), nullable=False),
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("case_id", sa.String(200), nullable=False),
        sa.Column("arm", sa.String(20), nullable=False),
        sa.Column("occasion", sa.Integer, nullable=False),
    ]


_PLACE = ("study", "reader", "case_id", "arm", "occasion")


def _known_version() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["site", "study", "version"], ["studies.site", "studies.study", "studies.version"]
    )


# What happened to a reading. kind: locked, skipped, flagged or unflagged; seconds since the start.
events = sa.Table(
    "events",
    steps,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    *_placed(),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("active_s", sa.Float, nullable=False),
    sa.Column("idle_s", sa.Float, nullable=False),
    sa.Column("idempotency_key", sa.String(100), nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "idempotency_key"),
    _known_version(),
    sa.CheckConstraint("kind IN ('locked', 'skipped', 'flagged', 'unflagged')", name="kind"),
    sa.CheckConstraint("occasion IN (0, 1)", name="occasion"),
    sa.CheckConstraint("active_s >= 0 AND idle_s >= 0", name="seconds"),
)
sa.Index(
    "uq_events_locked",
    *(events.c[name] for name in ("site", *_PLACE)),
    unique=True,
    sqlite_where=events.c.kind == "locked",
    postgresql_where=events.c.kind == "locked",
)

# One answer to one question; value: JSON. A correction is a new row that names the old one.
answers = sa.Table(
    "answers",
    steps,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    *_placed(),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("question", sa.String(64), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("supersedes", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "supersedes"),
    sa.UniqueConstraint("site", "id", *_PLACE, "question", name="uq_answers_line"),
    sa.ForeignKeyConstraint(
        ["site", "supersedes", *_PLACE, "question"],
        [f"answers.{name}" for name in ("site", "id", *_PLACE, "question")],
        name="fk_answers_line",
    ),
    _known_version(),
    sa.CheckConstraint("occasion IN (0, 1)", name="occasion"),
    sa.CheckConstraint("(supersedes IS NULL) = (reason IS NULL)", name="reason"),
)
sa.Index(
    "uq_answers_first",
    *(answers.c[name] for name in ("site", *_PLACE, "question")),
    unique=True,
    sqlite_where=answers.c.supersedes.is_(None),
    postgresql_where=answers.c.supersedes.is_(None),
)

# The consensus on one question of one case and arm. basis: JSON of the answers it rests on.
decisions = sa.Table(
    "decisions",
    steps,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("arm", sa.String(20), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("question", sa.String(64), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("decided_by", sa.String(80), nullable=False),
    sa.Column("basis", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("supersedes", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "supersedes"),
    sa.UniqueConstraint(
        "site", "id", "study", "case_id", "arm", "question", name="uq_decisions_line"
    ),
    sa.ForeignKeyConstraint(
        ["site", "supersedes", "study", "case_id", "arm", "question"],
        [f"decisions.{n}" for n in ("site", "id", "study", "case_id", "arm", "question")],
        name="fk_decisions_line",
    ),
    _known_version(),
    sa.CheckConstraint("(supersedes IS NULL) = (reason IS NULL)", name="reason"),
)
sa.Index(
    "uq_decisions_first",
    *(decisions.c[name] for name in ("site", "study", "case_id", "arm", "question")),
    unique=True,
    sqlite_where=decisions.c.supersedes.is_(None),
    postgresql_where=decisions.c.supersedes.is_(None),
)

# What a reader has typed and not yet locked; the only study table that changes. Not chained.
drafts = sa.Table(
    "drafts",
    steps,
    *_placed(),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("active_s", sa.Float, nullable=False),
    sa.Column("idle_s", sa.Float, nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint(*_PLACE),
)
