"""The investigator's road in Chromium, from nothing to the report, with its clicks counted; and
what axe finds on the pages of a study, of reports and of accounts.

Pictures go to the folder that BMCORE_LOOK names.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bmcore.review import accounts, conduct, invitations, plan
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.worklist import Seconds
from tests import pages_home, people_fixture, runs_fixture
from tests.test_browser import CHROMIUM, FLAGS, Page, playwright, serve
from tests.test_browser_screens import WIDER
from tests.test_browser_viewer_tools import AXE, axe

__all__ = ["axe"]  # a fixture
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
CASES = ["Case-1", "Case-2", "Case-3"]
PRIMARIES = dict(zip(CASES, ("melanoma", "breast", "melanoma"), strict=True))
ADMIN, PEOPLE = "Max Admin", ("Dr Ada", "Dr Bo")
SIZES = {"1440": (1440, 900), "1024": (1024, 768), "390": (390, 844), "zoom200": (720, 450)}
MOST_CLICKS = 18


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases that the models have read, and one administrator; nobody else and no study."""
    root = tmp_path_factory.mktemp("investigator")
    info = pages_home.make_bundle(root / "models")
    people_fixture.make_home(root / "home", root / "files", info, CASES)
    with open_store(people_fixture.url(root / "home")) as store:
        accounts.add(store, ADMIN, "administrator", people_fixture.PASSWORD)
    return root / "home"


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[str]:
    models = str(home.parent / "models")
    with serve("app.py", BMCORE_HOME=str(home), BMCORE_BUNDLE=models, BMCORE_DEMO="0") as address:
        yield address


class Clicks:
    """A page whose clicks are counted."""

    def __init__(self, browser, site: str) -> None:
        self.on = Page(browser)
        self.page, self.count, self.site = self.on.page, 0, site

    def click(self, what) -> None:
        what.click()
        self.count += 1
        self.on.settle()

    def button(self, name: str, **how) -> None:
        self.click(self.page.get_by_role("button", name=name, **how))

    def link(self, name: str) -> None:
        self.click(self.page.get_by_role("link", name=name))

    def tab(self, name: str) -> None:
        self.click(self.page.get_by_role("tab", name=name))

    def fill(self, label: str, words: str) -> None:
        box = self.page.get_by_label(label, exact=True)
        box.fill(words)
        box.press("Enter")
        self.on.settle()

    def sign_in(self, name: str) -> None:
        self.page.goto(self.site)
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(people_fixture.PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.count += 1
        self.page.get_by_text(f"{name}, ").first.wait_for()
        self.on.settle()


def look(on: Page, name: str, sizes: tuple[str, ...] = ("1440",)) -> None:
    """Nothing is wrong and nothing sticks out; pictures where asked for."""
    on.settle()
    on.check()
    folder = os.environ.get("BMCORE_LOOK")
    for size in sizes:
        width, height = SIZES[size]
        on.page.set_viewport_size({"width": width, "height": height})
        on.page.wait_for_function(f"({WIDER})() <= 0")
        for scheme in ("light", "dark") if folder else ():
            on.page.emulate_media(color_scheme=scheme)
            on.settle()
            on.page.screenshot(path=f"{folder}/{name}-{scheme}-{size}.png")
    on.page.emulate_media(color_scheme="light")
    on.page.set_viewport_size({"width": 1440, "height": 900})


def invite(road: Clicks, home: Path, name: str) -> None:
    """A link is made on the page; who is invited sets a password with it."""
    road.page.get_by_label("Name", exact=True).fill(name)
    road.click(road.page.get_by_text("Reader: reads cases", exact=False))
    road.button("Create the link")
    road.page.get_by_text(f"Send this link to {name}").wait_for()
    link = road.page.get_by_test_id("stCode").inner_text()
    token = re.search(r"token=([\w-]+)", link)
    assert token is not None and link.startswith(f"{road.site}/invite")
    with open_store(people_fixture.url(home)) as store:
        invitations.accept(store, token[1], people_fixture.PASSWORD)


def read_all(home: Path, study: str) -> None:
    """Both readers read their lists; they differ on one case."""
    with open_store(people_fixture.url(home)) as store:
        desk = ReadingSession(store, study)
        made = desk.version.study
        for reader in made.readers:
            while (work := desk.next(reader.id)) is not None:
                place = work.item.place
                right = PRIMARIES[place.case_id]
                wrong = reader.name == PEOPLE[1] and place.case_id == CASES[0]
                said = {
                    "primary": {"choice": "rcc" if wrong else right, "confidence": 70},
                    "lesions": {"lesions": {"1": "accept", "2": "accept"}, "missed": 0},
                    "marks": True,
                    "quality": 4,
                    "explanation": "helpful",
                }
                asked = {q.id: said[q.kind] for q in made.questions_in(place.arm) if q.required}
                desk.submit(place, asked, Seconds(30.0, 2.0), f"k {place}")


@pytest.mark.timeout(900)
def test_from_nothing_to_the_report_in_few_clicks(browser, home: Path, site: str) -> None:
    road = Clicks(browser, site)
    road.sign_in(ADMIN)
    road.link("Accounts")
    for name in PEOPLE:
        invite(road, home, name)
    look(road.on, "road-accounts")
    road.link("Run a study")
    road.fill("Id", "spring")
    road.fill("Title", "Spring readers")
    road.button("Check the plan")
    road.page.get_by_text("has no reference primary").first.wait_for()
    look(road.on, "road-checked", ("1440", "1024", "390", "zoom200"))
    road.click(road.page.get_by_text("Reference primaries and masks"))
    table = "case_id,Primary\n" + "".join(f"{c},{p}\n" for c, p in PRIMARIES.items())
    file = {"name": "truth.csv", "mimeType": "text/csv", "buffer": table.encode()}
    road.page.locator('input[type="file"]').first.set_input_files(file)
    road.button("Keep the primaries of 3 cases")
    road.page.get_by_text("Kept the primaries of 3 cases").wait_for()
    if road.page.get_by_text("I have read").count():
        road.click(road.page.get_by_text("I have read").first)
    road.fill("Type the study's id to lock it: spring", "spring")
    road.button("Lock and start the study")
    road.page.get_by_text("spring is locked as version 1").wait_for()
    with open_store(people_fixture.url(home)) as store:
        assert plan.studies(store) == ["spring"]
        conduct.set_deadline(store, "spring", ADMIN, datetime(2031, 5, 6).date())
    look(road.on, "road-progress", ("1440", "1024", "390", "zoom200"))
    read_all(home, "spring")
    road.tab("Disagreements")
    road.page.wait_for_selector('.viewer[data-ready="1"]')
    look(road.on, "road-disagreements", ("1440", "1024", "390", "zoom200"))
    road.link("Reports")
    road.button("Build report")
    road.page.get_by_role("button", name="PDF").wait_for()
    look(road.on, "road-report")
    with road.page.expect_download() as coming:
        road.page.get_by_role("button", name="PDF").click()
        road.count += 1
    today = datetime.now().astimezone().date()
    assert coming.value.suggested_filename == f"spring-{today:%Y-%m-%d}.pdf"
    assert Path(coming.value.path()).read_bytes().startswith(b"%PDF")
    assert road.count <= MOST_CLICKS, f"{road.count} clicks"
    print(f"{road.count} clicks from nothing to the report")
    road.page.context.close()


def grave(page: Page, script: str) -> list:
    """What axe finds in both schemes that is serious; the viewer has a test of its own."""
    found = []
    for scheme in ("light", "dark"):
        page.page.emulate_media(color_scheme=scheme)
        page.page.wait_for_timeout(200)
        page.page.evaluate(script)
        for impact, rule, nodes in page.page.evaluate(AXE):
            mine = [node for node in nodes if ".viewer" not in node]
            if impact in ("serious", "critical") and mine:
                found.append((page.page.url, scheme, rule, mine[:3]))
    page.page.emulate_media(color_scheme="light")
    return found


@pytest.mark.timeout(900)
def test_axe_finds_nothing_serious_on_the_pages_of_a_study(
    browser, home: Path, site: str, axe: str
) -> None:
    """After the road: every tab, results, runs and accounts; then a reader's list and sheet."""
    study = people_fixture.make_study(
        CASES,
        study="second",
        readers=[{"id": "ra", "name": PEOPLE[0], "role": "radiologist", "years": 5.0}],
    )
    with open_store(people_fixture.url(home)) as store:
        if not any(a.name == PEOPLE[0] for a in accounts.listed(store)):
            accounts.add(store, PEOPLE[0], "reader", people_fixture.PASSWORD)
        plan.lock(store, study, ADMIN)
    road, found = Clicks(browser, site), []
    road.sign_in(ADMIN)
    road.page.goto(f"{site}/study_manage?study=spring")
    road.on.settle()
    tabs = [t.inner_text() for t in road.page.get_by_role("tab").all()]
    assert "Disagreements" in tabs
    for name in tabs:
        road.page.get_by_role("tab", name=name).click()
        road.on.settle()
        found += grave(road.on, axe)
    road.page.get_by_role("tab", name="Progress").click()
    road.page.get_by_role("button", name="Close").click()  # what opens lies outside of the app
    road.page.get_by_text("For good. What is not locked").wait_for()
    road.on.settle()
    found += grave(road.on, axe)
    runs_fixture.put(home, "no such case", "failed", "there is no case")
    for name in ("reports", "agreement", "runs", "accounts"):
        road.page.goto(f"{site}/{name}")
        road.page.get_by_role("heading").first.wait_for()
        road.on.settle()
        found += grave(road.on, axe)
    nameless = '<img id="planted" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'
    road.page.evaluate(f"() => document.body.insertAdjacentHTML('beforeend', '{nameless}')")
    planted = grave(road.on, axe)  # or an empty list would prove nothing
    assert any("#planted" in node for one in planted for node in one[3])
    road.page.context.close()
    reader = Clicks(browser, site)
    reader.sign_in(PEOPLE[0])
    reader.page.goto(f"{site}/study?seat=second/ra")
    reader.page.get_by_role("button", name="Read next case").wait_for()
    found += grave(reader.on, axe)
    reader.button("Read next case (1)")
    reader.page.wait_for_selector('.viewer[data-ready="1"]')
    found += grave(reader.on, axe)
    reader.page.context.close()
    assert found == [], json.dumps(found, indent=1)[:6000]
