"""Each page as the only script that runs, driven without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from bmcore.domain import RESEARCH_NOTICE, BundleInfo
from bmcore.review import exposure
from bmcore.review.store import open_store
from bmcore.settings import settings
from tests import pages_fixture as fixture
from tests import pages_home

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("cases", "review", "agreement", "reports", "models")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BundleInfo]:
    folder = tmp_path_factory.mktemp("models")
    return folder, pages_home.make_bundle(folder)


@pytest.fixture
def home(tmp_path: Path, models, monkeypatch: pytest.MonkeyPatch):
    """An empty home with small random models."""
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BMCORE_BUNDLE", str(models[0]))
    monkeypatch.setenv("BMCORE_DEMO", "0")
    (tmp_path / "home").mkdir()
    settings.cache_clear()
    st.cache_resource.clear()
    yield tmp_path / "home"
    settings.cache_clear()
    st.cache_resource.clear()


@pytest.fixture
def read_case(home: Path, models, tmp_path: Path) -> str:
    """A case with a stored prediction of two lesions."""
    case = pages_home.add_case(home, tmp_path / "files", "Case-1")
    pages_home.store_prediction(home, case, models[1])
    return "Case-1"


def open_page(name: str, **query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    return page.run()


def words(page: AppTest) -> str:
    """All text of a page."""
    kinds = ("html", "markdown", "caption", "info", "warning", "error", "success", "text", "header")
    parts = [str(e.proto.body) for e in page.get("html")]
    for kind in kinds[1:]:
        parts += [str(e.value) for e in getattr(page, kind)]
    return "\n".join(parts + [str(s.value) for s in page.subheader])


def sent_to_viewer(page: AppTest) -> list[bytes]:
    """Every payload of the viewer's two components, as bytes."""
    protos = [e.proto for e in page.get("bidi_component")]
    protos = [p for p in protos if p.component_name in ("bmcore_viewer", "bmcore_block")]
    return [p.bytes or p.json.encode() for p in protos]


def sign_in(page: AppTest, name: str = "Dr A") -> AppTest:
    page.session_state["reader_name"] = name
    page.session_state["reader_role"] = "radiologist"
    return page.run()


def fill_vote(page: AppTest, primary: str = "melanoma", confidence: int = 70) -> None:
    boxes = {r.label: r for r in page.radio}
    boxes["Most likely primary"].set_value(primary)
    if "Quality of the segmentation" in boxes:
        boxes["Quality of the segmentation"].set_value(4)
    page.number_input[0].set_value(confidence)


def read_with_models(case_id: str, name: str = "Dr A") -> AppTest:
    """A reader who has stored the unaided vote and asked for the answers."""
    page = sign_in(open_page("review", case=case_id), name)
    fill_vote(page)
    page = press(page, "Store vote")
    assert not page.error
    return press(page, "Show the models' answers")


def press(page: AppTest, label: str) -> AppTest:
    return next(b for b in page.button if b.label == label).click().run()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_alone_shows_the_notice_and_the_badge_and_no_error(
    home: Path, name: str
) -> None:
    page = open_page(name)
    assert not page.exception and not page.error
    assert RESEARCH_NOTICE in words(page)
    assert "test models 1: demo models, trained on synthetic data" in words(page)


@pytest.mark.parametrize("name", PAGES)
def test_without_models_every_page_says_so_and_still_works(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BMCORE_BUNDLE", str(tmp_path / "nothing here"))
    settings.cache_clear()
    page = open_page(name)
    assert not page.exception and not page.error
    assert "No models are installed" in words(page)


def test_empty_pages_say_what_to_do(home: Path) -> None:
    assert "There are no cases yet" in words(open_page("cases"))
    assert "Add one on the Cases page" in words(open_page("review"))
    assert "There are no votes yet" in words(open_page("agreement"))


def test_a_fault_becomes_a_sentence_and_its_story_goes_to_the_log(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bmcore.intake import library

    quoted = "a secret detail"

    def broken(_home: Path) -> dict:
        raise RuntimeError(quoted)

    monkeypatch.setattr(library, "record_stamps", broken)
    page = open_page("cases")
    assert not page.exception
    assert "Something went wrong" in page.error[0].value
    assert "secret" not in words(page) and "Traceback" not in words(page)
    log = (home / "logs" / "app.log").read_text()
    assert "Traceback" in log and "RuntimeError" in log and "in broken" in log
    assert "secret" not in log  # what a message quotes may be a patient's name
    reference = page.error[0].value.split("reference ")[1][:8]
    assert reference in log


def test_the_work_list_shows_state_sequences_and_votes(read_case: str) -> None:
    table = open_page("cases").dataframe[0].value
    row = table.iloc[0]
    assert row["Case"] == "Case-1" and row["Models"] == "Answer ready" and row["Readers"] == 0
    assert row["Sequences"] == "T1, T1 Gd, T2, FLAIR" and row["Patient"] == "61 years, female"


def test_the_work_list_is_searched_filtered_and_ordered(home: Path, tmp_path: Path) -> None:
    for name in ("Case-B", "Case-A"):
        pages_home.add_case(home, tmp_path / "files", name)

    def shown(page: AppTest) -> list[str]:
        return list(page.dataframe[0].value["Case"]) if page.dataframe else []

    page = open_page("cases")
    assert shown(page) == ["Case-A", "Case-B"]  # newest first
    page.selectbox(key="case_order").set_value("Name")
    assert shown(page.run()) == ["Case-A", "Case-B"]
    page.text_input(key="case_search").set_value("case-b")
    assert shown(page.run()) == ["Case-B"]
    page.text_input(key="case_search").set_value("nobody")
    assert "No case fits this search" in words(page.run())


def test_the_work_list_tells_nothing_of_what_the_models_found(read_case: str) -> None:
    table = open_page("cases").dataframe[0].value
    assert not {"Lesions", "Answer", "Primary"} & set(table.columns)
    assert fixture.MODEL_FINDING not in table.to_json()


def test_what_if_answers_at_once_for_changed_values(read_case: str, models) -> None:
    """The tab is drawn alone: the answers come from the models of random numbers."""
    from streamlit.testing.v1 import AppTest as App

    def script(case_id: str) -> None:
        from pages.parts import loaders
        from pages.parts.case import what_if

        what_if.draw(loaders.prediction(case_id))

    page = App.from_function(script, default_timeout=60, args=(read_case,)).run()
    assert not page.exception
    assert "leading answer" not in words(page)
    before = page.get("html")[0].proto.body
    page.number_input[0].set_value(20.0)
    page = page.run()
    assert not page.exception and "leading answer" in words(page)
    assert page.get("html")[0].proto.body != before


def test_a_reader_who_has_not_voted_gets_images_only(read_case: str) -> None:
    """Neither the mask nor the lesions, the answers or the reasons leave the server."""
    page = sign_in(open_page("review", case=read_case))
    payloads = sent_to_viewer(page)
    assert len(payloads) == 5  # the description and four sequences
    assert b'"mask": null' in payloads[0] and b'"lesions": []' in payloads[0]
    assert not any(b"/mask/" in p for p in payloads)
    assert not page.tabs and not page.dataframe and not page.get("plotly_chart")
    assert "Non-small" not in words(page) and fixture.MODEL_FINDING not in words(page)


def test_the_answers_wait_for_the_unaided_vote(read_case: str) -> None:
    page = sign_in(open_page("review", case=read_case))
    button = next(b for b in page.button if b.label == "Show the models' answers")
    assert button.disabled
    page.session_state[f"models shown {read_case} Dr A"] = True  # even if it could be pressed
    page = page.run()
    assert len(sent_to_viewer(page)) == 5 and not page.tabs
    fill_vote(page)
    page = press(page, "Store vote")
    assert not page.tabs  # what a session claims counts for nothing
    page = press(page, "Show the models' answers")
    assert page.tabs
    other = sign_in(open_page("review", case=read_case), "Dr B")
    assert not other.tabs and len(sent_to_viewer(other)) == 5


def test_the_answers_appear_when_they_are_asked_for(read_case: str) -> None:
    page = read_with_models(read_case)
    assert not page.exception and not page.error
    assert [t.label for t in page.tabs] == ["Answers", "Lesions", "Why", "What if", "Your vote"]
    assert "Non-small cell lung (NSCLC) 55%, then Melanoma 20%" in words(page)
    assert any(b"/mask/" in p for p in sent_to_viewer(page))
    assert fixture.MODEL_FINDING in words(page)
    places = list(page.dataframe[0].value["Place"])
    assert places == ["Left frontal lobe", "Right frontal lobe"]


def test_a_case_without_lesions_says_why_there_is_no_image_answer(
    home: Path, models, tmp_path: Path
) -> None:
    case = pages_home.add_case(home, tmp_path / "files", "Case-2")
    pages_home.store_prediction(home, case, models[1], lesions=False)
    page = read_with_models("Case-2")
    assert "No answer from the images alone, because no lesion was found" in words(page)
    assert "The models found no lesion" in words(page)


def test_nothing_is_chosen_beforehand_and_what_is_missing_is_named(read_case: str) -> None:
    page = open_page("review", case=read_case)
    assert [r.value for r in page.radio] == [None]
    assert page.number_input[0].value is None
    page = press(page, "Store vote")
    assert page.error[0].value == (
        "Not stored yet. Still missing: the reader (name and role), the primary, how sure you are."
    )


def test_a_confidence_of_zero_is_an_answer(read_case: str) -> None:
    from pages.parts import loaders

    page = sign_in(open_page("review", case=read_case))
    fill_vote(page, "cannot_tell", 0)
    page = press(page, "Store vote")
    assert not page.error
    assert [v.confidence for v in loaders.store().votes()] == [0]


def test_a_vote_is_stored_once_with_its_phase_and_the_form_is_new_afterwards(
    read_case: str,
) -> None:
    from pages.parts import loaders

    page = sign_in(open_page("review", case=read_case))
    fill_vote(page)
    page = press(page, "Store vote")
    assert not page.exception and not page.error
    (vote,) = loaders.store().votes()
    assert (vote.reader, vote.role, vote.phase) == ("Dr A", "radiologist", "unaided")
    assert (vote.primary, vote.confidence) == ("melanoma", 70)
    assert vote.segmentation_quality is None and vote.model_primary is None
    assert page.success[0].value.startswith("Stored: Melanoma, 70 of 100, on ")
    assert page.radio[0].value is None
    assert "A new vote replaces this one" in words(page)


def test_an_aided_vote_holds_the_answer_that_was_shown(read_case: str, models) -> None:
    from pages.parts import loaders

    page = read_with_models(read_case)
    fill_vote(page, "nsclc", 80)
    page = press(page, "Store vote")
    _, vote = loaders.store().votes()
    assert (vote.phase, vote.model_primary) == ("aided", "nsclc")
    assert vote.segmentation_quality == 4 and vote.bundle_digest == models[1].digest


def test_a_changed_vote_needs_a_reason_and_both_stay_on_record(read_case: str) -> None:
    from pages.parts import loaders

    page = sign_in(open_page("review", case=read_case))
    fill_vote(page)
    page = press(page, "Store vote")
    fill_vote(page, "breast", 40)
    page = press(page, "Store vote")
    assert "Still missing: the reason for the change." in page.error[0].value
    next(t for t in page.text_input if t.label.startswith("Why")).set_value("looked again")
    page = press(page, "Store vote")
    assert not page.error
    votes = loaders.store().votes()
    assert [v.primary for v in votes] == ["melanoma", "breast"]
    assert votes[1].supersedes == votes[0].id


def test_two_readers_see_their_agreement_with_intervals(
    read_case: str, home: Path, tmp_path: Path
) -> None:
    pages_home.add_case(home, tmp_path / "more", "Case-3")
    for name, second in (("Dr A", "breast"), ("Dr B", "rcc")):
        for case_id, primary in ((read_case, "melanoma"), ("Case-3", second)):
            page = sign_in(open_page("review", case=case_id), name)
            fill_vote(page, primary)
            press(page, "Store vote")
    page = open_page("agreement")
    assert not page.exception and not page.error
    frames = [frame.value for frame in page.dataframe]
    assert frames[0]["Percent agreement"][0].startswith("0\xa0% (0 to 79)")  # Case-3 alone
    assert read_case in words(page) and "Case-3" not in frames[0].to_json()
    page = press(page, "Show the results on all cases")
    frames = [frame.value for frame in page.dataframe]
    assert frames[0]["Percent agreement"][0].startswith("50\xa0% (9 to 91)")  # one case of two
    assert "too few: n = 2, 10 needed" in list(frames[0]["Fleiss' kappa"])
    assert "Dr A and Dr B" in list(frames[1]["Readers"])
    assert not page.get("plotly_chart")  # no kappa to draw yet
    assert len(frames[-1]) == 4


def test_results_tell_nothing_of_a_case_before_it_was_read_with_the_models(
    read_case: str, home: Path, models, tmp_path: Path
) -> None:
    """Votes of others must not open what the models said, and what is known, of a case."""
    (home / "truth.csv").write_text("case_id,primary\nCase-1,breast\nCase-3,rcc\nCase-4,rcc\n")

    def others_vote_on(case_id: str) -> None:
        page = sign_in(open_page("review", case=case_id), "Dr B")
        fill_vote(page, "rcc")
        press(page, "Store vote")

    def exposed() -> set[str]:
        with open_store(f"sqlite:///{home / 'bmcore.sqlite'}") as store:
            seen = store.read(exposure.of_all)
        return {e.case_id for e in seen if e.arm == "results"}

    others_vote_on(read_case)
    page = open_page("agreement")
    assert "1 case that you have not read with the models is left out" in words(page)
    assert not page.dataframe and not page.exception and exposed() == set()
    page = press(page, "Show the results on all cases")
    assert page.dataframe and exposed() == {read_case}
    for case_id in ("Case-3", "Case-4"):  # the one unread by the models, the other read
        other = pages_home.add_case(home, tmp_path / case_id, case_id)
        if case_id == "Case-4":
            pages_home.store_prediction(home, other, models[1])
        others_vote_on(case_id)
    page = open_page("agreement")
    told = words(page)
    assert "2 cases that you have not read with the models are left out" in told
    assert "Case-3, Case-4" in told
    page = press(page, "Show the results on all cases")
    assert "left out" not in words(page) and exposed() == {read_case, "Case-3", "Case-4"}


def test_a_case_that_is_gone_is_said_in_words(read_case: str) -> None:
    assert "no longer in the work list" in words(open_page("review", case="Nobody"))


def test_before_the_models_have_run_one_can_look_and_vote(home: Path, tmp_path: Path) -> None:
    pages_home.add_case(home, tmp_path / "files", "Case-4")
    page = sign_in(open_page("review", case="Case-4"))
    labels = [b.label for b in page.button]
    assert "Run the models on this case" in labels and "Show the models' answers" not in labels
    assert len(sent_to_viewer(page)) == 5
    fill_vote(page)
    assert press(page, "Store vote").success


def test_the_report_is_built_from_the_votes_and_can_be_taken_away(read_case: str) -> None:
    page = sign_in(open_page("review", case=read_case))
    fill_vote(page)
    press(page, "Store vote")
    page = press(open_page("reports"), "Build report")
    assert not page.exception and not page.error
    assert page.session_state["report files"][1]["report.pdf"].startswith(b"%PDF")
    assert b"Dr A" in page.session_state["report files"][1]["votes.csv"]
    assert len(page.get("download_button")) == 9


def test_the_models_page_names_every_part_and_its_limits(home: Path) -> None:
    page = open_page("models")
    labels = " ".join(e.label for e in page.expander)
    assert all(w in labels for w in ("Segmentation net", "Lesion net", "Autoencoder", "Fused"))
    assert "Not a medical device" in words(page) and "never a patient's images" in words(page)


def test_after_the_answers_were_shown_a_reload_brings_no_form_without_them(read_case: str) -> None:
    """Vote, show, reload, name the reader again: the page is with the models, for good."""
    from pages.parts import loaders

    read_with_models(read_case)
    page = sign_in(open_page("review", case=read_case))  # a new session, as after a reload
    assert page.tabs and "Your vote, with the models" in words(page)
    fill_vote(page, "rcc", 90)
    page = press(page, "Store vote")
    assert [(v.phase, v.primary) for v in loaders.store().votes()] == [
        ("unaided", "melanoma"),
        ("aided", "rcc"),
    ]


def test_a_form_without_the_models_that_was_left_open_in_another_tab_is_refused(
    read_case: str,
) -> None:
    from pages.parts import loaders

    left_open = sign_in(open_page("review", case=read_case))
    fill_vote(left_open)
    left_open = press(left_open, "Store vote")
    fill_vote(left_open, "gi", 99)
    next(t for t in left_open.text_input if t.label.startswith("Why")).set_value("the answers")
    other = sign_in(open_page("review", case=read_case))
    press(other, "Show the models' answers")
    left_open = press(left_open, "Store vote")
    assert [v.primary for v in loaders.store().votes()] == ["melanoma"]


def test_a_vote_holds_the_hashes_of_what_it_rests_on(read_case: str, home: Path) -> None:
    from bmcore.intake import library
    from pages.parts import loaders

    page = read_with_models(read_case)
    fill_vote(page, "nsclc", 80)
    press(page, "Store vote")
    before, after = loaders.store().votes()
    images = library.get_entry(home, read_case).images_sha256
    assert before.images_sha256 == after.images_sha256 == images
    assert before.prediction_sha256 is None and after.prediction_sha256 is not None


@pytest.mark.parametrize("what", ["image", "prediction"])
def test_files_that_were_changed_after_they_were_shown_are_refused_and_found(
    read_case: str, home: Path, what: str
) -> None:
    from bmcore.review.verify import verify
    from pages.parts import loaders

    read_with_models(read_case)
    url = f"sqlite:///{home / 'bmcore.sqlite'}"
    assert verify(url, home=home).problems == ()
    if what == "image":
        path = next((home / "cases" / read_case).glob("*-t1c.nii.gz"))
    else:
        path = next((home / "predictions" / read_case).rglob("prediction.json"))
        (path.parent / "sha256.json").unlink()
    if what == "image":
        path.write_bytes(path.read_bytes()[::-1])
    else:
        values = json.loads(path.read_text())
        names, chances = values["probabilities"]["fused"].keys(), values["probabilities"]["fused"]
        reversed_ = dict(zip(names, [*chances.values()][::-1], strict=True))
        values["probabilities"]["fused"] = reversed_
        path.write_text(json.dumps(values))
    assert any("changed after it" in problem for problem in verify(url, home=home).problems)
    loaders.st.cache_resource.clear()
    page = sign_in(open_page("review", case=read_case))
    assert "changed after" in words(page) and not page.tabs
