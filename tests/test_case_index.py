"""The index of the work list says what lies in the folder, and counts the votes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from bmcore.domain import ClinicalRecord
from bmcore.intake import library
from bmcore.intake.case_record import write_record
from bmcore.review import case_index, runs, schema, vote_counts
from bmcore.review.case_index import Wish
from bmcore.review.store import Store, open_store
from bmcore.review.votes import VoteDraft
from tests import runs_fixture
from training.bench import large_home

DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of six tiny cases, two votes on each."""
    home = tmp_path_factory.mktemp("large")
    large_home.grow(home, 6, 2, 2)
    return home


@pytest.fixture
def home(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "home", copy_function=os.link) and tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    database = home / "bmcore.sqlite"
    own = database.read_bytes()
    database.unlink()  # a link to that of the model
    database.write_bytes(own)
    with open_store(f"sqlite:///{database}") as opened:
        yield opened


def names(store: Store, **wish: object) -> list[str]:
    return case_index.ids(store, Wish(**{"digest": DIGEST, "order": "name", **wish}))


def rows(store: Store, **wish: object) -> dict[str, case_index.Row]:
    found, _ = case_index.page(store, Wish(**{"digest": DIGEST, **wish}), 0, 100)
    return {row.case_id: row for row in found}


def grown_old(home: Path) -> None:
    """The folder's last change is long ago, so that its time tells of the next one."""
    os.utime(home / "cases", (1e9, 1e9))


def test_the_index_is_made_from_the_folder_and_then_left_alone(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown_old(home)
    assert case_index.sync(store, home, at_once=4) == 2  # two records are still to be read
    assert case_index.sync(store, home, at_once=4) == 0
    assert names(store) == [f"case-{n:05d}" for n in range(6)]
    assert case_index.count(store) == (6, 6)
    monkeypatch.setattr(library, "record_stamps", lambda _: pytest.fail("the folder was read"))
    assert case_index.sync(store, home) == 0


def test_a_case_that_comes_goes_or_is_renamed_is_seen_at_the_next_look(
    home: Path, store: Store
) -> None:
    case_index.sync(store, home)
    shutil.rmtree(home / "cases" / "case-00001")
    shutil.copytree(home / "cases" / "case-00002", home / "cases" / "new")
    (home / "cases" / ".incoming-1").mkdir()
    case_index.sync(store, home)
    there = [f"case-{n:05d}" for n in (0, 2, 3, 4, 5)]
    assert names(store) == [*there, "new"]
    assert not rows(store)["new"].readable and rows(store)["new"].notes == 1  # not its record
    shutil.rmtree(home / "cases" / "new")
    case_index.sync(store, home)
    assert names(store) == there


def test_a_changed_record_is_read_again_though_the_folder_looks_the_same(
    home: Path, store: Store
) -> None:
    case_index.sync(store, home)
    entry = library.get_entry(home, "case-00003")
    (entry.folder / "case.json").unlink()  # linked
    write_record(replace(entry, clinical=ClinicalRecord(age_years=99, sex="female")), entry.folder)
    grown_old(home)
    case_index.sync(store, home)
    case_index.refresh(store, home, "case-00003")
    assert rows(store)["case-00003"].age_years == 99
    assert names(store, text="99 Years") == ["case-00003"]
    write_record(replace(entry, clinical=ClinicalRecord(age_years=98)), entry.folder)
    case_index.check_all(store, home, DIGEST)
    assert rows(store)["case-00003"].age_years == 98


def test_votes_are_counted_as_they_are_stored_and_after_a_merge(home: Path, store: Store) -> None:
    case_index.sync(store, home)
    assert {(r.votes, r.readers) for r in rows(store).values()} == {(2, 2)}
    first = VoteDraft(case_id="case-00004", reader="Reader 3", role="radiologist", phase="unaided",
                      primary="breast", confidence=50, idempotency_key="1")  # fmt: skip
    store.add_reader("Reader 3", "radiologist")
    store.add_vote(first)
    store.add_vote(replace(first, confidence=60, idempotency_key="2", reason="a slip"))
    assert (rows(store)["case-00004"].votes, rows(store)["case-00004"].readers) == (3, 3)
    assert store.read(vote_counts.is_right)
    key = "reader 3"
    assert "case-00004" not in names(store, unread_by=key) and len(names(store, unread_by=key)) == 5
    query = sa.update(schema.case_index).values(votes=0)
    store.write(lambda c: c.execute(query))
    store.write(lambda c: vote_counts.set_stamp(c, "votes", "7"))  # rows came in by another way
    case_index.sync(store, home)
    assert rows(store)["case-00004"].votes == 3 and rows(store)["case-00000"].votes == 2


def test_filters_orders_and_pages(home: Path, store: Store) -> None:
    case_index.sync(store, home)
    for case_id, state in (("case-00002", "failed"), ("case-00004", "queued")):
        runs_fixture.put(home, case_id, state)
    case_index.set_predicted(store, "case-00000", DIGEST)
    assert names(store, failed=True) == ["case-00002"]
    assert names(store, unpredicted=True) == [f"case-{n:05d}" for n in (1, 2, 3, 5)]
    assert names(store, digest="cd" * 32, unpredicted=True)[0] == "case-00000"  # other models
    assert names(store, order="models")[:2] == ["case-00004", "case-00002"]
    assert names(store, order="models")[-1] == "case-00000"
    assert names(store, order="newest")[:2] == ["case-00000", "case-00005"]  # the model came last
    assert names(store, text="CASE-00003") == ["case-00003"] and names(store, text="%") == []
    second, total = case_index.page(store, Wish(order="name"), 4, 4)
    assert [row.case_id for row in second] == ["case-00004", "case-00005"] and total == 6
    found = rows(store)
    assert found["case-00000"].predicted and not found["case-00001"].predicted
    assert found["case-00002"].state == "failed" and found["case-00001"].state == "none"
    with pytest.raises(ValueError, match="order must be"):
        Wish(order="colour")


def test_what_the_models_have_read_is_looked_up_in_the_folder(home: Path, store: Store) -> None:
    case_index.sync(store, home)
    case_index.set_predicted(store, "case-00001", DIGEST)  # its prediction is gone
    run = f"{time.time_ns():020d}"
    (home / "predictions" / "case-00002" / DIGEST[:16] / run).mkdir(parents=True)
    case_index.check_all(store, home, DIGEST)
    assert {c for c, row in rows(store).items() if row.predicted} == {"case-00002"}


def test_pictures_that_are_to_be_made_are_told_in_parts(home: Path, store: Store) -> None:
    case_index.sync(store, home)
    assert case_index.unpictured(store, 2) == (["case-00001", "case-00002"], 6)  # the oldest first
    case_index.set_pictured(store, names(store)[:5])
    assert case_index.unpictured(store, 2) == (["case-00005"], 1)


def test_the_stamp_changes_with_what_is_stored_and_with_the_cases(home: Path, store: Store) -> None:
    case_index.sync(store, home)
    before = case_index.stamp(store)
    assert case_index.stamp(store) == before
    store.add_reader("Reader 9", "other")
    assert case_index.stamp(store) != before
    told = case_index.predictions_stamp(store)
    runs.ask(store, runs.PREDICT, ["case-00000"], "Ada")
    runs.finish(store, runs.take(store), "done", "a\0b \udcff")  # what no database keeps
    assert case_index.predictions_stamp(store) != told
    assert runs.find(store, runs.PREDICT, "case-00000").message == "a?b ?"
