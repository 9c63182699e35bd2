"""A folder of patients on the page: the preview of ``bulk`` in one step, the import in another.

What each step makes lies in the folder of its arrival, as plain values; the patients' own files
stay where they are. The journal of ``bulk`` remembers what is in the library, so that an import
that was stopped goes on when it is started again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bmcore import disk
from bmcore.domain import BmcoreError, ClinicalRecord
from bmcore.door import bulk, work
from bmcore.door.arrival import Arrival
from bmcore.door.bulk import NEW, THERE, Item, Row, Wishes
from bmcore.door.look import told as sentences
from bmcore.door.steps import machine
from bmcore.plain import load_json

PREVIEW, BROUGHT = "patients.json", "brought.json"
Told = Callable[[str, float], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one examination. name: of its folder. case_id: "" where it failed; said: why,
    a sentence each."""

    name: str
    case_id: str = ""
    said: tuple[str, ...] = ()


def preview_step(home: Path, of: Arrival, told: Told) -> None:
    """Look at every patient of the folder: ``patients.json``; nothing is stored."""
    assert of.place is not None
    told("Listing the folder", 0.0)
    layout, there = bulk.items(of.place)
    rows: list[Row] = []
    for number, item in enumerate(there):
        told(f"{number + 1} of {len(there)}: {item.name}", number / len(there))
        rows += bulk.preview(home, item, None, Wishes())
    rows = bulk.without_doubles(rows)
    values = {"layout": layout, "rows": [_plain(row) for row in rows]}
    disk.write(of.folder / PREVIEW, json.dumps(values))


def bring_step(home: Path, of: Arrival, told: Told) -> None:
    """Make cases of what was chosen, one after the other: ``brought.json``, renewed with each.

    One that fails stops no other. Where the step is started again, what is in the library stays.
    """
    likeliest = set(work.asked(of, work.BRING).get("likeliest", ()))
    chosen = [
        replace(row, state=NEW)
        for number, row in enumerate(rows(of))
        if row.state == NEW or (row.state == bulk.ASKS and number in likeliest)
    ]
    done: list[Outcome] = []
    for number, row in enumerate(chosen):
        told(f"{number + 1} of {len(chosen)}: {row.item.name}", number / len(chosen))
        done.append(_brought(home, row))
        disk.write(of.folder / BROUGHT, json.dumps([asdict(one) for one in done]))
    if not chosen:
        disk.write(of.folder / BROUGHT, "[]")


def _brought(home: Path, row: Row) -> Outcome:
    before = bulk.known(home, row)
    if before.state == THERE:
        return Outcome(row.item.name, before.case_id)
    try:
        with machine(home, lambda words, fraction: None):
            return Outcome(row.item.name, bulk.bring(home, row, Wishes()))
    except BmcoreError as refusal:
        return Outcome(row.item.name, said=sentences(refusal.findings))
    except Exception as fault:  # of one patient; the others are brought in all the same
        words = f"An unexpected error stopped the work on it: {type(fault).__name__}."
        return Outcome(row.item.name, said=(words,))


# --- for the page --------------------------------------------------------------------------------


def rows(of: Arrival) -> list[Row]:
    """The rows of the preview; empty before it was made."""
    if not (of.folder / PREVIEW).exists() or of.place is None:
        return []
    values = load_json(of.folder / PREVIEW)
    there = {item.name: item for item in bulk.items(of.place)[1]}
    return [_row(told, there) for told in values["rows"]]


def outcomes(of: Arrival) -> list[Outcome]:
    """What has become of the examinations so far."""
    path = of.folder / BROUGHT
    if not path.exists():
        return []
    return [Outcome(o["name"], o["case_id"], tuple(o["said"])) for o in load_json(path)]


def counts(found: Sequence[Row]) -> Mapping[str, int]:
    """State -> how many rows are in it, in the order of ``bulk``'s states."""
    told = [row.state for row in found]
    return {s: told.count(s) for s in (NEW, THERE, bulk.ASKS, bulk.REFUSED) if s in told}


def _plain(row: Row) -> dict[str, Any]:
    return {
        "item": row.item.name, "state": row.state, "patient": row.patient, "study": row.study,
        "series": dict(row.series), "case_id": row.case_id, "record": asdict(row.record),
        "joined": row.joined, "said": list(row.said), "key": row.key,
    }  # fmt: skip


def _row(told: Mapping[str, Any], there: Mapping[str, Item]) -> Row:
    """The row; one whose files are no longer in the folder is refused."""
    item = there.get(told["item"])
    values = {**told, "record": ClinicalRecord(**told["record"]), "said": tuple(told["said"])}
    if item is None:
        gone = {"item": Item(told["item"], Path()), "state": bulk.REFUSED,
                "said": ("It is no longer in the folder.",)}  # fmt: skip
        return Row(**{**values, **gone})
    return Row(**{**values, "item": item})
