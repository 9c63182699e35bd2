"""The notice and the badge at the top of every page."""

from __future__ import annotations

from html import escape
from pathlib import Path

import streamlit as st

from bmcore.domain import RESEARCH_NOTICE
from bmcore.review.access import User
from pages.parts import loaders
from pages.parts.access import session

STYLE = Path(__file__).parents[1] / "style.css"


def draw() -> None:
    """Research notice and the loaded models; beside them who is signed in and the way out."""
    st.html(STYLE)
    models = loaders.models()
    user = session.current()
    badge = models.info.badge if models.info else "No models are installed"
    with st.container(key="top_line", horizontal=True, vertical_alignment="center", gap="small"):
        st.html(
            f'<div class="notice" role="note"><b>{escape(RESEARCH_NOTICE)}</b>'
            f"<span>{escape(_single_user(user))}{escape(badge)}</span></div>"
        )
        if user is not None and not user.local:
            _draw_badge(user)


def _draw_badge(user: User) -> None:
    """Who is signed in, on the line of the notice, with the way out."""
    st.text(f"{user.name}, {user.role}", width="content")
    if st.button("Password", key="own_password", icon=":material/key:", type="tertiary"):
        st.switch_page("pages/my_password.py")
    st.button(
        "Sign out",
        key="sign_out",
        on_click=session.sign_out,
        icon=":material/logout:",
        type="tertiary",
    )


def _single_user(user: User | None) -> str:
    return "Single user on this computer, no password · " if user and user.local else ""
