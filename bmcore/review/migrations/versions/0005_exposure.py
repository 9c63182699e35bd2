"""When a reader was first sent the models' answers, and what votes rest on.

Votes and locked sheets get columns for the hashes of images, prediction, correction and marks;
they stay empty in rows of earlier versions, whose hashes do not change. Votes that were stored
before exposures were kept are marked where the order of seeing and voting cannot be shown.
A copy of ``schema`` as it was at this step.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from bmcore.review.chain import digest
from bmcore.review.migrations.guards import guard_table

revision = "0005"
down_revision = "0004"
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
chains = sa.Table(  # is there already
    "chains",
    steps,
    sa.Column("site", sa.String(40), primary_key=True),
    sa.Column("own", sa.Boolean),
    sa.Column("length", sa.Integer),
    sa.Column("head", sa.String(64)),
)


def upgrade() -> None:
    for table in ("votes", "events"):
        for column in _evidence():
            op.add_column(table, column)
    new = [exposures, reading_modes, closings, remarks]
    steps.create_all(op.get_bind(), tables=new, checkfirst=False)
    shown = " AND ".join(
        f"{name} = NEW.{name}"
        for name in ("case_id", "reader_key", "study", "occasion", "bundle", "prediction_run")
    )
    row = ["id = NEW.id", "seq = NEW.seq"]
    guard_table("exposures", [*row, shown])
    for table in ("reading_modes", "closings", "remarks"):
        guard_table(table, row)
    _mark_old_votes()


def _evidence() -> list[sa.Column[Any]]:
    return [
        sa.Column("images_sha256", sa.String(64)),
        sa.Column("prediction_run", sa.String(40)),
        sa.Column("prediction_sha256", sa.String(64)),
        sa.Column("mask_sha256", sa.String(64)),
        sa.Column("marks_sha256", sa.String(64)),
    ]


def _mark_old_votes() -> None:
    """Append a remark for each old vote that may have been given after the answers were seen.

    Such is a vote without the models that took the place of an earlier one, or that was stored
    after a vote with the models of the same reader and case; and a vote with the models that has
    no vote without them before it. A last remark a site names its newest old vote.
    """
    query = sa.text(
        "SELECT site, id, seq, case_id, reader, phase, supersedes FROM votes ORDER BY site, id"
    )
    votes = list(op.get_bind().execute(query))
    first: dict[tuple[str, str, str, str], int] = {}
    for vote in votes:
        first.setdefault((vote.site, vote.case_id, vote.reader, vote.phase), vote.seq)
    for vote in votes:
        aided = first.get((vote.site, vote.case_id, vote.reader, "aided"))
        unaided = first.get((vote.site, vote.case_id, vote.reader, "unaided"))
        changed = vote.supersedes is not None or (aided is not None and aided < vote.seq)
        alone = unaided is None or unaided > vote.seq
        if changed if vote.phase == "unaided" else alone:
            _append_remark("order not shown", vote.site, vote.id)
    for site, last in sorted({vote.site: vote.id for vote in votes}.items()):
        _append_remark("exposures kept after", site, last)


def _append_remark(kind: str, site: str, vote: int) -> None:
    """One row at the end of this database's own chain."""
    bind = op.get_bind()
    head = bind.execute(sa.select(chains).where(chains.c.own)).one()
    newest = sa.select(sa.func.max(remarks.c.id)).where(remarks.c.site == head.site)
    row: dict[str, Any] = {
        "id": (bind.execute(newest).scalar_one() or 0) + 1,
        "kind": kind,
        "about_site": site,
        "about_vote": vote,
        "created_at": datetime.now(UTC),
        "site": head.site,
        "seq": head.length + 1,
        "previous": head.head,
    }
    row["hash"] = digest("remarks", row)
    bind.execute(sa.insert(remarks).values(row))
    step = sa.update(chains).where(chains.c.site == head.site)
    bind.execute(step.values(length=row["seq"], head=row["hash"]))


def _linked() -> list[sa.Column[Any]]:
    return [
        sa.Column("site", sa.String(40), sa.ForeignKey("chains.site"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    ]


# The models' answers on a case were sent to a reader. study: "" outside a study.
exposures = sa.Table(
    "exposures",
    steps,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("reader", sa.String(80), nullable=False),
    sa.Column("reader_key", sa.Text, nullable=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("arm", sa.String(20), nullable=False),
    sa.Column("occasion", sa.Integer, nullable=False),
    sa.Column("bundle", sa.String(200), nullable=False),
    sa.Column("images_sha256", sa.String(64)),
    sa.Column("prediction_run", sa.String(40), nullable=False),
    sa.Column("prediction_sha256", sa.String(64)),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint(
        *("site", "case_id", "reader_key", "study", "occasion", "bundle", "prediction_run"),
        name="uq_exposures_first",
    ),
)

# How a case is read outside a study. mode: "unaided first" or "aided only".
reading_modes = sa.Table(
    "reading_modes",
    steps,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("mode", sa.String(20), nullable=False),
    sa.Column("author", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.CheckConstraint("mode IN ('unaided first', 'aided only')", name="mode"),
)

# A reader's list in a study was closed: what was skipped until then stays skipped.
closings = sa.Table(
    "closings",
    steps,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("reader", sa.String(64), nullable=False),
    sa.Column("closed_by", sa.String(80), nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
)

# What a migration has to say of older rows. about_vote: its id at about_site.
remarks = sa.Table(
    "remarks",
    steps,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("about_site", sa.String(40), nullable=False),
    sa.Column("about_vote", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
)
