"""Consensus masks for the next training: written once every disagreement is resolved."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
import streamlit as st

from bmcore.domain import Case, Prediction
from bmcore.review import masks
from bmcore.review.reading_session import ReadingSession
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import count, escaped

_MADE = "consensus masks made"
_WORDS = {"lesion votes": "Lesion by lesion", "majority": "Majority", "staple": "STAPLE"}
_KEEP, _REMOVE = "Keep", "Remove"


def draw(desk: ReadingSession) -> None:
    """What stands in the way, how ties are decided, and the one button that writes."""
    st.markdown(
        "Each case with a consensus mask of the readers, in the layout that the training reads. A "
        "reader's mask is what was painted, or the models' mask without the rejected lesions."
    )
    left = masks.open_disagreements(desk)
    if left:
        st.info(
            escaped(f"Not yet: {left}. Resolve them under Disagreements, then write the masks."),
            icon=":material/gavel:",
        )
        return
    method = str(
        st.segmented_control(
            "How the masks are combined",
            masks.METHODS,
            default=masks.METHODS[0],
            format_func=_WORDS.__getitem__,
            required=True,
            key="mask method",
        )
    )
    rule = _rule(desk, method)
    if any(desk.next(r.id) is not None for r in desk.version.study.readers):
        st.warning("Readers are still at work. Masks written now leave out what is read later.")
    if st.button("Write the masks", type="primary", icon=":material/save:", disabled=rule is None):
        guard.check("masks.export")
        assert rule is not None
        day = datetime.now().astimezone()
        name = f"{desk.version.study.study}-masks-{day:%Y-%m-%d-%H%M%S}"
        out = loaders.home() / "exports" / name
        with st.spinner("Combining the masks"):
            written = masks.write_consensus(desk, loaders.home(), out, rule, _read)
        st.session_state[_MADE] = (out, written)
    if _MADE in st.session_state:
        _draw_made(*st.session_state[_MADE])


def _rule(desk: ReadingSession, method: str) -> masks.Rule | None:
    """What was chosen; None while a tie is not decided."""
    by = guard.user().name
    if method == "majority":
        inside = st.radio(
            "Voxels with as many masks for as against",
            ("Leave them out", "Include them"),
            horizontal=True,
            key="mask ties",
        )
        return masks.Rule(method, by, ties_inside=inside == "Include them")
    if method != "lesion votes":
        return masks.Rule(method, by)
    tied = [
        (case_id, n, both)
        for case_id, lesions in masks.tied_lesions(desk).items()
        for n, both in lesions.items()
    ]
    if not tied:
        return masks.Rule(method, by)
    st.markdown(
        f"**{count(len(tied), 'lesion')} kept by as many readers as reject it: you decide**"
    )
    kept: dict[str, dict[int, bool]] = {}
    for case_id, n, (keep, reject) in tied:
        words = f"{case_id}, lesion {n}: {keep} keep it, {reject} reject it"
        chosen = st.segmented_control(
            escaped(words), (_KEEP, _REMOVE), key=f"mask tie {case_id} {n}"
        )
        if chosen is not None:
            kept.setdefault(case_id, {})[n] = chosen == _KEEP
    if sum(map(len, kept.values())) < len(tied):
        st.caption("The masks can be written once every tie is decided.")
        return None
    return masks.Rule(method, by, kept)


def _draw_made(out: Path, written: Sequence[masks.Written]) -> None:
    rows = {
        "Case": [w.case_id for w in written],
        "Mask": ["written" if w.path else "none" for w in written],
        "How, or why not": [w.words for w in written],
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    paths = [w.path for w in written if w.path]
    if not paths:
        return
    st.caption(
        f"On the computer that runs the dashboard, with the images: {escaped(str(out))}. What "
        f"each mask rests on is listed in {masks.PROVENANCE} beside them, and comes along in the "
        "ZIP."
    )
    guard.download(
        "masks.export",
        "Masks as ZIP",
        _zipped(out, paths),
        file_name=f"{out.name}.zip",
        mime="application/zip",
        key="masks zip",
    )


def _read(case_id: str) -> tuple[Case, Prediction | None]:
    return loaders.case(case_id), loaders.prediction(case_id)


def _zipped(out: Path, paths: Sequence[Path]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as packed:
        packed.write(out / masks.PROVENANCE, masks.PROVENANCE)
        for path in paths:
            packed.write(path, f"{path.parent.name}/{path.name}")
    return memory.getvalue()
