"""The first pages: findings, what the report rests on, flow of cases, table 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmcore.analysis import endpoint_words
from bmcore.analysis.tables import ARM_NAMES
from bmcore.report.blocks import NONE, Block, Heading, Picture, Table, Words, moment
from bmcore.report.chapters import participants
from bmcore.report.figures.readings import readings_per_case
from bmcore.report.figures.results import flow
from bmcore.review.votes import ROLE_NAMES

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier
    from bmcore.review.plan_endpoint import Endpoint

DESIGNS = {
    "sequential": "Sequential: each case in all phases in turn",
    "crossover": "Crossover: each case once a period, in one phase",
}


def summary(d: Dossier) -> list[Block]:
    """The research notice, the findings, and the table of what the report rests on."""
    blocks: list[Block] = [Words(d.notice, "notice")]
    if d.results is not None and d.results.readings:
        blocks += [Words(sentence, "finding") for sentence in d.results.summary]
    if d.running is not None:
        blocks += [Words(sentence, "finding") for sentence in d.running.words]
    blocks += [Words(remark) for remark in d.remarks]
    counts = d.counts
    rows = [
        ("Made on", moment(d.created_at)),
        *_study_rows(d),
        ("Models", d.bundle.badge if d.bundle else "No models were at hand"),
        ("Trained on", d.bundle.trained_on if d.bundle else "Not known"),
        ("Cases", _cases_in_words(counts)),
        ("Readers", _readers_in_words(d)),
    ]
    if d.record is None:
        rows.append(("Votes", f"{counts['votes']}, of which {counts['votes_in_force']} in force"))
    blocks.append(Table(("", ""), tuple(rows), (0.24, 0.76)))
    return blocks


def _study_rows(d: Dossier) -> list[tuple[str, str]]:
    if d.record is None:
        return [("Rests on", "Free votes: each reader chose what to read and when")]
    plan = d.record.study
    others = [_in_full(e) for e in plan.secondary_endpoints]
    return [
        ("Study", f"{plan.title} ({plan.study}, version {d.record.versions[-1].version})"),
        ("Design", DESIGNS[plan.design.kind]),
        *([] if plan.mix is None else [("Case mix of the plan", plan.mix.words)]),
        ("Primary endpoint", _in_full(plan.primary_endpoint)),
        *((f"Secondary endpoint {i}", words) for i, words in enumerate(others, start=1)),
        ("Planned analysis", plan.analysis_plan),
    ]


def _in_full(endpoint: Endpoint) -> str:
    """An endpoint with all its fields; an old plan's own words where it has none."""
    if endpoint.choice is not None:
        return endpoint_words.in_full(endpoint.choice)
    first, second = endpoint.compare
    return f"{endpoint.measure}; {ARM_NAMES[second].lower()} against {ARM_NAMES[first].lower()}"


def _cases_in_words(counts: dict[str, int]) -> str:
    known, predicted = counts["cases_with_reference"], counts["cases_with_prediction"]
    return f"{counts['cases']}; {predicted} with a prediction, {known} with a known primary"


def _readers_in_words(d: Dossier) -> str:
    roles = [p.role for p in d.data.people]
    if not roles:
        return "0"
    counts = [(roles.count(role), name.lower()) for role, name in ROLE_NAMES.items()]
    parts = [f"{n} {name}{'s' if n > 1 else ''}" for n, name in counts if n]
    return f"{len(roles)} ({', '.join(parts)})"


def who_was_counted(d: Dossier) -> list[Block]:
    """Flow of cases, readings by case, patients and readers."""
    blocks: list[Block] = [Heading("Flow of cases")]
    steps = participants.steps(d)
    alt = "; ".join(f"{text}{f' (left out: {out})' if out else ''}" for text, out in steps)
    blocks.append(Picture(alt.replace("\n", ", "), lambda: flow(steps), 0.95))
    if any(c.readers for c in d.cases):
        alt = "Readings by case and phase"
        arms = d.data.arms
        read = [c for c in d.cases if c.readers]
        blocks.append(Picture(alt, lambda: readings_per_case(read, arms), 0.9))
    blocks.append(Heading("Patients and readers"))
    about = participants.patients(d.data)
    if about:
        blocks.append(Table(("Patients", "Value"), tuple(about), (0.5, 0.5)))
    else:
        blocks.append(Words("No case was read yet."))
    people = participants.readers(d.data, d.running is None)
    if people:
        rows = tuple(tuple(text or NONE for text in row) for row in people)
        head = ("Reader", "Role", "Years of experience", "Readings")
        blocks.append(Table(head, rows, (0.4, 0.25, 0.2, 0.15), (2, 3)))
    return blocks
