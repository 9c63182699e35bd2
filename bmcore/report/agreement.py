"""Who agrees with whom. Pure data; the Agreement page and the dossier draw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from bmcore.review.votes import PHASES, PRIMARY_CHOICES, Vote, current
from bmcore.stats import agreement
from bmcore.stats.bootstrap import Resampling
from bmcore.stats.estimate import Estimate, proportion

MODEL = "model"


@dataclass(frozen=True)
class PairAgreement:
    """Two who answered the same ``n`` cases: share of equal answers, and Cohen's kappa."""

    a: str
    b: str
    n: int
    percent: Estimate
    kappa: Estimate


@dataclass(frozen=True)
class PhaseAgreement:
    """Agreement in one phase. ``answers`` is a row a case, a column a reader, None is no answer.

    percent: mean share of agreeing pairs a case. fleiss: Fleiss' kappa. pairs: each two readers.
    models: each reader against the model's fused answer. "Other" and "cannot tell" are answers of
    their own: two readers who cannot tell agree.
    """

    phase: str
    cases: tuple[str, ...]
    readers: tuple[str, ...]
    answers: tuple[tuple[str | None, ...], ...]
    percent: Estimate
    fleiss: Estimate
    pairs: tuple[PairAgreement, ...]
    models: tuple[PairAgreement, ...]

    @property
    def words(self) -> str:
        """What the numbers rest on, or why there are none, in a sentence."""
        if not self.cases:
            return "No votes yet."
        cases, readers = _count(len(self.cases), "case"), _count(len(self.readers), "reader")
        if len(self.readers) < 2:
            return f"{cases}, one reader: agreement needs a second reader."
        if self.percent.n == 0:
            return f"{cases}, {readers}, but no case was answered by two of them yet."
        text = f"{cases}, {readers}; {_count(self.percent.n, 'case')} answered by two or more."
        if self.percent.n < 20:
            text += " With fewer than 20 cases the intervals are wide and rough."
        return text


@dataclass(frozen=True)
class AgreementSummary:
    """One ``PhaseAgreement`` for unaided and one for aided votes."""

    unaided: PhaseAgreement
    aided: PhaseAgreement

    @property
    def phases(self) -> tuple[PhaseAgreement, PhaseAgreement]:
        return (self.unaided, self.aided)


def agreement_summary(
    votes: Iterable[Vote],
    model_answers: Mapping[str, str] | None = None,
    resampling: Resampling = Resampling(),
) -> AgreementSummary:
    """Agreement of the current votes, the two phases apart; any number of votes, also none.

    model_answers: the fused answer of the model, by case. An aided vote is compared with the answer
    that its reader saw; else ``model_answers`` counts, else the answer that any reader saw last.
    """
    latest = current(votes)
    shown = {v.case_id: v.model_primary for v in latest if v.model_primary is not None}
    model = {**shown, **{case: str(answer) for case, answer in (model_answers or {}).items()}}
    unaided, aided = (
        _phase(phase, [v for v in latest if v.phase == phase], model, resampling)
        for phase in PHASES
    )
    return AgreementSummary(unaided, aided)


def _phase(
    phase: str, votes: list[Vote], model: Mapping[str, str], resampling: Resampling
) -> PhaseAgreement:
    rows = [(v.case_id, v.reader, v.primary) for v in votes]
    matrix = agreement.rating_matrix(rows, PRIMARY_CHOICES)
    kinds = len(PRIMARY_CHOICES)
    names = (*PRIMARY_CHOICES, None)
    return PhaseAgreement(
        phase=phase,
        cases=matrix.cases,
        readers=matrix.readers,
        answers=tuple(tuple(names[code] for code in row) for row in matrix.codes),
        percent=agreement.percent_agreement(matrix.codes, resampling),
        fleiss=agreement.fleiss_kappa(matrix.codes, kinds),
        pairs=tuple(_pair(a, b, *matrix.pair(a, b)) for a, b in combinations(matrix.readers, 2)),
        models=tuple(_against_model(reader, votes, model) for reader in matrix.readers),
    )


def _against_model(reader: str, votes: list[Vote], model: Mapping[str, str]) -> PairAgreement:
    both = [
        (v.primary, v.model_primary or model[v.case_id])
        for v in votes
        if v.reader == reader and (v.model_primary or v.case_id in model)
    ]
    codes = [[PRIMARY_CHOICES.index(answer) for answer in pair] for pair in both]
    return _pair(reader, MODEL, [c[0] for c in codes], [c[1] for c in codes])


def _pair(a: str, b: str, first: Iterable[int], second: Iterable[int]) -> PairAgreement:
    left, right = list(first), list(second)
    equal = sum(x == y for x, y in zip(left, right, strict=True))
    kappa = agreement.cohen_kappa(left, right, len(PRIMARY_CHOICES))
    return PairAgreement(a, b, len(left), proportion(equal, len(left)), kappa)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
