"""From the click to the answer: what it costs cold, and what once the worker is warm, by part.

``python -m training.bench.answer_time [--home FOLDER --case ID] [--runs 2] [--threads 1]
[--only parts|road] [--before] [--look 8]``

Without ``--home`` a home with one synthetic demo case is made. Two measurements:

1. parts: in one process, what the worker does for a case, part by part: importing, opening and
   building the models, reading the images, and each step of the pipeline, the first time and again.
   Seconds by the clock and on the processor; with one thread the latter hardly depend on what else
   the machine does, and the clock of n quiet cores lies between them and an n-th of them.
2. road: a real worker process; from asking for the run until its prediction is stored: cold (no
   worker lives), opened (a page was opened ``--look`` seconds before the click, which starts the
   worker) and warm; the steps of each, and the memory that the worker then holds.

``--before`` does the road once more as it was before the worker was started early and warmed up and
before the net kept one order in memory, and prints the ratio of both.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bmcore.models.configs import SegmenterConfig
    from bmcore.models.nets.segmenter import Segmenter
    from bmcore.review.store import Store


def parts(home: Path, case_id: str, runs: int, threads: int) -> None:
    """Print the seconds of each part."""
    clock, cpu = time.perf_counter(), time.process_time()

    def lap(name: str) -> None:
        nonlocal clock, cpu
        now, used = time.perf_counter(), time.process_time()
        print(f"{name:34s} {now - clock:8.2f} {used - cpu:8.2f}", flush=True)
        clock, cpu = now, used

    print(f"{'part':34s} {'clock s':>8s} {'CPU s':>8s}   ({threads} threads)")
    import torch

    torch.set_num_threads(threads)
    lap("import torch")
    from bmcore.inference import archive, pipeline
    from bmcore.intake.library import load_case
    from bmcore.models.bundles import load_bundle
    from bmcore.settings import settings

    lap("import the pipeline")
    models = load_bundle(settings().bundle)
    lap("open and check the models")
    for part in ("segmenter", "cnn", "autoencoder"):
        getattr(models, part)
    lap("build the nets")
    for number in range(runs):
        case = load_case(home, case_id)
        lap(f"read the images, {number + 1}")
        steps: dict[str, float] = {}
        last = ["", time.process_time()]

        def step(words: str, _: float, last: list = last, steps: dict = steps) -> None:
            if words != last[0]:
                now = time.process_time()
                steps[last[0]] = steps.get(last[0], 0.0) + now - last[1]
                last[:] = [words, now]

        made = pipeline.predict(case, models, step)
        clocks = iter(made.timings_s.values())
        for words, used in steps.items():
            if words:
                print(f"  {words:32s} {next(clocks):8.2f} {used:8.2f}", flush=True)
        lap(f"all steps, {number + 1}")
        archive.keep(home, made)
        lap(f"store, {number + 1}")


def road(home: Path, case_id: str, runs: int, look_s: float) -> dict[str, tuple[float, float]]:
    """Print the seconds from asking until it is stored, of workers of their own.

    Returns {which: seconds by the clock, on the worker's processors}; warm: the fastest.
    """
    from bmcore.review.store import open_store
    from bmcore.running import keeper
    from bmcore.settings import settings

    found: dict[str, tuple[float, float]] = {}
    with open_store(settings().url) as store:
        found["cold"] = _click(home, store, case_id, "cold")
        _end(home, store)
        if look_s > 0:
            keeper.ensure(home, store)  # what a page does when it is opened
            time.sleep(look_s)
            found["opened"] = _click(home, store, case_id, "opened")
        warm = [_click(home, store, case_id, f"warm, {n + 1}") for n in range(runs)]
        if warm:
            found["warm"] = min(warm)
        _tell_memory(keeper.child_of(home))
        _end(home, store)
    return found


def _click(home: Path, store: Store, case_id: str, which: str) -> tuple[float, float]:
    from bmcore.inference import archive
    from bmcore.running import keeper, line
    from bmcore.running.tasks import bundle

    begun, used = time.monotonic(), _used(keeper.child_of(home))
    line.submit(home, store, [case_id], "bench")
    while (state := line.state(home, store, case_id)).busy:
        time.sleep(0.05)
    clock, cpu = time.monotonic() - begun, _used(keeper.child_of(home)) - used
    print(f"road, {which:28s} {clock:8.2f} {cpu:8.2f}   {state.state} {state.message}", flush=True)
    made = archive.latest(home, case_id, bundle().info.digest)
    if made is not None:
        steps = (f"{name} {spent:.2f}" for name, spent in made.timings_s.items())
        print(f"  by the clock: {', '.join(steps)}", flush=True)
    _until_idle(store)
    return clock, cpu


def _until_idle(store: Store) -> None:
    """Wait until the worker has made the maps that follow an answer."""
    from bmcore.review import runs

    while runs.any_busy(store):
        time.sleep(0.1)


def _used(process: int | None) -> float:
    """Seconds on the processor of a process until now; 0 where there is none."""
    if process is None:
        return 0.0
    told = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _tell_memory(process: int | None) -> None:
    if process is not None:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        held = [row for row in status.splitlines() if row.startswith(("VmRSS", "VmHWM"))]
        print("memory of the worker:", "; ".join(" ".join(row.split()) for row in held))


def _end(home: Path, store: Store) -> None:
    """End the worker that this program started, so that the next click meets none."""
    from bmcore.running import keeper

    _until_idle(store)
    process = keeper.child_of(home)
    if process is not None:
        os.kill(process, signal.SIGTERM)
    while keeper.child_of(home) is not None or keeper.alive(home):
        time.sleep(0.05)


def before(argv: list[str]) -> int:
    """A worker as it was: it loads the models, but warms nothing up, and its net works in the order
    in memory that each step happened to leave."""
    from bmcore.models import segmenter
    from bmcore.running import tasks, worker

    build = segmenter.build_segmenter

    def as_it_was(config: SegmenterConfig) -> Segmenter:
        from monai.networks.utils import pixelshuffle

        from bmcore.models.nets import segmenter as nets

        nets._spread = lambda x: pixelshuffle(x, 3, 2)  # type: ignore[assignment]
        nets._normed = lambda x, norm: norm(x)  # type: ignore[assignment]
        return build(config.changed(whole=False))

    def load(at_work: Callable[[], bool]) -> None:
        ready = tasks.bundle()
        for part in ("segmenter", "cnn", "autoencoder"):
            getattr(ready, part)

    segmenter.build_segmenter = as_it_was  # type: ignore[assignment]
    tasks.warm_up = load  # type: ignore[assignment]
    return worker.main(argv)


def compare(home: Path, case_id: str, runs: int, look_s: float) -> None:
    """The road now and as it was, and the ratios."""
    from bmcore.running import keeper

    now = road(home, case_id, runs, look_s)
    print("as it was:")
    code = "import sys; from training.bench.answer_time import before; before(sys.argv[1:])"
    command, keeper.COMMAND = keeper.COMMAND, [sys.executable, "-c", code]
    try:
        was = road(home, case_id, runs, 0.0)
    finally:
        keeper.COMMAND = command
    for name, other in (("cold", "cold"), ("opened", "cold"), ("warm", "warm")):
        if name in now and other in was:
            clock, cpu = (a / b for a, b in zip(now[name], was[other], strict=True))
            print(f"{name} now / {other} as it was: {clock:.2f} by the clock, {cpu:.2f} CPU")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--home", type=Path)
    options.add_argument("--case", default="Demo-1")
    options.add_argument("--runs", type=int, default=2)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--only", choices=("parts", "road"))
    options.add_argument("--before", action="store_true", help="the road as it was, too")
    options.add_argument("--look", type=float, default=8.0, help="seconds from page to click")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bmcore-answer-") as temporary:
        home = (asked.home or Path(temporary)).resolve()
        os.environ |= {"BMCORE_HOME": str(home), "BMCORE_WORKER_MINUTES": "2"}
        os.environ["OMP_NUM_THREADS"] = str(asked.threads)
        if asked.home is None:
            from bmcore.inference.demo import ensure_demo_cases

            ensure_demo_cases(home)
        if asked.only != "road":
            parts(home, asked.case, asked.runs, asked.threads)
        if asked.only != "parts":
            print(f"{'':34s} {'clock s':>8s} {'CPU s':>8s}   ({asked.threads} threads)")
            ways = compare if asked.before else road
            ways(home, asked.case, asked.runs, asked.look)


if __name__ == "__main__":
    main()
