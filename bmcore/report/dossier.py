"""The validation dossier: build it as data, write it as five files."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from bmcore import __version__
from bmcore.domain import (
    PRIMARIES,
    RESEARCH_NOTICE,
    SEQUENCES,
    Answer,
    BundleInfo,
    Case,
    Finding,
    Prediction,
    Primary,
    Severity,
    refuse,
)
from bmcore.report.failures import Failure, find_failures
from bmcore.report.readings import CaseFacts, Source, from_votes
from bmcore.report.results_lesions import LesionMarks
from bmcore.report.study_results import Results, Running, results, running
from bmcore.review.record import StudyRecord
from bmcore.review.verify import Report as ChainReport
from bmcore.review.votes import PHASES, PRIMARY_CHOICES, Vote, current
from bmcore.stats import classification
from bmcore.stats.bootstrap import paired_difference
from bmcore.stats.estimate import Estimate, undefined

ANSWER_KINDS = ("clinical", "image", "fused")
_PACKAGES = ("numpy", "scipy", "statsmodels", "torch", "monai", "SQLAlchemy", "matplotlib")


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
class Extra:
    """What a dossier may hold besides votes, predictions and truths; all of it may be left out.

    created_at: the date on the report (UTC), now if None. source, marks: see ``gather``; made of
    the votes alone if None. record: the study, if the report is on one; then votes are not part of
    it. chain: what ``review.verify`` found. images, masks: the images and the
    stored prediction of a case, for the pictures.
    """

    created_at: datetime | None = None
    source: Source | None = None
    marks: LesionMarks = field(default_factory=LesionMarks)
    record: StudyRecord | None = None
    chain: ChainReport | None = None
    images: Callable[[str], Case | None] | None = None
    masks: Callable[[str], Prediction | None] | None = None


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
    source: Source
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

    @property
    def counts(self) -> dict[str, int]:
        return {
            "cases": len(self.cases),
            "cases_with_reference": sum(c.truth is not None for c in self.cases),
            "cases_with_prediction": sum(bool(c.answers) for c in self.cases),
            "readers": len(self.source.people),
            "votes": len(self.votes),
            "votes_in_force": len(self.current),
        }


def build(
    votes: Iterable[Vote],
    predictions: Mapping[str, Prediction],
    truths: Mapping[str, Primary],
    bundle: BundleInfo | None,
    extra: Extra = Extra(),
) -> Dossier:
    """Compute the whole dossier. Every argument may be empty; ``bundle`` None: no models at hand.

    predictions: case id -> Prediction; truths: case id -> reference primary where it is known.
    Only votes in force count in the statistics; all votes are listed. With ``extra.record`` the
    report is on that study: its cases only, its answers only, and no effect before its last sheet.
    """
    said = () if extra.record else tuple(sorted(votes, key=lambda v: v.id))
    source = extra.source or from_votes(said, _facts(predictions, truths))
    if extra.record:
        wanted = set(extra.record.study.cases)
        predictions = {c: p for c, p in predictions.items() if c in wanted}
        truths = {c: t for c, t in truths.items() if c in wanted}
    open_ = extra.record is not None and not extra.record.finished
    shown = () if open_ else tuple(r for r in source.readings if not r.occasion)
    rated = [r.quality for r in shown if r.arm != "unaided"]
    grades = tuple(rated.count(grade) for grade in range(1, 6))
    return Dossier(
        created_at=extra.created_at or datetime.now(UTC),
        notice=RESEARCH_NOTICE,
        bundle=bundle,
        versions=_versions(),
        votes_digest=_digest(said, extra.record),
        votes=said,
        current=frozenset(v.id for v in current(said)),
        source=source,
        cases=_case_rows(shown, predictions, truths, extra.record, bool(open_)),
        results=None if open_ else results(source, marks=extra.marks),
        running=running(source) if open_ else None,
        failures=() if open_ else find_failures(source, predictions, extra.images, extra.masks),
        fused_minus_clinical=_fused_minus_clinical(predictions, truths),
        confusion={arm: _confusion(shown, arm, source) for arm in source.arms},
        quality=grades,  # type: ignore[arg-type]
        unrated=rated.count(None),
        remarks=_remarks(said, predictions, bundle, extra),
        record=extra.record,
        chain=extra.chain,
    )


def files(dossier: Dossier) -> tuple[str, ...]:
    """The names of the files that ``write`` makes."""
    said = "answers.csv" if dossier.record else "votes.csv"
    return ("report.pdf", "report.html", said, "results.csv", "report.json")


def write(dossier: Dossier, out: Path) -> list[Path]:
    """Write PDF, HTML, both CSV and JSON (see ``files``) into ``out``.

    The same dossier gives the same bytes. All are made in a temporary folder first and then moved,
    so that ``out`` never holds a half-written file. Refused where ``out`` cannot be written.
    """
    from bmcore.report import pdf, sheets, webpage
    from bmcore.report.outline import sections

    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".report-", dir=out))
    except OSError as fault:
        raise refuse(
            "the report cannot be written here",
            file=out,
            found=fault.strerror,
            hint="choose another folder.",
        ) from fault
    names = files(dossier)
    try:
        blocks = sections(dossier)
        pdf.write_pdf(dossier, blocks, work / names[0])
        webpage.write_html(dossier, blocks, work / names[1])
        sheets.write_csv(dossier, work / names[2])
        sheets.write_results(dossier, work / names[3])
        sheets.write_json(dossier, work / names[4])
        return [(work / name).replace(out / name) for name in names]
    except OSError as fault:
        raise refuse(
            "the report could not be written",
            file=out,
            found=fault.strerror,
            hint="check the room on the disk and that no file of the report is open.",
        ) from fault
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _facts(
    predictions: Mapping[str, Prediction], truths: Mapping[str, Primary]
) -> dict[str, CaseFacts]:
    from bmcore.report.gather import case_facts

    return case_facts((), predictions, truths)


def _case_rows(
    shown: tuple,
    predictions: Mapping[str, Prediction],
    truths: Mapping[str, Primary],
    record: StudyRecord | None,
    open_: bool,
) -> tuple[CaseRow, ...]:
    said: dict[str, list[tuple[str, str, str]]] = {}
    for r in shown:
        said.setdefault(r.case_id, []).append((r.reader, r.arm, r.primary))
    rows = []
    for case_id in sorted({*said, *predictions, *truths, *(record.study.cases if record else ())}):
        found = predictions.get(case_id)
        answers = {a.kind: _model_answer(a) for a in found.answers} if found else {}
        order = sorted(said.get(case_id, []), key=lambda s: (s[0], (*PHASES, s[1]).index(s[1])))
        truth = str(truths[case_id]) if case_id in truths else None
        lesions = len(found.lesions) if found else None
        warned = [f for f in found.findings if _tellable(f)] if found else []
        notes = () if open_ else tuple(f.sentence for f in warned)
        rows.append(CaseRow(case_id, truth, lesions, answers, tuple(order), notes))
    return tuple(rows)


def _tellable(finding: Finding) -> bool:
    """True for a warning that names no file; those that earlier versions stored may name one."""
    named = finding.file not in (None, *SEQUENCES) or ".nii" in finding.sentence
    return finding.severity is not Severity.INFO and not named


def _model_answer(answer: Answer) -> ModelAnswer:
    if answer.probabilities is None:
        return ModelAnswer(None, None, answer.reason)
    return ModelAnswer(str(answer.top), max(answer.probabilities), None)


def _fused_minus_clinical(
    predictions: Mapping[str, Prediction], truths: Mapping[str, Primary]
) -> Estimate:
    known = [(p, truths[c]) for c, p in sorted(predictions.items()) if c in truths]
    if not known:
        return undefined(0, "not defined: no predicted case has a reference")
    truth = np.array([PRIMARIES.index(t) for _, t in known])
    fused, clinical = (
        np.array(
            [-1 if (a := getattr(p, kind).top) is None else PRIMARIES.index(a) for p, _ in known]
        )
        for kind in ("fused", "clinical")
    )
    return paired_difference(
        classification.accuracy_statistic(truth, fused),
        classification.accuracy_statistic(truth, clinical),
        np.arange(len(known)),
        what="accuracy, fused minus clinical only",
    )


def _confusion(shown: tuple, arm: str, source: Source) -> tuple[tuple[int, ...], ...]:
    """Counts (six answers of the model, eight answers of readers), one reading one count."""
    table = np.zeros((len(PRIMARIES), len(PRIMARY_CHOICES)), dtype=int)
    for r in shown:
        facts = source.cases.get(r.case_id)
        answer = r.model or (facts.top() if facts else None)
        if r.arm == arm and answer is not None:
            table[PRIMARY_CHOICES.index(answer), PRIMARY_CHOICES.index(r.primary)] += 1
    return tuple(tuple(int(n) for n in row) for row in table)


def _remarks(
    said: tuple[Vote, ...],
    predictions: Mapping[str, Prediction],
    bundle: BundleInfo | None,
    extra: Extra,
) -> tuple[str, ...]:
    remarks = []
    if extra.record is not None and not extra.record.finished:
        remarks.append(
            f"The study is not finished: {extra.record.open_sheets} of {len(extra.record.sheets)} "
            "sheets are open. No answer and no effect is shown before the last sheet is closed."
        )
    elif not said and extra.record is None:
        remarks.append("No votes yet.")
    if bundle is None:
        remarks.append("No models were at hand when this report was made.")
    elif bundle.synthetic:
        remarks.append(
            "The models were trained on synthetic data. Their answers say nothing about patients."
        )
    if bundle is not None:
        others = sum(v.bundle_digest not in (None, bundle.digest) for v in said)
        if others:
            are = "1 vote was" if others == 1 else f"{others} votes were"
            remarks.append(f"{are} given with other models than those named in this report.")
        strange = sum(p.bundle.digest != bundle.digest for p in predictions.values())
        if strange:
            are = "1 prediction was" if strange == 1 else f"{strange} predictions were"
            remarks.append(f"{are} made by other models than those named in this report.")
    replaced = len(said) - len(current(said))
    if replaced:
        are = "1 vote was" if replaced == 1 else f"{replaced} votes were"
        remarks.append(f"{are} replaced by the reader later; listed, but not counted.")
    if extra.chain is not None:
        remarks += [f"{note[:1].upper()}{note[1:]}." for note in extra.chain.notes]
    if extra.chain is not None and extra.chain.problems:
        remarks.append(
            "The database was changed behind the program's back: see Versions and hashes."
        )
    return tuple(remarks)


def _versions() -> dict[str, str]:
    found = {"bmcore": __version__, "Python": platform.python_version()}
    for name in (*_PACKAGES, "reportlab"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _digest(votes: tuple[Vote, ...], record: StudyRecord | None) -> str:
    """SHA-256 of all votes, or of the study's answers, in order: to recognise the same data."""
    said = record.answers if record else votes
    rows = [{**asdict(v), "created_at": v.created_at.isoformat()} for v in said]
    text = json.dumps(rows, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
