"""One study as it stands, for the results and the report: plan, sheets, answers, decisions.

Unlike ``ReadingSession``, which serves the readers of this site, it holds the rows of all sites in
the database. Drafts are left out: what was not locked was not said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from bmcore.review import (
    adjudicate,
    conduct,
    exposure,
    plan,
    practice,
    preference,
    schema,
    worklist,
)
from bmcore.review.allocation import Item, Place, work_list
from bmcore.review.answers import StudyAnswer, all_answers
from bmcore.review.plan import Version
from bmcore.review.store import Store
from bmcore.review.study import Study
from bmcore.review.votes import Reader
from bmcore.review.worklist import Seconds, Told, place_of


@dataclass(frozen=True)
class Sheet:
    """One line of a reader's list. state: "locked", "skipped" or "open"; at: when it was closed.

    seconds: of a locked sheet, else 0. note: the last one given on skipping or flagging.
    taken_over: questions that were filled from an earlier arm at a click, see ``earlier``.
    """

    item: Item
    state: str
    flagged: bool
    seconds: Seconds
    at: datetime | None
    note: str
    taken_over: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        return self.item.place


@dataclass(frozen=True)
class StudyRecord:
    """Everything stored of one study. versions: those locked at this site, oldest first; answers:
    all, corrected ones too; sheets: of all readers, in the order of their lists; practised: what
    was said of practice cases, which counts nowhere; preferences: blinded choices; steps:
    pauses, deadlines and the closing, of all sites; over: why what is open stays so, see
    ``conduct.ended_everywhere``."""

    versions: tuple[Version, ...]
    sheets: tuple[Sheet, ...]
    answers: tuple[StudyAnswer, ...]
    decisions: tuple[adjudicate.Decision, ...]
    practised: tuple[practice.Practised, ...] = ()
    preferences: tuple[preference.Chosen, ...] = ()
    steps: tuple[conduct.Step, ...] = ()
    over: str = ""

    @property
    def study(self) -> Study:
        """The plan in force."""
        return self.versions[-1].study

    @property
    def open_sheets(self) -> int:
        return sum(sheet.state == "open" for sheet in self.sheets)

    @property
    def finished(self) -> bool:
        """Every sheet of every reader is locked or skipped."""
        return self.open_sheets == 0

    @property
    def comparisons_open(self) -> int:
        """Blinded comparisons that readers have still to make; 0 in a study that was closed."""
        if self.study.preference is None or self.over:
            return 0
        made = {(c.reader, c.case_id) for c in self.preferences}
        return len(self.study.cases) * len(self.study.readers) - len(made)


def read_record(store: Store, study: str) -> StudyRecord:
    """The study as it stands, in one transaction; refused where it is not locked at this site."""

    def look(connection: sa.Connection) -> StudyRecord:
        current = plan.current(connection, study)
        told, notes = _events(connection, study)
        seen = _seen(connection)
        over = conduct.ended_everywhere(connection, study)
        return StudyRecord(
            versions=tuple(plan._versions(connection, study)),
            sheets=tuple(
                _sheet(
                    current.study,
                    item,
                    told,
                    notes,
                    worklist.Opened(seen.get(_key(reader.name), {}), over=over),
                )
                for reader in current.study.readers
                for item in work_list(current.study, reader.id)
            ),
            answers=tuple(all_answers(connection, study)),
            decisions=tuple(adjudicate._decisions(connection, study)),
            practised=tuple(practice.done(connection, study)),
            preferences=tuple(
                _timed(current.study, one, seen) for one in preference.done(connection, study)
            ),
            steps=conduct.steps_everywhere(connection, study),
            over=over,
        )

    return store.read(look)


def _events(connection: sa.Connection, study: str) -> tuple[dict[Place, Told], dict[Place, str]]:
    t = schema.events
    told: dict[Place, Told] = defaultdict(Told)
    notes: dict[Place, str] = {}
    query = sa.select(t).where(t.c.study == study).order_by(t.c.created_at, t.c.site, t.c.id)
    for row in connection.execute(query):
        place = place_of(row)
        told[place] = told[place].after(row)
        if row.note:
            notes[place] = row.note
    return dict(told), notes


def _seen(connection: sa.Connection) -> dict[str, dict[str, list[exposure.Exposure]]]:
    """{reader's key: {case: exposures}} of all sites."""
    found: dict[str, dict[str, list[exposure.Exposure]]] = {}
    for one in exposure.of_all(connection):
        found.setdefault(_key(one.reader), {}).setdefault(one.case_id, []).append(one)
    return found


def _timed(
    study: Study,
    one: preference.Chosen,
    seen: Mapping[str, Mapping[str, list[exposure.Exposure]]],
) -> preference.Chosen:
    """The choice with the moment at which its masks were first sent."""
    name = study.reader(one.reader).name
    shown = [
        e.created_at
        for e in seen.get(_key(name), {}).get(one.case_id, [])
        if (e.site, e.study, e.arm) == (one.site, study.study, preference.ARM)
    ]
    return replace(one, shown_at=min(shown, default=None))


def _key(name: str) -> str:
    return Reader(name, "other").key


def _sheet(
    study: Study,
    item: Item,
    told: Mapping[Place, Told],
    notes: Mapping[Place, str],
    opened: worklist.Opened,
) -> Sheet:
    mine = told.get(item.place, Told())
    sitting = [*worklist.earlier_arms(study, item.place), item.place.arm]
    closed = [told.get(replace(item.place, arm=arm), Told()).closed for arm in sitting]
    why = worklist.final(study, item.place, told, opened)
    skipped = "skipped" in closed or why
    state = "locked" if mine.closed == "locked" else "skipped" if skipped else "open"
    seconds = mine.seconds if state == "locked" else Seconds()
    note = notes.get(item.place, "") or why
    return Sheet(item, state, mine.flagged, seconds, mine.at, note, mine.taken_over)
