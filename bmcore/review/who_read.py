"""Who has voted on which case outside studies: names alone, nothing of what they answered.

Readings of a study are left out: whether a colleague has read a case there is the study's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from bmcore.review import row_mapping, schema
from bmcore.review.votes import Reader

ReadBy = Mapping[str, Mapping[str, str]]  # case -> {key of the reader: name}


def who_read(connection: sa.Connection, case_ids: Collection[str]) -> ReadBy:
    """{case: {key: name as shown}} of these cases; a reader who voted twice is one reader."""
    t = schema.votes
    shown = row_mapping.shown_names(connection)
    query = sa.select(t.c.case_id, t.c.site, t.c.reader).distinct().order_by(t.c.reader)
    query = query.where(t.c.case_id.in_(case_ids))
    found: dict[str, dict[str, str]] = {}
    for case_id, site, reader in connection.execute(query):
        name = shown.get((site, reader), reader)
        found.setdefault(case_id, {})[Reader(name, "other").key] = name
    return found


def in_words(readers: Mapping[str, str], key: str | None, named: bool) -> str:
    """For instance "you, Dr B" or, where the others are not named, "you and 2 others".

    named: whether whoever looks may see which colleagues have read.
    """
    others = [name for k, name in readers.items() if k != key]
    me = ["you"] if key in readers else []
    if named or not others:
        return ", ".join([*me, *others])
    count = f"{len(others)} other" + "s" * (len(others) > 1)
    return f"you and {count}" if me else count.replace("other", "reader")
