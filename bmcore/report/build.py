"""The dossier as data, computed from votes or a study, predictions and reference primaries."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from bmcore import __version__
from bmcore.analysis.readings import CaseFacts, StudyData, from_votes
from bmcore.analysis.results import results, running
from bmcore.analysis.tables import count
from bmcore.domain import (
    PRIMARIES,
    RESEARCH_NOTICE,
    SEQUENCES,
    Answer,
    BundleInfo,
    Finding,
    Prediction,
    Primary,
    Severity,
)
from bmcore.report.dossier import CaseRow, Dossier, DossierInputs, ModelAnswer
from bmcore.report.failures import find_failures
from bmcore.review.record import StudyRecord
from bmcore.review.votes import PHASES, PRIMARY_CHOICES, Vote, current
from bmcore.stats import classification
from bmcore.stats.bootstrap import paired_difference
from bmcore.stats.estimate import Estimate, undefined

_PACKAGES = ("numpy", "scipy", "torch", "monai", "SQLAlchemy", "matplotlib")


def build(
    votes: Iterable[Vote],
    predictions: Mapping[str, Prediction],
    truths: Mapping[str, Primary],
    bundle: BundleInfo | None,
    inputs: DossierInputs = DossierInputs(),
) -> Dossier:
    """Compute the whole dossier. Every argument may be empty; ``bundle`` None: no models at hand.

    predictions: case id -> Prediction; truths: case id -> reference primary where it is known.
    Only votes in force count in the statistics; all votes are listed. With ``inputs.record`` the
    report is on that study: its cases only, its answers only, and no effect before its last sheet.
    """
    said = () if inputs.record else tuple(sorted(votes, key=lambda v: v.id))
    data = inputs.data or from_votes(said, _facts(predictions, truths))
    if inputs.record:
        wanted = set(inputs.record.study.cases)
        predictions = {c: p for c, p in predictions.items() if c in wanted}
        truths = {c: t for c, t in truths.items() if c in wanted}
    open_ = inputs.record is not None and not inputs.record.finished
    shown = () if open_ else tuple(r for r in data.readings if not r.occasion)
    rated = [r.quality for r in shown if r.arm != "unaided"]
    grades = tuple(rated.count(grade) for grade in range(1, 6))
    return Dossier(
        created_at=inputs.created_at or datetime.now(UTC),
        notice=RESEARCH_NOTICE,
        bundle=bundle,
        versions=_versions(),
        votes_digest=_digest(said, inputs.record),
        votes=said,
        current=frozenset(v.id for v in current(said)),
        data=data,
        cases=_case_rows(shown, predictions, truths, inputs.record, bool(open_)),
        results=None
        if open_
        else results(data, marks=inputs.marks, mixed_models=inputs.mixed_models),
        running=running(data, inputs.marks) if open_ else None,
        failures=() if open_ else find_failures(data, predictions, inputs.images, inputs.masks),
        fused_minus_clinical=_fused_minus_clinical(predictions, truths),
        confusion={arm: _confusion(shown, arm, data) for arm in data.arms},
        quality=grades,  # type: ignore[arg-type]
        unrated=rated.count(None),
        remarks=_remarks(said, predictions, bundle, inputs),
        record=inputs.record,
        chain=inputs.chain,
        marks=inputs.marks,
        drawings=inputs.drawings,
        read_mask=inputs.read_mask,
    )


def _facts(
    predictions: Mapping[str, Prediction], truths: Mapping[str, Primary]
) -> dict[str, CaseFacts]:
    from bmcore.analysis.collect import case_facts

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


def _confusion(shown: tuple, arm: str, data: StudyData) -> tuple[tuple[int, ...], ...]:
    """Counts (six answers of the model, eight answers of readers), one reading one count."""
    table = np.zeros((len(PRIMARIES), len(PRIMARY_CHOICES)), dtype=int)
    for r in shown:
        facts = data.cases.get(r.case_id)
        answer = r.model or (facts.top() if facts else None)
        if r.arm == arm and answer is not None:
            table[PRIMARY_CHOICES.index(answer), PRIMARY_CHOICES.index(r.primary)] += 1
    return tuple(tuple(int(n) for n in row) for row in table)


def _remarks(
    said: tuple[Vote, ...],
    predictions: Mapping[str, Prediction],
    bundle: BundleInfo | None,
    inputs: DossierInputs,
) -> tuple[str, ...]:
    remarks = []
    record = inputs.record
    if record is not None and not record.finished:
        remarks.append(
            f"The study is not finished: {record.open_sheets} of {len(record.sheets)} readings are "
            "open. No answer and no effect is shown before the last one is closed."
        )
    elif not said and record is None:
        remarks.append("No votes yet.")
    remarks += _remarks_on_models(said, predictions, bundle)
    replaced = len(said) - len(current(said))
    if replaced:
        given = _were(replaced, "vote")
        remarks.append(f"{given} replaced by the reader later; listed, but not counted.")
    if inputs.chain is not None:
        remarks += [f"{note[:1].upper()}{note[1:]}." for note in inputs.chain.notes]
        if inputs.chain.problems:
            remarks.append(
                "The database was changed behind the program's back: see Versions and hashes."
            )
    return tuple(remarks)


def _remarks_on_models(
    said: tuple[Vote, ...], predictions: Mapping[str, Prediction], bundle: BundleInfo | None
) -> list[str]:
    if bundle is None:
        return ["No models were at hand when this report was made."]
    remarks = []
    if bundle.synthetic:
        remarks.append(
            "The models were trained on synthetic data. Their answers say nothing about patients."
        )
    others = sum(v.bundle_digest not in (None, bundle.digest) for v in said)
    if others:
        given = _were(others, "vote")
        remarks.append(f"{given} given with other models than those named in this report.")
    strange = sum(p.bundle.digest != bundle.digest for p in predictions.values())
    if strange:
        made = _were(strange, "prediction")
        remarks.append(f"{made} made by other models than those named in this report.")
    return remarks


def _were(number: int, noun: str) -> str:
    return f"{count(number, noun)} {'was' if number == 1 else 'were'}"


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
