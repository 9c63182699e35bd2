"""Whether the triggers that keep chained tables append-only are there and say what they must.

On SQLite a trigger is its text, which is compared with that of a database made now. PostgreSQL
hands out the text it has understood, which is compared with what step 0002 and later ones wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

import sqlalchemy as sa

from bmcore.review import schema
from bmcore.review.migrate import run_steps

_KEEPS = "it keeps rows from being changed"
_FUNCTION = "BEGIN RAISE EXCEPTION '% are append-only', TG_TABLE_NAME; END"
_SQLITE = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = "
_POSTGRESQL = """
SELECT t.tgname, c.relname, pg_get_triggerdef(t.oid), p.prosrc, l.lanname
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_proc p ON p.oid = t.tgfoid
JOIN pg_language l ON l.oid = p.prolang
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND c.oid = to_regclass(:name)
"""


def problems(connection: sa.Connection) -> Iterator[str]:
    """One sentence for each trigger that is missing, off, changed or not one of bmcore's."""
    sqlite = connection.dialect.name == "sqlite"
    if not sqlite:
        role = connection.exec_driver_sql("SHOW session_replication_role").scalar_one()
        if role != "origin":
            yield f"session_replication_role is {role}: triggers are off, so rows can be changed"
    for table in _guarded():
        found = _on_sqlite(connection, table) if sqlite else _on_postgresql(connection, table)
        wanted = _made_by_sqlite()[table] if sqlite else _made_by_postgresql(table)
        for name in sorted({*wanted, *found}):
            if name not in found:
                yield f"trigger {name}: removed or switched off; {_KEEPS}"
            elif name not in wanted:
                yield f"trigger {name}: not one of bmcore's; it may change what is written"
            elif _plain(found[name]) != _plain(wanted[name]):
                yield f"trigger {name}: changed, so it does not do what it must; {_KEEPS}"


def _guarded() -> list[str]:
    return [*(table.name for table in schema.CHAINED), schema.chains.name]


def _plain(text: str) -> str:
    """Without what PostgreSQL adds by itself: schemas, casts, brackets, another case and order."""
    text = re.sub(r"::\w+| ON \w+\.", lambda m: "" if ":" in m[0] else " ON ", text)
    text = text.replace("DELETE OR UPDATE", "UPDATE OR DELETE")
    return re.sub(r"[()\s]", "", text).lower()


def _on_sqlite(connection: sa.Connection, table: str) -> Mapping[str, str]:
    rows = connection.execute(sa.text(f"{_SQLITE} :name"), {"name": table})
    return {name: str(sql) for name, sql in rows}


@lru_cache(maxsize=1)
def _made_by_sqlite() -> Mapping[str, Mapping[str, str]]:
    """Table to the triggers that all steps make in an empty database in memory."""
    engine = sa.create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            run_steps(connection)
            return {table: _on_sqlite(connection, table) for table in _guarded()}
    finally:
        engine.dispose()


def _on_postgresql(connection: sa.Connection, table: str) -> Mapping[str, str]:
    """The text of each trigger that is on, with the body of its function behind it."""
    rows = connection.execute(sa.text(_POSTGRESQL), {"name": table})
    return {row[0]: _with_function(row[2], row[3], row[4]) for row in rows}


def _with_function(trigger: str, body: str, language: str) -> str:
    return f"{trigger} {language} {' '.join(body.split())}"


def _made_by_postgresql(table: str) -> Mapping[str, str]:
    run = "EXECUTE FUNCTION rows_append_only()"
    each = f"ON {table} FOR EACH"
    made = {
        f"{table}_no_change": f"BEFORE UPDATE OR DELETE {each} ROW {run}",
        f"{table}_no_truncate": f"BEFORE TRUNCATE {each} STATEMENT {run}",
    }
    if table == schema.chains.name:
        back = "NEW.length <> OLD.length + 1 OR NEW.site <> OLD.site OR NEW.own <> OLD.own"
        made = {
            "chains_forward": f"BEFORE UPDATE {each} ROW WHEN ({back}) {run}",
            "chains_no_delete": f"BEFORE DELETE {each} ROW {run}",
            "chains_no_truncate": made["chains_no_truncate"],
        }
    return {
        name: _with_function(f"CREATE TRIGGER {name} {text}", _FUNCTION, "plpgsql")
        for name, text in made.items()
    }
