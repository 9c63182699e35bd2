"""Were answers given in the order that they claim: without the models before their answers were
shown, with them after? Read from the rows of the chain alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bmcore.review import names

CLOCK_SLACK = timedelta(seconds=2)  # what a time server may set back without harm


@dataclass
class _Known:
    """What was written before the row at hand, at one site."""

    sent: dict[tuple[str, str], list[Mapping[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )  # (reader's key, case) -> exposures
    voted: set[tuple[str, str]] = field(default_factory=set)  # without the models
    aided_only: set[str] = field(default_factory=set)
    readers: dict[tuple[str, str], str] = field(default_factory=dict)  # (study, id) -> key


Row = tuple[str, Mapping[str, Any]]  # table, values


def order_problems(
    site: str, rows: Sequence[Row], old_votes: int, elsewhere: Iterable[Mapping[str, Any]] = ()
) -> Iterator[str]:
    """One sentence for each answer that was not given when it claims to have been.

    rows: of one site, in the order of writing; old_votes: votes up to this id are older than the
    exposures and are not judged; elsewhere: votes of other sites that a merge brought along.
    """
    known = _Known()
    known.voted = {_place(v["reader"], v["case_id"]) for v in elsewhere if v["phase"] == "unaided"}
    for table, row in rows:
        if table == "votes":
            if row["id"] > old_votes:
                yield from _vote_problems(site, row, known)
            if row["phase"] == "unaided":
                known.voted.add(_place(row["reader"], row["case_id"]))
        elif table == "events" and (row["kind"], row["arm"]) == ("locked", "unaided"):
            yield from _sheet_problems(site, row, known)
        elif table == "exposures":
            known.sent[row["reader_key"], row["case_id"]].append(row)
        elif table == "reading_modes":
            change = (
                known.aided_only.add if row["mode"] == "aided only" else (known.aided_only.discard)
            )
            change(row["case_id"])
        elif table == "studies":
            for reader in json.loads(row["content"])["readers"]:
                known.readers[row["study"], reader["id"]] = names.key(reader["name"])


def _vote_problems(site: str, row: Mapping[str, Any], known: _Known) -> Iterator[str]:
    place = _place(row["reader"], row["case_id"])
    vote = f"votes id {row['id']} (row {row['seq']} of {site})"
    sent = known.sent[place]
    if row["phase"] == "unaided":
        if sent:
            yield f"{vote}: stored as without the models after {_shown(sent[0])}"
        return
    if not sent:
        yield f"{vote}: stored as with the models, but their answers were never shown before it"
    if place not in known.voted and row["case_id"] not in known.aided_only:
        yield f"{vote}: stored with the models, without a vote without them before it"


def _sheet_problems(site: str, row: Mapping[str, Any], known: _Known) -> Iterator[str]:
    """Within a study the list keeps the order; what was shown elsewhere closes a sheet."""
    key = known.readers.get((row["study"], row["reader"]), "")
    outside = [s for s in known.sent[key, row["case_id"]] if s["study"] != row["study"]]
    if outside:
        sheet = f"events id {row['id']} (row {row['seq']} of {site})"
        yield f"{sheet}: locked as without the models after {_shown(outside[0])}"


def _place(reader: str, case_id: str) -> tuple[str, str]:
    return names.key(reader), case_id


def _shown(exposure: Mapping[str, Any]) -> str:
    return f"the models' answers on the case had been shown (row {exposure['seq']})"


def clock_notes(site: str, rows: Sequence[Row]) -> Iterator[str]:
    """Where the computer's clock was set back between two rows: their times cannot be trusted."""
    latest: tuple[datetime, int] | None = None
    for table, row in rows:
        at = row.get("created_at")
        if not isinstance(at, datetime):
            continue
        if latest is not None and at < latest[0] - CLOCK_SLACK:
            back = latest[0] - at
            yield (
                f"{site}: row {row['seq']} ({table}) is dated {_span(back)} before row "
                f"{latest[1]}; the computer's clock was set back"
            )
            latest = (at, row["seq"])
        elif latest is None or at > latest[0]:
            latest = (at, row["seq"])


def _span(time: timedelta) -> str:
    seconds = time.total_seconds()
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
