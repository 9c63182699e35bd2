"""The work list as a table: a page of it is one query, however many cases there are.

The folder of cases is the truth, and the table is made from it: at each look the folder's time is
compared, and only where that has changed are the records compared, and only those read that are new
or changed. ``check_all`` does that whatever the folder's time says, and looks which cases the
models have read.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bmcore.domain import SEQUENCES
from bmcore.inference import archive
from bmcore.intake import library
from bmcore.intake.case_record import CaseEntry
from bmcore.review import case_changes, runs, schema, vote_counts
from bmcore.review.store import Store

AT_ONCE = 250  # records that are read in one go
_RECENT_S = 2.0  # a folder's time is coarse: one so young may change again without a change of it
_T, _RUNS, _VOTES, _READERS = schema.case_index, schema.runs, schema.votes, schema.readers
ORDERS = ("newest", "oldest", "name", "models", "fewest readers")


@dataclass(frozen=True)
class Row:
    """One case in the work list. state: of the newest run of the models, "none" where there was
    none. predicted: the models that are loaded have read it. pictured: its picture is made."""

    case_id: str
    added: datetime
    demo: bool
    readable: bool
    age_years: float | None
    sex: str | None
    sequences: tuple[str, ...]
    missing: int
    notes: int
    t1c_sha256: str
    votes: int
    readers: int
    pictured: bool
    predicted: bool
    state: str


@dataclass(frozen=True)
class Wish:
    """Which cases, in which order. text: in id, patient or origin. unread_by: key of a reader who
    has not voted on them. unpredicted: the models have not read them, and nobody has asked them to.
    digest: of the models that are loaded, "" for none."""

    digest: str = ""
    text: str = ""
    unread_by: str | None = None
    missing: bool = False
    notes: bool = False
    failed: bool = False
    unpredicted: bool = False
    order: str = "newest"

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, but is {self.order!r}")


# --- the table is asked -------------------------------------------------------------------------


def page(store: Store, wish: Wish, offset: int, limit: int) -> tuple[list[Row], int]:
    """(the rows from ``offset`` on, how many there are in all)."""
    state = sa.func.coalesce(_RUNS.c.state, "none")
    columns = [
        *(_T.c.case_id, _T.c.added, _T.c.demo, _T.c.readable, _T.c.age_years, _T.c.sex),
        *(_T.c.sequences, _T.c.missing, _T.c.notes, _T.c.t1c_sha256, _T.c.votes, _T.c.readers),
        *(_T.c.pictured, _T.c.predicted, state),
    ]
    query = _asked(sa.select(*columns), wish).order_by(*_order(wish)).offset(offset).limit(limit)
    total = _asked(sa.select(sa.func.count()), wish)

    def look(connection: sa.Connection) -> tuple[list[Row], int]:
        rows = [_row(row, wish.digest) for row in connection.execute(query)]
        return rows, int(connection.execute(total).scalar_one())

    return store.read(look)


def total(store: Store, wish: Wish) -> int:
    """How many cases there are of a wish."""
    query = _asked(sa.select(sa.func.count()), wish)
    return store.read(lambda connection: int(connection.execute(query).scalar_one()))


def ids(store: Store, wish: Wish) -> list[str]:
    """The ids of all cases of a wish, in its order."""
    query = _asked(sa.select(_T.c.case_id), wish).order_by(*_order(wish))
    return store.read(lambda connection: list(connection.execute(query).scalars()))


def next_unread(
    store: Store, reader: str | None, closed: Collection[str], after: str | None
) -> str | None:
    """The oldest case that the reader of this key has not voted on: the first behind ``after``, or
    the first of all where there is none; never ``after``. closed: cases that are not open now."""
    query = sa.select(_T.c.case_id).where(_T.c.readable.is_(True))
    query = query.where(_T.c.case_id.not_in([*closed, *([after] if after else [])]))
    if reader is not None:
        query = query.where(_T.c.case_id.not_in(_read_by(reader)))
    query = query.order_by(_T.c.added, _T.c.case_id).limit(1)
    at = sa.select(_T.c.added).where(_T.c.case_id == after)

    def look(connection: sa.Connection) -> str | None:
        added = connection.execute(at).scalar_one_or_none()
        if added is not None:
            same = sa.and_(_T.c.added == added, _T.c.case_id > after)
            behind = query.where(sa.or_(_T.c.added > added, same))
            found = connection.execute(behind).scalar_one_or_none()
            if found is not None:
                return str(found)
        return connection.execute(query).scalar_one_or_none()

    return store.read(look)


def count(store: Store) -> tuple[int, int]:
    """(all cases, those that are no demo)."""
    own = sa.func.sum(sa.case((_T.c.demo, 0), else_=1))
    found = store.read(lambda c: c.execute(sa.select(sa.func.count(), own).select_from(_T)).one())
    return int(found[0]), int(found[1] or 0)


def stamp(store: Store) -> str:
    """A text that changes when a case comes or goes, or something is stored at this site."""
    cases = sa.select(sa.func.count(), sa.func.max(_T.c.added)).select_from(_T)
    chains = sa.select(schema.chains.c.site, schema.chains.c.length)
    return store.read(lambda c: f"{c.execute(cases).one()} {sorted(c.execute(chains).all())}")


def predictions_stamp(store: Store) -> str:
    """A text that changes when the models have read one more case, or one anew."""
    query = sa.select(sa.func.count(), sa.func.max(_RUNS.c.ended_at)).where(
        _RUNS.c.kind == runs.PREDICT, _RUNS.c.state == "done"
    )
    return store.read(lambda c: str(tuple(c.execute(query).one())))


def unpictured(store: Store, limit: int) -> tuple[list[str], int]:
    """(the first cases whose picture is still to be made, how many there are)."""
    waits = (_T.c.pictured.is_(False), _T.c.readable.is_(True))
    first = sa.select(_T.c.case_id).where(*waits).order_by(_T.c.added, _T.c.case_id).limit(limit)
    number = sa.select(sa.func.count()).where(*waits)

    def look(connection: sa.Connection) -> tuple[list[str], int]:
        found = list(connection.execute(first).scalars())
        return found, int(connection.execute(number).scalar_one()) if len(found) == limit else len(
            found
        )

    return store.read(look)


def _asked(query: sa.Select[Any], wish: Wish) -> sa.Select[Any]:
    on = sa.and_(_RUNS.c.subject == _T.c.case_id, _RUNS.c.kind == runs.PREDICT)
    query = query.select_from(_T.outerjoin(_RUNS, on))
    if wish.text.strip():
        query = query.where(_T.c.words.contains(wish.text.strip().casefold(), autoescape=True))
    if wish.missing:
        query = query.where(_T.c.missing > 0)
    if wish.notes:
        query = query.where(_T.c.notes > 0)
    if wish.failed:
        query = query.where(_RUNS.c.state == "failed")
    if wish.unpredicted:
        free = sa.func.coalesce(_RUNS.c.state, "none").not_in(("queued", "running"))
        query = query.where(_T.c.predicted != wish.digest[:16], _T.c.readable.is_(True), free)
    if wish.unread_by is not None:
        query = query.where(_T.c.case_id.not_in(_read_by(wish.unread_by)))
    return query


def _read_by(key: str) -> sa.Select[Any]:
    """The cases that a reader has voted on."""
    at = sa.and_(_READERS.c.site == _VOTES.c.site, _READERS.c.name == _VOTES.c.reader)
    mine = sa.select(_VOTES.c.case_id).select_from(_VOTES.join(_READERS, at))
    return mine.where(_READERS.c.name_key == key)


def _order(wish: Wish) -> Sequence[sa.ColumnElement[Any]]:
    if wish.order == "name":
        return (_T.c.case_id,)
    if wish.order == "oldest":
        return _T.c.added, _T.c.case_id
    if wish.order == "fewest readers":
        return _T.c.readers, _T.c.case_id
    if wish.order == "models":
        states = ("running", "queued", "failed", "cancelled")
        rank = sa.case({name: n for n, name in enumerate(states)}, value=_RUNS.c.state, else_=9)
        read = sa.case((_T.c.predicted == wish.digest[:16], 1), else_=0)
        return rank, read, _T.c.case_id
    return _T.c.added.desc(), _T.c.case_id


def _row(row: sa.Row[Any], digest: str) -> Row:
    told = list(row)
    told[6] = tuple(s for s in SEQUENCES if s in told[6].split(","))
    told[13] = bool(digest) and told[13] == digest[:16]
    return Row(*told)


# --- the table is made --------------------------------------------------------------------------


def sync(store: Store, home: Path, at_once: int = AT_ONCE) -> int:
    """Bring the table to what lies in the folder; how many records are still to be read then.

    Where nothing has changed this reads one time of a folder and counts rows of votes. A deletion
    that was cut off, for instance because the database went away, is finished or undone first.
    """
    case_changes.recover(store, home)
    stamp, certain = _folder_stamp(home)
    known, counted = store.read(lambda c: (vote_counts.stamp_of(c, "cases"), _counted(c)))
    left = 0
    if known != stamp:
        left = _compare(store, home, at_once)
        if certain and not left:
            store.write(lambda c: vote_counts.set_stamp(c, "cases", stamp))
    if not counted:
        store.write(vote_counts.count_all)
    return left


def _counted(connection: sa.Connection) -> bool:
    return vote_counts.is_right(connection)


def check_all(store: Store, home: Path, digest: str) -> None:
    """Compare every record, and look which cases the models of ``digest`` have read."""
    while _compare(store, home, AT_ONCE):
        pass
    known = dict(store.read(lambda c: c.execute(sa.select(_T.c.case_id, _T.c.predicted)).all()))
    wrong = []
    for case_id, kept in known.items():
        read = digest[:16] if digest and archive.newest(home, case_id, digest) else ""
        if digest and read != kept:
            wrong.append({"at": case_id, "predicted": read})
    if wrong:
        query = sa.update(_T).where(_T.c.case_id == sa.bindparam("at"))
        store.write(lambda c: c.execute(query.values(predicted=sa.bindparam("predicted")), wrong))


def refresh(store: Store, home: Path, case_id: str) -> None:
    """Read the record of one case again, for instance after its clinical values were changed."""
    found = library.record_stamps(home).get(case_id)
    if found is not None:
        _enter(store, home, {case_id: found}, [])


def set_predicted(store: Store, case_id: str, digest: str) -> None:
    """The models of ``digest`` have read this case."""
    query = sa.update(_T).where(_T.c.case_id == case_id).values(predicted=digest[:16])
    store.write(lambda connection: connection.execute(query))


def set_pictured(store: Store, case_ids: Iterable[str]) -> None:
    """The pictures of these cases are made, or cannot be made."""
    query = sa.update(_T).where(_T.c.case_id.in_(list(case_ids))).values(pictured=True)
    store.write(lambda connection: connection.execute(query))


def _folder_stamp(home: Path) -> tuple[str, bool]:
    """(the time of the folder of cases, whether a later change is sure to change it)."""
    try:
        at = (Path(home) / "cases").stat().st_mtime_ns
    except FileNotFoundError:
        return "none", True
    return f"{home} {at:x}", time.time() - at / 1e9 > _RECENT_S


def _compare(store: Store, home: Path, at_once: int) -> int:
    there = library.record_stamps(home)
    query = sa.select(_T.c.case_id, _T.c.stamp)
    known = {str(case_id): str(s) for case_id, s in store.read(lambda c: c.execute(query).all())}
    gone = [case_id for case_id in known if case_id not in there]
    new = sorted(case_id for case_id, stamp in there.items() if known.get(case_id) != stamp)
    now = {case_id: there[case_id] for case_id in new[:at_once]}
    if now or gone:
        _enter(store, home, now, gone)
    return len(new) - len(now)


def _enter(store: Store, home: Path, stamps: dict[str, str], gone: Sequence[str]) -> None:
    """Read these records and put them into the table; ``gone`` are taken out of it."""
    folder = Path(home) / "cases"
    entries = ((library.any_entry(folder / name), stamp) for name, stamp in stamps.items())
    rows = [_values(entry, stamp) for entry, stamp in entries if entry is not None]

    def work(connection: sa.Connection) -> None:
        for part in _parts(list(gone)):
            connection.execute(sa.delete(_T).where(_T.c.case_id.in_(part)))
        there: dict[str, str] = {}
        for part in _parts([row["case_id"] for row in rows]):
            query = sa.select(_T.c.case_id, _T.c.stamp).where(_T.c.case_id.in_(part))
            there |= {str(case_id): str(stamp) for case_id, stamp in connection.execute(query)}
        new = [row for row in rows if row["case_id"] not in there]
        if new:
            more = {"votes": 0, "readers": 0, "predicted": "", "pictured": False}
            connection.execute(sa.insert(_T), [{**row, **more} for row in new])
        for row in (row for row in rows if there.get(row["case_id"], row["stamp"]) != row["stamp"]):
            changed = sa.update(_T).where(_T.c.case_id == row["case_id"])
            connection.execute(changed.values(**row, pictured=False))
        if new:
            _count(connection, [row["case_id"] for row in new])

    store.write(work)


def _count(connection: sa.Connection, case_ids: Sequence[str]) -> None:
    known = vote_counts.stamp_of(connection, vote_counts.WHAT)
    if known is None:
        return  # all are counted at the end
    for case_id in case_ids:
        vote_counts.count_case(connection, case_id)


def _values(entry: CaseEntry, stamp: str) -> dict[str, Any]:
    record = entry.clinical
    age = "" if record.age_years is None else f"{record.age_years:.0f} years"
    origin = "demo, synthetic" if entry.demo else "added here"
    return {
        "case_id": entry.case_id,
        "stamp": stamp,
        "added": entry.added,
        "demo": entry.demo,
        "readable": entry.readable,
        "age_years": record.age_years,
        "sex": record.sex,
        "sequences": ",".join(entry.sequences),
        "missing": len(SEQUENCES) - len(entry.sequences),
        "notes": len(entry.findings),
        "t1c_sha256": entry.sha256.get(f"{entry.case_id}-t1c.nii.gz", ""),
        "words": f"{entry.case_id} {age} {record.sex or ''} {origin}".casefold(),
    }


def _parts(ids: list[str], size: int = 500) -> Iterable[list[str]]:
    return (ids[n : n + size] for n in range(0, len(ids), size))
