"""The road of files in real Chromium: sent in pieces, interrupted, resumed, looked at, painted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bmcore import disk
from bmcore.domain import Volume
from bmcore.door import arrival, picture, steps, work
from bmcore.zips import load_arrays
from tests import dicom_fixture as fixture
from tests import pages_home, road_fixture
from tests.test_browser import CHROMIUM, FLAGS, Page, playwright, serve
from tests.volumes_fixture import ball
from tests.waiting import until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
OWNER = road_fixture.OWNER


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path]]:
    """(address, home, a folder with a study as a disc)."""
    work_folder = tmp_path_factory.mktemp("road")
    pages_home.make_bundle(work_folder / "models")
    fixture.four(work_folder / "DISC")
    home = work_folder / "home"
    home.mkdir()
    told = {"BMCORE_DEMO": "0", "BMCORE_BUNDLE": str(work_folder / "models")}
    with serve("app.py", BMCORE_HOME=str(home), **told) as address:
        yield address, home, work_folder / "DISC"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, site) -> Iterator[Page]:
    opened = Page(browser, (1440, 1500))
    opened.page.set_default_timeout(40_000)
    opened.page.goto(site[0])
    opened.settle()
    yield opened
    opened.page.close()
    for one in arrival.of(site[1], OWNER):
        work.give_up(one)


def choose(page: Page, button: str, files: object) -> None:
    with page.page.expect_file_chooser() as chooser:
        page.page.get_by_role("button", name=button).click()
    chooser.value.set_files(files)


def test_a_folder_is_sent_and_looked_at(page: Page, site) -> None:
    choose(page, "Choose a folder", site[2])
    page.page.get_by_text("What was found").wait_for()
    page.look()
    (here,) = arrival.of(site[1], OWNER)
    assert here.label == "DISC (48 files)" and here.files[0][0].startswith("DISC/S1")
    sent = b"".join(source.path.read_bytes() for source in here.sources())
    names = [name.removeprefix("DISC/") for name, _ in here.files]
    assert sent == b"".join((site[2] / name).read_bytes() for name in names)
    for width in (1440, 1024, 390):
        page.page.set_viewport_size({"width": width, "height": 1500})
        page.page.wait_for_timeout(400)
        wider = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.page.evaluate(wider) <= 0
    page.page.set_viewport_size({"width": 1440, "height": 1500})
    page.page.get_by_role("button", name="Remove these files").click()
    page.page.get_by_text("Drop a folder, a zip or files").wait_for()
    assert arrival.of(site[1], OWNER) == []


def test_a_broken_line_is_tried_again_and_a_reload_resumes(page: Page, site, tmp_path) -> None:
    big = tmp_path / "big.zip"
    shutil.make_archive(str(big.with_suffix("")), "zip", site[2])
    with big.open("ab") as file:
        file.truncate(60_000_000)  # sparse; eight pieces
    pieces: list[str] = []

    def pass_on(route) -> None:
        if route.request.method != "PUT":
            route.continue_()
            return
        pieces.append(route.request.url)
        if len(pieces) == 2:
            route.abort()  # the line breaks for a moment
        elif len(pieces) == 5:
            pass  # and hangs until the page is reloaded
        else:
            route.continue_()

    page.page.route("**/uploads/**", pass_on)
    choose(page, "Choose files or a zip", big)
    until(lambda: page.page.wait_for_timeout(100) or len(pieces) >= 5, 60)
    page.page.reload()  # ends the piece that hangs; only then does the line work again
    page.page.unroute_all(behavior="ignoreErrors")
    page.settle()
    page.page.get_by_text("was interrupted").wait_for()
    (half,) = arrival.of(site[1], OWNER)
    there = half.received
    assert 0 < there < half.size == 60_000_000
    offsets: list[int] = []
    page.page.on(
        "request", lambda r: r.method == "PUT" and offsets.append(int(r.url.split("=")[1]))
    )
    choose(page, "Choose files or a zip", big)
    page.page.get_by_role("button", name="Remove these files").wait_for()
    (whole,) = arrival.of(site[1], OWNER)
    assert whole.id == half.id and whole.complete and offsets[0] == there
    assert whole.path(0).read_bytes()[:4096] == big.read_bytes()[:4096]


def outlined(home: Path) -> arrival.Arrival:
    """An arrival whose outline waits to be looked at: a ball, cut flat on one side."""
    of = arrival.begin(home, OWNER, "A ball", place=home / "nothing")
    shape = (120, 140, 100)
    brain = np.asarray(ball(shape, (40, 50, 35)), bool)
    image = np.where(brain, 100.0, 0).astype(np.float32) + np.linspace(0, 20, shape[2])
    brain[80:] = False
    affine = np.eye(4)
    volume = Volume(image.astype(np.float32), affine)
    for plane, png in picture.outlines(volume, Volume(brain.astype(np.uint8), affine)):
        disk.write(steps.outline_picture(of, plane), png)
    blocks = picture.for_brush(volume, brain)
    np.savez_compressed(of.folder / steps.BRAIN, image=blocks["image"], brain=blocks["brain"])
    values = {"findings": [["warning", "the two sides differ."]], "outline": True, "steps_s": {}}
    disk.write(of.folder / steps.ALIGNED, json.dumps(values))
    work.record(of, work.Work(work.ALIGN, "done"))
    return of


def test_the_brush_corrects_the_outline_where_it_paints(page: Page, site) -> None:
    of = outlined(site[1])
    page.page.set_viewport_size({"width": 1440, "height": 2200})  # the canvas is in sight
    page.page.reload()
    page.settle()
    page.page.get_by_text("Correct the outline with the brush").click()
    canvas = page.page.locator("canvas[data-at=canvas]")
    canvas.wait_for()
    page.page.wait_for_timeout(800)
    box = canvas.bounding_box()
    by = box["width"] / 420 * min(420 / 60, 420 / 70)  # pixels a block of 60 x 70
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    # the patient's right, where the ball is cut, is on the left of the picture
    page.page.mouse.move(middle[0] - 13 * by, middle[1])
    page.page.mouse.down()
    page.page.mouse.move(middle[0] - 13 * by, middle[1] + 6 * by, steps=4)
    page.page.mouse.up()
    page.page.get_by_role("button", name="Use this outline").click()
    until(lambda: (of.folder / steps.PAINTED).exists(), 30)
    before = steps.brush(of)["brain"] > 0
    after = load_arrays(of.folder / steps.PAINTED, 10**7)["brain"] > 0
    changed = np.argwhere(after != before)
    assert after[tuple(changed.T)].all() and 40 < len(changed) < 2000
    assert (changed[:, 0] >= 40).all() and np.ptp(changed[:, 2]) >= 3  # a ball, over some slices
    assert page.faults == []
