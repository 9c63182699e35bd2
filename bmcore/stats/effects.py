"""Period, carry-over, subgroups and learning: effects beside that of the arm, by a mixed model.

One row a reading, any design; random effects of reader, case and reader by case (``mixed``). In a
crossover of two arms and two periods the effect of the order stands for carry-over, and cannot be
told from an interaction of arm and period (Senn 2002, Cross-over Trials in Clinical Research,
chapter 3); where it is large, only the first period compares like with like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats as _scipy

from bmcore.stats import mixed
from bmcore.stats.comparison import Comparison, no_comparison

STEP = 10


@dataclass(frozen=True, eq=False)
class Rows:
    """Readings side by side, (n,) each: ``outcome`` (NaN is left out), ``reader``, ``case``,
    ``second``: True in the new arm. ValueError on lengths that differ."""

    outcome: npt.NDArray[np.float64]
    reader: Sequence[str]
    case: Sequence[str]
    second: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcome", np.asarray(self.outcome, dtype=float))
        object.__setattr__(self, "second", np.asarray(self.second, dtype=bool))
        lengths = {len(self.outcome), len(self.reader), len(self.case), len(self.second)}
        if len(lengths) != 1:
            raise ValueError(f"every part of the rows must be alike in length, but: {lengths}")

    def known(self, *others: npt.ArrayLike) -> tuple[Rows, list[npt.NDArray[Any]]]:
        """The rows with an outcome, and the same rows of ``others``."""
        keep = np.flatnonzero(np.isfinite(self.outcome)).tolist()
        own = Rows(
            self.outcome[keep],
            [self.reader[i] for i in keep],
            [self.case[i] for i in keep],
            self.second[keep],
        )
        return own, [np.asarray(o)[keep] for o in others]


@dataclass(frozen=True)
class Crossover:
    """The effect of the ``arm`` with period and order held alike; ``period``: second less first;
    ``carry_over``: effect of having begun with the new arm."""

    arm: Comparison
    period: Comparison
    carry_over: Comparison


@dataclass(frozen=True)
class Interaction:
    """``by_group``: the arm's effect in each group; ``against_first``: how much it exceeds that of
    the first group; ``p``: none differs (Wald's test, F with the smallest degrees of freedom)."""

    by_group: dict[str, Comparison]
    against_first: dict[str, Comparison]
    p: float


@dataclass(frozen=True)
class Learning:
    """Change of the outcome over ten places on the list, in the control arm and in the new arm,
    and how much the two differ."""

    control: Comparison
    new: Comparison
    difference: Comparison


def crossover(
    rows: Rows, period: npt.ArrayLike, began_with_new: npt.ArrayLike, level: float = 0.95
) -> Crossover:
    """Arm, period (1 or 2) and order effects. began_with_new: bool (n,), whether this reader read
    this case first in the new arm. Not defined where rows hold one period or one order only."""
    own, (when, order) = rows.known(np.asarray(period), np.asarray(began_with_new, dtype=bool))
    columns = {
        "arm": own.second.astype(float),
        "period": (when == 2).astype(float),
        "carry-over": order.astype(float),
    }
    why = _lacking(own, columns)
    if why:
        none = no_comparison(len(set(own.case)), f"crossover; not defined: {why}")
        return Crossover(none, none, none)
    found = _fit(own, columns, level)
    return Crossover(found["arm"], found["period"], found["carry-over"])


def interaction(rows: Rows, groups: Sequence[str], level: float = 0.95) -> Interaction:
    """Does the arm's effect differ between groups of cases or readers? groups: (n,) a name a row.

    Exploratory unless planned. Not defined with a single group, or one that lacks an arm.
    """
    own, (group,) = rows.known(np.asarray(groups, dtype=object))
    names = tuple(dict.fromkeys(sorted(str(g) for g in group)))
    inside = {g: (group == g).astype(float) for g in names}
    second = own.second.astype(float)
    n = len(set(own.case))
    lacking = [g for g in names if len(set(second[inside[g] > 0])) < 2]
    if len(names) < 2 or lacking:
        what = f"{', '.join(lacking)} was not read in both arms" if lacking else "a single group"
        none = no_comparison(n, f"interaction; not defined: {what}")
        return Interaction(dict.fromkeys(names, none), dict.fromkeys(names[1:], none), np.nan)
    main = {f"group {g}": inside[g] for g in names[1:]}
    apart = {f"arm in {g}": second * inside[g] for g in names}
    each = _fit(own, main | apart, level)
    crossed = {f"arm by {g}": second * inside[g] for g in names[1:]}
    fitted = mixed.fit(
        own.outcome, {"arm": second, **main, **crossed}, _random(own), level, "interaction"
    )
    keys = list(crossed)
    effects = [fitted.effects[k] for k in keys]
    at = [list(fitted.effects).index(k) for k in keys]
    values = np.array([e.difference.value for e in effects])
    wald = float(values @ np.linalg.solve(fitted.covariance[np.ix_(at, at)], values)) / len(at)
    p = float(_scipy.f.sf(wald, len(at), min(e.df for e in effects)))
    return Interaction(
        {g: each[f"arm in {g}"] for g in names},
        {g: _over_cases(fitted.effects[f"arm by {g}"], n) for g in names[1:]},
        p,
    )


def learning(rows: Rows, place: npt.ArrayLike, level: float = 0.95) -> Learning:
    """Change of the outcome along the list; place: (n,) number of the reading on it, from 1.

    With the logarithm of a time, exp(change) is the factor over ten readings.
    """
    own, (where,) = rows.known(np.asarray(place, dtype=float))
    at, second = (where - where.mean()) / STEP if len(where) else where, own.second.astype(float)
    columns = {"arm": second, "control": at * (1 - second), "new": at * second}
    n = len(set(own.case))
    if len(own.outcome) < 6 or len(set(where.tolist())) < 3 or len(set(second)) < 2:
        none = no_comparison(n, "learning; not defined: three places in two arms are needed")
        return Learning(none, none, none)
    apart = _fit(own, columns, level)
    change = _fit(own, {"arm": second, "place": at, "difference": at * second}, level)
    return Learning(apart["control"], apart["new"], change["difference"])


def _fit(own: Rows, columns: Mapping[str, npt.ArrayLike], level: float) -> dict[str, Comparison]:
    found = mixed.fit(own.outcome, columns, _random(own), level)
    n = len(set(own.case))
    return {name: _over_cases(one, n) for name, one in found.effects.items()}


def _over_cases(one: Comparison, n: int) -> Comparison:
    """The same with n as the number of cases, not of readings."""
    return replace(one, difference=replace(one.difference, n=n))


def _random(own: Rows) -> dict[str, Sequence[object]]:
    """The random effects that these rows can show."""
    both = list(zip(own.reader, own.case, strict=True))
    offered: dict[str, Sequence[object]] = {
        "reader": own.reader, "case": own.case, "reader by case": both
    }  # fmt: skip
    shown = {k: v for k, v in offered.items() if 1 < len(set(v)) < len(v)}
    return shown


def _lacking(own: Rows, columns: Mapping[str, npt.NDArray[np.float64]]) -> str:
    for name, column in columns.items():
        if len(set(column.tolist())) < 2:
            return f"every row has the same {name}"
    table = np.column_stack([np.ones(len(own.outcome)), *columns.values()])
    if np.linalg.matrix_rank(table) < table.shape[1]:
        return "arm, period and order cannot be told apart"
    return ""
