"""A reader's day in real Chromium: sign in, the next case, four clicks a case, on to the next one.

Clicks are counted in the page: each press of the mouse that the browser itself trusts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmcore.review.store import open_store
from tests import pages_home, people_fixture
from tests.people_fixture import PASSWORD, READER_A, READER_B
from tests.test_browser import CHROMIUM, FLAGS, Page, playwright, serve
from tests.test_browser_viewer_tools import AXE
from tests.test_browser_viewer_tools import axe as axe  # a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
CASES = ["Case-1", "Case-2", "Case-3"]
READY = '.viewer[data-ready="1"][data-loaded="4"]'
COUNT = """() => {
  window.presses = 0;
  addEventListener('mousedown', (event) => event.isTrusted && window.presses++, true);
}"""


def make_site(root: Path) -> dict[str, str]:
    """Three cases that the models have read; Dr Ada reads two of them in a study, Dr Bo in none."""
    home, models = root / "home", root / "models"
    home.mkdir()
    info = pages_home.make_bundle(models)
    people_fixture.make_home(home, root / "files", info, CASES)
    alone = [{"id": "ra", "name": READER_A, "role": "radiologist", "years": 5.0}]
    study = people_fixture.make_study(CASES[:2], readers=alone)
    people_fixture.start(home, study, with_accounts=True)
    with open_store(people_fixture.url(home)) as store:
        for name in (READER_A, READER_B):
            store.add_reader(name, "radiologist" if name == READER_A else "oncologist")
    return {"BMCORE_HOME": str(home), "BMCORE_BUNDLE": str(models), "BMCORE_DEMO": "0"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve("app.py", **make_site(tmp_path_factory.mktemp("flow"))) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def sign_in(browser, site: str, name: str, **context) -> Page:
    page = Page(browser, **context)
    page.page.goto(site)
    page.page.get_by_label("Name").fill(name)
    page.page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.page.get_by_role("button", name="Sign in").click()
    page.page.get_by_text(re.compile(f"^{name}, ")).wait_for()
    page.settle()
    return page


def answer(page: Page, form: str, primary: str, confidence: str) -> None:
    """The answer by one click, the confidence by a click into its field and the keyboard."""
    page.page.locator(form).get_by_text(primary, exact=True).first.click()
    page.page.locator(form).get_by_label(re.compile("sure", re.IGNORECASE)).first.click()
    page.page.keyboard.type(confidence)


def presses(page: Page) -> int:
    return page.page.evaluate("window.presses")


def test_a_reader_with_a_list_lands_on_the_next_sheet(browser, site: str) -> None:
    page = sign_in(browser, site, READER_A)
    page.page.wait_for_selector(READY)
    text = page.page.inner_text("body")
    assert "without the models" in text and "1 of 2" in text and "/study?" in page.page.url
    page.page.evaluate(COUNT)
    answer(page, ".stMain", "Melanoma", "60")
    page.button("Lock my answer").click()
    page.page.get_by_text("Now read it with the models").wait_for()
    assert presses(page) == 3
    page.page.get_by_role("link", name="Cases").click()  # asked for, the list stays
    page.page.get_by_text("3 cases", exact=True).wait_for()
    page.button("Read the next case: Case-3").wait_for()  # the other two belong to the study
    page.look()
    page.page.close()


def test_a_case_takes_four_clicks_and_the_next_one_follows(browser, site: str) -> None:
    page = sign_in(browser, site, READER_B)
    page.page.get_by_text("3 cases", exact=True).wait_for()
    page.page.evaluate(COUNT)
    page.button("Read the next case: Case-1").click()
    page.page.wait_for_selector(READY)
    page.settle()
    for case_id, following in (("Case-1", "Case-2"), ("Case-2", "Case-3")):
        assert f"case={case_id}" in page.page.url
        answer(page, ".st-key-vote_form", "Breast", "70")
        page.button("Store vote").click()
        page.page.get_by_text("Stored: Breast, 70 of 100").wait_for()
        page.button(f"Next unread case: {following}").click()
        page.page.wait_for_url(f"**case={following}*")
        page.page.wait_for_selector(READY)
        page.settle()
    assert presses(page) == 2 * 4 + 1  # and the one that opened the third
    page.page.get_by_role("link", name="Cases").click()
    page.button("Read the next case: Case-3").wait_for()
    page.page.get_by_text("Not read by me", exact=True).click()
    page.page.get_by_text("1 of 3 cases").wait_for()
    page.settle()
    click_row(page, 0)
    page.page.wait_for_url("**case=Case-3*")
    page.page.wait_for_selector(READY)
    page.look()
    page.page.close()


def click_row(page: Page, row: int) -> None:
    """A click into the middle of a row of the work list, far from its box and its name."""
    box = page.page.get_by_test_id("stDataFrame").bounding_box()
    page.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 36 + 64 * row + 32)


@pytest.mark.parametrize("size", [(1440, 900), (1024, 768)])
def test_the_viewer_is_above_the_fold(browser, site: str, size: tuple[int, int]) -> None:
    page = sign_in(browser, site, READER_B, size=size)
    page.page.goto(f"{site}/review?case=Case-3")
    page.page.wait_for_selector(READY)
    page.settle()
    box = page.page.locator(".viewer").bounding_box()
    assert box["y"] + box["height"] <= size[1]
    page.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_a_readers_pages(
    browser,
    site: str,
    axe: str,
    scheme: str,
) -> None:
    found = {}
    page = Page(browser, color_scheme=scheme)
    page.page.goto(f"{site}/sign-in")
    found["sign-in"] = grave(page, axe)
    page.page.close()
    page = sign_in(browser, site, READER_B, color_scheme=scheme)
    found["cases"] = grave(page, axe)
    for place, seen in (("review?case=Case-1", READY), ("models", "text=What they cannot do")):
        page.page.goto(f"{site}/{place}")
        page.page.wait_for_selector(seen, state="attached")
        page.settle()
        found[place] = grave(page, axe)
    page.page.close()
    assert not any(found.values()), json.dumps(found, indent=1)[:6000]


def grave(page: Page, script: str) -> list:
    """What axe calls serious or critical, outside the viewer, which has a test of its own."""
    page.page.evaluate(script)
    return [
        [*v[:2], [node[:300] for node in v[2]]]
        for v in page.page.evaluate(AXE)
        if v[0] in ("serious", "critical") and not all(".viewer" in n for n in v[2])
    ]


def test_an_investigator_renames_and_deletes_a_case(browser, site: str) -> None:
    page = sign_in(browser, site, "Prof Iris")
    page.page.get_by_text("3 cases", exact=True).wait_for()  # lands where the others read from
    page.page.goto(f"{site}/review?case=Case-1")
    page.button("Rename or delete").click()
    page.page.get_by_text("The case belongs to a locked study (small)").wait_for()
    for old, new in (("Case-3", "Better"), ("Better", None)):
        page.page.goto(f"{site}/review?case={old}")
        page.page.wait_for_selector(READY)
        page.settle()
        page.button("Rename or delete").click()
        page.page.get_by_label("Reason (it stays on record)").fill("sent twice")
        page.page.keyboard.press("Enter")
        page.settle()
        if new:
            page.page.get_by_label("New name (a pseudonym)").fill(new)
            page.page.keyboard.press("Enter")
            page.settle()
            page.button("Rename").last.click()
            page.page.wait_for_url(f"**case={new}*")
        else:
            page.button("Delete for good").click()
            page.page.get_by_text("Case Better is deleted.").wait_for()
    page.page.get_by_text("2 cases", exact=True).wait_for()
    page.look()
    page.page.close()
