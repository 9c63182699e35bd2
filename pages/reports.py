"""Build the validation report, look at it, take it away."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import streamlit as st

from pages.parts import loaders
from pages.parts.guard import download, page

FORMATS = [
    ("report.pdf", "PDF", "application/pdf"),
    ("report.html", "HTML", "text/html"),
    ("votes.csv", "Votes as CSV", "text/csv"),
    ("report.json", "JSON", "application/json"),
]
BUILT = "report files"


def build() -> dict[str, bytes]:
    """All files of the report on what is stored now: name to content."""
    from bmcore.reading import demo
    from bmcore.report import dossier

    readable = [entry.case_id for entry in loaders.entries() if entry.readable]
    found = {case_id: loaders.prediction(case_id) for case_id in readable}
    predictions = {case_id: p for case_id, p in found.items() if p is not None}
    truths = demo.truths(loaders.home())
    made = dossier.build(loaders.store().votes(), predictions, truths, loaders.models().info)
    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_bytes() for path in dossier.write(made, Path(folder))}


with page("Reports", "report.build"):
    st.header("Reports", anchor=False)
    st.caption(
        "The report holds every vote with its history, the agreement between readers, and what "
        "the models answered. It names readers and pseudonyms of cases, no patient."
    )
    count = len(loaders.store().current_votes())
    if count == 0:
        st.info("There are no votes yet. The report would describe cases and models only.")
    if st.button("Build report", type="primary", icon=":material/description:"):
        with st.spinner("Building the report"):
            st.session_state[BUILT] = (count, build())
    if BUILT in st.session_state:
        then, files = st.session_state[BUILT]
        if then != count:
            st.warning("Votes were stored after this report was built. Build it again.")
        with st.container(horizontal=True):
            for name, label, mime in FORMATS:
                download(
                    "report.export",
                    label,
                    files[name],
                    file_name=f"bmcore-{name}",
                    mime=mime,
                    key=f"download {name}",
                )
        # A data address has an origin of its own: the report cannot reach into the dashboard.
        page_text = base64.b64encode(files["report.html"]).decode("ascii")
        address = f"data:text/html;charset=utf-8;base64,{page_text}"
        st.iframe(address, height=820, alt="Preview of the report")
