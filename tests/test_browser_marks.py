"""Nothing that a reader does is lost: marks, strokes, the vote form and the view, in Chromium."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import pages_home
from tests.test_browser import CHROMIUM, FLAGS, Page, canvas, playwright, serve, vote
from tests.test_browser_viewer import READY, drag, keys, tool, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
STORED = {"saved": "saved", "waiting": "0"}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """One server for all tests; each test has a case of its own."""
    work = tmp_path_factory.mktemp("marks")
    with serve("app.py", **make_home(work)) as address:
        yield address, work


def make_home(work: Path) -> dict[str, str]:
    from bmcore.review.store import open_store

    (work / "home").mkdir()
    pages_home.make_bundle(work / "models")
    with open_store(f"sqlite:///{work / 'home' / 'bmcore.sqlite'}") as store:
        store.add_reader("Dr Test", "neuroradiologist")
    return {
        "BMCORE_HOME": str(work / "home"),
        "BMCORE_BUNDLE": str(work / "models"),
        "BMCORE_DEMO": "0",
    }


def add_case(work: Path, case_id: str) -> str:
    from bmcore.models.bundles import load_bundle

    case = pages_home.add_case(work / "home", work / "files", case_id)
    pages_home.store_prediction(work / "home", case, load_bundle(work / "models").info)
    return case_id


@pytest.fixture
def review(browser, site, request):
    """The Review page of a new case, in a new browser."""
    address, work = site
    words = re.sub(r"[^a-z]+", "-", request.node.name.removeprefix("test_"))
    case_id = add_case(work, words[-50:].strip("-"))
    windows = browser.new_context(viewport={"width": 1440, "height": 900})
    page = window(windows, f"{address}/review?case={case_id}")
    yield page
    page.check()
    windows.close()


class Windows:
    """Lets ``Page`` open a window of a browser that keeps what it holds for all its windows."""

    def __init__(self, context) -> None:
        self.context = context

    def new_page(self, **_):
        return self.context.new_page()


def window(context, url: str) -> Page:
    page = Page(Windows(context))
    page.page.set_default_timeout(90_000)
    page.page.goto(url)
    page.page.wait_for_selector(READY)
    page.settle()
    return page


def sign_in(page: Page) -> None:
    page.page.get_by_label("Name or initials").click()
    page.page.keyboard.type("Dr Test")
    page.page.keyboard.press("Enter")
    named(page)


def reload(page: Page) -> None:
    page.page.reload()
    page.page.wait_for_selector(READY)
    page.settle()


def named(page: Page, name: str = "Dr Test") -> None:
    """Wait until the page knows who reads."""
    page.page.get_by_text(re.compile(f"^Reader: {name}")).wait_for()
    page.settle()


def read_aided(page: Page) -> None:
    """A reader who has voted without the models and sees their answers."""
    sign_in(page)
    vote(page, "Melanoma", "60")
    show_answers(page)


def show_answers(page: Page) -> None:
    button = page.button("Show the models' answers")
    shown = page.page.locator('.viewer[data-mask="1"]')
    button.or_(shown).first.wait_for()
    if button.count():
        button.click()
    page.page.wait_for_selector('.viewer[data-mask="1"]')
    page.settle()


def rows(work: Path, table: str, case_of: Page) -> list[tuple]:
    """Actions of the chained rows of this page's case, in order, with the reader's name."""
    case_id = re.search("case=([a-z-]+)", case_of.page.url).group(1)  # type: ignore[union-attr]
    with sqlite3.connect(work / "home" / "bmcore.sqlite") as connection:
        query = f"SELECT reader, action FROM {table} WHERE case_id = ? ORDER BY id"
        return connection.execute(query, (case_id,)).fetchall()


def kept_in_browser(page: Page) -> list[str]:
    """What the browser still holds back for the server."""
    look = "() => [localStorage, sessionStorage].flatMap((s) => Object.keys(s))"
    return [name for name in page.page.evaluate(look) if name.startswith("bmcore%20unsent")]


# ---- marks -----------------------------------------------------------------------------------


def test_marks_of_the_aided_phase_are_there_after_a_reload(review: Page, site) -> None:
    """Answers shown, no aided vote yet; the next mark takes nothing away either."""
    read_aided(review)
    canvas(review, "axial").focus()
    keys(review, "d", *["Shift+ArrowRight"] * 5, "d", "l", "a")
    until(review, marks="length accept", **STORED)
    assert review.page.get_by_text(re.compile(r"^Saved \d\d:\d\d$")).is_visible()
    assert kept_in_browser(review) == []
    reload(review)
    named(review)
    show_answers(review)
    until(review, marks="length accept", **STORED)
    canvas(review, "axial").focus()
    keys(review, "m")
    until(review, marks="length accept missed", **STORED)
    assert rows(site[1], "marks", review) == [("Dr Test", "set")] * 3


def test_naming_the_reader_changes_nothing_in_the_viewer_and_keeps_what_was_measured(
    review: Page, site
) -> None:
    canvas(review, "axial").focus()
    keys(review, "ArrowUp", "ArrowUp", "4", "+", "+", "d", *["Shift+ArrowRight"] * 5, "d", "m")
    until(review, marks="length missed", saved="wait")
    assert review.page.get_by_text("Not saved yet: say who is reading").is_visible()
    seen = ("axial", "coronal", "sagittal", "sequence", "zoom", "marks")
    before = {name: review.viewer()[name] for name in seen}
    sign_in(review)
    until(review, **STORED)
    assert {name: review.viewer()[name] for name in seen} == before
    assert before["sequence"] == "t2f" and float(before["zoom"]) > 1.2
    assert rows(site[1], "marks", review) == [("Dr Test", "set")] * 2
    reload(review)
    named(review)
    until(review, marks="length missed", **STORED)
    assert {name: review.viewer()[name] for name in seen} == before


def test_nameless_marks_survive_a_reload_and_wait_in_their_window(review: Page, site) -> None:
    canvas(review, "axial").focus()
    keys(review, "m")
    until(review, marks="missed", saved="wait")
    reload(review)
    until(review, marks="missed", saved="wait")
    other = window(review.page.context, review.page.url)  # the same browser, another window
    until(other, marks="", saved="none")
    other.page.close()
    sign_in(review)
    until(review, marks="missed", **STORED)


def test_two_windows_with_different_marks_keep_them_all(review: Page, site) -> None:
    sign_in(review)
    other = window(review.page.context, review.page.url)
    sign_in(other)
    for one, plane in ((review, "axial"), (other, "coronal")):
        one.page.bring_to_front()
        canvas(one, plane).focus()
        keys(one, "ArrowUp", "m")
        until(one, **STORED)
    reload(other)
    named(other)
    until(other, marks="missed missed", **STORED)
    assert rows(site[1], "marks", review) == [("Dr Test", "set")] * 2
    other.page.close()


def test_a_deleted_mark_can_be_brought_back_also_after_a_reload(review: Page, site) -> None:
    sign_in(review)
    canvas(review, "axial").focus()
    keys(review, "d", *["Shift+ArrowRight"] * 5, "d", "m")
    until(review, marks="length missed", **STORED)
    tool(review, "Your marks 2")
    review.button("Delete: Measured 5.0 mm, axial").click()
    until(review, marks="missed", removed="1", **STORED)
    reload(review)
    named(review)
    until(review, marks="missed", removed="1")
    tool(review, "Your marks 1")
    review.button("Bring back: Measured 5.0 mm, axial").click()
    until(review, marks="length missed", removed="0", **STORED)
    canvas(review, "axial").focus()
    keys(review, "u")
    until(review, marks="missed", **STORED)
    keys(review, "Shift+U")
    until(review, marks="length missed", **STORED)
    actions = [action for _, action in rows(site[1], "marks", review)]
    assert actions == ["set", "set", "removed", "restored", "removed", "restored"]


# ---- brush -----------------------------------------------------------------------------------


def test_a_stroke_is_there_after_a_reload_without_any_click_and_going_back_can_be_undone(
    review: Page, site
) -> None:
    read_aided(review)
    models = review.viewer()["maskId"]
    canvas(review, "axial").focus()
    keys(review, "b")
    drag(review, "axial", (0.42, 0.3), (0.48, 0.3))
    until(review, **STORED)
    painted = review.viewer()["maskId"]
    assert painted != models
    reload(review)
    named(review)
    show_answers(review)
    until(review, **{"mask-id": painted})
    review.page.get_by_role("tab", name="Lesions").click()
    review.page.get_by_text("The viewer shows your corrected segmentation").wait_for()
    review.button("Back to the models' segmentation").click()
    assert review.viewer()["maskId"] == painted  # it asks first
    review.button("Put my correction aside").click()
    until(review, **{"mask-id": models})
    reload(review)
    named(review)
    show_answers(review)
    until(review, **{"mask-id": models})
    review.page.get_by_role("tab", name="Lesions").click()
    review.button("Undo: bring my correction back").click()
    until(review, **{"mask-id": painted})
    actions = [action for _, action in rows(site[1], "mask_versions", review)]
    assert actions == ["saved", "dropped", "restored"]


def test_a_changed_mask_file_is_said_and_the_page_goes_on(review: Page, site) -> None:
    read_aided(review)
    models = review.viewer()["maskId"]
    canvas(review, "axial").focus()
    keys(review, "b")
    drag(review, "axial", (0.42, 0.3), (0.48, 0.3))
    until(review, **STORED)
    files = list((site[1] / "home" / "marks").rglob("*.nii.gz"))
    newest = max(files, key=lambda path: path.stat().st_mtime_ns)
    good = newest.read_bytes()
    newest.write_bytes(good[:-9])
    reload(review)
    named(review)
    show_answers(review)
    words = "Your corrected segmentation is not shown: .*was changed after it was stored"
    review.page.get_by_text(re.compile(words)).wait_for()
    until(review, **{"mask-id": models})
    newest.write_bytes(good)


# ---- the vote form ---------------------------------------------------------------------------


def form(page: Page):
    return page.page.locator(".st-key-vote_form")


def fill(page: Page, words: str) -> None:
    """A form that was left in the middle of a word: the field has the focus still."""
    form(page).get_by_text("Melanoma", exact=True).click()
    page.settle()
    page.page.get_by_label(re.compile("How sure")).fill("35")
    page.page.get_by_label("Comment (optional)").press_sequentially(words, delay=20)
    page.page.wait_for_timeout(1500)
    page.settle()


def filled(page: Page, words: str) -> None:
    form(page).locator('input[type="radio"]:checked').wait_for(state="attached")
    assert page.page.get_by_label(re.compile("How sure")).input_value() == "35"
    assert page.page.get_by_label("Comment (optional)").input_value() == words


@pytest.mark.parametrize("first", ["reader", "form"])
def test_a_half_filled_vote_survives_a_reload_and_another_page(
    review: Page, site, first: str
) -> None:
    """Also where the reader is named afterwards; it goes once the vote is stored."""
    if first == "reader":
        sign_in(review)
    fill(review, "rim and oedema")
    reload(review)
    if first == "reader":
        named(review)
    filled(review, "rim and oedema")
    if first == "form":
        sign_in(review)
        filled(review, "rim and oedema")
    url = review.page.url
    review.page.get_by_role("link", name="Models").click()
    review.page.get_by_role("tab", name="Use and limits").wait_for()
    review.page.goto(url)
    review.page.wait_for_selector(READY)
    named(review)
    filled(review, "rim and oedema")
    review.button("Store vote").click()
    review.page.get_by_text(re.compile("^Stored: ")).wait_for()
    with sqlite3.connect(site[1] / "home" / "bmcore.sqlite") as connection:
        case_id = url.split("case=")[1]
        query = "SELECT count(*) FROM vote_drafts WHERE case_id = ?"
        assert connection.execute(query, (case_id,)).fetchone() == (0,)
        query = "SELECT confidence, comment FROM votes WHERE case_id = ?"
        assert connection.execute(query, (case_id,)).fetchone() == (35, "rim and oedema")


# ---- a server that goes ----------------------------------------------------------------------


def test_what_is_marked_while_the_server_is_away_is_stored_when_it_is_back(
    browser, tmp_path: Path
) -> None:
    environment = make_home(tmp_path)
    case_id = add_case(tmp_path, "restart")
    with serve("app.py", **environment) as address:
        page = window(browser.new_context(), f"{address}/review?case={case_id}")
        sign_in(page)
        fill(page, "before")
        canvas(page, "axial").focus()
        keys(page, "m")
        until(page, marks="missed", **STORED)
    page.page.get_by_text("The connection to the server is lost").wait_for()
    page.page.wait_for_function("() => !document.querySelector('.stApp').closest('[inert]')")
    canvas(page, "axial").focus()
    keys(page, "ArrowUp", "m")
    until(page, marks="missed missed", saved="bad", waiting="1")
    assert len(kept_in_browser(page)) == 1
    (held,) = page.page.evaluate(
        "() => Object.entries(localStorage).filter(([k]) => k.startsWith('bmcore%20unsent'))"
    )
    assert json.loads(held[1])["action"] == "set"
    with serve("app.py", port=int(address.rsplit(":", 1)[1]), **environment):
        named(page)
        until(page, marks="missed missed", **STORED)
        filled(page, "before")
        assert rows(tmp_path, "marks", page) == [("Dr Test", "set")] * 2
        assert kept_in_browser(page) == []
        page.page.context.close()
