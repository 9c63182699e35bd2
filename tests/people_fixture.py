"""A small study in a home folder of its own: cases, predictions, a locked plan, accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bmcore.domain import BundleInfo
from bmcore.review import accounts, plan
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import Store, open_store
from bmcore.review.study import Study, parse_study
from tests import pages_home

TOKEN = "token of the test"  # in a page's session state: as whom a test drives it
PASSWORD = "seven quiet horses"
READER_A, READER_B = "Dr Ada", "Dr Bo"
PEOPLE = {
    READER_A: "reader",
    READER_B: "reader",
    "Prof Iris": "investigator",
    "Max Admin": "administrator",
}


READERS_OF_TWO = (READER_A, READER_B)


def plan_data(cases: list[str], **changes: Any) -> dict[str, Any]:
    """A sequential study of all three arms and every kind of question."""
    aided, explained = "aided", "aided_explained"
    if len(changes.get("readers", READERS_OF_TWO)) < 2:  # one reader stands for nobody else
        alone = {"measure": "accuracy", "compare": ["unaided", aided], "readers": "fixed"}
        changes = {"primary_endpoint": alone, **changes}
    return {
        "study": "small",
        "title": "A small study",
        "design": {"kind": "sequential", "arms": ["unaided", aided, explained]},
        "seeds": {"order": 7, "allocation": 8},
        "readers": [
            {"id": "ra", "name": READER_A, "role": "radiologist", "years": 5.0},
            {"id": "rb", "name": READER_B, "role": "oncologist", "years": 9.0},
        ],
        "cases": cases,
        "training_cases": [],
        "questions": [
            {"id": "primary", "kind": "primary", "text": "Most likely primary?"},
            {"id": "other", "kind": "differential", "text": "Others?", "required": False},
            {"id": "lesions", "kind": "lesions", "text": "Lesions", "arms": [aided]},
            {"id": "quality", "kind": "quality", "text": "Quality?", "arms": [aided, explained]},
            {"id": "why", "kind": "explanation", "text": "Helpful?", "arms": [explained]},
            {"id": "remarks", "kind": "text", "text": "Remarks", "required": False},
        ],
        "repeats": {"count": 0, "min_distance": 1},
        "primary_endpoint": {"measure": "accuracy", "compare": ["unaided", aided]},
        "analysis_plan": "Difference with a bootstrap over patients.",
        **changes,
    }


def make_study(cases: list[str], **changes: Any) -> Study:
    return parse_study(plan_data(cases, **changes), "study.yaml")


def make_home(home: Path, work: Path, info: BundleInfo, cases: list[str]) -> None:
    """Cases with a prediction of two lesions each."""
    home.mkdir(parents=True, exist_ok=True)
    for case_id in cases:
        case = pages_home.add_case(home, work, case_id)
        pages_home.store_prediction(home, case, info)


def start(home: Path, study: Study, with_accounts: bool) -> None:
    """Lock the plan, and make the accounts of ``PEOPLE``."""
    with open_store(url(home)) as store:
        plan.lock(store, study, "Prof Iris")
        if with_accounts:
            make_accounts(store)


def make_accounts(store: Store) -> None:
    for name, role in PEOPLE.items():
        accounts.add(store, name, role, PASSWORD)


def use_tokens(monkeypatch: Any) -> None:
    """Pages that run without a server read who is signed in from their ``TOKEN``."""
    import streamlit as st

    from pages.parts.access import session

    real = session._token
    monkeypatch.setattr(session, "_token", lambda: st.session_state.get(TOKEN) or real())


def open_answers(page: Any) -> Any:
    """Look at the models' answers of an aided sheet, and come back to the own one."""
    if page.tabs:
        for tab in ("The models' answers", "Your answer"):
            page.session_state["study_panel"] = tab
            page = page.run()
    return page


def enter(home: Path, name: str) -> str:
    """Sign somebody in; the value of the cookie."""
    from pages.parts.access import session

    with open_store(url(home)) as store:
        found = {a.name: a for a in accounts.listed(store)}[name]
    return session.REGISTER.enter(found.name, found.stamp)


def url(home: Path) -> str:
    return f"sqlite:///{home / 'bmcore.sqlite'}"


def answers_for(study: Study, arm: str, text: str | None = None) -> dict[str, Any]:
    """A whole sheet of ``arm``."""
    said: dict[str, Any] = {
        "primary": {"choice": "melanoma", "confidence": 60},
        "other": ["breast"],
        "lesions": {"lesions": {"1": "accept", "2": "reject"}, "missed": 0},
        "quality": 4,
        "why": "helpful",
        "remarks": text or "no remarks",
    }
    return {q.id: said[q.id] for q in study.questions_in(arm)}


def read_all(store: Store, study: Study, reader: str, text: str | None = None) -> None:
    """Lock every sheet of a reader's list."""
    from bmcore.review.worklist import Seconds

    desk = ReadingSession(store, study.study)
    while (work := desk.next(reader)) is not None:
        place = work.item.place
        values = answers_for(study, place.arm, text)
        desk.submit(place, values, Seconds(30.0, 2.0), f"key {place}")
