"""How many readers and cases a study needs: a table and power curves from what is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from bmcore.domain import BmcoreError
from bmcore.stats.estimate import per_cent
from pages.parts import loaders
from pages.parts.agreement import source
from pages.parts.case.charts import legend, plain
from pages.parts.words import escaped, in_words

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from bmcore.stats.sizing import Question, Row

MEASURES = {
    "accuracy": "Right answers",
    "AUC": "AUC of one primary",
    "sensitivity": "Sensitivity for one primary",
    "specificity": "Specificity for one primary",
}
SHOWN = (3, 4, 5, 6, 8)  # readers whose curves are drawn


def draw() -> None:
    """Ask for what is expected; show needed cases for each number of readers, and power curves."""
    from bmcore.stats import sizing

    st.caption(
        "Without the models, and the smallest difference with them that would matter. Two-sided "
        "alpha .05; Obuchowski and Rockette's test."
    )
    with st.container(horizontal=True):
        measure = st.selectbox(
            "Measure", list(MEASURES), format_func=MEASURES.__getitem__, key="size measure",
            width=240,
        )  # fmt: skip
        expected = st.number_input(
            "Expected without the models", 0.05, 0.99, 0.6, 0.05, key="size expected", width=190
        )
        gain = st.number_input(
            "Difference to detect", -0.5, 0.5, 0.1, 0.05, key="size difference", width=190
        )
        share = 0.5
        if measure != "accuracy":
            share = st.number_input(
                "Share of cases with this primary",
                0.05,
                0.95,
                0.4,
                0.05,
                key="size share",
                width=190,
            )
        power = st.number_input("Power", 0.5, 0.99, 0.8, 0.05, key="size power", width=120)
    finished = _finished()
    variation = st.selectbox(
        "How much readers and cases vary",
        [*finished, *sizing.PRESETS],
        index=len(finished) + 2,
        format_func=lambda n: f"As in the finished study {n}" if n in finished else _preset(n),
        key="size variation",
        width=620,
    )
    fixed = st.toggle("These very readers only, not readers like them", key="size fixed")
    try:
        question = sizing.Question(measure, expected, gain, share, fixed_readers=fixed)
        rows = _rows(question, variation, variation in finished, power)
    except BmcoreError as fault:
        st.warning(escaped(in_words(fault)))
        return
    except ValueError as fault:
        said = str(fault)
        st.warning(escaped(f"{said[:1].upper()}{said[1:]}."))
        return
    _draw_rows(rows, power)


def _preset(name: str) -> str:
    from bmcore.stats.sizing import PRESETS

    return f"{name[0].upper()}{name[1:]} ({PRESETS[name].source})"


def _finished() -> list[str]:
    """Studies of which every sheet is closed: each is a pilot for the next."""
    from bmcore.review import plan
    from bmcore.review.record import read_record

    store = loaders.store()
    return [n for n in plan.studies(store) if read_record(store, n).finished]


def _rows(question: Question, variation: str, pilot: bool, power: float) -> tuple[Row, ...]:
    from bmcore.analysis import sizing as planned
    from bmcore.review.record import read_record
    from bmcore.stats import sizing

    if not pilot:
        return sizing.power_table(question, sizing.PRESETS[variation], target=power)
    record = read_record(loaders.store(), variation)
    held = planned.pilot(record, source.known_primaries(), question.measure)
    return sizing.power_table(question, pilot=held, target=power)


def _draw_rows(rows: tuple[Row, ...], power: float) -> None:
    table = pd.DataFrame(
        {
            "Readers": [r.readers for r in rows],
            "Cases": [
                f"{r.needed.cases}" if r.needed.cases is not None else "not with any number"
                for r in rows
            ],
            "Power": [f"{per_cent(r.needed.power)}%" for r in rows],
        }
    )
    left, right = st.columns((2, 3), gap="large")
    left.dataframe(table, hide_index=True)
    right.plotly_chart(
        _curves(rows, power),
        key="power curves",
        config={"displayModeBar": False},
        alt="Power against the number of cases, a line for each number of readers",
    )
    for caution in dict.fromkeys(r.caution for r in rows if r.caution):
        st.caption(escaped(f"{caution[0].upper()}{caution[1:]}."))
    st.caption(
        "No reader study of the primary of brain metastases has published how much its readers "
        "vary; a pilot of your own is better than a preset."
    )


def _curves(rows: tuple[Row, ...], power: float) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    for row in rows:
        if row.readers in SHOWN:
            figure.add_scatter(
                x=[p.cases for p in row.curve],
                y=[100 * p.power for p in row.curve],
                mode="lines",
                name=f"{row.readers} readers",
            )
    figure.add_hline(y=100 * power, line_dash="dot", line_color="#8493a0")
    figure.update_xaxes(title="Cases")
    figure.update_yaxes(title="Power, %", range=[0, 100])
    return legend(plain(figure, height=320))
