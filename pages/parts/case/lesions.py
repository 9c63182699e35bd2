"""The lesion table, the jump to a lesion, and Grad-CAM of the chosen lesion."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, Prediction, Volume
from bmcore.inference import uncertainty
from pages.parts import loaders, viewer
from pages.parts.access import guard
from pages.parts.case import gradcam_audit, map_on_demand, open_row
from pages.parts.words import place

LONGEST, AXIAL = "3D, mm", "Axial, mm"
CORE, OEDEMA = "Core, ml", "Oedema, ml"
REMARK = "Remark"
AT_EDGE = "at the edge"
ROW_PX = 35


def _place(case_id: str) -> dict[str, Any]:
    """The chosen row of a case. nonce grows with every jump, table with every choice made in the
    picture (a table under a new key takes its selection from us)."""
    return st.session_state.setdefault(
        f"lesion of {case_id}", {"row": None, "nonce": 0, "table": 0}
    )


def _table_key(case_id: str) -> str:
    return f"lesions {case_id} {_place(case_id)['table']}"


def _chosen_row(prediction: Prediction) -> int | None:
    state = st.session_state.get(_table_key(prediction.case_id))
    if state is None:
        row = _place(prediction.case_id)["row"]
    else:
        rows = state["selection"]["rows"]
        row = rows[0] if rows else None
    return row if row is not None and row < len(prediction.lesions) else None


def choose(case_id: str, number: object) -> None:
    """A lesion was chosen in the picture: select its row. The picture is there already."""
    prediction = loaders.prediction(case_id)
    numbers = [n.number for n in prediction.lesions] if prediction is not None else []
    if number not in numbers:
        return
    place = _place(case_id)
    place.update(row=numbers.index(number), table=place["table"] + 1)


def _lead_to(case_id: str, number: str) -> None:
    """The row of a lesion was clicked: select it, and lead the viewer there."""
    if number.isdecimal():
        choose(case_id, int(number))
        _place(case_id)["nonce"] += 1


def jump(prediction: Prediction) -> viewer.Jump | None:
    """Where the chosen row leads; the nonce grows with every new choice made in the table."""
    row = _chosen_row(prediction)
    seen = _place(prediction.case_id)
    if row != seen["row"]:
        seen.update(row=row, nonce=seen["nonce"] + 1)
    if row is None or not seen["nonce"]:
        return None
    lesion = prediction.lesions[row]
    return viewer.Jump(seen["nonce"], lesion.centroid_mm, lesion.number)


def overlays(prediction: Prediction, mask: Volume | None = None) -> viewer.Overlays:
    """Segmentation (``mask`` in place of the models' own), lesions and the Grad-CAM map."""
    asked = st.session_state.get(_heat_key(prediction))
    heat, name = None, ""
    if asked is not None:
        found = map_on_demand.find(prediction, asked)
        if found is not None:
            heat, name = found.heat, f"Evidence {asked[0]}"
    shown = prediction.mask if mask is None else mask
    doubt = uncertainty.mask_doubt(prediction.novelty)
    return viewer.Overlays(shown, prediction.lesions, heat, name, prediction.mask, doubt)


def draw(prediction: Prediction) -> None:
    """The table, and below it Grad-CAM for the chosen row."""
    if not prediction.lesions:
        st.info("The models found no lesion in these images.")
        return
    st.caption("Click a row to go to its lesion; click a lesion in the images to select its row.")
    _draw_table(prediction)
    _draw_gradcam(prediction)


def _draw_table(prediction: Prediction) -> None:
    row = _place(prediction.case_id)["row"]
    st.container(key="lesion_table").dataframe(
        _rows(prediction),
        hide_index=True,
        row_height=ROW_PX,
        on_select="rerun",
        selection_mode="single-row",
        key=_table_key(prediction.case_id),
        selection_default={"selection": {"rows": [] if row is None else [row]}},
        height="content" if len(prediction.lesions) <= 8 else 330,
        column_config={
            "No.": st.column_config.NumberColumn(width=42),
            LONGEST: st.column_config.NumberColumn(
                format="%.1f", width=64, help="The longest diameter in space"
            ),
            AXIAL: st.column_config.TextColumn(
                width=96,
                help="RANO-BM: the longest diameter on an axial slice, and the longest at a right "
                "angle to it on that slice",
            ),
            CORE: st.column_config.NumberColumn(
                format="%.2f", width=70, help="Tumour core: enhancing tumour and necrosis"
            ),
            OEDEMA: st.column_config.NumberColumn(format="%.2f", width=88),
            REMARK: st.column_config.TextColumn(
                help="At the edge: within 3 mm of the outline of the brain that was drawn when "
                "the case came in. The outline may cut the lesion, or what was found may lie "
                "outside the brain."
            ),
        },
    )
    open_row.clicked("lesion_table", "No.", ROW_PX, lambda n: _lead_to(prediction.case_id, n))


def _rows(prediction: Prediction) -> pd.DataFrame:
    axial = {
        extent.number: f"{extent.axial.longest_mm:.1f} × {extent.axial.across_mm:.1f}"
        for extent in viewer.extents(prediction.mask)
    }
    table = pd.DataFrame(
        {
            "No.": [n.number for n in prediction.lesions],
            LONGEST: [n.largest_diameter_mm for n in prediction.lesions],
            AXIAL: [axial.get(n.number) for n in prediction.lesions],
            CORE: [n.volume_mm3 / 1000 for n in prediction.lesions],
            OEDEMA: [n.oedema_mm3 / 1000 for n in prediction.lesions],
            "Place": [place(n) for n in prediction.lesions],
        }
    )
    if any(n.at_edge for n in prediction.lesions):
        table[REMARK] = [AT_EDGE if n.at_edge else "" for n in prediction.lesions]
    return table


def draw_download(prediction: Prediction) -> None:
    """The models' segmentation as a file that lies on T1 post-gadolinium as it came."""
    guard.check("case.open", prediction.case_id)
    guard.download(
        "case.open",
        "The models' segmentation (NIfTI)",
        lambda: _mask_file(prediction),
        file_name=f"{prediction.case_id}-mask.nii.gz",
        mime="application/gzip",
        key="mask_load",
    )
    st.caption(
        "On the grid of T1 post-gadolinium as you brought it. Labels: 1 necrosis, 2 oedema, 3 "
        "enhancing tumour."
    )


def _mask_file(prediction: Prediction) -> bytes:
    from bmcore.inference.archive import mask_as_came
    from bmcore.review.corrections import as_file

    return as_file(mask_as_came(prediction))


def _heat_key(prediction: Prediction) -> str:
    return f"heat {prediction.case_id}"


def _draw_gradcam(prediction: Prediction) -> None:
    """Choose a map of the chosen lesion; below, what is known of the map that is shown."""
    st.markdown("**Where the image net looked**")
    row = _chosen_row(prediction)
    asked = st.session_state.get(_heat_key(prediction))
    if row is None:
        st.caption("Choose a lesion above to see its map.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if row is not None:
            _offer_map(prediction, prediction.lesions[row].number)
        if asked is not None and st.button("Remove the map", key="hide_gradcam"):
            del st.session_state[_heat_key(prediction)]
            st.rerun()
    if asked is None:
        return
    found = map_on_demand.find(prediction, asked)
    if found is None:
        map_on_demand.follow(prediction.case_id, *asked)
        return
    words = f"lesion {asked[0]} and {PRIMARY_NAMES[asked[1]]}"
    if found.heat.data.any():
        st.markdown(f"The viewer shows the map for {words}.")
    else:
        st.info(f"The map for {words} is empty: nothing there speaks for this primary.")
    gradcam_audit.draw(found.audit)
    st.caption(
        "Bright places in this lesion's cube (48 mm) raised the net's score for this primary. 1 "
        "is the strongest place of this lesion alone, so lesions cannot be compared. The map does "
        "not show where the tumour is, nor that the net is right. It is made by Grad-CAM; where "
        "that does not pass its check, by integrated gradients: what each place adds to the score "
        "while the lesion, made grey at first, takes on its brightness."
    )


def _offer_map(prediction: Prediction, number: int) -> None:
    top = prediction.image.top or prediction.fused.top
    primary = st.selectbox(
        "Evidence for",
        PRIMARIES,
        index=PRIMARIES.index(top) if top else 0,
        format_func=lambda p: PRIMARY_NAMES[p],
        key=f"gradcam primary {prediction.case_id}",
    )
    if st.button(f"Show for lesion {number}", key="show_gradcam"):
        if map_on_demand.find(prediction, (number, primary)) is None:
            map_on_demand.ask(prediction, (number, primary))
        st.session_state[_heat_key(prediction)] = (number, primary)
        st.rerun()
