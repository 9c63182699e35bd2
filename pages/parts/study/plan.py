"""A plan on the screen: checked, locked, amended with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from bmcore.domain import ARM_WORDS, Finding
from bmcore.review import example, plan, readiness, start
from bmcore.review.allocation import work_list
from bmcore.review.study import Study, read_study_text
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.study import form
from pages.parts.study import readiness as study_ready
from pages.parts.words import count, escaped, when


def draw_told() -> None:
    """What was locked or amended a moment ago."""
    told = st.session_state.pop("plan told", None)
    if told:
        st.success(told, icon=":material/lock:")


def draw_new(first: bool = False) -> None:
    """Choose a plan, see what it means and what is missing, lock it."""
    if first:
        st.info(
            "No study has been started. Fill in its plan: readers, cases, questions, what is to be "
            "shown. It is checked here, and locked when you start it."
        )
    study = _planned()
    if study is None:
        return
    _draw_summary(study)
    found = study_ready.facts(study)
    checks = readiness.checks(study, found)
    st.subheader("Is everything there?", anchor=False)
    study_ready.draw(study, found, checks)
    _draw_lock(study, [f for one in checks for f in one.findings])


def _planned() -> Study | None:
    """The plan from the form, or from a file."""
    ways = {"form": "Fill in a form", "file": "Use a file"}
    way = st.segmented_control(
        "Plan",
        list(ways),
        default="file" if _kept("new") in st.session_state else "form",
        format_func=ways.__getitem__,
        key="plan way",
        label_visibility="collapsed",
        required=True,
    )
    if way == "file":
        study = _chosen("new")
        if study is None:
            _offer_example()
        return study
    text = form.draw()
    if text is None:
        return None
    study = read_study_text(text, "the form")
    guard.download(
        "study.manage",
        "Download the plan",
        text.encode("utf-8"),
        file_name=f"{study.study}.yaml",
        mime="application/yaml",
        key="plan from the form",
    )
    return study


def _offer_example() -> None:
    text = example.fitted(loaders.entries(), loaders.store())
    guard.download(
        "study.manage",
        "An example to start from",
        text.encode("utf-8"),
        file_name="study.yaml",
        mime="application/yaml",
        key="example plan",
    )
    st.caption(
        "It holds the cases that are here and the readers with an account; the rest is marked to "
        "be filled in."
    )


def _draw_lock(study: Study, findings: Sequence[Finding]) -> None:
    """The id typed, the warnings accepted, and the one button that locks."""
    faults, warned = readiness.blocking(findings), readiness.warnings(findings)
    st.subheader("Lock it", anchor=False)
    st.caption(
        "A locked plan cannot be taken back. It can change only by amendments with a reason; "
        "cases, order, design and the questions that were asked cannot change at all."
    )
    token = f"{study.digest[:16]} {len(warned)}"
    accepted = not warned or st.checkbox(
        f"I have read {_warnings(warned)} and lock the plan anyway.",
        key=f"accept {token}",
    )
    author = _author("new")
    typed = st.text_input(
        f"Type the study's id to lock it: {escaped(study.study)}",
        key=f"typed {study.digest[:16]}",
        max_chars=80,
        width=420,
    )
    needs = {
        f"{count(len(faults), 'fault')} to fix": not faults,
        "the tick that you have read the warnings": accepted,
        "who starts the study": bool(author.strip()),
        "the id, typed as in the plan, then Enter": typed.strip() == study.study,
    }
    lacking = [words for words, there in needs.items() if not there]
    pressed = st.button(
        "Lock and start the study",
        type="primary",
        icon=":material/lock:",
        disabled=bool(lacking),
    )
    if lacking:
        st.caption(f"Still missing: {'; '.join(lacking)}.")
    if pressed:
        _lock(study, author, typed, bool(accepted))


def _lock(study: Study, author: str, typed: str, accepted: bool) -> None:
    """Everything is looked at once more, and locked."""
    guard.check("study.manage")
    version = start.lock(
        loaders.store(),
        study,
        study_ready.facts(study, anew=True),
        author.strip(),
        confirm=typed,
        accept_warnings=accepted,
    )
    _forget("new")
    st.query_params["study"] = study.study
    st.session_state["plan told"] = (
        f"{escaped(study.study)} is locked as version {version.version}. Its readers find "
        "their lists on the Study page."
    )
    st.rerun()


def _warnings(found: Sequence[Finding]) -> str:
    return "the warning" if len(found) == 1 else f"the {len(found)} warnings"


def draw_versions(name: str) -> None:
    """The plan in force, the log of amendments, and a new amendment."""
    known = plan.versions(loaders.store(), name)
    study = known[-1].study
    st.subheader(escaped(study.title), anchor=False)
    rows = {
        "Version": [v.version for v in known],
        "Locked": [when(v.created_at) for v in known],
        "By": [v.author for v in known],
        "Reason": [v.reason or "start" for v in known],
        "Hash": [v.digest[:16] for v in known],
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    _draw_summary(study)
    _draw_starts(name)
    with st.expander("Amend the plan", icon=":material/edit_document:"):
        _draw_amendment(study)


def _draw_starts(name: str) -> None:
    """What the readiness check found at each lock, and the models of the study."""
    kept = start.starts(loaders.store(), name)
    if not kept:
        st.caption("There is no record of what was there when this plan was locked.")
        return
    with st.expander("What was there when it was locked", icon=":material/fact_check:"):
        for one in kept:
            models = f"models with hash {one.bundle[:16]}" if one.bundle else "no models"
            st.text(f"Version {one.version}, {when(one.created_at)}, {models}")
            st.text("\n".join(sentence for _, sentence in one.findings) or "Nothing was missing.")


def _draw_amendment(study: Study) -> None:
    st.caption(
        "Readers can be added and wordings changed. Design, seeds, cases and repeats are fixed."
    )
    amended = _chosen(study.study)
    if amended is None:
        return
    findings = readiness.arisen(study, amended, study_ready.facts(amended))
    faults, warned = readiness.blocking(findings), readiness.warnings(findings)
    for finding in findings:
        st.text(study_ready.sentence(finding))
    accepted = not warned or st.checkbox(
        f"I have read {_warnings(warned)} and store it anyway.",
        key=f"accept {amended.digest[:16]}",
    )
    reason = st.text_area("Why are you changing the plan?", max_chars=2000, key="amend reason")
    author = _author("amend")
    ready = reason.strip() and author.strip() and accepted and not faults
    if st.button("Store the amendment", disabled=not ready):
        guard.check("study.manage")
        version = start.amend(
            loaders.store(),
            amended,
            study_ready.facts(amended, anew=True),
            author.strip(),
            reason,
            accept_warnings=bool(accepted),
        )
        _forget(study.study)
        st.session_state["plan told"] = f"Version {version.version} is in force."
        st.rerun()


def _chosen(what: str) -> Study | None:
    """The plan that was uploaded; it stays while its faults are mended on other pages."""
    in_force = plan.in_force(loaders.store())
    key, kept = f"plan {what}", _kept(what)

    def changed() -> None:
        st.session_state.pop(kept, None)  # another file, or none

    if kept in st.session_state and st.session_state.get(key) is None:
        name, text = st.session_state[kept]
        left, right = st.columns([3, 1], vertical_alignment="center", width=520)
        left.text(f"{name}, chosen before")
        if right.button("Choose another", key=f"another {what}"):
            _forget(what)
            st.rerun()
        return read_study_text(text, name, in_force)
    file = st.file_uploader(
        "study.yaml", type=["yaml", "yml"], key=key, max_upload_size=1, on_change=changed
    )
    if file is None:
        return None
    try:
        text = file.getvalue().decode("utf-8")
    except UnicodeDecodeError:
        st.error("This file is not text in UTF-8.")
        return None
    name = Path(file.name).name
    study = read_study_text(text, name, in_force)
    st.session_state[kept] = (name, text)
    return study


def _kept(what: str) -> str:
    return f"plan text {what}"


def _forget(what: str) -> None:
    st.session_state.pop(_kept(what), None)


def _author(what: str) -> str:
    user = guard.user()
    if not user.local:
        return user.name
    return st.text_input("Who starts or changes the plan?", key=f"author {what}", max_chars=80)


def _arms(study: Study) -> str:
    between = ", then " if study.design.kind == "sequential" else " or "
    return between.join(ARM_WORDS[arm] for arm in study.design.arms)


def _draw_summary(study: Study) -> None:
    """What the plan means; its words are shown as text."""
    sheets = {r.id: len(work_list(study, r.id)) for r in study.readers}
    people = ", ".join(f"{r.name} ({count(sheets[r.id], 'reading')})" for r in study.readers)
    twice = f", {study.repeats.count} of them read twice, unannounced"
    lines = [
        f"{study.study}: {study.title}",
        f"{study.design.kind.capitalize()} design: {_arms(study)}",
        count(len(study.cases), "case") + (twice if study.repeats.count else ""),
        f"{count(len(study.readers), 'reader')}: {people}",
        f"Hash {study.digest[:16]}",
    ]
    st.text("\n".join(lines))
