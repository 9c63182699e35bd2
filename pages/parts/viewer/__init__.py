"""The image viewer: ``show`` draws a case and, where given, its segmentation and a Grad-CAM map.

Two components stand behind it. One takes a compressed volume as raw bytes, the other the small
description; so a jump to a lesion or a new map never sends the images again. What is not passed to
``show`` is not sent to the browser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from bmcore.domain import Case, Lesion, Volume
from pages.parts.viewer import payload

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Overlays:
    """What lies over the images. heat_name: what the map shows, in words."""

    mask: Volume | None = None
    lesions: tuple[Lesion, ...] = ()
    heat: Volume | None = None
    heat_name: str = "Grad-CAM"


@dataclass(frozen=True)
class Jump:
    """Move the crosshair to ``world_mm`` (RAS). A new ``nonce`` makes it happen once more."""

    nonce: int
    world_mm: tuple[float, float, float]


def script(*names: str) -> str:
    """Several ES modules as one: imports between them go, only the last default export stays."""
    parts = []
    for name in names:
        text = (_HERE / name).read_text(encoding="utf-8")
        text = re.sub(r"^import .*?;\n", "", text, flags=re.MULTILINE | re.DOTALL)
        if name != names[-1]:
            text = text.split("\n/** Streamlit calls this")[0]
        parts.append(re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE))
    return "\n".join(parts)


_BLOCK = st.components.v2.component("bmcore_block", js=script("blocks.js"))
_VIEWER = st.components.v2.component(
    "bmcore_viewer",
    css=(_HERE / "viewer.css").read_text(encoding="utf-8"),
    js=script("geometry.js", "paint.js", "blocks.js", "viewer.js"),
)


@st.cache_resource(max_entries=40, show_spinner=False)
def _block(kind: str, block_id: str, _volume: Volume) -> bytes:
    make = {"image": payload.image_block, "mask": payload.mask_block, "heat": payload.heat_block}
    return make[kind](_volume, block_id)


def show(case: Case, stamp: str, overlays: Overlays = Overlays(), jump: Jump | None = None) -> None:
    """Draw the viewer. ``stamp`` changes whenever the images of the case do."""
    ids = {s: f"{case.case_id}/{s}/{stamp}" for s in case.sequences}
    data = payload.describe(case, ids, overlays.lesions)
    extra: list[tuple[str, str, Volume]] = []
    for kind, volume in (("mask", overlays.mask), ("heat", overlays.heat)):
        if volume is not None:
            extra.append((kind, f"{case.case_id}/{kind}/{payload.content_id(volume)}", volume))
    found = {kind: block_id for kind, block_id, _ in extra}
    data["mask"] = found.get("mask")
    data["heat"] = {"id": found["heat"], "name": overlays.heat_name} if "heat" in found else None
    data["jump"] = {"nonce": jump.nonce, "world": list(jump.world_mm)} if jump else None
    _VIEWER(data=data, key="viewer")
    first = ["t1c", *(s for s in case.sequences if s != "t1c")]
    images = [("image", ids[s], case.sequences[s]) for s in first]
    with st.container(key="viewer_blocks"):
        for kind, block_id, volume in images + extra:
            _BLOCK(data=_block(kind, block_id, volume), key=f"block {block_id}")
