"""Where readers disagree, and the consensus that a third reader gives, with who decided on what.

First readings count. A disagreement is a question of one case and arm to which two or more readers
gave different answers; on kind "primary" the choice alone is compared, not the confidence.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bmcore.domain import InputRefused, refuse
from bmcore.review import chain, schema
from bmcore.review.answers import StudyAnswer, all_answers, in_force
from bmcore.review.plan import current
from bmcore.review.sheet import as_text, check_value
from bmcore.review.store import Store
from bmcore.review.study import Study
from bmcore.review.votes import Reader

# Free text is no disagreement; marks and masks have figures of their own.
COMPARED = ("primary", "quality", "lesions", "explanation", "choice", "choices", "number", "scale")


@dataclass(frozen=True)
class Disagreement:
    """answers: those of all readers who answered, agreeing ones too, by reader.

    decision: the consensus in force, None where there is none.
    """

    case_id: str
    arm: str
    question: str
    answers: tuple[StudyAnswer, ...]
    decision: Decision | None = None

    @property
    def open(self) -> bool:
        """Nobody has decided on these very answers: on none, or before one came or changed."""
        if self.decision is None:
            return True
        rests = {(b["site"], b["id"]) for b in self.decision.basis}
        return rests != {(a.site, a.id) for a in self.answers}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A consensus. basis: the answers it rests on, as {"site", "id", "hash"}; value: see sheet."""

    id: int
    site: str
    study: str
    case_id: str
    arm: str
    version: int
    question: str
    value: Any
    decided_by: str
    basis: tuple[Mapping[str, Any], ...]
    note: str
    supersedes: int | None
    reason: str | None
    created_at: datetime


def disagreements(store: Store, study: str) -> list[Disagreement]:
    """All disagreements of a study over all sites in the database, by case, arm and question."""
    return store.read(lambda connection: _disagreements(connection, study))


def decisions(store: Store, study: str) -> list[Decision]:
    """All decisions, replaced ones too, oldest first within each site."""
    return store.read(lambda connection: _decisions(connection, study))


def decide(
    store: Store,
    disagreement: Disagreement,
    value: Any,
    *,
    decided_by: str,
    note: str = "",
    reason: str | None = None,
) -> Decision:
    """Store the consensus on a disagreement.

    decided_by: a registered reader (``Store.add_reader``) who gave none of the answers. An earlier
    decision is replaced if ``reason`` says why; the same decision once more is fine. Refused where
    the answers changed since ``disagreement`` was listed.
    """

    return store.write(
        lambda connection: _decide(connection, disagreement, value, (decided_by, note), reason)
    )


def decide_all(
    store: Store,
    settled: Sequence[tuple[Disagreement, Any]],
    *,
    decided_by: str,
    note: str = "",
) -> list[Decision]:
    """Store the consensus on several open disagreements with one note: all of them, or none."""
    return store.write(
        lambda connection: [
            _decide(connection, d, value, (decided_by, note), None) for d, value in settled
        ]
    )


def _decide(
    connection: sa.Connection,
    disagreement: Disagreement,
    value: Any,
    by: tuple[str, str],
    reason: str | None,
) -> Decision:
    """by: who decides, and the note."""
    decided_by, note = by
    study = disagreement.answers[0].study
    version = current(connection, study)
    _check_value(version.study, disagreement.question, value)
    now = [d for d in _disagreements(connection, study) if _line(d) == _line(disagreement)]
    if not now or now[0].answers != disagreement.answers:
        raise refuse("the answers changed since they were listed", hint="list them again.")
    decider = _third_reader(connection, version.study, now[0], decided_by)
    earlier = now[0].decision
    if earlier is not None and now[0].open:
        reason = reason or "the answers changed since"
    elif earlier is not None and (earlier.value, earlier.decided_by) == (value, decider):
        return earlier
    row = {
        "study": study,
        "case_id": disagreement.case_id,
        "arm": disagreement.arm,
        "version": version.version,
        "question": disagreement.question,
        "value": as_text(value),
        "decided_by": decider,
        "basis": as_text(_basis(connection, disagreement.answers)),
        "note": note.strip(),
        "created_at": datetime.now(UTC),
        **_replacing(earlier, reason),
    }
    return _decision(chain.append(connection, schema.decisions, row))


def lesion_verdicts(answers: Iterable[StudyAnswer], question: str) -> dict[str, dict[int, bool]]:
    """{case: {lesion: kept}} by majority of the readers' verdicts, first readings, aided arms.

    "edit" keeps a lesion. A reader's last arm counts. With as many for as against, the model's
    lesion is kept; ``lesion_votes`` tells where. The masks: ``bmcore.imaging.consensus``.
    """
    return {
        case: {number: keep >= reject for number, (keep, reject) in lesions.items()}
        for case, lesions in lesion_votes(answers, question).items()
    }


def lesion_votes(
    answers: Iterable[StudyAnswer], question: str
) -> dict[str, dict[int, tuple[int, int]]]:
    """{case: {lesion: (readers who keep it, who reject it)}}, first readings, last arms."""
    latest: dict[tuple[str, str, str], StudyAnswer] = {}
    for a in sorted(answers, key=lambda a: (a.created_at, a.site, a.id)):
        if a.question == question and a.occasion == 0:
            latest[a.site, a.reader, a.case_id] = a
    counts: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for (_, _, case), a in latest.items():
        for number, verdict in a.value["lesions"].items():
            counts[case][int(number)][verdict == "reject"] += 1
    return {
        case: {number: (keep, reject) for number, (keep, reject) in sorted(lesions.items())}
        for case, lesions in sorted(counts.items())
    }


def _disagreements(connection: sa.Connection, study: str) -> list[Disagreement]:
    plan = current(connection, study).study
    kinds = {q.id: q.kind for q in plan.questions if q.kind in COMPARED}
    groups: dict[tuple[str, str, str], list[StudyAnswer]] = defaultdict(list)
    for a in in_force(all_answers(connection, study)):
        if a.occasion == 0 and a.question in kinds:
            groups[a.case_id, a.arm, a.question].append(a)
    made = _decisions(connection, study)
    replaced = {(d.site, d.supersedes) for d in made}
    decided = {_line(d): d for d in made if (d.site, d.id) not in replaced}
    return [
        Disagreement(
            *line, tuple(sorted(said, key=lambda a: (a.reader, a.site))), decided.get(line)
        )
        for line, said in sorted(groups.items())
        if len({_compared(kinds[line[2]], a.value) for a in said}) > 1
    ]


def _compared(kind: str, value: Any) -> str:
    if kind == "choices":  # in any order
        return as_text(sorted(value))
    return as_text(value["choice"] if kind == "primary" else value)


def _line(d: Disagreement | Decision) -> tuple[str, str, str]:
    return (d.case_id, d.arm, d.question)


def _check_value(study: Study, question: str, value: Any) -> None:
    asked = next((q for q in study.questions if q.id == question), None)
    if asked is None:
        raise refuse("the study has no such question", found=question)
    problems = check_value(asked, value)
    if problems:
        raise InputRefused(*problems)


def _third_reader(
    connection: sa.Connection, study: Study, disagreement: Disagreement, name: str
) -> str:
    """The registered name of who decides; refused where it is one of those who answered."""
    asked, t = Reader(name, "other"), schema.readers
    query = sa.select(t.c.name).where(
        t.c.site == chain.own_site(connection), t.c.name_key == asked.key
    )
    known = connection.execute(query).scalar_one_or_none()
    if known is None:
        raise refuse("who decides is not registered", found=name, hint="add the reader first.")
    involved = {Reader(study.reader(a.reader).name, "other").key for a in disagreement.answers}
    if asked.key in involved:
        raise refuse(
            "a consensus is given by a third reader",
            found=f"{known} answered this question",
            expected="a reader who gave none of the answers",
        )
    return str(known)


def _replacing(earlier: Decision | None, reason: str | None) -> dict[str, Any]:
    given = reason.strip() if reason else None
    if earlier is not None and not given:
        raise refuse(
            "this was decided before",
            found=f"decision {earlier.id} of {earlier.decided_by}",
            expected="a reason for the change",
        )
    if earlier is None and given:
        raise refuse("a reason for a change was given, but there is no earlier decision")
    return {"supersedes": earlier.id if earlier else None, "reason": given}


def _basis(connection: sa.Connection, answers: Iterable[StudyAnswer]) -> list[dict[str, Any]]:
    t = schema.answers
    basis = []
    for a in answers:
        query = sa.select(t.c.hash).where(t.c.site == a.site, t.c.id == a.id)
        digest = connection.execute(query).scalar_one()
        basis.append({"site": a.site, "id": a.id, "hash": digest})
    return basis


def _decisions(connection: sa.Connection, study: str) -> list[Decision]:
    t = schema.decisions
    query = sa.select(t).where(t.c.study == study).order_by(t.c.site, t.c.id)
    return [_decision(row) for row in connection.execute(query)]


def _decision(row: sa.Row[Any]) -> Decision:
    values = {f.name: row._mapping[f.name] for f in fields(Decision)}
    values |= {"value": json.loads(values["value"]), "basis": tuple(json.loads(values["basis"]))}
    return Decision(**values)
