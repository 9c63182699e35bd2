"""The reference primaries of the cases: what an answer counts as right against.

Those that were brought on the page lie in ``home/references.json``, each with where it comes from:
the SHA-256 of the file, who kept it and when, and of which images it is; the names of the file and
its column only where the site keeps names. What is replaced stays there as history.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from bmcore import disk
from bmcore.domain import Finding, Primary, refuse
from bmcore.inference import demo
from bmcore.intake import library
from bmcore.intake.clinical_columns import ColumnReading
from bmcore.plain import read_json
from bmcore.settings import settings

TRUTH_FILES = ("truth.csv", "truth.xlsx")
STORED = "references.json"
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Preview:
    """What a table says of the primaries, before it is kept.

    rows: (case, its primary as read or None, what becomes of it) in the table's order; readings:
    how each column was read; file: as the user named it; digest: SHA-256 of its content.
    """

    rows: tuple[tuple[str, Primary | None, str], ...]
    readings: tuple[ColumnReading, ...]
    findings: tuple[Finding, ...]
    file: str
    digest: str

    @property
    def usable(self) -> dict[str, Primary]:
        """The primaries of cases that are here."""
        return {c: p for c, p, what in self.rows if p is not None and what in _KEPT}


NEW, SAME, CHANGES = "new", "as before", "replaces"
_KEPT = (NEW, SAME, CHANGES)


def truths(home: Path, table: Path | None = None) -> dict[str, Primary]:
    """The known primaries: of the demo cases, of ``home/truth.csv`` or ``truth.xlsx``, those kept
    on the page, and of ``table`` (each laid out like a clinical table); the later win. One kept on
    the page belongs to its images: a case that was renamed keeps it, another case under the same
    name does not get it. Refused where one is unreadable.
    """
    from bmcore.intake.clinical import read_clinical

    known = demo.truths(home)
    given = [home / name for name in TRUTH_FILES if (home / name).is_file()]
    for path in given:
        known |= _given(read_clinical(path).primaries)
    known |= {case: Primary(one["primary"]) for case, one in _current(home).items()}
    if table is not None:
        known |= _given(read_clinical(table).primaries)
    return known


def _given(primaries: Mapping[str, Primary | None]) -> dict[str, Primary]:
    return {case: primary for case, primary in primaries.items() if primary is not None}


def preview(path: Path, name: str, home: Path, cases: Collection[str]) -> Preview:
    """What a table would add. name: as its user named it; cases: the ids that are here.

    Refused where the file cannot be read, or no column holds primaries.
    """
    from bmcore.intake.clinical import read_clinical

    table = read_clinical(path)
    if not any(r.field == "primary" for r in table.readings):
        headings = ", ".join(r.heading for r in table.readings) or "none"
        raise refuse(
            "no column of this table holds the primary",
            file=name,
            found=f"columns {headings}",
            expected="a column such as Primary, and one with the id of the case",
        )
    known = truths(home)
    rows = []
    for case, primary in table.primaries.items():
        if case not in cases:
            what = "no case of this id is here"
        elif primary is None:
            what = "not given, or none of the six"
        elif case not in known:
            what = NEW
        else:
            what = SAME if known[case] == primary else CHANGES
        rows.append((case, primary, what))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Preview(tuple(rows), table.readings, table.findings, name, digest)


def keep(home: Path, found: Preview, by: str) -> int:
    """Keep the primaries of cases that are here, with where they come from; how many are new or
    replace another. The file is replaced whole."""
    column = next(r.heading for r in found.readings if r.field == "primary")
    source = {
        **({"file": found.file, "column": column} if settings().keep_names else {}),
        "sha256": found.digest,
        "by": by,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    changed = 0
    with _changing(home) as stored:
        current = _current(home, stored)
        for case, primary in found.usable.items():
            if case in current and current[case]["primary"] == str(primary):
                continue
            before = stored["cases"].get(case)
            if before is not None:
                stored["replaced"].append({"case": case, **before})
            entry = library.find_entry(home, case)
            images = {} if entry is None else {"images": entry.images_sha256}
            stored["cases"][case] = {"primary": str(primary), **source, **images}
            changed += 1
    return changed


def rename(home: Path, case_id: str, new: str) -> None:
    """Let the kept primary of a case follow it to another name."""
    with _changing(home) as stored:
        if case_id in stored["cases"]:
            stored["cases"][new] = stored["cases"].pop(case_id)


def forget(home: Path, case_id: str) -> None:
    """Take out the kept primary of a case that was deleted; it stays among those replaced."""
    with _changing(home) as stored:
        if case_id in stored["cases"]:
            stored["replaced"].append({"case": case_id, **stored["cases"].pop(case_id)})


def provenance(home: Path) -> list[dict[str, Any]]:
    """Every primary kept on the page, with its case and where it comes from ("file" and "column"
    only where the site keeps names)."""
    return [{"case": case, **one} for case, one in sorted(_current(home).items())]


def _current(home: Path, stored: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The kept primaries by the case that has their images now; one that says no images (an
    earlier version's) belongs to no case that was added after it."""
    cases: dict[str, dict[str, Any]] = (_stored(home) if stored is None else stored)["cases"]
    found: dict[str, dict[str, Any]] = {}
    moved: dict[str, dict[str, Any]] = {}
    for case, one in cases.items():
        entry, images = library.find_entry(home, case), one.get("images")
        if images and (entry is None or images != entry.images_sha256):
            moved[case] = one
        elif images or entry is None or _seconds(one) >= entry.added:
            found[case] = one
    if moved:
        names = {entry.images_sha256: entry.case_id for entry in library.list_cases(home)}
        for one in moved.values():
            if one["images"] in names:
                found.setdefault(names[one["images"]], one)
    return found


def _seconds(one: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(one["at"]).astimezone(UTC)


@contextmanager
def _changing(home: Path) -> Iterator[dict[str, Any]]:
    """What is stored, to be changed by one at a time; the file is replaced whole where it was."""
    disk.open_home(home)
    with FileLock(home / "references.lock", mode=disk.FILE_MODE):
        stored = _stored(home)
        before = _text(stored)
        yield stored
        if _text(stored) != before:
            disk.write(home / STORED, _text(stored))


def _text(stored: Mapping[str, Any]) -> str:
    return json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False)


def _stored(home: Path) -> dict[str, Any]:
    kept = disk.content_of(home / STORED)
    if kept is None:
        return {"cases": {}, "replaced": []}
    try:
        found: dict[str, Any] = read_json(kept, _MOST_BYTES)
        for one in found["cases"].values():
            Primary(one["primary"])
            _seconds(one)
        if not isinstance(found["replaced"], list):
            raise TypeError("no list of what was replaced")
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise refuse(
            "the known primaries that were kept cannot be read",
            file=STORED,
            found=fault,
            hint="restore the file from a backup, or remove it and bring the table again.",
        ) from fault
    return found
