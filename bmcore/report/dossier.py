"""The validation dossier as data: what is said, whatever file it goes into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bmcore.analysis.drawings import Drawings
from bmcore.analysis.readings import LesionMarks, StudyData
from bmcore.analysis.results import Results, Running
from bmcore.domain import (
    BundleInfo,
    Case,
    Prediction,
)
from bmcore.report.failures import Failure
from bmcore.review.record import StudyRecord
from bmcore.review.verify import Report as ChainReport
from bmcore.review.votes import Vote
from bmcore.stats.estimate import Estimate


@dataclass(frozen=True)
class ModelAnswer:
    """One of the three answers of a case: primary and probability, or the reason for none."""

    primary: str | None
    probability: float | None
    reason: str | None


@dataclass(frozen=True)
class CaseRow:
    """One case: the reference if known, the three answers if predicted, the readers' answers."""

    case_id: str
    truth: str | None
    lesions: int | None
    answers: Mapping[str, ModelAnswer]
    readers: tuple[tuple[str, str, str], ...]  # (reader, phase, primary)
    notes: tuple[str, ...] = ()  # warnings about the case, none while a study runs


@dataclass(frozen=True, eq=False)
class DossierInputs:
    """What a dossier may hold besides votes, predictions and truths; all of it may be left out.

    created_at: the date on the report (UTC), now if None. source, marks: see ``analysis.collect``;
    made of the votes alone if None. record: the study, if the report is on one; then votes are not
    part of it. chain: what ``review.verify`` found. images, masks: the images and the stored
    prediction of a case, for the pictures. mixed_models: see ``analysis.results.results``.
    drawings: what readers have drawn; read_mask: the file of a corrected mask by its SHA-256.
    """

    created_at: datetime | None = None
    data: StudyData | None = None
    marks: LesionMarks = field(default_factory=LesionMarks)
    record: StudyRecord | None = None
    chain: ChainReport | None = None
    images: Callable[[str], Case | None] | None = None
    masks: Callable[[str], Prediction | None] | None = None
    mixed_models: bool = False
    drawings: Drawings = field(default_factory=Drawings)
    read_mask: Callable[[str], bytes] | None = None


@dataclass(frozen=True, eq=False)
class Dossier:
    """Everything that the report says; nothing in it depends on how it is drawn.

    votes: all, oldest first; current: ids of those in force. results: None while a study runs, then
    ``running`` says what may be known. confusion: counts (answers of the model, answers of the
    readers) by phase. quality: ratings by grade 1-5; unrated: aided readings without one.
    remarks: what a reader of the report must know.
    """

    created_at: datetime
    notice: str
    bundle: BundleInfo | None
    versions: Mapping[str, str]
    votes_digest: str
    votes: tuple[Vote, ...]
    current: frozenset[int]
    data: StudyData
    cases: tuple[CaseRow, ...]
    results: Results | None
    running: Running | None
    failures: tuple[Failure, ...]
    fused_minus_clinical: Estimate
    confusion: Mapping[str, tuple[tuple[int, ...], ...]]
    quality: tuple[int, int, int, int, int]
    unrated: int
    remarks: tuple[str, ...]
    record: StudyRecord | None = None
    chain: ChainReport | None = None
    marks: LesionMarks = field(default_factory=LesionMarks)
    drawings: Drawings = field(default_factory=Drawings)
    read_mask: Callable[[str], bytes] | None = None

    @property
    def counts(self) -> dict[str, int]:
        return {
            "cases": len(self.cases),
            "cases_with_reference": sum(c.truth is not None for c in self.cases),
            "cases_with_prediction": sum(bool(c.answers) for c in self.cases),
            "readers": len(self.data.people),
            "votes": len(self.votes),
            "votes_in_force": len(self.current),
        }
