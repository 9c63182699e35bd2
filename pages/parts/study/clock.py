"""Time at a sheet, counted in the browser: active while there was input lately, else idle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from bmcore.domain import BmcoreError
from bmcore.review.worklist import Seconds
from pages.parts.access import guard, session

TELL_S = 15.0
_CLOCK = st.components.v2.component(
    "bmcore_clock", js=(Path(__file__).parent / "clock.js").read_text(encoding="utf-8")
)


@guard.fragment("study.see")
def draw(sheet: str, so_far: Seconds, take: Callable[[Seconds], None]) -> None:
    """Count on from ``so_far``; ``take`` gets the time in all every ``TELL_S`` seconds."""
    key = f"clock {sheet}"

    def told() -> None:
        take_value(st.session_state.get(key), sheet, noted)

    def noted(seconds: Seconds) -> None:
        if seconds.active_s > st.session_state.get(f"active {key}", so_far.active_s):
            session.touch()  # somebody reads, also where nothing is clicked
        st.session_state[f"active {key}"] = seconds.active_s
        take(seconds)

    data = {"sheet": sheet, "active": so_far.active_s, "idle": so_far.idle_s}
    _CLOCK(data={**data, "tellMs": 1000 * TELL_S}, key=key, on_seconds_change=told)


def take_value(found: Any, sheet: str, take: Callable[[Seconds], None]) -> None:
    """Pass on what the browser counted, unless it belongs to another sheet or is no time."""
    value = None if found is None else found.get("seconds")
    if not isinstance(value, dict) or value.get("sheet") != sheet:
        return
    try:
        take(Seconds(float(value["active"]), float(value["idle"])))
    except (BmcoreError, KeyError, TypeError, ValueError, OverflowError):
        return  # a browser that was tampered with; the time counted so far stays
