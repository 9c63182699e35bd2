"""What the report says, in order, as blocks. The PDF and the web page both draw these blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from bmcore.domain import PRIMARY_NAMES
from bmcore.report import figures
from bmcore.report.agreement import MODEL, PairAgreement, PhaseAgreement
from bmcore.report.words import SHORT
from bmcore.review.votes import PHASE_NAMES, ROLE_NAMES
from bmcore.stats.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bmcore.report.dossier import CaseRow, Dossier, ModelAnswer

KIND_NAMES = {"clinical": "Clinical only", "image": "Image only", "fused": "Fused"}
NONE = "\u2013"


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Words:
    """A paragraph; kind "plain", "notice" (in a box) or "quiet" (small)."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Table:
    """``widths`` are shares of the page; ``numbers`` are columns to be set right-aligned."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A figure, made when it is first drawn. ``alt`` says in words what it shows."""

    alt: str
    make: Callable[[], Figure]
    width: float = 1.0

    @cached_property
    def figure(self) -> Figure:
        return self.make()


Block = Heading | Words | Table | Picture


def sections(dossier: Dossier) -> list[Block]:
    """The whole report below its title."""
    return [
        *_summary(dossier),
        *_agreement(dossier),
        *_accuracy(dossier),
        *_quality(dossier),
        *_cases(dossier),
        *_votes(dossier),
        *_comments(dossier),
        *_making(dossier),
    ]


def moment(when: object) -> str:
    return f"{when:%d %b %Y, %H:%M} UTC"


def _summary(d: Dossier) -> list[Block]:
    counts = d.counts
    rows = [
        ("Made on", moment(d.created_at)),
        ("Models", d.bundle.badge if d.bundle else "No models were at hand"),
        ("Trained on", d.bundle.trained_on if d.bundle else "Not known"),
        ("Digest of the models", d.bundle.digest if d.bundle else NONE),
        ("Cases", _cases_in_words(counts)),
        ("Readers", _readers_in_words(d)),
        ("Votes", f"{counts['votes']}, of which {counts['votes_in_force']} in force"),
        ("Digest of the votes", d.votes_digest),
    ]
    blocks: list[Block] = [Words(d.notice, "notice")]
    blocks += [Words(remark) for remark in d.remarks]
    blocks.append(Table(("", ""), tuple(rows), (0.24, 0.76)))
    if d.cases:
        alt = "Votes in force by case, unaided and aided"
        blocks.append(Picture(alt, lambda: figures.votes_per_case(d.cases), 0.9))
    return blocks


def _cases_in_words(counts: dict[str, int]) -> str:
    known, predicted = counts["cases_with_reference"], counts["cases_with_prediction"]
    return f"{counts['cases']}; {predicted} with a prediction, {known} with a known primary"


def _readers_in_words(d: Dossier) -> str:
    if not d.readers:
        return "0"
    roles = list(d.readers.values())
    counts = [(roles.count(role), name.lower()) for role, name in ROLE_NAMES.items()]
    parts = [f"{n} {name}{'s' if n > 1 else ''}" for n, name in counts if n]
    return f"{len(roles)} ({', '.join(parts)})"


def _agreement(d: Dossier) -> list[Block]:
    blocks: list[Block] = [
        Heading("Agreement between readers"),
        Words(
            "Unaided answers were given before the model's answer was seen, aided answers after. "
            "Kappa is the agreement beyond chance: 1 is perfect, 0 is chance. "
            "Two readers who both cannot tell count as agreeing."
        ),
    ]
    for phase in d.agreement.phases:
        blocks += _one_phase(phase)
    return blocks


def _one_phase(phase: PhaseAgreement) -> list[Block]:
    blocks: list[Block] = [Heading(PHASE_NAMES[phase.phase], 3), Words(phase.words)]
    if not phase.pairs and not phase.models:
        return blocks
    if phase.percent.defined:
        rows = (
            ("Mean agreement of two readers", *_share(phase.percent)),
            ("Fleiss' kappa, all readers", *_number(phase.fleiss)),
        )
        blocks.append(_estimates("All readers together", rows))
    columns = ("Cases", "Agreement (95 %)", "Cohen's kappa (95 %)")
    pairs = [_pair_row(p) for p in phase.pairs if p.n]
    if pairs:
        head = ("Readers", *columns)
        blocks.append(Table(head, tuple(pairs), (0.40, 0.10, 0.25, 0.25), (1, 2, 3)))
        alt = f"Agreement of each two readers, {phase.phase}, as a heat map"
        blocks.append(Picture(alt, lambda: figures.heat_map(phase), 0.72))
    models = [_pair_row(p) for p in phase.models if p.n]
    if models:
        head = ("Reader and model (fused answer)", *columns)
        blocks.append(Table(head, tuple(models), (0.40, 0.10, 0.25, 0.25), (1, 2, 3)))
    blocks += _confidence_notes([*phase.pairs, *phase.models])
    return blocks


def _confidence_notes(pairs: list[PairAgreement]) -> list[Block]:
    without = [p.kappa.method for p in pairs if p.n and not p.kappa.has_interval]
    reasons = sorted({method.rsplit(": ", 1)[1] for method in without})
    if not reasons:
        return []
    why = "; ".join(reasons)
    return [Words(f"Why a kappa has no interval or is not defined: {why}.", "quiet")]


def _pair_row(pair: PairAgreement) -> tuple[str, ...]:
    name = pair.a if pair.b == MODEL else f"{pair.a} and {pair.b}"
    return (name, str(pair.n), _share(pair.percent)[0], _number(pair.kappa)[0])


def _accuracy(d: Dossier) -> list[Block]:
    blocks: list[Block] = [Heading("Against the known primary")]
    if not d.reader_hits and not d.model_hits:
        blocks.append(Words("No case with votes or predictions has a known primary."))
    else:
        rows = [(f"{h.who}, {h.phase}", *_share(h.accuracy)) for h in d.reader_hits]
        rows += [(f"Model, {KIND_NAMES[h.who].lower()}", *_share(h.accuracy)) for h in d.model_hits]
        blocks.append(_estimates("Share of right answers", tuple(rows)))
        blocks.append(
            Words(
                "Other, cannot tell and a missing answer count as not right.",
                "quiet",
            )
        )
        blocks.append(Words(_fused_in_words(d.fused_minus_clinical)))
    blocks.append(Heading("Readers and model, answer by answer"))
    shown = [p for p in ("unaided", "aided") if any(map(any, d.confusion[p]))]
    if not shown:
        blocks.append(Words("No vote on a case with a model's answer yet."))
    for phase in shown:
        alt = f"How often readers said what where the model said what, {phase}"
        blocks.append(Picture(alt, partial(figures.confusion, d.confusion[phase], phase), 0.86))
    return blocks


def _fused_in_words(difference: Estimate) -> str:
    if not difference.defined:
        return "Whether the images add to the clinical data cannot be said yet."
    if not difference.has_interval:
        return "One case is too few to say whether the images add to the clinical data."
    numbers = (
        f"{100 * difference.value:+.0f} percentage points "
        f"(95 % interval {100 * difference.low:+.0f} to {100 * difference.high:+.0f}, "
        f"{difference.n} cases)"
    )
    if difference.low > 0:
        verdict = "On these cases the fused answer beats the clinical data alone"
    elif difference.high < 0:
        verdict = "On these cases the fused answer is worse than the clinical data alone"
    else:
        verdict = "It is not shown that the fused answer beats the clinical data alone"
    return f"{verdict}: {numbers}."


def _quality(d: Dossier) -> list[Block]:
    blocks: list[Block] = [Heading("Quality of the segmentation, as rated by readers")]
    rated = sum(d.quality)
    if rated == 0:
        return [*blocks, Words("No segmentation was rated yet.")]
    mean = sum(grade * n for grade, n in enumerate(d.quality, start=1)) / rated
    left_out = "" if d.unrated == 0 else f" {d.unrated} aided votes without a rating."
    blocks.append(Words(f"{rated} ratings from 1 (worst) to 5 (best), mean {mean:.1f}.{left_out}"))
    alt = "Number of ratings by grade: " + ", ".join(
        f"grade {grade}: {n}" for grade, n in enumerate(d.quality, start=1)
    )
    blocks.append(Picture(alt, lambda: figures.quality(d.quality), 0.6))
    return blocks


def _cases(d: Dossier) -> list[Block]:
    blocks: list[Block] = [Heading("Cases")]
    if not d.cases:
        return [*blocks, Words("No cases yet.")]
    rows = []
    for case in d.cases:
        answers = tuple(_answer(case.answers.get(kind)) for kind in KIND_NAMES)
        truth = SHORT[case.truth] if case.truth else "not known"
        lesions = "not predicted" if case.lesions is None else str(case.lesions)
        rows.append((case.case_id, truth, lesions, *answers, _said(case)))
    head = ("Case", "Known primary", "Lesions", *KIND_NAMES.values(), "Readers")
    widths = (0.185, 0.105, 0.09, 0.125, 0.125, 0.125, 0.245)
    blocks.append(Table(head, tuple(rows), widths))
    reasons = sorted({a.reason for c in d.cases for a in c.answers.values() if a.reason})
    if reasons:
        blocks.append(Words("No answer: " + "; ".join(reasons) + ".", "quiet"))
    return blocks


def _said(case: CaseRow) -> str:
    """A line a reader: name, then the answers before and after the model's was seen."""
    by_reader: dict[str, list[str]] = {}
    for reader, phase, primary in case.readers:
        by_reader.setdefault(reader, []).append(f"{phase} {SHORT[primary]}")
    lines = [f"{reader}: {', '.join(answers)}" for reader, answers in by_reader.items()]
    return "\n".join(lines) or "No votes yet"


def _answer(answer: ModelAnswer | None) -> str:
    if answer is None:
        return NONE
    if answer.primary is None or answer.probability is None:
        return "no answer"
    return f"{SHORT[answer.primary]} {100 * answer.probability:.0f}\u00a0%"


def _votes(d: Dossier) -> list[Block]:
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
        *("Quality", "Model shown", "State"),
    )
    widths = (0.05, 0.115, 0.185, 0.16, 0.085, 0.13, 0.08, 0.10, 0.095)
    return [*blocks, Table(head, tuple(rows), widths, (0,))]


def _comments(d: Dossier) -> list[Block]:
    blocks: list[Block] = [Heading("Comments and reasons")]
    said = [v for v in d.votes if v.comment or v.reason]
    if not said:
        return [*blocks, Words("No comments yet.")]
    for v in said:
        blocks.append(Words(f"Vote {v.id}, {v.reader}, case {v.case_id}, {v.phase}", "quiet"))
        if v.reason:
            blocks.append(Words(f"Reason for the change: {v.reason}"))
        if v.comment:
            blocks.append(Words(v.comment))
    return blocks


def _making(d: Dossier) -> list[Block]:
    names = "; ".join(
        name if SHORT[p] in name else f"{name} ({SHORT[p]})" for p, name in PRIMARY_NAMES.items()
    )
    methods = (
        "Shares of one reader or one pair: Wilson score interval. Mean agreement of more than two "
        "readers, and differences: 2,000 bootstrap resamples of cases, percentile interval. "
        "Cohen's kappa: large-sample interval (Fleiss, Cohen and Everitt 1969). Fleiss' kappa: "
        "linearised variance over cases (Gwet 2008). Every interval is a 95 % interval. "
        "Only votes in force are counted."
    )
    versions = tuple(d.versions.items())
    return [
        Heading("How this report was made"),
        Words(methods),
        Words(f"Primaries that the models can name: {names}."),
        Table(("Software", "Version"), versions, (0.3, 0.7)),
    ]


def _estimates(title: str, rows: tuple[tuple[str, ...], ...]) -> Table:
    return Table((title, "Value (95 %)", "Cases"), rows, (0.5, 0.35, 0.15), (1, 2))


def _share(e: Estimate) -> tuple[str, str]:
    if not e.defined:
        return ("not defined", str(e.n))
    if not e.has_interval:
        return (f"{100 * e.value:.0f}\u00a0% (no interval)", str(e.n))
    return (f"{100 * e.value:.0f}\u00a0% ({100 * e.low:.0f} to {100 * e.high:.0f})", str(e.n))


def _number(e: Estimate) -> tuple[str, str]:
    if not e.defined:
        return ("not defined", str(e.n))
    if not e.has_interval:
        return (f"{e.value:z.2f} (no interval)", str(e.n))
    return (f"{e.value:z.2f} ({e.low:z.2f} to {e.high:z.2f})", str(e.n))
