"""The Study pages without a browser: the road of a reader, blinding, drafts, the investigator."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bmcore.review import adjudicate, disputes
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.worklist import Seconds
from bmcore.stats.mrmc import Components
from bmcore.stats.sample_size import power
from pages.parts.study import sizing
from tests import pages_fixture, people_fixture
from tests.test_pages_app import home, models, open_page, press, sent_to_viewer, words

__all__ = ["home", "models"]  # fixtures
CASES = ["Case-1", "Case-2"]


@pytest.fixture
def study(home: Path, models, tmp_path: Path):
    """A study of two cases on a computer without accounts."""
    made = people_fixture.make_study(CASES)
    people_fixture.make_home(home, tmp_path / "files", models[1], CASES)
    people_fixture.start(home, made, with_accounts=False)
    return made


def seat(reader: str = "ra", **query: str) -> AppTest:
    return open_page("study", seat=f"small/{reader}", **query)


def by_start(widgets, start: str):
    return next(w for w in widgets if str(w.key).startswith(start + " "))


def answer(page: AppTest, primary: str = "melanoma") -> AppTest:
    """Fill every required question that is on the screen."""
    by_start(page.radio, "primary").set_value(primary)
    by_start(page.number_input, "primary confidence").set_value(70)
    for start, value in (("quality", 4), ("why", "helpful")):
        for widget in page.radio:
            if str(widget.key).startswith(start + " "):
                widget.set_value(value)
    page = page.run()
    for widget in page.number_input:
        if str(widget.key).startswith("lesions missed"):
            widget.set_value(0)
            page = press(page.run(), "Accept all that have no verdict yet")
    return people_fixture.open_answers(page)


def stored(home: Path):
    with open_store(people_fixture.url(home)) as store:
        return ReadingSession(store, "small").answers()


def test_a_reader_goes_from_the_list_through_all_arms_of_a_case(home: Path, study) -> None:
    page = seat()
    assert "0 of 6 readings done" in page.get("progress")[0].proto.text
    page = press(page, "Read next case (1)")
    assert not page.error and not page.exception
    for arm in ("without the models", "with the models", "with the models and their reasons"):
        assert f"<b>{arm}</b>" in words(page)
        page = press(answer(page), "Lock my answer").run()
        assert not page.error, [e.value for e in page.error]
    assert any(b.label == "Read next case (2)" for b in page.button)
    arms = [(a.arm, a.question) for a in stored(home)]
    assert arms.count(("aided", "lesions")) == 1 and ("aided_explained", "why") in arms
    assert {a.value["confidence"] for a in stored(home) if a.question == "primary"} == {70}


def test_a_sheet_shows_the_answers_for_the_case_mix_of_the_plan(
    home: Path, models, tmp_path: Path, monkeypatch
) -> None:
    real = pages_fixture.make_prediction
    shares = (0.1, 0.1, 0.1, 0.1, 0.5, 0.1)

    def told(*asked, **more):
        return replace(real(*asked, **more), training_shares=shares)

    monkeypatch.setattr(pages_fixture, "make_prediction", told)
    people_fixture.make_home(home, tmp_path / "files", models[1], CASES)
    mix = {"melanoma": 80, "breast": 5, "gi": 5, "sclc": 5, "nsclc": 5, "rcc": 5}
    made = people_fixture.make_study(CASES, case_mix=mix)
    people_fixture.start(home, made, with_accounts=False)
    page = press(seat(), "Read next case (1)")
    assert "this study" not in words(page)  # nothing of the models before the own answer
    page = press(answer(page), "Lock my answer").run()
    page.session_state["study_panel"] = "The models' answers"
    assert "with the shares of this study Melanoma" in words(page.run())


def test_an_incomplete_sheet_is_not_locked_and_says_what_is_missing(home: Path, study) -> None:
    page = press(press(seat(), "Read next case (1)"), "Lock my answer")
    assert "Still missing: “Most likely primary?”" in page.error[0].value
    by_start(page.radio, "primary").set_value("breast")
    page = press(page.run(), "Lock my answer")
    assert "how sure you are" in page.error[0].value
    assert stored(home) == []


def test_an_aided_sheet_does_not_lock_before_the_answers_were_opened(home: Path, study) -> None:
    page = press(answer(press(seat(), "Read next case (1)")), "Lock my answer").run()
    locked = len(stored(home))
    by_start(page.radio, "primary").set_value("breast")
    by_start(page.number_input, "primary confidence").set_value(60)
    by_start(page.radio, "quality").set_value(4)
    by_start(page.number_input, "lesions missed").set_value(0)
    page = press(press(page.run(), "Accept all that have no verdict yet"), "Lock my answer")
    assert "Still missing: a look at “The models' answers”" in page.error[0].value
    assert len(stored(home)) == locked
    page = press(people_fixture.open_answers(page), "Lock my answer").run()
    assert not page.error and len(stored(home)) > locked


def test_a_half_filled_sheet_is_there_again_after_a_reload(home: Path, study) -> None:
    page = press(seat(), "Read next case (1)")
    by_start(page.radio, "primary").set_value("rcc")
    page = page.run()
    page.text_area[0].set_value("a lesion at the edge")
    page.run()
    again = seat(reading="1")
    assert by_start(again.radio, "primary").value == "rcc"
    assert again.text_area[0].value == "a lesion at the edge"
    other = seat("rb", reading="1")
    assert by_start(other.radio, "primary").value is None


def test_nothing_of_the_models_goes_out_before_the_unaided_sheet_is_locked(
    home: Path, study
) -> None:
    page = press(seat(), "Read next case (1)")
    sent = b"".join(sent_to_viewer(page))
    assert b'"mask": null' in sent or b'"mask":null' in sent
    assert b"/mask/" not in sent
    assert pages_fixture.MODEL_FINDING not in words(page) and not page.tabs
    page = press(answer(page), "Lock my answer").run()
    assert b"/mask/" in b"".join(sent_to_viewer(page))
    assert [t.label for t in page.tabs] == ["Your answer", "The models' answers"]  # no reasons yet
    page = press(answer(page), "Lock my answer").run()
    assert "Why" in [t.label for t in page.tabs]


def test_the_review_page_is_no_way_around_the_blinding(home: Path, study) -> None:
    page = open_page("review", case="Case-1")
    assert "The case belongs to a running study" in words(page)
    assert not sent_to_viewer(page) and not page.radio
    with open_store(people_fixture.url(home)) as store:
        people_fixture.read_all(store, study, "ra")
        people_fixture.read_all(store, study, "rb")
    assert sent_to_viewer(open_page("review", case="Case-1"))


def test_a_skipped_case_waits_in_the_list_and_a_flag_reaches_the_investigator(
    home: Path, study
) -> None:
    page = press(seat(), "Read next case (1)")
    next(t for t in page.text_input if t.label == "What should be looked at?").set_value("motion")
    page = press(page.run(), "Flag this reading")
    page = press(page, "Skip this case")
    assert any(b.label == "Read next case (2)" for b in page.button)
    assert any(b.label == "Read it now" for b in page.button)
    manage = open_page("study_manage")
    assert not manage.error
    notes = manage.dataframe[1].value
    assert list(notes["Note"][notes["What"] == "flagged"]) == ["motion"]
    page = press(page, "Read it now")
    assert "<b>1 of 2</b>" in words(page)


def test_a_correction_keeps_the_first_answer_and_needs_a_reason(home: Path, study) -> None:
    with open_store(people_fixture.url(home)) as store:
        people_fixture.read_all(store, study, "ra")
    page = seat()
    box = next(s for s in page.selectbox if s.label == "Reading")
    page = box.select_index(0).run()
    by_start(page.radio, "primary").set_value("breast")
    by_start(page.number_input, "primary confidence").set_value(90)
    page = press(page.run(), "Store the correction")
    assert "correction needs a reason" in words(page)
    next(t for t in page.text_input if t.label.startswith("Why")).set_value("misread the scan")
    page = press(page.run(), "Store the correction")
    assert any("Corrected" in s.value for s in page.success)
    with open_store(people_fixture.url(home)) as store:
        changed = [a for a in ReadingSession(store, "small").history() if a.reason]
        assert len(changed) == 1 and changed[0].value == {"choice": "breast", "confidence": 90}


def test_the_investigator_sees_progress_and_a_width_but_no_answer(home: Path, study) -> None:
    with open_store(people_fixture.url(home)) as store:
        people_fixture.read_all(store, study, "ra", "CANARY REMARK")
    page = open_page("study_manage")
    assert not page.error and not page.exception
    table = page.dataframe[0].value
    assert list(table["Locked"]) == [6, 0]
    assert table["Last activity"][0] != "never" and table["Last activity"][1] == "never"
    shown = words(page) + " ".join(str(d.value) for d in page.dataframe)
    assert "CANARY" not in shown and "elanoma" not in shown


def test_a_study_that_is_over_leads_to_its_results_and_hides_nothing(home: Path, study) -> None:
    with open_store(people_fixture.url(home)) as store:
        for reader in ("ra", "rb"):
            people_fixture.read_all(store, study, reader)
    page = open_page("study_manage")
    assert not page.error and not page.exception
    shown = words(page)
    assert "so far" not in shown and "stays hidden" not in shown
    assert "The study is over: its results are open." in [s.value for s in page.success]
    assert "See the results" in [b.label for b in page.button]


def _draw_sizing() -> None:
    from pages.parts.study import sizing

    sizing.draw()


def test_sizing_begins_with_what_can_be_used_and_says_plainly_what_cannot(
    home: Path, study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "_finished", lambda: ["small"])
    page = AppTest.from_function(_draw_sizing, default_timeout=60).run()
    assert not page.warning and not page.exception and page.dataframe
    monkeypatch.setattr(sizing, "_rows", lambda *a: power(Components(*[0.0] * 9), 12, 0.1, 3, 20))
    page = page.selectbox(key="size variation").set_value("small").run()
    (said,) = [w.value for w in page.warning]
    assert said.startswith("Nothing changed between the two phases") and "var" not in said.split()


def test_a_disagreement_is_resolved_beside_the_images_by_a_third_reader_alone(
    home: Path, study
) -> None:
    """No reader is named; nothing of the models is sent before their mask is asked for."""
    with open_store(people_fixture.url(home)) as store:
        people_fixture.read_all(store, study, "ra")
        desk = ReadingSession(store, "small")
        work = desk.next("rb")
        values = {"primary": {"choice": "breast", "confidence": 20}}
        desk.submit(work.item.place, values, Seconds(), "k")
        case_id = work.item.place.case_id
        letters = disputes.letters(study, case_id, adjudicate.disagreements(store, "small"))
    (ada,) = (name for (_, reader), name in letters.items() if reader == "ra")  # read all arms
    page = open_page("study_manage")
    page.session_state["manage"] = "Disagreements"
    page = page.run()
    assert not page.exception and not page.error
    assert "**1 of 1 disagreement open**" in words(page)
    answers = next(d.value for d in page.dataframe if "Consensus" in d.value)
    said = next(t.value for t in page.text if "Reader A: " in t.value) + str(answers)
    assert "Reader B: " in said and "Dr Ada" not in said and "Dr Bo" not in said
    assert b"/mask/" not in b"".join(sent_to_viewer(page))
    layers = next(g for g in page.get("button_group") if g.proto.label == "Shown over the images")
    assert [o.content for o in layers.proto.options] == [
        "Images alone", "The models' mask", "Reader A", "Reader B",
    ]  # fmt: skip
    page.session_state[f"dispute layer {case_id}"] = ada
    page = page.run()
    assert b"/mask/" in b"".join(sent_to_viewer(page))
    with open_store(people_fixture.url(home)) as store:  # that it was sent is on record
        assert case_id in store.shown_to("this computer")
    by_start(page.radio, "primary").set_value("breast")
    by_start(page.number_input, "primary confidence").set_value(80)
    who = next(t for t in page.text_input if t.label == "Who decides?")
    page = who.set_value(people_fixture.READER_B).run()
    next(s for s in page.selectbox if s.label == "Role").set_value("oncologist")
    page = press(page.run(), "Store the consensus")
    assert "consensus is given by a third reader" in words(page)
    who = next(t for t in page.text_input if t.label == "Who decides?")
    page = who.set_value("Prof Third").run()
    next(s for s in page.selectbox if s.label == "Role").set_value("radiologist")
    page = press(page.run(), "Store the consensus")
    assert any("by Prof Third" in s.value for s in page.success)
    assert "**0 of 1 disagreement open**" in words(page) and "**Consensus: Breast" in words(page)
    page.session_state["manage"] = "Consensus masks"
    page = page.run()
    assert any(b.label == "Write the masks" for b in page.button)


def test_a_pause_is_told_to_the_reader_and_a_deadline_stands_on_both_pages(
    home: Path, study
) -> None:
    manage = open_page("study_manage")
    next(t for t in manage.text_input if t.key == "pause reason").set_value("scanner is down")
    next(t for t in manage.text_input if t.key == "author pause").set_value("Prof Iris")
    manage = press(manage.run(), "Pause the study")
    assert "paused by Prof Iris" in words(manage) and "scanner is down" in words(manage)
    for page in (seat(), seat(reading="1")):  # the address of a sheet leads to the list, too
        assert "takes no readings" in words(page) and "scanner is down" in words(page)
        assert not sent_to_viewer(page) and not any(b.key == "next" for b in page.button)
    next(t for t in manage.text_input if t.key == "author resume").set_value("Prof Iris")
    manage = press(manage.run(), "Resume the study")
    due = next(d for d in manage.date_input if d.label == "Last day")
    due.set_value(date(2031, 5, 6))
    next(t for t in manage.text_input if t.key == "author deadline").set_value("Prof Iris")
    manage = press(manage.run(), "Set the deadline")
    table = (
        manage.dataframe[1].value
        if "Deadline" not in manage.dataframe[0].value
        else (manage.dataframe[0].value)
    )
    assert set(table["Deadline"]) == {"6 May 2031"} and set(table["Last activity"]) == {"never"}
    assert "Please read until 6 May 2031." in words(seat())


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_clock_counts_active_and_idle_seconds_apart() -> None:
    run = subprocess.run(
        ["node", "--test", "tests/js/study_clock.test.mjs"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]


def test_what_the_browser_counted_is_kept_with_the_draft(home: Path, study) -> None:
    """Times of another sheet, or what is no time, are left aside."""
    from pages.parts.study import clock

    taken: list[Seconds] = []
    for value in (
        {"sheet": "a", "active": 12.5, "idle": 3},
        {"sheet": "b", "active": 1, "idle": 1},
        {"sheet": "a", "active": -1, "idle": 1},
        {"sheet": "a", "active": "x", "idle": 1},
        {"sheet": "a", "active": 10**400, "idle": 1},
        {"sheet": "a", "active": float("nan"), "idle": 1},
        None,
    ):
        clock.take_value({"seconds": value}, "a", taken.append)
    assert taken == [Seconds(12.5, 3.0)]


def test_in_a_crossover_the_second_period_waits_for_the_washout(
    home: Path, models, tmp_path: Path
) -> None:
    made = people_fixture.make_study(
        CASES,
        design={"kind": "crossover", "arms": ["unaided", "aided"], "washout_days": 28},
        questions=[{"id": "primary", "kind": "primary", "text": "Which?"}],
    )
    people_fixture.make_home(home, tmp_path / "files", models[1], CASES)
    people_fixture.start(home, made, with_accounts=False)
    with open_store(people_fixture.url(home)) as store:
        desk = ReadingSession(store, "small")
        while (work := desk.next("ra")) is not None and work.item.period == 1:
            values = {"primary": {"choice": "breast", "confidence": 5}}
            desk.submit(work.item.place, values, Seconds(), f"k {work.item.place}")
    page = seat()
    assert "The pause between two periods lasts until" in words(page)
    assert next(b for b in page.button if b.key == "next").disabled
    page = seat(reading="1")  # nor by the address
    assert not page.get("bidi_component")
