"""A study in real Chromium, by accounts: what the browser receives, read from frames and answers.

Every websocket frame and every HTTP body is searched for planted values. Each search is shown to
find them where they may be seen, or it would prove nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmcore.domain import Answer
from bmcore.review import plan
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.votes import VoteDraft
from bmcore.review.worklist import Seconds
from tests import pages_fixture, pages_home, people_fixture
from tests.people_fixture import READER_A, READER_B
from tests.test_browser import CHROMIUM, FLAGS, Page, playwright, serve

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
READY = '.viewer[data-ready="1"][data-loaded="4"]'
CASES = ["Case-1", "Case-2"]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


class Ear(Page):
    """A page of somebody who signs in; keeps all that the server sends to it."""

    def __init__(self, browser, site: str) -> None:
        super().__init__(browser)
        self.site = site
        self.heard: list[bytes] = []
        self.page.on("websocket", self._listen)
        self.answers: list = []
        self.page.on("response", lambda response: self.answers.append(response))

    def _listen(self, socket) -> None:
        def keep(frame) -> None:
            self.heard.append(frame if isinstance(frame, bytes) else frame.encode())

        socket.on("framereceived", keep)

    def collect(self) -> None:
        """Keep what came by HTTP, but for Streamlit's own scripts; before the page goes on.

        A blob is made in the browser, of what was heard already. The body of a page that was left
        is gone: only the empty frame, its icon and the questions whether the server lives may be
        lost like that.
        """
        for response in self.answers:
            made_here = response.url.startswith("blob:")
            if made_here or "/static/" in response.url or response.status != 200:
                continue
            try:
                self.heard.append(response.body())
            except playwright.Error:
                kind = response.request.resource_type
                empty = kind == "document" or response.url.endswith(("favicon.png", "health"))
                assert empty or "host-config" in response.url, response.url
        self.answers.clear()

    def found(self, canaries: dict[str, bytes]) -> set[str]:
        self.collect()
        return {n for n, c in canaries.items() if any(c in piece for piece in self.heard)}

    def sign_in(self, name: str) -> None:
        self.page.goto(self.site)
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(people_fixture.PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_text(re.compile(f"^{name}, ")).wait_for()
        self.settle()
        self.collect()

    def go(self, where: str) -> None:
        self.collect()
        self.page.goto(f"{self.site}/{where}")
        self.page.get_by_text("not a medical device").first.wait_for()
        self.settle()
        self.settle()
        self.collect()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Home and models; the predictions hold values that can be looked for."""
    from dataclasses import replace

    from bmcore.inference import archive

    root = tmp_path_factory.mktemp("study")
    home, models = root / "home", root / "models"
    home.mkdir()
    info = pages_home.make_bundle(models)
    for case_id in CASES:
        case = pages_home.add_case(home, root / "files", case_id)
        plain = pages_fixture.make_prediction(case, info)
        lesions = tuple(replace(n, region="canary lobe") for n in plain.lesions)
        image = Answer("image", None, "canary of the image answer")
        archive.keep(home, replace(plain, lesions=lesions, image=image))
    study = people_fixture.make_study(CASES)
    people_fixture.start(home, study, with_accounts=True)
    return home, models


@pytest.fixture(scope="module")
def site(planted: tuple[Path, Path]) -> Iterator[str]:
    home, models = planted
    environment = {"BMCORE_HOME": str(home), "BMCORE_BUNDLE": str(models), "BMCORE_DEMO": "0"}
    with serve("app.py", **environment) as address:
        yield address


def plant_thirty(home: Path) -> dict[str, bytes]:
    """Ten comments, ten locked remarks and ten drafts and notes of reader B, each its own word."""
    canaries = {f"{kind} {n}": f"kanarie-{kind}-{n}" for kind in "cfd" for n in range(10)}
    with open_store(people_fixture.url(home)) as store:
        store.add_reader(READER_B, "oncologist", 9.0)
        for n in range(10):
            store.add_vote(
                VoteDraft(
                    case_id=f"free-{n}",
                    reader=READER_B,
                    role="oncologist",
                    phase="unaided",
                    primary="rcc",
                    confidence=41,
                    comment=canaries[f"c {n}"],
                    idempotency_key=f"canary {n}",
                )
            )
        cases = [f"Other-{n}" for n in range(12)]
        other = people_fixture.make_study([*CASES, *cases], study="other")
        plan.lock(store, other, "Prof Iris")
        desk = ReadingSession(store, "other")
        sheets = 0
        while sheets < 10:  # read to the tenth sheet, each with a remark
            place = desk.next("rb").item.place
            values = people_fixture.answers_for(other, place.arm, canaries[f"f {sheets}"])
            desk.submit(place, values, Seconds(), f"other {place}")
            sheets += 1
        place = desk.next("rb").item.place
        desk.save_draft(place, {"remarks": canaries["d 0"]}, Seconds())
        for n in range(1, 10):
            desk.flag(desk.work("rb")[n].item.place, canaries[f"d {n}"], f"flag {n}")
    return {name: word.encode() for name, word in canaries.items()}


def answer(page: Ear, sure: str) -> None:
    page.page.get_by_text("Melanoma", exact=True).click()
    page.settle()
    page.page.get_by_label(re.compile("How sure")).fill(sure)
    page.page.keyboard.press("Tab")
    page.settle()


def test_no_frame_holds_anything_of_the_models_before_the_unaided_sheet_is_locked(
    browser, planted, site: str
) -> None:
    """Also after a reload, on the Review page and by a direct link; then the aided sheet has it."""
    canaries = {
        "the lesion table": b"anary lobe",
        "an answer": b"canary of the image answer",
        "a mask": b"/mask/",
        "a probability": b"55%",
    }
    page = Ear(browser, site)
    page.sign_in(READER_A)
    page.go("study")
    page.button("Read next case").click()
    page.page.wait_for_selector(READY)
    answer(page, "60")
    page.collect()
    page.page.reload()
    page.page.wait_for_selector(READY)  # still signed in, at the same sheet
    assert page.page.get_by_label(re.compile("How sure")).input_value() == "60"
    for case_id in CASES:
        page.go(f"review?case={case_id}")
        page.page.get_by_text("belongs to a running study").wait_for()
    page.go("study?reading=1")
    page.page.wait_for_selector(READY)
    assert len(page.heard) > 20 and sum(map(len, page.heard)) > 20_000
    assert page.found(canaries) == set()
    page.button("Lock my answer").click()
    page.page.wait_for_selector('.viewer[data-mask="1"]')
    page.page.get_by_role("tab", name="The models' answers").click()
    page.page.get_by_test_id("stPlotlyChart").wait_for()
    page.settle()
    assert page.found(canaries) == set(canaries)
    page.check()
    page.page.context.close()


def test_thirty_canaries_of_reader_b_never_reach_the_browser_of_reader_a(
    browser, planted, site: str
) -> None:
    home, _ = planted
    canaries = plant_thirty(home)
    assert len(canaries) == 30
    page = Ear(browser, site)
    page.sign_in(READER_A)
    pages = ["cases", "", "review", "study", "study_manage", "agreement", "reports", "models"]
    cases = [f"review?case={c}" for c in ("free-1", "Case-1")]
    seats = ["study?seat=other/rb", "study?seat=other/rb&reading=1", "study?seat=other/ra"]
    for where in [*pages, "accounts", *cases, *seats, "study?seat=small/ra&reading=1"]:
        page.go(where)
    assert len(page.heard) > 50
    assert page.found(canaries) == set()
    assert page.found({"own name": READER_A.encode()}) == {"own name"}
    page.page.context.close()

    lead = Ear(browser, site)  # who may see them does: the search works
    lead.sign_in("Prof Iris")
    lead.go("agreement")
    lead.page.get_by_label("Readings of").click()
    lead.page.get_by_role("option").first.click()  # the votes outside studies
    lead.page.get_by_role("tab", name="All votes").click()
    lead.settle()
    lead.go("study_manage?study=other")
    lead.page.get_by_text("Flags and skips").wait_for()
    lead.settle()
    seen = lead.found(canaries)
    assert {name for name in seen if name.startswith("c")} == {f"c {n}" for n in range(10)}
    assert {name for name in seen if name.startswith("d")} == {f"d {n}" for n in range(1, 10)}
    lead.page.context.close()


def test_nobody_gets_a_file_or_leaves_one_without_a_sign_in(browser, site: str) -> None:
    page = Ear(browser, site)
    page.page.goto(site)
    page.page.get_by_role("button", name="Sign in").wait_for()
    assert not page.page.get_by_role("link", name="Cases").count()  # no menu
    for how, where in (("put", "_stcore/upload_file/a/b"), ("get", "media/x.csv")):
        assert getattr(page.page.request, how)(f"{site}/{where}").status == 401
    page.sign_in("Max Admin")
    assert page.page.request.get(f"{site}/media/x.csv").status == 404
    page.page.get_by_role("button", name="Sign out").click()
    page.page.get_by_role("button", name="Sign in").wait_for()
    assert page.page.request.get(f"{site}/media/x.csv").status == 401
    page.page.reload()
    page.page.get_by_role("button", name="Sign in").wait_for()  # a reload does not bring it back
    page.page.context.close()
