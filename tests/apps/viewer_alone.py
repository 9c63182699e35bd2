"""The viewer with a made-up case, for tests/test_browser.py; query ``sizes=1,1,5`` stretches it."""

import streamlit as st

from pages.parts import viewer
from tests import pages_fixture as fixture

st.set_page_config(layout="wide")
sizes = tuple(float(v) for v in st.query_params.get("sizes", "1,1,1").split(","))
case = fixture.make_case(sizes_mm=sizes)  # type: ignore[arg-type]
prediction = fixture.make_prediction(case)
jump = None
if st.button("Jump left"):
    st.session_state.nonce = st.session_state.get("nonce", 0) + 1
if "nonce" in st.session_state:
    jump = viewer.Jump(st.session_state.nonce, fixture.LEFT_MM)
overlays = viewer.Overlays(prediction.mask, prediction.lesions)
viewer.show(case, "1", overlays, jump)
st.write("Script finished")
