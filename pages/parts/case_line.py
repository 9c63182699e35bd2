"""Which case is open, and the line that says what it is."""

from __future__ import annotations

from html import escape

import streamlit as st

from bmcore.domain import SEQUENCE_NAMES, Case, Prediction
from pages.parts import loaders
from pages.parts.words import clinical


def pick_case() -> str | None:
    """The case of the address (``?case=``), changeable in a box; None, with words, if none."""
    known = [entry.case_id for entry in loaders.entries()]
    if not known:
        st.info("There are no cases yet. Add one on the Cases page.")
        return None
    asked = st.query_params.get("case")
    if asked is not None and asked not in known:
        st.warning("This case is not in the work list any more. Choose another one.")
        asked = None
    chosen = st.selectbox(
        "Case",
        known,
        index=known.index(asked) if asked else None,
        placeholder="Choose a case",
        label_visibility="collapsed",
        key=f"pick {asked}",
        width=300,
    )
    if chosen and chosen != asked:
        st.query_params["case"] = chosen
        st.rerun()
    if chosen is None:
        st.info("Choose the case that you want to read.")
    return chosen


def draw_case_line(case: Case, prediction: Prediction | None) -> None:
    """Age, sex, sequences and models on one line, beside the name of the case."""
    missing = [SEQUENCE_NAMES[s] for s in case.missing]
    parts = [
        ("Patient", escape(clinical(case.clinical))),
        ("Sequences", escape(", ".join(loaders.short_names(case.sequences)))),
    ]
    if missing:
        parts.append(("Not there", escape(", ".join(missing))))
    state = "not run yet"
    if prediction is not None:
        state = f"{prediction.bundle.name} {prediction.bundle.version}"
    parts.append(("Models", escape(state)))
    spans = [f'<span><span class="label">{a}</span> <b>{b}</b></span>' for a, b in parts]
    st.html(f'<div class="case-line">{"".join(spans)}</div>', width="content")


def draw_notes(case: Case, prediction: Prediction | None) -> None:
    """What was noticed about the files, and by the models if ``prediction`` is given."""
    notes = list(dict.fromkeys([*case.findings, *(prediction.findings if prediction else ())]))
    if notes:
        with st.popover(f"{len(notes)} note{'s' * (len(notes) > 1)}", icon=":material/info:"):
            st.text("\n".join(f.sentence for f in notes))
