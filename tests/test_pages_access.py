"""Who may do what: the whole matrix, every page and every export in it, and the sign-in."""

from __future__ import annotations

import ast
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
from pages.parts.access import navigation, reach, session
from pages.parts.access.activity import Activity
from pages.parts.access.register import LOCAL, Register
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
    "case.rename": (LEADS, OUTSIDE),
    "case.delete": (LEADS, OUTSIDE),
    "case.prior": (LEADS, OUTSIDE),
    "runs.see": (ALL, ANY),
    "runs.start": (LEADS, ANY),
    "runs.cancel": (LEADS, ANY),
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
    "references.keep": (LEADS, OUTSIDE),
    "agreement.see": (LEADS, OUTSIDE),
    "report.build": (LEADS, OUTSIDE),
    "report.export": (LEADS, OUTSIDE),
    "models.see": (ALL, ANY),
    "accounts.manage": (ADMINS, ANY),
    "password.own": (ALL, ANY),
}
PAGES = {
    "cases": "cases.see",
    "review": "review.see",
    "study": "study.see",
    "study_manage": "study.manage",
    "agreement": "agreement.see",
    "reports": "report.build",
    "models": "models.see",
    "runs": "runs.see",
    "accounts": "accounts.manage",
    "my_password": "password.own",
}
EXPORTS = {
    ("reports.py", "report.export"),
    ("plan.py", "study.manage"),  # the shipped example
    ("consensus_masks.py", "masks.export"),
    ("bring.py", "cases.add"),  # the synthetic study to try the door with
    ("lesions.py", "case.open"),  # the segmentation, on the grid of the images
    ("marks.py", "case.open"),  # the own marks and corrected segmentation
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


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    people_fixture.use_tokens(monkeypatch)


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
        page.session_state[people_fixture.TOKEN] = people_fixture.enter(home, name)
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
    assert not page.button and "Nobody is signed in" in words(page)
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
        session.st, "get_option", lambda key: address if key == "server.address" else real(key)
    )
    page = visit(home, "agreement", None)
    assert "Nobody is signed in" in words(page)
    assert not page.button and not page.subheader


def test_signing_out_ends_the_pages_of_every_window(people: Path) -> None:
    page = visit(people, "models", people_fixture.READER_A)
    other = AppTest.from_file(str(ROOT / "pages" / "cases.py"), default_timeout=60)
    other.session_state[people_fixture.TOKEN] = page.session_state[people_fixture.TOKEN]
    assert "Dr Ada, reader" in words(page) and page.tabs
    assert "Dr Ada, reader" in words(other.run())
    page = next(b for b in page.button if b.label == "Sign out").click().run()
    for ended in (page, other.run()):
        assert "Nobody is signed in" in words(ended) and not ended.button and not ended.tabs


def test_nothing_is_written_from_a_page_whose_sign_in_has_ended(people: Path) -> None:
    """Whatever the page forgets to ask: the database asks before each write."""

    def script() -> None:
        import streamlit as st

        from pages.parts import loaders
        from pages.parts.access import session

        if st.session_state.get("ended"):
            session.REGISTER.leave(session._token())
        try:
            loaders.store().add_reader("Planted", "radiologist")
            st.text("written")
        except Exception as fault:
            st.text(f"{fault}")

    page = AppTest.from_function(script)
    page.session_state[people_fixture.TOKEN] = people_fixture.enter(people, "Dr Ada")
    page.session_state["ended"] = True
    assert "nobody is signed in" in page.run().text[0].value
    with open_store(people_fixture.url(people)) as store:
        assert "Planted" not in [r.name for r in store.readers()]
    page.session_state[people_fixture.TOKEN] = people_fixture.enter(people, "Dr Ada")
    page.session_state["ended"] = False
    assert page.run().text[0].value == "written"


@pytest.mark.parametrize("change", ["disable", "role", "password"])
def test_a_session_ends_when_its_account_changes(
    people: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visit(people, "models", people_fixture.READER_A)
    assert page.tabs
    monkeypatch.setattr(accounts, "_listeners", [])  # as if another process did it
    with open_store(people_fixture.url(people)) as store:
        if change == "disable":
            accounts.set_disabled(store, people_fixture.READER_A, True)
        elif change == "role":
            accounts.set_role(store, people_fixture.READER_A, "investigator")
        else:
            accounts.set_password(store, people_fixture.READER_A, "another long password")
    page = page.run()
    assert not page.tabs and "Nobody is signed in" in words(page)


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


# ---- fragments and callbacks -------------------------------------------------------------------


def _fragments(source: str) -> list[str]:
    """The action that each fragment names, or what stands where it should."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("fragment"):
            found.append(_text(node, 0) or ast.unparse(node))
        elif isinstance(node, ast.FunctionDef):
            bare = [d for d in node.decorator_list if ast.unparse(d).endswith("fragment")]
            found += [ast.unparse(d) for d in bare]
    return found


def test_every_fragment_asks_again_who_may_see_it() -> None:
    found = {
        (path.name, action)
        for path in (ROOT / "pages").rglob("*.py")
        if path.name != "guard.py"
        for action in _fragments(path.read_text())
    }
    assert len(found) >= 6
    assert {action for _, action in found} <= set(MATRIX), found
    assert all("st.fragment" not in p.read_text() for p in _pages() if p.name != "guard.py")


def _pages() -> list[Path]:
    return sorted((ROOT / "pages").rglob("*.py"))


def test_a_planted_fragment_that_does_not_ask_is_found() -> None:
    assert _fragments("@st.fragment\ndef f(): pass") == ["st.fragment"]
    assert _fragments("@st.fragment(run_every=1.0)\ndef f(): pass") == [
        "st.fragment(run_every=1.0)"
    ]
    assert _fragments('@guard.fragment("study.see")\ndef f(): pass') == ["study.see"]


def test_a_fragment_draws_nothing_once_the_sign_in_has_ended(people: Path) -> None:
    def script() -> None:
        import streamlit as st

        from pages.parts.access import guard, session

        @guard.fragment("cases.see")
        def part() -> None:
            st.text("a question")

        if st.session_state.get("ended"):
            session.REGISTER.leave(session._token())
        part()

    page = AppTest.from_function(script)
    page.session_state[people_fixture.TOKEN] = people_fixture.enter(people, "Dr Ada")
    assert [t.value for t in page.run().text] == ["a question"]
    page.session_state["ended"] = True
    assert not page.run().text and "Nobody is signed in" in words(page)


# ---- where requests come from ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1:8501", True),
        ("localhost:8501", True),
        ("[::1]:8501", True),
        ("votes.hospital.org", False),
        ("127.0.0.1.evil.org", False),
        ("10.1.2.3:80", False),
        ("127.0.0.1:8501/x", False),
        ("a@127.0.0.1", False),
        ("[::1", False),
    ],
)
def test_a_proxy_that_brings_others_in_is_seen_by_the_host_name(host: str, here: bool) -> None:
    assert reach.is_from_here([("host", host)], "127.0.0.1") is here


@pytest.mark.parametrize(
    "header",
    [
        *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via", "X-Client-IP"),
        *("CF-Connecting-IP", "True-Client-IP", "X-Original-Forwarded-For", "Remote-User"),
    ],
)
def test_a_header_of_a_proxy_means_that_others_can_reach_the_server(header: str) -> None:
    host = ("Host", "127.0.0.1:8501")
    assert reach.is_from_here([host, ("Accept", "*/*")], "127.0.0.1")
    assert not reach.is_from_here([host, (header, "127.0.0.1")], "127.0.0.1")


def test_other_peers_other_origins_and_two_hosts_are_not_this_computer() -> None:
    host = ("host", "127.0.0.1:8501")
    assert not reach.is_from_here([host], "192.168.1.7")
    assert not reach.is_from_here([host], None)
    assert not reach.is_from_here([host, host], "127.0.0.1")
    assert not reach.is_from_here([host, ("origin", "https://votes.org")], "127.0.0.1")
    assert not reach.is_from_here([host, ("referer", "https://votes.org/x")], "127.0.0.1")
    assert reach.is_from_here([host, ("origin", "http://127.0.0.1:8501")], "127.0.0.1")


def test_two_cookies_of_our_name_are_none_and_https_takes_its_own_alone() -> None:
    mine, other = "a" * 43, "b" * 43
    assert reach.token([("cookie", f"x=1; {reach.COOKIE}={mine}")], False) == mine
    assert reach.token([("cookie", f"{reach.COOKIE}={mine}; {reach.COOKIE}={other}")]) is None
    assert reach.token([("cookie", f"{reach.COOKIE}={mine}")], True) is None
    both = [("cookie", f"{reach.COOKIE}={other}; {reach.SECURE_COOKIE}={mine}")]
    assert reach.token(both, True) == mine and reach.token(both) == mine
    assert reach.token([("cookie", f"{reach.COOKIE}=short")]) is None


# ---- the register ------------------------------------------------------------------------------


def test_a_cookie_is_made_by_the_register_alone_and_ends_after_idle_time() -> None:
    now = [0.0]
    register = Register(lambda: 60.0, lambda: now[0])
    assert register.find("a" * 43) is None and register.find(None) is None
    first, second = register.enter("Dr Ada", "s"), register.enter("Dr Ada", "s")
    assert first != second
    now[0] = 59.0
    register.touch(first)
    now[0] = 61.0
    assert register.find(first) is not None and register.find(second) is None
    now[0] = 118.0
    assert register.find(first) is not None  # looking is no sign of life
    now[0] = 120.0
    assert register.find(first) is None


def test_a_session_belongs_to_one_sign_in_for_good() -> None:
    register = Register(lambda: 60.0)
    mine, other = register.enter("Dr Ada", "s"), register.enter("Dr Bo", "s")
    assert register.own("page", mine) and register.own("page", mine)
    assert not register.own("page", other) and not register.own("page", LOCAL)
    assert not register.own("new", "made up" * 6) and register.owner("new") is None
    closed: list[frozenset[str]] = []
    ended: list[str] = []
    register.at_every_end(closed.append)
    assert register.on_end(mine, "line", lambda: ended.append("line"))
    register.leave(mine)
    assert ended == ["line"] and closed == [frozenset({"page"})]
    assert register.owner("page") is None and not register.on_end(mine, "line", ended.clear)


# ---- what a person did -------------------------------------------------------------------------


def _message(clicked: bool = False, clock: int = 0, auto: bool = False, text: str = "") -> bytes:
    from streamlit.proto.BackMsg_pb2 import BackMsg

    message = BackMsg()
    state = message.rerun_script
    state.is_auto_rerun = auto
    told = state.widget_states.widgets.add(id="$$ID-0123-clock abc")
    told.json_value = f"{clock}"
    written = state.widget_states.widgets.add(id="$$ID-4567-comment x")
    written.string_value = text
    if clicked:
        state.widget_states.widgets.add(id="$$ID-89ab-lock").trigger_value = True
    return message.SerializeToString()


def test_the_clock_and_what_streamlit_repeats_are_no_sign_of_a_person() -> None:
    seen = Activity()
    assert seen.see(_message()) == (True, False)  # the page itself
    assert seen.see(_message(clock=15)) == (True, False)
    assert seen.see(_message(clock=30, auto=True)) == (True, False)
    assert seen.see(_message(clock=30, text="a word")) == (True, True)
    assert seen.see(_message(clock=45, text="a word")) == (True, False)
    assert seen.see(_message(clock=45, text="a word", clicked=True)) == (True, True)
    assert seen.see(_message(clock=45, text="a word", clicked=True)) == (True, True)
    assert seen.see(b"\xff\xff") == (True, False)  # Streamlit refuses it


def test_messages_for_developers_are_not_handled() -> None:
    from streamlit.proto.BackMsg_pb2 import BackMsg

    assert Activity().see(BackMsg(clear_cache=True).SerializeToString()) == (False, False)
    assert Activity().see(BackMsg(debug_shutdown_runtime=True).SerializeToString())[0] is False
