"""Charts: plotly figures from plain numbers. Nothing here touches Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bmcore.domain import ANSWER_NAMES, PRIMARIES, PRIMARY_NAMES, Answer
from bmcore.inference.uncertainty import OUTSIDE
from bmcore.stats.estimate import decimals

STRONG, PALE = "#0f6480", "#9db9c6"
FOR, AGAINST = "#0f6480", "#c0713a"
LINE = "#8a949c"  # seen on both bars and on both grounds
Interval = tuple[float, float]
SHORT_PRIMARIES: Mapping[str, str] = {
    **{p: PRIMARY_NAMES[p] for p in PRIMARIES},
    "gi": "Gastrointest.",
    "sclc": "Small cell lung",
    "nsclc": "Non-small cell",
}


@lru_cache(maxsize=64)
def answers(
    found: tuple[Answer, ...], ends: tuple[tuple[Interval, ...] | None, ...] | None = None
) -> go.Figure:
    """The answers side by side: one column each, one bar a primary; the highest is dark.

    An answer that abstains is hatched, with no dark bar; outside what the models know it has no
    numbers either.

    ends: for each answer the interval of each bar, or None; drawn as a thin line. All columns have
    one scale, from 0 to a little above the highest bar or interval.
    """
    figure = make_subplots(
        rows=1,
        cols=len(found),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[_title(a) for a in found],
    )
    ends = ends or (None,) * len(found)
    tops = [max(a.probabilities) for a in found if a.probabilities]
    tops += [high for pairs in ends if pairs for _, high in pairs]
    for column, (answer, pairs) in enumerate(zip(found, ends, strict=True), start=1):
        if answer.probabilities is None:
            figure.add_annotation(
                text="no answer", x=0.5, y=2.5, row=1, col=column, showarrow=False
            )
        _answer_bars(figure, column, answer, pairs)
    reach = max([0.4, *tops]) * 1.75  # room for the number
    figure.update_xaxes(range=[0, reach], visible=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, ticks="")
    return _calm(figure, height=60 + 30 * len(PRIMARIES) + 20, top=44)


def _title(answer: Answer) -> str:
    name = ANSWER_NAMES[answer.kind]
    return name.replace(" ", "<br>") if answer.abstains is None else f"{name}<br>abstains"


def _answer_bars(
    figure: go.Figure, column: int, answer: Answer, pairs: tuple[Interval, ...] | None
) -> None:
    """One column: bars, their intervals, and the number to the right of both."""
    names = [SHORT_PRIMARIES[p] for p in PRIMARIES]
    shares = list(answer.probabilities or [0.0] * len(names))
    best = max(shares)
    told = "%{y}: %{x:.1%}" + ("<br>interval %{customdata}" if pairs else "") + "<extra></extra>"
    spread = None
    if pairs:
        spread = {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, high - s) for s, (_, high) in zip(shares, pairs, strict=True)],
            "arrayminus": [max(0.0, s - low) for s, (low, _) in zip(shares, pairs, strict=True)],
            "thickness": 1.5,
            "width": 3,
            "color": LINE,
        }
    figure.add_bar(
        x=shares,
        y=names,
        orientation="h",
        row=1,
        col=column,
        marker=_marker(answer, [s == best for s in shares]),
        error_x=spread,
        customdata=[f"{decimals(100 * low)}% to {decimals(100 * high)}%" for low, high in pairs]
        if pairs
        else None,
        hovertemplate=told,
    )
    if answer.probabilities is not None and answer.abstains != OUTSIDE:
        figure.add_scatter(
            x=[max(s, e[1]) for s, e in zip(shares, pairs or [(0, 0)] * len(names), strict=True)],
            y=names,
            mode="text",
            text=[f" {decimals(100 * s)}%" for s in shares],
            textposition="middle right",
            textfont={"size": 12},
            cliponaxis=False,
            hoverinfo="skip",
            row=1,
            col=column,
        )


def _marker(answer: Answer, best: Sequence[bool]) -> dict[str, Any]:
    """Colours of the bars: the best one dark, or all hatched where the answer abstains."""
    if answer.abstains is None:
        return {"color": [STRONG if b else PALE for b in best]}
    hatch = {"shape": "/", "fgcolor": LINE, "bgcolor": "rgba(0,0,0,0)", "size": 6}
    return {"color": LINE, "pattern": hatch, "line": {"color": LINE, "width": 1}}


def signed_bars(names: Sequence[str], values: Sequence[float], unit: str) -> go.Figure:
    """Signed bars, the largest first: to the right speaks for, to the left against."""
    order = sorted(range(len(names)), key=lambda n: -abs(values[n]))
    chosen = [values[n] for n in order]
    digits = 2 if max((abs(v) for v in chosen), default=1.0) >= 0.1 else 3
    figure = go.Figure(
        go.Bar(
            x=chosen,
            y=[names[n] for n in order],
            orientation="h",
            marker_color=[FOR if v >= 0 else AGAINST for v in chosen],
            hovertemplate="%{y}: %{x:+.3f} " + unit + "<extra></extra>",
        )
    )
    for n, value in zip(order, chosen, strict=True):  # in the margin: no width cuts a number
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            y=names[n],
            text=f"{value:+.{digits}f}",
            showarrow=False,
        )
    reach = max((abs(v) for v in chosen), default=1.0) * 1.1 or 1.0
    figure.update_xaxes(range=[-reach, reach], title=unit, zeroline=True, fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, automargin=True)
    _calm(figure, height=70 + 30 * len(names))
    return figure.update_layout(margin={"r": 60}).update_annotations(font_size=13)


def deletion(
    own: Sequence[float], low: Sequence[float], mean: Sequence[float], high: Sequence[float]
) -> go.Figure:
    """Probability while more and more of the lesion is flattened: the map's order against random.

    All of one length, from nothing to everything; low to high is drawn as a band.
    """
    share = [n / (len(own) - 1) for n in range(len(own))]
    figure = go.Figure()
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_scatter(x=share, y=list(high), **band)
    figure.add_scatter(
        x=share, y=list(low), fill="tonexty", fillcolor="rgba(138,148,156,0.25)", **band
    )
    for name, values, colour, dash in (
        ("Random order", mean, LINE, "dot"),
        ("Order of the map", own, STRONG, "solid"),
    ):
        figure.add_scatter(
            x=share,
            y=list(values),
            name=name,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2.5},
            hovertemplate="%{x:.0%} flattened: %{y:.0%}<extra>" + name + "</extra>",
        )
    figure.update_xaxes(title="Share flattened", tickformat=".0%", fixedrange=True, range=[0, 1])
    figure.update_yaxes(title="Probability", tickformat=".0%", fixedrange=True, rangemode="tozero")
    _calm(figure, height=260, top=36)
    return figure.update_layout(
        showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    )


def _calm(figure: go.Figure, height: int, top: int = 28) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 4, "r": 8, "t": top, "b": 8},
        showlegend=False,
        bargap=0.28,
        font={"size": 13},
    )
    figure.update_annotations(font_size=14)
    figure.update_xaxes(tickfont={"size": 13})
    figure.update_yaxes(tickfont={"size": 13})
    return figure


def plain(figure: go.Figure, height: int, top: int = 16) -> go.Figure:
    """The look of the charts of numbers (models, readers): nothing can be dragged."""
    figure.update_layout(
        height=height,
        margin={"l": 4, "r": 8, "t": top, "b": 8},
        showlegend=False,
        font={"size": 13},
    )
    figure.update_xaxes(fixedrange=True, tickfont={"size": 13}, automargin=True)
    figure.update_yaxes(fixedrange=True, tickfont={"size": 13}, automargin=True)
    return figure


def legend(figure: go.Figure) -> go.Figure:
    """With a legend in one line above a ``plain`` chart."""
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        margin={"t": 46},
    )
    return figure
