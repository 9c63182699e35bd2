"""Who may do what: the whole matrix, every page and every export in it, and the sign-in."""

from __future__ import annotations

import ast
import asyncio
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bmcore.review import accounts, plan
from bmcore.review.access import (
    RULES,
    AccessRefused,
    Role,
    Standing,
    User,
    allowed,
    authorize,
    case_standing,
    results_standing,
    sheet_standing,
)
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from pages.parts import door, navigation, sign_in
from tests import people_fixture
from tests.test_pages_app import ROOT, home, models, words

__all__ = ["home", "models"]  # fixtures
READER, LEADER, ADMIN = Role.READER, Role.INVESTIGATOR, Role.ADMINISTRATOR
ALL, LEADS, ADMINS = {READER, LEADER, ADMIN}, {LEADER, ADMIN}, {ADMIN}
FREE, WAITING, CLOSED, OVER = Standing.FREE, Standing.WAITING, Standing.CLOSED, Standing.OVER
BARE, AIDED, EXPLAINED = Standing.UNAIDED, Standing.AIDED, Standing.EXPLAINED
ANY = set(Standing)
OUTSIDE = {FREE, OVER}  # of a running study of one's own

# What must be allowed, written down once more by hand: action -> (roles, standings).
MATRIX = {
    "cases.see": (ALL, ANY),
    "cases.add": (LEADS, ANY),
    "review.see": (ALL, ANY),
    "case.open": (ALL, OUTSIDE),
    "case.run": (ALL, OUTSIDE),
    "case.mode": (LEADS, OUTSIDE),
    "vote.store": (ALL, OUTSIDE),
    "study.see": (ALL, ANY),
    "study.images": (ALL, {BARE, AIDED, EXPLAINED}),
    "study.models": (ALL, {AIDED, EXPLAINED}),
    "study.reasons": (ALL, {EXPLAINED}),
    "study.answer": (ALL, {BARE, AIDED, EXPLAINED}),
    "study.run": (ALL, {AIDED, EXPLAINED}),
    "study.correct": (ALL, ANY),
    "study.manage": (LEADS, ANY),
    "study.decide": (LEADS, OUTSIDE),
    "masks.export": (LEADS, OUTSIDE),
    "agreement.see": (LEADS, OUTSIDE),
    "report.build": (LEADS, OUTSIDE),
    "report.export": (LEADS, OUTSIDE),
    "models.see": (ALL, ANY),
    "accounts.manage": (ADMINS, ANY),
}
PAGES = {
    "cases": "cases.see",
    "review": "review.see",
    "study": "study.see",
    "study_manage": "study.manage",
    "agreement": "agreement.see",
    "reports": "report.build",
    "models": "models.see",
    "accounts": "accounts.manage",
}
EXPORTS = {
    ("reports.py", "report.export"),
    ("study_plan.py", "study.manage"),  # the shipped example
    ("study_settle.py", "masks.export"),
}


# ---- the matrix --------------------------------------------------------------------------------


def test_the_matrix_has_every_action() -> None:
    assert set(MATRIX) == set(RULES)


@pytest.mark.parametrize(("action", "role"), list(product(MATRIX, Role)))
def test_what_each_role_may_do_in_each_state_of_a_case(action: str, role: Role) -> None:
    roles, standings = MATRIX[action]
    user = User("Somebody", role)
    for standing in Standing:
        may = role in roles and standing in standings
        assert allowed(user, action, standing) is may, (role, action, standing)
        if may:
            authorize(user, action, standing)
        else:
            with pytest.raises(AccessRefused):
                authorize(user, action, standing)


def _called(source: str, name: str) -> list[ast.Call]:
    """Calls of ``name`` or ``x.name`` in a source."""
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    return [c for c in calls if name in (getattr(c.func, "id", ""), getattr(c.func, "attr", ""))]


def _text(call: ast.Call, position: int) -> str | None:
    if len(call.args) <= position or not isinstance(call.args[position], ast.Constant):
        return None
    return str(call.args[position].value)


def _page_action(source: str) -> str | None:
    """The action that a page names in its one ``with page(title, action):``."""
    withs = [n for n in ast.parse(source).body if isinstance(n, ast.With)]
    calls = [w.items[0].context_expr for w in withs]
    named = [c for c in calls if isinstance(c, ast.Call) and getattr(c.func, "id", "") == "page"]
    return _text(named[0], 1) if len(named) == 1 else None


def test_every_page_names_its_action_and_stands_in_the_matrix_and_the_menu() -> None:
    found = {p.stem: _page_action(p.read_text()) for p in (ROOT / "pages").glob("*.py")}
    assert found == PAGES
    assert {e.file: e.action for e in navigation.MENU} == PAGES
    assert set(PAGES.values()) <= set(MATRIX)


def test_a_page_draws_nothing_before_it_is_guarded() -> None:
    for path in (ROOT / "pages").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            is_run = not isinstance(
                node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.With)
            )
            if is_run:
                calls = [c for c in ast.walk(node) if isinstance(c, ast.Call)]
                drawn = [c for c in calls if ast.unparse(c.func).startswith(("st.", "loaders."))]
                assert drawn == [], f"{path.name}: {ast.unparse(node)[:60]}"


def test_every_export_goes_through_the_guard_and_stands_in_the_matrix() -> None:
    exports, bare = set(), []
    for path in (ROOT / "pages").rglob("*.py"):
        source = path.read_text()
        if path.name != "guard.py":
            bare += [path.name for _ in _called(source, "download_button")]
            exports |= {(path.name, _text(c, 0)) for c in _called(source, "download")}
    assert bare == [], "use guard.download"
    assert exports == EXPORTS
    assert {action for _, action in exports} <= set(MATRIX)


def test_a_planted_page_or_export_that_is_not_guarded_is_found() -> None:
    assert _page_action('import streamlit as st\nst.title("all votes")') is None
    assert _page_action('with page("Title"):\n    pass') is None
    assert _page_action('with page("A", "models.see"):\n    pass') == "models.see"
    assert _called("st.download_button('x', b'')", "download_button")
    assert _text(_called("guard.download('report.export', 'x', b'')", "download")[0], 0)


# ---- pages and people --------------------------------------------------------------------------


@pytest.fixture
def people(home: Path) -> Path:
    with open_store(people_fixture.url(home)) as store:
        people_fixture.make_accounts(store)
    return home


def visit(home: Path, file: str, name: str | None, **query: str) -> AppTest:
    """Open a page as somebody who signed in, or as nobody."""
    page = AppTest.from_file(str(ROOT / "pages" / f"{file}.py"), default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    if name is not None:
        with open_store(people_fixture.url(home)) as store:
            found = {a.name: a for a in accounts.listed(store)}[name]
        page.session_state[sign_in._SESSION] = (found.name, found.stamp)
    return page.run()


@pytest.mark.parametrize("file", PAGES)
def test_each_page_opens_for_its_roles_alone_and_for_nobody_without_a_sign_in(
    people: Path, file: str
) -> None:
    for name, role in people_fixture.PEOPLE.items():
        page = visit(people, file, name)
        roles, _ = MATRIX[PAGES[file]]
        refused = "This account may not" in words(page)
        assert refused is (role not in roles), (file, role)
        assert not page.exception
        assert f"{name}, {role}" in words(page)
        if refused:
            assert not page.dataframe and not page.get("bidi_component") and not page.tabs
    page = visit(people, file, None)
    assert [b.label for b in page.button] == ["Sign in"]
    assert not page.dataframe and not page.get("bidi_component") and not page.tabs


def test_on_a_computer_of_ones_own_no_password_is_asked_and_the_page_says_so(home: Path) -> None:
    page = visit(home, "cases", None)
    assert "Single user on this computer, no password" in words(page)
    assert not any(b.label == "Sign in" for b in page.button)


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.7", None, "votes.example.org"])
def test_where_others_can_reach_the_server_nothing_opens_without_accounts(
    home: Path, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    import streamlit as st

    real = st.get_option
    monkeypatch.setattr(
        sign_in.st, "get_option", lambda key: address if key == "server.address" else real(key)
    )
    page = visit(home, "agreement", None)
    assert "Accounts are needed" in words(page)
    assert not page.button and not page.subheader


def test_signing_in_and_out_by_the_form(people: Path) -> None:
    page = visit(people, "models", None)
    page.text_input[0].set_value("dr  ADA")
    page.text_input[1].set_value("not her password")
    page = page.button[0].click().run()
    assert "Name or password are not right" in page.error[0].value
    page.text_input[0].set_value("dr  ADA")
    page.text_input[1].set_value(people_fixture.PASSWORD)
    page = page.button[0].click().run()
    assert "Dr Ada, reader" in words(page) and page.tabs
    page = next(b for b in page.button if b.label == "Sign out").click().run()
    assert [b.label for b in page.button] == ["Sign in"] and not page.tabs


@pytest.mark.parametrize("change", ["disable", "role", "password"])
def test_a_session_ends_when_its_account_changes(people: Path, change: str) -> None:
    page = visit(people, "models", people_fixture.READER_A)
    assert page.tabs
    with open_store(people_fixture.url(people)) as store:
        if change == "disable":
            accounts.set_disabled(store, people_fixture.READER_A, True)
        elif change == "role":
            accounts.set_role(store, people_fixture.READER_A, "investigator")
        else:
            accounts.set_password(store, people_fixture.READER_A, "another long password")
    page = page.run()
    assert not page.tabs and [b.label for b in page.button] == ["Sign in"]


# ---- standings in a running study --------------------------------------------------------------


def test_standings_follow_the_reader_through_the_study(tmp_path: Path) -> None:
    made = people_fixture.make_study(["C1", "C2"])
    with open_store(people_fixture.url(tmp_path)) as store:
        plan.lock(store, made, "Prof Iris")
        ada, iris = User(people_fixture.READER_A, READER), User("Prof Iris", LEADER)
        assert case_standing(store, ada, "C1") is WAITING
        assert case_standing(store, ada, "elsewhere") is FREE
        assert case_standing(store, iris, "C1") is FREE
        assert results_standing(store, ada) is WAITING and results_standing(store, iris) is FREE
        desk = ReadingSession(store, "small")
        seen = []
        while (work := desk.next("ra")) is not None:
            place = work.item.place
            seen.append(sheet_standing(made, desk.work("ra"), place))
            values = people_fixture.answers_for(made, place.arm)
            from bmcore.review.worklist import Seconds

            desk.submit(place, values, Seconds(), f"k {place}")
            if desk.next("ra") is not None:
                assert sheet_standing(made, desk.work("ra"), place) is CLOSED
        assert seen == [BARE, AIDED, EXPLAINED] * 2
        assert sheet_standing(made, desk.work("rb"), desk.work("rb")[1].item.place) is WAITING
        assert case_standing(store, ada, "C1") is OVER
        assert results_standing(store, ada) is OVER


def test_a_reader_with_an_account_reads_the_own_list_alone(
    people: Path, models, tmp_path: Path
) -> None:
    made = people_fixture.make_study(["Case-1"])
    people_fixture.make_home(people, tmp_path / "files", models[1], ["Case-1"])
    people_fixture.start(people, made, with_accounts=False)
    page = visit(people, "study", people_fixture.READER_A, seat="small/rb", reading="1")
    assert page.get("bidi_component")
    for radio in page.radio:
        if str(radio.key).startswith("primary "):
            radio.set_value("melanoma")
    page.run()
    with open_store(people_fixture.url(people)) as store:
        desk = ReadingSession(store, "small")
        assert desk.progress()["ra"]["draft"] == 1 and desk.progress()["rb"]["draft"] == 0
    page = visit(people, "study", "Prof Iris", seat="small/ra", reading="1")
    assert not page.get("bidi_component") and "There is no list for Prof Iris" in words(page)


# ---- the guard of uploads and files ------------------------------------------------------------


@dataclass
class Browser:
    """Asks the guarded server without a network, and keeps its cookie."""

    needed: bool
    cookie: str = ""
    set_cookie: str = ""

    def ask(self, path: str, method: str = "GET") -> int:
        """The status of the answer."""
        sent: list[dict] = []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "scheme": "http",
            "headers": [(b"cookie", self.cookie.encode())] if self.cookie else [],
        }

        async def page(scope, receive, send) -> None:
            kind = b"text/html" if scope["path"] == "/" else b"text/plain"
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
            )
            await send({"type": "http.response.body", "body": b"inside"})

        async def receive() -> dict:
            return {"type": "http.request", "body": b""}

        async def send(message) -> None:
            sent.append(message)

        guarded = door.Door(
            page, lambda host: self.needed, lambda browser: door.REGISTER.find(browser) is not None
        )
        asyncio.run(guarded(scope, receive, send))
        start, body = sent
        if start["status"] != 200:
            assert body["body"] != b"inside"
        for name, value in start["headers"]:
            if name == b"set-cookie":
                self.set_cookie = value.decode()
                self.cookie = self.set_cookie.split(";")[0]
        return int(start["status"])


def test_uploads_and_files_wait_for_a_sign_in_in_this_browser() -> None:
    mine, other = Browser(needed=True), Browser(needed=True)
    upload, file = "/_stcore/upload_file/session/file", "/media/votes.csv"
    assert mine.ask(file) == 403 and mine.cookie == ""
    assert mine.ask("/") == 200 and other.ask("/") == 200
    assert mine.ask(upload, "PUT") == mine.ask(upload, "DELETE") == mine.ask(file) == 403
    assert mine.ask("/_stcore/health") == 200
    name = mine.cookie.partition("=")[2]
    door.REGISTER.enter(name, "Dr Ada", "stamp")
    assert mine.ask(upload, "PUT") == mine.ask(file) == 200
    assert other.ask(file) == 403
    door.REGISTER.leave(name)
    assert mine.ask(file) == 403
    assert Browser(needed=False).ask(file) == 200


def test_the_cookie_cannot_be_read_by_scripts_and_ends_after_two_idle_hours() -> None:
    browser = Browser(needed=True)
    browser.ask("/")
    assert "HttpOnly" in browser.set_cookie and "SameSite=Strict" in browser.set_cookie
    before = browser.cookie
    browser.ask("/")
    assert browser.cookie == before  # kept over a reload
    now = [0.0]
    register = door.Register(lambda: now[0])
    register.enter("b", "Dr Ada", "stamp")
    now[0] = door.IDLE_S - 1
    assert register.find("b") is not None  # and counts anew from here
    now[0] += door.IDLE_S + 1
    assert register.find("b") is None


@pytest.mark.parametrize(
    ("host", "needed"),
    [
        ("127.0.0.1:8501", False),
        ("localhost:8501", False),
        ("[::1]:8501", False),
        (None, False),  # no browser: a test, or the command line
        ("votes.hospital.org", True),
        ("127.0.0.1.evil.org", True),
        ("10.1.2.3:80", True),
    ],
)
def test_a_proxy_that_brings_others_in_is_seen_by_the_host_name(
    home: Path, host: str | None, needed: bool
) -> None:
    assert sign_in.needed(host) is needed
