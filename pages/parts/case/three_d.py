"""The 3D view, only when asked for: NiiVue in the browser, from the package itself.

Nothing of it is loaded or sent before the switch is on. It gets the T1 Gd block that the viewer has
anyway and, only where ``Overlays`` hold it, the segmentation; so what may not be seen is not sent.
Its own menu is left out: one of its entries would fetch an example from the internet.
"""

from __future__ import annotations

import gzip
import importlib
from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import streamlit as st

from bmcore.domain import Label, Volume
from bmcore.geometry import to_ras
from pages.parts.viewer import Overlays, payload
from pages.parts.viewer.payload import Images

_GZIP_LEVEL = 1
_MIDDLE_GREY = 160  # white of the window: what is brighter is told apart still
SIDE = 560  # pixels; NiiVue draws a square
CORE = (Label.NETC, Label.ET)


def draw(images: Images, overlays: Overlays) -> None:
    """The switch below the viewer, and the view once it is on."""
    if not st.toggle("3D view", key="three_d", help="Turn by dragging, zoom with the wheel."):
        return
    show = _component()
    if show is None:
        st.info("The 3D view is not installed here: it needs the package niivue-streamlit.")
        return
    with st.spinner("Preparing the 3D view"):
        brain = _brain(images.ids["t1c"], images)
        parts = [] if overlays.mask is None else _tumour(overlays.mask)
    with st.container(width=SIDE):
        show(
            nifti_data=brain,
            filename="t1c.nii.gz",
            overlays=parts,
            height=SIDE,
            view_mode="3d",
            styled=False,
            settings={"crosshair": False},
            update_interval_ms=None,
            key=f"three_d {images.case_id} {len(parts)}",
        )
    words = "T1 Gd, with the tumour core shining through in red" if parts else "T1 Gd"
    st.caption(
        f"{words}. For orientation only: small lesions can be hidden, and the number in the corner "
        "is a shade of grey, not the file's value. Turn it by dragging."
    )


def _component() -> Callable[..., Any] | None:
    try:
        return importlib.import_module("niivue_component").niivue_viewer
    except ImportError:
        return None


@st.cache_resource(max_entries=2, show_spinner=False)
def _brain(block_id: str, _images: Images) -> bytes:
    block = _images.read("t1c")
    window = payload.read_header(block)["presets"][0]
    share = (payload.read_voxels(block) - window["low"]) / (window["high"] - window["low"])
    grey = np.clip(share * _MIDDLE_GREY, 0, 255).astype(np.uint8)
    _, affine = to_ras(np.broadcast_to(np.uint8(0), _images.shape), _images.affine)
    return nifti(grey, affine)


def _tumour(mask: Volume) -> list[dict[str, Any]]:
    return _cached_tumour(payload.content_id(mask), mask)


@st.cache_resource(max_entries=2, show_spinner=False)
def _cached_tumour(content: str, _mask: Volume) -> list[dict[str, Any]]:
    """The core alone: the oedema around it would hide it."""
    core = np.isin(np.asarray(_mask.data), CORE)
    if not core.any():
        return []
    data = nifti(core.astype(np.uint8), _mask.affine)
    return [{"data": data, "name": "core.nii.gz", "colormap": "red", "opacity": 1}]


def nifti(data: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64]) -> bytes:
    """A gzipped NIfTI file of the voxels, in memory."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), _GZIP_LEVEL, mtime=0)
