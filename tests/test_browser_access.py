"""Who may see what, in real Chromium: two tabs, signing out, changes of a role, frames, idle time.

The raw client of ``test_access_server`` shows what the server refuses; here it is what people see.
"""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmcore.review import accounts
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from tests import pages_home, people_fixture
from tests.people_fixture import PASSWORD, READER_A
from tests.test_browser import CHROMIUM, FLAGS, Page, playwright, serve

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
ADMIN = "Max Admin"
READY = '.viewer[data-ready="1"][data-loaded="4"]'
EVIL = (
    "![x](http://evil.example/a.png) <img src=http://evil.example/b.png> [a](javascript:alert(1)) "
    "$x$ :smile: :material/home: www.evil.example a@evil.example -> :red[r]"
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home with one case in a study whose title and questions would do harm, and accounts."""
    root = tmp_path_factory.mktemp("access")
    home, models = root / "home", root / "models"
    home.mkdir()
    info = pages_home.make_bundle(models)
    case = pages_home.add_case(home, root / "files", "Case-1")
    pages_home.store_prediction(home, case, info)
    data = people_fixture.plan_data(["Case-1"], title=EVIL)
    for question in data["questions"]:
        question["text"] = f"{question['id']} {EVIL}"
    from bmcore.review.study import parse_study

    people_fixture.start(home, parse_study(data, "study.yaml"), with_accounts=True)
    with open_store(people_fixture.url(home)) as store:
        accounts.add(store, f"Eve {EVIL}"[:80], "reader", PASSWORD)
    return home, models


def environment(made: tuple[Path, Path], **more: str) -> dict[str, str]:
    home, models = made
    told = {"BMCORE_HOME": str(home), "BMCORE_BUNDLE": str(models), "BMCORE_DEMO": "0"}
    return {**told, **more}


@pytest.fixture(scope="module")
def site(made: tuple[Path, Path]) -> Iterator[str]:
    with serve("app.py", **environment(made)) as address:
        yield address


class Tab(Page):
    """A page of one window among others that share their cookies."""

    def __init__(self, context) -> None:
        class Same:
            def new_page(self, **_):
                return context.new_page()

        super().__init__(Same())
        self.page.set_default_timeout(60_000)

    def sign_in(self, address: str, name: str) -> None:
        self.page.goto(address)
        self.fill_in(name)
        self.page.get_by_text(re.compile(f"^{name}, ")).wait_for()
        self.settle()

    def fill_in(self, name: str) -> None:
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()

    def is_signed_out(self) -> None:
        self.page.get_by_role("button", name="Sign in").wait_for()
        assert self.page.get_by_text("Your sign-in has ended").count() == 1
        assert not self.page.locator(".stApp").count()


def test_another_person_in_a_second_tab_ends_the_first_one(browser, site: str) -> None:
    """F2: the administrator's tab could go on, and make the reader one."""
    context = browser.new_context()
    first, second = Tab(context), Tab(context)
    first.sign_in(f"{site}/accounts", ADMIN)
    second.page.goto(site)
    second.page.get_by_text(f"{ADMIN}, administrator").wait_for()
    second.settle()
    second.button("Sign out").click()
    second.is_signed_out()
    first.is_signed_out()
    second.fill_in(READER_A)
    second.page.get_by_text(f"{READER_A}, reader").wait_for()
    first.page.goto(f"{site}/accounts")
    first.page.get_by_text("This account may not manage the accounts").wait_for()
    first.look()
    context.close()


def test_a_change_of_role_sends_the_windows_to_the_sign_in_page(browser, made, site) -> None:
    context = browser.new_context()
    tab = Tab(context)
    tab.sign_in(f"{site}/models", people_fixture.READER_B)
    with open_store(people_fixture.url(made[0])) as store:  # as the command line does
        accounts.set_role(store, people_fixture.READER_B, "investigator")
    tab.is_signed_out()
    tab.fill_in(people_fixture.READER_B)
    tab.page.get_by_text(f"{people_fixture.READER_B}, investigator").wait_for()
    tab.page.get_by_role("tab", name="Use and limits").wait_for()  # back where it was
    with open_store(people_fixture.url(made[0])) as store:
        accounts.set_role(store, people_fixture.READER_B, "reader")
    context.close()


def test_a_foreign_page_cannot_frame_the_dashboard(browser, site: str, tmp_path: Path) -> None:
    """F11. The same page frames a harmless one, which shows that it can frame."""
    page = f'<iframe id=f src="{site}/sign-in"></iframe><iframe id=g src="data:text/html,ok">'
    (tmp_path / "index.html").write_text(page)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, directory=str(tmp_path), **kwargs)

        def log_message(self, *_) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = browser.new_context()
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(f"http://127.0.0.1:{server.server_port}/")
    tab.frame_locator("#g").get_by_text("ok").wait_for()
    tab.wait_for_timeout(1000)
    assert not tab.frame_locator("#f").get_by_role("button", name="Sign in").count()
    assert any("frame-ancestors" in words for words in said)
    context.close()
    server.shutdown()


def test_what_people_typed_is_drawn_as_typed_and_fetches_nothing(browser, site: str) -> None:
    context = browser.new_context()
    tab = Tab(context)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.sign_in(f"{site}/study", READER_A)
    tab.page.get_by_role("heading", name="evil.example").wait_for()
    tab.check()
    tab.button("Read next case").click()
    tab.page.wait_for_selector(READY)
    tab.settle()
    shown = tab.page.inner_text("body").replace("\u2060", "")
    assert shown.count(EVIL) >= 2  # two questions of the unaided sheet at least
    assert not tab.page.locator('a[href*="evil"], a[href^="javascript"], img[src*="evil"]').count()
    assert not [url for url in asked if "evil" in url]
    tab.check()
    context.close()
    context = browser.new_context()
    lead = Tab(context)
    lead.sign_in(f"{site}/accounts", ADMIN)
    assert not lead.page.locator('a[href*="evil"], img[src*="evil"]').count()
    lead.page.goto(f"{site}/study_manage")
    lead.page.get_by_role("heading").first.wait_for()
    lead.settle()
    assert not lead.page.locator('a[href*="evil"], img[src*="evil"]').count()
    lead.check()
    context.close()


def test_an_open_sheet_whose_reader_is_away_is_signed_out_and_its_draft_kept(
    browser, made: tuple[Path, Path]
) -> None:
    """The idle time is 13 seconds here, less than the clock counts as reading after an input."""
    with serve("app.py", **environment(made, BMCORE_IDLE_MINUTES="0.22")) as address:
        context = browser.new_context()
        tab = Tab(context)
        tab.sign_in(f"{address}/study", READER_A)
        tab.page.get_by_role("button", name=re.compile("^(Read next|Go on with) case")).click()
        tab.page.wait_for_selector(READY)
        tab.page.get_by_text("Melanoma", exact=True).click()
        tab.settle()
        tab.is_signed_out()
        assert not tab.page.get_by_text("Melanoma").count()
        assert "next=%2Fstudy%3Freading%3D1" in tab.page.url  # the way back to the sheet
        context.close()
    with open_store(people_fixture.url(made[0])) as store:
        assert ReadingSession(store, "small").progress()["ra"]["draft"] == 1
