"""A reader practises before the list opens, sees how it went, and the investigator is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from tests import people_fixture
from tests.test_pages_app import home, models, open_page, press, sent_to_viewer, words

__all__ = ["home", "models"]  # fixtures
CASES, TRY = ["Case-1"], "Try-1"
BOTH = ["unaided", "aided"]


@pytest.fixture
def study(home: Path, models, tmp_path: Path):
    made = people_fixture.make_study(
        CASES,
        practice=[TRY],
        design={"kind": "sequential", "arms": BOTH},
        questions=[
            {"id": "primary", "kind": "primary", "text": "Most likely primary?"},
            {"id": "quality", "kind": "quality", "text": "Quality?", "arms": ["aided"]},
        ],
    )
    people_fixture.make_home(home, tmp_path / "files", models[1], [*CASES, TRY])
    (home / "truth.csv").write_text(f"case_id,primary\n{TRY},rcc\nCase-1,melanoma\n")
    people_fixture.start(home, made, with_accounts=False)
    return made


def by_start(widgets, start: str):
    return next(w for w in widgets if str(w.key).startswith(start + " "))


def test_practice_comes_first_with_feedback_and_then_the_list(home: Path, study) -> None:
    page = open_page("study", seat="small/ra")
    assert "read 1 practice case" in words(page)
    assert not any(b.label.startswith("Read next case") for b in page.button)
    page = press(page, "Read the next practice case")
    assert not page.error and not page.exception
    assert "Practice</span> <b>1 of 1" in words(page) and b"/mask/" in b"".join(
        sent_to_viewer(page)
    )
    assert "idney" not in words(page).split("Most likely")[0]
    by_start(page.radio, "primary").set_value("melanoma")
    by_start(page.number_input, "primary confidence").set_value(70)
    page = press(page.run(), "Lock my answer")
    assert "“Quality?”" in page.error[0].value
    by_start(page.radio, "quality").set_value(4)
    page = press(people_fixture.open_answers(page.run()), "Lock my answer").run()
    assert not page.error and not page.exception, [e.value for e in page.error]
    told = words(page)
    assert "how it went" in told and "The reference: " in told and "The models' answer: " in told
    assert any("Your answer: " in w.value for w in page.warning)
    # A reload keeps the address alone: the feedback is still there, of a case that was read only.
    assert page.query_params["feedback"] in ("1", ["1"])
    again = open_page("study", seat="small/ra", reading="1", feedback="1")
    assert "how it went" in words(again) and "Your answer: " in again.warning[0].value
    for other in ("2", "0", "x"):
        other_page = open_page("study", seat="small/ra", reading="1", feedback=other)
        assert "how it went" not in words(other_page) and not other_page.exception
    page = press(page, "Begin with the counted cases").run()
    assert "feedback" not in page.query_params
    assert any(b.label == "Read next case (1)" for b in page.button)
    with open_store(people_fixture.url(home)) as store:
        assert ReadingSession(store, "small").answers() == []
    page = press(page, "Read next case (1)")
    assert "<b>without the models</b>" in words(page)
    manage = open_page("study_manage")
    assert not manage.error and not manage.exception
    tables = [d.value for d in manage.dataframe if "Models right" in d.value.columns]
    assert list(tables[0]["Read"]) == ["1 of 1", "0 of 1"]
    assert list(tables[0]["Right"]) == ["0 of 1", "0 of 0"]


def test_a_sheet_of_the_list_cannot_be_opened_by_its_address(home: Path, study) -> None:
    page = open_page("study", seat="small/ra", reading="1")
    assert "Practice</span> <b>1 of 1" in words(page)
    assert "Case</span>" not in words(page)
