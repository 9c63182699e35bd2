"""The notice and the badge at the top of every page."""

from __future__ import annotations

from html import escape
from pathlib import Path

import streamlit as st

from bmcore.domain import RESEARCH_NOTICE
from bmcore.review.access import User
from pages.parts import loaders, sign_in

STYLE = Path(__file__).parent / "style.css"


def draw() -> None:
    """Research notice and the loaded models; below, who is signed in and the way out."""
    st.html(STYLE)
    models = loaders.models()
    user = sign_in.current()
    badge = models.info.badge if models.info else "No models are installed"
    st.html(
        f'<div class="notice" role="note"><b>{escape(RESEARCH_NOTICE)}</b>'
        f"<span>{escape(_single_user(user))}{escape(badge)}</span></div>"
    )
    if user is not None and not user.local:
        sign_in.draw_badge(user)


def _single_user(user: User | None) -> str:
    return "Single user on this computer, no password · " if user and user.local else ""
