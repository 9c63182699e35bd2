"""Who has voted on which case outside studies: names alone, nothing of what they answered.

Readings of a study are left out: whether a colleague has read a case there is the study's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from bmcore.review import row_mapping, schema
from bmcore.review.votes import Reader

ReadBy = Mapping[str, Mapping[str, str]]  # case -> {key of the reader: name}


def who_read(connection: sa.Connection) -> ReadBy:
    """{case: {key: name as shown}}; a reader who voted twice is one reader."""
    t = schema.votes
    shown = row_mapping.shown_names(connection)
    query = sa.select(t.c.case_id, t.c.site, t.c.reader).distinct().order_by(t.c.reader)
    found: dict[str, dict[str, str]] = {}
    for case_id, site, reader in connection.execute(query):
        name = shown.get((site, reader), reader)
        found.setdefault(case_id, {})[Reader(name, "other").key] = name
    return found


def read_by(found: ReadBy, key: str | None) -> set[str]:
    """The cases that one reader has voted on; none where nobody is named."""
    return {case_id for case_id, readers in found.items() if key is not None and key in readers}


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


def next_unread(cases: Collection[str], done: Collection[str], after: str | None) -> str | None:
    """The first of ``cases``, in their order, that is not in ``done``: beginning behind ``after``
    and going round; never ``after`` itself."""
    order = list(cases)
    start = order.index(after) + 1 if after in order else 0
    turned = [*order[start:], *order[:start]]
    return next((c for c in turned if c not in done and c != after), None)
