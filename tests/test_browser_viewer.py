"""The viewer in real Chromium: orientation, layouts, tools, marks, keyboard, touch, blinding.

``tests/apps/viewer_alone.py`` shows it with a made-up case; what comes back to Python is written
below it as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
import pytest

from bmcore.settings import PROJECT
from tests import pages_fixture as fixture
from tests import pages_home
from tests.test_browser import (
    CHROMIUM,
    COLOURED,
    FLAGS,
    Page,
    canvas,
    playwright,
    serve,
    sign_in,
    vote,
)
from tests.volumes_fixture import REALDATA, needs_realdata

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
READY = '.viewer[data-ready="1"][data-loaded="4"]'


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = str(tmp_path_factory.mktemp("home"))
    with serve("tests/apps/viewer_alone.py", BMCORE_HOME=home, PYTHONPATH=str(PROJECT)) as found:
        yield found


@pytest.fixture(scope="module")
def shared(browser) -> Iterator[Page]:
    """One page for all tests, so that Streamlit's own scripts are fetched once."""
    page = Page(browser)
    yield page
    page.page.close()


@pytest.fixture
def see(shared: Page, address: str):
    """Open the viewer with a query; every visit is a new session."""

    def visit(query: str = "", mask: bool = True) -> Page:
        shared.page.goto(f"{address}/_stcore/health")  # what the last test left is forgotten
        shared.page.evaluate("() => [sessionStorage, localStorage].forEach((s) => s.clear())")
        shared.page.goto(f"{address}?{query}")
        shared.page.wait_for_selector(READY + ('[data-mask="1"]' if mask else ""))
        shared.settle()
        return shared

    yield visit
    assert shared.faults == []


@pytest.fixture
def alone(see) -> Page:
    return see()


def until(page: Page, **expected: str) -> None:
    """Wait until the viewer's data attributes are these."""
    ending = "".join(f'[data-{k}="{v}"]' for k, v in expected.items())
    page.page.wait_for_selector(f".viewer{ending}")


def returned(page: Page, **expected) -> dict:
    """What came back to Python, once it holds ``expected``."""
    for _ in range(200):
        page.settle()
        report = json.loads(page.page.get_by_test_id("stCode").inner_text())
        if all(report[k] == v for k, v in expected.items()):
            return report
    raise AssertionError(f"expected {expected}, but {report} came back")


def keys(page: Page, *names: str) -> None:
    for name in names:
        page.page.keyboard.press(name)
    page.page.wait_for_timeout(150)


def drag(page: Page, plane: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    box = canvas(page, plane).bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.page.mouse.move(*at[0])
    page.page.mouse.down()
    page.page.mouse.move(*at[1], steps=6)
    page.page.mouse.up()
    page.page.wait_for_timeout(150)


def tool(page: Page, name: str) -> None:
    """Click a button of the toolbar; what does not fit into the row is in the menu."""
    button = page.page.locator(".viewer").get_by_role("button", name=name, exact=True)
    more = page.page.locator(".viewer").get_by_role("button", name="More", exact=True)
    hidden = not button.is_visible()
    if hidden:
        more.click()
    button.click()
    if hidden and more.get_attribute("aria-expanded") == "true":
        more.dispatch_event("click")  # the menu would lie over the images


# Middle of what is amber (the outline of enhancing tumour) and of what is white, 0 to 1; the tenth
# at each edge, where the letters stand, is left out.
MIDDLE = """canvas => {
  const {width, height} = canvas;
  const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
  let n = 0, x = 0, y = 0;
  for (let p = 0; p < data.length; p += 4)
    if (CONDITION) {
      const [a, b] = [(p / 4) % width / width, Math.floor(p / 4 / width) / height];
      if (Math.min(a, b) > 0.1 && Math.max(a, b) < 0.9) { n++; x += a; y += b; }
    }
  return [x / n, y / n];
}"""
AMBER = MIDDLE.replace("CONDITION", "data[p] > 180 && data[p + 1] > 110 && data[p + 2] < 90")
WHITE = MIDDLE.replace("CONDITION", "Math.min(data[p], data[p + 1], data[p + 2]) > 225")
BRIGHT_HALVES = """canvas => {
  const {width, height} = canvas;
  const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
  const sides = [0, 0];
  for (let p = 0; p < data.length; p += 4)
    if (data[p] > 170) sides[(p / 4) % width < width / 2 ? 0 : 1]++;
  return sides;
}"""


# ---- orientation -------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["turn=RAS", "turn=LPS", "turn=SPL", "turn=LPS&tilt=20"])
def test_the_left_lesion_is_on_the_right_whatever_the_file(see, query) -> None:
    """LEFT_MM lies left, in front and above: right and upper part of the axial image.

    The tilt turns the head about the long axis, so its lesion stays on the same axial slice.
    """
    page = see(f"unaided=1&{query}", mask=False)
    page.button("Jump left").click()
    page.settle()
    canvas(page, "axial").focus()
    keys(page, " ")  # images only
    across, down = canvas(page, "axial").evaluate(WHITE)
    assert across > 0.58 and down < 0.5


@needs_realdata
def test_the_real_left_lesion_is_on_the_right_of_the_image(see) -> None:
    """Case 01 has one large rim-enhancing lesion in the LEFT parieto-occipital region.

    Right and left halves of the middle slice are compared on T1 Gd and FLAIR: the rim and its
    oedema are the brightest thing there.
    """
    folder = REALDATA / "01_brats_met_00110"
    page = see(f"folder={folder.resolve()}&unaided=1", mask=False)
    canvas(page, "axial").focus()
    keys(page, "4", "f", " ")
    left, right = canvas(page, "axial").evaluate(BRIGHT_HALVES)
    assert right > 2 * left


# ---- layouts -----------------------------------------------------------------------------------


def test_one_plane_three_planes_and_two_sequences_side_by_side(alone: Page) -> None:
    shown = (
        "v => [...v.querySelectorAll('.pane')].filter(p => p.clientWidth).map(p => p.dataset.plane)"
    )
    viewer = alone.page.locator(".viewer")
    assert viewer.evaluate(shown) == ["axial", "coronal", "sagittal"]
    canvas(alone, "axial").focus()
    keys(alone, "f")
    assert viewer.evaluate(shown) == ["axial"]
    keys(alone, "c")
    assert viewer.evaluate(shown) == ["axial", "compare"]
    start = alone.viewer()
    assert (start["sequence"], start["second"]) == ("t1c", "t2f")
    canvas(alone, "compare").click(position={"x": 200, "y": 150})
    keys(alone, "1", "ArrowUp", "ArrowUp")  # on the right: T1, two slices up
    after = alone.viewer()
    assert (after["sequence"], after["second"]) == ("t1c", "t1n")
    assert int(after["axial"]) == int(start["axial"]) + 2
    places = [canvas(alone, p).get_attribute("aria-valuenow") for p in ("axial", "compare")]
    assert places[0] == places[1] == str(int(after["axial"]) + 1)
    keys(alone, "c")
    assert viewer.evaluate(shown) == ["axial", "coronal", "sagittal"]


def test_ctrl_wheel_zooms_where_the_pointer_is_and_zero_resets(alone: Page) -> None:
    box = canvas(alone, "axial").bounding_box()
    x, y = box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.4
    alone.page.mouse.move(x, y)
    under = "v => v.querySelector('.status').textContent.split(' mm')[0]"
    before = alone.page.locator(".viewer").evaluate(under)
    alone.page.keyboard.down("Control")
    alone.page.mouse.wheel(0, -100)
    alone.page.mouse.wheel(0, -100)
    alone.page.keyboard.up("Control")
    until(alone, zoom="1.322")
    alone.page.mouse.move(x + 0.5, y)
    alone.page.wait_for_timeout(150)
    assert alone.page.locator(".viewer").evaluate(under) == before
    keys(alone, "Tab")
    canvas(alone, "axial").focus()
    keys(alone, "0")
    until(alone, zoom="1.000")


# ---- marks -------------------------------------------------------------------------------------


def test_a_measurement_has_the_length_of_the_lesion_and_can_be_taken_back(alone: Page) -> None:
    """By keys: ten voxels across and none down, 1 mm each."""
    canvas(alone, "axial").focus()
    keys(alone, "d", *["Shift+ArrowRight"] * 10, "d")
    until(alone, marks="length")
    (mark,) = returned(alone)["marks"]
    assert math.dist(*mark["points"]) == pytest.approx(10)
    assert mark["points"][0][0] - mark["points"][1][0] == pytest.approx(10)  # to the patient's left
    keys(alone, "u")
    until(alone, marks="")
    assert returned(alone, marks=[])


def test_a_measurement_by_mouse_counts_thick_slices_in_mm(see) -> None:
    """Over the height of the coronal image at 1 x 1 x 5 mm: 40 slices are 200 mm."""
    page = see("sizes=1,1,5")
    tool(page, "Length")
    scale = page.page.locator(".viewer").evaluate("v => v.dataset.zoom")
    assert scale == "1.000"
    drag(page, "coronal", (0.5, 0.3), (0.5, 0.6))
    until(page, marks="length")
    (mark,) = returned(page)["marks"]
    down = abs(mark["points"][0][2] - mark["points"][1][2])
    assert math.dist(*mark["points"]) == pytest.approx(down)
    assert 8 < down < 18  # 0.3 of a pane that shows 41 to 58 mm; in slices it would be 2 or 3


def test_lesions_are_accepted_rejected_and_marked_by_keys(alone: Page) -> None:
    canvas(alone, "axial").focus()
    keys(alone, "l", "a", "l", "x", "m")
    until(alone, lesion="2", marks="accept reject missed")
    report = returned(alone, lesion=2)
    assert [(m["kind"], m["lesion"]) for m in report["marks"]] == [
        ("accept", 1),
        ("reject", 2),
        ("missed", None),
    ]
    assert np.allclose(report["marks"][2]["points"][0], fixture.RIGHT_MM, atol=0.6)
    until(alone, waiting="0")  # Python has confirmed them
    keys(alone, "x")  # the same verdict takes it back
    until(alone, marks="accept missed")
    alone.page.reload()
    alone.page.wait_for_selector(READY)


def test_a_click_on_a_lesion_chooses_it_and_a_click_beside_it_does_not(alone: Page) -> None:
    """Lesion 2 is chosen; ten slices above it, lesion 1 is clicked on."""
    canvas(alone, "axial").focus()
    keys(alone, "l", "l")
    until(alone, lesion="2", axial="16")
    keys(alone, "PageUp")
    until(alone, lesion="2", axial="26")
    box = canvas(alone, "axial").bounding_box()
    alone.page.mouse.click(box["x"] + 40, box["y"] + box["height"] - 60)  # black corner
    alone.page.wait_for_timeout(300)
    assert alone.viewer()["lesion"] == "2"
    alone.page.mouse.click(box["x"] + 1, box["y"] + 1)
    across, down = canvas(alone, "axial").evaluate(AMBER)
    x, y = box["x"] + across * box["width"], box["y"] + down * box["height"]
    alone.page.mouse.click(x, y)
    until(alone, lesion="1")
    assert returned(alone, lesion=1)


def test_a_brush_stroke_goes_back_run_length_coded_and_is_shown(alone: Page) -> None:
    """A stroke of enhancing tumour beside the lesions adds voxels of label 3 and no other."""
    plain = np.bincount(fixture.make_prediction(fixture.make_case()).mask.data.ravel(), minlength=4)
    canvas(alone, "axial").focus()
    keys(alone, "b")
    until(alone, tool="brush")
    drag(alone, "axial", (0.42, 0.3), (0.48, 0.3))
    assert canvas(alone, "axial").evaluate(COLOURED) is not None
    until(alone, edited="0", waiting="0", saved="saved")  # no click was needed
    painted = returned(alone)["painted"]
    assert painted[3] > plain[3] + 20 and painted[1:3] == plain[1:3].tolist()
    assert sum(painted) == plain.sum()
    keys(alone, "Escape")
    until(alone, tool="cross")


def test_undo_takes_a_stored_stroke_back_and_shift_u_brings_it_again(alone: Page) -> None:
    plain = np.bincount(fixture.make_prediction(fixture.make_case()).mask.data.ravel(), minlength=4)
    canvas(alone, "axial").focus()
    keys(alone, "b")
    drag(alone, "axial", (0.42, 0.3), (0.48, 0.3))
    alone.page.mouse.move(5, 5)  # the brush itself has the colour of its label
    alone.page.wait_for_timeout(200)
    assert canvas(alone, "axial").evaluate(COLOURED) is not None
    until(alone, waiting="0")
    painted = returned(alone)["painted"]
    keys(alone, "u")
    until(alone, waiting="0")
    assert canvas(alone, "axial").evaluate(COLOURED) is None
    assert returned(alone, painted=plain.tolist())
    keys(alone, "Shift+U")
    until(alone, waiting="0")
    assert canvas(alone, "axial").evaluate(COLOURED) is not None
    assert returned(alone, painted=painted)


# ---- overlays ----------------------------------------------------------------------------------


def test_labels_go_one_by_one_and_grad_cam_has_its_own_scale(see) -> None:
    page = see("heat=1")
    page.button("Jump left").click()
    until(page, lesion="1")
    ramp = """canvas => {
      const {width, height} = canvas;
      const {data} = canvas.getContext('2d').getImageData(width - 160, height - 30, 150, 20);
      let yellow = 0, violet = 0;
      for (let p = 0; p < data.length; p += 4) {
        if (data[p] > 235 && data[p + 1] > 200 && data[p + 2] < 150) yellow++;
        if (data[p] < 110 && data[p + 1] < 40 && data[p + 2] > 90) violet++;
      }
      return [yellow, violet];
    }"""
    yellow, violet = canvas(page, "axial").evaluate(ramp)
    assert yellow > 20 and violet > 20
    canvas(page, "axial").focus()
    keys(page, "g")
    assert canvas(page, "axial").evaluate(ramp) == [0, 0]
    amber = canvas(page, "axial").evaluate(COLOURED)
    assert amber is not None
    tool(page, "enhancing tumour")
    page.page.wait_for_timeout(200)
    assert canvas(page, "axial").evaluate(COLOURED) is None


# ---- keyboard and screen reader ----------------------------------------------------------------


def test_planes_speak_as_sliders_and_changes_are_announced(alone: Page) -> None:
    pane = canvas(alone, "axial")
    pane.focus()
    assert pane.get_attribute("role") == "slider"
    start = int(pane.get_attribute("aria-valuenow"))
    keys(alone, "ArrowUp")
    assert pane.get_attribute("aria-valuenow") == str(start + 1)
    assert pane.get_attribute("aria-valuetext").startswith(f"slice {start + 1 + 0} of 40")
    live = alone.page.locator(".viewer .live")
    keys(alone, "4")
    assert live.inner_text() == "FLAIR"
    keys(alone, " ")
    assert live.inner_text() == "All overlays hidden"
    assert alone.page.get_by_text("Overlays are hidden").is_visible()
    keys(alone, "l")
    assert live.inner_text() == "Lesion 1 of 2"


def test_the_keyboard_alone_reaches_everything_with_visible_focus(alone: Page) -> None:
    """Tab from the first button to the last plane; each stop has a name and shows its focus."""
    alone.button(
        "T1",
    ).first.focus()
    seen = []
    look = """() => {
      const host = document.activeElement;
      const node = host?.shadowRoot?.activeElement;
      if (!node) return null;
      const name = node.getAttribute('aria-label') || node.textContent || node.title;
      const style = getComputedStyle(node);
      const pane = node.closest('.pane');
      const ring = pane ? getComputedStyle(pane, '::after').borderTopWidth : style.outlineWidth;
      return [name.trim(), ring];
    }"""
    for _ in range(60):
        found = alone.page.evaluate(look)
        if found is None:
            break
        seen.append(found)
        alone.page.keyboard.press("Tab")
    names = [name for name, _ in seen]
    assert {"Crosshair", "Length", "Help", "More", "Layout (keys F, C, Q)"} <= set(names)
    assert [n for n in names if n.endswith("T1 Gd")][-3:] == [
        "axial plane, T1 Gd",
        "coronal plane, T1 Gd",
        "sagittal plane, T1 Gd",
    ]
    assert all(name for name in names)
    assert all(float(ring.removesuffix("px")) >= 1 for _, ring in seen)


def test_the_help_sheet_opens_and_gives_the_focus_back(alone: Page) -> None:
    canvas(alone, "axial").focus()
    keys(alone, "?")
    sheet = alone.page.get_by_role("dialog", name="Keys, mouse and touch")
    assert sheet.is_visible() and "Wheel, arrow keys" in sheet.inner_text()
    keys(alone, "Escape")
    assert not sheet.is_visible()
    focus = "() => document.activeElement.shadowRoot.activeElement.getAttribute('aria-label')"
    assert alone.page.evaluate(focus) == "Help"


# ---- touch -------------------------------------------------------------------------------------


def test_fingers_scroll_point_and_zoom(browser, address) -> None:
    page = Page(browser, (1024, 768), has_touch=True)
    page.page.goto(address)
    page.page.wait_for_selector(READY)
    page.settle()
    box = canvas(page, "axial").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    client = page.page.context.new_cdp_session(page.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": a, "y": b, "id": n} for n, (a, b) in enumerate(points)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    start = int(page.viewer()["axial"])
    touch("touchStart", (x, y))
    for n in range(1, 5):
        touch("touchMove", (x, y - 7 * n))
    touch("touchEnd")
    until(page, axial=str(start + 4))
    before = page.viewer()["sagittal"]
    touch("touchStart", (x + 60, y))
    touch("touchEnd")
    page.page.wait_for_timeout(300)
    assert int(page.viewer()["sagittal"]) < int(before)  # towards the patient's left
    touch("touchStart", (x - 40, y), (x + 40, y))
    touch("touchMove", (x - 80, y), (x + 80, y))
    touch("touchEnd")
    page.page.wait_for_timeout(300)
    assert 1.9 < float(page.viewer()["zoom"]) < 2.1
    assert page.faults == []
    page.page.close()


# ---- light, dark, failed, offline --------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_follows_the_theme_and_the_images_stay_on_black(
    browser, address, scheme: str
) -> None:
    page = Page(browser, color_scheme=scheme)
    page.page.goto(address)
    page.page.wait_for_selector(READY)
    light = """v => getComputedStyle(v).backgroundColor.match(/[0-9.]+/g).slice(0, 3)
      .reduce((sum, c) => sum + Number(c), 0) / 3"""
    frame = page.page.locator(".viewer").evaluate(light)
    assert frame > 200 if scheme == "light" else frame < 60
    ink = page.page.locator(".viewer").evaluate(light.replace("backgroundColor", "color"))
    assert abs(frame - ink) > 120
    corner = "c => [...c.getContext('2d').getImageData(2, 40, 1, 1).data]"
    assert canvas(page, "axial").evaluate(corner) == [0, 0, 0, 255]
    page.page.close()


def test_a_lost_connection_is_said_and_marks_wait_until_it_is_back(browser, tmp_path) -> None:
    page = Page(browser)
    home = str(tmp_path)
    with serve("tests/apps/viewer_alone.py", BMCORE_HOME=home, PYTHONPATH=str(PROJECT)) as found:
        page.page.goto(found)
        page.page.wait_for_selector(READY)
        page.settle()
    page.page.get_by_text("The connection to the server is lost").wait_for()
    canvas(page, "axial").focus(timeout=60_000)
    keys(page, "ArrowUp", "m")
    until(page, marks="missed", waiting="1")
    page.page.close()


# ---- blinding ----------------------------------------------------------------------------------


def test_before_the_unaided_vote_no_frame_holds_anything_of_the_models(
    browser, tmp_path, monkeypatch
) -> None:
    """Planted values are looked for in every websocket frame and every HTTP answer.

    Afterwards the same values must be found, or the search would prove nothing.
    """
    from dataclasses import replace

    from bmcore.domain import Answer
    from bmcore.inference import archive
    from pages.parts.viewer import payload

    home, models = tmp_path / "home", tmp_path / "models"
    home.mkdir()
    info = pages_home.make_bundle(models)
    case = pages_home.add_case(home, tmp_path / "files", "Case-1")
    plain = fixture.make_prediction(case, info)
    lesions = tuple(replace(n, region="canary lobe") for n in plain.lesions)
    reason = "canary of the image answer"
    planted = replace(plain, lesions=lesions, image=Answer("image", None, reason))
    archive.keep(home, planted)
    stored = archive.latest(home, "Case-1", info.digest)
    mask = payload.mask_block(stored.mask, f"Case-1/mask/{payload.content_id(stored.mask)}")
    canaries = {
        "the mask": mask[-200:],
        "the lesion table": b"anary lobe",
        "an answer": reason.encode(),
        "a probability": b"55%",
        "a finding": fixture.MODEL_FINDING.encode(),
    }
    frames: list[bytes] = []
    page = Page(browser)

    def listen(socket) -> None:
        def keep(frame) -> None:
            frames.append(frame if isinstance(frame, bytes) else frame.encode())

        socket.on("framereceived", keep)

    page.page.on("websocket", listen)

    def found() -> set[str]:
        return {name for name, c in canaries.items() if any(c in f for f in frames)}

    environment = {"BMCORE_HOME": str(home), "BMCORE_BUNDLE": str(models), "BMCORE_DEMO": "0"}
    with serve("app.py", **environment) as site:
        page.page.goto(site)
        page.page.get_by_text("Add a case", exact=True).wait_for()
        page.settle()
        page.page.goto(f"{site}/review?case=Case-1")
        page.page.wait_for_selector(READY)
        sign_in(page)
        assert page.button("Show the models' answers").is_disabled()
        canvas(page, "axial").focus()
        keys(page, "o", "l", "m")  # nothing there to show; a mark of one's own can be made
        until(page, marks="missed", mask="0")
        assert len(frames) > 10 and sum(map(len, frames)) > 10_000
        assert found() == set()
        vote(page, "Melanoma", "60")
        assert found() == set()  # stored, but not asked for yet
        page.button("Show the models' answers").click()
        page.page.wait_for_selector('.viewer[data-mask="1"]')
        page.page.get_by_role("tab", name="Lesions").click()
        page.settle()
        assert found() == set(canaries)
        until(page, marks="missed")  # the reader's own mark is still there
    page.page.close()
