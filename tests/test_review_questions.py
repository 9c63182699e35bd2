"""Free questions: what a plan may ask, what may be answered, and what must not change."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bmcore.domain import InputRefused
from bmcore.review import adjudicate, plan
from bmcore.review.allocation import Place
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.worklist import Seconds
from tests import free_fixture as free
from tests import study_fixture as drawn

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'study.sqlite'}") as opened:
        yield opened


@pytest.fixture
def desk(store):
    made = free.study()
    plan.lock(store, made, "Ida Lund")
    return ReadingSession(store, made.study)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"kind": "choice"}, "options: a question of kind choice needs options"),
        ({"kind": "choice", "options": ["one"]}, "options"),
        ({"kind": "choice", "options": ["Yes", " yes"]}, "options: 'yes' appears 2 times"),
        ({"kind": "choice", "options": ["\u00e9", "e\u0301"]}, "options: '\u00e9' appears 2 times"),
        ({"kind": "choice", "options": ["a", "a\u200b"]}, "options: 'a' appears 2 times"),
        ({"kind": "choice", "options": ["a", "\u2800"]}, "options: one of them is blank"),
        ({"kind": "choices", "options": ["a|b", "c"]}, "holds a |"),
        ({"kind": "number"}, "limits: a question of kind number needs limits"),
        ({"kind": "number", "limits": [5, 5]}, "the second must be above the first"),
        ({"kind": "number", "limits": [0, 0.5]}, "expected whole numbers"),
        ({"kind": "scale", "limits": [0, 500]}, "a scale has 101 steps at most"),
        ({"kind": "text", "options": ["a", "b"]}, "a question of kind text has no options"),
        ({"kind": "choice", "options": ["a", "b"], "unit": "mm"}, "kind choice has no unit"),
        ({"kind": "quality", "rated": True}, "kind quality has no rated"),
        ({"kind": "mask"}, "kind mask cannot be asked in arm unaided"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_when_the_plan_is_read(question, sentence):
    with pytest.raises(InputRefused) as told:
        free.study({"id": "x", "text": "Say it", **question})
    assert sentence in str(told.value)


def test_the_questions_ready_to_be_copied_fit_a_plan():
    ready = yaml.safe_load((EXAMPLES / "questions.yaml").read_text())["questions"]
    three = {"kind": "sequential", "arms": ["unaided", "aided", "aided_explained"]}
    made = free.study(*ready, design=three)
    assert {q.kind for q in made.questions} >= {"choice", "choices", "number", "scale", "mask"}
    assert len(next(q for q in made.questions if q.id == "reliability").options) == 5


def test_new_keys_of_a_question_change_no_hash_where_they_say_nothing():
    canonical = drawn.study().canonical
    assert not any(key in canonical for key in ("options", "limits", "decimals", "rated", "ends"))
    marks = {"id": "m", "kind": "marks", "text": "Mark"}
    plain, rated = free.study(marks), free.study({**marks, "rated": True})
    assert plain.digest == free.study({**marks, "rated": False}).digest != rated.digest


@pytest.mark.parametrize(
    "change",
    [{"options": ["biopsy", "radiotherapy", "wait"]}, {"kind": "choices"}],
)
def test_what_may_be_answered_cannot_change_once_the_plan_is_locked(store, change):
    made = free.study()
    plan.lock(store, made, "Ida Lund")
    whole = made.model_dump(mode="json")
    asked = [q | (change if q["id"] == "next" else {}) for q in whole["questions"]]
    with pytest.raises(InputRefused, match="question next cannot be dropped or become another"):
        plan.amend(store, drawn.study(questions=asked), "Ida Lund", "We want to.")
    worded = [q | ({"text": "And next?"} if q["id"] == "next" else {}) for q in whole["questions"]]
    assert plan.amend(store, drawn.study(questions=worded), "Ida Lund", "Clearer").version == 2


def sheet(desk, **changes):
    place = desk.work("r01")[0].item.place
    values = {"primary": {"choice": "gi", "confidence": 5}} | free.said("r01", drawn.CASES[0], "u")
    return place, values | changes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"next": "surgery"}, "one of biopsy, radiotherapy, follow-up"),
        ({"next": ["biopsy"]}, "one of biopsy"),
        ({"seen": []}, "one or more of oedema"),
        ({"seen": ["oedema", "oedema"]}, "each once"),
        ({"large": 120.1}, "a number from 0 to 120"),
        ({"large": 7.25}, "1 digits behind the point"),
        ({"large": True}, "a number from 0 to 120"),
        ({"rely": 2.0}, "a whole number from 1 to 5"),
        ({"rely": 0}, "a whole number from 1 to 5"),
    ],
)
def test_an_answer_that_the_question_does_not_allow_is_refused(desk, changes, sentence):
    place, values = sheet(desk, **changes)
    with pytest.raises(InputRefused, match=sentence):
        desk.submit(place, values, Seconds(), "k")
    assert desk.history() == []


def test_zero_is_an_answer_and_nothing_is_not(desk):
    place, values = sheet(desk, large=0.0)
    without = {name: value for name, value in values.items() if name != "next"}
    with pytest.raises(InputRefused, match="question next is not answered"):
        desk.submit(place, without, Seconds(), "k")
    desk.submit(place, values, Seconds(), "k")
    assert {a.question: a.value for a in desk.answers()}["large"] == 0.0


def test_free_answers_are_corrected_and_disagreed_on_like_others(store):
    desk = drawn.read(store, free.study(), more=free.said)
    found = [d for d in adjudicate.disagreements(store, "drawn") if d.question == "next"]
    assert {d.case_id for d in found} == set(drawn.CASES[1::2])
    assert not any(d.question == "note" for d in adjudicate.disagreements(store, "drawn"))
    same = [d for d in adjudicate.disagreements(store, "drawn") if d.question == "seen"]
    assert same == []
    place = Place("r01", drawn.CASES[1], "aided")
    desk.correct(place, "next", "biopsy", "Misread.")
    desk.correct(place, "seen", ["necrosis", "oedema"], "Order.")
    left = [(d.case_id, d.arm) for d in adjudicate.disagreements(store, "drawn")]
    assert (drawn.CASES[1], "aided") not in {
        (d.case_id, d.arm) for d in adjudicate.disagreements(store, "drawn") if d.question == "next"
    }
    assert left.count((drawn.CASES[1], "unaided")) >= 1
    with pytest.raises(InputRefused, match="one of biopsy"):
        desk.correct(place, "next", "surgery", "No.")
