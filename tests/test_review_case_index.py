"""The work list's index: the next case of a reader, and who has read the cases of a page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bmcore.review import case_index, schema, who_read
from bmcore.review.case_index import Wish
from bmcore.review.store import Store, open_store
from bmcore.review.votes import Reader, VoteDraft

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ADDED = {"b": 0, "a": 1, "c": 1, "d": 2, "damaged": 3}  # days; a and c came at the same moment
DR_A, DR_B = (Reader(name, "radiologist").key for name in ("Dr A", "Dr B"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    rows = [
        {
            "case_id": case_id, "stamp": "1", "added": FIRST + timedelta(days=days), "demo": False,
            "readable": case_id != "damaged", "age_years": None, "sex": None, "sequences": "t1c",
            "missing": 3, "notes": 0, "t1c_sha256": "", "words": case_id, "votes": 0, "readers": 0,
            "predicted": "", "pictured": True,
        }
        for case_id, days in ADDED.items()
    ]  # fmt: skip
    with open_store(f"sqlite:///{tmp_path / 'bmcore.sqlite'}") as made:
        made.write(lambda c: c.execute(sa.insert(schema.case_index), rows))
        for name in ("Dr A", "Dr B"):
            made.add_reader(name, "radiologist")
        yield made


def vote(store: Store, name: str, case_id: str) -> None:
    said = {"primary": "breast", "confidence": 50, "idempotency_key": f"key {name} {case_id}"}
    store.add_vote(
        VoteDraft(case_id=case_id, reader=name, role="radiologist", phase="unaided", **said)
    )


def test_the_next_case_is_the_oldest_behind_this_one_and_goes_round(store: Store) -> None:
    def following(after: str | None, closed: tuple[str, ...] = ()) -> str | None:
        return case_index.next_unread(store, DR_A, closed, after)

    assert following(None) == "b"
    assert [following(after) for after in ("b", "a", "c", "d")] == ["a", "c", "d", "b"]
    vote(store, "Dr A", "c")
    vote(store, "Dr B", "d")  # another reader's vote takes nothing from the list
    assert following("a") == "d" and following("a", ("d",)) == "b"
    for case_id in ("a", "b", "d"):
        vote(store, "Dr A", case_id)
    assert following("a") is None and following(None) is None
    assert case_index.next_unread(store, None, (), None) == "b"  # nobody is named


def test_what_is_read_is_told_by_name_and_counted_by_reader(store: Store) -> None:
    for name, case_id in (("Dr A", "c"), ("Dr B", "c"), ("Dr B", "a")):
        vote(store, name, case_id)
    found = store.read(lambda connection: who_read.who_read(connection, ["c", "d"]))
    assert found == {"c": {DR_A: "Dr A", DR_B: "Dr B"}}
    assert who_read.in_words(found["c"], DR_A, True) == "you, Dr B"
    assert who_read.in_words(found["c"], DR_A, False) == "you and 1 other"
    rows, total = case_index.page(store, Wish(order="fewest readers"), 0, 10)
    assert [(row.case_id, row.readers) for row in rows][-2:] == [("a", 1), ("c", 2)] and total == 5
    rows, total = case_index.page(store, Wish(unread_by=DR_B, order="name"), 0, 10)
    assert [row.case_id for row in rows] == ["b", "d", "damaged"] and total == 3
