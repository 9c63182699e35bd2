"""Practice cases come first, are answered once with feedback, and count nowhere."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from bmcore.analysis.readings import from_study
from bmcore.analysis.results import results
from bmcore.domain import InputRefused
from bmcore.review import plan, readiness
from bmcore.review.allocation import Place
from bmcore.review.practice import PracticeDesk, place
from bmcore.review.readiness_facts import CaseState, Facts
from bmcore.review.reading_session import ReadingSession
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.review.verify import verify
from bmcore.review.votes import Evidence
from bmcore.review.worklist import Seconds
from tests import study_fixture as drawn

TRY = ["Try-1", "Try-2"]
FACTS = {"Try-1": ("melanoma", "rcc"), "Try-2": ("nsclc", None)}
SHEET = {"lesions": {"lesions": {}, "missed": 0}, "quality": 3}


def said(primary):
    return SHEET | {"primary": {"choice": primary, "confidence": 50}}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.sqlite'}"


@pytest.fixture
def store(url):
    with open_store(url) as opened:
        yield opened


@pytest.fixture
def desk(store):
    plan.lock(store, drawn.study(practice=TRY), "Ida Lund")
    return PracticeDesk(store, "drawn", FACTS.__getitem__)


def practise(desk, study, reader="r01", answers=("melanoma", "gi")):
    for case, primary in zip(TRY, answers, strict=True):
        desk.submit(place(study, reader, case), said(primary), Seconds(9.0), f"{reader} {case}")


@pytest.mark.parametrize(
    ("cases", "sentence"),
    [
        ([drawn.CASES[0]], "is a counted case"),
        (["phantom-1"], "is a training case"),
        (["Try-1", "Try-1"], "appears 2 times"),
    ],
)
def test_a_practice_case_is_neither_counted_nor_known_to_the_models(cases, sentence):
    with pytest.raises(InputRefused, match=sentence):
        drawn.study(practice=cases)


def test_a_plan_without_practice_keeps_its_hash_and_practice_is_fixed_by_the_lock(store):
    assert "practice" not in drawn.study().canonical
    plan.lock(store, drawn.study(practice=TRY), "Ida Lund")
    with pytest.raises(InputRefused, match="practice cannot change once the study is locked"):
        plan.amend(store, drawn.study(practice=TRY[:1]), "Ida Lund", "Fewer.")


def test_no_counted_sheet_opens_before_practice_is_done(desk, store):
    session = ReadingSession(store, "drawn")
    study, first = session.version.study, session.next("r01").item.place
    values = {"primary": {"choice": "gi", "confidence": 5}}
    with pytest.raises(InputRefused, match="the practice cases come first"):
        session.save_draft(first, values, Seconds())
    with pytest.raises(InputRefused, match="the practice cases come first"):
        session.submit(first, values, Seconds(), "k")
    practise(desk, study, "r02")
    with pytest.raises(InputRefused, match="the practice cases come first"):
        session.skip(first, "", "s")
    practise(desk, study)
    session.submit(first, values, Seconds(), "k")
    assert desk.left("r01") == () and [w.practice for w in session.work("r01")][:1] == [0]


def test_practice_cases_go_in_their_order_and_are_answered_whole_and_once(desk, store, url):
    study = ReadingSession(store, "drawn").version.study
    one, two = (place(study, "r01", case) for case in TRY)
    assert (one.arm, desk.left("r01")) == ("aided", ("Try-1", "Try-2"))
    with pytest.raises(InputRefused, match="not this practice case's turn"):
        desk.submit(two, said("gi"), Seconds(), "k")
    with pytest.raises(InputRefused, match="not this practice case's turn"):
        desk.submit(Place("r01", drawn.CASES[0], "aided"), said("gi"), Seconds(), "k")
    with pytest.raises(InputRefused, match="question quality is not answered"):
        desk.submit(
            one, {"primary": said("gi")["primary"], "lesions": SHEET["lesions"]}, Seconds(), "k"
        )
    desk.save_draft(one, {"quality": 2}, Seconds(3.0))
    assert desk.draft(one).values == {"quality": 2}
    desk.submit(one, said("melanoma"), Seconds(9.0), "k")
    desk.submit(one, said("gi"), Seconds(9.0), "again")
    kept = desk.done()
    assert [(p.case_id, p.answer(study), p.right(study), p.model) for p in kept] == [
        ("Try-1", "melanoma", True, "rcc")
    ]
    assert desk.draft(one) is None and verify(url).problems == ()
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), store._engine.begin() as c:
        c.execute(sa.text("UPDATE practice SET content = '{}'"))


def test_without_a_known_primary_there_is_no_feedback_and_so_no_lock(store):
    plan.lock(store, drawn.study(practice=TRY), "Ida Lund")
    desk = PracticeDesk(store, "drawn", lambda case: (None, "rcc"))
    study = ReadingSession(store, "drawn").version.study
    with pytest.raises(InputRefused, match="practice case Try-1 has no known primary"):
        desk.submit(place(study, "r01", "Try-1"), said("gi"), Seconds(), "k")
    assert desk.done() == []


def test_that_the_models_answers_were_sent_is_in_the_chain(desk, store):
    study = ReadingSession(store, "drawn").version.study
    evidence = Evidence("1" * 64, "models", "run", "2" * 64)
    shown = desk.show(place(study, "r01", "Try-1"), evidence)
    assert (shown.case_id, shown.study) == ("Try-1", "drawn")
    with pytest.raises(InputRefused, match="not this practice case's turn"):
        desk.show(place(study, "r01", "Try-2"), evidence)
    with pytest.raises(InputRefused, match="not a practice case"):
        desk.show(place(study, "r01", drawn.CASES[0]), evidence)


def test_practice_counts_in_no_analysis(store, tmp_path):
    made = drawn.study(practice=TRY)
    plan.lock(store, made, "Ida Lund")
    desk = PracticeDesk(store, "drawn", FACTS.__getitem__)
    for reader, *_ in drawn.READERS:
        practise(desk, made, reader)
    drawn.read(store, made)
    record = read_record(store, "drawn")
    assert [p.right(made) for p in record.practised] == [True, False, True, False]
    assert not {a.case_id for a in record.answers} & set(TRY)
    data = from_study(record, drawn.facts())
    assert set(data.cases) == set(drawn.CASES)
    assert not any(r.case_id in TRY for r in data.readings)
    with open_store(f"sqlite:///{tmp_path / 'plain.sqlite'}") as other:
        drawn.read(other, drawn.study())
        plain = from_study(read_record(other, "drawn"), drawn.facts())
    assert repr(results(data).sections) == repr(results(plain).sections)


def test_readiness_asks_for_the_practice_cases_too():
    state = CaseState(bundle=None)
    facts = Facts(
        cases=dict.fromkeys([*drawn.CASES, "Try-1"], state), primaries=frozenset(drawn.CASES)
    )
    told = [f.sentence for f in readiness.check(drawn.study(practice=TRY), facts)]
    assert any("case Try-2 is not in the work list" in t for t in told)
    assert any("practice case Try-1 has no reference primary" in t for t in told)
