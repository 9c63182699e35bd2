"""How the figures look: colours, canvas, names at the axes; and a figure as PNG or SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK, ACCENT, SECOND, THIRD = "#1f2933", "#1f6f8b", "#e08e45", "#4f9a72"
QUIET, LINE = "#52606d", "#cbd2d9"
COLOURS = (ACCENT, SECOND, THIRD)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of that size in inches, and its axes."""
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


def tick_names(
    axes: Axes, which: str, names: Sequence[str], rotation: int = 0, limit: int = 24
) -> None:
    """Names as typed: no ``$`` becomes a formula; long ones are cut in the figure only."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(range(len(names)))
    short = [n if len(n) <= limit else f"{n[: limit - 2]}\u2026" for n in names]
    labels = axis.set_ticklabels(short, fontsize=7, rotation=rotation)
    if rotation == 30:
        for label in labels:
            label.set(ha="right", rotation_mode="anchor")
    for label in labels:
        label.set_parse_math(False)


def as_png(figure: Figure, dpi: int = 200) -> bytes:
    """The figure as the bytes of a PNG file."""
    return _saved(figure, "png", dpi)


def as_svg(figure: Figure) -> bytes:
    """Letters become outlines, so that the drawing looks the same everywhere."""
    return _saved(figure, "svg", 100)


def _saved(figure: Figure, kind: str, dpi: int) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "bmcore"}):  # else names in the file are random
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    figure.set_layout_engine("none")  # the places found now hold for the next format
    return buffer.getvalue()
