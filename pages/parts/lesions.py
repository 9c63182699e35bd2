"""The lesion table, the jump to a lesion, and Grad-CAM of the chosen lesion."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, Case, Prediction, Primary, Volume
from pages.parts import loaders, viewer
from pages.parts.words import place


def _table_key(prediction: Prediction) -> str:
    return f"lesions {prediction.case_id}"


def _chosen_row(prediction: Prediction) -> int | None:
    state = st.session_state.get(_table_key(prediction))
    rows = state["selection"]["rows"] if state else []
    return rows[0] if rows and rows[0] < len(prediction.lesions) else None


def jump(prediction: Prediction) -> viewer.Jump | None:
    """Where the chosen row leads; the nonce grows with every new choice."""
    row = _chosen_row(prediction)
    seen = st.session_state.setdefault(f"jump {prediction.case_id}", {"row": None, "nonce": 0})
    if row != seen["row"]:
        seen.update(row=row, nonce=seen["nonce"] + 1)
    if row is None:
        return None
    return viewer.Jump(seen["nonce"], prediction.lesions[row].centroid_mm)


def overlays(prediction: Prediction) -> viewer.Overlays:
    """Segmentation, lesions and, where asked for, the Grad-CAM map."""
    asked = st.session_state.get(_heat_key(prediction))
    heat, name = None, ""
    if asked is not None:
        number, primary = asked
        heat = _gradcam(prediction, number, primary)
        name = f"Grad-CAM {number}"
    return viewer.Overlays(prediction.mask, prediction.lesions, heat, name)


def draw(case: Case, prediction: Prediction) -> None:
    """The table, and below it Grad-CAM for the chosen row."""
    if not prediction.lesions:
        st.info("The models found no lesion in these images.")
        return
    st.caption("Choose a row: the viewer jumps to the lesion.")
    st.dataframe(
        _rows(prediction),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=_table_key(prediction),
        height="content" if len(prediction.lesions) <= 8 else 330,
        column_config={
            "Diameter": st.column_config.NumberColumn(format="%.1f mm"),
            "Core": st.column_config.NumberColumn(format="%.2f ml", help="Enhancing and necrotic"),
            "Oedema": st.column_config.NumberColumn(format="%.2f ml"),
        },
    )
    _draw_gradcam(prediction)


def _rows(prediction: Prediction) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "No.": [n.number for n in prediction.lesions],
            "Place": [place(n) for n in prediction.lesions],
            "Diameter": [n.largest_diameter_mm for n in prediction.lesions],
            "Core": [n.volume_mm3 / 1000 for n in prediction.lesions],
            "Oedema": [n.oedema_mm3 / 1000 for n in prediction.lesions],
        }
    )


def _heat_key(prediction: Prediction) -> str:
    return f"heat {prediction.case_id}"


def _draw_gradcam(prediction: Prediction) -> None:
    row = _chosen_row(prediction)
    st.markdown("**Where the image net looked (Grad-CAM)**")
    if row is None:
        st.caption("Choose a lesion above first.")
        return
    number = prediction.lesions[row].number
    top = prediction.image.top or prediction.fused.top
    primary = st.selectbox(
        "Evidence for",
        PRIMARIES,
        index=PRIMARIES.index(top) if top else 0,
        format_func=lambda p: PRIMARY_NAMES[p],
        key=f"gradcam primary {prediction.case_id}",
    )
    left, right = st.columns(2)
    if left.button(f"Show for lesion {number}", key="show_gradcam"):
        with st.spinner("Computing the map"):
            _gradcam(prediction, number, primary)
        st.session_state[_heat_key(prediction)] = (number, primary)
        st.rerun()
    asked = st.session_state.get(_heat_key(prediction))
    if asked and right.button("Remove the map", key="hide_gradcam"):
        del st.session_state[_heat_key(prediction)]
        st.rerun()
    if asked:
        words = f"lesion {asked[0]} and {PRIMARY_NAMES[asked[1]]}"
        if _gradcam(prediction, *asked).data.any():
            st.success(f"The viewer shows the map for {words}.")
        else:
            st.info(f"The map for {words} is empty: nothing there speaks for this primary.")
    st.caption(
        "Bright places in this lesion's cube (48 mm) raised the net's score for this primary. "
        "1 is the strongest place of this lesion alone, so lesions cannot be compared. The map "
        "does not show where the tumour is, and not that the net is right."
    )


def _gradcam(prediction: Prediction, number: int, primary: Primary) -> Volume:
    mask = viewer.payload.content_id(prediction.mask)
    stamp = loaders.case_stamp(prediction.case_id)
    return _cached_gradcam(prediction.bundle.digest, f"{stamp} {mask}", number, primary, prediction)


@st.cache_resource(max_entries=12, show_spinner=False)
def _cached_gradcam(
    digest: str, stamp: str, number: int, primary: Primary, _prediction: Prediction
) -> Volume:
    from bmcore.reading import explain

    case = loaders.case(_prediction.case_id)
    return explain.gradcam(loaders.bundle(), case, _prediction, number, primary)
