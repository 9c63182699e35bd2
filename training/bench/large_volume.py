"""How long a large case takes: at intake, and from the click to its first slice.

``python -m training.bench.large_volume [--shape 512 512 300] [--sequences 4] [--browser 5]``

Sequences of this many voxels (16 bit, noise on a ball, so that nothing packs well) are added as a
case. Then, each with seconds by the clock and on the processor:

- adding: ``library.add_case``, in this process;
- blocks at intake: the process that makes pictures and image blocks, with the most memory it held;
- opening: what the server does until what the first slice is drawn from is on its way, in this
  process, median of 5, once to warm up;
- with ``--browser``: in real Chromium, from the click on “Read the next case” until the first
  slice is drawn, and until all sequences have come, median and the longest of so many.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bmcore.settings import PROJECT
from training.bench.viewer_step import serve

CASE = "Large-1"
SEQUENCES = ("t1c", "t1n", "t2w", "t2f")


def files(folder: Path, shape: tuple[int, int, int], sequences: int) -> dict[str, Path]:
    """The images, 16 bit; the voxels become larger or smaller so that the head stays one."""
    import nibabel as nib

    rng = np.random.default_rng(512)
    sides = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    ball = sum(side**2 for side in sides) < 0.8
    affine = np.diag([*(240 / np.array(shape)), 1.0])
    made = {}
    for n, name in enumerate(SEQUENCES[:sequences]):
        grey = rng.integers(400 + 100 * n, 1200 + 100 * n, shape, dtype=np.int16)
        made[name] = folder / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(np.where(ball, grey, np.int16(0)), affine), made[name])
    return made


def timed(name: str, work: Callable[[], object]) -> None:
    """Print what it took, children that ended included."""
    clock, cpu = time.perf_counter(), _cpu()
    work()
    print(
        f"{name:34s} {time.perf_counter() - clock:8.2f} s   {_cpu() - cpu:8.2f} CPU s", flush=True
    )


def _cpu() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def prepare(home: Path) -> None:
    """As the server does when a case was added."""
    subprocess.run(
        [sys.executable, "-m", "pages.parts.viewer.preparer", str(home)],
        cwd=PROJECT,
        input=f"{CASE}\n",
        text=True,
        check=True,
        capture_output=True,
    )


def opening(home: Path) -> None:
    """What stands between asking for the case and its first slice, on the server's side."""
    from bmcore.intake import library
    from pages.parts.viewer import block_cache

    times, sent = [], 0
    for _ in range(6):
        clock, cpu = time.perf_counter(), time.process_time()
        images = block_cache.images(home, library.get_entry(home, CASE))
        first = images.preview() or images.read("t1c")
        times.append((time.perf_counter() - clock, time.process_time() - cpu))
        sent = len(first)
    wall, cpu = (statistics.median(part) for part in zip(*times[1:], strict=True))
    print(
        f"{'opening, server side':34s} {wall:8.2f} s   {cpu:8.2f} CPU s   n 5   {sent / 1e6:.1f} MB"
    )
    blocks = sorted((home / "cache" / "viewer" / CASE).glob("*.bmv"))
    print(
        "blocks:",
        ", ".join(f"{p.name.split('-')[0]} {p.stat().st_size / 1e6:.1f} MB" for p in blocks),
    )


def in_browser(home: Path, sequences: int, times: int) -> None:
    """From the click on the row to the first slice and to all sequences."""
    from playwright.sync_api import sync_playwright

    first, every = [], []
    settled = '[data-testid="stApp"][data-test-script-state="notRunning"]'
    with (
        serve("app.py", BMCORE_HOME=str(home), BMCORE_DEMO="0") as site,
        sync_playwright() as engine,
    ):
        chromium = os.environ.get("BMCORE_CHROMIUM") or shutil.which("chromium")
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = engine.chromium.launch(executable_path=chromium, args=flags)
        for _ in range(times + 1):
            page = browser.new_page(viewport={"width": 1440, "height": 900})  # remembers nothing
            page.set_default_timeout(240_000)
            page.goto(site)
            page.wait_for_selector(settled)
            button = page.get_by_role("button", name=re.compile("Read the next case"))
            button.wait_for()
            begun = time.perf_counter()
            button.click()
            page.wait_for_selector('.viewer[data-ready="1"]', state="attached")
            first.append(time.perf_counter() - begun)
            page.wait_for_selector(f'.viewer[data-loaded="{sequences}"]', state="attached")
            every.append(time.perf_counter() - begun)
            page.close()
        browser.close()
    for name, found in (("click to first slice", first), ("click to all sequences", every)):
        warm = found[1:]
        print(
            f"{name:34s} {found[0]:8.2f} s the first time, then {statistics.median(warm):.2f} s "
            f"(longest {max(warm):.2f}, n {times}), load {os.getloadavg()[0]:.1f}"
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shape", type=int, nargs=3, default=[512, 512, 300])
    options.add_argument("--sequences", type=int, default=4, choices=(1, 2, 3, 4))
    options.add_argument("--browser", type=int, default=0, metavar="TIMES")
    asked = options.parse_args()
    from bmcore.intake import library

    with tempfile.TemporaryDirectory(prefix="bmcore-volume-") as temporary:
        work, home = Path(temporary) / "files", Path(temporary) / "home"
        work.mkdir()
        given = files(work, tuple(asked.shape), asked.sequences)
        timed("adding", lambda: library.add_case(home, given, CASE))
        timed(f"blocks at intake, {asked.sequences} sequences", lambda: prepare(home))
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{'most memory of a child process':34s} {most:8.0f} MB")
        opening(home)
        if asked.browser:
            in_browser(home, asked.sequences, asked.browser)


if __name__ == "__main__":
    main()
