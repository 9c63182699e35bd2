"""Whether the triggers that keep chained tables append-only are there and say what they must, and
whether anything else is attached to the tables that runs when they are read or written.

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
_MAY_CHANGE = "not one of bmcore's; it may change what is written"
_MAY_HIDE = "not one of bmcore's; it may change what is read or written"
_FUNCTION = "BEGIN RAISE EXCEPTION '% are append-only', TG_TABLE_NAME; END"
_SQLITE = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
_POSTGRESQL = """
SELECT t.tgname, c.relname, pg_get_triggerdef(t.oid), p.prosrc, l.lanname
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_proc p ON p.oid = t.tgfoid
JOIN pg_language l ON l.oid = p.prolang
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND c.oid = ANY(CAST(:tables AS oid[]))
"""
# What bmcore attaches to no table: (what it is, its name).
_ATTACHED = """
WITH ours AS (SELECT * FROM pg_class WHERE oid = ANY(CAST(:tables AS oid[])))
SELECT 'rule', r.rulename || ' on ' || o.relname FROM pg_rewrite r JOIN ours o
  ON o.oid = r.ev_class
UNION ALL SELECT 'row security policy', p.polname || ' on ' || o.relname FROM pg_policy p
  JOIN ours o ON o.oid = p.polrelid
UNION ALL SELECT 'row security', 'on ' || relname FROM ours
  WHERE relrowsecurity OR relforcerowsecurity
UNION ALL SELECT 'table', i.inhrelid::regclass || ', a part of ' || i.inhparent::regclass
  FROM pg_inherits i JOIN ours o ON o.oid IN (i.inhrelid, i.inhparent)
UNION ALL SELECT 'default', pg_get_expr(d.adbin, d.adrelid) || ' of ' || o.relname || '.'
  || a.attname FROM pg_attrdef d JOIN ours o ON o.oid = d.adrelid
  JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
UNION ALL SELECT 'check', n.conname || ' on ' || o.relname FROM pg_constraint n
  JOIN ours o ON o.oid = n.conrelid WHERE n.contype = 'c' AND n.conname <> ALL(:checks)
UNION ALL SELECT 'index', c.relname || ' on ' || o.relname FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid JOIN ours o ON o.oid = i.indrelid
  WHERE (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) AND c.relname <> ALL(:indexes)
ORDER BY 1, 2
"""
_SWITCHED_OFF = """
SELECT DISTINCT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE t.tgisinternal AND t.tgenabled NOT IN ('O', 'A') AND c.oid = ANY(CAST(:tables AS oid[]))
ORDER BY 1
"""


def problems(connection: sa.Connection) -> Iterator[str]:
    """One sentence for each trigger that is missing, off or changed, and each thing that is not
    bmcore's and runs with its tables."""
    if connection.dialect.name == "sqlite":
        found, wanted = _on_sqlite(connection), _made_by_sqlite()
    else:
        yield from _attached(connection)
        found, wanted = _on_postgresql(connection), _made_by_postgresql()
    for name in sorted({*wanted, *found}):
        if name not in found:
            yield f"trigger {name}: removed or switched off; {_KEEPS}"
        elif name not in wanted:
            yield f"trigger {name}: {_MAY_CHANGE}"
        elif _plain(found[name]) != _plain(wanted[name]):
            yield f"trigger {name}: changed, so it does not do what it must; {_KEEPS}"


def stand_ins(connection: sa.Connection) -> list[str]:
    """PostgreSQL: what is in the place of a table of ours and is none. SQLite: ``untrusted``."""
    if connection.dialect.name == "sqlite":
        return []
    names = [*schema.metadata.tables, "alembic_version"]
    query = sa.text("SELECT relname, relkind FROM pg_class WHERE oid = ANY(CAST(:t AS oid[]))")
    found = connection.execute(query, {"t": _oids(connection, names)})
    return sorted(name for name, kind in found if kind not in ("r", b"r"))


def _attached(connection: sa.Connection) -> Iterator[str]:
    role = connection.exec_driver_sql("SHOW session_replication_role").scalar_one()
    if role != "origin":
        yield f"session_replication_role is {role}: triggers are off, so rows can be changed"
    tables = schema.metadata.tables.values()
    checks = [
        f"{some_steps_say}{c.name}"
        for t in tables
        for c in t.constraints
        if isinstance(c, sa.CheckConstraint)
        for some_steps_say in ("", f"ck_{t.name}_")
    ]
    indexes = [index.name for t in tables for index in t.indexes]
    ours = {"tables": _oids(connection, [*schema.metadata.tables, "alembic_version"])}
    for what, name in connection.execute(
        sa.text(_ATTACHED), {**ours, "checks": checks, "indexes": indexes}
    ):
        yield f"{what} {name}: {_MAY_HIDE}"
    for (name,) in connection.execute(sa.text(_SWITCHED_OFF), ours):
        yield f"table {name}: its foreign keys are switched off, so rows can refer to none"


def _oids(connection: sa.Connection, names: list[str]) -> list[int]:
    """Of the tables that a query of bmcore means by these names."""
    query = sa.text("SELECT CAST(to_regclass(n) AS oid) FROM unnest(CAST(:n AS text[])) n")
    return [oid for (oid,) in connection.execute(query, {"n": names}) if oid is not None]


def _guarded() -> list[str]:
    return [*(table.name for table in schema.CHAINED), schema.chains.name]


def _plain(text: str) -> str:
    """Without what PostgreSQL adds by itself: schemas, casts, brackets, another case and order."""
    text = re.sub(r"::\w+| ON \w+\.", lambda m: "" if ":" in m[0] else " ON ", text)
    text = text.replace("DELETE OR UPDATE", "UPDATE OR DELETE")
    return re.sub(r"[()\s]", "", text).lower()


def _on_sqlite(connection: sa.Connection) -> Mapping[str, str]:
    """All of the file: whatever they are on, and however their statement spells it."""
    return {name: str(sql) for name, sql in connection.exec_driver_sql(_SQLITE)}


@lru_cache(maxsize=1)
def _made_by_sqlite() -> Mapping[str, str]:
    """The triggers that all steps make in an empty database in memory."""
    engine = sa.create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            run_steps(connection)
            return _on_sqlite(connection)
    finally:
        engine.dispose()


def _on_postgresql(connection: sa.Connection) -> Mapping[str, str]:
    """The text of each trigger that is on, with the body of its function behind it."""
    ours = _oids(connection, [*schema.metadata.tables, "alembic_version"])
    rows = connection.execute(sa.text(_POSTGRESQL), {"tables": ours})
    return {row[0]: _with_function(row[2], row[3], row[4]) for row in rows}


def _with_function(trigger: str, body: str, language: str) -> str:
    return f"{trigger} {language} {' '.join(body.split())}"


def _made_by_postgresql() -> Mapping[str, str]:
    return {n: text for table in _guarded() for n, text in _made_on(table).items()}


def _made_on(table: str) -> Mapping[str, str]:
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
