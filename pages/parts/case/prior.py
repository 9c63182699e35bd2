"""Say which case is the earlier examination of the patient of another, and ask for it beside.

The rules are in ``bmcore.review.prior``; what ids and days say is proposed, and never taken by
itself.
"""

from __future__ import annotations

import streamlit as st

from bmcore.intake import library, time_points
from bmcore.intake.time_points import Proposal
from bmcore.review import prior
from bmcore.review.prior import Prior, Statement
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.words import escaped, when

_LISTED = 500  # names of cases in the list; more make each draw of the page heavy


def draw(case_id: str) -> Prior | None:
    """The switch beside the case, and for who leads the menu that says which case it is.

    Returns the earlier examination where it is to be put beside.
    """
    found = prior.of_case(loaders.store(), case_id)
    problem = prior.problem(loaders.home(), found) if found is not None else None
    wanted = _switch(case_id, found) if found is not None and problem is None else False
    if guard.may("case.prior", case_id):
        _menu(case_id, found, problem)
    return found if wanted else None


def _switch(case_id: str, found: Prior) -> bool:
    """Offered where this user may open the earlier examination, too."""
    if not guard.may("case.open", found.prior_id):
        return False
    with st.container(key="earlier_switch", width="content"):
        return st.toggle("Compare with earlier examination", key=f"compare {case_id}")


def _menu(case_id: str, found: Prior | None, problem: str | None) -> None:
    with (
        st.container(key="earlier_menu", width="content"),
        st.popover("Earlier examination", icon=":material/history:", type="tertiary"),
    ):
        if found is not None:
            _said(found)
        if problem:
            st.warning(escaped(problem))
        proposals = _proposals(case_id)
        if found is None:
            for proposal in proposals[:1]:
                st.info(f"Proposed: {escaped(proposal.case_id)}. {_sentence(proposal)}")
        with guard.error_boundary():
            _choose(case_id, found, proposals)
            if found is not None:
                _take_back(case_id)


def _said(found: Prior) -> None:
    st.markdown(f"**{escaped(found.prior_id or '')}** is an earlier examination of this patient.")
    st.caption(f"Said by {escaped(found.author)}, {when(found.at)}: {escaped(found.reason)}")


def _sentence(proposal: Proposal) -> str:
    why = proposal.why[:1].upper() + proposal.why[1:]
    return f"{escaped(why)}. Nothing is linked until you say so."


def _proposals(case_id: str) -> tuple[Proposal, ...]:
    """Read from the records of the cases of the same patient by their ids; of no others."""
    person = time_points.person_of(case_id)
    if person is None:
        return ()
    same = [c for c in loaders.case_ids() if time_points.person_of(c) == person]
    found = (library.any_entry(loaders.home() / "cases" / c) for c in same)
    cases = [entry for entry in found if entry is not None]
    entry = next((e for e in cases if e.case_id == case_id), None)
    return time_points.propose(entry, cases) if entry is not None else ()


def _choose(case_id: str, found: Prior | None, proposals: tuple[Proposal, ...]) -> None:
    why = {p.case_id: p.why for p in proposals}
    others = [c for c in loaders.case_ids() if c not in why and c != case_id]
    chosen = st.selectbox(
        "Case of the earlier examination",
        [*why, *(others if len(others) <= _LISTED else ())],  # of more, the name is typed
        index=0 if proposals and found is None else None,
        accept_new_options=True,
        placeholder="Choose or type a case of the same patient",
        key=f"prior {case_id}",
    )
    reason = st.text_input(
        "How do you know? (it stays on record)",
        value=why.get(chosen or "", ""),
        key=f"prior reason {case_id} {chosen}",
        max_chars=500,
    )
    ready = bool(chosen and reason.strip())
    if st.button("Use as earlier examination", key=f"set prior {case_id}", disabled=not ready):
        guard.check("case.prior", case_id)
        guard.check("case.open", chosen)
        said = Statement(case_id, guard.user().name, reason)
        prior.set_prior(loaders.store(), loaders.home(), said, str(chosen))
        st.rerun()


def _take_back(case_id: str) -> None:
    reason = st.text_input(
        "Why is it none? (it stays on record)", key=f"no prior reason {case_id}", max_chars=500
    )
    if st.button("Take it back", key=f"clear prior {case_id}", disabled=not reason.strip()):
        guard.check("case.prior", case_id)
        said = Statement(case_id, guard.user().name, reason)
        prior.clear(loaders.store(), loaders.home(), said)
        st.rerun()
