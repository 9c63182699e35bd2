"""Bring a database to the newest step, once, however many programs open it at the same time."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from bmcore.domain import refuse
from bmcore.review import schema
from bmcore.review.connect import WRITE, StoreRefused

FOLDER = Path(__file__).parent / "migrations"


def step_of(connection: sa.Connection) -> str | None:
    """The step that a database is at (one that was tampered with may name two); None where it
    holds nothing of ours."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    named = connection.execute(sa.text("SELECT version_num FROM alembic_version LIMIT 2")).scalars()
    return ", ".join(str(step)[:40] for step in named) or None


@lru_cache(maxsize=1)
def newest_step() -> str:
    """The step that this version of the code expects."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def migrate(engine: sa.Engine, where: str) -> None:
    """Run the steps that are missing, in one transaction; refuse a database that is not ours."""
    config = _config()
    with engine.execution_options(**WRITE).begin() as connection:
        if not _is_sound(connection):
            raise refuse(
                "the database is damaged",
                file=where,
                hint="restore it from a backup; keep this file.",
                error=StoreRefused,
            )
        if _missing_steps(connection, ScriptDirectory.from_config(config), where):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        _try_to_write(connection)


def run_steps(connection: sa.Connection) -> None:
    """Make all tables and triggers in an empty database, as they are now."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _missing_steps(connection: sa.Connection, steps: ScriptDirectory, where: str) -> bool:
    found = step_of(connection)
    known = {step.revision for step in steps.walk_revisions()}
    if found is None:
        ours = set(schema.metadata.tables) & set(sa.inspect(connection).get_table_names())
        if ours:
            raise refuse(
                "the database already holds tables of another program",
                file=where,
                found=", ".join(sorted(ours)),
                hint="give bmcore a database of its own.",
                error=StoreRefused,
            )
    elif found not in known:
        raise refuse(
            "the database was made by a newer version of bmcore",
            file=where,
            found=f"step {found}",
            expected=f"step {steps.get_current_head()} or older",
            hint="update bmcore; the votes are untouched.",
            error=StoreRefused,
        )
    return found != steps.get_current_head()


def _is_sound(connection: sa.Connection) -> bool:
    if connection.dialect.name != "sqlite":
        return True
    return bool(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() == "ok")


def _try_to_write(connection: sa.Connection) -> None:
    """Fail now, not at the first vote, where the database can only be read. Changes nothing."""
    with connection.begin_nested() as trial:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
        trial.rollback()
