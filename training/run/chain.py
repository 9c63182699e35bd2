"""A chain of steps that a stopped run goes on with: what was done is not done again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from bmcore.domain import refuse
from training.run.files import fingerprint, read_json, write_json
from training.run.plain_progress import duration
from training.run.processes import Stopwatch

Say = Callable[[str], None]


class Chain:
    """Steps done so far, kept in WORK/steps.json: name -> options, seconds.

    expected: seconds that each step will take, as far as that is known; the time left is told from
    it, scaled by how long the steps so far really took.
    """

    def __init__(
        self, work: Path, expected: dict[str, float] | None = None, say: Say = typer.echo
    ) -> None:
        self.file = work / "steps.json"
        self.steps: dict[str, dict] = read_json(self.file) if self.file.exists() else {}
        self.before = ""
        self.expected, self.say = dict(expected or {}), say
        self._over: list[str] = []  # steps of this run that are behind it

    def step(self, name: str, options: str, done: Path, action: Callable[[], None]) -> None:
        """Do ``action`` unless it was done with these options after the same steps before it.

        done: a file that the step leaves; InputRefused where it is not there afterwards.
        """
        self.before = fingerprint(self.before, name, options)
        known = self.steps.get(name, {})
        if known.get("options") == self.before and done.exists():
            self.say(f"{name}: done before, in {known['seconds']:.0f} s")
            self._over.append(name)
            return
        self.say(f"{name}: starts{self._words()}")
        begun = f"begun {self.before}"
        spent = known["seconds"] if known.get("options") == begun else 0.0
        watch = Stopwatch()
        try:
            action()
            if not done.exists():
                raise refuse(f"the step {name} has left no result", file=done)
            begun = self.before
        finally:  # the time of a stopped run counts too
            spent += watch.seconds
            self.steps[name] = {"options": begun, "seconds": round(spent, 1)}
            write_json(self.file, self.steps)
        self._over.append(name)
        self.say(f"{name}: done in {spent:.0f} s")

    def left_s(self) -> float | None:
        """Seconds that the steps ahead will take; None where nothing was expected."""
        ahead = {name: s for name, s in self.expected.items() if name not in self._over}
        if not ahead:
            return None
        known = [name for name in self._over if name in self.expected and name in self.steps]
        planned = sum(self.expected[name] for name in known)
        took = sum(self.steps[name]["seconds"] for name in known)
        pace = took / planned if planned > 60 else 1.0  # little time says little of the pace
        return sum(ahead.values()) * pace

    def _words(self) -> str:
        left = self.left_s()
        return "" if left is None else f"; about {duration(left)} left in all"

    @property
    def timings_s(self) -> dict[str, float]:
        return {name: step["seconds"] for name, step in self.steps.items()}
