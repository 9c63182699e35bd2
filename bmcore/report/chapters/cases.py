"""Case by case: readers and models side by side, what went wrong, every vote, comments."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bmcore.analysis.tables import ARM_NAMES
from bmcore.domain import ANSWER_NAMES, ARM_WORDS
from bmcore.report.blocks import NONE, Block, Heading, Picture, Table, Words
from bmcore.report.figures import readings as draw
from bmcore.report.figures.results import failure
from bmcore.report.words import SHORT
from bmcore.review.votes import ROLE_NAMES
from bmcore.stats.estimate import decimals

if TYPE_CHECKING:
    from bmcore.report.dossier import CaseRow, Dossier, ModelAnswer


def answer_by_answer(d: Dossier) -> list[Block]:
    """Readers by models as counts, and the grades of the segmentation."""
    if d.running is not None:
        return []
    blocks: list[Block] = [Heading("Readers and models, answer by answer")]
    shown = [arm for arm, table in d.confusion.items() if any(map(any, table))]
    if not shown:
        blocks.append(Words("No reading of a case with a models' answer yet."))
    for arm in shown:
        alt = f"How often readers said what where the models said what, {ARM_NAMES[arm].lower()}"
        blocks.append(Picture(alt, partial(draw.confusion, d.confusion[arm], arm), 0.86))
    return [*blocks, *_quality(d)]


def _quality(d: Dossier) -> list[Block]:
    blocks: list[Block] = [Heading("Quality of the segmentation, as rated by readers")]
    rated = sum(d.quality)
    if rated == 0:
        return [*blocks, Words("No segmentation was rated yet.")]
    mean = sum(grade * n for grade, n in enumerate(d.quality, start=1)) / rated
    left_out = "" if d.unrated == 0 else f" {d.unrated} readings with the models have no rating."
    blocks.append(Words(f"{rated} ratings from 1 (worst) to 5 (best), mean {mean:.1f}.{left_out}"))
    alt = "Number of ratings by grade: " + ", ".join(
        f"grade {grade}: {n}" for grade, n in enumerate(d.quality, start=1)
    )
    blocks.append(Picture(alt, lambda: draw.quality(d.quality), 0.6))
    return blocks


def failures(d: Dossier) -> list[Block]:
    """What went wrong, with slices."""
    blocks: list[Block] = [Heading("Cases that went wrong")]
    if d.running is not None:
        return [*blocks, Words("Withheld until the study is finished.")]
    if not any(c.truth for c in d.cases):
        return [*blocks, Words("No case has a known primary, so no failure can be named.")]
    if not d.failures:
        return [
            *blocks,
            Words("No case with a known primary was named wrongly by the fused models."),
        ]
    blocks.append(
        Words(
            "Cases that the fused models named wrongly, the surest first; then those that most "
            f"readers named wrongly with the models' help. At most {len(d.failures)} are shown."
            if len(d.failures) >= 8
            else "Cases that the fused models named wrongly, the surest first; then those that "
            "most readers named wrongly with the models' help."
        )
    )
    for case in d.failures:
        blocks += [Heading(case.case_id, 3), Words(case.words, "joined"), Words(case.note, "note")]
        if case.panels:
            alt = f"Case {case.case_id}: {', '.join(title for title, _ in case.panels)}"
            blocks.append(Picture(alt, partial(failure, case)))
    return blocks


def cases(d: Dossier) -> list[Block]:
    """Every case with the three answers and what each reader said, once a study is finished."""
    blocks: list[Block] = [Heading("Cases")]
    if not d.cases:
        return [*blocks, Words("No cases yet.")]
    if d.running is not None:
        what = "their known primaries and the answers of models and readers"
        return [*blocks, Words(f"{len(d.cases)}; {what} are listed once the study is finished.")]
    rows = []
    for case in d.cases:
        answers = tuple(_answer(case.answers.get(kind)) for kind in ANSWER_NAMES)
        truth = SHORT[case.truth] if case.truth else "not known"
        lesions = "not predicted" if case.lesions is None else str(case.lesions)
        rows.append((case.case_id, truth, lesions, *answers, _said(case)))
    head = ("Case", "Known primary", "Lesions", *ANSWER_NAMES.values(), "Readers")
    widths = (0.16, 0.10, 0.085, 0.12, 0.12, 0.12, 0.295)
    blocks.append(Table(head, tuple(rows), widths))
    reasons = sorted({a.reason for c in d.cases for a in c.answers.values() if a.reason})
    if reasons:
        blocks.append(Words("No answer: " + "; ".join(reasons) + ".", "quiet"))
    return [*blocks, *_notes(d)]


def _notes(d: Dossier) -> list[Block]:
    """What was doubtful about the images and records of the cases."""
    noted = [case for case in d.cases if case.notes]
    blocks: list[Block] = [Heading("Doubts about the cases", 3)] if noted else []
    for case in noted:
        blocks += [Words(case.case_id, "joined"), *(Words(note, "note") for note in case.notes)]
    return blocks


def _said(case: CaseRow) -> str:
    """A line a reader: name, then the answers in the order of the phases."""
    by_reader: dict[str, list[str]] = {}
    short = {"unaided": "unaided", "aided": "aided", "aided_explained": "with reasons"}
    for reader, arm, primary in case.readers:
        by_reader.setdefault(reader, []).append(f"{short[arm]} {SHORT[primary]}")
    lines = [f"{reader}: {', '.join(answers)}" for reader, answers in by_reader.items()]
    return "\n".join(lines) or "No readings yet"


def _answer(answer: ModelAnswer | None) -> str:
    if answer is None:
        return NONE
    if answer.primary is None or answer.probability is None:
        return "no answer"
    return f"{SHORT[answer.primary]} {decimals(100 * answer.probability)}\u00a0%"


def votes(d: Dossier) -> list[Block]:
    """Every vote, also those that were replaced; a study's answers are in answers.csv."""
    if d.record is not None:
        return []
    blocks: list[Block] = [Heading("All votes")]
    if not d.votes:
        return [*blocks, Words("No votes yet.")]
    replaced_by = {v.supersedes: v.id for v in d.votes if v.supersedes is not None}
    rows = []
    for v in d.votes:
        state = f"replaced by {replaced_by[v.id]}" if v.id in replaced_by else ""
        if not state:
            state = "in force" if v.id in d.current else "not in force"
        rows.append(
            (
                str(v.id),
                f"{v.created_at:%d %b %Y %H:%M}",
                v.case_id,
                f"{v.reader}\n{ROLE_NAMES.get(v.role, v.role)}",
                v.phase,
                f"{SHORT[v.primary]}, {v.confidence}",
                NONE if v.segmentation_quality is None else str(v.segmentation_quality),
                SHORT[v.model_primary] if v.model_primary else NONE,
                state,
            )
        )
    head = (
        *("No.", "Time (UTC)", "Case", "Reader", "Phase", "Answer, confidence"),
        *("Quality", "Models shown", "State"),
    )
    widths = (0.05, 0.115, 0.175, 0.16, 0.085, 0.13, 0.085, 0.105, 0.095)
    return [*blocks, Table(head, tuple(rows), widths, (0,))]


def comments(d: Dossier) -> list[Block]:
    """What readers wrote with their votes."""
    if d.record is not None:
        return []
    blocks: list[Block] = [Heading("Comments and reasons")]
    said = [v for v in d.votes if v.comment or v.reason]
    if not said:
        return [*blocks, Words("No comments yet.")]
    for v in said:
        blocks.append(
            Words(f"Vote {v.id}, {v.reader}, case {v.case_id}, {ARM_WORDS[v.phase]}", "quiet")
        )
        if v.reason:
            blocks.append(Words(f"Reason for the change: {v.reason}"))
        if v.comment:
            blocks.append(Words(v.comment))
    return blocks
