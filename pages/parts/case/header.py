"""Which case is open, and the line that says what it is."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from bmcore.domain import SEQUENCE_NAMES, SEQUENCES, Finding, Prediction, Severity
from pages.parts import loaders
from pages.parts.words import clinical, count, sentence

if TYPE_CHECKING:
    from bmcore.intake.library import CaseEntry


def pick_case() -> str | None:
    """The case of the address (``?case=``), changeable in a box; None, with words, if none."""
    known = loaders.case_ids()
    if not known:
        st.info("There are no cases yet. Add one on the Cases page.")
        return None
    asked = st.query_params.get("case")
    if asked is not None and asked not in known:
        st.warning("This case is no longer in the work list. Choose another one.")
        asked = None
    chosen = st.selectbox(
        "Case",
        known,
        index=known.index(asked) if asked else None,
        placeholder="Choose a case",
        label_visibility="collapsed",
        key=f"pick {asked}",
        width=240,
    )
    if chosen and chosen != asked:
        st.query_params["case"] = chosen
        st.rerun()
    if chosen is None:
        st.info("Choose the case that you want to read.")
    return chosen


def draw_case_header(entry: CaseEntry, read: bool, shown: Prediction | None) -> None:
    """Age, sex, sequences, models and notes: with the box of the pseudonym, always in sight.

    read: the models have read the case. shown: their prediction, where it may be seen; its notes
    are left out otherwise, because they tell what the models found.
    """
    missing = [SEQUENCE_NAMES[s] for s in SEQUENCES if s not in entry.sequences]
    parts = [
        ("Patient", escape(clinical(entry.clinical))),
        ("Sequences", escape(", ".join(loaders.short_names(entry.sequences)))),
    ]
    if entry.date_shifted:
        parts.append(("Date (shifted)", escape(entry.date_shifted)))
    if missing:
        parts.append(("Missing", f'<span class="warn">{escape(", ".join(missing))}</span>'))
    parts.append(("Models", escape(_models_state(read, shown))))
    spans = [f'<span><span class="label">{a}</span> <b>{b}</b></span>' for a, b in parts]
    st.html(f'<div class="case-line">{"".join(spans)}</div>', width="content")
    _draw_notes(list(dict.fromkeys([*entry.findings, *(shown.findings if shown else ())])))


def _models_state(read: bool, shown: Prediction | None) -> str:
    info = loaders.models().info
    if info is None:
        return "none installed"
    state = "shown" if shown else "ready, hidden" if read else "not run yet"
    demo = ", demo" if info.synthetic else ""
    return f"{info.name} {info.version}{demo} ({state})"


def _draw_notes(notes: list[Finding]) -> None:
    """What was noticed about the files, and by the models where they are shown: warnings first."""
    if not notes:
        return
    warned = [n for n in notes if n.severity is not Severity.INFO]
    told = [n for n in notes if n.severity is Severity.INFO]
    icon = ":material/warning:" if warned else ":material/info:"
    with st.popover(
        count(len(warned), "warning") if warned else count(len(told), "note"), icon=icon
    ):
        st.markdown(_bullets(warned))
        if warned and told:
            st.caption("Notes")
        st.markdown(_bullets(told))


def _bullets(notes: list[Finding]) -> str:
    from pages.parts.viewer.payload import SHORT_NAMES

    named = [replace(n, file=SHORT_NAMES.get(n.file or "", n.file)) for n in notes]
    return "\n".join(f"- {sentence(n)}" for n in named)
