"""Triggers that keep chained tables append-only; shared by the steps since 0002.

A trigger's text is part of a step: change it only by a new step.
"""

from __future__ import annotations

from collections.abc import Sequence

from alembic import op


def guard_table(table: str, unique: Sequence[str]) -> None:
    """Refuse UPDATE, DELETE and TRUNCATE of ``table``.

    ``unique``: conditions on the columns and on NEW that are true for a row which INSERT OR
    REPLACE would delete; SQLite fires no delete trigger there, so the insert is stopped.
    """
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
            )
        taken = " OR ".join(f"({condition})" for condition in unique)
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS "
            f"(SELECT 1 FROM {table} WHERE site = NEW.site AND ({taken})) "
            f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
        )
        return
    op.execute(
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION rows_append_only()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION rows_append_only()"
    )


def guard_chains() -> None:
    """A chain's head moves forward one row at a time and never goes."""
    backwards = "NEW.length <> OLD.length + 1 OR NEW.site <> OLD.site OR NEW.own <> OLD.own"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER chains_forward BEFORE UPDATE ON chains WHEN {backwards} "
            "BEGIN SELECT RAISE(ABORT, 'chains are append-only'); END"
        )
        op.execute(
            "CREATE TRIGGER chains_no_delete BEFORE DELETE ON chains "
            "BEGIN SELECT RAISE(ABORT, 'chains are append-only'); END"
        )
        op.execute(
            "CREATE TRIGGER chains_no_replace BEFORE INSERT ON chains WHEN EXISTS "
            "(SELECT 1 FROM chains WHERE site = NEW.site OR (own AND NEW.own)) "
            "BEGIN SELECT RAISE(ABORT, 'chains are append-only'); END"
        )
        return
    op.execute(
        f"CREATE TRIGGER chains_forward BEFORE UPDATE ON chains FOR EACH ROW WHEN ({backwards}) "
        "EXECUTE FUNCTION rows_append_only()"
    )
    op.execute(
        "CREATE TRIGGER chains_no_delete BEFORE DELETE ON chains "
        "FOR EACH ROW EXECUTE FUNCTION rows_append_only()"
    )
    op.execute(
        "CREATE TRIGGER chains_no_truncate BEFORE TRUNCATE ON chains "
        "FOR EACH STATEMENT EXECUTE FUNCTION rows_append_only()"
    )


def make_function() -> None:
    """PostgreSQL: the function behind all these triggers."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION rows_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% are append-only', TG_TABLE_NAME; END $$"
        )
