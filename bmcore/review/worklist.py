"""The state of each sheet on a reader's list, and whether a sheet may be opened now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bmcore.domain import ARM_WORDS, refuse
from bmcore.plain import local_time
from bmcore.review import chain, conduct, exposure, schema
from bmcore.review.allocation import Item, Place, work_list
from bmcore.review.exposure import Exposure
from bmcore.review.study import Study

STATES = ("not started", "draft", "unaided locked", "aided locked", "skipped")


@dataclass(frozen=True)
class Seconds:
    """Time at a sheet since it was opened: active (hands on), idle (no input for a while)."""

    active_s: float = 0.0
    idle_s: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.active_s < 1e7 and 0 <= self.idle_s < 1e7):  # NaN fails this too
            raise refuse("times must be seconds from 0", found=f"{self.active_s}, {self.idle_s}")


@dataclass(frozen=True)
class WorkItem:
    """One line of a reader's list. state: see STATES; not_before: end of the washout, if ahead.

    final: why a skipped sheet cannot be read any more, in words; empty where it can. practice: how
    many practice cases the reader has to read before. halted: why the study takes no readings now.
    """

    item: Item
    state: str
    flagged: bool
    seconds: Seconds
    not_before: datetime | None = None
    final: str = ""
    practice: int = 0
    halted: str = ""

    @property
    def locked(self) -> bool:
        return self.state.endswith("locked")

    @property
    def done(self) -> bool:
        return self.locked or self.state == "skipped"


@dataclass(frozen=True)
class Note:
    """Why a sheet was flagged or skipped. kind: "flagged" or "skipped"."""

    place: Place
    kind: str
    text: str
    at: datetime


@dataclass(frozen=True)
class Told:
    """What the events say of one sheet. closed: "locked", "skipped" or ""; at, site, seq: of that
    event, its time and its place in the chain; taken_over: questions filled from an earlier arm."""

    closed: str = ""
    at: datetime | None = None
    flagged: bool = False
    seconds: Seconds = Seconds()
    site: str = ""
    seq: int = 0
    taken_over: tuple[str, ...] = ()

    def after(self, event: sa.Row[Any]) -> Told:
        """With one more event, in the order of writing."""
        if event.kind in ("flagged", "unflagged"):
            return replace(self, flagged=event.kind == "flagged")
        seconds = Seconds(event.active_s, event.idle_s)
        row = {"at": event.created_at, "site": event.site, "seq": event.seq}
        row["taken_over"] = tuple(json.loads(event.taken_over or "[]"))
        return replace(self, closed=event.kind, seconds=seconds, **row)


@dataclass(frozen=True)
class Opened:
    """What else decides whether a sheet may be read: see ``final``.

    seen: {case: the reader's exposures to the models' answers}; closed: place in the chain of the
    last closing of the list, 0 if it was never closed; over: why the whole study is over, in words.
    """

    seen: Mapping[str, Sequence[Exposure]]
    closed: int = 0
    over: str = ""


def columns(study: str, place: Place) -> dict[str, Any]:
    """A place as the columns of a row."""
    return {
        "study": study,
        "reader": place.reader,
        "case_id": place.case_id,
        "arm": place.arm,
        "occasion": place.occasion,
    }


def at(table: sa.Table, study: str, place: Place) -> list[sa.ColumnElement[bool]]:
    """The condition that a row belongs to a place."""
    return [table.c[name] == value for name, value in columns(study, place).items()]


def place_of(row: sa.Row[Any]) -> Place:
    """The place that a row belongs to."""
    return Place(row.reader, row.case_id, row.arm, row.occasion)


def work(
    connection: sa.Connection, study: Study, reader: str, now: datetime
) -> tuple[WorkItem, ...]:
    """The whole list of one reader, in the seeded order, with the state of each sheet."""
    items = work_list(study, reader)
    drafts = _drafts(connection, study.study, reader)
    told = events(connection, study.study, reader)
    opened = _opened(connection, study, reader)
    practice = _practice_left(connection, study, reader)
    halted = conduct.standing(connection, study.study).halted
    listed = []
    for item in items:
        mine = told.get(item.place, Told())
        seconds = mine.seconds if mine.closed == "locked" else drafts.get(item.place, Seconds())
        why = final(study, item.place, told, opened)
        state = "skipped" if why else _state(study, item.place, told, item.place in drafts)
        ends = _washout_end(study, item, items, told)
        waits = ends if ends is not None and ends > now and not mine.closed else None
        one = WorkItem(item, state, mine.flagged, seconds, waits, why, practice, halted)
        listed.append(one)
    return tuple(listed)


def _practice_left(connection: sa.Connection, study: Study, reader: str) -> int:
    """Practice cases that the reader has not read at this site."""
    if not study.practice:
        return 0
    t = schema.practice
    mine = (t.c.site == chain.own_site(connection), t.c.study == study.study, t.c.reader == reader)
    read = set(connection.execute(sa.select(t.c.case_id).where(*mine)).scalars())
    return len(set(study.practice) - read)


def final(study: Study, place: Place, told: Mapping[Place, Told], opened: Opened) -> str:
    """Why a sheet that is not locked cannot be read any more, in words; empty where it can.

    A sheet without the models is over once their answers on the case were shown to the reader
    elsewhere; a skipped one once they were shown, once the list was closed, and in a crossover
    once the case was read in another period. Later arms of one sitting go with the first.
    """
    if told.get(place, Told()).closed == "locked":
        return ""
    if opened.over:
        return opened.over
    sitting = [*(replace(place, arm=arm) for arm in earlier_arms(study, place)), place]
    for one in sitting:
        mine = told.get(one, Told())
        if mine.closed == "locked":
            continue
        seen = opened.seen.get(one.case_id, ()) if one.arm == "unaided" else ()
        if any(e.study != study.study for e in seen):
            return "the models' answers on this case were shown outside this study"
        if mine.closed != "skipped":
            continue
        if opened.closed > mine.seq:
            return "it was skipped, and the list was closed after that"
        if any(e.after(mine.site, mine.seq, mine.at) for e in seen):
            return "it was skipped, and the models' answers were shown after that"
        if study.design.kind == "crossover" and _read_after(one, told, mine.seq):
            return "it was skipped, and the case was read in another period after that"
    return ""


def _read_after(place: Place, told: Mapping[Place, Told], seq: int) -> bool:
    return any(
        other.case_id == place.case_id and other.arm != place.arm and t.closed and t.seq > seq
        for other, t in told.items()
    )


def _opened(connection: sa.Connection, study: Study, reader: str) -> Opened:
    seen = exposure.of_reader(connection, study.reader(reader).name)
    over = conduct.ended_words(connection, study.study)
    return Opened(seen, last_closing(connection, study.study, reader), over)


def last_closing(connection: sa.Connection, study: str, reader: str) -> int:
    """Where in the chain the reader's list was last closed; 0 if it never was."""
    t = schema.closings
    query = sa.select(sa.func.max(t.c.seq)).where(
        t.c.site == chain.own_site(connection), t.c.study == study, t.c.reader == reader
    )
    return connection.execute(query).scalar_one_or_none() or 0


def check_open(study: Study, listed: Sequence[WorkItem], place: Place) -> None:
    """Refuse a sheet that is not on the list, is locked, or whose turn has not come."""
    mine = next((w for w in listed if w.item.place == place), None)
    if mine is None:
        raise refuse("this reading is not on the reader's list", found=place.words)
    if mine.locked:
        raise refuse("this reading is locked", found=place.words, hint="correct it with a reason.")
    if mine.halted:
        raise refuse(
            f"the study {study.study} takes no readings now",
            found=mine.halted,
            hint="what you have locked is kept, and so is your draft.",
        )
    if mine.final:
        raise refuse("this case can no longer be read in this study", found=mine.final)
    if mine.practice:
        raise refuse(
            "the practice cases come first",
            found=f"{mine.practice} not read yet",
            hint="read them; they do not count.",
        )
    states = {w.item.place: w for w in listed}
    for arm in earlier_arms(study, place):
        earlier = states[replace(place, arm=arm)]
        if not earlier.locked:
            raise refuse(
                f"the reading {ARM_WORDS[place.arm]} opens only after the one {ARM_WORDS[arm]} is "
                "locked",
                found="it is " + ("skipped" if earlier.state == "skipped" else "not locked"),
            )
    before = [w for w in listed if w.item.position < mine.item.position and not w.done]
    if before:
        raise refuse(
            "it is not this reading's turn",
            found=f"position {mine.item.position}",
            expected=f"position {before[0].item.position}",
            hint="read the list in its order, or skip.",
        )
    if mine.not_before is not None:
        raise refuse("the washout is not over", hint=f"go on after {local_time(mine.not_before)}.")


def events(connection: sa.Connection, study: str, reader: str) -> dict[Place, Told]:
    """What happened to the reader's sheets at this site."""
    t = schema.events
    mine = (t.c.site == chain.own_site(connection), t.c.study == study, t.c.reader == reader)
    told: dict[Place, Told] = {}
    for row in connection.execute(sa.select(t).where(*mine).order_by(t.c.id)):
        place = place_of(row)
        told[place] = told.get(place, Told()).after(row)
    return told


def last_activity(connection: sa.Connection, study: str) -> dict[str, datetime]:
    """{reader: the time of the newest draft, event, practice case or comparison} at this site."""
    found: dict[str, datetime] = {}
    site = chain.own_site(connection)
    for t in (schema.events, schema.drafts, schema.practice, schema.preferences):
        at = t.c.updated_at if t is schema.drafts else t.c.created_at
        query = sa.select(t.c.reader, sa.func.max(at)).where(t.c.study == study)
        if "site" in t.c:
            query = query.where(t.c.site == site)
        for reader, last in connection.execute(query.group_by(t.c.reader)):
            found[reader] = max(last, found.get(reader, last))
    return found


def notes(connection: sa.Connection, study: str) -> list[Note]:
    """Flags that stand and skips, of all readers at this site, oldest first."""
    t = schema.events
    mine = (t.c.site == chain.own_site(connection), t.c.study == study)
    standing: dict[tuple[Place, str], Note] = {}
    for row in connection.execute(sa.select(t).where(*mine).order_by(t.c.id)):
        kind = "flagged" if row.kind == "unflagged" else row.kind
        key = (place_of(row), kind)
        standing.pop(key, None)
        if row.kind == "locked":
            standing.pop((place_of(row), "skipped"), None)
        elif row.kind != "unflagged":
            standing[key] = Note(place_of(row), row.kind, row.note, row.created_at)
    return list(standing.values())


def _state(study: Study, place: Place, told: Mapping[Place, Told], drafted: bool) -> str:
    closed = told.get(place, Told()).closed
    if closed == "locked":
        return "unaided locked" if place.arm == "unaided" else "aided locked"
    earlier = [replace(place, arm=arm) for arm in earlier_arms(study, place)]
    if closed == "skipped" or any(told.get(p, Told()).closed == "skipped" for p in earlier):
        return "skipped"
    return "draft" if drafted else "not started"


def earlier_arms(study: Study, place: Place) -> tuple[str, ...]:
    """Sequential: what of the same case is read before this arm."""
    if study.design.kind != "sequential":
        return ()
    return study.design.arms[: study.design.arms.index(place.arm)]


def skipped_with(study: Study, place: Place) -> tuple[str, ...]:
    """The arms that a skip of ``place`` leaves out: its own and what must come after it."""
    if study.design.kind != "sequential":
        return (place.arm,)
    arms: tuple[str, ...] = study.design.arms
    return arms[arms.index(place.arm) :]


def _washout_end(
    study: Study, item: Item, items: Sequence[Item], told: Mapping[Place, Told]
) -> datetime | None:
    """Crossover: when the washout after the earlier periods ends; None before or without one."""
    closings = [told[i.place].at for i in items if i.period < item.period and i.place in told]
    known = [time for time in closings if time is not None]
    return max(known) + timedelta(days=study.design.washout_days) if known else None


def _drafts(connection: sa.Connection, study: str, reader: str) -> dict[Place, Seconds]:
    t = schema.drafts
    query = sa.select(t).where(t.c.study == study, t.c.reader == reader)
    return {place_of(r): Seconds(r.active_s, r.idle_s) for r in connection.execute(query)}
