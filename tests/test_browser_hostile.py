"""Files made to do harm, given to the real server: it refuses them and answers others meanwhile."""

from __future__ import annotations

import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bmcore.review.store import open_store
from bmcore.review.votes import VoteDraft
from tests import test_hostile_files as hostile
from tests.test_browser import CHROMIUM, FLAGS, Page, open_aligned_files, playwright, serve

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="memory is read from /proc"),
]
COMMENT = "=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One vote with a comment that a spreadsheet would run."""
    folder = tmp_path_factory.mktemp("home")
    with open_store(f"sqlite:///{folder / 'bmcore.sqlite'}") as store:
        store.add_reader("Reader One", "radiologist")
        store.add_vote(
            VoteDraft(
                case_id="P0",
                reader="Reader One",
                role="radiologist",
                phase="unaided",
                primary="rcc",
                confidence=41,
                comment=COMMENT,
                idempotency_key="a form",
            )
        )
    return folder


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[str]:
    with serve("app.py", BMCORE_HOME=str(home), BMCORE_DEMO="0") as address:
        yield address


def memory_bytes(site: str) -> int:
    """What the server holds in memory now."""
    port = site.rsplit(":", 1)[1]
    for place in Path("/proc").glob("[0-9]*"):
        try:
            told = (place / "cmdline").read_bytes().decode(errors="replace")
            if f"--server.port={port}" in told:
                pages = int((place / "statm").read_text().split()[1])
                return pages * os.sysconf("SC_PAGE_SIZE")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    raise AssertionError("no server")


@contextmanager
def watched(site: str) -> Iterator[dict[str, float]]:
    """The longest wait of somebody else for an answer (s), and the most memory (bytes) added."""
    before, worst, done = memory_bytes(site), {"wait_s": 0.0, "more": 0.0}, threading.Event()

    def look() -> None:
        while not done.is_set():
            started = time.monotonic()
            urllib.request.urlopen(f"{site}/_stcore/health", timeout=60).close()
            worst["wait_s"] = max(worst["wait_s"], time.monotonic() - started)
            worst["more"] = max(worst["more"], memory_bytes(site) - before)
            time.sleep(0.1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield worst
    finally:
        done.set()
        thread.join()


def refused(page: Page, site: str, sentence: str, send) -> None:
    with watched(site) as worst:
        started = time.monotonic()
        send()
        page.page.get_by_text(sentence).wait_for()
        spent = time.monotonic() - started
    assert spent < 10 and worst["wait_s"] < 5 and worst["more"] < 2**30, (spent, worst)


def give(page: Page, path: Path) -> None:
    """Choose a file on the Cases page; the form is open while there are no cases."""
    page.page.get_by_text("Add a case", exact=True).wait_for()
    page.settle()
    open_aligned_files(page)
    uploader = page.page.get_by_test_id("stFileUploader")
    uploader.locator('input[type="file"]').first.set_input_files(path)
    page.page.get_by_text("Check which sequence each file is").wait_for()


def test_430_bytes_of_yaml_as_a_plan_are_refused(browser, site, tmp_path):
    hostile.aliases(tmp_path / "study.yaml")
    page = Page(browser)
    page.page.goto(f"{site}/study_manage")
    page.page.get_by_text("No study has been started").wait_for()
    page.page.get_by_role("radio", name="Use a file").click()
    box = page.page.locator('input[type="file"][accept*=".yaml"]')
    box.wait_for(state="attached")
    sentence = "anchors and aliases (& and *) are not used in a plan"
    refused(page, site, sentence, lambda: box.set_input_files(tmp_path / "study.yaml"))
    page.check()
    page.page.close()


def test_an_image_of_gigabytes_is_refused_by_the_name_that_the_user_gave_it(
    browser, site, home, tmp_path
):
    path = tmp_path / "My scan t1c.nii.gz"
    hostile.large_image(path)
    page = Page(browser)
    page.page.goto(site)
    give(page, path)
    page.page.get_by_label("Name of the case (a pseudonym)").fill("P1")
    page.page.keyboard.press("Tab")
    page.settle()
    sentence = "My scan t1c.nii.gz: the image is too large"
    refused(page, site, sentence, lambda: page.button("Add case").click())
    assert list((home / "cases").glob("*")) == []
    page.check()
    page.page.close()


def test_a_spreadsheet_that_swells_is_refused(browser, site, tmp_path):
    path = tmp_path / "My table.xlsx"
    hostile.many_sheets(path)
    image = tmp_path / "a t1c.nii.gz"
    image.write_bytes(hostile.mutants.whole_file("nii.gz"))
    page = Page(browser)
    page.page.goto(site)
    give(page, image)
    page.page.get_by_role("tab", name="Read it from a table").click()
    page.settle()
    box = page.page.locator('input[type="file"]').nth(1)
    sentence = "My table.xlsx: the spreadsheet has no sheet 'Data'"
    refused(page, site, sentence, lambda: box.set_input_files(path))
    page.check()
    page.page.close()


def test_the_table_of_all_votes_has_no_download_and_no_copy(browser, site):
    page = Page(browser)
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.page.goto(f"{site}/agreement")
    page.page.get_by_text("All votes", exact=True).click()
    tables = page.page.get_by_test_id("stDataFrame").filter(visible=True)
    tables.last.wait_for()
    page.settle()
    for number in range(tables.count()):
        table = tables.nth(number)
        table.scroll_into_view_if_needed()
        table.hover()
        page.page.wait_for_timeout(300)
        bar = table.get_by_test_id("stElementToolbarButton").get_by_role("button")
        names = [bar.nth(n).get_attribute("aria-label") or "" for n in range(bar.count())]
        assert any("Search" in name for name in names)  # the bar is there
        assert not [name for name in names if "Download" in name]
    page.page.evaluate("navigator.clipboard.writeText('nothing')")
    tables.last.click(position={"x": 60, "y": 52})  # waits until it stands still
    page.page.keyboard.press("Control+a")
    page.page.keyboard.press("Control+c")
    page.page.wait_for_timeout(500)
    assert page.page.evaluate("navigator.clipboard.readText()") == "nothing"
    page.page.close()
