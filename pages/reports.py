"""Build the validation report, look at it, take it away."""

from __future__ import annotations

import base64
import tempfile
from datetime import date, datetime
from pathlib import Path

import streamlit as st

from pages.parts import loaders
from pages.parts.access.guard import download, page
from pages.parts.agreement import source
from pages.parts.case import reader

KINDS = {
    "report.pdf": ("PDF", "application/pdf"),
    "report.html": ("HTML", "text/html"),
    "votes.csv": ("Votes as CSV", "text/csv"),
    "answers.csv": ("Answers as CSV", "text/csv"),
    "results.csv": ("Results as CSV", "text/csv"),
    "report.json": ("JSON", "application/json"),
    "readings.csv": ("Readings as CSV", "text/csv"),
    "readings.parquet": ("Readings as Parquet", "application/vnd.apache.parquet"),
    "codebook.csv": ("Codebook of the readings", "text/csv"),
    "imrmc.csv": ("Scores for iMRMC", "text/csv"),
    "drawings.zip": ("Masks and marks", "application/zip"),
    "preferences.csv": ("Blinded preferences", "text/csv"),
    "preferences-codebook.csv": ("Codebook of the preferences", "text/csv"),
}
REPORT = ("report.pdf", "report.html")
BUILT = "report files"


def build(name: str, mixed_models: bool = False) -> dict[str, bytes]:
    """All files of the report on what is stored now: name to content."""
    from bmcore.report.make import make
    from bmcore.report.write import write
    from bmcore.settings import settings

    study = None if name == source.FREE else name
    rests = {case_id: loaders.evidence(case_id, shown=True) for case_id in _closing(name)}
    source.note_what_is_shown(rests, "report")
    made = make(
        loaders.home(),
        loaders.store(),
        settings().url,
        source.predictions(),
        source.known_primaries(),
        loaders.models().info,
        study,
        mixed_models=mixed_models,
    )
    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_bytes() for path in write(made, Path(folder))}


def _closing(name: str) -> set[str]:
    """Cases whose answers of the models the report names and this user has not seen."""
    named = set(source.predictions()) & {e.case_id for e in loaders.entries()}
    if name != source.FREE:
        from bmcore.review.record import read_record

        record = read_record(loaders.store(), name)
        named &= set(record.study.cases) if record.finished else set()
    return named - loaders.store().shown_to(reader.acting())


def draw_built(files: dict[str, bytes], stem: str) -> None:
    """The report to take away, the data behind it, and the report as a page. stem: begins the
    names of the files."""
    with st.container(horizontal=True):
        for name in REPORT:
            _offer(name, files[name], stem)
        with st.popover("Data behind it", icon=":material/table_view:"):
            for name in files:
                if name not in REPORT:
                    _offer(name, files[name], stem)
    # A data address has an origin of its own: the report cannot reach into the dashboard.
    page_text = base64.b64encode(files["report.html"]).decode("ascii")
    address = f"data:text/html;charset=utf-8;base64,{page_text}"
    st.iframe(address, height=820, alt="Preview of the report")


def _offer(name: str, content: bytes, stem: str) -> None:
    label, mime = KINDS[name]
    whole = f"{stem}.{name.split('.')[1]}" if name in REPORT else f"{stem}-{name}"
    download("report.export", label, content, file_name=whole, mime=mime, key=f"download {name}")


def file_stem(name: str, day: date) -> str:
    """How the files of a report are named: by study and date."""
    return f"{'free-votes' if name == source.FREE else name}-{day:%Y-%m-%d}"


with page("Reports", "report.build"):
    loaders.entries()  # makes the demo cases at the first start
    st.header("Reports", anchor=False)
    st.caption(
        "The report lists who read what, every result with its interval, cases that went wrong, "
        "changes to the plan, and the hashes that show that nothing was altered. It names readers "
        "and pseudonyms of cases, but no patient."
    )
    name = source.pick()
    picked = source.gather(name)
    if picked.running:
        st.info(
            "The study is running. Its report shows the plan and the progress; answers and effects "
            "come in once every reading is locked or skipped."
        )
    elif not picked.source.readings:
        st.info("There are no votes yet. The report would describe cases and models only.")
    closing = len(_closing(name))
    if closing:
        cases = "1 case" if closing == 1 else f"{closing} cases"
        st.caption(
            f"The report names the models' answers. Once you have built it, you cannot vote "
            f"without the models on {cases} that you have not read with them."
        )
    mixed = not picked.running and st.checkbox(
        "Mixed models too: period, subgroups, learning (exploratory; minutes for a large study)",
        key="mixed models",
    )
    if st.button("Build report", type="primary", icon=":material/description:"):
        with st.spinner("Building the report; about half a minute"):
            stem = file_stem(name, datetime.now().astimezone().date())
            st.session_state[BUILT] = (picked.stamp, build(name, mixed), stem)
    if BUILT in st.session_state:
        then, files, stem = st.session_state[BUILT]
        if then != picked.stamp:
            st.warning(
                "Something has been stored or chosen since this report was built. Build it again."
            )
        draw_built(files, stem)
