"""The readiness check on the screen: one row a thing, and where to mend what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from bmcore.domain import BmcoreError, Finding, Severity
from bmcore.review import readiness, start
from bmcore.review.access import RULES
from bmcore.review.readiness import Check
from bmcore.review.readiness_facts import Facts
from bmcore.review.study import Study
from pages.parts import loaders, runs
from pages.parts.access import guard
from pages.parts.words import count

LINES = 6  # of one check that are shown at once; the others are folded away
_MARKS: dict[Severity | None, tuple[str, str, str]] = {
    None: ("Ready", "check", "green"),
    Severity.INFO: ("Ready", "check", "green"),
    Severity.WARNING: ("Warning", "warning", "orange"),
    Severity.REFUSED: ("Fault", "error", "red"),
}


def facts(study: Study, anew: bool = False) -> Facts:
    """What there is for a plan now. anew: every file is read again, whatever its time says."""
    from bmcore.models.bundles import Bundle
    from bmcore.review import readiness_gather

    if anew:
        readiness_gather.forget()
    models: Bundle | BmcoreError
    try:
        models = loaders.bundle()
    except BmcoreError as unusable:
        models = unusable
    loaders.entries()  # makes the demo cases where they are wanted
    with st.spinner("Checking that everything is there", show_time=False):
        return readiness_gather.gather(study, loaders.home(), models, loaders.store())


def draw(study: Study, found: Facts, checks: Sequence[Check]) -> None:
    """Every check with its mark, its lines, and the way to mend it."""
    with st.container(border=True, key="checks"):
        for one in checks:
            mark, title, text = st.columns([2, 3, 15], vertical_alignment="top")
            word, icon, colour = _MARKS[one.severity]
            mark.badge(word, icon=f":material/{icon}:", color=colour)  # type: ignore[arg-type]
            title.markdown(f"**{one.title}**")
            with text:
                _draw_one(one)
                _draw_mend(study, found, one)


def _draw_one(one: Check) -> None:
    lines = [sentence(finding) for finding in one.findings]
    if one.severity in (None, Severity.INFO):
        lines.insert(0, f"{one.ready[:1].upper()}{one.ready[1:]}")
    st.text("\n".join(lines[:LINES]))
    if len(lines) > LINES:
        with st.expander(f"{len(lines) - LINES} more"):
            st.text("\n".join(lines[LINES:]))


def sentence(finding: Finding) -> str:
    """What is wrong and what to do, as two sentences."""
    parts = [part for part in (finding.what, finding.hint) if part]
    return " ".join(f"{part[:1].upper()}{part[1:].rstrip('.')}." for part in parts)


def _draw_mend(study: Study, found: Facts, one: Check) -> None:
    """The way to mend a check, for who may go there."""
    if one.severity is not Severity.REFUSED:
        return
    if one.topic == "cases":
        _link("cases", "Add cases", "cases.add")
    elif one.topic == "readers" and found.accounts:
        _link("accounts", "Create or enable accounts", "accounts.manage")
    elif one.topic == "models":
        draw_run(study, found)


def _link(page: str, words: str, action: str) -> None:
    if guard.user().role in RULES[action].roles and st.button(
        words, key=f"mend {page}", icon=":material/arrow_forward:"
    ):
        st.switch_page(f"pages/{page}.py")


def draw_run(study: Study, found: Facts) -> None:
    """Run the models on the cases that they have not read, or how far that is."""
    unread = readiness.unread(study, found)
    states = runs.states(unread)
    under_way = [c for c in unread if c in states and states[c].busy]
    for case_id, state in states.items():
        if state.state == "failed":
            st.text(f"{case_id}: {state.message}")
    if under_way:
        _follow(tuple(unread))
    idle = [c for c in unread if c not in under_way]
    if idle:
        words = f"Run the models on the {count(len(idle), 'missing case')}"
        if st.button(words, key="run missing", icon=":material/play_arrow:"):
            guard.check("study.manage")
            runs.submit_many(idle)
            st.rerun()


@guard.fragment("study.manage", run_every=1.0)
def _follow(cases: tuple[str, ...]) -> None:
    """How far the models are with these cases; the page is drawn anew at each that is read."""
    states = runs.states(cases)
    busy = [c for c in cases if c in states and states[c].busy]
    read = sum(loaders.has_prediction(c) for c in cases)
    if read or not busy:
        st.rerun(scope="app")
    running = [states[c] for c in busy if states[c].state == "running"]
    words = runs.words(running[0]) if running else "Waiting to start."
    fraction = running[0].fraction if running else 0.0
    st.progress(min(1.0, max(0.0, fraction)), f"{count(len(busy), 'case')} to go. {words}")


def draw_in_the_way(study: Study) -> None:
    """What readers of a running study would meet on their way; nothing where all is well."""
    found = facts(study)
    checks = [c for c in readiness.lasting(study, found) if c.severity is Severity.REFUSED]
    loaded = found.bundle.digest if found.bundle else None
    other = start.other_models(loaders.store(), study.study, loaded)
    if other is not None:
        st.error(
            "The models that are loaded are not those that the study was locked with. Readers "
            "cannot open the steps with the models until those of the study are back.",
            icon=":material/error:",
        )
        st.text(f"Locked with models of hash {other[:16]}; loaded: {(loaded or 'none')[:16]}.")
    if checks:
        st.warning("Readers will have to wait for this:", icon=":material/hourglass:")
        draw(study, found, checks)
