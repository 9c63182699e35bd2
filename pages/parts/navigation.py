"""The pages of the dashboard and the way a deep link finds its way into it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

# A file of our own: for a page's icon by name the browser would ask a font server. Set it first.
ICON = str(Path(__file__).parent / "icon.png")


def pages() -> st.Page:
    """Set up the menu; returns the page that was asked for."""
    st.set_page_config("bmcore", page_icon=ICON, layout="wide")
    return st.navigation(
        [
            st.Page("pages/cases.py", title="Cases", icon=":material/view_list:", default=True),
            st.Page("pages/review.py", title="Review", icon=":material/radiology:"),
            st.Page("pages/agreement.py", title="Agreement", icon=":material/groups:"),
            st.Page("pages/reports.py", title="Reports", icon=":material/description:"),
            st.Page("pages/models.py", title="Models", icon=":material/account_tree:"),
        ],
        position="top",
    )


def join() -> None:
    """If this page was started without app.py, start over with it.

    Until ``st.navigation`` has been called once in a server, Streamlit takes the folder ``pages``
    for its older kind of menu and runs the page of a deep link alone, without menu or app.py.
    """
    if PagesManager.uses_pages_directory:
        pages()
        st.rerun()
