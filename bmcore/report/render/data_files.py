"""The dossier for programs: votes.csv or answers.csv, results.csv and report.json."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmcore.analysis.tables import CSV_COLUMNS, csv_rows
from bmcore.analysis.tables import as_dict as as_section
from bmcore.plain import safe_cell
from bmcore.report.chapters import checklists, checklists_more, participants

if TYPE_CHECKING:
    from bmcore.report.dossier import CaseRow, Dossier

COLUMNS = (
    *("id", "created_at", "case_id", "reader", "role", "phase", "primary", "confidence"),
    *("segmentation_quality", "comment", "bundle_digest", "model_primary"),
    *("supersedes", "reason", "in_force"),
)
ANSWER_COLUMNS = (
    *("site", "id", "created_at", "plan_version", "reader", "case_id", "phase", "reading"),
    *("question", "answer", "active_s", "idle_s", "supersedes", "reason", "in_force"),
)


def write_csv(dossier: Dossier, path: Path) -> None:
    """All votes, or a study's answers, a row each; UTF-8. Missing values are empty.

    Nothing but the head while the study runs.
    """
    if dossier.record is not None:
        write_table(path, ANSWER_COLUMNS, _answers(dossier))
        return
    rows = []
    for vote in dossier.votes:
        values = {
            **asdict(vote),
            "created_at": vote.created_at.isoformat(),
            "in_force": "yes" if vote.id in dossier.current else "no",
        }
        rows.append([values[column] for column in COLUMNS])
    write_table(path, COLUMNS, rows)


def write_results(dossier: Dossier, path: Path) -> None:
    """Every number of the report, a row each, with interval, n and method; UTF-8."""
    sections = dossier.results.sections if dossier.results else ()
    write_table(path, CSV_COLUMNS, csv_rows(sections))


def _answers(dossier: Dossier) -> Iterator[list[object]]:
    record = dossier.record
    if record is None or dossier.running is not None:
        return
    replaced = {(a.site, a.supersedes) for a in record.answers}
    sheets = {sheet.place: sheet for sheet in record.sheets}
    for a in record.answers:
        seconds = sheets[a.place].seconds if a.place in sheets else None
        yield [
            a.site,
            a.id,
            a.created_at.isoformat(),
            a.version,
            record.study.reader(a.reader).name,
            a.case_id,
            a.arm,
            "repeat" if a.occasion else "first",
            a.question,
            json.dumps(a.value, ensure_ascii=False),
            "" if seconds is None else seconds.active_s,
            "" if seconds is None else seconds.idle_s,
            a.supersedes,
            a.reason,
            "no" if (a.site, a.id) in replaced else "yes",
        ]


def write_table(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file in UTF-8 whose cells no spreadsheet takes for a formula."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows([[safe_cell(value) for value in row] for row in rows])


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
        "readers": [asdict(person) for person in dossier.data.people],
        "study": _study(dossier),
        "flow": [{"step": step, "left_out": out} for step, out in participants.steps(dossier)],
        "table_1": dict(participants.patients(dossier.data)),
        "results": _results(dossier),
        **_on_models(dossier),
        "failures": [{"case_id": f.case_id, "words": f.words} for f in dossier.failures],
        "chain": _chain(dossier),
        "checklists": {
            "CLAIM 2024": [asdict(item) for item in checklists.claim(dossier)],
            "TRIPOD+AI 2024": [asdict(item) for item in checklists.tripod(dossier)],
            "STARD-AI 2025": [asdict(item) for item in checklists_more.stard(dossier)],
            "DECIDE-AI 2022": [asdict(item) for item in checklists_more.decide(dossier)],
            "METRICS 2024": [asdict(item) for item in checklists_more.metrics(dossier)],
        },
        "confusion_model_by_reader": {
            k: [list(r) for r in v] for k, v in dossier.confusion.items()
        },
        "segmentation_quality": {
            **{str(grade): n for grade, n in enumerate(dossier.quality, start=1)},
            "not_rated": dossier.unrated,
        },
        "votes": [
            {
                **asdict(v),
                "created_at": v.created_at.isoformat(),
                "in_force": v.id in dossier.current,
            }
            for v in dossier.votes
        ],
    }


def _on_models(dossier: Dossier) -> dict[str, Any]:
    """Cases with the answers on them; of a study that is running no more than their ids."""
    if dossier.running is not None:
        return {"cases": [{"case_id": row.case_id} for row in dossier.cases]}
    return {
        "fused_minus_clinical": dossier.fused_minus_clinical.as_dict(),
        "cases": [_case(row) for row in dossier.cases],
    }


def _case(row: CaseRow) -> dict[str, Any]:
    return {
        "case_id": row.case_id,
        "reference": row.truth,
        "lesions": row.lesions,
        "answers": {kind: asdict(a) for kind, a in row.answers.items()},
        "readers": [
            {"reader": reader, "phase": phase, "primary": primary}
            for reader, phase, primary in row.readers
        ],
    }


def _results(dossier: Dossier) -> dict[str, Any]:
    """All sections; while a study runs the width of the interval of its primary comparison."""
    if dossier.results is None:
        assert dossier.running is not None
        wide = dossier.running.interval_width
        return {
            "words": list(dossier.running.words),
            "interval_width": None if math.isnan(wide) else wide,
            "cases": dossier.running.cases,
        }
    return {
        "words": list(dossier.results.summary),
        "one_against_the_rest": dossier.results.category,
        "sections": {section.key: as_section(section) for section in dossier.results.sections},
    }


def _study(dossier: Dossier) -> dict[str, Any] | None:
    if dossier.record is None:
        return None
    states = [sheet.state for sheet in dossier.record.sheets]
    return {
        "study": dossier.record.study.study,
        "finished": dossier.record.finished,
        "sheets": {state: states.count(state) for state in ("locked", "skipped", "open")},
        "versions": [
            {
                "version": v.version,
                "digest": v.digest,
                "author": v.author,
                "reason": v.reason,
                "created_at": v.created_at.isoformat(),
            }
            for v in dossier.record.versions
        ],
    }


def _chain(dossier: Dossier) -> dict[str, Any] | None:
    if dossier.chain is None:
        return None
    heads = {site: {"rows": n, "hash": last} for site, (n, last) in dossier.chain.heads.items()}
    notes = list(dossier.chain.notes)
    return {"problems": list(dossier.chain.problems), "notes": notes, "heads": heads}
