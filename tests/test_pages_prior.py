"""The earlier examination on the Review page: who says it, what is sent when, and the table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from bmcore.domain import Label, Volume
from bmcore.geometry import transform
from bmcore.imaging.follow_up import FollowUp
from bmcore.inference import archive, follow_up
from bmcore.review import prior
from bmcore.review.store import open_store
from tests import pages_fixture as fixture
from tests import people_fixture, prior_fixture
from tests.test_pages_access import tokens, visit  # noqa: F401  (a fixture)
from tests.test_pages_app import (  # noqa: F401  (fixtures)
    home,
    models,
    open_page,
    press,
    read_with_models,
    sent_to_viewer,
    sign_in,
    words,
)

NOW, THEN = "BraTS-MET-00900-001", "BraTS-MET-00900-000"
GONE_MM = (0.0, 12.0, 4.0)
SWITCH = "Compare with earlier examination"


def ball(data: np.ndarray, grid: np.ndarray, centre: tuple, radius_mm: float) -> None:
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in data.shape], indexing="ij"), axis=-1)
    away = np.linalg.norm(transform(grid, voxels) - np.array(centre), axis=-1)
    data[away < radius_mm] = Label.ET


@pytest.fixture
def both(home: Path, models, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """Two examinations, 1 mm voxels, laid on each other as they are. Then: the left lesion with a
    radius of 6 mm, and one that is gone. Now: the left one with 4 mm, and one more."""
    for gain, case_id in ((1.0, NOW), (2.0, THEN)):
        case = prior_fixture.add_case(home, case_id, gain)
        prediction = fixture.make_prediction(case, models[1])
        if case_id == THEN:
            grid = case.grid.affine
            mask = np.zeros(fixture.SHAPE, np.uint8)
            ball(mask, grid, fixture.LEFT_MM, 6)
            ball(mask, grid, GONE_MM, 3)
            gone = fixture.make_lesion(2, GONE_MM, "midline")
            lesions = (prediction.lesions[0], gone)
            prediction = replace(prediction, mask=Volume(mask, grid), lesions=lesions)
        archive.keep(home, prediction)
    lay(monkeypatch)
    return home


def lay(monkeypatch: pytest.MonkeyPatch, information: float = 0.7) -> None:
    """The registration of the small balls: as they are, with this much information."""
    found = FollowUp(np.eye(4), information, 0.98, 0.1, 2.0)
    monkeypatch.setattr(follow_up, "follow_up", lambda later, earlier: found)


def link(home: Path) -> None:  # noqa: F811
    with open_store(people_fixture.url(home)) as store:
        prior.set_prior(store, home, prior.Statement(NOW, "Max", "same patient"), THEN)


def compare(page: AppTest) -> AppTest:
    page = next(t for t in page.toggle if t.label == SWITCH).set_value(True).run()
    assert not page.exception and not page.error
    return page


def described(page: AppTest) -> dict:
    """What the viewer was told of the earlier examination."""
    sent = [e.proto for e in page.get("bidi_component")]
    (viewer,) = [p for p in sent if p.component_name == "bmcore_viewer"]
    return json.loads(viewer.json)["prior"]


# --- who says it ----------------------------------------------------------------------------------


def test_a_proposal_is_shown_and_taken_by_a_click_and_taken_back_with_a_reason(both: Path) -> None:
    page = sign_in(open_page("review", case=NOW))
    assert f"Proposed: {THEN}" in words(page).replace("\\", "").replace("\u2060", "")
    assert SWITCH not in [t.label for t in page.toggle]  # a proposal alone links nothing
    page = press(page, "Use as earlier examination")
    assert not page.exception and SWITCH in [t.label for t in page.toggle]
    with open_store(people_fixture.url(both)) as store:
        (said,) = prior.log(store, NOW)
    assert (said.prior_id, said.author) == (THEN, "this computer")
    assert "time point before" in said.reason
    back = next(b for b in page.button if b.label == "Take it back")
    assert back.disabled
    page.text_input(key=f"no prior reason {NOW}").set_value("another patient").run()
    page = press(page, "Take it back")
    assert SWITCH not in [t.label for t in page.toggle]
    with open_store(people_fixture.url(both)) as store:
        assert prior.of_case(store, NOW) is None and len(prior.log(store, NOW)) == 2


def test_the_first_examination_has_no_proposal_and_nothing_is_chosen(both: Path) -> None:
    page = sign_in(open_page("review", case=THEN))
    assert "Proposed" not in words(page)
    assert next(b for b in page.button if b.label == "Use as earlier examination").disabled


# --- what is sent when ----------------------------------------------------------------------------


def test_before_the_vote_the_images_of_both_are_sent_and_no_outline_of_either(both: Path) -> None:
    link(both)
    page = compare(sign_in(open_page("review", case=NOW)))
    sent = b"".join(sent_to_viewer(page))
    assert f"{THEN}/t1c".encode() in sent and b"/mask/" not in sent
    told = described(page)
    assert told["linked"] and told["mask"] is None and told["lesions"] == []
    assert [s["of"] for s in told["sequences"]] == ["t1n", "t1c", "t2w", "t2f"]
    assert "until then their outlines of neither are sent" in words(page)
    assert not page.dataframe


def test_the_earlier_outline_waits_until_that_examination_was_read_too(both: Path) -> None:
    link(both)
    page = compare(read_with_models(NOW))
    sent = b"".join(sent_to_viewer(page))
    assert f"{NOW}/mask/".encode() in sent and f"{THEN}/mask/".encode() not in sent
    assert described(page)["mask"] is None
    assert "Read it first" in words(page)
    assert "target lesion" not in words(page)


def test_lesions_then_and_now_side_by_side_with_changes_and_the_sum(both: Path) -> None:
    """Voxel centres at halves: from (-5.5, -1.5) to (5.5, 1.5) and a voxel are 12.4 mm then, from
    (-3.5, -1.5) to (3.5, 1.5) 8.6 mm now: -31 %. One new lesion, one gone; only the first was
    measurable then."""
    link(both)
    read_with_models(THEN)
    page = compare(read_with_models(NOW))
    told = described(page)
    assert f"{THEN}/mask/".encode() in b"".join(sent_to_viewer(page))
    assert [(n["number"], n["pair"]) for n in told["lesions"]] == [(1, 1), (2, None)]
    table = next(d.value for d in page.dataframe if "Then" in d.value)
    assert list(zip(table["Now"], table["Then"], strict=True)) == [
        ("1", "1"), ("2", "–"), ("–", "2"),
    ]  # fmt: skip
    assert list(table["Change"]) == ["−31%", "", ""]
    assert table["Longest"].iloc[0] == "12.4 → 8.6 mm"
    assert list(table["Remark"]) == ["", "no counterpart then", "not found now"]
    text = words(page)
    assert "1 target lesion of the earlier examination: 12.4 mm then, 8.6 mm now" in text
    assert "partial response" in text and "not a diagnosis" in text and "corticosteroids" in text
    assert "Lesion 2 has no counterpart then" in text


def test_a_doubtful_alignment_is_not_linked_and_says_why_until_it_is_asked_for(
    both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(monkeypatch, information=0.1)
    link(both)
    read_with_models(THEN)
    page = compare(read_with_models(NOW))
    assert not described(page)["linked"]
    text = words(page)
    assert "Not linked" in text and "0.10 nats" in text and "are not matched" in text
    assert all("Then" not in d.value for d in page.dataframe)
    page = next(t for t in page.toggle if "all the same" in t.label).set_value(True).run()
    assert described(page)["linked"] and "Linked all the same" in words(page)
    assert any("Then" in d.value for d in page.dataframe)


# --- studies --------------------------------------------------------------------------------------


def test_a_reader_of_a_running_study_is_not_offered_one_of_its_cases(
    both: Path,
    tokens: None,  # noqa: F811
) -> None:
    """The earlier examination is on the reader's list, the case is not; for who does not read in
    the study it is offered."""
    link(both)
    people_fixture.start(both, people_fixture.make_study([THEN]), with_accounts=True)
    for name, offered in ((people_fixture.READER_A, False), ("Prof Iris", True)):
        page = visit(both, "review", name, case=NOW)
        assert not page.exception
        assert (SWITCH in [t.label for t in page.toggle]) is offered, name


def test_a_sheet_of_a_study_never_shows_an_earlier_examination(
    both: Path,
    tokens: None,  # noqa: F811
) -> None:
    link(both)
    people_fixture.start(both, people_fixture.make_study([NOW]), with_accounts=True)
    page = visit(both, "study", people_fixture.READER_A)
    page = press(page, "Read next case (1)")
    assert not page.exception and described(page) is None
    assert THEN.encode() not in b"".join(sent_to_viewer(page))
    assert SWITCH not in [t.label for t in page.toggle]
