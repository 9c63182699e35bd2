"""Runs of the models in a state that a test wants, without a worker."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from bmcore.review import runs, schema
from bmcore.review.runs import Run
from bmcore.review.store import open_store
from bmcore.running import keeper, progress


def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on asking for a run starts no process."""
    monkeypatch.setattr(keeper, "ensure", lambda *_: None)


def put(home: Path, case_id: str, state: str, message: str = "", by: str = "Dr Ada") -> Run:
    """The newest run of a case is this one; one that ended took 20 s."""
    now = datetime.now(UTC)
    begun = None if state == "queued" else datetime.fromtimestamp(now.timestamp() - 20, UTC)
    ended = now if state in ("done", "failed", "cancelled") else None
    run = Run(runs.PREDICT, case_id, state, 0, by, now, begun, ended, 1, False, message)
    with open_store(f"sqlite:///{home / 'bmcore.sqlite'}") as store:
        store.write(lambda c: c.execute(sa.delete(schema.runs).where(*_at(case_id))))
        store.write(lambda c: c.execute(sa.insert(schema.runs), runs._values(run)))
    return run


def _at(case_id: str) -> list[sa.ColumnElement[bool]]:
    table = schema.runs
    return [table.c.kind == runs.PREDICT, table.c.subject == case_id]


def say(
    home: Path,
    case_id: str,
    stage: str,
    fraction: float = 0.4,
    eta_s: float | None = None,
    ago_s: float = 0.0,
) -> None:
    """The worker's last word, so many seconds ago."""
    word = progress.Progress(runs.PREDICT, case_id, stage, fraction, eta_s, time.time() - ago_s)
    (progress.folder(home) / "now.json").write_text(json.dumps(asdict(word)))
