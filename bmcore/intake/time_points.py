"""Which cases may be of one patient, and in which order, as far as ids and dates say so.

It is a proposal and no more: who proposes it says why, and a person decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from bmcore.intake.case_record import CaseEntry

# Patient and time point of public data sets (BraTS-MET-00086-001), and of ours from DICOM
# (``dicom.deidentify``): patient and examination, whose order the id does not tell.
_NUMBERED = re.compile(r"(BraTS-[A-Z]{2,6}-\d{5})-(\d{3})")
_FROM_DICOM = re.compile(r"(p[0-9a-f]{10})-e[0-9a-f]{6}")


@dataclass(frozen=True)
class Proposal:
    """``case_id`` is probably an earlier examination of the same patient. why: in words.
    ordered: that it is the earlier of the two is known, too."""

    case_id: str
    why: str
    ordered: bool


def person_of(case_id: str) -> str | None:
    """What an id says of the patient; None where it says nothing."""
    found = _NUMBERED.fullmatch(case_id) or _FROM_DICOM.fullmatch(case_id)
    return found.group(1) if found else None


def propose(of: CaseEntry, cases: Iterable[CaseEntry]) -> tuple[Proposal, ...]:
    """Cases that may be earlier examinations of the patient of ``of``: the latest before it first,
    then those of which the order is not known. What is known to be later is left out."""
    person = person_of(of.case_id)
    if person is None:
        return ()
    found: list[tuple[int, str, Proposal]] = []
    for entry in cases:
        if entry.case_id == of.case_id or person_of(entry.case_id) != person:
            continue
        order, why = _order(of, entry)
        if order is None or order > 0:
            proposal = Proposal(entry.case_id, f"{why} ({person})", order is not None)
            found.append((order if order is not None else 10**9, entry.case_id, proposal))
    return tuple(proposal for _, _, proposal in sorted(found, key=lambda one: one[:2]))


def _order(of: CaseEntry, other: CaseEntry) -> tuple[int | None, str]:
    """(by how much ``other`` is earlier, None if that is not known; why, in words)."""
    days = [_day(entry) for entry in (of, other)]
    if days[0] is not None and days[1] is not None and days[0] != days[1]:
        apart = (days[0] - days[1]).days
        words = "1 day" if abs(apart) == 1 else f"{abs(apart)} days"
        return apart, f"the same patient, examined {words} before"
    numbers = [_NUMBERED.fullmatch(entry.case_id) for entry in (of, other)]
    if numbers[0] is not None and numbers[1] is not None:
        first, second = (int(n.group(2)) for n in numbers if n is not None)
        return first - second, "the same patient by the id, and a time point before"
    return None, "the same patient by the id; which examination came first is not known"


def _day(entry: CaseEntry) -> date | None:
    """The day of the examination as it is kept (moved, all of one patient by as many days)."""
    try:
        return date.fromisoformat(entry.date_shifted)
    except ValueError:
        return None
