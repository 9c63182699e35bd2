"""Readers against the models alone: readers and cases are samples, the models are one of a kind.

Each reader's figure of merit less the models' on the same cases is itself a figure of merit, and
its mean over readers is held against 0 by Obuchowski and Rockette's analysis of one condition:
Hillis, Obuchowski and Berbaum 2011 (Acad Radiol 18:129) for a mean against a constant; Hupse et al.
2013 (Radiology 266:123) and RJafroc ("1T-RRRC") for the difference to a stand-alone program. The
models' part is the same for all readers, so its variance over cases is in what readers share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bmcore.stats import weighted_mrmc
from bmcore.stats.readings import Reading
from bmcore.stats.weighted_mrmc import Figure

Rows = Mapping[str, Reading]  # by case
Measure = Callable[[Sequence[Reading]], Figure]


def figures(
    readers: Mapping[str, Rows], models: Rows, measure: Measure
) -> tuple[dict[str, Figure], dict[str, Figure], tuple[str, ...]]:
    """(each reader's figure, each reader's figure less the models', who has read too little).

    A reader counts with the cases that the models answered, and the models with the same ones.
    """
    own: dict[str, Figure] = {}
    against: dict[str, Figure] = {}
    left_out = []
    for reader, rows in readers.items():
        mine = measure([row for case, row in rows.items() if case in models])
        theirs = measure([models[case] for case in rows if case in models])
        if not (mine.usable and theirs.usable and mine.cases == theirs.cases):
            left_out.append(reader)
            continue
        own[reader] = mine
        against[reader] = Figure(
            mine.value - theirs.value, mine.left_out - theirs.left_out, mine.cases, mine.weight
        )
    return own, against, tuple(left_out)


def of_models(readers: Mapping[str, Rows], models: Rows, measure: Measure) -> dict[str, Figure]:
    """The models' own figure on all cases that some reader read; empty where it is not defined."""
    read = {case for rows in readers.values() for case in rows}
    found = measure([row for case, row in models.items() if case in read])
    return weighted_mrmc.usable({"models": found})[0]


def turned(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """The same differences the other way round."""
    return {r: Figure(-f.value, -f.left_out, f.cases, f.weight) for r, f in figures.items()}
