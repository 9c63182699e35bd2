"""The image viewer: ``show`` draws a case and, where given, its segmentation and a Grad-CAM map.

Two components stand behind it. One takes a compressed volume as raw bytes, the other the small
description; so a jump to a lesion or a new map never sends the images again. What is not passed to
``show`` is not sent to the browser. What the reader does comes back through ``Desk.receive``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from bmcore.domain import Lesion, Volume
from pages.parts.viewer import payload
from pages.parts.viewer.payload import Beside, Images

if TYPE_CHECKING:
    from bmcore.imaging.diameters import LesionExtent

_HERE = Path(__file__).parent
SCRIPTS = (
    *("geometry.js", "prior.js", "grey.js", "layouts.js", "measures.js", "masks.js"),
    *("between.js", "marks.js"),
    *("paint.js", "blocks.js", "unsent.js", "link.js", "annotate.js", "picture.js"),
    *("arrangement.js", "controls.js", "help.js", "input.js", "toolbar.js", "own_marks.js"),
    *("memory.js", "viewer.js"),
)
EVENTS = ("lesion", "marks", "mask", "settings")
_KEY = "viewer"


@dataclass(frozen=True)
class Overlays:
    """What lies over the images. heat_name: what the map shows, in words.

    basis: the models' own segmentation, which the lesions are those of; ``mask`` may be a reader's.
    doubt: why the segmentation is not to be trusted, in a few words; it stands beside the images.
    """

    mask: Volume | None = None
    lesions: tuple[Lesion, ...] = ()
    heat: Volume | None = None
    heat_name: str = "Evidence"
    basis: Volume | None = None
    doubt: str = ""


@dataclass(frozen=True)
class Jump:
    """Move the crosshair to ``world_mm`` (RAS). A new ``nonce`` makes it happen once more."""

    nonce: int
    world_mm: tuple[float, float, float]
    lesion: int | None = None


@dataclass(frozen=True)
class Desk:
    """The reader's side of the viewer.

    reader: who leaves marks; None: nobody has said who is reading, so that marks wait in the
    browser. owner: names the signed-in user there, so that nobody gets the marks of another.
    phase: "unaided" or "aided". basis: the models' segmentation that is corrected. marks, removed:
    those stored before and those taken away, as plain values. saved: kind of event -> number of the
    last one that was dealt with; refused: key of a change -> why; problem: why something was not
    stored; note: what else the reader has to know. saved_at: of the last change stored, ISO 8601.
    settings: how the reader likes the viewer to begin (``review.view_settings``); None: they are
    not kept. receive: called with the kind (one of EVENTS) and the value of what comes back, before
    the page is drawn.
    """

    reader: str | None = None
    owner: str = ""
    phase: str = "unaided"
    basis: str | None = None
    marks: Sequence[Mapping[str, Any]] = ()
    removed: Sequence[Mapping[str, Any]] = ()
    saved: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None
    note: str | None = None
    saved_at: str | None = None
    settings: Mapping[str, Any] | None = None
    receive: Callable[[str, Mapping[str, Any]], None] | None = None

    def values(self) -> dict[str, Any]:
        """As the browser gets it."""
        return {
            "canMark": self.receive is not None,
            "reader": self.reader or "",
            "owner": self.owner,
            "phase": self.phase,
            "basis": self.basis,
            "marks": list(self.marks),
            "removed": list(self.removed),
            "saved": dict(self.saved),
            "refused": dict(self.refused),
            "problem": self.problem,
            "note": self.note,
            "savedAt": self.saved_at,
            "keepsSettings": self.settings is not None,
            "settings": dict(self.settings or {}),
        }


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
    js=script(*SCRIPTS),
)


@st.cache_resource(max_entries=12, show_spinner=False)
def _overlay(kind: str, block_id: str, _volume: Volume) -> bytes:
    make = {"mask": payload.mask_block, "heat": payload.heat_block}
    return make[kind](_volume, block_id)


@st.cache_resource(max_entries=12, show_spinner=False)
def _extents(content: str, _mask: Volume) -> tuple[LesionExtent, ...]:
    from bmcore.imaging import diameters

    return diameters.lesion_extents(_mask)


def extents(basis: Volume | None) -> tuple[LesionExtent, ...]:
    """Where the lesions of a segmentation lie, and their axial diameters; kept."""
    return () if basis is None else _extents(payload.content_id(basis), basis)


def _pass_on(kind: str, receive: Callable[[str, Mapping[str, Any]], None]) -> None:
    value = st.session_state[_KEY].get(kind)
    if value is not None:
        receive(kind, value)


def show(
    images: Images,
    overlays: Overlays = Overlays(),
    jump: Jump | None = None,
    desk: Desk = Desk(),
    beside: Beside | None = None,
) -> None:
    """Draw the viewer; t1c goes to the browser first, so that reading can begin with it."""
    data = payload.describe(images, overlays.lesions, extents(overlays.basis))
    extra: list[tuple[str, str, Volume]] = []
    for kind, volume in (("mask", overlays.mask), ("heat", overlays.heat)):
        if volume is not None:
            extra.append((kind, f"{images.case_id}/{kind}/{payload.content_id(volume)}", volume))
    found = {kind: block_id for kind, block_id, _ in extra}
    data["mask"] = found.get("mask")
    data["heat"] = {"id": found["heat"], "name": overlays.heat_name} if "heat" in found else None
    data["prior"] = None
    if beside is not None:
        data["prior"] = payload.describe_beside(images, beside)
        if beside.mask is not None:
            extra.append(("mask", data["prior"]["mask"], beside.mask))
    data["jump"] = _jump(jump)
    data["doubt"] = overlays.doubt
    data |= desk.values()
    handlers: dict[str, Any] = {f"on_{kind}_change": None for kind in EVENTS}
    if desk.receive is not None:
        handlers = {f"on_{kind}_change": partial(_pass_on, kind, desk.receive) for kind in EVENTS}
    _VIEWER(data=data, key=_KEY, **handlers)
    with st.container(key="viewer_blocks"):
        preview = images.preview()
        if preview is not None:
            _BLOCK(data=preview, key=f"block {payload.preview_id(images.ids['t1c'])}")
        for of, sequence in _in_turn(images, beside):
            _BLOCK(data=of.read(sequence), key=f"block {of.ids[sequence]}")
        for kind, block_id, volume in extra:
            _BLOCK(data=_overlay(kind, block_id, volume), key=f"block {block_id}")


def _in_turn(images: Images, beside: Beside | None) -> list[tuple[Images, str]]:
    """The sequences in the order in which they are sent: T1 post-gadolinium first, now and then."""
    both = [images] if beside is None else [images, beside.images]
    listed = [(of, sequence) for of in both for sequence in of.ids]
    return sorted(listed, key=lambda one: one[1] != "t1c")


def _jump(jump: Jump | None) -> dict[str, Any] | None:
    if jump is None:
        return None
    return {"nonce": jump.nonce, "world": list(jump.world_mm), "lesion": jump.lesion}
