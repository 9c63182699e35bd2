"""The runs of the models, as the pages ask for them and follow them."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmcore.settings import settings
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import count, escaped, seconds_left

if TYPE_CHECKING:
    from bmcore.review.runs import Run
    from bmcore.running.line import Line, RunState

_AGAIN_S = 30.0  # between two signs of life to the worker
_ready: dict[Path, float] = {}


def submit(case_id: str) -> None:
    """Ask for a run on one case; whoever calls has checked that it may be asked for."""
    from bmcore.running import line

    line.submit(loaders.home(), loaders.store(), [case_id], guard.user().name)


def submit_maps(case_id: str) -> None:
    """Ask for the maps of a case that somebody waits for (``inference.checked_maps``)."""
    from bmcore.review.runs import MAPS
    from bmcore.running import line

    line.submit(loaders.home(), loaders.store(), [case_id], guard.user().name, kind=MAPS)


def maps_state(case_id: str) -> RunState:
    """Where the making of the maps of a case stands."""
    from bmcore.review.runs import MAPS
    from bmcore.running import line

    return line.state(loaders.home(), loaders.store(), case_id, MAPS)


def get_ready() -> None:
    """Somebody is at work who may soon ask for the models: let the worker load them now.

    It ends when nobody was there for a while. Nothing where ``settings().worker_early`` is off, or
    this computer has no models.
    """
    from bmcore.running import keeper

    if (
        not settings().worker_early
        or time.monotonic() - _ready.get(loaders.home(), -_AGAIN_S) < _AGAIN_S
    ):
        return
    _ready[loaders.home()] = time.monotonic()
    if loaders.models().info is not None and importlib.util.find_spec("torch") is not None:
        keeper.ensure(loaders.home(), loaders.store())


def submit_many(case_ids: Sequence[str]) -> int:
    """Ask for runs on many cases, behind what people clicked on one by one; how many are new."""
    from bmcore.review.runs import MANY
    from bmcore.running import line

    return line.submit(loaders.home(), loaders.store(), case_ids, guard.user().name, MANY)


def state(case_id: str) -> RunState:
    """Where the run on a case stands."""
    from bmcore.running import line

    return line.state(loaders.home(), loaders.store(), case_id)


def states(case_ids: Collection[str]) -> dict[str, RunState]:
    """{case: where its run stands}, of those that were ever asked for."""
    from bmcore.running import line

    return line.states(loaders.home(), loaders.store(), case_ids)


def look() -> Line:
    """Everything that is under way."""
    from bmcore.running import line

    return line.look(loaders.home(), loaders.store())


def cancel(case_ids: Collection[str] | None = None, own: bool = False) -> int:
    """Cancel runs; own: only those that the user asked for. How many."""
    from bmcore.running import line

    return line.cancel(loaders.store(), case_ids, guard.user().name if own else None)


def is_mine(run: Run) -> bool:
    """True where the user asked for it."""
    return run.asked_by == guard.user().name


def usual_s() -> float | None:
    """Seconds that a case takes on this computer; None where none was read yet."""
    from bmcore.review import runs

    return runs.usual_s(loaders.store())


def words(state: RunState) -> str:
    """For instance "Finding the tumour, about 40 s left"."""
    if state.state == "queued":
        return escaped(state.message)
    left = seconds_left(state.eta_s)
    return f"{escaped(state.stage) or 'Starting'}, {left or 'working out how long it takes'}"


def line_words(line: Line) -> str:
    """For instance "12 cases to go, about 3 min left"."""
    left = seconds_left(line.left_s)
    return f"{count(line.busy, 'case')} to go" + (f", {left}" if left else "")
