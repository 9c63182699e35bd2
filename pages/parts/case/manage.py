"""Rename or delete a case, for who leads; the rules are in ``bmcore.review.case_changes``."""

from __future__ import annotations

import streamlit as st

from bmcore.domain import refuse
from bmcore.review import case_changes
from bmcore.review.case_changes import Wish
from bmcore.settings import settings
from pages.parts import loaders, runs
from pages.parts.access import guard
from pages.parts.words import count, escaped

_TOLD = "told of a case that was changed"


def draw(case_id: str) -> None:
    """A small menu beside the case; nothing for who may do neither."""
    if not (guard.may("case.rename", case_id) and guard.may("case.delete", case_id)):
        return
    with st.popover("Rename or delete", icon=":material/edit:", type="tertiary"):
        kept = case_changes.kept(loaders.store(), case_id)
        if kept.studies:
            names = escaped(", ".join(kept.studies))
            st.info(f"The case belongs to a locked study ({names}), so it stays as it is.")
            return
        reason = st.text_input(
            "Reason (it stays on record)", key=f"change {case_id}", max_chars=500
        )
        with guard.error_boundary():
            _rename(case_id, kept, reason)
            _delete(case_id, kept, reason)


def say_done() -> None:
    """On the work list: what was changed on the page before."""
    told = st.session_state.pop(_TOLD, None)
    if told:
        st.success(escaped(told), icon=":material/check:")


def _rename(case_id: str, kept: case_changes.Kept, reason: str) -> None:
    st.markdown("**Another name**")
    if kept.votes or kept.other:
        st.caption(
            "It keeps its name: readers' votes or marks refer to it, and these never change."
        )
        return
    new = st.text_input("New name (a pseudonym)", key=f"new name {case_id}", max_chars=64)
    st.caption("The models read the case again under its new name.")
    ready = bool(reason.strip() and new.strip())
    if st.button("Rename", key=f"rename {case_id}", disabled=not ready):
        guard.check("case.rename", case_id)
        _quiet(case_id)
        wish = Wish(case_id, guard.user().name, reason)
        case_changes.rename(loaders.store(), loaders.home(), wish, new)
        st.switch_page("pages/review.py", query_params={"case": new.strip()})


def _delete(case_id: str, kept: case_changes.Kept, reason: str) -> None:
    st.markdown("**Delete the case**")
    typed = ""
    if kept.votes or kept.other:
        left = [count(kept.votes, "vote")] if kept.votes else []
        left += [count(kept.other, "other entry").replace("entrys", "entries")] * bool(kept.other)
        st.warning(
            f"Readers have worked on it: {' and '.join(left)}. These stay on record; the images "
            "and what the models made of them go for good."
        )
        typed = st.text_input(f"Type {escaped(case_id)} to delete it", key=f"typed {case_id}")
    else:
        st.caption("The images and what the models made of them go for good.")
    ready = bool(reason.strip()) and (typed.strip() == case_id or not (kept.votes or kept.other))
    if st.button("Delete for good", key=f"delete {case_id}", disabled=not ready):
        guard.check("case.delete", case_id)
        _quiet(case_id)
        wish = Wish(case_id, guard.user().name, reason, typed)
        case_changes.delete(loaders.store(), loaders.home(), wish)
        st.session_state[_TOLD] = f"Case {case_id} is deleted."
        st.switch_page("pages/cases.py")


def _quiet(case_id: str) -> None:
    """Refuse while the models are at the case, and a demo case that would come back at once."""
    if runs.state(case_id).busy:
        raise refuse(f"the models are reading case {case_id}", hint="wait until they are done.")
    if settings().demo and loaders.entry(case_id).demo:
        raise refuse(
            f"case {case_id} is a demo case, which is made again at each start",
            hint="start bmcore with BMCORE_DEMO=0 to be without demo cases.",
        )
