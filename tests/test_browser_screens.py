"""Every screen in light and dark, 1440 x 900 and 1024 x 768: nothing is cut off or broken.

With BMCORE_SCREENSHOTS=1 (``make screenshots``) the demo case is read by the shipped models and the
pictures go to docs/screenshots/screens/; otherwise a small made-up case and prediction are used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmcore.settings import PROJECT
from tests import pages_home
from tests.test_browser import CHROMIUM, FLAGS, SHOTS, Page, canvas, playwright, serve

SHOOT = os.environ.get("BMCORE_SCREENSHOTS") == "1"
SIZES = {"1440": (1440, 900), "1024": (1024, 768)}
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def demo_home(home: Path) -> tuple[dict[str, str], str]:
    """A demo case that the shipped models have read."""
    from bmcore.intake import library
    from bmcore.models.bundles import load_bundle
    from bmcore.reading import archive, pipeline
    from bmcore.reading.demo import ensure_demo_cases

    case_id = ensure_demo_cases(home)[0]
    bundle = load_bundle(PROJECT / "models" / "demo")
    archive.keep(home, pipeline.predict(library.load_case(home, case_id), bundle))
    return {}, case_id


def small_home(home: Path, work: Path) -> tuple[dict[str, str], str]:
    """A made-up case and prediction, with models of random numbers."""
    info = pages_home.make_bundle(work / "models")
    case = pages_home.add_case(home, work / "files", "Case-1")
    pages_home.store_prediction(home, case, info)
    return {"BMCORE_BUNDLE": str(work / "models"), "BMCORE_DEMO": "0"}, "Case-1"


def store_votes(home: Path, case_id: str) -> None:
    """Dr Test has read the case without and with the models, Dr New has not."""
    from bmcore.review.store import open_store
    from bmcore.review.votes import VoteDraft

    store = open_store(f"sqlite:///{home / 'bmcore.sqlite'}")
    for name in ("Dr Test", "Dr New"):
        store.add_reader(name, "neuroradiologist")
    for phase, quality in (("unaided", None), ("aided", 4)):
        draft = VoteDraft(
            case_id=case_id,
            reader="Dr Test",
            role="neuroradiologist",
            phase=phase,
            primary="melanoma",
            confidence=60,
            idempotency_key=phase,
            segmentation_quality=quality,
        )
        store.add_vote(draft)
    store.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    work = tmp_path_factory.mktemp("screens")
    home = work / "home"
    home.mkdir()
    environment, case_id = demo_home(home) if SHOOT else small_home(home, work)
    store_votes(home, case_id)
    with serve("app.py", BMCORE_HOME=str(home), **environment) as address:
        yield address, case_id


def look(page: Page, name: str) -> None:
    """Nothing is wrong, nothing sticks out to the side; a picture where asked for."""
    page.settle()
    page.check()
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.page.evaluate(wide) <= 0, f"{name} is wider than the window"
    if SHOOT:
        (SHOTS / "screens").mkdir(parents=True, exist_ok=True)
        page.page.screenshot(path=SHOTS / "screens" / f"{name}.png")


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.timeout(1500)
def test_every_screen(browser, site: tuple[str, str], scheme: str, size: str) -> None:
    address, case_id = site
    page = Page(browser, SIZES[size], color_scheme=scheme)
    ending = f"{scheme}-{size}"
    page.page.goto(address)
    page.page.get_by_text("Add a case", exact=True).wait_for()
    page.page.get_by_text(re.compile("Preparing images")).wait_for(state="detached")
    look(page, f"cases-{ending}")
    page.page.goto(f"{address}/review?case={case_id}")
    page.page.wait_for_selector('.viewer[data-loaded="4"]')
    look(page, f"review-unaided-{ending}")
    page.page.get_by_label("Name or initials").click()
    page.page.keyboard.type("Dr Test")
    page.page.keyboard.press("Enter")
    page.page.get_by_role("tab", name="Answers").wait_for()
    page.page.wait_for_selector('.viewer[data-mask="1"]')
    page.page.get_by_test_id("stPlotlyChart").first.wait_for()
    canvas(page, "axial").focus()
    page.page.keyboard.press("l")
    look(page, f"review-answers-{ending}")
    for tab in ("Lesions", "Why", "What if", "Your vote"):
        page.page.get_by_role("tab", name=tab).click()
        look(page, f"review-{tab.lower().replace(' ', '-')}-{ending}")
    header = page.page.locator(".st-key-case_header")
    page.page.mouse.move(5, 500)
    page.page.mouse.wheel(0, 600)
    page.page.wait_for_timeout(300)
    top = header.bounding_box()
    assert top is not None and 0 <= top["y"] < 120, "the case header scrolled away"
    for name, words in (
        ("Agreement", "All votes"),
        ("Reports", "Build report"),
        ("Models", "What they cannot do"),
    ):
        page.page.get_by_role("link", name=name).click()
        page.page.get_by_text(words, exact=name == "Agreement").first.wait_for()
        look(page, f"{name.lower()}-{ending}")
    page.page.close()
