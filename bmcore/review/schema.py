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
        stored: datetime = value
        return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)


def _evidence() -> list[sa.Column[Any]]:
    """What an answer rests on: SHA-256 of the images, of the prediction that was shown, of the
    reader's corrected mask and of the marks. Empty in rows older than step 0005."""
    return [
        sa.Column("images_sha256", sa.String(64)),
        sa.Column("prediction_run", sa.String(40)),
        sa.Column("prediction_sha256", sa.String(64)),
        sa.Column("mask_sha256", sa.String(64)),
        sa.Column("marks_sha256", sa.String(64)),
    ]


def _linked() -> list[sa.Column[Any]]:
    """The columns that make a table part of a site's chain, see ``chain``."""
    return [
        sa.Column("site", sa.String(40), sa.ForeignKey("chains.site"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    ]


# One row a site: how long its chain is and how it ends. ``own``: this database's own chain;
# the others came by a merge.
chains = sa.Table(
    "chains",
    metadata,
    sa.Column("site", sa.String(40), primary_key=True),
    sa.Column("own", sa.Boolean, nullable=False),
    sa.Column("length", sa.Integer, nullable=False),
    sa.Column("head", sa.String(64), nullable=False),
)

readers = sa.Table(
    "readers",
    metadata,
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("name_key", sa.Text, nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("years", sa.Float),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "name"),
    sa.UniqueConstraint("site", "name_key"),
    sa.UniqueConstraint("site", "seq"),
)

votes = sa.Table(
    "votes",
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("reader", sa.String(80), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("phase", sa.String(10), nullable=False),
    sa.Column("primary", sa.String(20), nullable=False),
    sa.Column("confidence", sa.Integer, nullable=False),
    sa.Column("segmentation_quality", sa.Integer),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("bundle_digest", sa.String(200)),
    sa.Column("model_primary", sa.String(20)),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("idempotency_key", sa.String(100), nullable=False),
    sa.Column("supersedes", sa.Integer),
    sa.Column("reason", sa.Text),
    *_linked(),
    *_evidence(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.ForeignKeyConstraint(["site", "reader"], ["readers.site", "readers.name"]),
    sa.UniqueConstraint("site", "idempotency_key"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "supersedes"),
    sa.UniqueConstraint("site", "id", "case_id", "reader", "phase"),
    # What is superseded is a vote of the same reader, case and phase; with the unique columns
    # above and the index below, the votes of one reader, case and phase form one line.
    sa.ForeignKeyConstraint(
        ["site", "supersedes", "case_id", "reader", "phase"],
        ["votes.site", "votes.id", "votes.case_id", "votes.reader", "votes.phase"],
    ),
    sa.CheckConstraint("phase IN ('unaided', 'aided')", name="phase"),
    sa.CheckConstraint("confidence BETWEEN 0 AND 100", name="confidence"),
    sa.CheckConstraint("segmentation_quality BETWEEN 1 AND 5", name="quality"),
    sa.CheckConstraint(
        "phase = 'aided' OR (segmentation_quality IS NULL AND model_primary IS NULL)",
        name="unaided",
    ),
    sa.CheckConstraint("(supersedes IS NULL) = (reason IS NULL)", name="reason"),
)

first_vote = sa.Index(
    "uq_votes_first",
    votes.c.site,
    votes.c.case_id,
    votes.c.reader,
    votes.c.phase,
    unique=True,
    sqlite_where=votes.c.supersedes.is_(None),
    postgresql_where=votes.c.supersedes.is_(None),
)

# A study as locked (version 1) and each amendment of it; content: the canonical JSON of the plan.
studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("author", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "study", "version"),
    sa.UniqueConstraint("site", "seq"),
    sa.CheckConstraint("(version = 1) = (reason IS NULL)", name="reason"),
)

# What the readiness check found when a version of a plan was locked. bundle: digest of the models
# then loaded, which the study is read with; findings: JSON of severities and sentences.
starts = sa.Table(
    "starts",
    metadata,
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("bundle", sa.String(200)),
    sa.Column("findings", sa.Text, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "study", "version"),
    sa.UniqueConstraint("site", "seq"),
    sa.ForeignKeyConstraint(
        ["site", "study", "version"], ["studies.site", "studies.study", "studies.version"]
    ),
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


# What happened to a reading. kind: locked, skipped, flagged or unflagged; seconds since the start;
# taken_over: JSON of the questions that were filled from an earlier arm at a click.
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    *_placed(),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("active_s", sa.Float, nullable=False),
    sa.Column("idle_s", sa.Float, nullable=False),
    sa.Column("idempotency_key", sa.String(100), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    *_evidence(),
    sa.Column("taken_over", sa.Text),
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
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    *_placed(),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("question", sa.String(64), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("supersedes", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", UTCDateTime, nullable=False),
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
    metadata,
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
    sa.Column("created_at", UTCDateTime, nullable=False),
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

# The models' answers on a case were sent to a reader. study: "" outside a study.
exposures = sa.Table(
    "exposures",
    metadata,
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
    sa.Column("created_at", UTCDateTime, nullable=False),
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
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("mode", sa.String(20), nullable=False),
    sa.Column("author", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.CheckConstraint("mode IN ('unaided first', 'aided only')", name="mode"),
)

# A reader's list in a study was closed: what was skipped until then stays skipped.
closings = sa.Table(
    "closings",
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("reader", sa.String(64), nullable=False),
    sa.Column("closed_by", sa.String(80), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
)

# A practice case as a reader answered it; content: JSON of the answers, which count nowhere.
practice = sa.Table(
    "practice",
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("reader", sa.String(64), nullable=False),
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("reference", sa.String(20), nullable=False),
    sa.Column("model", sa.String(20)),
    sa.Column("active_s", sa.Float, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "study", "reader", "case_id", name="uq_practice_first"),
    _known_version(),
)

# How a study is conducted. kind: paused, resumed, closed or deadline; reader: "" for all; due: the
# last day of a deadline (ISO 8601), NULL where it was taken away.
conduct = sa.Table(
    "conduct",
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("reader", sa.String(64), nullable=False),
    sa.Column("due", sa.String(10)),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("author", sa.String(80), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.CheckConstraint("kind IN ('paused', 'resumed', 'closed', 'deadline')", name="kind"),
)

# Which of two segmentations a reader preferred; answer: of the one shown on the left (A) or right.
preferences = sa.Table(
    "preferences",
    metadata,
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
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "study", "reader", "case_id", name="uq_preferences_first"),
    _known_version(),
    sa.CheckConstraint("answer IN ('left', 'right', 'tie')", name="answer"),
)

# What a migration has to say of older rows. about_vote: its id at about_site.
remarks = sa.Table(
    "remarks",
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("about_site", sa.String(40), nullable=False),
    sa.Column("about_vote", sa.Integer, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
)

# What a reader has typed and not yet locked; the only study table that changes. Not chained.
drafts = sa.Table(
    "drafts",
    metadata,
    *_placed(),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("active_s", sa.Float, nullable=False),
    sa.Column("idle_s", sa.Float, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.Column("taken_over", sa.Text),
    sa.PrimaryKeyConstraint(*_PLACE),
)

# Who may sign in. password: an Argon2 hash; stamp: changes with the password and the role, and so
# ends sessions that began before. Not chained, not merged.
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("name_key", sa.String(80), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("password", sa.String(200), nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("stamp", sa.String(32), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.CheckConstraint("role IN ('reader', 'investigator', 'administrator')", name="role"),
)


# One-time links by which people set their own passwords. Not chained, not merged.
invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("token_digest", sa.String(64), primary_key=True),
    sa.Column("name_key", sa.String(80), nullable=False, unique=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("made_by", sa.String(80), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("expires_at", UTCDateTime, nullable=False),
    sa.CheckConstraint("role IN ('reader', 'investigator', 'administrator')", name="role"),
)


# Wrong passwords in a row for a name, whether there is an account of it or not; the name itself is
# not kept. Not chained, not merged.
sign_in_attempts = sa.Table(
    "sign_in_attempts",
    metadata,
    sa.Column("name_digest", sa.String(64), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("locked_until", UTCDateTime),
    sa.Column("tried_at", UTCDateTime, nullable=False),
)


def _owned() -> list[sa.Column[Any]]:
    """Whose mark or correction of what. reader: a name, or the drawer of a study's reading."""
    return [
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("case_id", sa.String(200), nullable=False),
        sa.Column("reader", sa.String(80), nullable=False),
        sa.Column("reader_key", sa.Text, nullable=False),
    ]


# Each change of a reader's mark. mark: the id that the browser gave; content: JSON of the mark;
# phase: in which the change was made; basis: the segmentation that a verdict was given on.
marks = sa.Table(
    "marks",
    metadata,
    *_owned(),
    sa.Column("mark", sa.String(40), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("action", sa.String(10), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("phase", sa.String(10), nullable=False),
    sa.Column("basis", sa.String(64)),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "case_id", "reader_key", "mark", "version"),
    sa.CheckConstraint("action IN ('set', 'removed', 'restored')", name="action"),
    sa.CheckConstraint("phase IN ('unaided', 'aided')", name="phase"),
    sa.CheckConstraint("version > 1 OR action = 'set'", name="first"),
)

# Each version of a reader's corrected segmentation. sha256: of its file below HOME/marks, NULL for
# the models' own; basis: the models' segmentation that was painted on; strokes: JSON of their ids.
mask_versions = sa.Table(
    "mask_versions",
    metadata,
    *_owned(),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("action", sa.String(10), nullable=False),
    sa.Column("sha256", sa.String(64)),
    sa.Column("basis", sa.String(64)),
    sa.Column("strokes", sa.Text, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.UniqueConstraint("site", "case_id", "reader_key", "version"),
    sa.CheckConstraint("action IN ('saved', 'dropped', 'restored')", name="action"),
    sa.CheckConstraint("(action = 'dropped') = (sha256 IS NULL)", name="sha256"),
)

# A case was deleted or renamed. token: names the folder through which its files went;
# images_sha256: of its images; votes_kept: how many votes on it stay.
case_changes = sa.Table(
    "case_changes",
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("action", sa.String(10), nullable=False),
    sa.Column("new_name", sa.String(200)),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("author", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("images_sha256", sa.String(64), nullable=False),
    sa.Column("votes_kept", sa.Integer, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.CheckConstraint("action IN ('deleted', 'renamed')", name="action"),
    sa.CheckConstraint("(action = 'renamed') = (new_name IS NOT NULL)", name="new_name"),
)

# Which case is the earlier examination of the same patient (``prior_id``), or that none is (any
# more). images_sha256, prior_sha256: of the images of both, see ``CaseEntry.images_sha256``.
prior_examinations = sa.Table(
    "prior_examinations",
    metadata,
    sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("action", sa.String(10), nullable=False),
    sa.Column("prior_id", sa.String(200)),
    sa.Column("images_sha256", sa.String(64), nullable=False),
    sa.Column("prior_sha256", sa.String(64)),
    sa.Column("author", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    *_linked(),
    sa.PrimaryKeyConstraint("site", "id"),
    sa.UniqueConstraint("site", "seq"),
    sa.CheckConstraint("action IN ('set', 'cleared')", name="action"),
    sa.CheckConstraint(
        "(action = 'set') = (prior_id IS NOT NULL) AND (prior_id IS NULL) = (prior_sha256 IS NULL)",
        name="prior_id",
    ),
)

# What was filled in of a vote form and not yet stored as a vote; changes, is not chained.
vote_drafts = sa.Table(
    "vote_drafts",
    metadata,
    sa.Column("case_id", sa.String(200), nullable=False),
    sa.Column("reader_key", sa.Text, nullable=False),
    sa.Column("phase", sa.String(10), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.PrimaryKeyConstraint("case_id", "reader_key", "phase"),
)

# What the worker has done and has to do: the newest run of each kind on each subject (a case, or
# what is computed of readings). rank: 0 asked for by a click, higher ones wait. digest: of the
# models that answered. Not chained, not merged: it can be emptied at any time.
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("asked_by", sa.String(80), nullable=False),
    sa.Column("submitted_at", UTCDateTime, nullable=False),
    sa.Column("started_at", UTCDateTime),
    sa.Column("ended_at", UTCDateTime),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("cancelling", sa.Boolean, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("digest", sa.String(200)),
    sa.PrimaryKeyConstraint("kind", "subject"),
    sa.CheckConstraint(
        "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"
    ),
)
sa.Index("ix_runs_state", runs.c.state, runs.c.rank, runs.c.submitted_at)

# What the work list shows of each case in the folder, so that a page of it is one query. stamp: of
# the record it was read from; words: what a search looks in; votes: in force, of all sites;
# predicted: first 16 of the digest of the models that have read it. Made again from the folder
# whenever it disagrees with it. Not chained, not merged.
case_index = sa.Table(
    "case_index",
    metadata,
    sa.Column("case_id", sa.String(200), primary_key=True),
    sa.Column("stamp", sa.String(60), nullable=False),
    sa.Column("added", UTCDateTime, nullable=False),
    sa.Column("demo", sa.Boolean, nullable=False),
    sa.Column("readable", sa.Boolean, nullable=False),
    sa.Column("age_years", sa.Float),
    sa.Column("sex", sa.String(20)),
    sa.Column("sequences", sa.String(80), nullable=False),
    sa.Column("missing", sa.Integer, nullable=False),
    sa.Column("notes", sa.Integer, nullable=False),
    sa.Column("t1c_sha256", sa.String(64), nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("votes", sa.Integer, nullable=False),
    sa.Column("readers", sa.Integer, nullable=False),
    sa.Column("predicted", sa.String(16), nullable=False),
    sa.Column("pictured", sa.Boolean, nullable=False),
)
sa.Index("ix_case_index_added", case_index.c.added, case_index.c.case_id)
sa.Index("ix_case_index_readers", case_index.c.readers, case_index.c.case_id)

# What the index was made from: (what, stamp), one row a thing.
index_stamps = sa.Table(
    "index_stamps",
    metadata,
    sa.Column("what", sa.String(40), primary_key=True),
    sa.Column("stamp", sa.String(200), nullable=False),
)

# Votes are asked for by case and by reader.
sa.Index("ix_votes_case_id", votes.c.case_id)
sa.Index("ix_votes_reader_case_id", votes.c.reader, votes.c.case_id)

# Every table whose rows are chained and never change. A later row refers only to earlier ones.
CHAINED: tuple[sa.Table, ...] = (
    *(readers, votes, studies, starts, events, answers, decisions),
    *(exposures, reading_modes, closings, remarks),
    *(marks, mask_versions, practice, preferences, conduct),
    *(case_changes, prior_examinations),
)
# Columns that a later step added: left out of a row's hash where they are empty, so that the
# hashes of older rows stay what they are.
ADDED_LATER: dict[str, frozenset[str]] = {
    "votes": frozenset(column.name for column in _evidence()),
    "events": frozenset((*(column.name for column in _evidence()), "taken_over")),
}
