"""A home folder that was moved, emptied or not mounted is no empty list without a word."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import streamlit as st

from bmcore.intake import library
from bmcore.review.absent import absent, known_cases
from bmcore.review.merge import merge
from bmcore.review.store import open_store
from bmcore.review.votes import VoteDraft
from bmcore.settings import settings
from tests import pages_home
from tests.test_pages_app import open_page, words

CASES = ("Case-1", "Case-2")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database elsewhere than the home, with a vote on each of two cases of that home."""
    address = f"sqlite:///{tmp_path / 'elsewhere' / 'votes.sqlite'}"
    with open_store(address) as store:
        store.add_reader("Dr Ada", "radiologist")
        for case_id in CASES:
            pages_home.add_case(tmp_path / "home", tmp_path / "files", case_id)
            store.add_vote(
                VoteDraft(
                    case_id=case_id, reader="Dr Ada", role="radiologist", phase="unaided",
                    primary="gi", confidence=10, idempotency_key=case_id,
                )
            )  # fmt: skip
    return address


@pytest.fixture
def cases_page(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The words of the Cases page for a home folder."""
    monkeypatch.setenv("BMCORE_DATABASE_URL", url)
    monkeypatch.setenv("BMCORE_DEMO", "0")

    def draw(home: Path) -> str:
        monkeypatch.setenv("BMCORE_HOME", str(home))
        settings.cache_clear()
        st.cache_resource.clear()
        page = open_page("cases")
        assert not page.exception and not page.error
        return words(page)

    yield draw
    settings.cache_clear()
    st.cache_resource.clear()


def test_nothing_is_said_where_all_cases_are_there(cases_page, tmp_path: Path) -> None:
    told = cases_page(tmp_path / "home")
    assert "not in this home folder" not in told and "no case of your own" not in told


@pytest.mark.parametrize("what", ["a new place", "an empty folder", "no cases folder"])
def test_a_home_without_the_cases_that_were_voted_on_says_so(
    cases_page, tmp_path: Path, what: str
) -> None:
    home = tmp_path / "home"
    if what == "a new place":
        home = tmp_path / "other"
    elif what == "an empty folder":  # as when its drive is not mounted
        shutil.rmtree(home)
        home.mkdir()
    else:
        shutil.rmtree(home / "cases")
    told = cases_page(home)
    assert "2 cases voted on are not in this home folder" in told
    assert str(home) in told and "Case-1, Case-2" in told and "BMCORE_HOME" in told
    assert "There are no cases yet" not in told


def test_one_case_of_two_that_is_gone_is_named(cases_page, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "home" / "cases" / "Case-2")
    assert "1 case voted on is not in this home folder" in cases_page(tmp_path / "home")


def test_a_fresh_home_says_where_it_looked(tmp_path: Path, monkeypatch, cases_page) -> None:
    monkeypatch.setenv("BMCORE_DATABASE_URL", "")
    told = cases_page(tmp_path / "fresh")
    assert "There are no cases yet" in told
    assert "no case of your own" in told and str(tmp_path / "fresh") in told


def test_predictions_without_cases_are_missed_too_but_a_removed_case_is_not(tmp_path: Path) -> None:
    for case_id in CASES:
        (tmp_path / "predictions" / case_id).mkdir(parents=True)
    with open_store(f"sqlite:///{tmp_path / 'votes.sqlite'}") as store:
        finding = absent(store, tmp_path, [])
        assert finding is not None and finding.what.startswith("2 cases read by the models")
        assert absent(store, tmp_path, ["Case-1"]) is None
        assert absent(store, tmp_path) == finding  # the index is as empty as the folder


def test_cases_of_another_site_are_not_missed_after_a_merge(url: str, tmp_path: Path) -> None:
    merge([url], f"sqlite:///{tmp_path / 'all.sqlite'}")
    with open_store(f"sqlite:///{tmp_path / 'all.sqlite'}") as store:
        assert len(store.votes()) == 2 and absent(store, tmp_path, []) is None


def test_a_number_that_votes_or_predictions_know_is_not_given_to_a_new_case(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'votes.sqlite'}") as store:
        store.add_reader("Dr Ada", "radiologist")
        store.add_vote(
            VoteDraft(
                case_id="case-0007", reader="Dr Ada", role="radiologist", phase="unaided",
                primary="gi", confidence=10, idempotency_key="once",
            )
        )  # fmt: skip
        assert library.next_id(tmp_path) == "case-0001"
        assert library.next_id(tmp_path, known_cases(store)) == "case-0008"
    (tmp_path / "predictions" / "case-0009").mkdir(parents=True)
    assert library.next_id(tmp_path) == "case-0010"
