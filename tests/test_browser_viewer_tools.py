"""The viewer's layouts, windows, measurements and menu in Chromium, and what axe finds in them."""
# ruff: noqa: F401, F811

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tests import pages_fixture as fixture
from tests.test_browser import CHROMIUM, Page, canvas
from tests.test_browser_viewer import (
    AMBER,
    READY,
    address,
    alone,
    browser,
    drag,
    keys,
    returned,
    see,
    shared,
    tool,
    until,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def focus(page: Page) -> None:
    canvas(page, "axial").focus()


def status(page: Page) -> str:
    return page.page.locator(".viewer .status").inner_text()


# ---- layouts -----------------------------------------------------------------------------------


def test_four_sequences_hang_from_t1_to_flair_and_the_layout_is_kept_for_the_next_case(
    alone: Page,
) -> None:
    focus(alone)
    keys(alone, "q")
    until(alone, layout="four", shows="t1n t1c t2w t2f")
    before = int(alone.viewer()["axial"])
    canvas(alone, "fourth").click(position={"x": 150, "y": 100})
    keys(alone, "ArrowUp")
    assert int(alone.viewer()["axial"]) == before + 1  # linked
    places = [
        canvas(alone, pane).get_attribute("aria-valuenow")
        for pane in ("axial", "compare", "third", "fourth")
    ]
    assert places == [str(before + 2)] * 4
    keys(alone, "5")  # of the pane that was clicked on: the subtraction
    until(alone, shows="t1n t1c t2w t1c-t1n")
    keys(alone, "s")
    for _ in range(20):
        settings = returned(alone)["settings"]
        if settings and settings["drag"] == "scroll":
            break
    assert settings["layout"] == "four" and settings["four"][3] == "t1c-t1n"
    alone.page.evaluate("() => sessionStorage.clear()")


def test_two_sequences_differ_whatever_was_shown_before(alone: Page) -> None:
    focus(alone)
    keys(alone, "4", "c")
    until(alone, shows="t2f t1c")


# ---- an earlier examination beside -------------------------------------------------------------


def test_an_earlier_examination_shows_the_same_place_and_nothing_is_marked_on_it(see) -> None:
    """The head lay 5 mm further right then: laid on each other, its lesion is drawn where it is
    now, has the same grey value, and both planes step together."""
    page = see("prior=linked")
    until(page, prior="linked", shows="t1c prior-t1c", **{"prior-loaded": "4"})
    page.button("Jump left").click()
    until(page, lesion="1")
    assert "T1 Gd 300.00" in status(page) and "Earlier T1 Gd 300.00" in status(page)
    now, then = (canvas(page, pane).evaluate(AMBER) for pane in ("axial", "compare"))
    assert now == pytest.approx(then, abs=0.01) and now[0] > 0.55
    at = int(page.viewer()["axial"])
    canvas(page, "compare").hover()
    page.page.mouse.wheel(0, -100)
    until(page, axial=str(at + 1), beside=str(at + 1))
    tool(page, "Length")
    drag(page, "compare", (0.3, 0.3), (0.6, 0.6))
    assert page.viewer()["marks"] == ""
    keys(page, "Escape", "4")
    until(page, shows="t2f prior-t2f")
    keys(page, "Shift+C")
    until(page, shows="t2f t2f t2f")


def test_an_earlier_examination_that_is_not_linked_moves_by_itself(see) -> None:
    page = see("prior=apart")
    until(page, prior="apart", shows="t1c prior-t1c", **{"prior-loaded": "4"})
    at = int(page.viewer()["axial"])
    canvas(page, "compare").hover()
    page.page.mouse.wheel(0, -100)
    until(page, axial=str(at), beside=str(at + 1))
    canvas(page, "axial").hover()
    page.page.mouse.wheel(0, -100)
    until(page, axial=str(at + 1), beside=str(at + 1))


# ---- windows -----------------------------------------------------------------------------------


def test_window_numbers_are_those_of_the_file_and_can_be_typed(alone: Page) -> None:
    focus(alone)
    keys(alone, ".")
    viewer = alone.page.locator(".viewer")
    viewer.get_by_label("Window level").fill("300")
    viewer.get_by_label("Window width").fill("20")
    keys(alone, "Enter")
    assert viewer.get_by_label("Window preset").input_value() == ""  # a window of one's own
    grey = "c => [...c.getContext('2d').getImageData(c.width / 2 + X, c.height / 2, 1, 1).data]"
    assert canvas(alone, "axial").evaluate(grey.replace("X", "60"))[0] == 0  # tissue of about 100
    viewer.get_by_label("Window preset").select_option("Brain")
    alone.page.wait_for_timeout(300)
    assert 110 < canvas(alone, "axial").evaluate(grey.replace("X", "60"))[0] < 150
    assert viewer.get_by_label("Window level").input_value() != "300.00"
    keys(alone, "Escape")
    assert not viewer.locator(".menu").is_visible()


def test_the_readout_is_the_value_of_the_file_in_plain_digits(see) -> None:
    page = see("turn=LPS")
    page.button("Jump left").click()
    until(page, lesion="1")
    assert "T1 Gd 300.00" in status(page)
    focus(page)
    keys(page, "1")
    value = float(fixture.make_case().sequences["t1n"].data[14, 32, 26])
    assert f"T1 {value:.3f}" in status(page) and "e+" not in status(page)
    page.page.wait_for_timeout(900)  # told to the screen reader once the steps have stopped
    told = page.page.locator(".viewer .where").inner_text()
    assert told == f"T1, axial, slice 27 of 40, value {value:.3f}, necrosis"


def test_a_subtraction_shows_what_takes_up_contrast_and_a_slab_its_brightest(
    see,
) -> None:
    """The lesion is at 300 on T1 Gd and about 100 on T1; a slab shows it some slices away."""
    page = see("unaided=1", mask=False)
    page.button("Jump left").click()
    page.settle()
    focus(page)
    keys(page, "5", "f", " ")
    bright = """c => {
      const {data} = c.getContext('2d').getImageData(0, 60, c.width - 40, c.height - 120);
      let n = 0;
      for (let p = 0; p < data.length; p += 4) if (data[p] > 170) n++;
      return n;
    }"""
    assert canvas(page, "axial").evaluate(bright) > 2000
    keys(page, *["ArrowUp"] * 7)
    assert canvas(page, "axial").evaluate(bright) < 200
    keys(page, "t", "t")  # 10 mm: five slices to each side
    until(page, slab="10")
    assert canvas(page, "axial").evaluate(bright) > 500


# ---- moving ------------------------------------------------------------------------------------


def test_a_drag_scrolls_and_the_bar_leads_to_any_slice(alone: Page) -> None:
    tool(alone, "Scroll")
    start = int(alone.viewer()["axial"])
    box = canvas(alone, "axial").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    alone.page.mouse.move(x, y)
    alone.page.mouse.down()
    alone.page.mouse.move(x, y - 70, steps=10)
    alone.page.mouse.up()
    until(alone, axial=str(start + 10))
    alone.page.mouse.click(box["x"] + box["width"] - 6, box["y"] + 16)
    until(alone, axial="39")
    alone.page.mouse.click(box["x"] + box["width"] - 6, box["y"] + box["height"] - 16)
    until(alone, axial="0")
    focus(alone)
    keys(alone, "End")
    until(alone, axial="39")


# ---- measurements and brush --------------------------------------------------------------------


def test_diameters_angle_and_area_are_drawn_and_come_back_as_marks(
    alone: Page,
) -> None:
    tool(alone, "Two diameters")
    drag(alone, "axial", (0.3, 0.5), (0.6, 0.5))
    assert alone.viewer()["marks"] == ""  # the one across is still to come
    drag(alone, "axial", (0.45, 0.4), (0.5, 0.6))
    until(alone, marks="diameters")
    focus(alone)
    keys(alone, "e", *["Shift+ArrowRight"] * 5, "e", *["Shift+ArrowUp"] * 5, "e")
    until(alone, marks="diameters angle")
    tool(alone, "Area")
    box = canvas(alone, "axial").bounding_box()
    at = [
        (box["x"] + a * box["width"], box["y"] + b * box["height"])
        for a, b in ((0.3, 0.3), (0.5, 0.3), (0.5, 0.5), (0.3, 0.5))
    ]
    alone.page.mouse.move(*at[0])
    alone.page.mouse.down()
    for place in at[1:]:
        alone.page.mouse.move(*place, steps=8)
    alone.page.mouse.up()
    until(alone, marks="diameters angle area", waiting="0")
    two, angle, area = returned(alone)["marks"]
    ends = np.array(two["points"])
    assert abs((ends[1] - ends[0]) @ (ends[3] - ends[2])) < 1e-6
    legs = np.array(angle["points"])[[0, 2]] - np.array(angle["points"])[1]
    assert abs(legs[0] @ legs[1]) < 1e-6
    assert 10 < len(area["points"]) <= 200
    tool(alone, "Your marks 3")
    words = alone.page.get_by_role("dialog", name="Your marks").inner_text()
    assert "90°" in words and " × " in words and ("mm²" in words or "cm²" in words)


def test_the_brush_takes_a_range_of_values_and_fills_between_two_strokes(
    alone: Page,
) -> None:
    plain = np.bincount(fixture.make_prediction(fixture.make_case()).mask.data.ravel(), minlength=4)
    focus(alone)
    keys(alone, "b", "j")
    viewer = alone.page.locator(".viewer")
    viewer.get_by_label("Lowest grey value").fill("5000")
    viewer.get_by_label("Highest grey value").fill("6000")
    keys(alone, "Enter")
    drag(alone, "axial", (0.42, 0.3), (0.48, 0.3))  # no voxel is that bright
    assert returned(alone)["painted"] is None
    focus(alone)
    keys(alone, "j")
    drag(alone, "axial", (0.42, 0.3), (0.48, 0.3))
    focus(alone)
    keys(alone, *["ArrowUp"] * 4)
    drag(alone, "axial", (0.42, 0.3), (0.48, 0.3))
    until(alone, waiting="0")
    two = returned(alone)["painted"][3] - plain[3]
    focus(alone)
    keys(alone, "z")
    until(alone, waiting="0")
    for _ in range(20):
        all_five = returned(alone)["painted"][3] - plain[3]
        if all_five > two:
            break
    assert two * 2.2 < all_five < two * 2.8  # three slices more, of the same shape
    focus(alone)
    keys(alone, "u", "Escape")


# ---- one row, touch, axe -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (720, 450), (390, 844)])
def test_the_toolbar_is_one_row_and_everything_is_in_it_or_in_the_menu(
    see,
    shared: Page,
    size: tuple[int, int],
) -> None:
    """720 x 450 is 1440 x 900 at 200 %."""
    shared.page.set_viewport_size({"width": size[0], "height": size[1]})
    try:
        page = see("heat=1")
        viewer = page.page.locator(".viewer")
        assert viewer.locator(".bar").evaluate("b => b.clientHeight") <= 46
        names = ["T1", "FLAIR", "Length", "Undo", "Redo", "Accept", "Two diameters", "Brush", "Pan"]
        focus(page)
        keys(page, ".")
        for name in names:
            button = viewer.get_by_role("button", name=name, exact=True)
            button.scroll_into_view_if_needed()
            assert button.is_visible()
        over = "b => b.scrollWidth - b.clientWidth"
        assert viewer.locator(".row").first.evaluate(over) <= 1
        assert page.page.evaluate("() => document.documentElement.scrollWidth") <= size[0]
        keys(page, "Escape")
    finally:
        shared.page.set_viewport_size({"width": 1440, "height": 900})


def test_what_a_finger_meets_is_44_pixels_large(browser, address) -> None:
    page = Page(browser, (820, 1180), has_touch=True, is_mobile=True)
    page.page.goto(address)
    page.page.wait_for_selector(READY)
    page.page.locator(".viewer").get_by_role("button", name="More", exact=True).click()
    sizes = page.page.locator(".viewer").evaluate(
        "v => [...v.querySelectorAll('button, select, input')].filter((n) => n.offsetParent)"
        ".map((n) => [n.textContent || n.ariaLabel, n.offsetWidth, n.offsetHeight])"
    )
    assert len(sizes) > 15
    assert [s for s in sizes if min(s[1:]) < 44] == []
    page.page.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, from BMCORE_AXE or by npm; without either the tests skip."""
    script = axe_script()
    if script.startswith("axe-core: "):
        pytest.skip(script)
    return script


@lru_cache(maxsize=1)
def axe_script() -> str:
    """The script, or why there is none; asked for once, whichever module does."""
    given = os.environ.get("BMCORE_AXE")
    if given:
        return Path(given).read_text(encoding="utf-8")
    if shutil.which("npm") is None:
        return "axe-core: no npm here, and BMCORE_AXE names no axe.min.js"
    with tempfile.TemporaryDirectory(prefix="axe-") as folder:
        command = ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "axe-core@4"]
        try:
            found = subprocess.run(command, capture_output=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            return "axe-core: npm did not answer within a minute"
        script = Path(folder) / "node_modules" / "axe-core" / "axe.min.js"
        if found.returncode or not script.is_file():
            return "axe-core: npm could not install it"
        return script.read_text(encoding="utf-8")


AXE = """async () => {
  const found = await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']});
  const words = (n) => n.target + ' ' + n.failureSummary;
  return found.violations.map((v) => [v.impact, v.id, v.nodes.map(words)]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_viewer(
    browser,
    address,
    axe: str,
    scheme: str,
) -> None:
    """With the menu, the brush row, the list of marks and the sheet of keys open in turn."""
    page = Page(browser, color_scheme=scheme)
    page.page.goto(f"{address}?heat=1")
    page.page.wait_for_selector(READY)
    page.settle()
    page.page.evaluate(axe)
    focus(page)
    keys(page, "l", "b", "m")
    found: list = []
    for opens in (".", "y", "?"):
        keys(page, opens)
        found += page.page.evaluate(AXE)
        keys(page, "Escape")
    mine = [one for one in found if any(".viewer" in node for node in one[2])]
    grave = [one for one in mine if one[0] in ("serious", "critical")]
    assert grave == [], json.dumps(grave, indent=1)[:3000]
    page.page.close()
