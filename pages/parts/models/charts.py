"""Charts of the model card: plotly figures from its plain numbers. Nothing here touches Streamlit.

An estimate is {"value", "low", "high", "n", "method"}; None where it is not defined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bmcore.stats.estimate import per_cent
from pages.parts.case.charts import legend, plain
from pages.parts.models.metrics import table_cell

COLOURS: Mapping[str, str] = {
    "trivial": "#8493a0",
    "clinical": "#c0713a",
    "image": "#4f9a72",
    "fused": "#2b88b3",
}
GUIDE = "#8493a0"
LINES: Mapping[str, str] = {"peak": "#2b88b3", "mean": "#c0713a", "peak_from_5_mm": "#4f9a72"}
# What a learning curve learns from, up to the comma: one colour in both themes.
LEARNT: Mapping[str, str] = {
    "CNN scores alone": "#9a6fb8",
    "measured features alone": "#b0902c",
    "trees' scores alone": GUIDE,
    "Image only": COLOURS["image"],
    "Clinical only": COLOURS["clinical"],
    "Fused": COLOURS["fused"],
}
Estimate = Mapping[str, Any]


def intervals(
    panels: Sequence[tuple[str, Sequence[Estimate | None]]],
    names: Sequence[str],
    colours: Sequence[str],
    guides: Mapping[int, float] | None = None,
) -> go.Figure:
    """One panel a measure, one row a model: the value as a dot, its 95 % interval as a line.

    panels: (title, estimates in the order of ``names``). guides: panel number -> dotted line.
    """
    figure = make_subplots(
        rows=1,
        cols=len(panels),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[title for title, _ in panels],
    )
    for column, (_, found) in enumerate(panels, start=1):
        for name, colour, estimate in zip(names, colours, found, strict=True):
            if estimate is None or estimate["value"] is None:
                continue
            figure.add_scatter(
                x=[estimate["value"]],
                y=[name],
                error_x=_bars([estimate]),
                mode="markers+text",
                text=[f"{estimate['value']:.2f}"],
                textposition="top center",
                marker={"color": colour, "size": 11},
                hovertemplate="%{y}: " + _words(estimate) + "<extra></extra>",
                row=1,
                col=column,
            )
        if guides and column - 1 in guides:
            figure.add_vline(
                x=guides[column - 1], line={"color": GUIDE, "dash": "dot"}, row=1, col=column
            )
    figure.update_yaxes(
        autorange=False,
        range=[len(names) - 0.4, -0.75],
        categoryorder="array",
        categoryarray=list(names),
        automargin=True,
    )
    figure.update_xaxes(nticks=5)
    return _calm(figure, height=110 + 46 * len(names), top=40)


def reliability(bins: Sequence[Mapping[str, Any]], colour: str) -> go.Figure:
    """Share that was right against what the model said, by bins of the highest probability."""
    used = [b for b in bins if b["n"]]
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GUIDE, "dash": "dot"}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=[b["confidence"] for b in used],
        y=[b["accuracy"]["value"] for b in used],
        error_y=_bars([b["accuracy"] for b in used]),
        mode="lines+markers+text",
        text=[f"n = {b['n']}" for b in used],
        textposition="bottom right",
        marker={"color": colour, "size": 10},
        line={"color": colour, "width": 2},
        hovertemplate="stated %{x:.0%}, right %{y:.0%}<extra></extra>",
    )
    figure.update_xaxes(title="Stated by the model", range=[0, 1.02], tickformat=".0%")
    figure.update_yaxes(title="Actually right", range=[-0.04, 1.04], tickformat=".0%")
    return _calm(figure, height=380)


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> go.Figure:
    """Truth down, answer across; the colour is the share of the row, the text the count."""
    totals = [sum(row) or 1 for row in counts]
    figure = go.Figure(
        go.Heatmap(
            z=[[n / t for n in row] for row, t in zip(counts, totals, strict=True)],
            x=list(names),
            y=[f"{name} ({sum(row):.0f})" for name, row in zip(names, counts, strict=True)],
            zmin=0,
            zmax=1,
            colorscale=[[0, "rgba(43,136,179,0.05)"], [1, "rgba(43,136,179,1)"]],
            text=[[f"{n:.0f}" if n else "" for n in row] for row in counts],
            texttemplate="%{text}",
            textfont={"size": 15},
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="truth %{y}, answer %{x}: %{text} (%{z:.0%})<extra></extra>",
        )
    )
    figure.update_yaxes(title="Truth (patients)", autorange="reversed", automargin=True)
    figure.update_xaxes(title="Answer", side="top", automargin=True, tickangle=-30)
    return _calm(figure, height=420, top=20)


def decision(
    thresholds: Sequence[float],
    curves: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
    shaded: str,
) -> go.Figure:
    """Net benefit by threshold: each answer, acting on all, acting on nobody; one is shaded."""
    figure = go.Figure()
    band = curves[shaded]
    figure.add_scatter(
        x=[*thresholds, *reversed(thresholds)],
        y=[*_ends(band, "high"), *reversed(_ends(band, "low"))],
        fill="toself",
        fillcolor="rgba(43,136,179,0.16)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )
    for kind, curve in curves.items():
        figure.add_scatter(
            x=list(thresholds),
            y=curve["model_value"],
            name=names[kind],
            mode="lines",
            line={"color": COLOURS[kind], "width": 3 if kind == shaded else 2},
        )
    figure.add_scatter(
        x=list(thresholds),
        y=band["treat_all"],
        name="Act on all",
        mode="lines",
        line={"color": GUIDE, "dash": "dash"},
    )
    figure.add_hline(y=0, line={"color": GUIDE, "dash": "dot"})
    top = max(v for c in curves.values() for v in [*_ends(c, "high"), c["treat_all"][0]])
    figure.update_xaxes(title="Probability from which one would act", tickformat=".0%")
    figure.update_yaxes(title="Net benefit", range=[-0.35 * top - 0.01, top * 1.1 + 0.01])
    return legend(_calm(figure, height=380))


def _ends(curve: Mapping[str, Any], end: str) -> list[float]:
    """The ends of the intervals; the value itself where there is no interval."""
    pairs = zip(curve[f"model_{end}"], curve["model_value"], strict=True)
    return [value if at is None else at for at, value in pairs]


def detection(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> go.Figure:
    """Share of lesions found, by size, with its interval; the number of lesions below each bar."""
    shares = [r["sensitivity"]["value"] for r in rows]
    figure = go.Figure(
        go.Bar(
            x=[f"{n}<br>{r['lesions']} lesions" for n, r in zip(names, rows, strict=True)],
            y=[s or 0 for s in shares],
            error_y=_bars([r["sensitivity"] for r in rows]),
            marker_color=COLOURS["fused"],
            text=["none to find" if s is None else f"{per_cent(s)}%" for s in shares],
            textposition="inside",
            insidetextanchor="start",
            textfont={"color": "white", "size": 14},
            hovertemplate="%{x}: %{y:.0%}<extra></extra>",
        )
    )
    for place, share in enumerate(shares):
        if share is None:
            figure.add_annotation(x=place, y=0.06, text="none", showarrow=False)
    figure.update_yaxes(title="Lesions found", range=[0, 1.05], tickformat=".0%")
    return _calm(figure, height=360)


def froc(curves: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> go.Figure:
    """Share of lesions found against false lesions a case; dots with intervals at fixed rates."""
    figure = go.Figure()
    for key, curve in curves.items():
        colour = LINES.get(key, GUIDE)
        end = curve["false_per_case"][-1] if curve["false_per_case"] else 0
        reach = max(4.2, end)
        figure.add_scatter(
            x=[*curve["false_per_case"], reach],
            y=[*curve["sensitivity"], *curve["sensitivity"][-1:]],
            name=names.get(key, key),
            mode="lines",
            line={"color": colour, "width": 2, "shape": "hv"},
            hovertemplate="%{x:.2f} false per case: %{y:.0%}<extra></extra>",
        )
        shown = [row for row in curve["at"] if row["sensitivity"]["value"] is not None]
        if key != "peak":
            continue
        figure.add_scatter(
            x=[row["false_per_case"] for row in shown],
            y=[row["sensitivity"]["value"] for row in shown],
            error_y=_bars([row["sensitivity"] for row in shown]),
            mode="markers",
            marker={"color": colour, "size": 9},
            showlegend=False,
            hoverinfo="skip",
        )
    figure.update_xaxes(title="False lesions per case", range=[0, 4.2])
    figure.update_yaxes(title="Lesions found", range=[0, 1.05], tickformat=".0%")
    return legend(_calm(figure, height=380))


def _bars(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Error bars; an estimate without an interval has none."""

    def gap(estimate: Estimate, end: str) -> float:
        if estimate["value"] is None or estimate[end] is None:
            return 0.0
        return abs(estimate[end] - estimate["value"])

    return {
        "type": "data",
        "symmetric": False,
        "array": [gap(e, "high") for e in estimates],
        "arrayminus": [gap(e, "low") for e in estimates],
        "thickness": 2,
        "width": 5,
        "color": GUIDE,
    }


def _words(estimate: Estimate) -> str:
    interval = "" if estimate["low"] is None else f", n = {estimate['n']}"
    return f"{table_cell(estimate)}{interval}"


def _calm(figure: go.Figure, height: int, top: int = 16) -> go.Figure:
    plain(figure, height, top).update_layout(bargap=0.35)
    return figure.update_annotations(font_size=13)


def learning(curves: Mapping[str, Sequence[Estimate]], public_set: int) -> go.Figure:
    """Macro AUC over the number of patients learnt from, a line a row; a dotted line marks the size
    of the public set. curves: words -> points with n, value, low and high."""
    figure = go.Figure()
    for words, points in curves.items():
        colour = LEARNT.get(words.split(",")[0], GUIDE)
        figure.add_scatter(
            x=[p["n"] for p in points],
            y=[p["value"] for p in points],
            marker={"color": colour},
            line={"color": colour},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [p["high"] - p["value"] for p in points],
                "arrayminus": [p["value"] - p["low"] for p in points],
                "thickness": 1,
            },
            mode="lines+markers",
            name=words,
        )
    figure.add_vline(x=public_set, line={"color": GUIDE, "dash": "dot"})
    sizes = sorted({p["n"] for points in curves.values() for p in points})
    figure.update_xaxes(
        type="log", title="Patients learnt from", tickvals=sizes, ticktext=[f"{n:,}" for n in sizes]
    )
    figure.update_yaxes(title="Macro AUC")
    figure.update_layout(height=420, margin={"l": 10, "r": 10, "t": 10, "b": 10})
    return figure
