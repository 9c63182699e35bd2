"""Model runs on the pages: a whole list, the queue, pages of rows, results of many votes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bmcore.analysis.readings import Choice
from bmcore.domain import Case, refuse
from bmcore.review import runs
from bmcore.review.store import open_store
from bmcore.review.votes import VoteDraft
from bmcore.running import kept_results, tasks, worker
from pages.parts import work_list
from tests import pages_home, people_fixture, runs_fixture
from tests.test_pages_app import home, models, open_page, press, words
from training.bench import large_home

__all__ = ["home", "models"]  # fixtures
CASES = ("Case-1", "Case-2", "Case-3")


@pytest.fixture
def cases(home: Path, models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three cases; the models have read the first."""
    runs_fixture.no_worker(monkeypatch)
    for case_id in CASES:
        case = pages_home.add_case(home, tmp_path / "files", case_id)
        if case_id == "Case-1":
            pages_home.store_prediction(home, case, models[1])
    yield home


def bars(page: AppTest) -> list[str]:
    return [e.proto.text for e in page.get("progress")]


def counted(home: Path) -> dict[str, int]:
    with open_store(people_fixture.url(home)) as store:
        return runs.counts(store, runs.PREDICT)


def settled() -> AppTest:
    """The Cases page, once what the models have read is known to the index."""
    from pages.parts import loaders

    open_page("cases")
    loaders._indexer(loaders.home(), people_fixture.url(loaders.home())).wait()
    return open_page("cases")


def test_the_models_run_on_every_case_of_the_list_that_they_have_not_read(cases: Path) -> None:
    page = settled()
    table = page.dataframe[0].value.set_index("Case")
    assert list(table.loc[list(CASES), "Models"])[1:] == ["Not run", "Not run"], table["Models"]
    page = press(page, "Run the models on 2 cases that they have not read")
    assert counted(cases) == {"queued": 2}
    assert "Run the models on" not in " ".join(b.label for b in page.button)
    assert any("2 cases to go" in text for text in bars(page))


def test_only_the_cases_that_the_list_shows_are_run(cases: Path) -> None:
    page = settled()
    page = page.text_input(key="case_search").set_value("case-3").run()
    press(page, "Run the models on 1 case that they have not read, of this list")
    with open_store(people_fixture.url(cases)) as store:
        assert [r.subject for r in runs.in_line(store, runs.PREDICT, 9)] == ["Case-3"]


def test_of_many_a_case_that_these_models_have_read_is_passed_over_and_a_click_is_not(
    cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work list's index learns of answers in the background: until then it may ask for them."""
    from bmcore.inference import pipeline

    def read(case: Case, *_: object) -> None:
        raise refuse(f"{case.case_id} was read")

    monkeypatch.setattr(pipeline, "predict", read)
    told = []
    with open_store(people_fixture.url(cases)) as store:
        for rank, case_id in ((runs.MANY, "Case-1"), (runs.MANY, "Case-2"), (0, "Case-1")):
            runs.ask(store, runs.PREDICT, [case_id], "Ada", rank)
            run = runs.take(store)
            assert run is not None
            worker.work(cases, store, run, tasks.known())
            ended = runs.find(store, runs.PREDICT, case_id)
            assert ended is not None
            told.append((ended.state, ended.message))
            if len(told) == 1:
                assert runs.usual_s(store) is None and runs.passed_over(store, runs.PREDICT) == 1
                assert "1 case of those asked for together" in words(open_page("runs"))
    assert told[0] == ("done", runs.ALREADY)
    assert [state for state, _ in told[1:]] == ["failed", "failed"]
    assert "Case-2 was read" in told[1][1] and "Case-1 was read" in told[2][1]


def test_the_page_of_runs_tells_who_waits_how_long_and_cancels(cases: Path) -> None:
    runs_fixture.put(cases, "Case-9", "done")  # took 20 s
    runs_fixture.put(cases, "Case-1", "running", by="this computer")
    runs_fixture.say(cases, "Case-1", "Finding the tumour", eta_s=10)
    runs_fixture.put(cases, "Case-2", "queued", by="this computer")
    runs_fixture.put(cases, "Case-3", "queued", by="Dr Ada")
    page = open_page("runs")
    assert not page.exception and not page.error
    assert page.subheader[0].value == "3 cases to go, about 50 s left"  # 10 and twice 20
    assert bars(page) == ["Case-1: Finding the tumour, about 10 s left"]
    table = page.dataframe[0].value
    assert list(table["Case"]) == ["Case-2", "Case-3"]
    assert list(table["Asked for by"]) == ["you", "Dr Ada"]
    page = press(page, "Cancel what I asked for")
    assert counted(cases) == {"done": 1, "running": 1, "queued": 1, "cancelled": 1}
    page = press(open_page("runs"), "Cancel everything")
    assert counted(cases)["cancelled"] == 2
    assert "Stopping" in bars(open_page("runs"))[0]


def test_with_nothing_to_do_the_page_says_so_and_what_failed(cases: Path) -> None:
    runs_fixture.put(cases, "Case-2", "failed", "No brain was found.")
    page = open_page("runs")
    assert "The models have nothing to do." in words(page)
    assert "No brain was found." in words(page)


def test_a_reader_sees_no_names_of_others_and_cannot_cancel_for_them(
    cases: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bmcore.review.access import Role, User
    from pages.parts.access import session

    runs_fixture.put(cases, "Case-2", "queued", by="Dr Bo")
    reader = User("Dr Ada", Role.READER)
    monkeypatch.setattr(session, "current", lambda fresh=False: reader)
    page = open_page("runs")
    assert list(page.dataframe[0].value["Asked for by"]) == ["somebody else"]
    assert "Cancel everything" not in [b.label for b in page.button]
    press(page, "Cancel what I asked for")
    assert counted(cases) == {"queued": 1}


def test_a_long_list_is_shown_in_pages(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_list, "A_PAGE", 2)
    page = open_page("cases")
    seen = list(page.dataframe[0].value["Case"])
    assert len(seen) == 2 and "1–2 of" in words(page)
    page = press(page, "Next")
    seen += list(page.dataframe[0].value["Case"])
    assert set(CASES) <= set(seen) and len(set(seen)) == len(seen)
    page = page.text_input(key="case_search").set_value("case-2").run()
    assert list(page.dataframe[0].value["Case"]) == ["Case-2"]  # back to the first page


def test_results_of_many_votes_come_from_the_worker_with_their_time(
    home: Path,
    models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs_fixture.no_worker(monkeypatch)
    monkeypatch.setattr(kept_results, "LARGE", 10)
    large_home.grow(home, 12, 2, 2)
    page = open_page("agreement")
    assert "cases that you have not read with the models are left out" in words(page)
    page = press(page, "Show the results on all cases")
    assert bars(page) == ["Results: Waiting to start."] and not page.dataframe
    with open_store(people_fixture.url(home)) as store:
        run = runs.take(store)
        assert run is not None and run.kind == runs.RESULTS
        choice = kept_results.asked(home, run.subject)
        kept_results.compute(home, store, choice, models[1].digest, lambda *_: None)
        runs.finish(store, run, "done")
        kept = kept_results.find(home, Choice())
        assert kept is not None and kept.results.readings == 24 and kept.results.readers == 2
        page = open_page("agreement")
        assert page.subheader[0].value == kept.results.summary[0].replace("~", "\\~")
        assert "Recompute" not in [b.label for b in page.button]
        assert "from 24 votes, up to date." in words(page)
        store.add_reader("Dr New", "other")
        assert "24 votes; readers, cases, models or known primaries have" in words(
            open_page("agreement")
        )
        draft = VoteDraft(case_id="case-00000", reader="Dr New", role="other", phase="unaided",
                          primary="breast", confidence=50, idempotency_key="1")  # fmt: skip
        store.add_vote(draft)
    page = press(open_page("agreement"), "Recompute")
    assert "from 24 votes; 1 new vote since then." in words(page)
    with open_store(people_fixture.url(home)) as store:
        assert runs.counts(store, runs.RESULTS) == {"queued": 1}


def test_kept_results_are_those_that_were_computed(home: Path) -> None:
    from bmcore.analysis import results_file

    large_home.grow(home, 12, 2, 2)
    with open_store(people_fixture.url(home)) as store:
        kept_results.compute(home, store, Choice(), "", lambda *_: None)
    kept = kept_results.find(home, Choice())
    assert kept is not None
    again = results_file.from_json(results_file.as_json(kept.results))
    assert repr(again) == repr(kept.results) and again.sections
    with pytest.raises(ValueError, match="no results of this version"):
        results_file.from_json({"class": "Estimate", "value": 1.0})
    assert kept_results.find(home, Choice(roles=("other",))) is None
