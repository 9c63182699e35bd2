"""What each reader's segmentation of a case is: painted, or the models' without what was rejected.

The correction painted at the last aided sheet counts; where nothing was painted, the models' mask
without the lesions that this reader rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bmcore.domain import BmcoreError, Volume, refuse
from bmcore.imaging import consensus
from bmcore.review import adjudicate, corrections, disputes, old_drafts
from bmcore.review.adjudicate import lesion_verdicts
from bmcore.review.answers import StudyAnswer
from bmcore.review.disputes import CaseDispute, Seat
from bmcore.review.owner import Owner, drawer
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import Store
from bmcore.review.study import Study


@dataclass(frozen=True)
class ReaderMask:
    """One reader's mask. words: how it came about; sha256: of the painted one's file."""

    mask: Volume
    words: str
    sha256: str | None = None


@dataclass(frozen=True)
class Desk:
    """What is stored of a study. asked: the question on the models' lesions; answers: those in
    force, first readings; decided: {case: the consensus on ``asked`` in the last arm that asks}."""

    study: Study
    store: Store
    home: Path
    asked: str | None
    answers: tuple[StudyAnswer, ...]
    decided: Mapping[str, adjudicate.Decision]


def were_shown(study: Study) -> bool:
    """True where readers of the study see the models' segmentation at all."""
    return any(arm != "unaided" for arm in study.design.arms)


def gather(session: ReadingSession, home: Path) -> Desk:
    """Read once what the masks of all cases rest on."""
    study = session.version.study
    question = next((q for q in study.questions if q.kind == "lesions"), None)
    lines = [d for one in in_dispute(session) for d in one.lines] if question else []
    last = (question.id, study.arms_of(question)[-1]) if question else None
    decided = {
        d.case_id: d.decision
        for d in lines
        if d.decision is not None and not d.open and (d.question, d.arm) == last
    }
    first = tuple(a for a in session.answers() if a.occasion == 0)
    return Desk(study, session.store, home, question.id if question else None, first, decided)


def in_dispute(session: ReadingSession) -> tuple[CaseDispute, ...]:
    """The disagreements of the study, by case."""
    study = session.version.study
    return disputes.by_case(study, adjudicate.disagreements(session.store, study.study))


def of_readers(desk: Desk, case_id: str, models: Volume) -> dict[Seat, ReaderMask | str]:
    """The mask of everybody who read the case with the models, or in words why it cannot be used.

    models: their own segmentation, as the readers saw it.
    """
    aided = [a for a in desk.answers if a.case_id == case_id and a.arm != "unaided"]
    found: dict[Seat, ReaderMask | str] = {}
    for one in sorted({(a.site, a.reader) for a in aided}):
        own = [a for a in aided if (a.site, a.reader) == one]
        try:
            found[one] = _mask_of(desk, own, models)
        except BmcoreError as error:
            found[one] = " ".join(finding.sentence for finding in error.findings)
    return found


def _mask_of(desk: Desk, said: list[StudyAnswer], models: Volume) -> ReaderMask:
    """One reader's mask: painted, or the models' without what this reader rejected."""
    for a in sorted(said, key=lambda a: a.created_at, reverse=True):
        painted = _painted(desk, a, models)
        if painted is not None:
            return painted
    verdicts = lesion_verdicts(said, desk.asked) if desk.asked is not None else {}
    kept = verdicts.get(said[0].case_id, {})
    out = [str(n) for n, stays in kept.items() if not stays]
    if not out:
        return ReaderMask(models, "the models' segmentation as it is")
    made = consensus.kept_lesions(models, kept)
    return ReaderMask(made.mask, f"the models' segmentation without lesion {', '.join(out)}")


def _painted(desk: Desk, said: StudyAnswer, models: Volume) -> ReaderMask | None:
    """The correction in force of one reading; refused if painted on another segmentation."""
    owner = Owner(said.case_id, drawer(desk.study, said.place))
    old_drafts.adopt(desk.store, desk.home, owner)

    def look(connection: sa.Connection) -> corrections.State | None:
        mine = corrections.state(connection, owner)  # a folder of drafts that was copied here
        return corrections.state(connection, owner, said.site) or mine

    now = desk.store.read(look)
    if now is None or now.sha256 is None:
        return None
    if not now.fits(corrections.content_id(models)):
        raise refuse(
            "a correction was painted on an earlier segmentation of the models",
            found=f"reader {said.reader}",
            hint="let the reader look at it again, or use the models that were used then.",
        )
    mask = corrections.load(desk.home, now.sha256, models)
    return ReaderMask(mask, f"painted, SHA-256 {now.sha256}", now.sha256)
