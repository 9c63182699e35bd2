"""The dashboard in real Chromium: the viewer on its own, and the whole road."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bmcore.domain import RESEARCH_NOTICE, SEQUENCE_NAMES
from bmcore.settings import PROJECT

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("BMCORE_CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SERVER = [
    "--server.headless=true",
    "--server.address=127.0.0.1",
    "--browser.gatherUsageStats=false",
    "--server.fileWatcherType=none",
]
PATIENCE_MS = 90_000  # a slow machine with two cores
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@contextmanager
def serve(script: str, port: int = 0, **environment: str) -> Iterator[str]:
    """Run a Streamlit script on ``port``, or on a free one; yields its address."""
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", script, f"--server.port={port}", *SERVER]
    server = subprocess.Popen(
        command,
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert server.poll() is None, "the server stopped"
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


class Page:
    """A browser page that waits for the script, and remembers everything that went wrong."""

    def __init__(self, browser, size: tuple[int, int] = (1440, 900), **context) -> None:
        width, height = size
        context = {"viewport": {"width": width, "height": height}, **context}
        self.page = browser.new_page(**context)
        self.page.set_default_timeout(PATIENCE_MS)
        self.faults: list[str] = []
        self.outside: list[str] = []
        self.sent = self.received = 0
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._request)
        self.page.on("websocket", self._socket)

    def _request(self, request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")):
            self.outside.append(request.url)

    def _socket(self, socket_) -> None:
        def count(name: str):
            def add(frame) -> None:
                setattr(self, name, getattr(self, name) + len(frame))

            return add

        socket_.on("framesent", count("sent"))
        socket_.on("framereceived", count("received"))

    def settle(self) -> None:
        """Wait until no script is running, and a little for the drawing."""
        self.page.wait_for_timeout(300)
        self.page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
        self.page.wait_for_timeout(500)

    def look(self) -> None:
        """Let the page settle and check it."""
        self.settle()
        self.check()

    def check(self) -> None:
        """No traceback, no script error, nothing fetched from elsewhere; the notice is there."""
        text = self.page.inner_text("body")
        assert "Traceback" not in text and "Something went wrong" not in text
        assert not self.page.get_by_test_id("stException").count()
        assert RESEARCH_NOTICE in text
        assert self.faults == [] and self.outside == []

    def viewer(self) -> dict[str, str]:
        return self.page.locator(".viewer").evaluate("v => ({...v.dataset})")

    def button(self, name: str):
        return self.page.get_by_role("button", name=name)


# ---- the viewer on its own ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def viewer_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = str(tmp_path_factory.mktemp("home"))
    with serve("tests/apps/viewer_alone.py", BMCORE_HOME=home, PYTHONPATH=str(PROJECT)) as address:
        yield address


@pytest.fixture
def alone(browser, viewer_address: str) -> Iterator[Page]:
    page = Page(browser)
    page.page.goto(viewer_address)
    page.page.wait_for_selector('.viewer[data-ready="1"][data-mask="1"]')
    page.settle()
    yield page
    assert page.faults == []
    page.page.close()


COLOURED = """canvas => {
  const {data, width} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let n = 0, sum = 0;
  for (let p = 0; p < data.length; p += 4)
    if (data[p] > 180 && data[p + 1] > 110 && data[p + 2] < 90) { n++; sum += (p / 4) % width; }
  return n ? sum / n / width : null;
}"""


def canvas(page: Page, plane: str):
    return page.page.locator(f'.pane[data-plane="{plane}"] canvas')


def test_a_jump_leads_to_the_left_lesion_and_it_is_drawn_on_the_right(alone: Page) -> None:
    """LEFT_MM is 10 mm left of, 4 mm before and 6 mm above the middle of the grid."""
    alone.button("Jump left").click()
    alone.page.wait_for_function(
        "() => document.querySelector('[data-testid=stBidiComponentIsolated]')"
        " && [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]"
        ".some(h => h.shadowRoot?.querySelector('.viewer')?.dataset.sagittal === '14')"
    )
    seen = alone.viewer()
    assert (seen["sagittal"], seen["coronal"], seen["axial"]) == ("14", "32", "26")
    status = alone.page.locator(".viewer .status").inner_text()
    assert "9.5 L" in status and "4.5 A" in status and "necrosis" in status
    middle = canvas(alone, "axial").evaluate(COLOURED)
    assert middle is not None and 0.6 < middle < 0.85  # amber: enhancing tumour


def test_slices_change_by_wheel_and_keys_and_the_server_hears_nothing(alone: Page) -> None:
    pane = canvas(alone, "axial")
    pane.click()
    start = int(alone.viewer()["axial"])
    sent = alone.sent
    alone.page.keyboard.press("ArrowUp")
    alone.page.keyboard.press("ArrowUp")
    pane.hover()
    alone.page.mouse.wheel(0, 100)
    alone.page.wait_for_timeout(200)
    assert int(alone.viewer()["axial"]) == start + 1
    alone.page.keyboard.press("4")
    alone.page.wait_for_timeout(200)
    assert alone.viewer()["sequence"] == "t2f"
    assert alone.sent == sent


def test_a_click_moves_the_other_planes_to_the_same_place(alone: Page) -> None:
    """Left and front of the middle of the axial image: right of and before the patient's middle."""
    before = alone.viewer()
    box = canvas(alone, "axial").bounding_box()
    alone.page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    alone.page.wait_for_timeout(200)
    after = alone.viewer()
    assert int(after["sagittal"]) > int(before["sagittal"])  # towards the patient's right
    assert int(after["coronal"]) > int(before["coronal"])  # towards the front
    assert after["axial"] == before["axial"]


def test_the_segmentation_goes_and_comes_with_its_key(alone: Page) -> None:
    canvas(alone, "axial").focus()
    alone.page.keyboard.press("l")
    alone.page.wait_for_timeout(200)
    assert canvas(alone, "axial").evaluate(COLOURED) is not None
    alone.page.keyboard.press("o")
    alone.page.wait_for_timeout(200)
    assert canvas(alone, "axial").evaluate(COLOURED) is None
    alone.page.keyboard.press("o")
    alone.page.keyboard.press(" ")
    alone.page.wait_for_timeout(200)
    assert canvas(alone, "axial").evaluate(COLOURED) is None


def test_the_right_button_changes_the_window(alone: Page) -> None:
    """256 pixels are one width of the window that the image begins with."""
    level = alone.page.get_by_label("Window level")
    before = float(level.input_value())
    width = float(alone.page.get_by_label("Window width").input_value())
    box = canvas(alone, "axial").bounding_box()
    x, y = box["x"] + 100, box["y"] + 100
    alone.page.mouse.move(x, y)
    alone.page.mouse.down(button="right")
    alone.page.mouse.move(x, y - 30, steps=3)
    alone.page.mouse.up(button="right")
    alone.page.wait_for_timeout(200)
    assert float(level.input_value()) == pytest.approx(before + 30 * width / 256, abs=0.02)


def test_a_slice_five_times_as_thick_is_drawn_five_times_as_tall(
    browser, viewer_address: str
) -> None:
    """The lesion is a ball in mm, so it must look round although its voxels are 1 x 1 x 5 mm."""
    page = Page(browser)
    page.page.goto(f"{viewer_address}?sizes=1,1,5")
    page.page.wait_for_selector('.viewer[data-ready="1"][data-mask="1"]')
    page.button("Jump left").click()
    page.settle()
    extent = """canvas => {
      const {data, width} = canvas.getContext('2d').getImageData(0,0,canvas.width,canvas.height);
      let [x0, x1, y0, y1] = [1e9, 0, 1e9, 0];
      for (let p = 0; p < data.length; p += 4) {
        const outline = data[p] < 100 && data[p + 1] > 150 && data[p + 2] > 190;
        if (outline && (p / 4) % width < width - 30) {  // the slice bar lies at the edge
          const x = (p / 4) % width, y = Math.floor(p / 4 / width);
          x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
        }
      }
      return [x1 - x0, y1 - y0];
    }"""
    width, height = canvas(page, "coronal").evaluate(extent)
    assert width > 5 and 0.6 < height / width < 1.6  # 15 mm wide; 3 slices of 5 mm tall
    page.page.close()


# ---- the whole road ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four NIfTI files of one synthetic patient."""
    from bmcore.phantom.cohort import draw_case, write_case

    folder = tmp_path_factory.mktemp("files")
    write_case(draw_case(1000), "Patient-7", folder)
    found = sorted(folder.rglob("*.nii.gz"))
    return [path for path in found if "-seg" not in path.name]


def open_aligned_files(page: Page) -> None:
    """The tab for aligned files in the form that adds a case."""
    form = page.page.locator("details", has_text="Add a case")
    if not form.evaluate("form => form.open"):  # it is open while there is no case
        page.page.get_by_text("Add a case", exact=True).click()
    page.page.get_by_role("tab", name="Aligned NIfTI files").click()


def upload(page: Page, files: list[Path]) -> None:
    open_aligned_files(page)
    uploader = page.page.get_by_test_id("stFileUploader")
    uploader.locator('input[type="file"]').first.set_input_files(files)
    page.page.get_by_text("Check which sequence each file is").wait_for()
    page.settle()
    for path in files:
        guess = page.page.get_by_label(path.name, exact=True).input_value()
        assert guess == SEQUENCE_NAMES[path.name.split("-")[-1].removesuffix(".nii.gz")]
    page.look()
    page.page.get_by_label("Age (years)").fill("58")
    page.page.keyboard.press("Tab")
    page.settle()
    page.button("Add case").click()
    page.page.wait_for_selector('.viewer[data-ready="1"]')
    page.settle()


def sign_in(page: Page) -> None:
    page.page.get_by_label("Name or initials").click()
    page.page.keyboard.type("Dr Test")
    page.page.keyboard.press("Enter")
    page.settle()
    page.page.get_by_label("Role").click()
    page.page.get_by_role("option", name="Neuroradiologist").click()
    page.settle()


def vote(page: Page, primary: str, confidence: str, quality: str | None = None) -> None:
    """Fill the form and send it by a double click."""
    page.page.locator(".st-key-vote_form").get_by_text(primary, exact=True).click()
    page.page.get_by_label(re.compile("How sure")).fill(confidence)
    if quality:
        page.page.get_by_text(quality, exact=True).click()
    page.button("Store vote").dblclick()
    page.page.get_by_text(re.compile("^Stored: ")).wait_for()
    page.settle()


def stored_votes(home: Path) -> list[tuple]:
    with sqlite3.connect(home / "bmcore.sqlite") as connection:
        return connection.execute('SELECT phase, "primary", confidence FROM votes').fetchall()


def models_folder() -> Path:
    return Path(os.environ.get("BMCORE_BUNDLE", PROJECT / "models" / "demo"))


@pytest.mark.skipif(
    not (models_folder() / "manifest.json").exists(), reason="there are no demo models"
)
@pytest.mark.timeout(1500)
def test_the_whole_road_from_upload_to_report(browser, files: list[Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serve("app.py", BMCORE_HOME=str(home), BMCORE_DEMO="0") as address:
        page = Page(browser)
        page.page.goto(address)
        page.page.get_by_text("Add a case", exact=True).wait_for()
        page.look()
        upload(page, files)
        assert [len(files), page.viewer()["mask"]] == [4, "0"]

        page.button("Run the models on this case").click()
        page.page.get_by_test_id("stProgress").wait_for()
        page.look()
        sign_in(page)
        page.button("Show the models' answers").wait_for(timeout=3 * PATIENCE_MS)
        page.look()
        vote(page, "Melanoma", "60")
        assert stored_votes(home) == [("unaided", "melanoma", 60)]

        page.button("Show the models' answers").click()
        page.page.wait_for_selector('.viewer[data-mask="1"]')
        page.page.get_by_test_id("stPlotlyChart").wait_for()
        page.look()
        see_lesions(page)
        page.page.get_by_role("tab", name="Why").click()
        page.page.get_by_text("log-odds", exact=True).wait_for()
        page.look()
        page.page.get_by_role("tab", name="Your vote").click()
        page.settle()
        vote(page, "Breast", "75", "4 good")
        page.look()
        assert stored_votes(home) == [("unaided", "melanoma", 60), ("aided", "breast", 75)]

        see_the_other_pages(page)
        page.page.close()


def see_lesions(page: Page) -> None:
    """A click in the first row: the viewer jumps and the images are not sent again."""
    page.page.get_by_role("tab", name="Lesions").click()
    page.settle()
    table = page.page.get_by_test_id("stDataFrame").first
    if not table.count():
        return page.look()
    before, received = page.viewer(), page.received
    box = table.bounding_box()
    page.page.mouse.click(box["x"] + 120, box["y"] + 52)  # not the box at the left
    page.button("Show for lesion 1").wait_for()
    page.settle()
    after = page.viewer()
    planes = ("axial", "coronal", "sagittal")
    assert [after[p] for p in planes] != [before[p] for p in planes]
    assert page.received - received < 300_000  # one sequence alone is over 1 MB
    page.button("Show for lesion 1").click()
    shown = re.compile("^The viewer shows the map for lesion 1|^The map for lesion 1 .* is empty")
    page.page.get_by_text(shown).wait_for(timeout=180_000)  # the worker makes it
    page.look()


def see_the_other_pages(page: Page) -> None:
    page.page.get_by_role("link", name="Agreement").click()
    page.page.get_by_text("All votes", exact=True).wait_for()
    page.look()
    page.page.get_by_role("link", name="Reports").click()
    page.button("Build report").click()
    page.page.locator("iframe").wait_for()
    page.look()
    with page.page.expect_download() as download:
        page.button("PDF").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
    page.page.get_by_role("link", name="Models").click()
    page.page.get_by_role("tab", name="Use and limits").click()
    page.page.get_by_text("What they cannot do", exact=True).wait_for()
    page.look()
    page.page.get_by_role("link", name="Cases").click()
    page.page.get_by_text("Add a case", exact=True).wait_for()
    page.look()


def test_a_deep_link_as_the_first_visit_has_the_menu(browser, tmp_path: Path) -> None:
    """Streamlit would run the page alone, without app.py, right after a start."""
    with serve("app.py", BMCORE_HOME=str(tmp_path), BMCORE_DEMO="0") as address:
        page = Page(browser, (1024, 768))
        page.page.goto(f"{address}/agreement")
        page.page.get_by_text("There are no votes yet").wait_for()
        page.page.get_by_role("link", name="Cases").wait_for()
        page.check()
        page.page.close()
