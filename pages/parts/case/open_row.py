"""A click on a row of the work list opens its case; by keyboard a row is chosen, then opened."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import streamlit as st

from pages.parts.case import next_case

_OPENING = st.components.v2.component(
    "bmcore_open_row", js=(Path(__file__).parent / "open_row.js").read_text(encoding="utf-8")
)


def draw(inside: str, column: str, known: Collection[str]) -> None:
    """Watch the list in the container of the key ``inside``; ``column`` names the case."""

    def opened() -> None:
        """Asked for below: a callback cannot change the page."""

    result = _OPENING(
        data={"inside": f".st-key-{inside}", "column": column},
        key="open_row",
        on_opened_change=opened,
    )
    if result.opened in known:
        next_case.open_case(str(result.opened))
