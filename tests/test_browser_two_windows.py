"""One reader with the same form in two windows: what is refused leaves a form that can be sent."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.people_fixture import READER_A, READER_B
from tests.test_browser import CHROMIUM, Page, serve
from tests.test_browser_flow import READY, make_site, sign_in
from tests.test_browser_flow import browser as browser  # a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve("app.py", **make_site(tmp_path_factory.mktemp("windows"))) as address:
        yield address


def fill(window: Page, form: str, primary: str, confidence: str) -> None:
    """Over what a draft has filled in."""
    window.page.locator(form).get_by_text(primary, exact=True).first.click()
    window.page.locator(form).get_by_label(re.compile("sure", re.IGNORECASE)).first.fill(confidence)
    window.page.keyboard.press("Tab")
    window.settle()


def two_windows(browser, site: str, name: str, form: str, place: str = "") -> tuple[Page, Page]:
    """Both with the same form, filled in differently."""
    windows = []
    for primary, confidence in (("Breast", "70"), ("Melanoma", "40")):
        window = sign_in(browser, site, name)
        if place:
            window.page.goto(f"{site}/{place}")
        window.page.wait_for_selector(READY)
        window.settle()
        fill(window, form, primary, confidence)
        windows.append(window)
    return windows[0], windows[1]


def test_a_vote_refused_for_one_in_another_window_asks_for_the_reason(browser, site: str) -> None:
    first, second = two_windows(browser, site, READER_B, ".st-key-vote_form", "review?case=Case-3")
    first.button("Store vote").click()
    first.page.get_by_text("Stored: Breast, 70 of 100").wait_for()
    second.button("Store vote").click()
    second.page.get_by_text("has already voted on case Case-3 without the models").wait_for()
    second.page.get_by_text("Your vote: Breast, 70 of 100").wait_for()
    reason = second.page.get_by_label("Why are you changing your vote?")
    reason.wait_for()
    assert second.page.get_by_role("radio", name="Melanoma").is_checked()
    reason.fill("looked again")
    second.button("Store vote").click()
    second.page.get_by_text("Stored: Melanoma, 40 of 100").wait_for()
    first.button("Show the models' answers").click()
    first.page.get_by_text("Your vote, with the models").wait_for(state="attached")
    second.page.get_by_text("Change this vote").click()
    fill(second, ".st-key-vote_form", "Renal cell", "50")
    second.page.get_by_label("Why are you changing your vote?").fill("and again")
    second.button("Store vote").click()
    second.page.get_by_text("the vote without them is closed for good").wait_for()
    second.page.get_by_text("Your vote, with the models").wait_for(state="attached")
    for window in (first, second):
        window.look()
        window.page.close()


def test_a_sheet_locked_in_another_window_gives_way_to_the_next_one(browser, site: str) -> None:
    first, second = two_windows(browser, site, READER_A, ".stMain")
    first.button("Lock my answer").click()
    first.page.get_by_text("Now read it with the models").wait_for()
    second.button("Lock my answer").click()
    second.page.get_by_text("Not locked.").wait_for()
    second.page.locator(".case-line b", has_text="with the models").wait_for()
    for window in (first, second):
        window.look()
        window.page.close()
