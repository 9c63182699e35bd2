"""How long a slice step and the opening of a case take in real Chromium.

``python -m training.bench.viewer_step [--steps 200] [--runs 5] [--home FOLDER --case ID [ID ...]]``

1. Slice step: 240 x 240 x 155, four sequences, mask with outlines, three planes at 1440 x 900. A
   wheel event is given to the canvas; the time runs until all planes are drawn and their pixels can
   be read back, so that work which the browser would put off is counted too. The wait for the next
   screen refresh (0 to 16.7 ms at 60 Hz) is no part of it.
2. Opening, with ``--home``: from the click on "Open" until the first slice is drawn.
3. First paint on the server's side, with ``--home``: the script run of the Cases page, the first
   one after a start. Once in a process that has done what the server does while it starts
   (``pages.parts.preload``), once in one that has not; wall time and time on the processor.

Each number is the median over the runs of that run's median and 95th percentile, with the load of
the machine (processes that want a processor, mean of a minute) over the runs. They are measurements
of this machine and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
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


def summary(name: str, runs: list[list[float]], loads: list[float]) -> dict[str, Any]:
    """Medians over the runs of each run's median and 95th percentile, in ms."""
    p50, p95 = (float(np.median([np.percentile(run, q) for run in runs])) for q in (50, 95))
    found = {
        "what": name,
        "runs": len(runs),
        "n": sum(len(run) for run in runs),
        "p50_ms": round(p50, 2),
        "p95_ms": round(p95, 2),
        "best_run_p95_ms": round(min(float(np.percentile(run, 95)) for run in runs), 2),
        "load": [round(min(loads), 1), round(max(loads), 1)],
    }
    print(json.dumps(found), file=sys.stderr, flush=True)  # so that a stopped run leaves something
    return found


def slice_steps(browser: Any, steps: int, runs: int) -> list[dict[str, Any]]:
    times, drawn, loads, canvases = [], [], [], 0
    with (
        tempfile.TemporaryDirectory() as home,
        serve("tests/apps/viewer_alone.py", BMCORE_HOME=home) as site,
    ):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(240_000)
        page.goto(f"{site}?big=1")
        page.wait_for_selector('.viewer[data-loaded="4"][data-mask="1"]')
        page.evaluate(STEP, 60)  # warm up
        for _ in range(runs):
            found = page.evaluate(STEP, steps)
            times.append(found["times"])
            drawn.append(found["drawn"])
            loads.append(os.getloadavg()[0])
            canvases = found["canvases"]
        page.close()
    return [
        summary(f"slice step, {canvases} planes, pixels read back", times, loads),
        summary(f"slice step, {canvases} planes, script alone", drawn, loads),
    ]


def openings(browser: Any, home: Path, case_id: str, repeats: int) -> list[dict[str, Any]]:
    first, every, loads = [], [], []
    with serve("app.py", BMCORE_HOME=str(home), BMCORE_DEMO="0") as site:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(240_000)
        page.goto(site)
        settled = '[data-testid="stApp"][data-test-script-state="notRunning"]'
        for _ in range(repeats):
            page.get_by_label("Search", exact=True).fill(case_id)
            page.keyboard.press("Enter")
            page.get_by_text(re.compile("^1 of ")).wait_for()
            page.wait_for_selector(settled)
            box = page.get_by_test_id("stDataFrame").bounding_box()
            page.mouse.click(box["x"] + 160, box["y"] + 70)
            button = page.get_by_role("button", name=f"Open {case_id}")
            button.wait_for()
            page.wait_for_selector(settled)
            start = time.perf_counter()
            button.click()
            page.wait_for_selector('.viewer[data-ready="1"]', state="attached")
            first.append([(time.perf_counter() - start) * 1000])
            page.wait_for_selector('.viewer[data-loaded="4"]', state="attached")
            every.append([(time.perf_counter() - start) * 1000])
            loads.append(os.getloadavg()[0])
            page.wait_for_selector(settled)
            page.get_by_role("link", name="Cases").click()
        page.close()
    return [
        summary(f"{case_id}: open to first slice", first, loads),
        summary(f"{case_id}: open to all sequences", every, loads),
    ]


PAINT = """import time
from streamlit.testing.v1 import AppTest
if {warm}:
    from pages.parts import preload
    preload.load()
wall, cpu = time.perf_counter(), time.process_time()
page = AppTest.from_file("{page}", default_timeout=120).run()
assert not page.exception and not page.error
print((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000)
"""


def first_paint(home: Path, warm: bool, repeats: int) -> list[dict[str, Any]]:
    """The Cases page as the first script run of a fresh process."""
    code = PAINT.format(warm=warm, page=PROJECT / "pages" / "cases.py")
    variables = {"BMCORE_HOME": str(home), "BMCORE_DEMO": "0", "PYTHONPATH": str(PROJECT)}
    walls, cpus, loads = [], [], []
    for _ in range(repeats):
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=PROJECT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        wall, cpu = map(float, run.stdout.strip().splitlines()[-1].split())
        walls.append([wall])
        cpus.append([cpu])
        loads.append(os.getloadavg()[0])
    state = "as the server starts" if warm else "nothing imported before"
    return [
        summary(f"Cases page, first run, {state}", walls, loads),
        summary(f"Cases page, first run, {state}, on the processor", cpus, loads),
    ]


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--case", nargs="*", default=[])
    asked = parser.parse_args()
    chromium = os.environ.get("BMCORE_CHROMIUM") or shutil.which("chromium")
    rows: list[dict[str, Any]] = []
    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        if asked.steps:
            rows += slice_steps(browser, asked.steps, asked.runs)
        for case_id in asked.case if asked.home else ():
            rows += openings(browser, asked.home, case_id, asked.runs)
        version = browser.version
        browser.close()
    if asked.home:
        rows += first_paint(asked.home, True, asked.runs)
        rows += first_paint(asked.home, False, asked.runs)
    machine = {
        "chromium": version,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
    print(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
