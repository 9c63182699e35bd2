"""Consensus masks of a study: from each reader's own mask, or from their verdicts on lesions.

A reader's mask of a case is the correction painted at the last aided sheet; where nothing was
painted, the models' mask without the lesions that this reader rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bmcore.domain import BmcoreError, Case, Prediction, Volume, refuse
from bmcore.imaging import consensus
from bmcore.review import corrections, old_drafts
from bmcore.review.adjudicate import lesion_verdicts
from bmcore.review.answers import StudyAnswer
from bmcore.review.owner import Owner, drawer
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import Store
from bmcore.review.study import Study

METHODS = ("lesion votes", *consensus.METHODS)


@dataclass(frozen=True)
class Written:
    """What became of one case. path: of the mask, None where ``words`` says why there is none."""

    case_id: str
    path: Path | None
    words: str


def write_consensus(
    session: ReadingSession,
    home: Path,
    out: Path,
    method: str,
    read: Callable[[str], tuple[Case, Prediction | None]],
) -> list[Written]:
    """Write each case of the study with its consensus mask below ``out``, in the Yale layout.

    method: one of METHODS. read: the case and the prediction that the readers saw. A case that
    cannot have a consensus is told with the reason; the others are written.
    """
    if method not in METHODS:
        raise refuse("no such method", found=method, expected=", ".join(METHODS))
    study = session.version.study
    said = [a for a in session.answers() if a.occasion == 0]
    asked = next((q.id for q in study.questions if q.kind == "lesions"), None)
    written = []
    for case_id in study.cases:
        try:
            case, prediction = read(case_id)
            if prediction is None:
                raise refuse("the models have not read this case")
            mine = [a for a in said if a.case_id == case_id]
            seat = _Seat(study, session.store, home, prediction.mask)
            made = _consensus(seat, method, mine, asked)
            path = consensus.write_yale(case, made, out)
            written.append(Written(case_id, path, made.method))
        except BmcoreError as error:
            words = " ".join(finding.sentence for finding in error.findings)
            written.append(Written(case_id, None, words))
    return written


@dataclass(frozen=True)
class _Seat:
    """Where the readers' masks of one case are. mask: the models' own."""

    study: Study
    store: Store
    home: Path
    mask: Volume


def _consensus(
    seat: _Seat, method: str, said: list[StudyAnswer], asked: str | None
) -> consensus.Consensus:
    if method == "lesion votes":
        votes = lesion_verdicts(said, asked) if asked is not None else {}
        if not votes:
            raise refuse("nobody has judged the lesions of this case yet")
        ((_, kept),) = votes.items()
        return consensus.kept_lesions(seat.mask, kept)
    aided = [a for a in said if a.arm != "unaided"]
    masks = []
    for reader in sorted({(a.site, a.reader) for a in aided}):
        own = [a for a in aided if (a.site, a.reader) == reader]
        masks.append(_mask_of(seat, own, asked))
    return consensus.METHODS[method](masks)


def _mask_of(seat: _Seat, said: list[StudyAnswer], asked: str | None) -> Volume:
    """One reader's mask: painted, or the models' without what this reader rejected."""
    for a in sorted(said, key=lambda a: a.created_at, reverse=True):
        painted = _painted(seat, a)
        if painted is not None:
            return painted
    verdicts: Mapping[str, Mapping[int, bool]] = {}
    if asked is not None:
        verdicts = lesion_verdicts(said, asked)
    kept = verdicts.get(said[0].case_id, {})
    return consensus.kept_lesions(seat.mask, kept).mask if kept else seat.mask


def _painted(seat: _Seat, said: StudyAnswer) -> Volume | None:
    """The correction in force of one reading; refused if painted on another segmentation."""
    owner = Owner(said.case_id, drawer(seat.study, said.place))
    old_drafts.adopt(seat.store, seat.home, owner)

    def look(connection: sa.Connection) -> corrections.State | None:
        mine = corrections.state(connection, owner)  # a folder of drafts that was copied here
        return corrections.state(connection, owner, said.site) or mine

    now = seat.store.read(look)
    if now is None or now.sha256 is None:
        return None
    if not now.fits(corrections.content_id(seat.mask)):
        raise refuse(
            "a correction was painted on an earlier segmentation of the models",
            found=f"reader {said.reader}",
            hint="let the reader look at it again, or use the models that were used then.",
        )
    return corrections.load(seat.home, now.sha256, seat.mask)
