"""Asking for runs and following them: what the pages know of the worker."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bmcore.review import runs
from bmcore.review.runs import CLICKED, PREDICT, Run
from bmcore.review.store import Store
from bmcore.running import keeper, progress

NEVER = "none"


@dataclass(frozen=True)
class RunState:
    """Where the work on one case stands, for a screen.

    state: "none" (never asked for), queued, running, done, failed or cancelled. stage: what is
    being done. fraction: 0-1. message: a sentence for the user. ahead: how many come before it.
    eta_s: seconds still to go, None where it cannot be told. quiet_s: since the worker's last word
    on it. run: as stored.
    """

    state: str = NEVER
    stage: str = ""
    fraction: float = 0.0
    message: str = ""
    ahead: int = 0
    eta_s: float | None = None
    quiet_s: float = 0.0
    run: Run | None = None

    @property
    def busy(self) -> bool:
        return self.state in ("queued", "running")


@dataclass(frozen=True)
class Line:
    """What is under way. running: None while nothing is. waiting: the nearest ones; waiting_count:
    all. usual_s: what a case takes here; left_s: until the last one is done, None where not known.
    failed: the last that failed. counts: {state: runs}. passed_over: cases of the last 24 hours
    that needed no run."""

    running: RunState | None
    waiting: tuple[Run, ...]
    waiting_count: int
    usual_s: float | None
    left_s: float | None
    failed: tuple[Run, ...]
    counts: dict[str, int]
    passed_over: int = 0

    @property
    def busy(self) -> int:
        return self.waiting_count + (self.running is not None)


def submit(
    home: Path | str,
    store: Store,
    subjects: Sequence[str],
    asked_by: str,
    rank: int = CLICKED,
    kind: str = PREDICT,
) -> int:
    """Ask for runs and return at once; how many are new.

    What is queued or running already is not asked for twice; after the end it is done again.
    """
    from bmcore.inference.files import folder_name

    for subject in subjects:
        folder_name(subject, "the name of the case")
    new = runs.ask(store, kind, subjects, asked_by, rank)
    if subjects:
        keeper.ensure(home, store)
    return new


def state(home: Path | str, store: Store, subject: str, kind: str = PREDICT) -> RunState:
    """Where the run on ``subject`` stands."""
    run = runs.find(store, kind, subject)
    return RunState() if run is None else _state(home, store, run)


def states(home: Path | str, store: Store, subjects: Collection[str]) -> dict[str, RunState]:
    """{case: where its run stands}, of those that were ever asked for; not how many are ahead."""
    found = runs.find_all(store, PREDICT, subjects)
    return {subject: _state(home, store, run, False) for subject, run in found.items()}


def cancel(
    store: Store, subjects: Collection[str] | None = None, asked_by: str | None = None
) -> int:
    """Take cases out of the queue and end the one that runs; how many. None: all of them.

    asked_by: only what this person asked for.
    """
    return runs.cancel(store, PREDICT, subjects, asked_by)


def resume(home: Path | str, store: Store) -> None:
    """Go on with what an earlier server left; for the start of a server."""
    if runs.any_busy(store):
        keeper.ensure(home, store)


def look(home: Path | str, store: Store, most: int = 50) -> Line:
    """Everything that is under way."""
    counts = runs.counts(store, PREDICT)
    first = runs.in_line(store, PREDICT, most + 1)
    running = next((run for run in first if run.state == "running"), None)
    waiting = tuple(run for run in first if run.state == "queued")[:most]
    usual = runs.usual_s(store)
    now = None if running is None else _state(home, store, running)
    if first:
        _look_after(home, store)
    return Line(
        now,
        waiting,
        counts.get("queued", 0),
        usual,
        _left(now, counts.get("queued", 0), usual),
        tuple(runs.failed(store, PREDICT, 5)),
        counts,
        runs.passed_over(store, PREDICT),
    )


def _left(now: RunState | None, waiting: int, usual: float | None) -> float | None:
    """Seconds until the last one is done, as the last cases took."""
    if usual is None and (waiting or now is None or now.eta_s is None):
        return None
    own = 0.0 if now is None else now.eta_s if now.eta_s is not None else usual or 0.0
    return own + waiting * (usual or 0.0)


def _state(home: Path | str, store: Store, run: Run, place: bool = True) -> RunState:
    if run.state == "queued":
        _look_after(home, store)
        ahead = runs.ahead(store, run) if place else 0
        others = "1 other case" if ahead == 1 else f"{ahead} other cases"
        words = f"Waiting for {others} to finish." if ahead else "Waiting to start."
        return RunState("queued", "Waiting to start", 0.0, words, ahead, run=run)
    if run.state != "running":
        return RunState(run.state, "", float(run.state == "done"), run.message, run=run)
    _look_after(home, store)
    said = progress.read(home)
    if said is None or (said.kind, said.subject) != (run.kind, run.subject):
        return RunState("running", quiet_s=_since(run.started_at), run=run)
    quiet = max(0.0, time.time() - said.at)
    stage = "Stopping" if run.cancelling else said.stage
    return RunState("running", stage, said.fraction, "", 0, said.eta_s, quiet, run)


def _since(moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, time.time() - moment.timestamp())


def _look_after(home: Path | str, store: Store) -> None:
    """Work is left, so a worker must be there; one that another program started may have died."""
    if not keeper.alive(home):
        keeper.ensure(home, store)
