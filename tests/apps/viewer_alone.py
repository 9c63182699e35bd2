"""The viewer with a made-up case, for the tests in Chromium.

Query: ``sizes=1,1,5`` stretches the voxels; ``turn=LPS`` stores the file in another voxel order;
``tilt=20`` tilts the grid by as many degrees; ``folder=PATH`` reads a real case; ``unaided=1``
shows images alone; ``heat=1`` adds a map; ``big=1`` takes 240 x 240 x 155 voxels;
``prior=linked`` or ``prior=apart`` puts an earlier examination beside: the same head, 5 mm further
right, 3 mm further back and 2 mm higher in its own world, its file in another voxel order.
What comes back from the viewer is written below it as JSON.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import streamlit as st

from bmcore.domain import Case, Volume
from bmcore.geometry import to_ras
from bmcore.review import corrections, marks, view_settings
from pages.parts import viewer
from tests import pages_fixture as fixture
from tests.volumes_fixture import turned


@st.cache_resource
def build(query: tuple[tuple[str, str], ...]):
    """The case, its images as blocks, and a prediction."""
    asked = dict(query)
    if "folder" in asked:
        from pathlib import Path

        from bmcore.intake import nifti

        case = nifti.read_case(Path(asked["folder"]))
        return case, viewer.Images.of(case, "1"), None
    sizes = tuple(float(v) for v in asked.get("sizes", "1,1,1").split(","))
    case = fixture.make_case(sizes_mm=sizes)  # type: ignore[arg-type]
    prediction = fixture.make_prediction(case)
    mask = prediction.mask
    if "big" in asked:
        case, mask = fixture.make_big_case()
    tilt = np.eye(4)
    angle = np.radians(float(asked.get("tilt", 0)))
    tilt[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]

    def place(volume: Volume) -> Volume:
        return turned(Volume(volume.data, tilt @ volume.affine), asked.get("turn", "RAS"))

    case = Case(case.case_id, {s: place(v) for s, v in case.sequences.items()}, case.clinical)
    return case, viewer.Images.of(case, "1"), (place(mask), prediction.lesions)


st.set_page_config(layout="wide")
query = tuple(sorted(st.query_params.to_dict().items()))
case, images, predicted = build(query)
asked = dict(query)
state = st.session_state
back = state.setdefault(
    "back", {"marks": [], "known": {}, "saved": {}, "lesion": None, "mask": None}
)


def receive(kind: str, value) -> None:
    if kind == "lesion":
        back["lesion"] = value["number"]
    elif kind == "settings":
        back["settings"] = view_settings.check(value["settings"])
    elif kind == "marks":
        for change in value["changes"]:
            there = {m.id: m for m in back["marks"]}
            if change["action"] == "set":
                mark = marks.read_mark(change["mark"], change["content"], scene)
            else:
                mark = replace(back["known"][change["mark"]], version=change["after"] + 1)
            back["known"][mark.id] = there[mark.id] = mark
            if change["action"] == "removed":
                del there[mark.id]
            back["marks"] = list(there.values())
    else:
        base = to_ras(mask.data, mask.affine)[0] if back["mask"] is None else back["mask"].data
        strokes = corrections.read_strokes(value["strokes"], base.size)
        back["mask"] = Volume(corrections.paint(base, strokes), case.grid.affine)
    back["saved"][kind] = value["nonce"]


scene = marks.Scene("aided", (1, 2), "0" * 8)
jump = None
if st.button("Jump left"):
    state.nonce = state.get("nonce", 0) + 1
if "nonce" in state:
    jump = viewer.Jump(state.nonce, fixture.LEFT_MM, 1)
overlays = viewer.Overlays()
if predicted is not None and "unaided" not in asked:
    mask, lesions = predicted
    heat = None
    if "heat" in asked:
        heat = Volume((np.asarray(mask.data) > 0).astype(np.float32), mask.affine)
    overlays = viewer.Overlays(back["mask"] or mask, lesions, heat, "Grad-CAM 1", mask)
beside = None
if predicted is not None and "prior" in asked:
    moved = np.eye(4)
    moved[:3, 3] = (5.0, -3.0, 2.0)

    def then(volume: Volume) -> Volume:
        return turned(Volume(volume.data, moved @ volume.affine), "LPS")

    earlier = Case("THEN-1", {s: then(v) for s, v in case.sequences.items()}, case.clinical)
    lay = [
        replace(n, centroid_mm=tuple(np.array(n.centroid_mm) + moved[:3, 3])) for n in predicted[1]
    ]
    beside = viewer.Beside(
        viewer.Images.of(earlier, "1"),
        moved,
        asked["prior"] == "linked",
        then(predicted[0]),
        tuple(lay),
        {1: 1, 2: 2},
    )
shown = marks.as_values(back["marks"])
gone = [m for name, m in back["known"].items() if name not in {m.id for m in back["marks"]}]
at = datetime.now(UTC).isoformat() if back["saved"] else None
desk = viewer.Desk(
    reader="Dr A",
    marks=shown,
    removed=marks.as_values(gone),
    saved=back["saved"],
    saved_at=at,
    settings=back.get("settings", {}),
    receive=receive,
)
viewer.show(images, overlays, jump, desk, beside)
painted = back["mask"].data if back["mask"] is not None else None
report = {
    "lesion": back["lesion"],
    "marks": shown,
    "settings": back.get("settings"),
    "painted": None if painted is None else np.bincount(painted.ravel(), minlength=4).tolist(),
}
st.code(json.dumps(report), language=None)
st.write("Script finished")
