"""From the click to the answer: what it costs cold, and what once the worker is warm, by part.

``python -m training.bench.answer_time [--home FOLDER --case ID] [--runs 2] [--threads 1]``

Without ``--home`` a home with one synthetic demo case is made. Two measurements:

1. parts: in one process, what the worker does for a case, part by part: importing, opening and
   building the models, reading the images, and each step of the pipeline, the first time and again.
   Seconds by the clock and on the processor; with one thread the latter hardly depend on what else
   the machine does, and the clock of n quiet cores lies between them and an n-th of them.
2. road: a real worker process; from asking for the run until its prediction is stored, cold (no
   worker lives) and warm, and the memory that the worker then holds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path


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


def road(home: Path, case_id: str, runs: int) -> None:
    """Print the seconds from asking until it is stored, of a worker of its own."""
    from bmcore.review.store import open_store
    from bmcore.running import keeper, line
    from bmcore.settings import settings

    with open_store(settings().url) as store:
        for number in range(runs + 1):
            begun = time.monotonic()
            line.submit(home, store, [case_id], "bench")
            while line.state(home, store, case_id).busy:
                time.sleep(0.1)
            state = line.state(home, store, case_id)
            name = "cold" if number == 0 else f"warm, {number}"
            print(f"road, {name:28s} {time.monotonic() - begun:8.2f}          {state.state}")
        child = keeper.child_of(home)
        if child is not None:
            status = Path(f"/proc/{child}/status").read_text(encoding="ascii")
            held = [row for row in status.splitlines() if row.startswith(("VmRSS", "VmHWM"))]
            print("memory of the worker:", "; ".join(" ".join(row.split()) for row in held))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--home", type=Path)
    options.add_argument("--case", default="Demo-1")
    options.add_argument("--runs", type=int, default=2)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--only", choices=("parts", "road"))
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bmcore-answer-") as temporary:
        home = (asked.home or Path(temporary)).resolve()
        os.environ |= {"BMCORE_HOME": str(home), "BMCORE_WORKER_MINUTES": "0.05"}
        os.environ["OMP_NUM_THREADS"] = str(asked.threads)
        if asked.home is None:
            from bmcore.inference.demo import ensure_demo_cases

            ensure_demo_cases(home)
        if asked.only != "road":
            parts(home, asked.case, asked.runs, asked.threads)
        if asked.only != "parts":
            road(home, asked.case, asked.runs)


if __name__ == "__main__":
    main()
