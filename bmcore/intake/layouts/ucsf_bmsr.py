"""UCSF-BMSR: ``100101A/100101A_T1post.nii.gz`` and so on; its T2 was made by a network."""

from __future__ import annotations

import re
from pathlib import Path

from bmcore.domain import Finding, Severity
from bmcore.intake.layouts.case import LayoutCase, folders, images

_STEMS = {"t1n": "T1pre", "t1c": "T1post", "t2w": "T2Synth", "t2f": "FLAIR", "seg": "BraTS-seg"}
_ID = re.compile(r"(\d{6})[A-Z]?")  # the letter counts the examinations of one person


def find(folder: Path) -> list[LayoutCase]:
    """Its cases, in the folder or in those of the training and the test set below it."""
    found = []
    for place in (folder, *(p for p in folders(folder) if p.name.startswith("UCSF_"))):
        for own in folders(place):
            number = _ID.fullmatch(own.name)
            files = images(own, {kind: f"{own.name}_{stem}" for kind, stem in _STEMS.items()})
            if number and "t1c" in files:
                notes = (_made_up(own.name),) if "t2w" in files else ()
                found.append(LayoutCase(own.name, files, number[1], (number[1],), notes, "2023"))
    return found


def _made_up(own_id: str) -> Finding:
    what = "the T2 of this data set was computed from the other sequences, not measured"
    return Finding(Severity.WARNING, what, own_id)
