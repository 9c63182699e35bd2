"""The reader's own marks and corrections on a case: each change is stored, and shown in the viewer.

What comes back from the browser is checked before it is stored. It is taken only for the case and
the reader that are on the screen, and confirmed by its number; what was not confirmed stays in the
browser, which sends it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from bmcore.domain import BmcoreError, Prediction, Volume, refuse
from bmcore.geometry import to_ras
from bmcore.review import corrections, marks, marks_table, old_drafts, view_settings
from bmcore.review.corrections import Canvas, State
from bmcore.review.marks import Kept, Scene
from bmcore.review.owner import Owner
from pages.parts import loaders, viewer
from pages.parts.access import guard
from pages.parts.access.guard import unexpected
from pages.parts.case import lesions, reader
from pages.parts.words import escaped

_REMOVED_SHOWN = 20  # of the marks that were taken away, the last ones can be brought back


@dataclass(frozen=True)
class ReadingContext:
    """Who sits before which case. prediction: only where the models' answers are shown.

    reader: under whom marks are kept, in a study a name of this reading alone. person: who that is.
    """

    case_id: str
    reader: str | None
    prediction: Prediction | None
    person: str | None = None

    @property
    def basis(self) -> str | None:
        """The segmentation that verdicts on lesions are given on."""
        return viewer.payload.content_id(self.prediction.mask) if self.prediction else None

    @property
    def scene(self) -> Scene:
        if self.prediction is None:
            return Scene("unaided")
        return Scene("aided", tuple(n.number for n in self.prediction.lesions), self.basis)

    @property
    def owner(self) -> Owner | None:
        return Owner(self.case_id, self.reader) if self.reader else None

    @property
    def viewer_of(self) -> str:
        """Whose settings of the viewer count."""
        return self.person or self.reader or reader.owner()

    @property
    def place(self) -> str:
        return f"desk {self.case_id} {self.reader}"


@dataclass(frozen=True)
class Correction:
    """What is known of the reader's corrected segmentation. mask: where it is shown.

    older: it was painted on an earlier segmentation of the models. problem: why its file cannot be
    used.
    """

    state: State | None = None
    mask: Volume | None = None
    older: bool = False
    problem: str | None = None


def desk(reading: ReadingContext) -> viewer.Desk:
    """What the viewer needs to show and to take back the reader's marks."""
    noted = st.session_state.get(reading.place, {})
    kept, note = _kept(reading)
    helped = reading.prediction is not None
    shown = [mark for mark in kept.marks if mark.visible(helped, reading.basis)]
    gone = [mark for mark in kept.removed if mark.visible(helped, reading.basis)]
    removed = gone[-_REMOVED_SHOWN:]
    now = _state(reading)
    times = [at for at in (kept.saved_at, now.at if now else None) if at is not None]
    return viewer.Desk(
        reader=reading.reader,
        owner=reader.owner(),
        phase=reading.scene.phase,
        basis=reading.basis,
        marks=marks.as_values(shown),
        removed=marks.as_values(removed),
        saved=noted.get("saved", {}),
        refused=noted.get("refused", {}),
        problem=noted.get("problem"),
        note=note,
        saved_at=max(times).isoformat() if times else None,
        settings=view_settings.load(loaders.home(), reading.viewer_of),
        receive=lambda kind, value: receive(reading, kind, value),
    )


def receive(reading: ReadingContext, kind: str, value: Mapping[str, Any]) -> None:
    """Store what came back; a problem is kept in words for the next drawing."""
    noted = st.session_state.setdefault(
        reading.place, {"saved": {}, "refused": {}, "problem": None}
    )
    try:
        if value.get("case") != reading.case_id:
            return  # the reader has moved on; the viewer of that case sends it again
        if kind == "lesion":
            lesions.choose(reading.case_id, value.get("number"))
        elif kind == "settings":
            view_settings.save(loaders.home(), reading.viewer_of, value.get("settings"))
        else:
            noted["refused"] = _keep(reading, kind, value)
            noted["problem"] = None
    except BmcoreError as error:
        noted["problem"] = " ".join(f.sentence for f in error.findings)
    except Exception:
        noted["problem"] = unexpected()
    else:
        if isinstance(value.get("nonce"), int):
            noted["saved"][kind] = value["nonce"]


def turn_away(reading: ReadingContext, words: str) -> None:
    """Say why nothing is stored now; what was marked stays in the browser."""
    noted = st.session_state.setdefault(
        reading.place, {"saved": {}, "refused": {}, "problem": None}
    )
    noted["problem"] = words


def _keep(reading: ReadingContext, kind: str, value: Mapping[str, Any]) -> dict[str, str]:
    owner = reading.owner
    if owner is None or value.get("reader") != reading.reader:
        raise refuse("the marks belong to another reader", hint="say who is reading, then mark.")
    if kind == "marks":
        return marks.record(loaders.store(), owner, value.get("changes"), reading.scene)
    if reading.prediction is None or reading.basis is None:
        raise refuse("there is no segmentation to correct yet")
    if value.get("basis") != reading.basis:
        raise refuse(
            "this was painted on an earlier segmentation of the models",
            hint="discard it, and paint on the one that is shown now.",
        )
    like = reading.prediction.mask
    ras, _ = to_ras(like.data, like.affine)
    strokes = corrections.read_strokes(value.get("strokes"), ras.size)
    canvas = Canvas(loaders.home(), like, reading.basis)
    corrections.save(loaders.store(), owner, strokes, canvas)
    return {}


def _kept(reading: ReadingContext) -> tuple[Kept, str | None]:
    """The reader's marks, those of earlier versions of bmcore too, and what is wrong with them."""
    owner = reading.owner
    if owner is None:
        return Kept(), None
    problem = _adopt(owner)
    return loaders.store().read(lambda connection: marks.in_force(connection, owner)), problem


def _adopt(owner: Owner) -> str | None:
    """Bring in what earlier versions of bmcore kept in files; what is wrong with it."""
    try:
        old_drafts.adopt(loaders.store(), loaders.home(), owner)
    except BmcoreError as error:
        return " ".join(finding.sentence for finding in error.findings)
    return None


def _state(reading: ReadingContext) -> State | None:
    owner = reading.owner
    if owner is None or reading.prediction is None:
        return None
    return loaders.store().read(lambda connection: corrections.state(connection, owner))


def correction(reading: ReadingContext) -> Correction:
    """The reader's correction of the segmentation on the screen, or why it is not shown."""
    if reading.owner is not None:
        _adopt(reading.owner)  # what is wrong with it is said in the viewer
    now = _state(reading)
    if now is None or now.sha256 is None or reading.prediction is None:
        return Correction(now)
    if not now.fits(reading.basis):
        return Correction(now, older=True)
    try:
        return Correction(now, loaders.corrected_mask(now.sha256, reading.prediction.mask))
    except BmcoreError as error:
        return Correction(now, problem=" ".join(f.sentence for f in error.findings))


def mask(reading: ReadingContext) -> Volume | None:
    """The segmentation to show: the reader's correction, else the models' own."""
    if reading.prediction is None:
        return None
    own = correction(reading).mask
    return own if own is not None else reading.prediction.mask


def warn(reading: ReadingContext) -> None:
    """Say below the viewer why the reader's correction is not shown in it."""
    found = correction(reading)
    if found.problem:
        st.error(f"Your corrected segmentation is not shown: {escaped(found.problem)}")
    elif found.older:
        st.warning(
            "The models have made another segmentation since you corrected theirs. Your correction "
            "is kept but not shown. What you paint now begins with the new segmentation."
        )


def draw_correction(reading: ReadingContext) -> None:
    """Say whose segmentation is shown, and offer the ways back and forth."""
    if reading.prediction is None or reading.owner is None:
        return
    found = correction(reading)
    if found.state is None:
        return
    if found.older:
        _button("Show my correction anyway", "restore_mask", reading)
        return
    if found.mask is not None:
        st.info(
            "The viewer shows your corrected segmentation. The lesion table and the answers are "
            "still those of the models' own segmentation."
        )
        if found.state.basis is None:
            st.caption("An earlier version of bmcore stored it, without the segmentation below it.")
    elif not found.problem:
        st.info("The viewer shows the models' segmentation. Your correction is put aside.")
        _button("Undo: bring my correction back", "restore_mask", reading)
        return
    with st.popover("Back to the models' segmentation", icon=":material/undo:"):
        st.markdown(
            "Your correction is put aside and the models' segmentation is shown again. The "
            "correction is not deleted; you can bring it back here."
        )
        _button("Put my correction aside", "drop_mask", reading)


def draw_downloads(reading: ReadingContext) -> None:
    """The reader's own marks as a table and the own corrected segmentation as a file."""
    if reading.reader is None:
        return
    kept, _ = _kept(reading)
    shown = [m for m in kept.marks if m.visible(reading.prediction is not None, reading.basis)]
    own = correction(reading).mask
    if not shown and own is None:
        return
    guard.check("case.open", reading.case_id)
    with st.container(horizontal=True):
        if shown:
            guard.download(
                "case.open",
                "Your marks (CSV)",
                marks_table.marks_csv(reading.case_id, reading.reader, shown),
                file_name=f"{reading.case_id}-marks.csv",
                mime="text/csv",
            )
        if own is not None:
            guard.download(
                "case.open",
                "Your corrected segmentation (NIfTI)",
                corrections.as_file(own),
                file_name=f"{reading.case_id}-corrected-mask.nii.gz",
                mime="application/gzip",
            )


def _button(words: str, key: str, reading: ReadingContext) -> None:
    act = corrections.drop if key == "drop_mask" else corrections.restore
    if st.button(words, key=key):
        assert reading.owner is not None and reading.basis is not None
        act(loaders.store(), reading.owner, reading.basis)
        st.rerun()
