"""The reader's own marks and corrections on a case: kept as a draft, shown in the viewer.

What comes back from the browser is checked before it is stored. It is taken only for the case and
the reader that are on the screen, and confirmed by its number, so that the viewer sends again what
was lost on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from bmcore.domain import BmcoreError, Prediction, Volume, refuse
from bmcore.geometry import to_ras
from bmcore.reading import drafts
from pages.parts import lesions, loaders, viewer
from pages.parts.guard import unexpected


@dataclass(frozen=True)
class Seat:
    """Who sits before which case. prediction: only where the models' answers are shown."""

    case_id: str
    reader: str | None
    prediction: Prediction | None

    @property
    def basis(self) -> str | None:
        """The segmentation that verdicts on lesions are given on."""
        return viewer.payload.content_id(self.prediction.mask) if self.prediction else None

    @property
    def place(self) -> str:
        return f"desk {self.case_id} {self.reader}"


def desk(seat: Seat) -> viewer.Desk:
    """What the viewer needs to show and to take back the reader's marks."""
    noted = st.session_state.get(seat.place, {})
    marks = () if seat.reader is None else _visible(seat)[0]
    return viewer.Desk(
        reader=seat.reader,
        marks=drafts.as_values(marks),
        saved=noted.get("saved", {}),
        problem=noted.get("problem"),
        receive=lambda kind, value: receive(seat, kind, value),
    )


def receive(seat: Seat, kind: str, value: Mapping[str, Any]) -> None:
    """Store what came back; a problem is kept in words for the next drawing."""
    noted = st.session_state.setdefault(seat.place, {"saved": {}, "problem": None})
    try:
        if value.get("case") != seat.case_id:
            return  # the reader has moved on; the viewer of that case sends it again
        if kind == "lesion":
            lesions.choose(seat.case_id, value.get("number"))
            return
        _keep(seat, kind, value)
        noted["problem"] = None
    except BmcoreError as error:
        noted["problem"] = "Not stored: " + " ".join(f.sentence for f in error.findings)
    except Exception:
        noted["problem"] = f"Not stored. {unexpected()}"
    if isinstance(value.get("nonce"), int):
        noted["saved"][kind] = value["nonce"]


def _keep(seat: Seat, kind: str, value: Mapping[str, Any]) -> None:
    if seat.reader is None or value.get("reader") != seat.reader:
        raise refuse("the marks belong to another reader", hint="say who is reading, then mark.")
    home = loaders.home()
    if kind == "marks":
        numbers = [n.number for n in seat.prediction.lesions] if seat.prediction else []
        phase = "aided" if seat.prediction else "unaided"
        new = drafts.read_marks(value.get("marks"), numbers, phase, seat.basis)
        drafts.save_marks(home, seat.case_id, seat.reader, [*_visible(seat)[1], *new])
    elif kind == "mask":
        if seat.prediction is None:
            raise refuse("there is no segmentation to correct yet")
        like = seat.prediction.mask
        ras, _ = to_ras(like.data, like.affine)
        labels = drafts.decode_runs(value.get("runs"), ras.shape)
        drafts.save_mask(home, seat.case_id, seat.reader, labels, like)


def _visible(seat: Seat) -> tuple[list[drafts.Mark], list[drafts.Mark]]:
    """The reader's marks that may be shown now, and the others.

    While the models are hidden, nothing that was made with their help is shown either.
    """
    assert seat.reader is not None
    shown: list[drafts.Mark] = []
    hidden: list[drafts.Mark] = []
    for mark in drafts.load_marks(loaders.home(), seat.case_id, seat.reader):
        fits = mark.basis in (None, seat.basis)
        allowed = seat.prediction is not None or mark.phase == "unaided"
        (shown if fits and allowed else hidden).append(mark)
    return shown, hidden


def mask(seat: Seat) -> Volume | None:
    """The segmentation to show: the reader's correction, else the models' own."""
    if seat.prediction is None:
        return None
    own = loaders.corrected_mask(seat.prediction, seat.reader) if seat.reader else None
    return own if own is not None else seat.prediction.mask


def draw_correction(seat: Seat) -> None:
    """Say whose segmentation is shown, and offer the way back."""
    if seat.prediction is None or seat.reader is None:
        return
    if loaders.corrected_mask(seat.prediction, seat.reader) is None:
        return
    st.info(
        "The viewer shows your corrected segmentation. The lesion table and the answers are still "
        "those of the models' own segmentation."
    )
    if st.button("Back to the models' segmentation", key="drop_mask"):
        drafts.drop_mask(loaders.home(), seat.case_id, seat.reader)
        st.rerun()
