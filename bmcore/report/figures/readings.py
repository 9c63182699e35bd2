"""Figures of readings: how many a case, readers by models, grades of the segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bmcore.analysis.tables import ARM_NAMES
from bmcore.report.figures.style import ACCENT, COLOURS, INK, canvas, tick_names
from bmcore.report.words import SHORT
from bmcore.review.votes import PRIMARY_CHOICES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bmcore.report.dossier import CaseRow


_MANY_CASES = 30


def readings_per_case(cases: Sequence[CaseRow], arms: Sequence[str]) -> Figure:
    """Bars by case up to 30 cases, else a histogram of the number of readings; a colour an arm."""
    counts = np.array([[sum(p == arm for _, p, _ in c.readers) for arm in arms] for c in cases])
    figure, axes = canvas(7.0, 3.0)
    names = [ARM_NAMES[arm] for arm in arms]
    colours = COLOURS[: len(arms)]
    if len(cases) > _MANY_CASES:
        top = int(counts.max(initial=0)) + 1
        bins = [edge - 0.5 for edge in range(top + 1)]
        axes.hist(list(counts.T), bins=bins, label=names, color=colours)
        axes.set(xlabel="Readings of a case", ylabel="Cases")
        axes.set_xticks(range(top))
    else:
        at = np.arange(len(cases))
        below = np.zeros(len(cases))
        for column, (name, colour) in enumerate(zip(names, colours, strict=True)):
            axes.bar(at, counts[:, column], 0.6, bottom=below, label=name, color=colour)
            below += counts[:, column]
        tick_names(axes, "x", [c.case_id for c in cases], rotation=90 if len(cases) > 4 else 0)
        axes.set_ylabel("Readings")
        axes.set_xlim(-0.6, max(len(cases) - 0.4, 7))
    _whole_numbers(axes)
    _legend(axes)
    return figure


def confusion(table: Sequence[Sequence[int]], phase: str) -> Figure:
    """The model's fused answer by the readers' answers, as counts of votes."""
    counts = np.asarray(table)
    figure, axes = canvas(6.6, 3.6)
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(1, counts.max()), aspect="auto")
    tick_names(axes, "x", [SHORT[c] for c in PRIMARY_CHOICES], rotation=30)
    tick_names(axes, "y", [SHORT[c] for c in PRIMARY_CHOICES[: len(counts)]])
    for i, j in np.ndindex(counts.shape):
        if counts[i, j]:
            dark = counts[i, j] > 0.6 * counts.max()
            axes.text(
                j,
                i,
                str(counts[i, j]),
                ha="center",
                va="center",
                fontsize=8,
                color="w" if dark else INK,
            )
    axes.set_xlabel("Reader", fontsize=8)
    axes.set_ylabel("Models, fused answer", fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(f"Readings, {ARM_NAMES[phase].lower()}", fontsize=9, loc="left")
    return figure


def quality(counts: Sequence[int]) -> Figure:
    """Bars of the number of ratings by grade 1-5."""
    figure, axes = canvas(4.4, 2.2)
    bars = axes.bar(range(1, 6), counts, 0.65, color=ACCENT)
    axes.bar_label(bars, fontsize=8, padding=1)
    axes.set(xlabel="Grade, 5 is best", ylabel="Ratings")
    _whole_numbers(axes)
    axes.margins(y=0.15)
    return figure


def _legend(axes: Axes) -> None:
    """Above the axes on the right."""
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
