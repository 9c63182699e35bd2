"""Pretreat-MetsToBrain-Masks (Yale; TCIA, doi 10.7937/6be1-r748), as the download unpacks."""

from __future__ import annotations

import re
from pathlib import Path

from bmcore.intake.layouts.case import KINDS, LayoutCase, folders, images

NESTED = ("PKG - Pretreat-MetsToBrain-Masks", "Pretreat-MetsToBrain-Masks")
_ID = re.compile(r"BraTS-MET-(\d{5})-000")
IDS = range(86, 311)  # of the data set, with gaps


def find(folder: Path) -> list[LayoutCase]:
    """Its cases, where the folder or one above the cases bears the name of the data set."""
    levels = [folder]
    for name in NESTED:
        if (levels[-1] / name).is_dir():
            levels.append(levels[-1] / name)
    if len(levels) == 1 and folder.resolve().name not in NESTED:
        return []
    return cases_in(levels[-1])


def cases_in(folder: Path) -> list[LayoutCase]:
    """Folders ``CASE`` with ``CASE-t1c.nii.gz`` and so on."""
    found = []
    for own in folders(folder):
        files = images(own, {kind: f"{own.name}-{kind}" for kind in KINDS})
        if "t1c" in files:
            number = _ID.fullmatch(own.name)
            ids = (str(int(number[1])),) if number else ()
            found.append(LayoutCase(own.name, files, own.name, ids, mask="2023"))
    return found
