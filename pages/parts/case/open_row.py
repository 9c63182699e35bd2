"""A click anywhere in a row counts: on Cases it opens the case, in the lesion table it leads to the
lesion. By keyboard a row is chosen in the table itself."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import streamlit as st

from pages.parts.case import next_case

_OPENING = st.components.v2.component(
    "bmcore_open_row", js=(Path(__file__).parent / "open_row.js").read_text(encoding="utf-8")
)

_WISH = "case of the row that was clicked"
_BOXES_PX = 40  # the column of boxes that choose a row


def draw(inside: str, column: str, row_px: int, known: Collection[str]) -> None:
    """Watch the list of the key ``inside``, whose ``column`` names the case."""

    def opened() -> None:
        """Kept, for the choice of the cell that the click also makes starts the page anew."""
        st.session_state[_WISH] = st.session_state["open_row"].get("opened")

    _watch("open_row", inside, column, row_px, 0, opened)
    wish = st.session_state.pop(_WISH, None)
    if wish in known:
        next_case.open_case(str(wish))


def clicked(inside: str, column: str, row_px: int, told: Callable[[str], None]) -> None:
    """Call ``told`` with what ``column`` says in the row that was clicked, before the page is drawn
    anew. Clicks on the boxes at the left stay the table's own."""

    def opened() -> None:
        said = st.session_state[key].get("opened")
        if said is not None:
            told(str(said))

    key = f"row of {inside}"
    _watch(key, inside, column, row_px, _BOXES_PX, opened)


def _watch(
    key: str, inside: str, column: str, row_px: int, from_px: int, opened: Callable[[], None]
) -> None:
    place = {"inside": f".st-key-{inside}", "column": column, "rowPx": row_px, "fromPx": from_px}
    _OPENING(data=place, key=key, on_opened_change=opened)
