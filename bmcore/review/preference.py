"""Blinded preference: two segmentations of a case as A and B, and which one is better.

A reader compares after the own list is done, in an order and with sides of his own, both drawn from
the study's seeds (see ``allocation``). Which side is which stays on the server; it stands in the
row of the choice, with the hashes of both masks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from bmcore.domain import Volume, refuse
from bmcore.inference import archive
from bmcore.intake import library
from bmcore.review import access, chain, conduct, evidence, exposure, schema
from bmcore.review.allocation import number, shuffled
from bmcore.review.plan import current
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import Store
from bmcore.review.study import Study
from bmcore.review.votes import Evidence

ANSWERS = ("left", "right", "tie")  # A, B, no difference
ARM = "preference"  # in an exposure's row


@dataclass(frozen=True)
class Pair:
    """What a reader compares on a case. left: candidate shown as A; right: as B."""

    case_id: str
    left: str
    right: str


@dataclass(frozen=True)
class Chosen:
    """One choice. answer: "left", "right" or "tie"; left_sha256, right_sha256: of the masks that
    were shown; shown_at: when masks of models were first sent for it, None where they had been
    before."""

    site: str
    reader: str
    case_id: str
    left: str
    right: str
    answer: str
    created_at: datetime
    left_sha256: str = ""
    right_sha256: str = ""
    shown_at: datetime | None = None


def pairs(study: Study, reader: str) -> tuple[Pair, ...]:
    """The reader's whole list; empty where the plan asks for no preference. Sides are balanced: on
    half of the cases (one more or less) the first candidate is A."""
    if study.preference is None:
        return ()
    first, second = study.preference.candidates
    dealt = shuffled(study.cases, study.seeds.allocation, "preference sides", reader)
    extra = number(study.seeds.allocation, "preference start", reader) % 2
    turned = {case for n, case in enumerate(dealt) if (n + extra) % 2}
    order = shuffled(study.cases, study.seeds.order, "preference order", reader)
    return tuple(
        Pair(case, *((second, first) if case in turned else (first, second))) for case in order
    )


def done(connection: sa.Connection, study: str) -> list[Chosen]:
    """All choices of a study, of all sites, in each site's order."""
    t = schema.preferences
    query = sa.select(t).where(t.c.study == study).order_by(t.c.site, t.c.id)
    return [
        Chosen(
            r.site, r.reader, r.case_id, r.left_side, r.right_side, r.answer, r.created_at,
            r.left_sha256, r.right_sha256,
        )
        for r in connection.execute(query)
    ]  # fmt: skip


def mask(home: Path, case_id: str, candidate: str, models: str | None) -> Volume:
    """The segmentation of a candidate. models: digest of the study's models.

    Refused, without the candidate's name, where there is none: the reader must not learn it.
    """
    found: Volume | None = None
    if candidate == "reference":
        truth = library.load_case(home, case_id).truth
        found = truth.mask if truth is not None else None
    else:
        digest = models if candidate == "models" else candidate.removeprefix("bundle:")
        prediction = archive.latest(home, case_id, digest) if digest else None
        found = prediction.mask if prediction is not None else None
    if found is None:
        raise refuse(
            f"one of the two segmentations of case {case_id} is not there",
            hint="tell the investigator.",
        )
    return found


def evidence_of(home: Path, pair: Pair, models: str | None) -> tuple[Evidence, ...]:
    """What the showing of a pair rests on: the models' predictions among the two, kept for good."""
    found = []
    for candidate in (pair.left, pair.right):
        if candidate != "reference":
            bundle = models if candidate == "models" else candidate.removeprefix("bundle:")
            stored = archive.latest_stored(home, pair.case_id, bundle) if bundle else None
            if stored is not None:
                found.append(evidence.of_case(home, pair.case_id, stored))
    return tuple(found)


def digest(volume: Volume) -> str:
    """SHA-256 (hex) of a mask's labels and grid."""
    labels = np.ascontiguousarray(volume.data, np.uint8)
    words = f"{labels.shape}|{np.round(volume.affine, 4).tolist()}|".encode()
    return hashlib.sha256(words + labels.tobytes()).hexdigest()


class PreferenceDesk:
    """The readers' comparisons in one locked study."""

    def __init__(self, store: Store, study: str) -> None:
        self._store, self._study = store, study
        self._session = ReadingSession(store, study)

    def next(self, reader: str) -> Pair | None:
        """What to compare now; None when all is done, while the own list is not, and while the
        study takes no readings."""
        if conduct.of(self._store, self._study).halted:
            return None
        return None if self._open(reader) else next(iter(self.left(reader)), None)

    def left(self, reader: str) -> tuple[Pair, ...]:
        """What is not compared yet, in the reader's order."""
        known = {c.case_id for c in self._own(reader)}
        return tuple(
            p for p in pairs(self._session.version.study, reader) if p.case_id not in known
        )

    def standing(self, reader: str) -> access.Standing:
        """OVER where the own list is done: only then may both masks be seen."""
        return access.list_standing(self._session.work(reader))

    def show(self, reader: str, pair: Pair, rests: Iterable[Evidence]) -> None:
        """Keep in the chain that masks of models are sent, before they are. rests: one a model."""

        def enter(connection: sa.Connection) -> None:
            name = current(connection, self._study).study.reader(reader).name
            for one in rests:
                exposure.record(connection, name, pair.case_id, one, self._study, ARM)

        if self.next(reader) != pair:
            raise refuse("it is not this comparison's turn", found=pair.case_id)
        self._store.write(enter)

    def choose(self, reader: str, case_id: str, answer: str, hashes: tuple[str, str]) -> None:
        """Store a choice for good. hashes: of the masks that were shown, A first.

        The same choice sent again is fine; another one on the same case is refused.
        """
        if answer not in ANSWERS:
            raise refuse("no such choice", found=answer, expected=", ".join(ANSWERS))
        mine = [c for c in self._own(reader) if c.case_id == case_id]
        if mine:
            if mine[0].answer != answer:
                raise refuse(
                    "this comparison is locked already, with another choice",
                    hint="the first choice stands; go on with the next.",
                )
            return
        pair = self.next(reader)
        if pair is None or pair.case_id != case_id:
            raise refuse("it is not this comparison's turn", found=case_id)

        def enter(connection: sa.Connection) -> None:
            conduct.check(connection, self._study)
            row = {"study": self._study, "reader": reader, "case_id": case_id, "answer": answer}
            row |= {"left_side": pair.left, "right_side": pair.right}
            row |= {"left_sha256": hashes[0], "right_sha256": hashes[1]}
            version = current(connection, self._study).version
            times = {"version": version, "created_at": datetime.now(UTC)}
            chain.append(connection, schema.preferences, {**row, **times})

        self._store.write(enter)

    def counts(self) -> dict[str, tuple[int, int]]:
        """{reader: (compared, planned)}; says nothing of what was chosen."""
        study = self._session.version.study
        return {r.id: (len(self._own(r.id)), len(pairs(study, r.id))) for r in study.readers}

    def _open(self, reader: str) -> bool:
        return self.standing(reader) is not access.Standing.OVER

    def _own(self, reader: str) -> list[Chosen]:
        def look(connection: sa.Connection) -> Iterable[Chosen]:
            site = chain.own_site(connection)
            return [c for c in done(connection, self._study) if c.site == site]

        return [c for c in self._store.read(look) if c.reader == reader]
