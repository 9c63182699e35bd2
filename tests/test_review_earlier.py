""" "As before": a later arm's sheet takes over what was said, and the chain tells that it did."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from bmcore.analysis import raw_data
from bmcore.analysis.readings import from_study
from bmcore.analysis.results import results
from bmcore.domain import InputRefused
from bmcore.review import plan, schema
from bmcore.review.reading_session import ReadingSession
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.review.verify import verify
from bmcore.review.worklist import Seconds
from tests import free_fixture as free
from tests import study_fixture as drawn

LOOKED = {"lesions": {"lesions": {}, "missed": 0}, "quality": 4}
SURE = {"primary": {"choice": "gi", "confidence": 40}}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.sqlite'}"


@pytest.fixture
def store(url):
    with open_store(url) as opened:
        yield opened


@pytest.fixture
def desk(store):
    made = free.study()
    plan.lock(store, made, "Ida Lund")
    return ReadingSession(store, made.study)


def two(desk, reader="r01"):
    return [w.item.place for w in desk.work(reader)[:2]]


def values(place, **changes):
    return SURE | free.said("r01", place.case_id, "unaided") | {"note": "as seen"} | changes


def test_only_locked_answers_of_the_same_sitting_are_offered(desk):
    unaided, aided = two(desk)
    assert desk.earlier(unaided) == {} == desk.earlier(aided)
    said = values(unaided)
    desk.submit(unaided, said, Seconds(), "u")
    assert desk.earlier(aided) == said
    assert desk.earlier(two(desk, "r02")[1]) == {}
    desk.correct(unaided, "rely", 5, "Misread.")
    assert desk.earlier(aided)["rely"] == 5


def test_what_was_taken_over_is_in_the_draft_the_chain_and_the_record(desk, store, url):
    unaided, aided = two(desk)
    desk.submit(unaided, values(unaided), Seconds(), "u")
    taken = ("primary", "next")
    desk.save_draft(aided, desk.earlier(aided), Seconds(), taken)
    assert set(desk.draft(aided).taken_over) == set(taken)
    desk.submit(aided, values(aided, next="follow-up") | LOOKED, Seconds(), "a", taken_over=taken)
    sheets = {s.place: s.taken_over for s in read_record(store, "drawn").sheets}
    assert sheets[aided] == ("next", "primary") and sheets[unaided] == ()
    assert verify(url).problems == ()
    with store._engine.begin() as connection:  # behind the program's back
        connection.execute(sa.text("DROP TRIGGER events_no_update"))
        connection.execute(sa.update(schema.events).values(taken_over=None))
    assert any("edited" in p or "changed" in p for p in verify(url).problems)


def test_nothing_can_be_recorded_as_taken_over_that_was_not_said(desk):
    unaided, aided = two(desk)
    with pytest.raises(InputRefused, match="cannot be taken over"):
        desk.submit(unaided, values(unaided), Seconds(), "u", taken_over=("primary",))
    desk.submit(unaided, values(unaided), Seconds(), "u")
    with pytest.raises(InputRefused, match="found quality"):
        desk.save_draft(aided, {}, Seconds(), ("quality",))


def test_the_share_of_sheets_filled_so_is_in_the_results(store):
    desk = drawn.read(store, free.study(), stop_after=22, more=free.said)
    for reader, *_ in drawn.READERS:
        unaided, aided = [w.item.place for w in desk.work(reader) if not w.done]
        desk.submit(unaided, values(unaided), Seconds(), f"{reader} u")
        taken = ("primary",) if reader == "r01" else ()
        desk.submit(aided, values(aided) | LOOKED, Seconds(), f"{reader} a", taken_over=taken)
    data = from_study(read_record(store, "drawn"), drawn.facts())
    lines = results(data).section("time").table("taken_over").lines
    shares = {line.labels: line.cells[0].value for line in lines}
    aided = "With the models"
    assert shares == pytest.approx(
        {("All readers", aided): 1 / 24, ("Ada Lund", aided): 1 / 12, ("Bo Ek", aided): 0}
    )
    assert [r["taken_over"] for r in raw_data.rows(data) if r["taken_over"]] == ["primary"]
