"""Free questions, the count of marks and the confirmed mask on a reader's sheet."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bmcore.review import marks
from bmcore.review.marks import Scene
from bmcore.review.owner import Owner, drawer
from bmcore.review.reading_session import ReadingSession
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from tests import people_fixture
from tests.test_pages_app import home, models, open_page, press, words

__all__ = ["home", "models"]  # fixtures
CASES = ["Case-1"]
BOTH = ["unaided", "aided"]
QUESTIONS = [
    {"id": "primary", "kind": "primary", "text": "Most likely primary?"},
    {"id": "next", "kind": "choice", "text": "What next?", "options": ["biopsy", "follow-up"]},
    {"id": "seen", "kind": "choices", "text": "Seen?", "options": ["oedema", "bleeding"]},
    {"id": "large", "kind": "number", "text": "Largest", "limits": [0, 120], "unit": "mm"},
    {"id": "rely", "kind": "scale", "text": "Rely?", "limits": [1, 5], "ends": ["no", "yes"]},
    {"id": "count", "kind": "marks", "text": "Mark lesions", "rated": True, "arms": ["unaided"]},
    {"id": "outline", "kind": "mask", "text": "Is the outline right?", "arms": ["aided"]},
]


@pytest.fixture
def study(home: Path, models, tmp_path: Path):
    made = people_fixture.make_study(
        CASES,
        questions=QUESTIONS,
        design={"kind": "sequential", "arms": BOTH},
    )
    people_fixture.make_home(home, tmp_path / "files", models[1], CASES)
    people_fixture.start(home, made, with_accounts=False)
    return made


def opened() -> AppTest:
    return open_page("study", seat="small/ra", reading="1")


def by_start(widgets, start: str):
    return next(w for w in widgets if str(w.key).startswith(start + " "))


def fill(page: AppTest) -> AppTest:
    by_start(page.radio, "primary").set_value("melanoma")
    by_start(page.number_input, "primary confidence").set_value(70)
    by_start(page.radio, "next").set_value("biopsy")
    by_start(page.multiselect, "seen").set_value(["bleeding"])
    by_start(page.number_input, "large").set_value(0)
    by_start(page.radio, "rely").set_value(4)
    return page.run()


def mark(home: Path, study, *names: str) -> None:
    """The reader marks lesions in the viewer, as the browser sends them."""
    with open_store(people_fixture.url(home)) as store:
        place = ReadingSession(store, "small").next("ra").item.place
        owner = Owner(place.case_id, drawer(study, place))
        changes = [
            {
                "key": name,
                "mark": name,
                "action": "set",
                "after": 0,
                "content": {"kind": "missed", "points": [[10.0 * n, 5.0, 0.0]]},
            }
            for n, name in enumerate(names)
        ]
        assert marks.record(store, owner, changes, Scene(place.arm)) == {}


def stored(home: Path) -> dict[tuple[str, str], object]:
    with open_store(people_fixture.url(home)) as store:
        return {(a.arm, a.question): a.value for a in ReadingSession(store, "small").answers()}


def test_free_questions_are_drawn_saved_restored_and_locked(home: Path, study) -> None:
    page = fill(opened())
    assert "You have marked **0 lesions**" in words(page)
    assert not page.error and not page.exception
    again = opened()
    assert by_start(again.radio, "next").value == "biopsy"
    assert by_start(again.multiselect, "seen").value == ["bleeding"]
    assert by_start(again.number_input, "large").value == 0
    page = press(again, "Lock my answer")
    assert "Still missing: “Mark lesions”" in page.error[0].value
    by_start(page.checkbox, "count").set_value(True)
    page = press(page.run(), "Lock my answer").run()
    assert not page.error, [e.value for e in page.error]
    found = stored(home)
    assert found["unaided", "next"] == "biopsy" and found["unaided", "seen"] == ["bleeding"]
    assert found["unaided", "large"] == 0 and found["unaided", "rely"] == 4
    assert found["unaided", "count"] == {"marks": {}}


def test_each_mark_is_counted_and_must_be_rated_before_the_sheet_is_locked(
    home: Path, study
) -> None:
    mark(home, study, "m1", "m2")
    page = fill(opened())
    assert "You have marked **2 lesions**" in words(page)
    by_start(page.number_input, "count m1").set_value(85)
    by_start(page.checkbox, "count").set_value(True)
    page = press(page.run(), "Lock my answer")
    assert "how sure you are of mark 2" in page.error[0].value
    again = opened()
    assert by_start(again.number_input, "count m1").value == 85
    by_start(again.number_input, "count m2").set_value(0)
    by_start(again.checkbox, "count").set_value(True)
    page = press(again.run(), "Lock my answer").run()
    assert not page.error, [e.value for e in page.error]
    assert stored(home)["unaided", "count"] == {"marks": {"m1": 85, "m2": 0}}


def test_the_mask_in_force_is_what_is_confirmed(home: Path, study) -> None:
    page = fill(opened())
    by_start(page.checkbox, "count").set_value(True)
    page = fill(press(page.run(), "Lock my answer").run())
    page = press(people_fixture.open_answers(page), "Lock my answer")
    assert "“Is the outline right?”" in page.error[0].value
    by_start(page.checkbox, "outline").set_value(True)
    page = press(page.run(), "Lock my answer").run()
    assert not page.error, [e.value for e in page.error]
    assert stored(home)["aided", "outline"] == {"mask": "models"}
    page = open_page("study", seat="small/ra")
    page = next(s for s in page.selectbox if s.label == "Reading").select_index(1).run()
    named = next(s for s in page.selectbox if s.label == "Question")
    assert "Rely?" in named.options and "Is the outline right?" not in named.options


def test_as_before_fills_the_next_step_which_the_reader_still_locks(home: Path, study) -> None:
    page = fill(opened())
    assert not any(b.label == "As before" for b in page.button)
    by_start(page.checkbox, "count").set_value(True)
    page = press(page.run(), "Lock my answer").run()
    assert by_start(page.radio, "primary").value is None
    page = press(page, "As before")
    assert by_start(page.radio, "primary").value == "melanoma"
    assert by_start(page.number_input, "large").value == 0
    assert "Filled in from your step before" in words(page)
    again = opened()
    assert "Filled in from your step before" in words(again)
    by_start(again.radio, "next").set_value("follow-up")
    by_start(again.checkbox, "outline").set_value(True)
    page = press(people_fixture.open_answers(again.run()), "Lock my answer").run()
    assert not page.error, [e.value for e in page.error]
    assert stored(home)["aided", "next"] == "follow-up"
    with open_store(people_fixture.url(home)) as store:
        taken = [s.taken_over for s in read_record(store, "small").sheets if s.taken_over]
    assert taken == [("large", "next", "primary", "rely", "seen")]
