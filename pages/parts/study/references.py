"""The reference primaries: brought as a table, looked at, and kept with where they come from."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from bmcore.domain import PRIMARY_NAMES
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.access.guard import named
from pages.parts.study import reference_masks
from pages.parts.study.reference_masks import TOLD
from pages.parts.words import count, when

if TYPE_CHECKING:
    from bmcore.inference.references import Preview


def draw() -> None:
    """Bring a table of primaries or masks, see how they are read, keep them; what is kept."""
    guard.check("references.keep")
    told = st.session_state.pop(TOLD, None)
    if told:
        st.success(told, icon=":material/check:")
    st.subheader("Primaries", anchor=False)
    _draw_primaries()
    st.subheader("Masks", anchor=False)
    reference_masks.draw()


def _draw_primaries() -> None:
    st.caption(
        "What an answer counts as right against: the known primary of each case, in a table (CSV "
        "or Excel) with one row per case, a column with its id and a column Primary. Readers "
        "never see it before their lists are done."
    )
    file = st.file_uploader(
        "Table of primaries", type=["csv", "xlsx"], key="reference table", max_upload_size=20
    )
    if file is not None:
        _draw_preview(_read(file.name, file.getvalue()))
    _draw_kept()


def _read(name: str, content: bytes) -> Preview:
    from bmcore.inference import references

    cases = {e.case_id for e in loaders.entries()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{Path(name).suffix.lower()}"
        path.write_bytes(content)
        with named({path.name: name}):
            return references.preview(path, name, loaders.home(), cases)


def _draw_preview(found: Preview) -> None:
    from bmcore.inference import references

    st.markdown("**How the table is read**")
    columns = {
        "Column": [r.heading for r in found.readings],
        "Read as": [r.how or "not used" for r in found.readings],
    }
    st.dataframe(pd.DataFrame(columns), hide_index=True)
    rows = {
        "Case": [case for case, _, _ in found.rows],
        "Primary": [PRIMARY_NAMES[p] if p else "" for _, p, _ in found.rows],
        "What will happen": [what for _, _, what in found.rows],
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, height=240)
    for finding in found.findings:
        st.text(finding.sentence)
    fresh = sum(what in (references.NEW, references.CHANGES) for _, _, what in found.rows)
    replaced = sum(what == references.CHANGES for _, _, what in found.rows)
    if replaced:
        st.warning(f"Of {count(replaced, 'case')} another primary is known; it would be replaced.")
    if st.button(
        f"Keep the primaries of {count(fresh, 'case')}",
        type="primary",
        icon=":material/save:",
        disabled=not fresh,
    ):
        guard.check("references.keep")
        changed = references.keep(loaders.home(), found, guard.user().name)
        st.session_state[TOLD] = f"Kept the primaries of {count(changed, 'case')}."
        st.rerun()


def _from(one: Mapping[str, Any]) -> str:
    """The table; by its name only where the site keeps names."""
    named = f"{one['file']}, column {one['column']}, " if "file" in one else "table with "
    return f"{named}SHA-256 {one['sha256'][:12]}…"


def _draw_kept() -> None:
    from datetime import datetime

    from bmcore.inference import references

    kept = references.provenance(loaders.home())
    if not kept:
        return
    with st.expander(f"What is kept: {count(len(kept), 'case')}"):
        rows = {
            "Case": [one["case"] for one in kept],
            "Primary": [PRIMARY_NAMES[one["primary"]] for one in kept],
            "From": [_from(one) for one in kept],
            "By": [one["by"] for one in kept],
            "When": [when(datetime.fromisoformat(one["at"])) for one in kept],
        }
        st.dataframe(pd.DataFrame(rows), hide_index=True)
