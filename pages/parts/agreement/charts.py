"""Charts of the Agreement page: plotly from result tables. Nothing here touches Streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from bmcore.analysis.tables import ARM_NAMES, Column, cell_text, cell_words, dot_worthy
from pages.parts.case.charts import legend, plain

if TYPE_CHECKING:
    from bmcore.analysis.tables import Line, ResultTable
    from bmcore.stats.estimate import Estimate

COLOURS = {
    "unaided": "#2b88b3",
    "aided": "#c0713a",
    "aided_explained": "#4f9a72",
    "models": "#8b7bb8",
}
GUIDE = "#8493a0"


def kappa_map(table: ResultTable, arm: str) -> go.Figure | None:
    """Reader by reader: Cohen's kappa as colour, kappa and n as text; None without a kappa."""
    lines = [line for line in table.lines if line.keys[0] == arm]
    readers = sorted({name for line in lines for name in line.keys[1:]})
    if len(readers) < 2:
        return None
    at = {name: n for n, name in enumerate(readers)}
    drawn = [escape(name) for name in readers]
    values: list[list[float | None]] = [[None] * len(at) for _ in at]
    texts = [[""] * len(at) for _ in at]
    for line in lines:
        i, j, found = at[line.keys[1]], at[line.keys[2]], line.cells[1]
        if found is None:
            continue
        texts[i][j] = texts[j][i] = cell_words(found).replace("\n", "<br>")
        if found.has_interval:
            values[i][j] = values[j][i] = found.value
    if all(value is None for row in values for value in row):
        return None
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=drawn,
            y=drawn,
            zmin=-1,
            zmax=1,
            colorscale=[[0, "#b3562b"], [0.5, "#f2f2ef"], [1, "#0f6480"]],
            colorbar={"title": "kappa", "thickness": 12},
            hoverinfo="skip",
        )
    )
    notes: list[dict[str, Any]] = []
    for i in at.values():
        for j in at.values():
            value = values[i][j]
            colour = "white" if value is not None and abs(value) > 0.6 else "#1f2933"
            if value is None:
                colour = GUIDE
            if i != j:
                told = {"x": drawn[j], "y": drawn[i], "text": texts[i][j], "showarrow": False}
                notes.append({**told, "font": {"color": colour}})
    figure.update_layout(annotations=notes)  # at once: one by one, each checks all before it
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category", autorange="reversed")
    return plain(figure, height=120 + 62 * max(3, len(readers)))


def calibration(table: ResultTable) -> go.Figure | None:
    """Share of right answers against stated confidence; on the dotted line they fit."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 100], y=[0, 100], mode="lines", line={"color": GUIDE, "dash": "dot"},
        name="perfect calibration", hoverinfo="skip",
    )  # fmt: skip
    drawn = False
    for arm in _arms(table.lines):
        pairs = [
            (line.cells[0].value, line.cells[1])
            for line in table.lines
            if line.keys[0] == arm and line.cells[0] is not None and line.cells[1] is not None
            and dot_worthy(line.cells)
        ]  # fmt: skip
        if pairs:
            drawn = True
            _dots(figure, [x for x, _ in pairs], [e for _, e in pairs], arm, table.columns[1])
    figure.update_xaxes(title="Stated confidence", range=[0, 102])
    figure.update_yaxes(title="Right answers, %", range=[-3, 106])
    return legend(plain(figure, height=400)) if drawn else None


def roc(table: ResultTable) -> go.Figure | None:
    """The table's ROC curves, each in its band; the models' own dashed."""
    if not table.curves:
        return None
    figure, dashes = go.Figure(), {"models": "dash"}
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GUIDE, "dash": "dot"},
        showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    for curve in table.curves:
        colour, name = COLOURS[curve.arm], ARM_NAMES[curve.arm]
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        figure.add_scatter(
            x=[*curve.x, *reversed(curve.x)], y=[*curve.high, *reversed(curve.low)],
            fill="toself", fillcolor=f"rgba({red},{green},{blue},0.16)", line={"width": 0},
            mode="lines", showlegend=False, hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=list(curve.x), y=list(curve.y), mode="lines", name=name,
            line={"color": colour, "width": 2, "dash": dashes.get(curve.arm, "solid")},
            customdata=list(zip(curve.low, curve.high, strict=True)),
            hovertemplate="sensitivity %{y:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f})"
            " at 1 - specificity %{x:.2f}<extra>" + name + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(title="1 - specificity", range=[0, 1], constrain="domain")
    figure.update_yaxes(title="Sensitivity", range=[0, 1.01], scaleanchor="x")
    return legend(plain(figure, height=440))


def along_the_list(table: ResultTable, column: int) -> go.Figure | None:
    """By quarter of the list: column 0 right answers, 1 median time."""
    figure = go.Figure()
    drawn = False
    for arm in _arms(table.lines):
        pairs = [
            (line.keys[1].replace(" quarter", ""), found)
            for line in table.lines
            if line.keys[0] == arm and (found := line.cells[column]) and found.has_interval
        ]
        if pairs:
            drawn = True
            _dots(figure, [x for x, _ in pairs], [e for _, e in pairs], arm, table.columns[column])
    unit = {"share": ", %", "seconds": ", s"}.get(table.columns[column].unit, "")
    order = ["First", "Second", "Third", "Last"]
    figure.update_xaxes(
        title="Quarter of the reader's list", categoryorder="array", categoryarray=order
    )
    figure.update_yaxes(title=f"{table.columns[column].name}{unit}", rangemode="tozero")
    return legend(plain(figure, height=360)) if drawn else None


def intervals(
    rows: Sequence[tuple[str, str, Estimate]], column: Column, guide: float | None = None
) -> go.Figure | None:
    """Dots with intervals, a row each: (name, arm or "", estimate); a dotted line at ``guide``."""
    shown = [(escape(name), arm, e) for name, arm, e in rows if e.has_interval]
    if not shown:
        return None
    figure = go.Figure()
    scale = column.scale
    for name, arm, e in shown:
        figure.add_scatter(
            x=[scale * e.value],
            y=[name],
            error_x=_bars([e], scale),
            mode="markers",
            marker={"color": COLOURS.get(arm, GUIDE), "size": 11},
            hovertemplate="%{y}<br>" + cell_text(column, e) + "<extra></extra>",
        )
    if guide is not None:
        figure.add_vline(x=guide, line={"color": GUIDE, "dash": "dot"})
    unit = {"share": "%", "points": "percentage points"}.get(column.unit, "")
    figure.update_xaxes(title=unit)
    figure.update_yaxes(
        autorange=False,
        range=[len(shown) - 0.4, -0.6],
        categoryorder="array",
        categoryarray=[name for name, _, _ in shown],
    )
    return plain(figure, height=90 + 34 * len(shown))


def rows_of(table: ResultTable, column: int, only: str = "") -> list[tuple[str, str, Estimate]]:
    """The lines of a table as rows of ``intervals``. only: their last label, which is left out."""
    chosen = [line for line in table.lines if not only or line.labels[-1] == only]
    return [
        (
            ", ".join(t for t in line.labels if t and t != only),
            line.keys[0] if line.keys else "",
            found,
        )
        for line in chosen
        if (found := line.cells[column]) is not None
    ]


def rows_of_first_line(table: ResultTable) -> list[tuple[str, str, Estimate]]:
    """The columns of the first line as rows of ``intervals``."""
    return [
        (f"{column.name}, {line.labels[1].lower()}", "", found)
        for line in table.lines[:1]
        for column, found in zip(table.columns, line.cells, strict=True)
        if found is not None
    ]


def _dots(
    figure: go.Figure, x: Sequence[Any], y: Sequence[Estimate], arm: str, column: Column
) -> None:
    scale = column.scale
    figure.add_scatter(
        x=list(x),
        y=[scale * e.value for e in y],
        error_y=_bars(y, scale),
        mode="lines+markers",
        name=ARM_NAMES[arm],
        line={"color": COLOURS[arm], "width": 2},
        marker={"size": 9},
        text=[cell_text(column, e) for e in y],
        hovertemplate="%{text}<extra>" + ARM_NAMES[arm] + "</extra>",
    )


def _bars(estimates: Sequence[Estimate], scale: float) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [scale * (e.high - e.value) for e in estimates],
        "arrayminus": [scale * (e.value - e.low) for e in estimates],
        "thickness": 1.5,
        "width": 4,
    }


def _arms(lines: Sequence[Line]) -> list[str]:
    used = {line.keys[0] for line in lines if line.keys}
    return [arm for arm in ARM_NAMES if arm in used]
