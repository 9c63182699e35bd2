"""Who may do what: one table, one ``authorize``, asked by every page and every export.

An action is allowed by the role and by how the user stands to the case in question: somebody who
reads in a running study sees of its cases what the plan lets through, whatever the role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from bmcore.domain import BmcoreError, refuse
from bmcore.review import plan
from bmcore.review.allocation import Place
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import Store
from bmcore.review.study import Study
from bmcore.review.votes import Reader
from bmcore.review.worklist import WorkItem, check_open


class AccessRefused(BmcoreError):
    """This user may not do this, or not now."""


class Role(StrEnum):
    """reader: reads and votes; investigator: plans studies and sees results; administrator: also
    keeps the accounts."""

    READER = "reader"
    INVESTIGATOR = "investigator"
    ADMINISTRATOR = "administrator"


class Standing(StrEnum):
    """How the user stands to a case, or, where no case is meant, to the running studies.

    FREE: reads it in no running study. WAITING: it comes later on the own list, or the washout
    lasts. PAUSED: the study takes no readings now. UNAIDED, AIDED, EXPLAINED: its sheet is open, in
    this arm. CLOSED: the own sheet is locked, but the own list is not read to its end. SKIPPED:
    nothing waits, but skipped sheets could still be read. OVER: every sheet of the own list is
    locked, or skipped for good.
    """

    FREE = "free"
    WAITING = "waiting"
    PAUSED = "study paused"
    UNAIDED = "unaided sheet open"
    AIDED = "aided sheet open"
    EXPLAINED = "explained sheet open"
    CLOSED = "sheet locked"
    SKIPPED = "list not closed"
    OVER = "list done"


@dataclass(frozen=True)
class User:
    """Who acts. local: the one user of a computer of their own, without an account; all roles."""

    name: str
    role: Role
    local: bool = False

    @property
    def key(self) -> str:
        """As a reader's: two spellings of a name are one person."""
        return Reader(self.name, "other").key


LOCAL = User("this computer", Role.ADMINISTRATOR, local=True)
_ALL = frozenset(Role)
_LEADS = frozenset({Role.INVESTIGATOR, Role.ADMINISTRATOR})
_ANY = frozenset(Standing)
_OUTSIDE = frozenset({Standing.FREE, Standing.OVER})
_OPEN = frozenset({Standing.UNAIDED, Standing.AIDED, Standing.EXPLAINED})
_HELPED = frozenset({Standing.AIDED, Standing.EXPLAINED})


@dataclass(frozen=True)
class Rule:
    """Which roles, and how they must stand. words: what the action is, on the screen."""

    words: str
    roles: frozenset[Role]
    standings: frozenset[Standing] = _ANY


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "cases.see": Rule("see the work list", _ALL),
        "cases.add": Rule("add cases", _LEADS),
        "case.rename": Rule("rename this case", _LEADS, _OUTSIDE),
        "case.delete": Rule("delete this case", _LEADS, _OUTSIDE),
        "case.prior": Rule("say which case is an earlier examination", _LEADS, _OUTSIDE),
        "runs.see": Rule("see what the models are doing", _ALL),
        "runs.start": Rule("run the models on many cases", _LEADS),
        "runs.cancel": Rule("cancel what others asked for", _LEADS),
        "review.see": Rule("open the Review page", _ALL),
        "case.open": Rule("read this case outside the study", _ALL, _OUTSIDE),
        "case.run": Rule("run the models on this case", _ALL, _OUTSIDE),
        "case.mode": Rule("choose how this case is read", _LEADS, _OUTSIDE),
        "vote.store": Rule("vote on this case outside the study", _ALL, _OUTSIDE),
        "study.see": Rule("open the Study page", _ALL),
        "study.images": Rule("see the images of this case", _ALL, _OPEN),
        "study.models": Rule("see the models' answers on this case", _ALL, _HELPED),
        "study.reasons": Rule(
            "see the models' reasons on this case", _ALL, frozenset({Standing.EXPLAINED})
        ),
        "study.answer": Rule("answer this reading", _ALL, _OPEN),
        "study.run": Rule("run the models on this case of the study", _ALL, _HELPED),
        "study.correct": Rule("correct an answer", _ALL, _ANY),
        "study.manage": Rule("plan and follow studies", _LEADS),
        "study.decide": Rule("see and resolve disagreements", _LEADS, _OUTSIDE),
        "references.keep": Rule("see and keep the known primaries", _LEADS, _OUTSIDE),
        "masks.export": Rule("write consensus masks", _LEADS, _OUTSIDE),
        "agreement.see": Rule("see how far readers agree", _LEADS, _OUTSIDE),
        "report.build": Rule("build the report", _LEADS, _OUTSIDE),
        "report.export": Rule("download the report", _LEADS, _OUTSIDE),
        "models.see": Rule("see the models' card", _ALL),
        "password.own": Rule("change its own password", _ALL),
        "accounts.manage": Rule("manage the accounts", frozenset({Role.ADMINISTRATOR})),
    }
)


def allowed(user: User, action: str, standing: Standing = Standing.FREE) -> bool:
    """True where the role and the standing both let ``user`` do ``action``; KeyError if unknown."""
    rule = RULES[action]
    return user.role in rule.roles and standing in rule.standings


def authorize(user: User, action: str, standing: Standing = Standing.FREE) -> None:
    """Raise AccessRefused, in words for the screen, unless ``allowed``."""
    rule = RULES[action]
    if user.role not in rule.roles:
        raise refuse(
            f"this account may not {rule.words}",
            found=f"the role of {user.name} is {user.role}",
            expected=" or ".join(sorted(rule.roles)),
            hint="an administrator can change the role.",
            error=AccessRefused,
        )
    if standing not in rule.standings:
        raise refuse(
            f"you cannot {rule.words} now",
            found=_WORDS[standing],
            hint=_HINTS[standing],
            error=AccessRefused,
        )


def case_standing(store: Store, user: User, case_id: str) -> Standing:
    """How ``user`` stands to a case outside its sheets: FREE, WAITING or OVER.

    The local user may be any reader, so the case is WAITING while anybody's list is not done.
    """
    return _standing(store, user, case_id)


def results_standing(store: Store, user: User) -> Standing:
    """How ``user`` stands to results: WAITING while an own list in any study is not done.

    The local user is not told apart from the readers and is alone at the computer: what waits is
    no hindrance, but lists that are read to their end must be closed first (SKIPPED).
    """
    if not user.local:
        return _standing(store, user, None)
    for name in plan.studies(store):
        session = ReadingSession(store, name)
        if _least([list_standing(session.work(r.id)) for r in session.version.study.readers]) is (
            Standing.SKIPPED
        ):
            return Standing.SKIPPED
    return Standing.FREE


def closed_cases(store: Store, user: User) -> set[str]:
    """The cases that ``user`` may not open outside a study now: see ``case_standing``."""
    found: set[str] = set()
    for name in plan.studies(store):
        session = ReadingSession(store, name)
        study = session.version.study
        lists = [
            list_standing(session.work(reader.id))
            for reader in study.readers
            if user.local or Reader(reader.name, "other").key == user.key
        ]
        if _least(lists) not in _OUTSIDE:
            found |= set(study.cases)
    return found


def list_standing(listed: Sequence[WorkItem]) -> Standing:
    """WAITING, SKIPPED or OVER: how far a reader's whole list is."""
    if any(not w.done for w in listed):
        return Standing.WAITING
    if any(w.state == "skipped" and not w.final for w in listed):
        return Standing.SKIPPED
    return Standing.OVER


def _least(standings: Sequence[Standing]) -> Standing:
    """The one that is farthest from the end; FREE where there is none."""
    order = (Standing.WAITING, Standing.SKIPPED, Standing.OVER)
    return min(standings, key=order.index, default=Standing.FREE)


def sheet_standing(study: Study, listed: Sequence[WorkItem], place: Place) -> Standing:
    """How the reader of ``place`` stands to this sheet of the own list."""
    mine = next((w for w in listed if w.item.place == place), None)
    if mine is None:
        return Standing.FREE
    if mine.locked:
        over = list_standing(listed) is Standing.OVER
        return Standing.OVER if over else Standing.CLOSED
    if mine.final and list_standing(listed) is Standing.OVER:
        return Standing.OVER
    if mine.halted:
        return Standing.PAUSED
    try:
        check_open(study, listed, place)
    except BmcoreError:
        return Standing.WAITING
    return _BY_ARM[place.arm]


def practice_standing(waiting: Sequence[str], place: Place) -> Standing:
    """How a reader stands to the sheet of a practice case. waiting: those not read, in order."""
    if place.case_id not in waiting:
        return Standing.OVER
    return _BY_ARM[place.arm] if place.case_id == waiting[0] else Standing.WAITING


def _standing(store: Store, user: User, case_id: str | None) -> Standing:
    """Over all studies (with the case, where one is meant), the one farthest from its end."""
    found = []
    for name in plan.studies(store):
        session = ReadingSession(store, name)
        study = session.version.study
        if case_id is not None and case_id not in study.cases:
            continue
        found += [
            list_standing(session.work(reader.id))
            for reader in study.readers
            if user.local or Reader(reader.name, "other").key == user.key
        ]
    return _least(found)


_BY_ARM: Mapping[str, Standing] = {
    "unaided": Standing.UNAIDED,
    "aided": Standing.AIDED,
    "aided_explained": Standing.EXPLAINED,
}
_STUDY = "go on with your list on the Study page."
_WORDS: Mapping[Standing, str] = {
    Standing.FREE: "the case is on no list of yours",
    Standing.WAITING: "the case belongs to a running study",
    Standing.PAUSED: "the study is paused",
    Standing.UNAIDED: "the reading without the models is open",
    Standing.AIDED: "the reading with the models is open",
    Standing.EXPLAINED: "the reading with the models and their reasons is open",
    Standing.CLOSED: "your reading is locked",
    Standing.SKIPPED: "skipped cases of a study can still be read",
    Standing.OVER: "your list is done",
}
_HINTS: Mapping[Standing, str] = {
    Standing.FREE: "open the Study page to see your list.",
    Standing.WAITING: "it opens here once the list is read to its end; until then read it on the "
    "Study page.",
    Standing.PAUSED: "your draft is kept; go on once the investigator resumes the study.",
    Standing.UNAIDED: "lock your own answer first.",
    Standing.AIDED: _STUDY,
    Standing.EXPLAINED: _STUDY,
    Standing.CLOSED: _STUDY,
    Standing.SKIPPED: "read what was skipped on the Study page, or close the list there.",
    Standing.OVER: "the study asks nothing more of you.",
}
