"""Reference masks: brought as NIfTI or a zip, looked at on the images, kept with their source."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from bmcore.intake import reference_mask
from bmcore.intake.nifti_file import CONVENTIONS
from bmcore.intake.reference_mask import Brought, MaskFound
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import count, when

if TYPE_CHECKING:
    from bmcore.intake.library import CaseEntry

TOLD = "reference told"
_FOUND = "reference masks found"
_MOST_MB = 1_024
_NOT_SAID = "1 necrosis, 2 oedema, 3 enhancing tumour; 1 alone is a lesion"


def draw() -> None:
    """Bring masks, see how they are read, keep them; below, what is kept."""
    st.caption(
        "What lesions are found against: the reference segmentation of each case, on the case's "
        "own grid, as NIfTI. A zip may hold many; each file, or the folder it lies in, is named "
        "after its case, for instance CASE-seg.nii.gz."
    )
    left, right = st.columns(2)
    file = left.file_uploader(
        "Mask, or zip of masks",
        type=["nii", "gz", "zip"],
        key="reference masks",
        max_upload_size=_MOST_MB,
    )
    convention = right.selectbox(
        "What the labels mean",
        ["", *CONVENTIONS],
        format_func=lambda name: CONVENTIONS.get(name, _NOT_SAID),
        key="mask convention",
    )
    entries = loaders.entries()
    if file is not None:
        _draw_brought(file, convention or "", entries)
    _draw_kept(entries)


def _draw_brought(file: Any, convention: str, entries: Sequence[CaseEntry]) -> None:
    case_id = None
    if not file.name.lower().endswith(".zip"):
        ids = [e.case_id for e in entries]
        named = [c for c in ids if c in file.name]
        case_id = st.selectbox(
            "Case",
            ids,
            index=ids.index(max(named, key=len)) if named else None,
            placeholder="Choose the case that this mask belongs to",
            key=f"mask case {file.file_id}",
        )
        if case_id is None:
            return
    with _on_disk(file, convention, case_id) as brought:
        found = _looked_at(file.file_id, brought, [e.case_id for e in entries])
        _draw_table(found)
        _draw_picture(brought, [f for f in found if f.usable])
        _offer(brought, found)


@contextmanager
def _on_disk(file: Any, convention: str, case_id: str | None) -> Iterator[Brought]:
    with tempfile.TemporaryDirectory(prefix="bmcore-") as folder:
        name = Path(file.name).name
        ending = next(e for e in (".zip", ".nii.gz", ".nii", ".gz") if name.lower().endswith(e))
        path = Path(folder) / f"brought{ending}"
        path.write_bytes(file.getbuffer())
        yield Brought(path, name, convention, case_id)


def _looked_at(file_id: str, brought: Brought, cases: Sequence[str]) -> tuple[MaskFound, ...]:
    """Read once for a file and what was said of it."""
    key = (file_id, brought.convention, brought.case_id, st.session_state.get("masks kept", 0))
    known = st.session_state.get(_FOUND)
    if known is None or known[0] != key:
        with st.spinner("Reading the masks"):
            found = reference_mask.look(brought, loaders.home(), set(cases))
        known = (key, found)
        st.session_state[_FOUND] = known
    return known[1]


def _draw_table(found: Sequence[MaskFound]) -> None:
    rows = [
        {
            "File": f.file,
            "Case": f.case_id or "",
            "Necrosis": (f.ml or {}).get(1),
            "Oedema": (f.ml or {}).get(2),
            "Enhancing": (f.ml or {}).get(3),
            "What will happen": f.what,
            "Notes": " ".join(n.sentence for n in f.notes),
        }
        for f in found
    ]
    ml = st.column_config.NumberColumn(format="%.2f ml")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config=dict.fromkeys(("Necrosis", "Oedema", "Enhancing"), ml),
    )
    refused = [f for f in found if not f.usable]
    if refused:
        st.warning(f"{count(len(refused), 'mask')} cannot be kept:")
        st.text("\n".join(f"{f.file}: {f.what}" for f in refused[:20]))


def _draw_picture(brought: Brought, usable: Sequence[MaskFound]) -> None:
    """The slice with most of a mask, on T1 Gd: is it this patient's, and not mirrored?"""
    from bmcore.imaging.slices import render_slice, slice_at

    if not usable:
        return
    names = [str(f.case_id) for f in usable]
    case_id = names[0]
    if len(names) > 1:
        case_id = st.selectbox("Look at", names, key="mask looked at", width=320) or names[0]
    mask = reference_mask.mask_of(brought, loaders.home(), case_id)
    image = loaders.case(case_id).grid
    where = np.argwhere(np.asarray(mask.data) > 0)
    centre = np.median(where, axis=0) if len(where) else np.array(image.shape) / 2
    point = mask.affine[:3, :3] @ centre + mask.affine[:3, 3]
    left, right = st.columns(2, width=520)
    at = slice_at(image, "axial", point)
    left.image(render_slice(image, "axial", at), caption="T1 Gd", width="stretch")
    drawn = render_slice(image, "axial", at, mask)
    right.image(drawn, caption="With the mask", width="stretch")


def _offer(brought: Brought, found: Sequence[MaskFound]) -> None:
    fresh = [f for f in found if f.what in (reference_mask.NEW, reference_mask.REPLACES)]
    replaced = sum(f.what == reference_mask.REPLACES for f in found)
    if replaced:
        st.warning(
            f"{count(replaced, 'case')} already has a reference mask; it will be replaced, and "
            "kept on record."
            if replaced == 1
            else f"{replaced} cases already have a reference mask; those will be replaced, and "
            "kept on record."
        )
    if st.button(
        f"Keep {count(len(fresh), 'mask')}",
        type="primary",
        icon=":material/save:",
        disabled=not fresh,
        key="keep masks",
    ):
        guard.check("references.keep")
        with st.spinner("Keeping the masks"):
            kept = reference_mask.keep(brought, loaders.home(), found, guard.user().name)
        st.session_state["masks kept"] = st.session_state.get("masks kept", 0) + 1
        st.session_state[TOLD] = f"Kept {count(kept, 'reference mask')}."
        st.rerun()


def _draw_kept(entries: Sequence[CaseEntry]) -> None:
    there = [e for e in entries if e.has_reference_mask]
    if not there:
        return
    with st.expander(f"Cases with a reference mask: {len(there)} of {len(entries)}"):
        rows = []
        for e in there:
            told = e.reference
            at = when(datetime.fromisoformat(told["at"])) if told else ""
            rows.append(
                {
                    "Case": e.case_id,
                    "From": told.get("name", told["from"]) if told else "came with the case",
                    "By": told["by"] if told else "",
                    "When": at,
                    "SHA-256": told["sha256"][:16] if told else "",
                    "Replaced": len(told.get("replaced", [])) if told else 0,
                }
            )
        st.dataframe(pd.DataFrame(rows), hide_index=True)
