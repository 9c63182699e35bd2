"""Results of many votes: computed by the worker, kept in a file, shown with the time they are of.

``HOME/cache/results/KEY.json``; the key is a digest of what was asked. Everything here can be
deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bmcore import disk
from bmcore.analysis import collect, results_file
from bmcore.analysis.readings import Choice
from bmcore.analysis.results import Results, results
from bmcore.analysis.results_file import Offered
from bmcore.domain import BmcoreError, refuse
from bmcore.inference import demo, references
from bmcore.intake import library
from bmcore.plain import read_json
from bmcore.review import case_index
from bmcore.review.runs import RESULTS
from bmcore.review.store import Store
from bmcore.running import line
from bmcore.running.line import RunState

LARGE = 3_000  # votes: from here on results are computed off the page
_FORMAT = 2


@dataclass(frozen=True)
class Kept:
    """Results as they were at ``computed_at`` (UTC). stamp: of what was stored then; votes: how
    many, superseded ones too; seconds: how long it took; offered: what a filter can let through."""

    results: Results
    offered: Offered
    stamp: str
    computed_at: datetime
    seconds: float
    votes: int


def stamp(home: Path, store: Store, digest: str) -> str:
    """A text that changes with what results of free votes rest on: whatever is stored, cases, the
    loaded models (``digest``), the known primaries. Looks at no case."""
    names = (*references.TRUTH_FILES, references.STORED)
    there = [(name, disk.stat_of(home / name)) for name in names]
    at = [(name, s.st_mtime_ns) for name, s in there if s is not None]
    return f"{case_index.stamp(store)} {case_index.predictions_stamp(store)} {digest[:16]} {at}"


def key_of(choice: Choice) -> str:
    """The name under which the results of free votes with this filter are kept."""
    return hashlib.sha256(json.dumps(asdict(choice), sort_keys=True).encode()).hexdigest()[:32]


def find(home: Path, choice: Choice) -> Kept | None:
    """What is kept; None where nothing is, or an earlier version kept it."""
    try:
        told = json.loads(_path(home, key_of(choice)).read_bytes())  # our own, of any length
        if told["format"] != _FORMAT:
            return None
        offered = told["offered"]
        groups = {what: tuple(names) for what, names in offered["groups"].items()}
        return Kept(
            results_file.from_json(told["results"]),
            Offered(tuple(offered["roles"]), tuple(offered["arms"]), groups, offered["category"]),
            told["stamp"],
            datetime.fromisoformat(told["computed_at"]),
            told["seconds"],
            told["votes"],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # it is computed again


def ask(home: Path, store: Store, choice: Choice, asked_by: str) -> None:
    """Let the worker compute these results."""
    key = key_of(choice)
    disk.private_folder(_folder(home))
    disk.write(_path(home, key, "asked.json"), json.dumps(asdict(choice)))
    line.submit(home, store, [key], asked_by, kind=RESULTS)


def state(home: Path, store: Store, choice: Choice) -> RunState:
    """Where the computing stands."""
    return line.state(home, store, key_of(choice), RESULTS)


def compute(
    home: Path, store: Store, choice: Choice, digest: str, tell: Callable[[str, float], None]
) -> None:
    """Compute and keep these results; for the worker. digest: of the models, "" for none."""
    begun = time.monotonic()
    now = stamp(home, store, digest)
    tell("Reading votes and cases", 0.0)
    found = collect.light_predictions(home, digest) if digest else {}
    facts = collect.case_facts(library.list_cases(home), found, _primaries(home))
    votes = store.votes()
    data, marks = collect.free_votes(home, store, votes, facts, found, store.readers())
    tell("Computing the results", 0.3)
    made = results(data, choice, marks)
    told = {
        "format": _FORMAT,
        "results": results_file.as_json(made),
        "offered": asdict(results_file.offered(data)),
        "stamp": now,
        "computed_at": datetime.now(UTC).isoformat(),
        "seconds": time.monotonic() - begun,
        "votes": len(votes),
    }
    disk.private_folder(_folder(home))
    disk.write(_path(home, key_of(choice)), json.dumps(told))


def _primaries(home: Path) -> dict[str, Any]:
    try:
        return dict(references.truths(home))
    except BmcoreError:
        return dict(demo.truths(home))  # the page says that the file cannot be used


def asked(home: Path, key: str) -> Choice:
    """What was asked for under ``key``; InputRefused where that is gone."""
    try:
        told = read_json(_path(home, key, "asked.json").read_bytes())
        groups = tuple((str(what), str(name)) for what, name in told["groups"])
        return Choice(tuple(told["roles"]), tuple(told["arms"]), groups, told["category"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as fault:
        raise refuse("it is no longer known what was to be computed",
                     hint="open the page again.") from fault  # fmt: skip


def _folder(home: Path) -> Path:
    return Path(home) / "cache" / "results"


def _path(home: Path, key: str, ending: str = "json") -> Path:
    return _folder(home) / f"{key}.{ending}"
