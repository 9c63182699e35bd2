"""Three synthetic demo cases, made once, so that the first look needs no patient's images."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from filelock import FileLock

from bmcore import disk
from bmcore.domain import Primary
from bmcore.inference.files import write_json

# One large lesion, three lesions, five lesions. So far from the seeds of any cohort (which start at
# 100,003 times the cohort's seed) that no demo model has been trained on a demo case.
DEMO_SEEDS: dict[str, int] = {
    "Demo-1": 7_000_000_011,
    "Demo-2": 7_000_000_010,
    "Demo-3": 7_000_000_009,
}


def ensure_demo_cases(home: Path | str) -> list[str]:
    """Make the demo cases at the first start; returns their ids, or [] later.

    Once all have been made this never happens again, so a case that was removed stays away. Safe
    when two processes start at once: the second waits for the first.
    """
    home = Path(home)
    disk.open_home(home)
    done = home / "demo-cases.json"
    if done.exists():
        return []
    with FileLock(home / "demo-cases.lock", mode=disk.FILE_MODE):
        if done.exists():
            return []
        drawn = {case_id: _make(home, case_id, seed) for case_id, seed in DEMO_SEEDS.items()}
        primaries = {case_id: primary for case_id, primary in drawn.items() if primary}
        write_json(done, {"seeds": DEMO_SEEDS, "primaries": primaries})
    return list(primaries)


def truths(home: Path | str) -> dict[str, Primary]:
    """The primaries of the demo cases made in ``home``, known by construction."""
    done = Path(home) / "demo-cases.json"
    if not done.exists():
        return {}
    from bmcore.intake.library import find_entry

    primaries = json.loads(done.read_text(encoding="utf-8"))["primaries"]
    entries = {case_id: find_entry(Path(home), case_id) for case_id in primaries}
    others = {case_id for case_id, entry in entries.items() if entry and not entry.demo}
    return {c: Primary(name) for c, name in primaries.items() if c not in others}


def _make(home: Path, case_id: str, seed: int) -> Primary | None:
    """Draw one case and add it with its reference mask; None where the name is in use.

    A demo case that an earlier start made before it was stopped is kept.
    """
    from bmcore.intake.library import add_case, list_cases
    from bmcore.phantom.cohort import draw_case, write_case

    there = {entry.case_id: entry.demo for entry in list_cases(home)}
    if not there.get(case_id, True):
        return None
    drawn = draw_case(seed)
    if case_id not in there:
        with tempfile.TemporaryDirectory(prefix="bmcore-demo-") as folder:
            write_case(drawn, case_id, Path(folder))
            add_case(home, Path(folder) / case_id, case_id, drawn.clinical, demo=True)
    return drawn.primary
