"""What is known of Pretreat-MetsToBrain-Masks, to hold a download against."""

from __future__ import annotations

import re

from bmcore.domain import PRIMARY_NAMES, Primary
from bmcore.intake.layouts.yale import IDS
from training.pipeline.audit import Audit

# Spreadsheet of 2024-04-10 (TCIA, doi 10.7937/6be1-r748).
PATIENTS = 200
PRIMARIES = {
    Primary.NSCLC: 86, Primary.MELANOMA: 41, Primary.BREAST: 26, Primary.SCLC: 17,
    Primary.RCC: 16, Primary.GI: 14,
}  # fmt: skip
_ID = re.compile(r"BraTS-MET-(\d{5})-\d{3}")


def is_published(found: Audit) -> bool:
    """Whether most case ids are among those of the data set."""
    numbers = [m and int(m[1]) in IDS for c in found.cases if (m := _ID.fullmatch(c.case_id))]
    return sum(map(bool, numbers)) * 2 > len(found.cases)


def against_published(found: Audit) -> list[str]:
    """Lines that hold the cases found against the published counts; [] for another data set.

    The primaries are counted over all cases with a row, whether they can be used or not.
    """
    if not is_published(found):
        return []
    counts = dict.fromkeys(Primary, 0)
    for case in found.cases:
        if case.primary is not None:
            counts[case.primary] += 1
    count = len(found.cases)
    lines = [f"cases: {count} found, {PATIENTS} published{_less(count, PATIENTS)}"]
    lines += [
        f"{PRIMARY_NAMES[p]}: {counts[p]} found, {n} published{_less(counts[p], n)}"
        for p, n in PRIMARIES.items()
    ]
    return lines


def _less(found: int, published: int) -> str:
    if found == published:
        return ""
    return f" ({abs(found - published)} {'fewer' if found < published else 'more'})"
