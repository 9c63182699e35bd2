"""Results on the plan's free questions: what was answered in each phase, and do readers agree?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.analysis.agreement import guarded_icc
from bmcore.analysis.readings import StudyData
from bmcore.analysis.tables import (
    ARM_NAMES,
    Column,
    Line,
    ResultTable,
    Section,
    count,
    guarded,
    non_empty,
    phase_words,
)
from bmcore.review.plan_question import FREE, Question
from bmcore.review.sheet import MODELS_MASK
from bmcore.stats import agreement, bootstrap, clustered, reliability

CORRECTED = ("corrected by the reader", "as the models drew it")


@dataclass(frozen=True, eq=False)
class _Asked:
    """One question's first readings: ``said`` {(arm, reader, case): answer}."""

    question: Question
    arms: tuple[str, ...]
    readers: tuple[str, ...]
    cases: tuple[str, ...]
    said: dict[tuple[str, str, str], Any]

    def codes(self, arm: str, options: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """(readers, cases): index into ``options``, -1 where nothing was said."""
        found = np.full((len(self.readers), len(self.cases)), -1, np.int64)
        for r, c, value in self._in(arm):
            found[r, c] = options.index(str(value))
        return found

    def chosen(self, arm: str, option: str) -> npt.NDArray[np.bool_]:
        """(readers, cases): the option is among the answers."""
        found = np.zeros((len(self.readers), len(self.cases)), bool)
        for r, c, value in self._in(arm):
            found[r, c] = option in value if isinstance(value, list) else option == value
        return found

    def given(self, arm: str) -> npt.NDArray[np.bool_]:
        """(readers, cases): something was said."""
        found = np.zeros((len(self.readers), len(self.cases)), bool)
        for r, c, _ in self._in(arm):
            found[r, c] = True
        return found

    def numbers(self, arm: str) -> npt.NDArray[np.float64]:
        """(readers, cases): the number, NaN where nothing was said."""
        found = np.full((len(self.readers), len(self.cases)), np.nan)
        for r, c, value in self._in(arm):
            found[r, c] = value
        return found

    def _in(self, arm: str) -> Iterator[tuple[int, int, Any]]:
        for r, reader in enumerate(self.readers):
            for c, case in enumerate(self.cases):
                if (arm, reader, case) in self.said:
                    yield r, c, self.said[arm, reader, case]


def free_section(data: StudyData) -> Section | None:
    """One or more tables a question, in the plan's order; None where the plan asks none of them."""
    asked = [_asked(data, q) for q in data.plan.questions if q.kind in FREE] if data.plan else []
    tables = [t for a in asked if a.question.kind != "text" for t in _tables(a)]
    kept = non_empty(tables)
    if not any(a.question.kind != "text" for a in asked):
        return None
    if not kept:
        return Section("free", "Other questions", "No other question was answered yet.")
    n = len({t.key.rsplit(" ", 1)[0] for t in kept})
    sentence = f"Answers to {count(n, 'other question')} of the plan, phase by phase."
    return Section("free", "Other questions", sentence, kept)


def _asked(data: StudyData, question: Question) -> _Asked:
    said = {
        (r.arm, r.reader, r.case_id): r.free[question.id]
        for r in data.readings
        if not r.occasion and question.id in r.free
    }
    if question.kind == "mask":
        said = {at: CORRECTED[v["mask"] == MODELS_MASK] for at, v in said.items()}
    arms = tuple(a for a in data.arms if any(at[0] == a for at in said))
    readers = tuple(sorted({at[1] for at in said}))
    return _Asked(question, arms, readers, tuple(sorted({at[2] for at in said})), said)


def _tables(asked: _Asked) -> list[ResultTable]:
    kind = asked.question.kind
    if kind in ("number", "scale"):
        return [_means(asked), _changes(asked), _agreement_of_numbers(asked)]
    options = CORRECTED if kind == "mask" else asked.question.options or ()
    return [_shares(asked, options), _agreement_of_options(asked, options)]


def _title(asked: _Asked, words: str) -> str:
    return f"{asked.question.text}: {words}" if words else asked.question.text


def _shares(asked: _Asked, options: tuple[str, ...]) -> ResultTable:
    lines = []
    for option in options:
        for arm in asked.arms:
            found = clustered.share(
                asked.chosen(arm, option), asked.given(arm), f"share of \u201c{option}\u201d"
            )
            lines.append(Line((option, ARM_NAMES[arm]), (found,), keys=(arm,)))
    several = asked.question.kind == "choices"
    return ResultTable(
        f"{asked.question.id} shares",
        _title(asked, ""),
        ("Answer", "Phase"),
        (Column("Share of readings", "share"),),
        tuple(lines),
        "All readers, for these readers; n is the number of cases."
        + (" Several answers could be given, so the shares may add up to more." if several else ""),
    )


def _agreement_of_options(asked: _Asked, options: tuple[str, ...]) -> ResultTable:
    """Of several choices each option is a yes or no of its own."""
    lines = []
    several = asked.question.kind == "choices"
    for arm in asked.arms if len(asked.readers) > 1 else ():
        for option in options if several else ("",):
            if several:
                codes = np.where(asked.given(arm), asked.chosen(arm, option), -1).astype(np.int64)
                k = 2
            else:
                codes, k = asked.codes(arm, options), len(options)
            cells = (
                agreement.percent_agreement(codes.T),
                guarded(agreement.fleiss_kappa(codes.T, k)),
                guarded(reliability.gwet_ac(codes.T, k)),
            )
            lines.append(Line((option or "all answers", ARM_NAMES[arm]), cells))
    return ResultTable(
        f"{asked.question.id} agreement",
        _title(asked, "do readers agree?"),
        ("Answer", "Phase"),
        (Column("Percent agreement", "share"), Column("Fleiss' kappa"), Column("Gwet's AC1")),
        tuple(lines),
        "Each answer as given or not given." if several else "",
    )


def _means(asked: _Asked) -> ResultTable:
    lines = []
    for arm in asked.arms:
        values = asked.numbers(arm)
        rows = [(name, values[r : r + 1]) for r, name in enumerate(asked.readers)]
        if len(rows) > 1:
            rows.insert(0, ("All readers", values))
        for who, own in rows:
            where = np.nonzero(np.isfinite(own))
            if len(where[0]):
                found = bootstrap.mean(own[where], where[1], what="mean")
                lines.append(Line((who, ARM_NAMES[arm]), (guarded(found),), keys=(arm,)))
    return ResultTable(
        f"{asked.question.id} mean",
        _title(asked, ""),
        ("Who", "Phase"),
        (Column("Mean" + _unit(asked), "number"),),
        tuple(lines),
        "Bootstrap of patients, for these readers." + _ends(asked),
    )


def _changes(asked: _Asked) -> ResultTable:
    """Each later phase less each earlier one, on readings of one reader and case in both."""
    lines = []
    for first, second in combinations(asked.arms, 2):
        change = asked.numbers(second) - asked.numbers(first)
        where = np.nonzero(np.isfinite(change))
        if len(where[0]):
            found = bootstrap.mean(change[where], where[1], what="mean paired difference")
            lines.append(Line((phase_words(first, second),), (guarded(found),)))
    return ResultTable(
        f"{asked.question.id} change",
        _title(asked, "difference between the phases"),
        ("Phases",),
        (Column("Mean difference" + _unit(asked), "number"),),
        tuple(lines),
        "The same reader on the same case; bootstrap of patients, for these readers. Exploratory.",
    )


def _agreement_of_numbers(asked: _Asked) -> ResultTable:
    lines = []
    for arm in asked.arms if len(asked.readers) > 1 else ():
        values = asked.numbers(arm)
        alpha = None
        if asked.question.kind == "scale":
            steps = asked.question.steps
            codes = np.where(np.isnan(values), steps[0] - 1, values).astype(np.int64) - steps[0]
            alpha = guarded(reliability.krippendorff_alpha(codes.T, len(steps), "ordinal"))
        lines.append(Line((ARM_NAMES[arm],), (guarded_icc(values.T, asked.readers), alpha)))
    return ResultTable(
        f"{asked.question.id} agreement",
        _title(asked, "do readers agree?"),
        ("Phase",),
        (Column("ICC(2,1)"), Column("Krippendorff's alpha, ordinal")),
        tuple(lines),
    )


def _unit(asked: _Asked) -> str:
    return f", {asked.question.unit}" if asked.question.unit else ""


def _ends(asked: _Asked) -> str:
    if asked.question.kind != "scale" or not asked.question.ends:
        return ""
    low, high = asked.question.steps[0], asked.question.steps[-1]
    return f" {low} is {asked.question.ends[0]}, {high} is {asked.question.ends[1]}."
