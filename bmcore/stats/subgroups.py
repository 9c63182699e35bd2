"""The same numbers for parts of the patients, with a least number of patients in each.

A subgroup below the minimum gets no number at all: a percentage of three patients misleads.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats.estimate import Estimate

Measure = Callable[[npt.NDArray[np.intp]], Mapping[str, Estimate]]


@dataclass(frozen=True)
class Subgroup:
    """``name`` of the group, ``n`` patients, the ``numbers`` by name; None: fewer than needed."""

    name: str
    n: int
    numbers: Mapping[str, Estimate] | None

    @property
    def words(self) -> str:
        """Empty, or why there is no number: ``too few (n = 3)``."""
        return f"too few (n = {self.n})" if self.numbers is None else ""


def subgroup_table(
    groups: Sequence[str],
    names: Sequence[str],
    measure: Measure,
    minimum: int = 20,
) -> tuple[Subgroup, ...]:
    """One row for each of ``names`` (a group that nobody belongs to has n = 0), in that order.

    groups: (n,) the group of each patient; a patient of a group outside ``names`` is refused, so
    that nobody is lost. measure: from the indices (m,) of a group's patients to its numbers; it is
    called only for groups of ``minimum`` patients or more. ValueError for an unknown group.
    """
    if minimum < 2:
        raise ValueError(f"minimum must be 2 or more, but is {minimum}")
    unknown = sorted(set(groups) - set(names))
    if unknown:
        raise ValueError(f"groups without a row: {', '.join(unknown)}")
    of = np.asarray(groups, dtype=object)
    rows = []
    for name in names:
        at = np.flatnonzero(of == name)
        rows.append(Subgroup(name, len(at), measure(at) if len(at) >= minimum else None))
    return tuple(rows)


def band(value: float | None, edges: Sequence[float], unit: str = "") -> str:
    """The words of the band that ``value`` lies in: "under 50", "50 to under 65", "65 or more", or
    "not known" for None; edges rise. ``unit`` is put behind, for instance " mm"."""
    if value is None or np.isnan(value):
        return "not known"
    return bands(edges, unit)[int(np.searchsorted(edges, value, side="right"))]


def bands(edges: Sequence[float], unit: str = "") -> tuple[str, ...]:
    """The words of all bands between ``edges``, lowest first ("not known" is not among them)."""
    text = [f"{e:g}" for e in edges]
    inner = [f"{a} to under {b}{unit}" for a, b in itertools.pairwise(text)]
    return (f"under {text[0]}{unit}", *inner, f"{text[-1]}{unit} or more")


def count_band(n: int, edges: Sequence[int]) -> str:
    """The words of the band of a whole number from 1: "1", "2 to 4", "5 to 9", "10 or more"."""
    return count_bands(edges)[int(np.searchsorted(edges, n, side="right"))]


def count_bands(edges: Sequence[int]) -> tuple[str, ...]:
    """The words of all bands that start at 1 and at each of ``edges``, lowest first."""
    starts = [1, *edges]
    inner = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in itertools.pairwise(starts)]
    return (*inner, f"{starts[-1]} or more")
