"""The notice and the badge at the top of every page."""

from __future__ import annotations

from html import escape
from pathlib import Path

import streamlit as st

from bmcore.domain import RESEARCH_NOTICE
from pages.parts import loaders

STYLE = Path(__file__).parent / "style.css"


def draw() -> None:
    """Research notice on the left, the loaded models on the right."""
    st.html(STYLE)
    models = loaders.models()
    badge = models.info.badge if models.info else "No models are installed"
    st.html(
        f'<div class="notice" role="note"><b>{escape(RESEARCH_NOTICE)}</b>'
        f"<span>{escape(badge)}</span></div>"
    )
