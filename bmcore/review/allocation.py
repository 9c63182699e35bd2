"""Who reads what, when and how: each reader's list, drawn from the study's seeds alone.

Nothing is drawn from a generator: a list is sorted by SHA-256 of ``seed | purpose | reader |
period | item``, so any language gives the same order again, and a reader added later changes no
other reader's list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from bmcore.domain import ARM_WORDS
from bmcore.review.study import Study


@dataclass(frozen=True, order=True)
class Place:
    """What one answer sheet belongs to. occasion: 0 first reading, 1 the hidden repeat."""

    reader: str
    case_id: str
    arm: str
    occasion: int = 0

    @property
    def words(self) -> str:
        """For a message that its reader may see: neither the case nor whether it is a repeat."""
        return f"{self.reader}, {ARM_WORDS[self.arm]}"


@dataclass(frozen=True)
class Item:
    """One line of a work list. position: 1.. over the whole list; period: 1.. (crossover)."""

    place: Place
    position: int
    period: int


def work_list(study: Study, reader_id: str) -> tuple[Item, ...]:
    """The whole list of one reader, in reading order.

    Sequential: one period; each case with all arms in turn. Crossover: as many periods as arms;
    in each period every case once, in the arm of its group. The repeats of a period are read in
    the arms of the first reading.
    """
    study.reader(reader_id)
    places: list[tuple[int, Place]] = []
    periods = 1 if study.design.kind == "sequential" else len(study.design.arms)
    for period in range(periods):
        arms = _arms_by_case(study, reader_id, period)
        for case, occasion in _cases_in_order(study, reader_id, period):
            places += [(period + 1, Place(reader_id, case, arm, occasion)) for arm in arms[case]]
    return tuple(Item(p, n, period) for n, (period, p) in enumerate(places, start=1))


def repeated_cases(study: Study) -> tuple[str, ...]:
    """The cases that are read twice, the same for all readers."""
    drawn = shuffled(study.cases, study.seeds.allocation, "repeats")
    return tuple(drawn[: study.repeats.count])


def _arms_by_case(study: Study, reader_id: str, period: int) -> dict[str, tuple[str, ...]]:
    arms = study.design.arms
    if study.design.kind == "sequential":
        return {case: tuple(arms) for case in study.cases}
    # Cases are dealt to groups; a group's arms over the periods are a row of a cyclic Latin square.
    # Half of the rows run backwards, so that each arm follows each other arm equally often.
    start, step = _square_row(study, reader_id)
    dealt = shuffled(study.cases, study.seeds.allocation, "groups")
    return {
        case: (arms[(start + group + step * period) % len(arms)],)
        for group, case in ((n % len(arms), case) for n, case in enumerate(dealt))
    }


def _square_row(study: Study, reader_id: str) -> tuple[int, int]:
    """``(first arm of group 0, +1 or -1)``: all rows once among each block of readers."""
    arms = len(study.design.arms)
    rows = [(start, step) for step in (1, -1) for start in range(arms)]
    if arms == 2:  # both directions are the same
        rows = rows[:2]
    index = [r.id for r in study.readers].index(reader_id)
    names = [str(n) for n in range(len(rows))]
    drawn = shuffled(names, study.seeds.allocation, "rows", str(index // len(rows)))
    return rows[int(drawn[index % len(rows)])]


def _cases_in_order(study: Study, reader_id: str, period: int) -> list[tuple[str, int]]:
    """``(case, occasion)`` of one period; a repeat at least ``min_distance`` cases later."""
    seed, when = study.seeds.order, str(period)
    order = shuffled(study.cases, seed, "order", reader_id, when)
    distance = study.repeats.min_distance
    repeats = repeated_cases(study)
    early = len(order) - distance + 1  # a first reading must lie before this place
    late = [case for case in order[max(0, early) :] if case in repeats]
    room = [case for case in order[: max(0, early)] if case not in repeats]
    swaps = shuffled(room, seed, "swap", reader_id, when)
    for case, other in zip(late, swaps, strict=False):
        a, b = order.index(case), order.index(other)
        order[a], order[b] = order[b], order[a]
    listed = [(case, 0) for case in order]
    for case in shuffled(repeats, seed, "insert", reader_id, when):
        first = listed.index((case, 0)) + distance
        choices = len(listed) - first + 1  # an insertion never brings another pair closer
        listed.insert(first + number(seed, "at", reader_id, when, case) % choices, (case, 1))
    return listed


def shuffled(items: Sequence[str], seed: int, *purpose: str) -> list[str]:
    """``items`` in the order that the seed gives for a purpose."""
    return sorted(items, key=lambda item: (number(seed, *purpose, item), item))


def number(seed: int, *words: str) -> int:
    """A large number that the seed gives for some words."""
    text = "|".join([str(seed), *words])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest())
