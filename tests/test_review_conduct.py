"""A study is paused, resumed and closed; deadlines; all of it stands in the chain."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from bmcore.domain import InputRefused
from bmcore.review import access, conduct, plan
from bmcore.review.access import Standing, User
from bmcore.review.reading_session import ReadingSession
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.review.verify import verify
from bmcore.review.worklist import Seconds
from tests import study_fixture as drawn

DUE = date(2026, 12, 24)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.sqlite'}"


@pytest.fixture
def desk(url: str):
    with open_store(url) as store:
        yield drawn.read(store, drawn.study(), stop_after=3)


def values(arm: str) -> dict:
    said: dict = {"primary": {"choice": "breast", "confidence": 5}}
    if arm == "aided":
        said |= {"lesions": {"lesions": {"1": "accept"}, "missed": 0}, "quality": 3}
    return said


def lock_next(desk: ReadingSession, key: str) -> None:
    place = desk.next("r01").item.place
    desk.submit(place, values(place.arm), Seconds(), key)


def test_a_paused_study_takes_no_reading_until_it_is_resumed(desk, url) -> None:
    work, first = desk.next("r01"), desk.work("r01")[0].item.place
    place = work.item.place
    with pytest.raises(InputRefused, match="needs a reason"):
        conduct.pause(desk.store, "drawn", "Ida Lund", " ")
    conduct.pause(desk.store, "drawn", "Ida Lund", "new scanner at site 2")
    tries = {
        "submit": lambda: desk.submit(place, values(place.arm), Seconds(), "k"),
        "draft": lambda: desk.save_draft(place, values(place.arm), Seconds()),
        "skip": lambda: desk.skip(place, "", "k2"),
        "correct": lambda: desk.correct(first, "primary", values("unaided")["primary"], "why not"),
    }
    for name, trying in tries.items():
        with pytest.raises(InputRefused) as refused:
            trying()
        told = str(refused.value)
        assert "takes no readings now" in told and "new scanner at site 2" in told, name
        assert "paused by Ida Lund" in told
    standing = access.sheet_standing(desk.version.study, desk.work("r01"), place)
    assert standing is Standing.PAUSED
    assert not access.allowed(User("Ada Lund", access.Role.READER), "study.images", standing)
    with pytest.raises(InputRefused, match="cannot be paused now"):
        conduct.pause(desk.store, "drawn", "Ida Lund", "again")
    conduct.resume(desk.store, "drawn", "Ida Lund")
    lock_next(desk, "k3")
    assert [s.kind for s in conduct.log(desk.store, "drawn")] == ["paused", "resumed"]
    assert verify(url).problems == ()


def test_a_closed_study_is_over_and_what_was_not_read_stays_unread(desk, url) -> None:
    reader = User("Ada Lund", access.Role.INVESTIGATOR)
    assert access.results_standing(desk.store, reader) is Standing.WAITING
    conduct.close(desk.store, "drawn", "Ida Lund", "enough readings")
    with pytest.raises(InputRefused, match="takes no readings now"):
        place = desk.work("r01")[3].item.place
        desk.submit(place, values(place.arm), Seconds(), "k")
    listed = desk.work("r01")
    assert [w.state for w in listed[:3]].count("skipped") == 0
    assert {w.state for w in listed[3:]} == {"skipped"}
    assert "closed by Ida Lund" in listed[3].final and desk.next("r01") is None
    assert access.results_standing(desk.store, reader) is Standing.OVER
    record = read_record(desk.store, "drawn")
    assert record.finished and sum(s.state == "locked" for s in record.sheets) == 6
    assert all("enough readings" in s.note for s in record.sheets if s.state == "skipped")
    for again in (conduct.resume, conduct.pause):
        with pytest.raises(InputRefused, match="stays closed"):
            again(desk.store, "drawn", "Ida Lund", "on second thoughts")
    assert verify(url).problems == ()


def test_a_deadline_tells_and_stops_nothing_and_a_reader_may_have_an_own_one(desk, url) -> None:
    conduct.set_deadline(desk.store, "drawn", "Ida Lund", date(2026, 1, 1))
    conduct.set_deadline(desk.store, "drawn", "Ida Lund", DUE, "r02")
    conduct.set_deadline(desk.store, "drawn", "Ida Lund", DUE, "r02")  # nothing new
    now = conduct.of(desk.store, "drawn")
    assert (now.deadline("r01"), now.deadline("r02")) == (date(2026, 1, 1), DUE)
    before = desk.last_activity()["r01"]
    lock_next(desk, "late")
    assert desk.last_activity()["r01"] > before
    with pytest.raises(InputRefused, match="does not take part"):
        conduct.set_deadline(desk.store, "drawn", "Ida Lund", DUE, "nobody")
    conduct.set_deadline(desk.store, "drawn", "Ida Lund", None, "r02")
    assert conduct.of(desk.store, "drawn").deadline("r02") == date(2026, 1, 1)
    assert len(conduct.log(desk.store, "drawn")) == 3
    assert verify(url).problems == ()
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), desk.store._engine.begin() as c:
        c.execute(sa.text("DELETE FROM conduct"))


def test_a_study_that_is_not_locked_cannot_be_conducted(url) -> None:
    with open_store(url) as store:
        with pytest.raises(InputRefused, match="not locked"):
            conduct.close(store, "drawn", "Ida Lund", "x")
        assert plan.studies(store) == []
