"""Read a database and name every row that was edited, removed, added or moved. Writes nothing.

The check needs no key and so has limits, see ``docs/study.md``: who can write the file can compute
a whole new chain. An anchor, a line kept outside the database (``Report.anchor``), shows that too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bmcore.domain import refuse
from bmcore.plain import MOST_BYTES, NotPlain, brief, read_json
from bmcore.review import schema, triggers, untrusted
from bmcore.review.chain import GENESIS, digest
from bmcore.review.connect import (
    StoreRefused,
    database_faults,
    make_reading_engine,
    readable,
    shown,
)
from bmcore.review.migrate import newest_step, step_of
from bmcore.review.verify_files import file_problems
from bmcore.review.verify_order import clock_notes, order_problems


@dataclass(frozen=True)
class Report:
    """What was found: one sentence a problem, none where every chain is whole.

    heads: {site: (rows, hash of the last)} as recomputed from the rows. notes: what a person
    should know besides: a clock set back, old votes of unknown order, files that are elsewhere.
    """

    where: str
    problems: tuple[str, ...]
    heads: dict[str, tuple[int, str]]
    notes: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """One line of JSON to be kept where the database's keeper cannot write."""
        heads = {site: {"rows": n, "hash": last} for site, (n, last) in sorted(self.heads.items())}
        made = datetime.now(UTC).isoformat(timespec="seconds")
        return json.dumps({"bmcore_anchor": 1, "made_at": made, "chains": heads}, sort_keys=True)


@dataclass(frozen=True)
class _Row:
    table: str
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """What a person calls the row."""
        v = self.values
        key = f"id {v['id']}" if "id" in v else repr(v.get("name"))
        return f"{self.table} {key} (row {v['seq']} of {v['site']})"


def verify(url: str, anchor: Path | None = None, home: Path | None = None) -> Report:
    """Check all chains of the database at ``url``, and ``anchor``, a file of anchor lines.

    home: where the cases of this site lie; the files that answers rest on are checked as well.
    ``StoreRefused`` where the database or the anchor cannot be read at all.
    """
    anchors = [] if anchor is None else _read_anchor(anchor)
    with database_faults(shown(url)), readable(url) as (source, copied):
        report = _verify(source, shown(url), anchors, home)
    return replace(report, notes=(*report.notes, _ROLLED_BACK)) if copied else report


_ROLLED_BACK = (
    "a write was interrupted, by a crash or a power cut; it is undone when the database is opened "
    "next, and the rows were checked as they are then"
)


def _verify(url: str, where: str, anchors: Sequence[dict[str, Any]], home: Path | None) -> Report:
    engine = make_reading_engine(url)
    try:
        with database_faults(where), engine.connect() as connection:
            _refuse_stand_ins(connection, where)
            _refuse_other_steps(connection, where)
            problems = list(triggers.problems(connection))
            heads = _all_heads(connection)
            rows = _all_rows(connection)
    finally:
        engine.dispose()
    if sorted((head["own"] for head in heads), key=_order) != [0] * (len(heads) - 1) + [1]:
        problems.append("chains: exactly one site must be this database's own")
    found: dict[str, tuple[int, str]] = {}
    notes: list[str] = []
    old = _old_votes(rows)
    stated = {head["site"]: head for head in heads}
    for site in sorted({*stated, *rows}, key=str):
        chain = sorted(rows.get(site, []), key=lambda r: _order(r.values["seq"]))
        problems += _chain_problems(site, chain, stated.get(site))
        found[str(site)] = (len(chain), chain[-1].values["hash"] if chain else GENESIS)
        problems += _anchor_problems(site, chain, anchors)
        sound = [(row.table, row.values) for row in chain]
        try:
            others = [r for s, c in rows.items() if s != site for r in c]
            votes = [r.values for r in others if r.table == "votes"]
            problems += order_problems(site, sound, old.get(site, 0), votes)
            notes += clock_notes(site, sound)
            if home is not None and stated.get(site, {}).get("own") == 1:
                more, told = file_problems(home, sound)
                problems, notes = [*problems, *more], [*notes, *told]
        except (TypeError, ValueError, KeyError) as fault:
            problems.append(f"{site}: the order of its rows cannot be judged ({fault})")
    return Report(where, tuple(problems), found, (*notes, *_old_notes(rows)))


def _old_votes(rows: dict[str, list[_Row]]) -> dict[str, int]:
    """{site: id of its newest vote that is older than the exposures}, see step 0005."""
    found: dict[str, int] = {}
    for row in _remarks(rows, "exposures kept after"):
        site, vote = row["about_site"], row["about_vote"]
        if isinstance(vote, int):
            found[site] = max(vote, found.get(site, 0))
    return found


def _old_notes(rows: dict[str, list[_Row]]) -> Iterator[str]:
    marked = len(list(_remarks(rows, "order not shown")))
    if marked:
        yield (
            f"{marked} votes of an earlier version may have been given after the models' answers "
            "were seen; they are marked, and reports say so"
        )


def _remarks(rows: dict[str, list[_Row]], kind: str) -> Iterator[dict[str, Any]]:
    for chain in rows.values():
        yield from (r.values for r in chain if r.table == "remarks" and r.values["kind"] == kind)


def _chain_problems(site: str, chain: Sequence[_Row], head: dict[str, Any] | None) -> Iterator[str]:
    last, previous = 0, GENESIS
    for row in chain:
        seq = row.values["seq"]
        if seq == last:
            yield f"{row.name}: two rows hold this place in the chain"
        elif seq != last + 1:
            yield f"{site}: {_gap(last + 1, seq)} missing before {row.name}"
            previous = row.values["previous"]
        if row.values["previous"] != previous:
            yield f"{row.name}: does not follow the row before it; one of the two was changed"
        try:
            computed = digest(row.table, row.values)
        except TypeError as fault:
            computed = str(fault)
        if computed != row.values["hash"]:
            yield f"{row.name}: its content was changed after it was written"
        last, previous = seq, row.values["hash"]
    if head is None:
        yield f"{site}: {len(chain)} rows belong to a chain that the table chains does not know"
    elif (head["length"], head["head"]) != (last, previous):
        yield _head_problem(site, last, head["length"])


def _gap(first: Any, after: Any) -> str:
    if not isinstance(after, int) or after - first < 1:
        return f"row {first} is out of place or"
    return f"row {first} is" if after - first == 1 else f"rows {first} to {after - 1} are"


def _head_problem(site: str, last: Any, stated: Any) -> str:
    if isinstance(stated, int) and isinstance(last, int) and stated > last:
        return f"{site}: {_gap(last + 1, stated + 1)} missing at the end of the chain"
    if stated == last:
        return f"{site}: the last row (row {last}) or the head of the chain was changed"
    return f"{site}: the head of the chain says {stated} rows, but the last row is row {last}"


def _anchor_problems(
    site: str, chain: Sequence[_Row], anchors: Sequence[dict[str, Any]]
) -> Iterator[str]:
    hashes = {row.values["seq"]: row.values["hash"] for row in chain} | {0: GENESIS}
    for line in anchors:
        kept = line["chains"].get(site)
        if kept is not None and hashes.get(kept["rows"]) != kept["hash"]:
            yield (
                f"{site}: row {kept['rows']} is not the one anchored at {line['made_at']}; rows "
                "up to it were removed or the chain was rewritten"
            )


def _order(seq: Any) -> tuple[bool, Any]:
    return (False, seq) if isinstance(seq, int) else (True, str(seq))


def _all_heads(connection: sa.Connection) -> list[dict[str, Any]]:
    t = schema.chains
    own = sa.case((t.c.own, 1), else_=0)
    if connection.dialect.name == "sqlite":
        own = sa.type_coerce(t.c.own, sa.Integer)  # type: ignore[assignment]
    query = sa.select(t.c.site, own.label("own"), t.c.length, t.c.head)
    return [dict(row._mapping) for row in untrusted.rows(connection, query)]


def _all_rows(connection: sa.Connection) -> dict[str, list[_Row]]:
    rows: dict[str, list[_Row]] = defaultdict(list)
    for table in schema.CHAINED:
        columns = [_raw(connection, column) for column in table.columns]
        for record in untrusted.rows(connection, sa.select(*columns)):
            values = {k: _time(v) if k.endswith("_at") else v for k, v in record._mapping.items()}
            rows[values["site"]].append(_Row(table.name, values))
    return rows


def _raw(connection: sa.Connection, column: sa.Column[Any]) -> Any:
    """SQLite keeps times as text; it is read as it stands, so that nothing hides in a reading."""
    if connection.dialect.name == "sqlite" and isinstance(column.type, schema.UTCDateTime):
        return sa.type_coerce(column, sa.Text).label(column.name)
    return column


def _time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        time = datetime.strptime(value, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return value
    return time if f"{time:%Y-%m-%d %H:%M:%S.%f}" == value else value


def _refuse_stand_ins(connection: sa.Connection, where: str) -> None:
    found = triggers.stand_ins(connection)
    if found:
        raise refuse(
            "what is in the place of a table of bmcore is none",
            file=where,
            found=", ".join(found),
            expected="tables",
            hint="find out who made it; a view can show rows that nobody stored.",
            error=StoreRefused,
        )


def _refuse_other_steps(connection: sa.Connection, where: str) -> None:
    found, newest = step_of(connection), newest_step()
    if found == newest:
        return
    raise refuse(
        "the database cannot be verified by this version of bmcore",
        file=where,
        found="no votes of bmcore" if found is None else f"step {found}",
        expected=f"step {newest}",
        hint="open it once with the version that is to verify it (this brings it to that step).",
        error=StoreRefused,
    )


def _read_anchor(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise NotPlain(f"more than {MOST_BYTES} bytes")
        anchors = [read_json(line) for line in raw.splitlines() if line.strip()]
        for anchor in anchors:
            for kept in anchor["chains"].values():
                if not isinstance(kept["rows"], int) or not isinstance(kept["hash"], str):
                    raise TypeError("rows must be a number and hash a text")
            anchor["made_at"] = brief(anchor["made_at"]).strip("'")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as fault:
        raise refuse(
            "the anchor file cannot be read",
            file=path,
            found=f"{type(fault).__name__}: {fault}",
            expected="lines written by `python -m bmcore verify --write-anchor`",
            error=StoreRefused,
        ) from fault
    if not anchors:
        raise refuse("the anchor file is empty", file=path, error=StoreRefused)
    return anchors
