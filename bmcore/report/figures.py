"""The figures, by matplotlib without a screen and without global state."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bmcore.report.words import SHORT
from bmcore.review.votes import PRIMARY_CHOICES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bmcore.report.agreement import PhaseAgreement
    from bmcore.report.dossier import CaseRow

INK, ACCENT, SECOND = "#1f2933", "#1f6f8b", "#e08e45"
_MANY_CASES = 30
_MANY_READERS = 12


def votes_per_case(cases: Sequence[CaseRow]) -> Figure:
    """Bars by case up to 30 cases, else a histogram of the number of votes."""
    counts = np.array(
        [
            [sum(p == phase for _, p, _ in c.readers) for phase in ("unaided", "aided")]
            for c in cases
        ]
    )
    figure, axes = _canvas(7.0, 3.0)
    if len(cases) > _MANY_CASES:
        top = int(counts.max(initial=0)) + 1
        bins = [edge - 0.5 for edge in range(top + 1)]
        axes.hist(
            [counts[:, 0], counts[:, 1]],
            bins=bins,
            label=["unaided", "aided"],
            color=[ACCENT, SECOND],
        )
        axes.set(xlabel="Votes in force on a case", ylabel="Cases")
        axes.set_xticks(range(top))
    else:
        at = np.arange(len(cases))
        axes.bar(at, counts[:, 0], 0.6, label="unaided", color=ACCENT)
        axes.bar(at, counts[:, 1], 0.6, bottom=counts[:, 0], label="aided", color=SECOND)
        _names(axes, "x", [c.case_id for c in cases], rotation=90 if len(cases) > 4 else 0)
        axes.set_ylabel("Votes in force")
        axes.set_xlim(-0.6, max(len(cases) - 0.4, 7))
    _whole_numbers(axes)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def heat_map(phase: PhaseAgreement) -> Figure:
    """Reader by reader: kappa as colour, kappa and number of cases as text."""
    readers = phase.readers
    values = np.full((len(readers), len(readers)), np.nan)
    cases = np.zeros_like(values)
    for pair in phase.pairs:
        i, j = readers.index(pair.a), readers.index(pair.b)
        values[i, j] = values[j, i] = pair.kappa.value
        cases[i, j] = cases[j, i] = pair.n
    edge = min(6.5, 1.9 + 0.62 * len(readers))
    figure, axes = _canvas(edge + 1.2, edge)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=-0.2, vmax=1)
    axes.set_facecolor("#e4e7eb")
    _names(axes, "x", readers, rotation=90 if max(map(len, readers)) > 6 else 0)
    _names(axes, "y", readers)
    if len(readers) <= _MANY_READERS:
        for i, j in np.ndindex(values.shape):
            _cell(axes, i, j, float(values[i, j]), int(cases[i, j]))
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("Cohen's kappa", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(f"Agreement between readers, {phase.phase}", fontsize=9, loc="left")
    return figure


def confusion(table: Sequence[Sequence[int]], phase: str) -> Figure:
    """The model's fused answer by the readers' answers, as counts of votes."""
    counts = np.asarray(table)
    figure, axes = _canvas(6.6, 3.6)
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(1, counts.max()), aspect="auto")
    _names(axes, "x", [SHORT[c] for c in PRIMARY_CHOICES], rotation=30)
    _names(axes, "y", [SHORT[c] for c in PRIMARY_CHOICES[: len(counts)]])
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
    axes.set_ylabel("Model, fused answer", fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(f"Votes, {phase}", fontsize=9, loc="left")
    return figure


def quality(counts: Sequence[int]) -> Figure:
    """Bars of the number of ratings by grade 1-5."""
    figure, axes = _canvas(4.4, 2.2)
    bars = axes.bar(range(1, 6), counts, 0.65, color=ACCENT)
    axes.bar_label(bars, fontsize=8, padding=1)
    axes.set(xlabel="Grade, 5 is best", ylabel="Ratings")
    _whole_numbers(axes)
    axes.margins(y=0.15)
    return figure


def as_png(figure: Figure, dpi: int = 200) -> bytes:
    return _saved(figure, "png", dpi)


def as_svg(figure: Figure) -> bytes:
    """Letters become outlines, so that the drawing looks the same everywhere."""
    return _saved(figure, "svg", 100)


def _saved(figure: Figure, kind: str, dpi: int) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    figure.set_layout_engine("none")  # the places found now hold for the next format
    return buffer.getvalue()


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    return figure, axes


def _names(axes: Axes, which: str, names: Sequence[str], rotation: int = 0) -> None:
    """Names as typed: no ``$`` becomes a formula; long ones are cut in the figure only."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(range(len(names)))
    short = [n if len(n) <= 24 else f"{n[:22]}\u2026" for n in names]
    labels = axis.set_ticklabels(short, fontsize=7, rotation=rotation)
    if rotation == 30:
        for label in labels:
            label.set(ha="right", rotation_mode="anchor")
    for label in labels:
        label.set_parse_math(False)


def _cell(axes: Axes, row: int, column: int, value: float, cases: int) -> None:
    if row == column:
        return
    text = (
        f"{value:z.2f}\nn = {cases}"
        if not np.isnan(value)
        else f"{'not defined' if cases else 'no case'}"
    )
    light = np.isnan(value) or value > 0.55
    axes.text(
        column, row, text, ha="center", va="center", fontsize=6.5, color=INK if light else "w"
    )


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
