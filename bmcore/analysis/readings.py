"""What readers said, from free votes or from one study, in one shape for all results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES
from bmcore.review.allocation import Place
from bmcore.review.answers import in_force
from bmcore.review.plan_question import FREE
from bmcore.review.record import StudyRecord
from bmcore.review.study import ARMS, Study
from bmcore.review.votes import PRIMARY_CHOICES, Vote, current
from bmcore.stats.subgroups import band, bands, count_band, count_bands

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
AGE_EDGES = (50.0, 65.0)
LESION_EDGES = (2, 5, 10)
UNKNOWN = "not known"


@dataclass(frozen=True)
class Reading:
    """One reader's answers on one case. order: place of the case among those of this reader and
    arm, from 1; active_s: None where no time was taken; model: the models' answer that the reader
    saw, None where none is on record; lesions: the verdicts, see ``review.sheet``; differential:
    other primaries that he considered, likeliest first; free: answers to the plan's free questions,
    by their ids; taken_over: questions filled from the earlier arm at a click."""

    reader: str
    case_id: str
    arm: str
    occasion: int
    primary: str
    confidence: int
    order: int
    quality: int | None = None
    explanation: str | None = None
    lesions: Mapping[str, Any] | None = None
    active_s: float | None = None
    model: str | None = None
    differential: tuple[str, ...] = ()
    free: Mapping[str, Any] = field(default_factory=dict)
    taken_over: tuple[str, ...] = ()


RESTATED = "fused_for_the_plan"


@dataclass(frozen=True)
class CaseFacts:
    """A case as far as results need it. answers: {"clinical", "image", "fused": six probabilities,
    None where the models gave no answer}; empty: not predicted. ``RESTATED``: the fused answer for
    the case mix that the plan states, where it states one. lesions: None is not known."""

    case_id: str
    sex: str | None = None
    age_years: float | None = None
    smoking: str | None = None
    extracranial_metastases: bool | None = None
    lesions: int | None = None
    truth: str | None = None
    answers: Mapping[str, tuple[float, ...] | None] = field(default_factory=dict)

    def top(self, kind: str = "fused") -> str | None:
        """The models' likeliest primary, None without an answer."""
        found = self.answers.get(kind)
        return None if found is None else str(PRIMARIES[int(np.argmax(found))])

    def group(self, what: str) -> str:
        """The subgroup the case belongs to: what is "sex", "age", "lesions" or "primary"."""
        if what == "age":
            return band(self.age_years, AGE_EDGES, " years")
        if what == "lesions":
            if self.lesions is None:
                return UNKNOWN
            return "0" if self.lesions == 0 else count_band(self.lesions, LESION_EDGES)
        value = self.sex if what == "sex" else self.truth
        return value or UNKNOWN


GROUPS: Mapping[str, tuple[str, ...]] = {
    "sex": ("female", "male", UNKNOWN),
    "age": (*bands(AGE_EDGES, " years"), UNKNOWN),
    "lesions": ("0", *count_bands(LESION_EDGES), UNKNOWN),
    "primary": (*map(str, PRIMARIES), UNKNOWN),
}


@dataclass(frozen=True)
class Compared:
    """A reader's blinded choice between two segmentations; answer: "left", "right" or "tie"."""

    reader: str
    case: str
    left: str
    right: str
    answer: str


@dataclass(frozen=True)
class Person:
    """A reader of the results. years: of experience, None where not known."""

    name: str
    role: str
    years: float | None = None


@dataclass(frozen=True, eq=False)
class StudyData:
    """Readings of a study or of free votes, and what they are held against.

    arms: in the order of reading; plan: of a study, else None; dice: {case: (names, table
    (readers, readers) of corrected masks)}."""

    title: str
    arms: tuple[str, ...]
    people: tuple[Person, ...]
    cases: Mapping[str, CaseFacts]
    readings: tuple[Reading, ...]
    plan: Study | None = None
    dice: Mapping[str, tuple[tuple[str, ...], Floats]] = field(default_factory=dict)
    preferences: tuple[Compared, ...] = ()
    comparisons_open: int = 0

    @property
    def category(self) -> str:
        """The primary that stands against the rest: the commonest known one, if there is any."""
        known = Counter(c.truth for c in self.cases.values() if c.truth in PRIMARIES)
        return max(map(str, PRIMARIES), key=lambda p: known[p])

    @property
    def compared(self) -> tuple[str, str] | None:
        """The two arms of the primary comparison: the plan's, else unaided and aided."""
        if self.plan is not None:
            first, second = self.plan.primary_endpoint.compare
            return (first, second)
        return ("unaided", "aided") if {"unaided", "aided"} <= set(self.arms) else None


@dataclass(frozen=True)
class Choice:
    """A filter; an empty tuple lets everything through. groups: (what, group) pairs, see GROUPS;
    category: the primary that stands against the rest, None for the commonest."""

    roles: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    groups: tuple[tuple[str, str], ...] = ()
    category: str | None = None


@dataclass(frozen=True, eq=False)
class ReadingArrays:
    """First readings as arrays (arms, readers, cases): ``answers`` and ``model`` (index into
    PRIMARY_CHOICES, -1 none), ``confidences``, ``quality``, ``seconds``, ``order`` (NaN none).
    ``truth`` (cases,): -1 not known. ``second``: as ``answers``, of the hidden repeats."""

    arms: tuple[str, ...]
    readers: tuple[str, ...]
    cases: tuple[str, ...]
    answers: Codes
    second: Codes
    model: Codes
    confidences: Floats
    quality: Floats
    seconds: Floats
    order: Floats
    truth: Codes

    def arm(self, name: str) -> int:
        """The index of an arm; ValueError where nobody read in it."""
        return self.arms.index(name)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(cases,): the reference is known."""
        return self.truth >= 0


def code(answer: str | None) -> int:
    """Index into PRIMARY_CHOICES, -1 for None."""
    return -1 if answer is None else PRIMARY_CHOICES.index(answer)


def from_votes(
    votes: Iterable[Vote],
    cases: Mapping[str, CaseFacts],
    dice: Mapping[str, tuple[tuple[str, ...], Floats]] | None = None,
    years: Mapping[str, float | None] | None = None,
) -> StudyData:
    """The free votes in force. Their order is the order in which they were stored."""
    latest = current(votes)
    placed: Counter[tuple[str, str]] = Counter()
    readings = []
    for v in latest:
        placed[v.reader, v.phase] += 1
        readings.append(
            Reading(
                reader=v.reader,
                case_id=v.case_id,
                arm=v.phase,
                occasion=0,
                primary=v.primary,
                confidence=v.confidence,
                order=placed[v.reader, v.phase],
                quality=v.segmentation_quality,
                model=v.model_primary,
            )
        )
    roles = {v.reader: v.role for v in latest}
    people = tuple(Person(n, roles[n], (years or {}).get(n)) for n in sorted(roles))
    facts = {**{v.case_id: CaseFacts(v.case_id) for v in latest}, **cases}
    return StudyData(
        "Free votes", ("unaided", "aided"), people, facts, tuple(readings), None, dice or {}
    )


def from_study(
    record: StudyRecord,
    cases: Mapping[str, CaseFacts],
    dice: Mapping[str, tuple[tuple[str, ...], Floats]] | None = None,
) -> StudyData:
    """The answers in force of a study, first readings and repeats."""
    study = record.study
    kinds = {q.id: q.kind for q in study.questions}
    asked = next(q.id for q in study.questions if q.kind == "primary")
    said: dict[Place, dict[str, Any]] = {}
    free: dict[Place, dict[str, Any]] = {}
    for a in in_force(record.answers):
        if kinds.get(a.question) in FREE:
            free.setdefault(a.place, {})[a.question] = a.value
        elif a.question == asked or kinds.get(a.question) != "primary":
            said.setdefault(a.place, {})[kinds.get(a.question, "")] = a.value
    placed: Counter[tuple[str, str]] = Counter()
    readings = []
    for sheet in sorted(record.sheets, key=lambda s: (s.place.reader, s.item.position)):
        place, told = sheet.place, said.get(sheet.place, {})
        if "primary" not in told:
            continue
        placed[place.reader, place.arm] += 1
        readings.append(
            Reading(
                reader=study.reader(place.reader).name,
                case_id=place.case_id,
                arm=place.arm,
                occasion=place.occasion,
                primary=told["primary"]["choice"],
                confidence=told["primary"]["confidence"],
                order=placed[place.reader, place.arm],
                quality=told.get("quality"),
                explanation=told.get("explanation"),
                lesions=told.get("lesions"),
                active_s=sheet.seconds.active_s or None,
                differential=tuple(told.get("differential") or ()),
                free=free.get(place, {}),
                taken_over=sheet.taken_over,
            )
        )
    arms = tuple(arm for arm in ARMS if arm in study.design.arms)
    people = tuple(Person(r.name, r.role, r.years) for r in study.readers)
    facts = {case: cases.get(case, CaseFacts(case)) for case in study.cases}
    waits = record.comparisons_open
    compared = tuple(
        Compared(study.reader(c.reader).name, c.case_id, c.left, c.right, c.answer)
        for c in (() if waits else record.preferences)
    )
    found = StudyData(study.title, arms, people, facts, tuple(readings), study, dice or {})
    return replace(found, preferences=compared, comparisons_open=waits)


def chosen(data: StudyData, choice: Choice) -> StudyData:
    """The part of the data that the filter lets through."""
    people = tuple(p for p in data.people if not choice.roles or p.role in choice.roles)
    cases = {
        name: facts
        for name, facts in data.cases.items()
        if all(facts.group(what) == group for what, group in choice.groups)
    }
    arms = tuple(a for a in data.arms if not choice.arms or a in choice.arms)
    names = {p.name for p in people}
    readings = tuple(
        r for r in data.readings if r.reader in names and r.case_id in cases and r.arm in arms
    )
    dice = {c: d for c, d in data.dice.items() if c in cases}
    compared = tuple(c for c in data.preferences if c.reader in names and c.case in cases)
    part = replace(data, people=people, cases=cases, arms=arms, readings=readings, dice=dice)
    return replace(part, preferences=compared)


def reading_arrays(data: StudyData) -> ReadingArrays:
    """The readings as arrays; readers without any reading and cases without one are left out."""
    readers = tuple(sorted({r.reader for r in data.readings}))
    cases = tuple(sorted({r.case_id for r in data.readings}))
    at = ({a: i for i, a in enumerate(axis)} for axis in (data.arms, readers, cases))
    at_arm, at_reader, at_case = at
    shape = (len(data.arms), len(readers), len(cases))
    codes = {name: np.full(shape, -1, np.int64) for name in ("answers", "second", "model")}
    numbers = {n: np.full(shape, np.nan) for n in ("confidences", "quality", "seconds", "order")}
    for r in data.readings:
        place = (at_arm[r.arm], at_reader[r.reader], at_case[r.case_id])
        if r.occasion:
            codes["second"][place] = code(r.primary)
            continue
        codes["answers"][place] = code(r.primary)
        codes["model"][place] = code(r.model or _top(data, r.case_id))
        for name, value in (
            ("confidences", r.confidence),
            ("quality", r.quality),
            ("seconds", r.active_s),
            ("order", r.order),
        ):
            numbers[name][place] = math.nan if value is None else value
    truth = np.array([code(data.cases[c].truth) if c in data.cases else -1 for c in cases], int)
    return ReadingArrays(data.arms, readers, cases, **codes, **numbers, truth=truth)  # type: ignore[arg-type]


def _top(data: StudyData, case_id: str) -> str | None:
    return data.cases[case_id].top() if case_id in data.cases else None


def roles_of(people: Sequence[Person]) -> tuple[str, ...]:
    """The roles that occur, in the order of the people."""
    return tuple(dict.fromkeys(p.role for p in people))


@dataclass(frozen=True)
class LesionMarks:
    """What a reader took for lesions, held against the reference mask. hits: {(arm, reader, case):
    (numbers of the reference lesions marked, number of marks on none)}; lesions: {case: number of
    reference lesions}, for cases with a reference mask; diameters_mm: {case: the longest diameter
    of each of them, in the order of their numbers}; ratings: as hits, where marks are rated (0 to
    100): (the highest of the marks on each reference lesion, -inf without one; of each false
    mark)."""

    hits: Mapping[tuple[str, str, str], tuple[frozenset[int], int]] = field(default_factory=dict)
    diameters_mm: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    ratings: Mapping[tuple[str, str, str], tuple[tuple[float, ...], tuple[float, ...]]] = field(
        default_factory=dict
    )

    @property
    def lesions(self) -> Mapping[str, int]:
        """{case: number of reference lesions}."""
        return {case: len(sizes) for case, sizes in self.diameters_mm.items()}
