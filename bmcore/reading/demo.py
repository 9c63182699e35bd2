"""Three synthetic demo cases, made once, so that the first look needs no patient's images."""

from __future__ import annotations

import tempfile
from pathlib import Path

from filelock import FileLock

from bmcore.reading.files import write_json

# Seeds chosen by eye among the first twenty: few, many, and one large lesion with oedema.
DEMO_SEEDS: dict[str, int] = {"Demo-1": 1, "Demo-2": 2, "Demo-3": 3}


def ensure_demo_cases(home: Path | str) -> list[str]:
    """Make the demo cases that are not there yet; returns the ids of those made now.

    Once all have been made this never happens again, so a case that was removed stays away. Safe
    when two processes start at once: the second waits for the first.
    """
    home = Path(home)
    home.mkdir(parents=True, exist_ok=True)
    done = home / "demo-cases.json"
    if done.exists():
        return []
    with FileLock(home / "demo-cases.lock"):
        if done.exists():
            return []
        made = [case_id for case_id, seed in DEMO_SEEDS.items() if _make(home, case_id, seed)]
        write_json(done, {"cases": DEMO_SEEDS})
    return made


def _make(home: Path, case_id: str, seed: int) -> bool:
    """Draw one case, with its reference mask, and add it to the library; False if it is there."""
    from bmcore.intake.library import add_case, list_cases
    from bmcore.phantom.cohort import draw_case, write_case

    if any(entry.case_id == case_id for entry in list_cases(home)):
        return False
    drawn = draw_case(seed)
    with tempfile.TemporaryDirectory(prefix="bmcore-demo-") as folder:
        write_case(drawn, case_id, Path(folder))
        add_case(home, Path(folder) / case_id, case_id, drawn.clinical, demo=True)
    return True
