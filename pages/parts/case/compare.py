"""The earlier examination beside the case, and its lesions then and now.

The models' outlines of either are passed on only where ``bmcore.review.prior`` lets them through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from bmcore.domain import Prediction, Volume
from bmcore.geometry import Affine, inverse, transform, voxel_sizes_mm
from bmcore.review import prior
from bmcore.review.prior import Prior
from pages.parts import loaders, viewer
from pages.parts.access import guard
from pages.parts.case import marks, next_case, reader
from pages.parts.case.marks import ReadingContext
from pages.parts.case.run_models import run_models
from pages.parts.words import escaped, place

if TYPE_CHECKING:
    from bmcore.imaging.follow_up import FollowUp
    from bmcore.imaging.lesion_change import Change
    from bmcore.intake.case_record import CaseEntry

_WORDS = {
    "matched": "",
    "new": "no counterpart then",
    "gone": "not found now",
    "merged": "one with lesion {} now",
    "split": "part of lesion {} then",
}


@dataclass(frozen=True, eq=False)
class Compared:
    """Two examinations of one patient. linked: they are moved together. then: how the earlier one
    is read, with the models' answers where they may be seen."""

    now: ReadingContext
    then: ReadingContext
    found: FollowUp
    linked: bool

    @property
    def predictions(self) -> tuple[Prediction, Prediction] | None:
        """Of both, where both may be seen."""
        if self.now.prediction is None or self.then.prediction is None:
            return None
        return self.now.prediction, self.then.prediction


def of(reading: ReadingContext, said: Prior) -> Compared:
    """Lay the earlier examination on the case; a few seconds the first time."""
    guard.check("case.open", said.prior_id)
    assert said.prior_id is not None
    now, then = loaders.entry(reading.case_id), loaders.entry(said.prior_id)
    found = _aligned(now.images_sha256, then.images_sha256, now, then)
    shown = None
    opened = reading.prediction is not None
    opened = opened and prior.masks_open(loaders.store(), reading.reader, said)
    if opened and reader.models_shown(said.prior_id, reader.current()):  # writes that it is sent
        shown = loaders.prediction(said.prior_id)
    linked = not found.doubts or bool(st.session_state.get(_anyway(reading.case_id)))
    return Compared(reading, ReadingContext(said.prior_id, reading.reader, shown), found, linked)


@st.cache_resource(max_entries=12, show_spinner="Laying the two examinations on each other")
def _aligned(now_sha256: str, then_sha256: str, _now: CaseEntry, _then: CaseEntry) -> Any:
    from bmcore.inference import follow_up

    return follow_up.aligned(loaders.home(), _now, _then)


def _anyway(case_id: str) -> str:
    return f"link anyway {case_id}"


def draw_link(compared: Compared) -> None:
    """Above the viewer: why the two are not linked, where they are not."""
    if not compared.found.doubts:
        return
    listed = "; ".join(compared.found.doubts)
    state = "Linked all the same" if compared.linked else "Not linked: each moves by itself"
    st.warning(
        f"{state}. The alignment is doubtful: {escaped(listed)}.", icon=":material/link_off:"
    )
    st.toggle("Link them all the same", key=_anyway(compared.now.case_id))


def beside(compared: Compared) -> viewer.Beside:
    """What the viewer shows of the earlier examination."""
    images = loaders.images(compared.then.case_id)
    now = loaders.images(compared.now.case_id)
    matrix = compared.found.matrix if compared.linked else _middles(now, images)
    shown = compared.predictions
    if shown is None:
        return viewer.Beside(images, matrix, compared.linked)
    pairs = {
        c.then.number: c.now.number
        for c in changes(compared)
        if c.then is not None and c.now is not None
    }
    mask, lesions = marks.mask(compared.then), shown[1].lesions
    return viewer.Beside(images, matrix, compared.linked, mask, lesions, pairs)


def _middles(now: viewer.Images, then: viewer.Images) -> Affine:
    """The matrix that lays the middles of both images on each other, and turns nothing."""
    middles = [transform(i.affine, (np.array(i.shape) - 1) / 2) for i in (now, then)]
    matrix = np.eye(4)
    matrix[:3, 3] = middles[1] - middles[0]
    return matrix


def changes(compared: Compared) -> tuple[Change, ...]:
    """The lesions of the models, then and now; empty where they may not be seen or not matched."""
    shown = compared.predictions
    if shown is None or not compared.linked:
        return ()
    masks = [p.mask for p in shown]
    ids = " ".join(viewer.payload.content_id(mask) for mask in masks)
    key = f"{ids} {compared.found.matrix.round(6).tolist()}"
    return _changes(key, masks[0], masks[1], compared.found.matrix)


@st.cache_resource(max_entries=12, show_spinner=False)
def _changes(key: str, _now: Volume, _then: Volume, _matrix: Affine) -> Any:
    from bmcore.imaging import lesion_change

    return lesion_change.compare(_now, _then, _matrix)


# --- the table -----------------------------------------------------------------------------------


def draw(compared: Compared) -> None:
    """Lesions then and now, and the sum of target lesions; or what is missing for it."""
    shown = compared.predictions
    if shown is None:
        _draw_missing(compared)
        return
    if not compared.linked:
        st.info(
            "The lesions of the two examinations are not matched, because their alignment is "
            "doubtful (above the images)."
        )
        return
    found = changes(compared)
    if not found:
        st.info("The models found no lesion in either examination.")
    else:
        _draw_sum(found)
        _draw_table(compared, found)
    for doubt in _doubts(compared, shown):
        st.warning(escaped(doubt), icon=":material/straighten:")


def _draw_missing(compared: Compared) -> None:
    """Which answers the comparison waits for."""
    then = compared.then.case_id
    if compared.now.prediction is None:
        st.caption(
            "Lesions then and now are compared once you have seen the models' answers on both "
            "examinations; until then their outlines of neither are sent to this browser."
        )
    elif not loaders.has_prediction(then):
        st.info(f"The models have not read the earlier examination ({escaped(then)}) yet.")
        run_models(then)
    else:
        st.info(
            f"You have not seen the models' answers on the earlier examination ({escaped(then)}). "
            "Read it first; then its lesions are compared here."
        )
        if st.button(f"Open {escaped(then)}", key="open_prior", icon=":material/radiology:"):
            next_case.open_case(then)


def _draw_sum(found: Sequence[Change]) -> None:
    from bmcore.imaging import rano

    first, *rest = rano.sentences(found)
    st.markdown(f"**{escaped(first)}**")
    for sentence in rest:
        st.markdown(escaped(sentence))
    st.caption(
        "Measurements of the models' outlines, not a diagnosis. RANO-BM also asks for the clinical "
        "state, for corticosteroids and for the scans before; none of them is known here."
    )


def _table_key(compared: Compared) -> str:
    return f"compared {compared.now.case_id} {compared.then.case_id}"


def _draw_table(compared: Compared, found: Sequence[Change]) -> None:
    from bmcore.imaging.lesion_change import REACH_MM

    st.dataframe(
        _rows(compared, found),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=_table_key(compared),
        height="content" if len(found) <= 8 else 330,
        column_config={
            "Now": st.column_config.TextColumn(help="Number of the lesion now", width=45),
            "Then": st.column_config.TextColumn(help="Its number then", width=45),
            "Longest": st.column_config.TextColumn(
                help="Longest axial diameter (RANO-BM), then → now"
            ),
            "Across": st.column_config.TextColumn(
                help="Longest diameter at a right angle to it on that slice, then → now"
            ),
            "Volume": st.column_config.TextColumn(help="Tumour core, then → now"),
        },
        alt="Lesions then and now: one row a lesion",
    )
    st.caption(
        "A row leads to its lesion. Lesions that overlap after the alignment are taken for one, "
        f"else those of the nearest centres, up to {REACH_MM:.0f} mm apart. What has no "
        "counterpart may be new or gone, or was not outlined once."
    )


def _rows(compared: Compared, found: Sequence[Change]) -> pd.DataFrame:
    from bmcore.imaging.rano import signed

    assert compared.now.prediction is not None and compared.then.prediction is not None
    now = {n.number: place(n) for n in compared.now.prediction.lesions}
    then = {n.number: place(n) for n in compared.then.prediction.lesions}

    def pair(of_change: Change, name: str, unit: str, scale: float = 1.0, digits: int = 1) -> str:
        sides = [
            "–" if m is None else f"{getattr(m, name) * scale:.{digits}f}"
            for m in (of_change.then, of_change.now)
        ]
        return f"{sides[0]} → {sides[1]} {unit}"

    def change(share: float | None) -> str:
        return "" if share is None else signed(share)

    return pd.DataFrame(
        {
            "Now": ["–" if c.now is None else str(c.now.number) for c in found],
            "Then": ["–" if c.then is None else str(c.then.number) for c in found],
            "Longest": [pair(c, "longest_mm", "mm") for c in found],
            "Change": [change(c.longest_change) for c in found],
            "Remark": [_WORDS[c.kind].format(c.other) for c in found],
            "Across": [pair(c, "across_mm", "mm") for c in found],
            "Volume": [pair(c, "volume_mm3", "ml", 1e-3, 2) for c in found],
            "Volume change": [change(c.volume_change) for c in found],
            "Place": [
                now.get(c.now.number, "") if c.now is not None
                else then.get(c.then.number, "") if c.then is not None else ""
                for c in found
            ],
        }
    )  # fmt: skip


def jump(compared: Compared) -> viewer.Jump | None:
    """Where the chosen row leads; a lesion that is not there now, to where it was."""
    state = st.session_state.get(_table_key(compared))
    rows = state["selection"]["rows"] if state else []
    seen = st.session_state.setdefault(f"row of {_table_key(compared)}", {"row": None, "nonce": 0})
    row = rows[0] if rows else None
    if row != seen["row"]:
        seen.update(row=row, nonce=seen["nonce"] + 1)
    found = changes(compared)
    if row is None or row >= len(found):
        return None
    one = found[row]
    if one.now is not None:
        return viewer.Jump(seen["nonce"], one.now.centre_mm, one.now.number)
    assert one.then is not None
    x, y, z = transform(inverse(compared.found.matrix), one.then.centre_mm)
    return viewer.Jump(seen["nonce"], (float(x), float(y), float(z)))


def newest(case_id: str, *jumps: viewer.Jump | None) -> viewer.Jump | None:
    """Of several tables that lead somewhere, where the one leads that was used last."""
    noted = st.session_state.setdefault(f"jump of {case_id}", {"seen": {}, "jump": None})
    for source, asked in enumerate(jumps):
        if asked is not None and noted["seen"].get(source) != asked.nonce:
            noted["seen"][source] = asked.nonce
            nonce = noted["jump"].nonce + 1 if noted["jump"] else 1
            noted["jump"] = viewer.Jump(nonce, asked.world_mm, asked.lesion)
    return noted["jump"]


# --- doubts --------------------------------------------------------------------------------------


def _doubts(compared: Compared, shown: tuple[Prediction, Prediction]) -> list[str]:
    from bmcore.imaging import lesion_change

    sides = zip((compared.now, compared.then), shown, strict=True)
    now, then = (
        lesion_change.Examination(_thickness_mm(of.case_id), _models(p)) for of, p in sides
    )
    found = list(lesion_change.doubts(now, then, compared.found.turn_deg))
    if any(marks.correction(side).mask is not None for side in (compared.now, compared.then)):
        found.append("You have corrected a segmentation. This table measures those of the models.")
    return found


def _thickness_mm(case_id: str) -> float:
    """The longest edge of a voxel of T1 post-gadolinium, as it came."""
    entry = loaders.entry(case_id)
    affine = loaders.images(case_id).affine if entry.origin is None else entry.origin.affine
    return float(voxel_sizes_mm(np.asarray(affine)).max())


def _models(prediction: Prediction) -> str:
    info = prediction.bundle
    return f"{info.name} {info.version} ({info.digest[:8]})"
