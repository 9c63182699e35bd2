"""The brush that corrects the outline of the brain, in the browser; what was painted comes back."""

from __future__ import annotations

import base64
import binascii
import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from bmcore.domain import refuse

if TYPE_CHECKING:
    from bmcore.door.arrival import Arrival

_HERE = Path(__file__).parent
_BRUSH = st.components.v2.component(
    "bmcore_brush",
    html=(_HERE / "brush.html").read_text(encoding="utf-8"),
    css=(_HERE / "brush.css").read_text(encoding="utf-8"),
    js=(_HERE / "brush.js").read_text(encoding="utf-8"),
)


def draw(of: Arrival) -> bytes | None:
    """Draw the brush on the outline of an arrival; what was painted, once it is to be used."""
    from bmcore.door import steps
    from bmcore.door.picture import STEP

    stamp = (of.folder / steps.BRAIN).stat().st_mtime_ns
    blocks = steps.brush(of)
    packed = {
        name: base64.b64encode(gzip.compress(np.asfortranarray(values).tobytes("F"), 6, mtime=0))
        for name, values in blocks.items()
    }
    data = {
        "nonce": f"{of.id} {stamp}",
        "shape": list(blocks["brain"].shape),
        "mm": STEP,
        **{name: text.decode() for name, text in packed.items()},
    }
    told = _BRUSH(data=data, key=f"brush {of.id} {stamp}", on_painted_change=lambda: None)
    painted = None if told is None else told.get("painted")
    if not isinstance(painted, str):
        return None
    try:
        return base64.b64decode(painted, validate=True)
    except binascii.Error as fault:
        raise refuse("what you painted did not arrive complete", hint="paint it again.") from fault
