"""The child process of one prediction: ``python -m bmcore.inference.worker HOME CASE_ID``.

Exit 0: the prediction is stored. Exit 1: it failed; the state file holds a sentence, the log (this
process's stderr) the traceback.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bmcore import disk
from bmcore.domain import BmcoreError, Prediction
from bmcore.inference import jobs
from bmcore.inference.jobs import JobState

Predict = Callable[[Path, str, Callable[[str, float], None]], Prediction]


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        print("usage: python -m bmcore.inference.worker HOME CASE_ID", file=sys.stderr)
        return 2
    os.nice(5)  # the pages come first
    disk.private_process()
    return work(Path(argv[0]), argv[1], predict_case)


def work(home: Path, case_id: str, predict: Predict) -> int:
    """Wait for the turn, run ``predict(home, case_id, on_progress)``, store, record the state."""
    from bmcore.inference import archive

    with jobs.claim(home, case_id) as mine:
        progress = _Progress(home, case_id, mine)
        try:
            with jobs.turn(home, case_id, mine):
                progress.begin()
                prediction = predict(home, case_id, progress)
                archive.keep(home, prediction)
        except Exception as problem:
            traceback.print_exc()
            progress.end("failed", "Stopped", _sentence(problem, jobs.log_path(home, case_id)))
            return 1
        progress.end("done", "Finished", "Finished.", digest=prediction.bundle.digest)
    return 0


def predict_case(home: Path, case_id: str, on_progress: Callable[[str, float], None]) -> Prediction:
    """Predict a case of the library with the bundle of the settings."""
    from bmcore.inference import pipeline
    from bmcore.intake.library import load_case
    from bmcore.models.bundles import load_bundle
    from bmcore.settings import settings

    on_progress("Loading the images", 0.0)
    case = load_case(home, case_id)
    on_progress("Loading the models", 0.02)
    return pipeline.predict(case, load_bundle(settings().bundle), on_progress)


class _Progress:
    """Writes the state file, at most five times a second while the stage stays the same."""

    def __init__(self, home: Path, case_id: str, mine: JobState) -> None:
        self.home, self.case_id, self.now = home, case_id, mine
        self.usual = jobs.usual_s(home)
        self.written = 0.0

    def begin(self) -> None:
        self._write(replace(self.now, state="running", message="", started_at=time.time()))

    def __call__(self, stage: str, fraction: float) -> None:
        if stage == self.now.stage and time.monotonic() - self.written < 0.2:
            return
        fraction = min(max(fraction, 0.0), 1.0)
        spent = time.time() - (self.now.started_at or time.time())
        eta = _left(spent, fraction, self.usual)
        words = f"{stage}: {fraction:.0%} of the work is done."
        self._write(replace(self.now, stage=stage, fraction=fraction, message=words, eta_s=eta))

    def end(self, state: str, stage: str, message: str, digest: str | None = None) -> None:
        fraction = 1.0 if state == "done" else self.now.fraction
        self._write(
            replace(
                self.now,
                state=state,
                stage=stage,
                message=message,
                fraction=fraction,
                ended_at=time.time(),
                eta_s=None,
                digest=digest,
            )
        )

    def _write(self, new: JobState) -> None:
        self.now = jobs.record(self.home, self.case_id, new)
        self.written = time.monotonic()


def _left(spent: float, fraction: float, usual: float | None) -> float | None:
    """Seconds still to go: first as earlier cases took, then more and more as this one goes on.

    Loading the program and the images tells little of the rest, so it takes until a quarter of the
    work is done before this case alone is believed. None where nothing can be told yet.
    """
    own = spent / fraction * (1 - fraction) if fraction >= 0.1 else None
    before = None if usual is None else max(usual * (1 - fraction), 0.0)
    if own is None or before is None:
        return before if own is None else own
    trust = min(1.0, (fraction - 0.1) / 0.15)
    return trust * own + (1 - trust) * before


def _sentence(problem: Exception, log: Path) -> str:
    if isinstance(problem, BmcoreError):
        return " ".join(finding.sentence for finding in problem.findings)
    if isinstance(problem, MemoryError):
        return "The computer ran out of memory. Close other programs and start it again."
    return f"An unexpected error stopped the work. The details are in {log}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
