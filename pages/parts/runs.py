"""The runs of the models, as the pages ask for them and follow them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import count, escaped, seconds_left

if TYPE_CHECKING:
    from bmcore.review.runs import Run
    from bmcore.running.line import Line, RunState


def submit(case_id: str) -> None:
    """Ask for a run on one case; whoever calls has checked that it may be asked for."""
    from bmcore.running import line

    line.submit(loaders.home(), loaders.store(), [case_id], guard.user().name)


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
