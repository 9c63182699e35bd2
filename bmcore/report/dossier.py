"""The validation dossier: build it as data, write it as four files."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from bmcore import __version__
from bmcore.domain import (
    PRIMARIES,
    RESEARCH_NOTICE,
    Answer,
    BundleInfo,
    Prediction,
    Primary,
    refuse,
)
from bmcore.report.agreement import AgreementSummary, agreement_summary
from bmcore.review.votes import PHASES, PRIMARY_CHOICES, Vote, current
from bmcore.stats import classification
from bmcore.stats.bootstrap import paired_difference
from bmcore.stats.estimate import Estimate, proportion, undefined

__all__ = ["Dossier", "agreement_summary", "build", "write"]

FILES = ("report.pdf", "report.html", "votes.csv", "report.json")
ANSWER_KINDS = ("clinical", "image", "fused")
_PACKAGES = ("numpy", "scipy", "torch", "monai", "SQLAlchemy", "matplotlib", "reportlab")


@dataclass(frozen=True)
class Hits:
    """``who`` against the reference: share of right answers. ``phase`` is None for a model."""

    who: str
    phase: str | None
    accuracy: Estimate


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


@dataclass(frozen=True)
class Dossier:
    """Everything that the report says; nothing in it depends on how it is drawn.

    votes: all, oldest first; current: ids of those in force. confusion: counts (answers of the
    model, answers of the readers) over aided and unaided votes, by ``phase``. quality: votes by
    segmentation quality 1-5; unrated: aided votes without one. remarks: what a reader must know.
    """

    created_at: datetime
    notice: str
    bundle: BundleInfo | None
    versions: Mapping[str, str]
    votes_digest: str
    votes: tuple[Vote, ...]
    current: frozenset[int]
    readers: Mapping[str, str]
    cases: tuple[CaseRow, ...]
    agreement: AgreementSummary
    reader_hits: tuple[Hits, ...]
    model_hits: tuple[Hits, ...]
    fused_minus_clinical: Estimate
    confusion: Mapping[str, tuple[tuple[int, ...], ...]]
    quality: tuple[int, int, int, int, int]
    unrated: int
    remarks: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        return {
            "cases": len(self.cases),
            "cases_with_reference": sum(c.truth is not None for c in self.cases),
            "cases_with_prediction": sum(bool(c.answers) for c in self.cases),
            "readers": len(self.readers),
            "votes": len(self.votes),
            "votes_in_force": len(self.current),
        }


def build(
    votes: Iterable[Vote],
    predictions: Mapping[str, Prediction],
    truths: Mapping[str, Primary],
    bundle: BundleInfo | None,
) -> Dossier:
    """Compute the whole dossier. Every argument may be empty; ``bundle`` None: no models at hand.

    predictions: case id -> Prediction; truths: case id -> reference primary where it is known.
    Only votes in force count in the statistics; all votes are listed.
    """
    said = tuple(sorted(votes, key=lambda v: v.id))
    latest = current(said)
    fused = {c: str(p.fused.top) for c, p in predictions.items() if p.fused.top is not None}
    aided = [v for v in latest if v.phase == "aided"]
    rated = [v.segmentation_quality for v in aided]
    grades = tuple(rated.count(grade) for grade in range(1, 6))
    return Dossier(
        created_at=datetime.now(UTC),
        notice=RESEARCH_NOTICE,
        bundle=bundle,
        versions=_versions(),
        votes_digest=_digest(said),
        votes=said,
        current=frozenset(v.id for v in latest),
        readers={v.reader: v.role for v in said},
        cases=_case_rows(latest, predictions, truths),
        agreement=agreement_summary(said, fused),
        reader_hits=_reader_hits(latest, truths),
        model_hits=_model_hits(predictions, truths),
        fused_minus_clinical=_fused_minus_clinical(predictions, truths),
        confusion={phase: _confusion(latest, phase, fused) for phase in PHASES},
        quality=grades,  # type: ignore[arg-type]
        unrated=rated.count(None),
        remarks=_remarks(said, predictions, bundle),
    )


def write(dossier: Dossier, out: Path) -> list[Path]:
    """Write ``report.pdf``, ``report.html``, ``votes.csv`` and ``report.json`` into ``out``.

    All four are made in a temporary folder first and then moved, so that ``out`` never holds a
    half-written file. Refused where ``out`` cannot be written.
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
    try:
        blocks = sections(dossier)
        pdf.write_pdf(dossier, blocks, work / "report.pdf")
        webpage.write_html(dossier, blocks, work / "report.html")
        sheets.write_csv(dossier, work / "votes.csv")
        sheets.write_json(dossier, work / "report.json")
        return [(work / name).replace(out / name) for name in FILES]
    except OSError as fault:
        raise refuse(
            "the report could not be written",
            file=out,
            found=fault.strerror,
            hint="check the room on the disk and that no file of the report is open.",
        ) from fault
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _case_rows(
    latest: list[Vote], predictions: Mapping[str, Prediction], truths: Mapping[str, Primary]
) -> tuple[CaseRow, ...]:
    said: dict[str, list[tuple[str, str, str]]] = {}
    for vote in latest:
        said.setdefault(vote.case_id, []).append((vote.reader, vote.phase, vote.primary))
    rows = []
    for case_id in sorted({*said, *predictions, *truths}):
        found = predictions.get(case_id)
        answers = {a.kind: _model_answer(a) for a in found.answers} if found else {}
        order = sorted(said.get(case_id, []), key=lambda s: (s[0], PHASES.index(s[1])))
        truth = str(truths[case_id]) if case_id in truths else None
        lesions = len(found.lesions) if found else None
        rows.append(CaseRow(case_id, truth, lesions, answers, tuple(order)))
    return tuple(rows)


def _model_answer(answer: Answer) -> ModelAnswer:
    if answer.probabilities is None:
        return ModelAnswer(None, None, answer.reason)
    return ModelAnswer(str(answer.top), max(answer.probabilities), None)


def _reader_hits(latest: list[Vote], truths: Mapping[str, Primary]) -> tuple[Hits, ...]:
    rows = []
    for reader in sorted({v.reader for v in latest}):
        for phase in PHASES:
            known = [
                v.primary == str(truths[v.case_id])
                for v in latest
                if v.reader == reader and v.phase == phase and v.case_id in truths
            ]
            if known:
                rows.append(Hits(reader, phase, proportion(sum(known), len(known))))
    return tuple(rows)


def _model_hits(
    predictions: Mapping[str, Prediction], truths: Mapping[str, Primary]
) -> tuple[Hits, ...]:
    """Each of the three answers on the cases with a reference; no answer counts as not right."""
    rows = []
    known = [(p, truths[c]) for c, p in predictions.items() if c in truths]
    for kind in ANSWER_KINDS:
        right = sum(getattr(p, kind).top == truth for p, truth in known)
        rows.append(Hits(kind, None, proportion(right, len(known))))
    return tuple(rows) if known else ()


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


def _confusion(
    latest: list[Vote], phase: str, fused: Mapping[str, str]
) -> tuple[tuple[int, ...], ...]:
    """Counts (six answers of the model, eight answers of readers), one vote one count."""
    table = np.zeros((len(PRIMARIES), len(PRIMARY_CHOICES)), dtype=int)
    for vote in latest:
        answer = vote.model_primary or fused.get(vote.case_id)
        if vote.phase == phase and answer is not None:
            table[PRIMARY_CHOICES.index(answer), PRIMARY_CHOICES.index(vote.primary)] += 1
    return tuple(tuple(int(n) for n in row) for row in table)


def _remarks(
    said: tuple[Vote, ...], predictions: Mapping[str, Prediction], bundle: BundleInfo | None
) -> tuple[str, ...]:
    remarks = []
    if not said:
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
    return tuple(remarks)


def _versions() -> dict[str, str]:
    found = {"bmcore": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _digest(votes: tuple[Vote, ...]) -> str:
    """SHA-256 of all votes in order, so that two reports on the same votes can be recognised."""
    rows = [{**asdict(v), "created_at": v.created_at.isoformat()} for v in votes]
    text = json.dumps(rows, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
