"""The work list: one page of its rows from the index, the controls above, and the way to a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.parts import loaders
from pages.parts.access import pictures
from pages.parts.access.guard import may
from pages.parts.case import next_case
from pages.parts.words import STATE_WORDS, clinical

if TYPE_CHECKING:
    from bmcore.review.case_index import Row, Wish

OWN, DEMO = "Added here", "Demo, synthetic"
A_PAGE = 50  # rows
ORDERS = {
    "Newest first": "newest",
    "Name": "name",
    "Models": "models",
    "Fewest readers first": "fewest readers",
}
WISHES = ("Not read by me", "Missing sequences", "File warnings", "Failed")
_PAGE = "case_page"


def controls() -> Wish:
    """The boxes above the list."""
    from bmcore.review.case_index import Wish

    columns = st.columns([3, 4, 2], vertical_alignment="bottom")
    text = columns[0].text_input(
        "Search", placeholder="Case, patient or origin", key="case_search", on_change=_to_start
    )
    asked = columns[1].pills(
        "Show only", WISHES, selection_mode="multi", key="case_filter", on_change=_to_start
    )
    order = columns[2].selectbox("Order", list(ORDERS), key="case_order", on_change=_to_start)
    me = next_case.key() if "Not read by me" in asked else None
    if "Not read by me" in asked and me is None:
        st.caption("“Not read by me” needs to know who you are: say so on the Review page.")
    return Wish(
        digest=loaders.digest(),
        text=text or "",
        unread_by=me,
        missing="Missing sequences" in asked,
        notes="File warnings" in asked,
        failed="Failed" in asked,
        order=ORDERS[order],
    )


def _to_start() -> None:
    st.session_state[_PAGE] = 0


def read(wish: Wish) -> tuple[list[Row], int]:
    """(the rows of the page that is shown, how many fit in all)."""
    from bmcore.review import case_index

    number = int(st.session_state.get(_PAGE, 0))
    rows, total = case_index.page(loaders.store(), wish, number * A_PAGE, A_PAGE)
    if number and not rows:
        _to_start()
        rows, total = case_index.page(loaders.store(), wish, 0, A_PAGE)
    return rows, total


def pager(rows: Sequence[Row], total: int, whole: int) -> None:
    """Which rows these are, and the way to the others."""
    first = int(st.session_state.get(_PAGE, 0)) * A_PAGE
    cases = "1 case" if whole == 1 else f"{whole:,} cases"
    of = f"{total:,} of {cases}" if total != whole else cases
    if total <= A_PAGE:
        st.caption(of)
        return
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        _step("Previous", -1, "chevron_left", first > 0)
        st.caption(f"{first + 1:,}–{first + len(rows):,} of {of}", width="content")
        _step("Next", 1, "chevron_right", first + len(rows) < total)


def _step(words: str, by: int, icon: str, there: bool) -> None:
    def go() -> None:
        st.session_state[_PAGE] = int(st.session_state.get(_PAGE, 0)) + by

    st.button(words, key=f"page {by}", icon=f":material/{icon}:", disabled=not there, on_click=go)


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One line a case. Nothing in it tells what the models found."""
    from bmcore.domain import ClinicalRecord
    from bmcore.review import who_read

    read_by = next_case.read_by([row.case_id for row in rows])
    mine, named = next_case.key(), may("agreement.see")
    table = [
        {
            "Image": _picture(row),
            "Case": row.case_id,
            "Models": STATE_WORDS[_state(row)],
            "Patient": clinical(ClinicalRecord(age_years=row.age_years, sex=row.sex)),
            "Sequences": ", ".join(loaders.short_names(row.sequences)),
            "Missing": ", ".join(loaders.missing_names(row.sequences)),
            "File warnings": row.notes,
            "Read by": who_read.in_words(read_by.get(row.case_id, {}), mine, named),
            "Readers": row.readers,
            "Added": row.added,
            "Origin": DEMO if row.demo else OWN,
        }
        for row in rows
    ]
    return pd.DataFrame(table)


def _state(row: Row) -> str:
    if row.state in ("queued", "running"):
        return row.state
    if row.predicted or loaders.has_prediction(row.case_id):  # the index may not know it yet
        return "done"
    return "none" if row.state == "done" else row.state  # done by other models than these


def _picture(row: Row) -> str | None:
    from pages.parts.viewer import block_cache

    name = block_cache.picture(loaders.home(), row.case_id, row.t1c_sha256)
    return None if name is None else pictures.address(row.case_id, name)
