"""The pages of the dashboard and the way a deep link finds its way into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from bmcore.domain import BmcoreError
from bmcore.review.access import RULES, User
from pages.parts.access import session

# A file of our own: for a page's icon by name the browser would ask a font server. Set it first.
ICON = str(Path(__file__).parents[1] / "icon.png")


@dataclass(frozen=True)
class Entry:
    """One page of the menu. action: as the page itself names it."""

    file: str
    title: str
    icon: str
    action: str


MENU = (
    Entry("cases", "Cases", "view_list", "cases.see"),
    Entry("review", "Review", "radiology", "review.see"),
    Entry("study", "Study", "fact_check", "study.see"),
    Entry("study_manage", "Run a study", "assignment_ind", "study.manage"),
    Entry("runs", "Model runs", "queue", "runs.see"),
    Entry("agreement", "Agreement", "groups", "agreement.see"),
    Entry("reports", "Reports", "description", "report.build"),
    Entry("models", "Models", "account_tree", "models.see"),
    Entry("accounts", "Accounts", "manage_accounts", "accounts.manage"),
    Entry("my_password", "My password", "key", "password.own"),
)
_BY_LINK = ("my_password",)  # not in the menu: the name of who is signed in leads there


def pages() -> st.Page:
    """Set up the menu; returns the page that was asked for.

    The menu shows what the role allows; a page that it does not show says why, asked for by its
    address. Without a sign-in there is no menu.
    """
    st.set_page_config("bmcore", page_icon=ICON, layout="wide")
    user, problem = None, False
    try:
        user = session.current()
    except BmcoreError:
        problem = True  # the database cannot be read: the page says so
    return st.navigation(
        [
            st.Page(
                f"pages/{e.file}.py",
                title=e.title,
                icon=f":material/{e.icon}:",
                default=e.file == "cases",
                visibility="visible" if _shown(user, e) else "hidden",
            )
            for e in MENU
        ],
        position="top" if user is not None or problem else "hidden",
    )


def _shown(user: User | None, entry: Entry) -> bool:
    return entry.file not in _BY_LINK and (user is None or _for(user, entry))


def _for(user: User, entry: Entry) -> bool:
    if user.local and entry.file == "accounts":
        return False  # made by the command line; there is nobody yet to keep
    return user.role in RULES[entry.action].roles


def join() -> None:
    """If this page was started without app.py, start over with it.

    Until ``st.navigation`` has been called once in a server, Streamlit takes the folder ``pages``
    for its older kind of menu and runs the page of a deep link alone, without menu or app.py.
    """
    if PagesManager.uses_pages_directory:
        pages()
        st.rerun()
