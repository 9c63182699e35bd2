"""Every screen in light and dark, 1440 x 900 and 1024 x 768: nothing is cut off or broken.

With BMCORE_SCREENSHOTS=1 (``make screenshots``) the demo cases are read by the shipped models and
the pictures go to docs/screens/; otherwise small made-up cases and predictions are used. One page
is opened once; size and scheme change while it stands there, as on a reader's own desk.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmcore.settings import PROJECT
from tests import pages_home, people_fixture
from tests.test_browser import CHROMIUM, FLAGS, Page, canvas, playwright, serve

SHOOT = os.environ.get("BMCORE_SCREENSHOTS") == "1"
SHOTS = PROJECT / "docs" / "screens"
SIZES = {"1440": (1440, 900), "1024": (1024, 768)}
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # 3D without a graphics card
HOME_AS_USUAL = """() => [...document.querySelectorAll('code')]
  .filter((code) => /^\\/.*\\/home$/.test(code.textContent))
  .forEach((code) => (code.textContent = '~/.bmcore'))"""  # not the test's own folder
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *WEBGL])
        yield opened
        opened.close()


def demo_home(home: Path) -> tuple[dict[str, str], list[str]]:
    """The demo cases; the shipped models have read two of them."""
    from bmcore.inference import archive, pipeline
    from bmcore.inference.demo import ensure_demo_cases
    from bmcore.intake import library
    from bmcore.models.bundles import load_bundle

    cases = ensure_demo_cases(home)
    bundle = load_bundle(PROJECT / "models" / "demo")
    for case_id in cases[:2]:
        archive.keep(home, pipeline.predict(library.load_case(home, case_id), bundle))
    return {}, cases


def small_home(home: Path, work: Path) -> tuple[dict[str, str], list[str]]:
    """Made-up cases and predictions, with models of random numbers."""
    info = pages_home.make_bundle(work / "models")
    cases = ["Case-1", "Case-2"]
    for case_id in cases:
        case = pages_home.add_case(home, work / "files", case_id)
        pages_home.store_prediction(home, case, info)
    return {"BMCORE_BUNDLE": str(work / "models"), "BMCORE_DEMO": "0"}, cases


def store_votes(home: Path, cases: list[str]) -> None:
    """Dr Test has read two cases without and with the models, Dr New none."""
    from bmcore.review.store import open_store
    from bmcore.review.votes import Evidence, VoteDraft

    store = open_store(f"sqlite:///{home / 'bmcore.sqlite'}")
    for name in ("Dr Test", "Dr New"):
        store.add_reader(name, "neuroradiologist")
    for case_id in cases[:2]:
        for phase, quality in (("unaided", None), ("aided", 4)):
            draft = VoteDraft(
                case_id=case_id,
                reader="Dr Test",
                role="neuroradiologist",
                phase=phase,
                primary="melanoma",
                confidence=60,
                idempotency_key=f"{case_id} {phase}",
                segmentation_quality=quality,
            )
            if phase == "aided":
                store.show_models("Dr Test", case_id, Evidence(bundle="made up"))
            store.add_vote(draft)
    store.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    from bmcore.intake import library
    from pages.parts.viewer import block_cache

    work = tmp_path_factory.mktemp("screens")
    home = work / "home"
    home.mkdir()
    environment, cases = demo_home(home) if SHOOT else small_home(home, work)
    store_votes(home, cases)
    for entry in library.list_cases(home):
        block_cache.block(home, entry, "t1c")  # and the picture of the work list
    with serve("app.py", BMCORE_HOME=str(home), **environment) as address:
        yield address, cases


def look(page: Page, name: str, every: bool = True) -> None:
    """In both schemes and sizes: nothing is wrong or sticks out; a picture where asked for.

    every: keep all four pictures, else one in light and one in dark.
    """
    page.settle()
    page.check()
    for scheme in ("light", "dark") if SHOOT else ("dark",):
        page.page.emulate_media(color_scheme=scheme)
        for size, (width, height) in SIZES.items():
            page.page.set_viewport_size({"width": width, "height": height})
            ground = "() => getComputedStyle(document.querySelector('.stApp')).backgroundColor"
            wanted = "rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 24, 29)"
            page.page.wait_for_function(f"({ground})() === '{wanted}'")
            page.page.wait_for_function(f"({WIDER})() <= 0")
            if SHOOT and (every or (scheme, size) in (("light", "1440"), ("dark", "1024"))):
                keep(page, f"{name}-{scheme}-{size}")
    page.page.set_viewport_size({"width": 1440, "height": 900})


def keep(page: Page, name: str) -> None:
    """A small PNG: 64 greys for the images and 192 colours for the rest."""
    import numpy as np
    from PIL import Image

    page.page.evaluate(HOME_AS_USUAL)
    page.page.evaluate("() => new Promise(r => requestAnimationFrame(() => setTimeout(r, 400)))")
    SHOTS.mkdir(parents=True, exist_ok=True)
    taken = Image.open(io.BytesIO(page.page.screenshot())).convert("RGB")
    pixels = np.asarray(taken).reshape(-1, 3)
    colourful = pixels[np.ptp(pixels, axis=1) > 10]
    palette = Image.new("P", (1, 1))
    greys = np.repeat(np.linspace(0, 255, 64).round().astype(np.uint8), 3)
    colours = Image.fromarray(colourful[None]).quantize(192).getpalette() or []
    palette.putpalette([*greys.tolist(), *colours[: 3 * 192]])
    small = taken.quantize(palette=palette, dither=Image.Dither.NONE)
    small.save(SHOTS / f"{name}.png", optimize=True)


@pytest.mark.timeout(1500)
def test_the_work_list_and_a_blinded_reading(browser, site: tuple[str, list[str]]) -> None:
    address, cases = site
    page = Page(browser)
    page.page.goto(address)
    page.page.get_by_text("Add a case", exact=True).wait_for()
    look(page, "cases")
    page.page.goto(f"{address}/review?case={cases[0]}")
    page.page.wait_for_selector('.viewer[data-loaded="4"]')
    look(page, "review-unaided")
    assert page.viewer()["mask"] == "0"
    page.page.close()


@pytest.mark.timeout(1500)
def test_a_reading_with_the_models(browser, site: tuple[str, list[str]]) -> None:
    address, cases = site
    page = Page(browser)
    page.page.goto(f"{address}/review?case={cases[0]}")
    page.page.get_by_label("Name or initials").click()
    page.page.keyboard.type("Dr Test")
    page.page.keyboard.press("Enter")
    page.page.get_by_role("tab", name="Answers").wait_for()
    page.page.wait_for_selector('.viewer[data-mask="1"][data-loaded="4"]')
    page.page.get_by_test_id("stPlotlyChart").first.wait_for()
    canvas(page, "axial").focus()
    page.page.keyboard.press("l")
    page.page.wait_for_selector('.viewer[data-lesion="1"]')
    page.button(cases[1]).wait_for()  # a similar case
    look(page, "review-answers")
    page.button(cases[1]).evaluate("e => e.scrollIntoView({block: 'center'})")
    look(page, "review-similar", every=False)
    page.button(cases[1]).evaluate("() => document.querySelector('.stMain').scrollTo(0, 0)")
    page.page.get_by_role("tab", name="Lesions").click()
    page.button("Show for lesion 1").click()
    page.page.get_by_text(re.compile("map for lesion 1")).first.wait_for()
    checked = page.page.get_by_text(re.compile("Is the map on the lesion|nothing to check"))
    checked.wait_for(timeout=180_000)  # the worker starts, loads the models and makes the map
    look(page, "review-lesions", every=False)
    checked.evaluate("e => e.scrollIntoView({block: 'center'})")
    look(page, "review-map-check", every=False)
    checked.evaluate("() => document.querySelector('.stMain').scrollTo(0, 0)")
    for tab in ("Why", "What if", "Your vote"):
        page.page.get_by_role("tab", name=tab).click()
        look(page, f"review-{tab.lower().replace(' ', '-')}", every=False)
    the_header_stays(page)
    page.page.close()


@pytest.mark.timeout(1500)
def test_the_3d_view_draws_a_head_and_fetches_nothing_from_elsewhere(
    browser, site: tuple[str, list[str]]
) -> None:
    """Without a graphics card each drawing takes seconds: one size, one scheme."""
    address, cases = site
    page = Page(browser)
    page.page.goto(f"{address}/review?case={cases[0]}")
    page.page.wait_for_selector('.viewer[data-loaded="4"]')
    page.page.get_by_text("3D view", exact=True).click()
    drawn = page.page.frame_locator("iframe").locator("canvas")
    drawn.wait_for()
    drawn.scroll_into_view_if_needed()
    for _ in range(60):
        if bright(drawn.screenshot()) > 0.02:
            break
        page.page.wait_for_timeout(1000)
    assert 0.02 < bright(drawn.screenshot()) < 0.9
    page.check()
    if SHOOT:
        keep(page, "review-3d-light-1440")
    page.page.close()


def bright(png: bytes) -> float:
    """The share of pixels that are neither black nor nearly so."""
    import numpy as np
    from PIL import Image

    return float((np.asarray(Image.open(io.BytesIO(png)).convert("L")) > 50).mean())


def the_header_stays(page: Page) -> None:
    page.page.mouse.move(5, 500)
    page.page.mouse.wheel(0, 600)
    page.page.wait_for_timeout(300)
    for name, lowest in (("case_header", 140), ("viewer_side", 200)):
        top = page.page.locator(f".st-key-{name}").bounding_box()
        assert top is not None and 0 <= top["y"] < lowest, f"{name} scrolled away"


@pytest.mark.timeout(1500)
def test_the_other_pages(browser, site: tuple[str, list[str]]) -> None:
    address, _ = site
    page = Page(browser)
    for name, words in (("agreement", "All votes"), ("reports", "Build report"), ("models", None)):
        page.page.goto(f"{address}/{name}")
        if name == "models":
            page.page.get_by_role("tab", name="Use and limits").click()
            words = "What they cannot do"
        if name == "agreement":
            page.page.get_by_role("button", name="Show the results on all cases").click()
        page.page.get_by_text(words, exact=name == "agreement").first.wait_for()
        look(page, name)
    page.page.close()


@pytest.fixture
def study_site(tmp_path: Path) -> Iterator[str]:
    """Accounts and a study that has begun; reader A has read the first case without the models."""
    from bmcore.review.reading_session import ReadingSession
    from bmcore.review.store import open_store
    from bmcore.review.worklist import Seconds

    home = tmp_path / "home"
    home.mkdir()
    environment, cases = demo_home(home) if SHOOT else small_home(home, tmp_path)
    study = people_fixture.make_study(cases[:2])
    people_fixture.start(home, study, with_accounts=True)
    with open_store(people_fixture.url(home)) as store:
        desk = ReadingSession(store, study.study)
        work = desk.next("ra")
        assert work is not None
        place = work.item.place
        desk.submit(place, people_fixture.answers_for(study, place.arm), Seconds(30, 2), "first")
    with serve("app.py", BMCORE_HOME=str(home), **environment) as address:
        yield address


@pytest.mark.timeout(1500)
def test_the_pages_of_a_study_and_of_accounts(browser, study_site: str) -> None:
    reader = signed_in(browser, study_site, people_fixture.READER_A, look_at_sign_in)
    reader.page.goto(f"{study_site}/study")
    read = reader.page.get_by_role("button", name=re.compile("^(Read next|Go on with) case"))
    read.first.wait_for()
    look(reader, "study")
    read.first.click()
    reader.page.wait_for_selector('.viewer[data-loaded="4"]')
    look(reader, "study-sheet")
    reader.page.close()
    keeper = signed_in(browser, study_site, "Max Admin")
    for name in ("study_manage", "accounts"):
        keeper.page.goto(f"{study_site}/{name}")
        keeper.page.get_by_role("heading").first.wait_for()
        look(keeper, name.replace("_", "-"))
    keeper.page.close()


def look_at_sign_in(page: Page) -> None:
    """Our own page, without Streamlit: nothing sticks out, in any width and scheme."""
    page.check()
    for scheme in ("light", "dark"):
        page.page.emulate_media(color_scheme=scheme)
        for name, (width, height) in {**SIZES, "390": (390, 844)}.items():
            page.page.set_viewport_size({"width": width, "height": height})
            ground = page.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 24, 29)")
            assert page.page.evaluate(f"({WIDER})()") <= 0
            if SHOOT and name in SIZES:
                keep(page, f"sign-in-{scheme}-{name}")
    page.page.set_viewport_size({"width": 1440, "height": 900})


def signed_in(browser, address: str, name: str, before=lambda page: None) -> Page:
    page = Page(browser)
    page.page.goto(address)
    page.page.get_by_label("Name").wait_for()
    before(page)
    page.page.get_by_label("Name").fill(name)
    page.page.get_by_label("Password", exact=True).fill(people_fixture.PASSWORD)
    page.page.get_by_role("button", name="Sign in").click()
    page.page.get_by_text(re.compile(f"^{name}, ")).wait_for()
    return page


@pytest.mark.timeout(900)
def test_a_lost_server_is_said_in_our_words_and_reading_goes_on(browser, tmp_path: Path) -> None:
    """Streamlit's own dialog would cover the page and take mouse and keys away."""
    home = tmp_path / "home"
    home.mkdir()
    environment, cases = small_home(home, tmp_path)
    page = Page(browser)
    with serve("app.py", BMCORE_HOME=str(home), **environment) as address:
        page.page.goto(f"{address}/review?case={cases[0]}")
        page.page.wait_for_selector('.viewer[data-loaded="4"]')
        page.settle()
        assert page.page.evaluate(BANNER) == ["none", "1"]
    page.page.get_by_test_id("stDialog").wait_for(state="attached")
    page.page.wait_for_function(f"() => ({BANNER})().join() !== 'none,1'")
    words, _ = page.page.evaluate(BANNER)
    assert "The connection to the server is lost" in words
    page.page.wait_for_function(f"() => ({BANNER})()[1] === '1'")
    assert not page.page.get_by_test_id("stDialog").is_visible()
    start = page.viewer()["axial"]
    page.page.wait_for_function("() => !document.querySelector('.stApp').closest('[inert]')")
    canvas(page, "axial").hover()
    page.page.mouse.wheel(0, -100)
    page.page.wait_for_function(
        "n => [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]"
        ".some(h => (h.shadowRoot?.querySelector('.viewer')?.dataset.axial ?? n) !== n)",
        arg=start,
    )
    page.page.close()


BANNER = """() => {
  const {content, opacity} = getComputedStyle(document.body, '::before');
  return [content, opacity];
}"""
