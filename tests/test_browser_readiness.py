"""In real Chromium: a plan with faults is mended and locked by its typed id; a reader waits.

Pictures go to the folder that BMCORE_LOOK names, in light and dark.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bmcore.domain import Volume
from bmcore.intake import library
from bmcore.review import plan, start
from bmcore.review.store import open_store
from tests import pages_fixture, pages_home, people_fixture
from tests.test_browser import CHROMIUM, FLAGS, Page, playwright, serve

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
CASES = ["Case-1", "Case-2", "Case-3"]
READY = '.viewer[data-ready="1"][data-loaded="4"]'


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def make_home(root: Path) -> tuple[Path, Path]:
    """Three cases, no two alike; the models have read the first one."""
    home, models = root / "home", root / "models"
    home.mkdir()
    info = pages_home.make_bundle(models)
    for n, case_id in enumerate(CASES):
        case = pages_fixture.make_case(case_id)
        own = {s: Volume(v.data + np.float32(n), v.affine) for s, v in case.sequences.items()}
        files = pages_home.write_files(replace(case, sequences=own), root / case_id)
        library.add_case(home, files, case_id, case.clinical)
        if n == 0:
            pages_home.store_prediction(home, case, info)
    with open_store(people_fixture.url(home)) as store:
        people_fixture.make_accounts(store)
    return home, models


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    return make_home(tmp_path)


@pytest.fixture
def site(made: tuple[Path, Path]) -> Iterator[str]:
    home, models = made
    environment = {"BMCORE_HOME": str(home), "BMCORE_BUNDLE": str(models), "BMCORE_DEMO": "0"}
    with serve("app.py", **environment) as address:
        yield address


def look(page: Page, name: str) -> None:
    page.settle()
    page.check()
    folder = os.environ.get("BMCORE_LOOK")
    if folder:
        for scheme in ("light", "dark"):
            page.page.emulate_media(color_scheme=scheme)
            page.settle()
            page.page.screenshot(path=f"{folder}/{name}-{scheme}.png", full_page=True)
        page.page.emulate_media(color_scheme="light")


def sign_in(browser, site: str, name: str) -> Page:
    page = Page(browser)
    page.page.goto(site)
    page.page.get_by_label("Name").fill(name)
    page.page.get_by_label("Password", exact=True).fill(people_fixture.PASSWORD)
    page.button("Sign in").click()
    page.page.get_by_text(f"{name}, ").first.wait_for()
    page.settle()
    return page


def write_plan(path: Path, **changes) -> Path:
    path.write_text(json.dumps(people_fixture.plan_data(CASES, **changes)), encoding="utf-8")
    return path


def fill(page: Page, label: str, words: str) -> None:
    box = page.page.get_by_label(label)
    box.fill(words)
    box.press("Enter")
    page.settle()


def test_a_plan_with_faults_is_mended_and_locked_by_its_typed_id(
    browser, made, site: str, tmp_path: Path
) -> None:
    """Upload, faults, the models run from the page, an account made on another page, locked."""
    home, _ = made
    (home / "truth.csv").write_text("case_id,primary\nCase-1,melanoma\nCase-2,breast\n")
    readers = people_fixture.plan_data(CASES)["readers"]
    readers[1]["name"] = "Dr New"
    file = write_plan(tmp_path / "study.yaml", readers=readers, title="![x](http://evil/x.png)")
    page = sign_in(browser, site, "Max Admin")
    page.page.goto(f"{site}/study_manage")
    page.page.get_by_role("radio", name="Use a file").click()
    page.page.locator('input[type="file"][accept*=".yaml"]').set_input_files(file)
    page.page.get_by_text("Case Case-2: the models have not read it.").wait_for()
    page.page.get_by_text("Reader Dr New has no account.").wait_for()
    page.page.get_by_text("Case Case-3 has no reference primary").wait_for()
    look(page, "faults")
    lock = page.button("Lock and start the study")
    fill(page, "Type the study's id", "small")
    assert lock.is_disabled()  # faults stand
    page.button("Run the models on the 2 missing cases").click()
    page.page.get_by_text("has read all 3 cases").wait_for()
    page.settle()
    page.button("Create or enable accounts").click()
    page.page.get_by_role("heading", name="Accounts").wait_for()
    with open_store(people_fixture.url(home)) as store:
        from bmcore.review import accounts

        accounts.add(store, "Dr New", "reader", people_fixture.PASSWORD)
    page.page.get_by_role("link", name="Run a study").click()
    page.page.get_by_text("study.yaml, chosen before").wait_for()  # the plan is still there
    page.page.get_by_text("Every reader has an account.").wait_for()
    assert lock.is_disabled()
    page.page.get_by_text("I have read the warning").click()
    page.settle()
    assert lock.is_disabled()
    fill(page, "Type the study's id", "Small")
    assert lock.is_disabled()
    fill(page, "Type the study's id", "small")
    look(page, "ready")
    assert not lock.is_disabled()
    lock.click()
    page.page.get_by_text("small is locked as version 1").wait_for()
    look(page, "locked")
    with open_store(people_fixture.url(home)) as store:
        assert plan.studies(store) == ["small"]
        (kept,) = start.starts(store, "small")
        assert [s for s, _ in kept.findings] == ["info", "warning"]
    page.page.context.close()


def answer_and_lock(page: Page) -> None:
    page.page.get_by_text("Melanoma", exact=True).click()
    page.settle()
    fill(page, "How sure", "60")
    page.button("Lock my answer").click()


def test_a_reader_waits_for_the_models_and_loses_no_arm(browser, made, site: str) -> None:
    home, _ = made
    study = people_fixture.make_study(["Case-2"])
    with open_store(people_fixture.url(home)) as store:
        plan.lock(store, study, "Prof Iris")
    page = sign_in(browser, site, people_fixture.READER_A)
    page.page.goto(f"{site}/study")
    page.button("Read next case").click()
    page.page.wait_for_selector(READY)
    page.button("Skip").click()
    page.page.get_by_text("A skip leaves out 3 readings of the case").wait_for()
    look(page, "skip")
    page.page.keyboard.press("Escape")
    answer_and_lock(page)
    page.page.get_by_text("The models have not read this case yet.").wait_for()
    assert not page.page.get_by_role("button", name="Skip").count()
    look(page, "unread")
    page.button("Run the models now").click()
    page.page.get_by_text("This step opens by itself").wait_for()
    assert page.button("Back to the list").is_visible()
    page.settle()
    look(page, "running")
    page.page.wait_for_selector('.viewer[data-mask="1"]')  # opened by itself
    page.page.get_by_role("tab", name="The models' answers").wait_for()
    page.button("Skip").click()
    page.page.get_by_text("Skip the rest of this case").wait_for()
    page.check()
    page.page.context.close()
