"""Consensus masks of a study: from each reader's own mask, or from their verdicts on lesions.

No mask is written while a disagreement is open; what each mask rests on is written beside
(``PROVENANCE``). What a reader's own mask is: ``reader_masks``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bmcore import __version__, disk
from bmcore.domain import BmcoreError, Case, Prediction, Volume, refuse
from bmcore.imaging import consensus
from bmcore.review import disputes
from bmcore.review.adjudicate import lesion_votes
from bmcore.review.reader_masks import Desk, gather, in_dispute, of_readers
from bmcore.review.reading_session import ReadingSession

METHODS = ("lesion votes", *consensus.METHODS)
PROVENANCE = "provenance.json"
Ties = Mapping[str, Mapping[int, tuple[int, int]]]


@dataclass(frozen=True)
class Rule:
    """How masks are brought together. method: one of METHODS; by: who has them made.

    kept: {case: {lesion: kept}} where as many readers keep a lesion as reject it and nobody has
    decided; ties_inside: of the majority, where half of the masks have a voxel.
    """

    method: str
    by: str = ""
    kept: Mapping[str, Mapping[int, bool]] = field(default_factory=dict)
    ties_inside: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise refuse("no such method", found=self.method, expected=", ".join(METHODS))


@dataclass(frozen=True)
class Written:
    """What became of one case. path: of the mask, None where ``words`` says why there is none.

    readers: {reader's id in the plan: how the reader's mask came about}, where masks were fused.
    """

    case_id: str
    path: Path | None
    words: str
    readers: Mapping[str, str] = field(default_factory=dict)


def tied_lesions(session: ReadingSession) -> Ties:
    """{case: {lesion: (readers who keep it, who reject it)}} where there are as many of both, and
    no consensus on the verdicts of the last arm stands."""
    desk = gather(session, Path())
    if desk.asked is None:
        return {}
    counted = lesion_votes(desk.answers, desk.asked)
    found = {
        case_id: {n: both for n, both in lesions.items() if both[0] == both[1]}
        for case_id, lesions in counted.items()
        if case_id not in desk.decided
    }
    return {case_id: tied for case_id, tied in found.items() if tied}


def open_disagreements(session: ReadingSession) -> str:
    """How many disagreements stand open, and on which cases; empty where all are resolved."""
    return disputes.open_words(in_dispute(session))


def write_consensus(
    session: ReadingSession,
    home: Path,
    out: Path,
    rule: Rule,
    read: Callable[[str], tuple[Case, Prediction | None]],
) -> list[Written]:
    """Write each case of the study with its consensus mask below ``out``, in the Yale layout, and
    beside them what each rests on.

    read: the case and the prediction that the readers saw. Refused while disagreements are open. A
    case that cannot have a consensus is told with the reason; the others are written.
    """
    left = open_disagreements(session)
    if left:
        raise refuse(
            "consensus masks are written once every disagreement is resolved",
            found=left,
            hint="resolve them under Disagreements.",
        )
    desk, bundle = gather(session, home), ""
    made = []
    for case_id in desk.study.cases:
        try:
            case, prediction = read(case_id)
            if prediction is None:
                raise refuse("the models have not read this case")
            bundle = prediction.bundle.digest
            found, readers = _consensus(desk, case_id, prediction.mask, rule)
            path = consensus.write_yale(case, found, out)
            made.append(Written(case_id, path, found.method, readers))
        except BmcoreError as error:
            words = " ".join(finding.sentence for finding in error.findings)
            made.append(Written(case_id, None, words))
    if any(w.path for w in made):
        text = json.dumps(_provenance(session, rule, made, bundle), indent=1, ensure_ascii=False)
        disk.write(out / PROVENANCE, text)
    return made


def _consensus(
    desk: Desk, case_id: str, models: Volume, rule: Rule
) -> tuple[consensus.Consensus, dict[str, str]]:
    """The mask of one case, and how each reader's own came about."""
    if rule.method == "lesion votes":
        return _by_verdicts(desk, case_id, models, rule), {}
    masks: list[Volume] = []
    told: dict[str, str] = {}
    for (_, reader), found in of_readers(desk, case_id, models).items():
        if isinstance(found, str):
            raise refuse(found.rstrip("."))
        masks.append(found.mask)
        told[reader] = found.words
    if rule.method == "majority":
        return consensus.majority(masks, rule.ties_inside), told
    return consensus.METHODS[rule.method](masks), told


def _by_verdicts(desk: Desk, case_id: str, models: Volume, rule: Rule) -> consensus.Consensus:
    """The models' mask without what was rejected: by the consensus, else by most readers."""
    votes = lesion_votes(desk.answers, desk.asked).get(case_id, {}) if desk.asked else {}
    if not votes:
        raise refuse("nobody has judged the lesions of this case yet")
    made = desk.decided.get(case_id)
    if made is not None:
        verdicts = {int(n): v != "reject" for n, v in made.value["lesions"].items()}
        found = consensus.kept_lesions(models, verdicts)
        return consensus.Consensus(found.mask, f"{found.method}; verdicts by {made.decided_by}")
    kept = {n: keep > reject for n, (keep, reject) in votes.items()}
    tied = [n for n, (keep, reject) in votes.items() if keep == reject]
    chosen = rule.kept.get(case_id, {})
    for n in tied:
        if n not in chosen:
            raise refuse(
                f"lesion {n} is kept by as many readers as reject it",
                found=f"{votes[n][0]} keep it, {votes[n][1]} reject it",
                hint="say whether it stays.",
            )
        kept[n] = chosen[n]
    found = consensus.kept_lesions(models, kept)
    if not tied:
        return found
    words = ", ".join(f"{n} {'kept' if kept[n] else 'removed'}" for n in tied)
    return consensus.Consensus(found.mask, f"{found.method}; ties decided by {rule.by}: {words}")


def _provenance(
    session: ReadingSession, rule: Rule, made: list[Written], bundle: str
) -> dict[str, Any]:
    """What the masks rest on, as plain data."""
    version = session.version
    cases = []
    for w in made:
        one: dict[str, Any] = {"case": w.case_id, "how": w.words}
        if w.path is not None:
            one["mask"] = f"{w.path.parent.name}/{w.path.name}"
            one["sha256"] = hashlib.sha256(w.path.read_bytes()).hexdigest()
        cases.append(one | ({"readers": dict(w.readers)} if w.readers else {}))
    decided = [d.decision for one in in_dispute(session) for d in one.lines if d.decision]
    counts = session.progress().values()
    return {
        "study": version.study.study,
        "plan": {"version": version.version, "sha256": version.digest},
        "rule": asdict(rule),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "bmcore": __version__,
        "models_sha256": bundle,
        "sheets_not_read": sum(c["not started"] + c["draft"] + c["skipped"] for c in counts),
        "cases": cases,
        "decisions": [
            {"case": d.case_id, "arm": d.arm, "question": d.question, "value": d.value}
            | {"by": d.decided_by, "id": d.id, "site": d.site}
            for d in decided
        ],
    }
