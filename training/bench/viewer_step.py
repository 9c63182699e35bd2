"""How long a slice step and the opening of a case take in real Chromium.

``python -m training.bench.viewer_step [--steps 200] [--home FOLDER --case ID]``

1. Slice step: 240 x 240 x 155, four sequences, mask with outlines, three planes at 1440 x 900. A
   wheel event is given to the canvas; the time runs until all planes are drawn and their pixels can
   be read back, so that work which the browser would put off is counted too. The wait for the next
   screen refresh (0 to 16.7 ms at 60 Hz) is no part of it.
2. Opening, with ``--home``: from the click on "Open" until the first slice is drawn.
3. First paint on the server's side: the script run of the Cases page, first call after a start.

Numbers are printed with n, median, p95 and the load of the machine; they are measurements of this
machine and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parents[2]
STEP = """async steps => {
  const hosts = [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')];
  const root = hosts.map(h => h.shadowRoot?.querySelector('.viewer')).find(Boolean);
  const canvases = [...root.querySelectorAll('.pane:not([hidden]) canvas')];
  const frame = () => new Promise(requestAnimationFrame);
  const times = [], drawn = [];
  for (let n = 0; n < steps; n++) {
    const canvas = canvases[n % canvases.length];
    await frame();
    const down = Math.floor(n / 40) % 2 ? 100 : -100;
    canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: down, bubbles: true, cancelable: true}));
    const before = performance.now();
    await frame();  // the viewer draws in this frame, before us
    const script = Number(root.dataset.drawMs);
    const start = performance.now();
    for (const c of canvases) c.getContext('2d').getImageData(0, 0, 1, 1);
    times.push(script + performance.now() - start);
    drawn.push(script);
  }
  return {times, drawn, canvases: canvases.length};
}"""


@contextmanager
def serve(script: str, **environment: str) -> Iterator[str]:
    """A Streamlit script on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", script, f"--server.port={port}"]
    command += ["--server.headless=true", "--server.fileWatcherType=none"]
    variables = {**os.environ, "PYTHONPATH": str(PROJECT), **environment}
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=PROJECT, env=variables, stdout=quiet, stderr=quiet)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def summary(name: str, milliseconds: list[float]) -> dict[str, Any]:
    """n, median and 95th percentile in ms."""
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return {"what": name, "n": len(milliseconds), "p50_ms": round(p50, 2), "p95_ms": round(p95, 2)}


def slice_steps(browser: Any, steps: int) -> list[dict[str, Any]]:
    with (
        tempfile.TemporaryDirectory() as home,
        serve("tests/apps/viewer_alone.py", BMCORE_HOME=home) as site,
    ):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(240_000)
        page.goto(f"{site}?big=1")
        page.wait_for_selector('.viewer[data-loaded="4"][data-mask="1"]')
        page.wait_for_timeout(2000)
        page.evaluate(STEP, 30)  # warm up
        found = page.evaluate(STEP, steps)
        page.close()
    return [
        summary(f"slice step, {found['canvases']} planes, pixels read back", found["times"]),
        summary(f"slice step, {found['canvases']} planes, script alone", found["drawn"]),
    ]


def openings(browser: Any, home: Path, case_id: str, repeats: int) -> list[dict[str, Any]]:
    times, loads = [], []
    with serve("app.py", BMCORE_HOME=str(home), BMCORE_DEMO="0") as site:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(240_000)
        page.goto(site)
        page.get_by_text("Add a case", exact=True).wait_for()
        for _ in range(repeats):
            page.get_by_test_id("stDataFrame").wait_for()
            page.wait_for_timeout(3000)
            box = page.get_by_test_id("stDataFrame").bounding_box()
            page.mouse.click(box["x"] + 160, box["y"] + 70)
            button = page.get_by_role("button", name=f"Open {case_id}")
            button.wait_for()
            page.wait_for_timeout(1500)
            start = time.perf_counter()
            button.click()
            page.wait_for_selector('.viewer[data-ready="1"]', state="attached")
            times.append((time.perf_counter() - start) * 1000)
            page.wait_for_selector('.viewer[data-loaded="4"]', state="attached")
            loads.append((time.perf_counter() - start) * 1000)
            page.get_by_role("link", name="Cases").click()
        page.close()
    return [summary("open to first slice", times), summary("open to all four sequences", loads)]


def first_paint(home: Path) -> dict[str, Any]:
    """The Cases page as the first script run of a fresh process, imports of the page included."""
    code = (
        "import time; import streamlit; from streamlit.testing.v1 import AppTest\n"
        "start = time.perf_counter()\n"
        "page = AppTest.from_file('pages/cases.py', default_timeout=60).run()\n"
        "assert not page.exception and not page.error\n"
        "print((time.perf_counter() - start) * 1000)"
    )
    variables = {**os.environ, "BMCORE_HOME": str(home), "BMCORE_DEMO": "0"}
    times = []
    for _ in range(5):
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=PROJECT,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        times.append(float(run.stdout.strip().splitlines()[-1]))
    return summary("Cases page, first script run after a start", times)


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--case")
    asked = parser.parse_args()
    chromium = os.environ.get("BMCORE_CHROMIUM") or shutil.which("chromium")
    rows: list[dict[str, Any]] = []
    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        rows += slice_steps(browser, asked.steps)
        if asked.home and asked.case:
            rows += openings(browser, asked.home, asked.case, asked.repeats)
            rows.append(first_paint(asked.home))
        version = browser.version
        browser.close()
    machine = {
        "chromium": version,
        "cpus": os.cpu_count(),
        "load": [round(v, 1) for v in os.getloadavg()],
        "machine": platform.machine(),
    }
    print(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
