"""Locking a study and waiting for the models, without a browser."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bmcore.review import plan, readiness_gather, start
from bmcore.review.allocation import Place
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.study import parse_study
from bmcore.review.worklist import Seconds, skipped_with
from pages.parts.study import readiness
from pages.parts.words import escaped
from tests import pages_fixture, pages_home, people_fixture, runs_fixture
from tests.test_pages_app import home, models, open_page, press, sent_to_viewer, words

__all__ = ["home", "models"]  # fixtures
CASES = ["Case-1", "Case-2"]
PICTURE = "![x](http://127.0.0.1:9/x.png) :material/home: **b**"


@pytest.fixture
def cases(home: Path, models, tmp_path: Path) -> list[str]:
    people_fixture.make_home(home, tmp_path / "files", models[1], CASES)
    return CASES


def manage(home: Path, **changes) -> AppTest:
    """The page with a plan chosen before."""
    text = json.dumps(people_fixture.plan_data(CASES, **changes))
    page = AppTest.from_file("../pages/study_manage.py", default_timeout=60)
    page.session_state["plan text new"] = ("study.yaml", text)
    return page.run()


def lock_button(page: AppTest):
    return next(b for b in page.button if b.label == "Lock and start the study")


def typed(page: AppTest, start_: str, value: str) -> AppTest:
    return next(t for t in page.text_input if t.label.startswith(start_)).set_value(value).run()


def badges(page: AppTest) -> list[str]:
    found = [str(m.value) for m in page.markdown]
    return [word for m in found for word in ("Ready", "Warning", "Fault") if f"{word}]" in m]


# the investigator


def test_a_plan_whose_cases_are_missing_cannot_be_locked(home: Path, cases) -> None:
    shutil.rmtree(home / "cases" / "Case-2")
    page = manage(home)
    assert "Case Case-2 is not in the work list." in words(page)
    assert badges(page)[:3] == ["Ready", "Fault", "Fault"]
    page = typed(typed(page, "Who starts", "Iris"), "Type the study's id", "small")
    page = page.checkbox[0].check().run()
    assert lock_button(page).disabled
    with open_store(people_fixture.url(home)) as store:
        assert plan.studies(store) == []


def test_one_click_locks_nothing_the_id_and_the_warnings_are_asked_for(home: Path, cases) -> None:
    page = typed(manage(home), "Who starts", "Iris")
    assert "Nobody signs in here" in words(page) and lock_button(page).disabled
    page = typed(page, "Type the study's id", "small")
    assert lock_button(page).disabled  # the warnings are not accepted
    page = page.checkbox[0].check().run()
    assert not lock_button(page).disabled
    page = typed(page, "Type the study's id", "smal")
    assert lock_button(page).disabled
    page = press(typed(page, "Type the study's id", "small"), "Lock and start the study")
    assert "small is locked as version 1" in words(page)
    with open_store(people_fixture.url(home)) as store:
        (kept,) = start.starts(store, "small")
        assert kept.bundle and len(kept.findings) == 5  # two images alike, no references, ...


def test_what_broke_after_the_page_was_drawn_still_blocks_the_lock(home: Path, cases) -> None:
    page = typed(typed(manage(home), "Who starts", "Iris"), "Type the study's id", "small")
    page = page.checkbox[0].check().run()
    image = home / "cases" / "Case-1" / "Case-1-t1c.nii.gz"
    stamp, content = image.stat(), image.read_bytes()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # as long as before
    os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    page = press(page, "Lock and start the study")
    said = words(page).replace("\\", "")
    assert "Case-1 cannot be read: Case-1-t1c.nii.gz was changed" in said
    with open_store(people_fixture.url(home)) as store:
        assert plan.studies(store) == []
    readiness_gather.forget()


def test_the_words_of_a_plan_are_never_read_as_markdown(home: Path, cases) -> None:
    readers = people_fixture.plan_data(CASES)["readers"]
    readers[0]["name"] = f"Ada {PICTURE}"
    endpoint = {"measure": PICTURE, "compare": ["unaided", "aided"]}
    changes = {"title": PICTURE, "readers": readers}
    pages = [manage(home, **changes)]
    before = people_fixture.plan_data(CASES, **changes, primary_endpoint=endpoint)
    with open_store(people_fixture.url(home)) as store:  # locked when endpoints were words
        plan.lock(store, parse_study(before, "before", locked=True), "Iris")
    pages.append(open_page("study_manage"))
    pages.append(open_page("study", seat="small/ra"))
    for page in pages:
        assert not page.error and not page.exception
        kinds = ("markdown", "caption", "info", "warning", "error", "success", "header")
        read = [str(e.value) for kind in kinds for e in getattr(page, kind)]
        read += [str(s.value) for s in page.subheader]
        read += [p.proto.text for p in page.get("progress")]
        read += [str(w.label) for w in [*page.checkbox, *page.text_input, *page.button]]
        assert not [text for text in read if "![x]" in text or "**b**" in text]
    assert any("\\[x\\]" in str(h.value) for h in pages[2].header)


@pytest.mark.parametrize(
    "text",
    [
        *("![x](http://a/b.png)", "[a](b)", "<b>", ":red[x]", "$x$", "# x", "- x", "1. x", "&lt;"),
        *(":smile:", ":material/home:", "http://a.org", "www.a.org", "WWW.a.org", "a@b.org", "->"),
    ],
)
def test_every_mark_that_would_be_read_is_escaped(text: str) -> None:
    shown = escaped(text)
    assert shown != text and "".join(c for c in shown if c not in "\\\u2060") == text


def amend(**changes) -> AppTest:
    page = AppTest.from_file("../pages/study_manage.py", default_timeout=60)
    page.session_state["manage"] = "Plan and amendments"
    text = json.dumps(people_fixture.plan_data(CASES, **changes))
    page.session_state["plan text small"] = ("study.yaml", text)
    page = typed(page.run(), "Who starts or changes", "Iris")
    page.text_area[0].set_value("as the committee asked")
    return page.run()


def test_an_amendment_that_brings_a_fault_is_not_stored_and_another_is(home, cases) -> None:
    people_fixture.start(home, people_fixture.make_study(CASES), with_accounts=False)
    nobody = {"id": "rc", "name": "FILL IN 3", "role": "other", "years": 1.0}
    page = amend(readers=[*people_fixture.plan_data(CASES)["readers"], nobody])
    assert "Reader rc: the name is still to be filled in." in words(page)
    assert next(b for b in page.button if b.label == "Store the amendment").disabled
    page = press(amend(title="Better words"), "Store the amendment")
    assert "Version 2 is in force." in words(page)
    with open_store(people_fixture.url(home)) as store:
        assert [v.version for v in plan.versions(store, "small")] == [1, 2]
        assert [s.version for s in start.starts(store, "small")] == [2]  # 1 was locked without


# the reader


@pytest.fixture
def aided(home: Path, cases):
    """One reader whose unaided sheet is locked, of a case that the models have not read."""
    study = people_fixture.make_study(
        ["Case-1"], readers=people_fixture.plan_data(CASES)["readers"]
    )
    shutil.rmtree(home / "predictions" / "Case-1")
    with open_store(people_fixture.url(home)) as store:
        plan.lock(store, study, "Iris")
        desk = ReadingSession(store, "small")
        values = people_fixture.answers_for(study, "unaided")
        desk.submit(desk.next("ra").item.place, values, Seconds(), "u")
    return study


def sheet() -> AppTest:
    page = open_page("study", seat="small/ra", reading="1")
    assert not page.exception
    return page


def labels(page: AppTest) -> list[str]:
    return [b.label for b in page.button]


def test_a_reader_is_never_told_to_skip_what_the_models_can_still_read(home, aided) -> None:
    page = sheet()
    assert "The models have not read this case yet." in words(page)
    assert "Run the models now" in labels(page) and "Back to the list" in labels(page)
    assert not any("kip" in label for label in labels(page)) and "kip" not in words(page)
    assert b"".join(sent_to_viewer(page))  # the images are there meanwhile
    manage_page = open_page("study_manage")
    assert "Case Case-1: the models have not read it." in words(manage_page)
    assert "Run the models on the 1 missing case" in labels(manage_page)


def test_the_reader_starts_the_models_and_the_sheet_opens_by_itself(
    home, aided, models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_fixture.no_worker(monkeypatch)
    page = press(sheet(), "Run the models now")
    assert "This step opens by itself" in words(page)
    assert page.get("progress")[0].proto.text == "Waiting to start."
    runs_fixture.put(home, "Case-1", "running")
    runs_fixture.say(home, "Case-1", "Finding the tumour")
    page = sheet()
    assert "Finding the tumour" in page.get("progress")[0].proto.text
    assert not any("kip" in label for label in labels(page))
    pages_home.store_prediction(home, pages_fixture.make_case("Case-1"), models[1])
    page = page.run()
    assert [t.label for t in page.tabs] == ["Your answer", "The models' answers"]


def test_a_case_that_the_models_cannot_read_may_be_skipped_in_plain_words(home, aided) -> None:
    runs_fixture.put(home, "Case-1", "failed", "No brain was found.")
    page = sheet()
    assert "The models could not read this case." in words(page)
    assert "No brain was found." in words(page) and "Try again" in labels(page)
    assert "Skip the rest of this case" in labels(page)
    assert "· with the models\n· with the models and their reasons" in words(page)


@pytest.mark.parametrize("same", [True, False])
def test_other_models_than_those_of_the_lock_are_not_shown(home, cases, same: bool) -> None:
    study = people_fixture.make_study(["Case-1"])
    found = readiness.facts(study)
    if not same:  # locked with models that are gone
        states = {c: replace(s, bundle="e" * 64) for c, s in found.cases.items()}
        found = replace(found, cases=states, bundle=replace(found.bundle, digest="e" * 64))
    with open_store(people_fixture.url(home)) as store:
        start.lock(store, study, found, "Iris", confirm="small", accept_warnings=True)
        desk = ReadingSession(store, "small")
        values = people_fixture.answers_for(study, "unaided")
        desk.submit(desk.next("ra").item.place, values, Seconds(), "u")
    page = sheet()
    told = "The models were changed since the study was locked" in words(page)
    assert told is not same and bool(page.tabs) is same
    assert (b"/mask/" in b"".join(sent_to_viewer(page))) is same
    shown = "The models that are loaded are not those" in words(open_page("study_manage"))
    assert shown is not same


def test_a_damaged_answer_of_the_models_is_told_and_the_list_is_one_click_away(
    home, cases, aided, models
) -> None:
    pages_home.store_prediction(home, pages_fixture.make_case("Case-1"), models[1])
    run = next((home / "predictions" / "Case-1").glob("*/*"))
    (run / "prediction.json").write_text("{")
    page = sheet()
    assert "cannot be read, so this step has to wait" in words(page)
    assert "Back to the list" in labels(page)


def test_what_a_skip_leaves_out_follows_from_the_design(cases) -> None:
    study = people_fixture.make_study(CASES)
    arms = study.design.arms
    assert skipped_with(study, Place("ra", "Case-1", "unaided")) == arms
    assert skipped_with(study, Place("ra", "Case-1", "aided")) == arms[1:]
    crossed = people_fixture.make_study(
        CASES, design={"kind": "crossover", "arms": list(arms), "washout_days": 1}
    )
    assert skipped_with(crossed, Place("ra", "Case-1", "unaided")) == ("unaided",)
