"""How many votes and readers each case has, kept in the index of the work list.

A stored vote counts its case anew in the same transaction. ``stamp`` says how many rows of votes
the counts rest on: where that is no longer so, for instance after a merge, all are counted again.
"""

from __future__ import annotations

import sqlalchemy as sa

from bmcore.review import schema

_VOTES, _INDEX, _STAMPS = schema.votes, schema.case_index, schema.index_stamps
WHAT = "votes"


def voted(connection: sa.Connection, case_id: str) -> None:
    """One vote on this case was stored in this transaction."""
    known, rows = stamp_of(connection, WHAT), _rows(connection)
    count_case(connection, case_id)
    if known == str(rows - 1):  # the counts of the others are still right
        set_stamp(connection, WHAT, str(rows))


def count_case(connection: sa.Connection, case_id: str) -> None:
    """Count the votes on one case again."""
    query = sa.select(*_numbers()).where(_VOTES.c.case_id == case_id, _first())
    found = connection.execute(query).one()
    connection.execute(
        sa.update(_INDEX)
        .where(_INDEX.c.case_id == case_id)
        .values(votes=int(found[0]), readers=int(found[1]))
    )


def is_right(connection: sa.Connection) -> bool:
    """True where no vote came in past ``count_case``."""
    return stamp_of(connection, WHAT) == str(_rows(connection))


def count_all(connection: sa.Connection) -> None:
    """Count every case again."""
    query = sa.select(_VOTES.c.case_id, *_numbers()).where(_first()).group_by(_VOTES.c.case_id)
    found = {case_id: (int(v), int(r)) for case_id, v, r in connection.execute(query)}
    kept = connection.execute(sa.select(_INDEX.c.case_id, _INDEX.c.votes, _INDEX.c.readers)).all()
    changed = [
        {"at": case_id, "votes": found.get(case_id, (0, 0))[0],
         "readers": found.get(case_id, (0, 0))[1]}
        for case_id, votes, readers in kept
        if found.get(case_id, (0, 0)) != (votes, readers)
    ]  # fmt: skip
    if changed:
        connection.execute(
            sa.update(_INDEX)
            .where(_INDEX.c.case_id == sa.bindparam("at"))
            .values(votes=sa.bindparam("votes"), readers=sa.bindparam("readers")),
            changed,
        )
    set_stamp(connection, WHAT, str(_rows(connection)))


def stamp_of(connection: sa.Connection, what: str) -> str | None:
    """What the index was made from."""
    query = sa.select(_STAMPS.c.stamp).where(_STAMPS.c.what == what)
    return connection.execute(query).scalar_one_or_none()


def set_stamp(connection: sa.Connection, what: str, stamp: str) -> None:
    changed = connection.execute(
        sa.update(_STAMPS).where(_STAMPS.c.what == what).values(stamp=stamp)
    )
    if not changed.rowcount:
        connection.execute(sa.insert(_STAMPS).values(what=what, stamp=stamp))


def _first() -> sa.ColumnElement[bool]:
    """The votes of one reader, case and phase form one line, which has one vote in force: so many
    lines, so many first votes."""
    return _VOTES.c.supersedes.is_(None)


def _numbers() -> list[sa.ColumnElement[int]]:
    people = sa.func.count(sa.distinct(_VOTES.c.site + "/" + _VOTES.c.reader))
    return [sa.func.count(), people]


def _rows(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(_VOTES)).scalar_one())
