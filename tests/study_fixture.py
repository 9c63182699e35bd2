"""A small study of known answers: twelve cases, two readers, without and with the models.

Every case is NSCLC or melanoma in turn. The models are right except on the cases in WRONG. Ada is
right unaided except on ADA_MISSED; aided she says what the models say on even cases and keeps her
answer on odd ones. Bo is right unaided except on BO_MISSED and always follows the models.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bmcore.analysis.readings import CaseFacts
from bmcore.domain import PRIMARIES
from bmcore.review import plan
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import Store
from bmcore.review.study import Study, parse_study
from bmcore.review.worklist import Seconds

CASES = tuple(f"Case-{n:02d}" for n in range(12))
TRUTH = {c: ("nsclc", "melanoma")[n % 2] for n, c in enumerate(CASES)}
WRONG = (CASES[1], CASES[4], CASES[7])
ADA_MISSED = (CASES[0], CASES[1], CASES[2], CASES[3])
BO_MISSED = (CASES[2], CASES[4], CASES[5])
MODEL = {c: ("rcc" if c in WRONG else TRUTH[c]) for c in CASES}
READERS = (("r01", "Ada Lund", "radiologist", 6.0), ("r02", "Bo Ek", "oncologist", 9.0))
CANARY = "canary in a remark"


def study(repeats: int = 0, **changes: object) -> Study:
    names = ("id", "name", "role", "years")
    both = ["aided"]
    whole: dict = {
        "study": "drawn",
        "title": "A drawn study",
        "design": {"kind": "sequential", "arms": ["unaided", "aided"]},
        "seeds": {"order": 1, "allocation": 2},
        "readers": [dict(zip(names, r, strict=True)) for r in READERS],
        "cases": list(CASES),
        "training_cases": ["phantom-1", "phantom-2"],
        "questions": [
            {"id": "primary", "kind": "primary", "text": "Which primary?"},
            {"id": "lesions", "kind": "lesions", "text": "Lesions?", "arms": both},
            {"id": "quality", "kind": "quality", "text": "How good?", "arms": both},
            {"id": "remarks", "kind": "text", "text": "Else?", "required": False},
        ],
        "repeats": {"count": repeats, "min_distance": 2},
        "primary_endpoint": {"measure": "accuracy", "compare": ["unaided", "aided"]},
        "analysis_plan": "Difference of right answers.",
    }
    return parse_study({**whole, **changes}, "here")


def said(reader: str, case: str, arm: str) -> str:
    """The primary that a reader names."""
    missed = ADA_MISSED if reader == "r01" else BO_MISSED
    own = "other" if case in missed else TRUTH[case]
    if arm == "unaided" or (reader == "r01" and CASES.index(case) % 2):
        return own
    return MODEL[case]


def facts() -> dict[str, CaseFacts]:
    """Cases with truth and the models' answer; women are the even ones."""
    found = {}
    for n, case in enumerate(CASES):
        chances = tuple(0.75 if str(p) == MODEL[case] else 0.05 for p in PRIMARIES)
        found[case] = CaseFacts(
            case,
            sex=("female", "male")[n % 2],
            age_years=45.0 + 3 * n,
            lesions=2,
            truth=TRUTH[case],
            answers={"clinical": chances, "image": chances, "fused": chances},
        )
    return found


def read(
    store: Store,
    plan_: Study,
    stop_after: int | None = None,
    more: Callable[[str, str, str], dict] = lambda reader, case, arm: {},
) -> ReadingSession:
    """Lock the plan and let both read to the end of their lists, or each ``stop_after`` sheets.

    more: further answers of a reader to a case in an arm.
    """
    plan.lock(store, plan_, "Ida Lund")
    now = datetime(2026, 11, 1, 9, tzinfo=UTC)
    clock = [now]
    desk = ReadingSession(store, plan_.study, clock=lambda: clock[0])
    for reader, *_ in READERS:
        for number, work in enumerate(desk.work(reader)):
            if number == stop_after:
                break
            place = work.item.place
            clock[0] += timedelta(minutes=1)
            answer = said(reader, place.case_id, place.arm)
            sure = 80 if answer == TRUTH[place.case_id] else 40
            values: dict = {"primary": {"choice": answer, "confidence": sure}, "remarks": CANARY}
            if place.arm == "aided":
                verdicts = {"1": "accept", "2": "reject"}
                values |= {"lesions": {"lesions": verdicts, "missed": 0}, "quality": 1 + number % 5}
            values |= more(reader, place.case_id, place.arm)
            seconds = Seconds(60.0 if place.arm == "unaided" else 20.0, 5.0)
            desk.submit(place, values, seconds, f"{reader} {number}")
    return desk
