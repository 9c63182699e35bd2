"""BraTS-METS (2023 and later): named like the Yale data set, whose patients are among its cases."""

from __future__ import annotations

import re
from pathlib import Path

from bmcore.domain import Finding, Severity
from bmcore.intake.layouts.case import LayoutCase
from bmcore.intake.layouts.yale import IDS, cases_in

_ID = re.compile(r"BraTS-MET-(\d{5})-(\d{3})")


def find(folder: Path) -> list[LayoutCase]:
    """Its cases: folders ``BraTS-MET-00001-000`` with files of that name."""
    found = []
    for case in cases_in(folder):
        number = _ID.fullmatch(case.own_id)
        if number is None:
            continue
        patient = f"BraTS-MET-{number[1]}"
        notes = (_doubled(case.own_id),) if int(number[1]) in IDS else ()
        found.append(LayoutCase(case.own_id, case.files, patient, (), notes, "2023"))
    return found


def _doubled(own_id: str) -> Finding:
    return Finding(
        Severity.WARNING,
        "this id is also one of Pretreat-MetsToBrain-Masks (Yale): most likely the same patient",
        own_id,
        hint="bring a patient in from one of the two data sets only.",
    )
