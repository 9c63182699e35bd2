"""Disagreements of one case together, with the readers' names taken away, and their masks.

Who decides sees Reader A, B, ...: letters of this case alone, in an order that the plan's seed
gives, so that a letter does not lead from case to case to a person.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bmcore.review.adjudicate import Disagreement
from bmcore.review.allocation import number
from bmcore.review.answers import StudyAnswer
from bmcore.review.study import Study

Seat = tuple[str, str]  # site, reader's id


@dataclass(frozen=True)
class CaseDispute:
    """All disagreements on one case. lines: by the design's order of arms, then of questions;
    letters: {(site, reader's id): "Reader A"} of everybody who answered."""

    case_id: str
    lines: tuple[Disagreement, ...]
    letters: Mapping[Seat, str]

    @property
    def open(self) -> tuple[Disagreement, ...]:
        """Those that nobody has decided on these very answers."""
        return tuple(d for d in self.lines if d.open)

    def name(self, said: StudyAnswer) -> str:
        """Who gave an answer, blinded."""
        return self.letters[said.site, said.reader]


def by_case(study: Study, found: Sequence[Disagreement]) -> tuple[CaseDispute, ...]:
    """Disagreements gathered by case, in the plan's order of cases."""
    arms: dict[str, int] = {arm: n for n, arm in enumerate(study.design.arms)}
    asked = {q.id: n for n, q in enumerate(study.questions)}
    cases: dict[str, list[Disagreement]] = {case_id: [] for case_id in study.cases}
    for d in found:
        cases[d.case_id].append(d)
    return tuple(
        CaseDispute(
            case_id,
            tuple(sorted(lines, key=lambda d: (arms[d.arm], asked[d.question]))),
            letters(study, case_id, lines),
        )
        for case_id, lines in cases.items()
        if lines
    )


def letters(study: Study, case_id: str, lines: Sequence[Disagreement]) -> dict[Seat, str]:
    """{(site, reader's id): "Reader A"} for a case; the same at each call, another order a case."""
    seats = {(a.site, a.reader) for d in lines for a in d.answers}
    seed = study.seeds.allocation
    order = sorted(seats, key=lambda s: (number(seed, "letters", case_id, s[1]), s[0]))
    return {seat: f"Reader {_letter(n)}" for n, seat in enumerate(order)}


def _letter(n: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    before, last = divmod(n, 26)
    return (_letter(before - 1) if before else "") + string.ascii_uppercase[last]


def open_words(disputes: Sequence[CaseDispute], most: int = 10) -> str:
    """How many disagreements are open, and on which cases; empty where none is."""
    left = [(d.case_id, len(d.open)) for d in disputes if d.open]
    if not left:
        return ""
    n = sum(times for _, times in left)
    cases = ", ".join(f"{case_id} ({times})" for case_id, times in left[:most])
    more = f" and {len(left) - most} more" if len(left) > most else ""
    return f"{n} disagreement{'' if n == 1 else 's'} open: {cases}{more}"
