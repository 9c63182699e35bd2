"""How far the worker is with the run in its hands: ``HOME/jobs/now.json``, replaced whole.

It tells only what is under way. What was asked for and how it ended is in the database; so this
file is not forced to the disk, and a power cut may lose it.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bmcore import disk
from bmcore.plain import load_json
from bmcore.review.runs import Run

FOLDER = "jobs"


@dataclass(frozen=True)
class Progress:
    """kind, subject: of the run. stage: in words. fraction: 0-1 of the whole. eta_s: seconds still
    to go, None where it cannot be told. at: seconds since 1970 (UTC) of this word."""

    kind: str
    subject: str
    stage: str = ""
    fraction: float = 0.0
    eta_s: float | None = None
    at: float = 0.0


def folder(home: Path | str) -> Path:
    return disk.private_folder(Path(home) / FOLDER)


def read(home: Path | str) -> Progress | None:
    """The last word of the worker; None where it has said nothing."""
    try:
        return Progress(**load_json(Path(home) / FOLDER / "now.json"))
    except (FileNotFoundError, ValueError, TypeError):
        return None


class Teller:
    """Writes the progress of one run, at most five times a second while the stage is the same."""

    def __init__(self, home: Path, run: Run, usual_s: float | None) -> None:
        self._path, self._usual = folder(home) / "now.json", usual_s
        self._begun, self._written = time.time(), 0.0
        self._now = Progress(run.kind, run.subject)
        self._write(self._now)

    def __call__(self, stage: str, fraction: float) -> None:
        if stage == self._now.stage and time.monotonic() - self._written < 0.2:
            return
        fraction = min(max(fraction, 0.0), 1.0)
        eta = left(time.time() - self._begun, fraction, self._usual)
        now = self._now
        self._write(Progress(now.kind, now.subject, stage, fraction, eta))

    def _write(self, new: Progress) -> None:
        self._now, self._written = new, time.monotonic()
        beside = self._path.with_name(".now.json")
        with disk.create(beside, "w", encoding="utf-8") as file:
            json.dump({**asdict(new), "at": time.time()}, file)
        beside.replace(self._path)


def left(spent: float, fraction: float, usual: float | None) -> float | None:
    """Seconds still to go: first as earlier runs took, then more and more as this one goes on.

    Loading the images tells little of the rest, so it takes until a quarter of the work is done
    before this run alone is believed. None where nothing can be told yet.
    """
    own = spent / fraction * (1 - fraction) if fraction >= 0.1 else None
    before = None if usual is None else max(usual * (1 - fraction), 0.0)
    if own is None or before is None:
        return before if own is None else own
    trust = min(1.0, (fraction - 0.1) / 0.15)
    return trust * own + (1 - trust) * before
