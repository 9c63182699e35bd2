"""The field that files are dropped on; they go to the disk of the server, never into its memory."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from bmcore.settings import settings
from pages.parts import loaders

_HERE = Path(__file__).parent
_UPLOAD = st.components.v2.component(
    "bmcore_upload",
    html=(_HERE / "upload.html").read_text(encoding="utf-8"),
    css=(_HERE / "upload.css").read_text(encoding="utf-8"),
    js=(_HERE / "upload.js").read_text(encoding="utf-8"),
)
KEY = "upload"


def draw() -> str | None:
    """Draw the field; the id of an upload that has just arrived, else None."""
    from bmcore.door import arrival, uploads

    most = uploads.room(loaders.home(), int(settings().upload_gb * 10**9))
    limits = (
        f"Up to {uploads.gigabytes(most)} now. DICOM as the scanner or the archive wrote it, or "
        f"NIfTI. Unfinished uploads are removed after {arrival.KEPT_HOURS} hours."
    )
    told = _UPLOAD(data={"most": most, "limits": limits}, key=KEY, on_arrived_change=lambda: None)
    found = None if told is None else told.get("arrived")
    return found if isinstance(found, str) else None
