"""Progress in plain lines with the time left, for a log file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from rich.progress import TaskID

EVERY_S = 30.0  # between two lines of one task


def duration(seconds: float) -> str:
    """In words, as coarse as it is known: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass
class _Task:
    words: str
    total: float
    began: float
    told: float
    at_start: float = 0.0
    done: float = field(default=0.0)


class PlainProgress:
    """What the bars of ``rich`` are where there is no terminal: the same calls, a line now and
    then.

    say: takes a line. clock: seconds.
    """

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.say, self.clock = say, clock
        self.tasks: list[_Task] = []

    def add_task(self, description: str, total: float = 1, completed: float = 0) -> TaskID:
        now = self.clock()
        self.tasks.append(_Task(description, total, now, now, completed, completed))
        return cast("TaskID", len(self.tasks) - 1)

    def advance(self, task: TaskID, advance: float = 1) -> None:
        self.update(task, advance=advance)

    def update(
        self, task: TaskID, *, advance: float = 0, completed: float | None = None,
        description: str | None = None,
    ) -> None:  # fmt: skip
        own = self.tasks[task]
        own.words = description or own.words
        own.done = own.done + advance if completed is None else completed
        now = self.clock()
        if now - own.told < EVERY_S:
            return
        own.told = now
        here = own.done - own.at_start
        left = ""
        if here > 0:
            seconds = (now - own.began) / here * max(0.0, own.total - own.done)
            left = f", about {duration(seconds)} left"
        self.say(f"{own.words}: {own.done:g} of {own.total:g}{left}")
