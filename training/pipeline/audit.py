"""The audit of a cohort before anything is learnt: each case used or why not, in plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bmcore.domain import PRIMARIES, SEQUENCES, Primary, refuse
from bmcore.workers import in_processes
from training.data.content import row_content
from training.pipeline.case_look import Looked, look_at
from training.pipeline.persons import Persons, find_persons
from training.pipeline.table import TableRow, table_rows
from training.run.files import fingerprint
from training.run.processes import progress

if TYPE_CHECKING:
    from bmcore.intake.datasets import YaleDataset

OTHER = ("7", "other")  # the code of Pretreat-MetsToBrain-Masks for any other primary


@dataclass(frozen=True)
class AuditedCase:
    """why: "" where the case is used for everything. segmentation, naming: what it is used for.
    row: hash of what the table says. notes: what is worth knowing of a case that is used."""

    case_id: str
    person: str
    primary: Primary | None
    segmentation: bool
    naming: bool
    why: str
    looked: Looked
    row: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audit:
    """cases: all, sorted by id; doubled: groups of case ids with one and the same image; headings:
    what is to be known of the table."""

    cases: tuple[AuditedCase, ...]
    doubled: tuple[tuple[str, ...], ...]
    table: tuple[str, ...]

    @cached_property
    def used(self) -> tuple[AuditedCase, ...]:
        """Those that the segmentation net learns from."""
        return tuple(c for c in self.cases if c.segmentation)

    @cached_property
    def named(self) -> tuple[AuditedCase, ...]:
        """Those that naming the primary learns from."""
        return tuple(c for c in self.cases if c.naming)

    @property
    def persons(self) -> dict[str, str]:
        """Case id -> person, of the cases used."""
        return {c.case_id: c.person for c in self.used}

    @property
    def labels(self) -> dict[str, int]:
        """Case id -> position of the primary, one behind the last where it is not known."""
        return {
            c.case_id: len(PRIMARIES) if c.primary is None else PRIMARIES.index(c.primary)
            for c in self.used
        }

    @property
    def counts(self) -> dict[str, int]:
        """Persons of each primary that naming learns from."""
        whose = {c.person: str(c.primary) for c in self.named}
        found = Counter(whose.values())
        return {str(p): found[str(p)] for p in PRIMARIES}

    @property
    def images_digest(self) -> str:
        return fingerprint([[c.case_id, c.looked.content] for c in self.used])

    @property
    def digest(self) -> str:
        return fingerprint(
            [[c.case_id, c.looked.content, c.row, c.person, c.naming] for c in self.used]
        )


def audit(data: Path, kept: Path, workers: int = 1) -> Audit:
    """Look at every case of DATA. kept: folder for what was found of each, by content.

    InputRefused where DATA holds no case, or its table cannot be read.
    """
    from bmcore.intake.datasets import YaleDataset

    dataset = YaleDataset(data)
    names = case_folders(dataset)
    rows = table_rows(dataset)
    table = tuple(f.sentence for f in dataset.table.findings if f.severity.value != "info")
    looked: dict[str, Looked] = {}
    with progress() as bars:
        task = bars.add_task("audit: read cases", total=len(names))
        jobs = [(dataset, name, kept) for name in names]
        for number, found in in_processes(look_at, jobs, workers):
            looked[names[number]] = found
            bars.advance(task)
    persons = find_persons(looked, rows)
    primaries = {name: dataset.table.primaries.get(name) for name in names}
    torn = _torn(persons, primaries)
    cases = tuple(
        _judge(dataset, name, looked[name], rows.get(name), persons.of[name], torn)
        for name in names
    )
    return Audit(cases, persons.doubled, table)


def case_folders(dataset: YaleDataset) -> list[str]:
    """Folders that are meant as cases, also those without a usable t1c, sorted."""
    found = [
        p.name
        for p in dataset.cases_folder.iterdir()
        if p.is_dir() and any(f.name.startswith(p.name) and ".nii" in f.name for f in p.iterdir())
    ]
    return sorted(found)


def _torn(persons: Persons, primaries: Mapping[str, Primary | None]) -> set[str]:
    """Persons whose cases the table gives different primaries."""
    told: dict[str, set[Primary]] = {}
    for case, person in persons.of.items():
        primary = primaries[case]
        if primary is not None:
            told.setdefault(person, set()).add(primary)
    return {person for person, found in told.items() if len(found) > 1}


def _judge(
    dataset: YaleDataset, name: str, looked: Looked, row: TableRow | None, person: str,
    torn: set[str],
) -> AuditedCase:  # fmt: skip
    primary = dataset.table.primaries.get(name)
    whole = looked.problem == ""
    why = looked.problem
    if whole:
        why = _why_not_named(dataset, looked, row, primary, person in torn)
    missing = [s for s in SEQUENCES if s not in looked.sequences]
    notes = [f"without {', '.join(missing)}"] if whole and missing else []
    return AuditedCase(
        name, person, None if person in torn else primary, whole, whole and not why, why, looked,
        row_content(dataset, name), tuple(notes),
    )  # fmt: skip


def _why_not_named(
    dataset: YaleDataset, looked: Looked, row: TableRow | None, primary: Primary | None, torn: bool
) -> str:
    """Why a case with images and mask is not used for naming; "" where it is."""
    if dataset.spreadsheet is None:
        return "there is no table"
    if row is None:
        return "the table has no row for it"
    if torn:
        return "the table gives the same person different primaries"
    if primary is None and row.primary == "":
        return "the table names no primary"
    if primary is None and row.primary.lower() in OTHER:
        return "the primary is none of the six (7, other)"
    if primary is None:
        return f"the primary is not understood: {row.primary[:40]}"
    return "" if looked.lesion else "no lesion in the reference mask"


def check(found: Audit, least: int, folds: int) -> None:
    """InputRefused where nothing can be learnt: too few patients, or fewer than two primaries."""
    persons = {c.person for c in found.used}
    named = {c.person for c in found.named}
    for count, words in (
        (len(persons), "with images and a reference mask"),
        (len(named), "with a known primary and a lesion"),
    ):
        if count < max(least, folds):
            raise refuse(
                "there are too few patients to train on",
                found=f"{count} {words}",
                expected=f"at least {max(least, folds)}, and dozens to learn anything of use",
                hint="the list above says why each case was left out.",
            )
    enough = [p for p, n in found.counts.items() if n >= 2]
    if len(enough) < 2:
        raise refuse(
            "there are fewer than two primaries to tell apart",
            found=", ".join(f"{n} x {p}" for p, n in found.counts.items() if n),
            expected="two of the six primaries, with two patients or more of each",
            hint="the list above says why each case was left out.",
        )
