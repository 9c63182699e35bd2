"""The database of this installation, opened once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from bmcore import disk
from bmcore.settings import settings

if TYPE_CHECKING:
    from bmcore.review.store import Store


def opened() -> Store:
    """For those who find out who acts; everybody else asks ``loaders.store``."""
    return _opened(settings().url)


@st.cache_resource(max_entries=2, show_spinner="Opening the database")
def _opened(url: str) -> Any:
    from bmcore.review import case_changes
    from bmcore.review.store import open_store

    disk.open_home(settings().home)
    store = open_store(url)
    case_changes.recover(store, settings().home)
    case_changes.reserve_names(store, settings().home)
    return store
