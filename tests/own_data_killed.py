"""Run all steps of a training, killed once in the middle of each: ``python -m
tests.own_data_killed DATA PLACE START``.

A process of its own: it forks, and each child works off the chain until a step writes its first
file, where it kills itself without a word. The next child goes on. One that reaches the end ends
with 0. Prints the names of the steps in which a child died.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

import torch

from bmcore.imaging import preprocess
from tests import own_data_fixture as fixture
from training import evaluate
from training.evaluation import answers
from training.pipeline import limits
from training.pipeline.audit import check
from training.pipeline.order import Run
from training.pipeline.whole import do_steps, look_only, plan, stored_split
from training.run.chain import Chain


def less_work() -> None:
    """The grid, the repeats and the reductions have tests of their own."""
    preprocess.place_head = fixture.place_once
    limits.CORES, limits.VOXELS, limits.CHANCES = (0.1, 0.3), (2,), (0.1,)
    answers.REDUCTIONS = answers.REDUCTIONS[:1]
    evaluate.evaluate = partial(answers.evaluate, repeats=1)


def child(run: Run, killed: Path) -> None:
    """Work until a step writes that no child has died in."""
    now = [""]
    died = killed.read_text().splitlines()
    replace = Path.replace

    def say(line: str) -> None:
        name, _, what = line.partition(": ")
        if what.startswith("starts"):
            now[0] = name

    def dying(self: Path, target: Path) -> Path:
        if now[0] and now[0] not in died:
            with killed.open("a") as file:
                file.write(f"{now[0]}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = dying  # type: ignore[method-assign]
    do_steps(run, Chain(run.order.work, {}, say))


def main(data: Path, place: Path, start: Path) -> None:
    torch.set_num_threads(1)  # threads do not live on in a fork
    less_work()
    order = fixture.order(data, place, start)
    found = look_only(order, lambda line: None)
    check(found, order.effort.least, order.folds)
    run, _ = plan(order, found, stored_split(order, found))
    killed = place / "killed.txt"
    killed.write_text("")
    while True:
        before = killed.read_text()
        number = os.fork()
        if number == 0:
            child(run, killed)
            os._exit(0)
        _, status = os.waitpid(number, 0)
        if status == 0:
            break
        if not os.WIFSIGNALED(status) or killed.read_text() == before:
            sys.exit(f"a child ended by itself: {status}")
    print(killed.read_text(), end="")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
