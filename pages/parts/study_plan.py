"""A plan on the screen: checked, locked, amended with a reason."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from bmcore.review import plan
from bmcore.review.allocation import work_list
from bmcore.review.study import Study, read_study_text
from bmcore.settings import PROJECT
from pages.parts import guard, loaders
from pages.parts.study_seat import ARM_WORDS
from pages.parts.words import when

_EXAMPLE = PROJECT / "docs" / "examples" / "study.yaml"


def draw_new(first: bool = False) -> None:
    """Upload a plan, see what it means, lock it."""
    if first:
        st.info(
            "No study has been started. A study is planned in one file, study.yaml: readers, "
            "cases, questions, order. It is checked here, and locked when you start it."
        )
    study = _uploaded("new")
    if study is None:
        guard.download(
            "study.manage",
            "An example to start from",
            _EXAMPLE.read_bytes(),
            file_name="study.yaml",
            mime="application/yaml",
            key="example plan",
        )
        return
    ready = _draw_check(study)
    author = _author("new")
    st.caption(
        "Starting locks the plan by its hash. After that it changes only by amendments with a "
        "reason, and cases, order and questions that were asked cannot change at all."
    )
    if not ready:
        st.warning("Some cases cannot be read yet. You can start, but readers will have to wait.")
    if st.button(
        "Start the study", type="primary", icon=":material/lock:", disabled=not author.strip()
    ):
        guard.check("study.manage")
        version = plan.lock(loaders.store(), study, author.strip())
        st.query_params["study"] = study.study
        st.session_state["plan told"] = f"{study.study} is locked as version {version.version}."
        st.rerun()


def draw_versions(name: str) -> None:
    """The plan in force, the log of amendments, and a new amendment."""
    told = st.session_state.pop("plan told", None)
    if told:
        st.success(told, icon=":material/lock:")
    known = plan.versions(loaders.store(), name)
    study = known[-1].study
    st.subheader(study.title, anchor=False)
    rows = {
        "Version": [v.version for v in known],
        "Locked": [when(v.created_at) for v in known],
        "By": [v.author for v in known],
        "Reason": [v.reason or "start" for v in known],
        "Hash": [v.digest[:16] for v in known],
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    _draw_check(study)
    with st.expander("Amend the plan", icon=":material/edit_document:"):
        st.caption(
            "Readers can be added and wordings changed. Design, seeds, cases and repeats are fixed."
        )
        amended = _uploaded(name)
        if amended is None:
            return
        reason = st.text_area("Why does the plan change?", max_chars=2000, key="amend reason")
        author = _author("amend")
        if st.button("Store the amendment", disabled=not (reason.strip() and author.strip())):
            guard.check("study.manage")
            version = plan.amend(loaders.store(), amended, author.strip(), reason)
            st.session_state["plan told"] = f"Version {version.version} is in force."
            st.rerun()


def _uploaded(what: str) -> Study | None:
    file = st.file_uploader(
        "study.yaml", type=["yaml", "yml"], key=f"plan {what}", max_upload_size=1
    )
    if file is None:
        return None
    try:
        text = file.getvalue().decode("utf-8")
    except UnicodeDecodeError:
        st.error("This file is no text in UTF-8.")
        return None
    return read_study_text(text, Path(file.name).name)


def _author(what: str) -> str:
    user = guard.user()
    if not user.local:
        return user.name
    return st.text_input("Who starts or changes the plan?", key=f"author {what}", max_chars=80)


def _arms(study: Study) -> str:
    between = ", then " if study.design.kind == "sequential" else " or "
    return between.join(ARM_WORDS[arm] for arm in study.design.arms)


def _draw_check(study: Study) -> bool:
    """What the plan means; True where all its cases can be read."""
    known = {entry.case_id: entry for entry in loaders.entries()}
    absent = [c for c in study.cases if c not in known or not known[c].readable]
    helped = any(arm != "unaided" for arm in study.design.arms)
    unread = [
        c for c in study.cases if helped and c not in absent and not loaders.has_prediction(c)
    ]
    sheets = {r.id: len(work_list(study, r.id)) for r in study.readers}
    lines = [
        f"- {study.design.kind.capitalize()} design: {_arms(study)}",
        f"- {len(study.cases)} cases, {study.repeats.count} of them read twice, unannounced",
        f"- {len(study.readers)} readers: "
        + ", ".join(f"{r.name} ({sheets[r.id]} sheets)" for r in study.readers),
        f"- Hash {study.digest[:16]}",
    ]
    st.markdown("\n".join(lines))
    if absent:
        st.error("These cases are not in the work list:")
        st.text(", ".join(absent))
    if unread:
        st.warning("The models have not read these cases yet:")
        st.text(", ".join(unread))
    if not absent and not unread:
        st.success("All cases can be read.", icon=":material/check:")
    return not absent and not unread
