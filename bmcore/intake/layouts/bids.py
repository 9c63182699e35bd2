"""BIDS: ``sub-01/[ses-02/]anat/sub-01_..._T1w.nii.gz``; contrast is told as in any name.

Specification: https://bids-specification.readthedocs.io. Of several files for one sequence (runs,
acquisitions) the first by name is taken, and the others are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bmcore.domain import SEQUENCES, Finding, Severity
from bmcore.intake.layouts.case import LayoutCase, folders
from bmcore.intake.naming import stem
from bmcore.intake.sequence_name import contrast, propose

_FILE = re.compile(
    r"(?P<entities>sub-[^_]+(?:_[a-z]+-[^_]+)*)_(?P<suffix>[A-Za-z0-9]+)\.nii(\.gz)?"
)
_SUFFIXES = ("T1w", "T2w", "FLAIR")


def find(folder: Path) -> list[LayoutCase]:
    """A case a subject and session that has a T1 after contrast or any other of the sequences."""
    found = []
    for subject in folders(folder):
        if not re.fullmatch(r"sub-[A-Za-z0-9]+", subject.name):
            continue
        sessions = [p for p in folders(subject) if p.name.startswith("ses-")]
        for place in sessions or [subject]:
            own_id = subject.name if place == subject else f"{subject.name}_{place.name}"
            files, notes = _files(place, own_id)
            mask = _mask(folder, subject.name, place)
            if files:
                files |= {"seg": mask} if mask else {}
                ids = (subject.name, subject.name.removeprefix("sub-"))
                found.append(LayoutCase(own_id, files, subject.name, ids, notes))
    return found


def _files(place: Path, own_id: str) -> tuple[dict[str, Path], tuple[Finding, ...]]:
    taken: dict[str, Path] = {}
    notes = []
    for path in sorted((place / "anat").glob("sub-*.nii*")):
        sequence, why = _sequence(path.name)
        if sequence is None:
            if why:
                what = f"a file was not used: its name {why}"
                notes.append(Finding(Severity.INFO, what, own_id, found=path.name))
        elif sequence in taken:
            what = f"of several files for one sequence, {taken[sequence].name} was taken"
            notes.append(Finding(Severity.WARNING, what, own_id, found=f"left: {path.name}"))
        else:
            taken[sequence] = path
    return taken, tuple(notes)


def _sequence(name: str) -> tuple[str | None, str]:
    """The sequence of a file; or None, and why a T1w, T2w or FLAIR is not taken."""
    found = _FILE.fullmatch(name)
    if found is None or found["suffix"] not in _SUFFIXES:
        return None, ""
    proposal = propose(stem(name))
    if proposal.sequence not in SEQUENCES:
        return None, proposal.reason
    if not proposal.sequence.startswith("t1") and contrast(stem(name)):
        return None, ""  # T2 and FLAIR after contrast are left
    return proposal.sequence, ""


def _mask(root: Path, subject: str, place: Path) -> Path | None:
    below = place.relative_to(root / subject)
    names = (p for derived in folders(root / "derivatives")
             for p in _below(derived / subject / below / "anat"))  # fmt: skip
    return next((p for p in names if re.search(r"_(dseg|mask)\.nii(\.gz)?$", p.name)), None)


def _below(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(folder.iterdir())
