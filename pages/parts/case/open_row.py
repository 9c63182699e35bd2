"""A click on a row of the work list opens its case; by keyboard a row is chosen, then opened."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import streamlit as st

from pages.parts.case import next_case

_OPENING = st.components.v2.component(
    "bmcore_open_row", js=(Path(__file__).parent / "open_row.js").read_text(encoding="utf-8")
)

_WISH = "case of the row that was clicked"


def draw(inside: str, column: str, row_px: int, known: Collection[str]) -> None:
    """Watch the list of the key ``inside``, whose ``column`` names the case."""

    def opened() -> None:
        """Kept, for the choice of the cell that the click also makes starts the page anew."""
        st.session_state[_WISH] = st.session_state["open_row"].get("opened")

    data = {"inside": f".st-key-{inside}", "column": column, "rowPx": row_px}
    _OPENING(data=data, key="open_row", on_opened_change=opened)
    wish = st.session_state.pop(_WISH, None)
    if wish in known:
        next_case.open_case(str(wish))
