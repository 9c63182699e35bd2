"""The endpoints of a study on what was read: headline, progress, page and report ask here.

One estimand and one method, ``stats.endpoint.compute``: readers who stopped, cases that were
skipped and split-plot designs need nothing of their own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bmcore.analysis import endpoint_words
from bmcore.analysis.readings import LesionMarks, StudyData
from bmcore.analysis.tables import (
    ARM_NAMES,
    LEAST_CASES,
    LEAST_OF_A_KIND,
    TOO_FEW,
    Column,
    Line,
    ResultTable,
    Section,
    count,
    non_empty,
)
from bmcore.domain import PRIMARIES, PRIMARY_NAMES
from bmcore.stats import multiplicity
from bmcore.stats.endpoint import Finding, compute, sensitivity_analyses
from bmcore.stats.endpoint_choice import NEEDS_CLASS, ON_LESIONS, Endpoint
from bmcore.stats.estimate import undefined
from bmcore.stats.readings import MODELS, Reading, by_arm_and_reader, paired

ANSWERS = (*map(str, PRIMARIES), "other")
NEEDS_TRUTH = (
    "accuracy", "balanced accuracy", "AUC", "macro AUC", "sensitivity", "specificity",
)  # fmt: skip
NO_ARMS = "too few cases are read in both phases"
NO_MODELS = "the models' answers on these cases are not here"


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known of one endpoint. finding: None where nothing was computed, and ``why`` says
    why not; name: as the plan has it."""

    name: str
    choice: Endpoint | None
    finding: Finding | None
    why: str = ""

    @property
    def sentence(self) -> str:
        """The result, or why there is none, in one sentence."""
        if self.finding is None or self.choice is None:
            what = endpoint_words.question(self.choice)
            return f"{what} cannot be said: {self.why}."
        return endpoint_words.verdict(self.finding)


def as_readings(data: StudyData, marks: LesionMarks = LesionMarks()) -> list[Reading]:
    """First readings, one row each, for ``bmcore.stats``."""
    rows = []
    for r in data.readings:
        if r.occasion:
            continue
        facts = data.cases.get(r.case_id)
        sizes, ratings, false = _marked(marks, (r.arm, r.reader, r.case_id))
        rows.append(
            Reading(
                reader=r.reader,
                case=r.case_id,
                arm=r.arm,
                truth=(facts.truth or "") if facts else "",
                answer=r.primary,
                confidence=float(r.confidence),
                differential={name: 1 / (2 + i) for i, name in enumerate(r.differential)},
                seconds=r.active_s or math.nan,
                lesions_mm=sizes,
                marks=ratings,
                false_marks=false,
                place=r.order,
            )
        )
    return rows


def of_models(data: StudyData, marks: LesionMarks, choice: Endpoint) -> list[Reading]:
    """The models' own answers as rows, where ``choice`` compares readers with them: the fused
    answer; on lesions, what of their mask lies on the reference."""
    rows: list[Reading] = []
    if MODELS not in choice.arms:
        return rows
    for case, facts in data.cases.items():
        at = (MODELS, MODELS, case)
        answer, given = facts.top(), facts.answers.get("fused")
        truth = facts.truth or ""
        if choice.measure in ON_LESIONS:
            if at in marks.hits:
                sizes, ratings, false = _marked(marks, at)
                row = Reading(MODELS, case, MODELS, truth, lesions_mm=sizes, marks=ratings)
                rows.append(replace(row, false_marks=false))
        elif answer is not None and given is not None:
            scores = dict(zip(map(str, PRIMARIES), given, strict=True))
            rows.append(Reading(MODELS, case, MODELS, truth, answer, scores=scores))
    return rows


def _marked(
    marks: LesionMarks, at: tuple[str, str, str]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Diameters of the reference lesions, the rating of the mark on each, and of the false ones; 1
    where marks are not rated."""
    told, sizes = marks.hits.get(at), marks.diameters_mm.get(at[2], ())
    if told is None:
        return (), (), ()
    if at in marks.ratings:
        return (sizes, *marks.ratings[at])
    found, false = told
    hit = tuple(1.0 if n in found else -math.inf for n in range(1, len(sizes) + 1))
    return sizes, hit, (1.0,) * false


def primary(data: StudyData, marks: LesionMarks = LesionMarks()) -> Answer:
    """The primary endpoint of the plan; of free votes the share of right answers."""
    choice, name = _choice(data)
    return _answer(data, marks, name, choice)


def secondary(data: StudyData, marks: LesionMarks = LesionMarks()) -> tuple[Answer, ...]:
    """The secondary endpoints of the plan, in its order."""
    plan = data.plan
    return (
        tuple(_answer(data, marks, e.name, e.choice) for e in plan.secondary_endpoints)
        if plan
        else ()
    )


def _choice(data: StudyData) -> tuple[Endpoint | None, str]:
    if data.plan is not None:
        endpoint = data.plan.primary_endpoint
        return endpoint.choice, endpoint.name
    if data.compared is None:
        return None, "accuracy"
    readers = len({r.reader for r in data.readings})
    kind = "random" if readers > 1 else "fixed"
    return Endpoint("accuracy", data.compared, readers=kind), "accuracy"


def _answer(data: StudyData, marks: LesionMarks, name: str, choice: Endpoint | None) -> Answer:
    if choice is None:
        why = (
            f"the plan names its endpoint in words (\u201c{name}\u201d), which are not computed; "
            "amend it with the fields of docs/study.md"
            if data.plan
            else NO_ARMS
        )
        return Answer(name, None, None, why)
    rows = rows_of(data, marks, choice)
    if not all(any(r.arm == arm for r in rows) for arm in choice.arms):
        there = MODELS not in choice.arms or any(r.arm == MODELS for r in rows)
        return Answer(name, choice, None, NO_ARMS if there else NO_MODELS)
    return Answer(name, choice, found(choice, rows))


def rows_of(data: StudyData, marks: LesionMarks, choice: Endpoint) -> list[Reading]:
    """All rows that an endpoint rests on: first readings and, where it names them, the models."""
    return [*as_readings(data, marks), *of_models(data, marks, choice)]


def found(choice: Endpoint, rows: Sequence[Reading]) -> Finding:
    """``compute``, with too few cases told as such instead of a number."""
    finding = compute(choice, rows, categories(choice, rows))
    short = shortage(choice, rows, finding)
    if not short:
        return finding
    none = undefined(finding.difference.n, TOO_FEW + short)
    return replace(finding, difference=none, p=math.nan, verdict="cannot be said")


def categories(choice: Endpoint, rows: Sequence[Reading]) -> tuple[str, ...]:
    """The answers that the measure runs over: all that may be given for agreement, else the classes
    that occur among the references, as in the usual balanced accuracy and macro AUC."""
    if choice.measure == "agreement":
        return ANSWERS
    known = {r.truth for r in rows}
    return tuple(p for p in ANSWERS if p in known)


def shortage(choice: Endpoint, rows: Sequence[Reading], finding: Finding) -> str:
    """What is missing for an interval that means something, "" where nothing is."""
    cases = _paired_cases(choice, rows)
    n, how = len(cases), endpoint_words.read_in_both(choice)
    if choice.measure in NEEDS_CLASS:
        ill = sum(truth == choice.category for truth in cases.values())
        rest = sum(truth not in ("", choice.category) for truth in cases.values())
        least = {"AUC": min(ill, rest), "sensitivity": ill}.get(choice.measure, rest)
        if least < LEAST_OF_A_KIND:
            return f"{count(least, 'case')} of the kind {how}, {LEAST_OF_A_KIND} needed"
        return ""
    if choice.measure in ("balanced accuracy", "macro AUC"):
        of = Counter(truth for truth in cases.values() if truth)
        if of and min(of.values()) < 2:
            rare = min(of, key=lambda c: of[c])
            name = PRIMARY_NAMES.get(rare, rare)
            return f"{count(of[rare], 'case')} of {name} {how}, 2 of each needed"
    counted = min(n, finding.contrast.cases) if finding.contrast.cases else n
    if choice.measure in NEEDS_TRUTH:
        counted = sum(bool(truth) for truth in cases.values()) or counted
    if counted >= LEAST_CASES:
        return ""
    told = f"{count(counted, 'case')} {how}, {LEAST_CASES} needed"
    if counted < n and choice.measure in (*NEEDS_TRUTH, *ON_LESIONS):
        kind = "a reference mask" if choice.measure in ON_LESIONS else "a known primary"
        told = told.replace(" read", f" with {kind} read", 1) + f" ({n} read in all)"
    return told


def _paired_cases(choice: Endpoint, rows: Sequence[Reading]) -> Mapping[str, str]:
    """The cases that some reader read in both arms (or, split-plot, in either; that readers and
    models answered), with the truth."""
    table = by_arm_and_reader(rows, choice.arms)
    alone = {c for own in table.get(MODELS, {}).values() for c in own}
    if MODELS not in choice.arms:
        table = paired(table)
    return {
        c: row.truth
        for arm in table.values()
        for own in arm.values()
        for c, row in own.items()
        if MODELS not in choice.arms or (arm is not table[MODELS] and c in alone)
    }


def endpoint_section(data: StudyData, marks: LesionMarks = LesionMarks()) -> Section:
    """The plan's endpoints: result, sensitivity analyses, claims, and who read how much."""
    first = primary(data, marks)
    title = "Primary endpoint" if data.plan else "Do the models help?"
    if first.finding is None or first.choice is None:
        return Section("endpoint", title, first.sentence, non_empty([_read(data)]))
    tables = [_result(first.finding), _analyses(data, marks, first.finding)]
    tables += [_secondary(data, marks, first), _read(data)]
    return Section("endpoint", title, first.sentence, non_empty(tables))


def _result(finding: Finding) -> ResultTable:
    choice, unit = finding.endpoint, endpoint_words.unit(finding.endpoint)
    lines = [
        Line((ARM_NAMES[arm],), (e,), keys=(arm,))
        for arm, e in zip(choice.arms, finding.arms, strict=True)
    ]
    return ResultTable(
        "endpoint_arms",
        f"{endpoint_words.title(choice)}, mean of the readers",
        ("Phase",),
        (Column(f"{endpoint_words.title(choice)}, {endpoint_words.readers(choice)}", unit),),
        tuple(lines),
        endpoint_words.note(finding),
    )


def _analyses(data: StudyData, marks: LesionMarks, planned: Finding) -> ResultTable:
    choice = planned.endpoint
    rows = rows_of(data, marks, choice)
    lines = [_line("As planned", planned)]
    for name, other in sensitivity_analyses(choice, rows, categories(choice, rows)).items():
        kept = other
        if not other.difference.defined or other.difference.n < LEAST_OF_A_KIND:
            why = f"{TOO_FEW}n = {other.difference.n}"
            kept = replace(other, difference=undefined(other.difference.n, why), p=math.nan)
        lines.append(_line(endpoint_words.analysis(name), kept))
    return ResultTable(
        "endpoint_difference",
        endpoint_words.difference(choice),
        ("Analysis",),
        (
            Column(
                f"{endpoint_words.column(choice)}, {endpoint_words.readers(choice)}",
                endpoint_words.change_unit(choice),
            ),
        ),
        tuple(lines),
        "The first line is the result. The others show whether it depends on what is missing.",
        "p",
    )


def _line(name: str, finding: Finding) -> Line:
    return Line((name,), (finding.difference,), finding.p)


def _secondary(data: StudyData, marks: LesionMarks, first: Answer) -> ResultTable:
    others = secondary(data, marks)
    assert first.finding is not None
    computed = [(a, a.finding) for a in others if a.finding is not None]
    rule = data.plan.multiplicity if data.plan else "holm"
    alpha = data.plan.primary_endpoint.alpha if data.plan else 0.05
    claims = multiplicity.claims(
        [a.name for a, _ in computed],
        [_two_sided(f) for _, f in computed],
        rule,
        alpha,
    )
    open_ = first.finding.verdict == "shown"
    units = sorted({endpoint_words.change_unit(f.endpoint) for _, f in computed})
    lines = []
    for (_, f), claim in zip(computed, claims, strict=True):
        words = endpoint_words.claim(f, claim, rule, open_)
        cells = tuple(
            f.difference if endpoint_words.change_unit(f.endpoint) == u else None for u in units
        )
        lines.append(
            Line(
                (endpoint_words.title(f.endpoint), endpoint_words.arms(f.endpoint), words),
                cells,
                f.p,
            )
        )
    missing = [a for a in others if a.finding is None]
    for a in missing:
        lines.append(Line((a.name, "", f"not computed: {a.why}"), (None,) * len(units)))
    return ResultTable(
        "secondary",
        "Secondary endpoints",
        ("Endpoint", "Phases", "Claim"),
        tuple(Column(endpoint_words.COLUMNS[u], u) for u in units),
        tuple(lines),
        "In the plan's order; claimed only where the primary endpoint was shown, "
        + ("by Holm's procedure." if rule == "holm" else "and all before it (fixed sequence).")
        + " Everything else in this report is exploratory.",
        "p",
    )


def _two_sided(finding: Finding) -> float:
    """p on the scale of the plan's alpha; NaN where the aim was not shown, which claims nothing.
    Non-inferiority is tested on one side at half of alpha."""
    if finding.verdict != "shown":
        return math.nan
    return min(1.0, 2 * finding.p) if finding.endpoint.aim == "non-inferiority" else finding.p


def _read(data: StudyData) -> ResultTable:
    """Who read how many of the cases, of a study: drop-outs and missing reads."""
    plan = data.plan
    lines = []
    if plan is not None:
        planned = len(plan.cases)
        for person in data.people:
            for arm in data.arms:
                read = {
                    r.case_id
                    for r in data.readings
                    if (r.reader, r.arm, r.occasion) == (person.name, arm, 0)
                }
                missing = str(planned - len(read) or "none")
                label = (person.name, ARM_NAMES[arm], f"{len(read)} of {planned}", missing)
                lines.append(Line(label, ()))
    return ResultTable(
        "read",
        "Cases read",
        ("Reader", "Phase", "Read", "Missing"),
        (),
        tuple(lines),
        "Readers count with what they have read; missing readings are not filled in.",
    )
