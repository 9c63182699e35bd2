"""Figures drawn from result tables: the same numbers as the tables beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bmcore.analysis.tables import (
    ARM_NAMES,
    Drawing,
    ResultTable,
    cell_words,
    dot_worthy,
    has_interval,
)
from bmcore.report.figures.style import COLOURS, INK, LINE, QUIET, canvas, tick_names
from bmcore.stats.estimate import Estimate
from bmcore.stats.readings import MODELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bmcore.report.failures import Failure

_MANY_READERS = 12


def figures_of(table: ResultTable, drawing: Drawing) -> list[tuple[str, Figure]]:
    """(what it shows in words, figure) of a drawing; none where the numbers are all missing."""
    made: list[tuple[str, Figure | None]]
    if drawing.kind == "kappa_map":
        made = [
            (f"Kappa of each two readers, {ARM_NAMES[arm].lower()}, as a heat map", figure)
            for arm in dict.fromkeys(line.keys[0] for line in table.lines)
            for figure in [kappa_map(table, arm)]
        ]
    elif drawing.kind == "calibration":
        made = [(drawing.words, calibration(table))]
    elif drawing.kind == "roc":
        made = [(drawing.words, roc(table))]
    elif drawing.kind == "along_the_list":
        made = [(drawing.words, along_the_list(table, drawing.column))]
    elif drawing.kind == "intervals" and not drawing.only:
        made = [(drawing.words, intervals(table, drawing.column, drawing.guide))]
    else:
        raise ValueError(f"the report has no figure for {drawing}")
    return [(words, figure) for words, figure in made if figure is not None]


def kappa_map(table: ResultTable, arm: str) -> Figure | None:
    """The table "pairs" as reader by reader: kappa as colour, kappa and n as text; None without."""
    lines = [x for x in table.lines if x.keys[0] == arm]
    readers = sorted({name for x in lines for name in x.keys[1:]})
    if len(readers) < 2:
        return None
    values = np.full((len(readers), len(readers)), np.nan)
    texts = [[""] * len(readers) for _ in readers]
    for line in lines:
        i, j = (readers.index(name) for name in line.keys[1:])
        found = line.cells[1]
        assert found is not None
        if found.has_interval:
            values[i, j] = values[j, i] = found.value
        texts[i][j] = texts[j][i] = cell_words(found)
    if np.isnan(values).all():
        return None
    edge = min(6.5, 1.9 + 0.62 * len(readers))
    figure, axes = canvas(edge + 1.2, edge)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=-0.2, vmax=1)
    axes.set_facecolor("#e4e7eb")
    tick_names(axes, "x", readers, rotation=90 if max(map(len, readers)) > 6 else 0)
    tick_names(axes, "y", readers)
    if len(readers) <= _MANY_READERS:
        for i, j in np.ndindex(values.shape):
            light = np.isnan(values[i, j]) or values[i, j] > 0.55
            colour = INK if light else "w"
            axes.text(j, i, texts[i][j], ha="center", va="center", fontsize=6.5, color=colour)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("Cohen's kappa", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(f"Agreement between readers, {ARM_NAMES[arm].lower()}", fontsize=9, loc="left")
    return figure


def calibration(table: ResultTable) -> Figure | None:
    """Share of right answers against stated confidence, with intervals."""
    figure, axes = canvas(4.6, 3.6)
    axes.plot([0, 100], [0, 100], ":", color=QUIET, linewidth=1, label="perfect calibration")
    drawn = False
    for arm, colour in zip(_arms(table), COLOURS, strict=False):
        lines = [x for x in table.lines if x.keys[0] == arm and dot_worthy(x.cells)]
        if lines:
            x = [line.cells[0].value for line in lines if line.cells[0] is not None]
            y = [line.cells[1] for line in lines if line.cells[1] is not None]
            _with_bars(axes, x, y, colour, ARM_NAMES[arm], 100)
            drawn = True
    axes.set(xlabel="Stated confidence", ylabel="Right answers, %", xlim=(0, 100), ylim=(0, 103))
    _legend_above(axes)
    return figure if drawn else None


def roc(table: ResultTable) -> Figure | None:
    """The table's ROC curves with their bands; the models' own dashed."""
    if not table.curves:
        return None
    figure, axes = canvas(4.2, 3.9)
    axes.plot([0, 1], [0, 1], ":", color=QUIET, linewidth=1)
    colours = dict(zip((a for a in ARM_NAMES if a != MODELS), COLOURS, strict=False))
    for curve in table.curves:
        colour, style = colours.get(curve.arm, INK), "--" if curve.arm == MODELS else "-"
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.14, linewidth=0)
        axes.plot(curve.x, curve.y, style, color=colour, linewidth=1.5, label=ARM_NAMES[curve.arm])
    axes.set(xlabel="1 - specificity", ylabel="Sensitivity", xlim=(0, 1), ylim=(0, 1.01))
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=7, loc="lower right")
    return figure


def along_the_list(table: ResultTable, column: int) -> Figure | None:
    """The table "learning" by quarter: column 0 right answers, 1 median time."""
    scale = table.columns[column].scale
    figure, axes = canvas(4.6, 3.2)
    names = list(dict.fromkeys(x.keys[1] for x in table.lines))
    drawn = False
    arms = _arms(table)
    for number, (arm, colour) in enumerate(zip(arms, COLOURS, strict=False)):
        lines = [x for x in table.lines if x.keys[0] == arm and has_interval(x.cells[column])]
        if lines:
            shift = 0.12 * (number - (len(arms) - 1) / 2)
            x = [names.index(line.keys[1]) + shift for line in lines]
            y = [line.cells[column] for line in lines]
            _with_bars(axes, x, [e for e in y if e is not None], colour, ARM_NAMES[arm], scale)
            drawn = True
    tick_names(axes, "x", [n.replace(" quarter", "") for n in names])
    axes.set_ylim(bottom=0)
    axes.set(xlabel="Quarter of the reader's list", ylabel=_column_title(table, column))
    _legend_above(axes)
    return figure if drawn else None


def intervals(table: ResultTable, column: int, guide: float | None = None) -> Figure | None:
    """One column of a table as dots with intervals, a row a line of the table."""
    lines = [x for x in table.lines if has_interval(x.cells[column])]
    if not lines:
        return None
    figure, axes = canvas(6.4, 0.8 + 0.27 * len(lines))
    arms, scale = _arms(table), table.columns[column].scale
    for row, line in enumerate(lines):
        found = line.cells[column]
        assert found is not None
        arm = line.keys[0] if line.keys else ""
        colour = COLOURS[arms.index(arm) % 3] if arm in arms else QUIET
        gaps = [[scale * (found.value - found.low)], [scale * (found.high - found.value)]]
        axes.errorbar(
            scale * found.value, row, xerr=gaps, fmt="o", color=colour, markersize=5, capsize=2
        )
    if guide is not None:
        axes.axvline(guide, color=QUIET, linestyle=":", linewidth=1)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    tick_names(axes, "y", [", ".join(t for t in x.labels if t) for x in lines], limit=80)
    axes.grid(axis="x", color=LINE, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_title(_column_title(table, column), fontsize=9, loc="left")
    return figure


def flow(steps: Sequence[tuple[str, str]]) -> Figure:
    """Boxes from top to bottom with arrows: (what goes on, what is left out here or "")."""
    figure, axes = canvas(7.0, 0.25 + 0.82 * len(steps))
    axes.axis("off")
    axes.set(xlim=(0, 10), ylim=(-0.5, len(steps) - 0.5))
    box = {"boxstyle": "round,pad=0.45", "facecolor": "#f5f7fa", "edgecolor": INK, "linewidth": 0.8}
    side = {**box, "edgecolor": QUIET, "facecolor": "white"}
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.8}
    for number, (text, left_out) in enumerate(steps):
        y = len(steps) - 1 - number
        axes.text(
            2.6,
            y,
            text,
            ha="center",
            va="center",
            fontsize=7.5,
            color=INK,
            bbox=box,
            parse_math=False,
        )
        if number + 1 < len(steps):
            axes.annotate("", (2.6, y - 0.67), (2.6, y - 0.32), arrowprops=arrow)
        if left_out:
            axes.annotate("", (5.9, y - 0.5), (2.6, y - 0.5), arrowprops={**arrow, "color": QUIET})
            axes.text(
                6.0,
                y - 0.5,
                left_out,
                ha="left",
                va="center",
                fontsize=7,
                color=INK,
                bbox=side,
                parse_math=False,
            )
    return figure


def failure(case: Failure) -> Figure:
    """The slices of one failure case side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 2.3), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, picture) in enumerate(case.panels, start=1):
        axes = figure.add_subplot(1, max(3, len(case.panels)), number)
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.axis("off")
    return figure


def _arms(table: ResultTable) -> list[str]:
    used = {x.keys[0] for x in table.lines if x.keys}
    return [arm for arm in ARM_NAMES if arm in used]


def _with_bars(
    axes: Axes, x: list[float], y: list[Estimate], colour: str, name: str, scale: float
) -> None:
    middle = [scale * e.value for e in y]
    gaps = [[scale * (e.value - e.low) for e in y], [scale * (e.high - e.value) for e in y]]
    axes.errorbar(
        x,
        middle,
        yerr=gaps,
        fmt="o-",
        color=colour,
        markersize=4.5,
        capsize=2,
        linewidth=1.2,
        label=name,
    )


def _column_title(table: ResultTable, column: int) -> str:
    chosen = table.columns[column]
    unit = {"share": ", %", "points": ", percentage points", "seconds": ", s"}.get(chosen.unit, "")
    return f"{chosen.name}{unit}"


def _legend_above(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=7, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
