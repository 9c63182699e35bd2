"""The dossier for programs: votes.csv and report.json."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bmcore.report.agreement import PairAgreement, PhaseAgreement
    from bmcore.report.dossier import Dossier, Hits

COLUMNS = (
    *("id", "created_at", "case_id", "reader", "role", "phase", "primary", "confidence"),
    *("segmentation_quality", "comment", "bundle_digest", "model_primary"),
    *("supersedes", "reason", "in_force"),
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_cell(value: object) -> str:
    """Text that a spreadsheet will not run: a leading ``'`` where a formula could begin.

    The rule of OWASP on CSV injection, with full-width signs and leading blanks too.
    """
    text = "" if value is None else str(value)
    risky = text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS)
    return f"'{text}" if risky else text


def write_csv(dossier: Dossier, path: Path) -> None:
    """All votes, oldest first, a row each; UTF-8. Missing values are empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for vote in dossier.votes:
            values = {
                **asdict(vote),
                "created_at": vote.created_at.isoformat(),
                "in_force": "yes" if vote.id in dossier.current else "no",
            }
            writer.writerow([safe_cell(values[column]) for column in COLUMNS])


def write_json(dossier: Dossier, path: Path) -> None:
    """The dossier as one JSON object; a number that is not defined is null."""
    text = json.dumps(as_dict(dossier), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def as_dict(dossier: Dossier) -> dict[str, Any]:
    """The content of ``report.json``."""
    return {
        "notice": dossier.notice,
        "created_at": dossier.created_at.isoformat(),
        "bundle": None if dossier.bundle is None else asdict(dossier.bundle),
        "versions": dict(dossier.versions),
        "votes_sha256": dossier.votes_digest,
        "remarks": list(dossier.remarks),
        "counts": dossier.counts,
        "readers": dict(dossier.readers),
        "agreement": {p.phase: _phase(p) for p in dossier.agreement.phases},
        "accuracy": {
            "readers": [_hits(h) for h in dossier.reader_hits],
            "models": [_hits(h) for h in dossier.model_hits],
            "fused_minus_clinical": dossier.fused_minus_clinical.as_dict(),
        },
        "confusion_model_by_reader": {
            k: [list(r) for r in v] for k, v in dossier.confusion.items()
        },
        "segmentation_quality": {
            **{str(grade): n for grade, n in enumerate(dossier.quality, start=1)},
            "not_rated": dossier.unrated,
        },
        "cases": [
            {
                "case_id": c.case_id,
                "reference": c.truth,
                "lesions": c.lesions,
                "answers": {kind: asdict(a) for kind, a in c.answers.items()},
                "readers": [
                    {"reader": reader, "phase": phase, "primary": primary}
                    for reader, phase, primary in c.readers
                ],
            }
            for c in dossier.cases
        ],
        "votes": [
            {
                **asdict(v),
                "created_at": v.created_at.isoformat(),
                "in_force": v.id in dossier.current,
            }
            for v in dossier.votes
        ],
    }


def _phase(phase: PhaseAgreement) -> dict[str, Any]:
    return {
        "words": phase.words,
        "cases": len(phase.cases),
        "readers": list(phase.readers),
        "percent": phase.percent.as_dict(),
        "fleiss_kappa": phase.fleiss.as_dict(),
        "pairs": [_pair(p) for p in phase.pairs],
        "reader_and_model": [_pair(p) for p in phase.models],
    }


def _pair(pair: PairAgreement) -> dict[str, Any]:
    return {
        "a": pair.a,
        "b": pair.b,
        "percent": pair.percent.as_dict(),
        "cohen_kappa": pair.kappa.as_dict(),
    }


def _hits(hits: Hits) -> dict[str, Any]:
    return {"who": hits.who, "phase": hits.phase, "accuracy": hits.accuracy.as_dict()}
