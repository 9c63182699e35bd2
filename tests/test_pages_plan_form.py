"""A study is planned on the page alone: filled in, copied, checked, taken away, locked."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bmcore.intake import library
from bmcore.review import plan, plan_draft, plan_form
from bmcore.review.store import open_store
from bmcore.review.study import ARMS, read_study_text
from tests import people_fixture
from tests.test_pages_app import home, models, press, words

__all__ = ["home", "models"]  # fixtures
CASES = [f"Case-{n}" for n in range(1, 4)]


@pytest.fixture
def there(home: Path, models, tmp_path: Path, monkeypatch) -> Path:
    """Cases, accounts, and the investigator signed in."""
    people_fixture.make_home(home, tmp_path / "files", models[1], CASES)
    with open_store(people_fixture.url(home)) as store:
        people_fixture.make_accounts(store)
    people_fixture.use_tokens(monkeypatch)
    return home


def manage(home: Path) -> AppTest:
    page = AppTest.from_file("../pages/study_manage.py", default_timeout=60)
    page.session_state[people_fixture.TOKEN] = people_fixture.enter(home, "Prof Iris")
    return page.run()


def box(page: AppTest, kind: str, label: str):
    return next(w for w in page.get(kind) if w.label == label)


def test_the_form_gives_a_plan_that_is_checked_and_locked(there: Path) -> None:
    page = manage(there)
    assert "Fill in its plan" in words(page)
    box(page, "text_input", "Id").set_value("spring")
    page = box(page, "text_input", "Title").set_value("Spring readers").run()
    page = box(page, "selectbox", "Measure").set_value("AUC").run()
    page = box(page, "selectbox", "For which primary").set_value("melanoma").run()
    page = box(page, "selectbox", "To be shown").set_value("non-inferiority").run()
    page = press(box(page, "number_input", "Margin").set_value(0.07).run(), "Check the plan")
    assert not page.exception and not page.error, [e.value for e in page.error]
    assert any(b.label == "Lock and start the study" for b in page.button)
    page = next(c for c in page.checkbox if "I have read" in c.label).check().run()
    typed = next(t for t in page.text_input if t.label.startswith("Type the study's id"))
    page = press(typed.set_value("spring").run(), "Lock and start the study")
    with open_store(people_fixture.url(there)) as store:
        study = plan.versions(store, "spring")[-1].study
    assert study.title == "Spring readers"
    assert sorted(r.name for r in study.readers) == [
        people_fixture.READER_A,
        people_fixture.READER_B,
    ]
    assert list(study.cases) == CASES
    endpoint = study.primary_endpoint
    assert (endpoint.measure, endpoint.primary, endpoint.aim, endpoint.margin) == (
        "AUC", "melanoma", "non-inferiority", 0.07,
    )  # fmt: skip
    assert "AUC for Melanoma" in study.analysis_plan and "margin of 0.07" in study.analysis_plan


def test_what_is_wrong_in_the_form_is_said_in_words_and_nothing_is_locked(there: Path) -> None:
    page = press(manage(there), "Check the plan")  # there is no title
    assert "title cannot be used" in words(page)
    assert not any(b.label == "Lock and start the study" for b in page.button)


def test_a_change_after_the_check_asks_for_another_check(there: Path) -> None:
    page = manage(there)
    page = box(page, "text_input", "Title").set_value("One").run()
    page = press(page, "Check the plan")
    assert any(b.label == "Lock and start the study" for b in page.button)
    page = box(page, "text_input", "Title").set_value("Two").run()
    assert not any(b.label == "Lock and start the study" for b in page.button)
    assert "Changed since it was checked." in words(page)


def test_another_study_is_copied_with_an_id_and_seeds_of_its_own(there: Path) -> None:
    with open_store(people_fixture.url(there)) as store:
        old = people_fixture.make_study(CASES)
        plan.lock(store, old, "Prof Iris")
        values = plan_form.copied(old, store)
        made = read_study_text(plan_form.as_yaml(values), "the form")
        assert made.study == "small-2" and made.seeds != old.seeds
        same = ("readers", "cases", "questions", "primary_endpoint", "design")
        assert all(getattr(made, key) == getattr(old, key) for key in same)


def test_an_empty_plan_with_a_title_passes_its_own_check(there: Path) -> None:
    with open_store(people_fixture.url(there)) as store:
        values = plan_form.blank(library.list_cases(there), store)
    values |= {"title": "T", "analysis_plan": "A"}
    study = read_study_text(plan_form.as_yaml(values), "the form")
    assert study.design.arms == ARMS[:2]
    asked = {q.id: study.arms_of(q) for q in study.questions}
    assert asked["lesions"] == ("aided",) and "explanation" not in asked


def checked(page: AppTest) -> str:
    """The text of the plan that was checked last."""
    values = page.session_state["plan form"]
    return page.session_state[f"plan checked {values['study']} {values['seeds']['order']}"]


def test_practice_preference_own_questions_and_the_models_alone_are_in_the_form(
    there: Path,
) -> None:
    page = manage(there)
    page = box(page, "text_input", "Title").set_value("All of it").run()
    page = box(page, "multiselect", "Cases (3 are here)").set_value(CASES[:2]).run()
    page = (
        box(page, "multiselect", "Practice cases, read first and counted nowhere")
        .set_value(CASES[2:])
        .run()
    )
    toggle = next(t for t in page.toggle if t.label.startswith("After the list, compare two"))
    page = toggle.set_value(True).run()
    assert box(page, "selectbox", "The other").value == "reference"
    page = box(page, "selectbox", "Another question").set_value("reliability").run()
    page = press(page, "Add it")
    page = box(page, "selectbox", "Another question").set_value("count").run()
    page = press(page, "Add it")
    numbers = [w for w in page.number_input if w.label == "To"]
    page = numbers[0].set_value(50).run()
    page = box(page, "selectbox", "Control arm").set_value("models").run()
    page = box(page, "selectbox", "Compared with it").set_value("unaided").run()
    page = press(page, "Check the plan")
    assert not page.exception
    text = checked(page)
    study = read_study_text(text, "the form")
    assert study.practice == (CASES[2],) and study.cases == tuple(CASES[:2])
    assert study.preference.candidates == ("models", "reference")
    asked = {q.id: q for q in study.questions}
    assert asked["reliability"].kind == "choice" and len(asked["reliability"].options) == 5
    assert study.arms_of(asked["reliability"]) == ("aided",)
    assert asked["count"].limits == (0.0, 50.0) and asked["count"].arms is None
    assert study.primary_endpoint.compare == ("models", "unaided")
    assert "by the models alone" in study.analysis_plan
    page = press(page, "Remove this question")
    page = press(page, "Check the plan")
    text = checked(page)
    assert "reliability" not in {q.id for q in read_study_text(text, "the form").questions}


def test_every_ready_made_question_and_each_kind_goes_through_the_draft_and_back() -> None:
    for name, (_, question) in plan_draft.READY_MADE.items():
        draft = plan_draft.draft_of(question, name, {name})
        made = draft.as_question(ARMS)
        assert made["id"] == f"{name}-2"
        values = {k: v for k, v in made.items() if k != "id"}
        assert values == {**question, **({"limits": list(map(float, question["limits"]))}
                                         if "limits" in question else {})}  # fmt: skip
    for question in (
        {"id": "n", "kind": "number", "text": "t", "limits": [0.0, 2.5], "decimals": 1,
         "unit": "mm", "required": False},
        {"id": "t", "kind": "text", "text": "t", "arms": ["unaided"]},
        {"id": "c", "kind": "choices", "text": "t", "options": ["a", "b"]},
    ):  # fmt: skip
        assert plan_draft.draft_of(question).as_question(ARMS) == question
