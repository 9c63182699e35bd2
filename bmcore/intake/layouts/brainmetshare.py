"""BrainMetShare (Stanford): ``Mets_005/bravo.nii.gz`` and so on; there is no T2.

T1 after contrast was measured twice: as a 3D gradient echo (bravo), which is taken, and as a spin
echo (t1_gd), which is left. The mask tells lesions from the rest and no more.
"""

from __future__ import annotations

import re
from pathlib import Path

from bmcore.domain import Finding, Severity
from bmcore.intake.layouts.case import LayoutCase, folders, image, images

_STEMS = {"t1n": "t1_pre", "t1c": "bravo", "t2f": "flair", "seg": "seg"}
_ID = re.compile(r"Mets_\d{3}")


def find(folder: Path) -> list[LayoutCase]:
    """Its cases, in the folder or one below it."""
    found = []
    for place in (folder, *folders(folder)):
        for own in folders(place):
            files = images(own, _STEMS)
            if _ID.fullmatch(own.name) and "t1c" in files:
                notes = (_left(own.name),) if image(own, "t1_gd") else ()
                found.append(LayoutCase(own.name, files, own.name, (), notes, "lesion"))
    return found


def _left(own_id: str) -> Finding:
    what = "of two T1 series after contrast the 3D gradient echo (bravo) was taken"
    return Finding(Severity.INFO, what, own_id, found="left: the spin echo (t1_gd)")
