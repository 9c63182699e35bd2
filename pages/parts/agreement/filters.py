"""The filter of the Agreement page: role, phase, subgroup of cases, and the primary looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from bmcore.analysis.readings import Choice
    from bmcore.analysis.results_file import Offered

ALL = "all"
BOXES = {"sex": "Sex", "age": "Age", "lesions": "Number of lesions", "primary": "Known primary"}


def draw(offered: Offered) -> Choice:
    """The boxes in a popover; everything is let through until something is chosen."""
    from bmcore.analysis.readings import Choice
    from bmcore.analysis.subgroups import group_words
    from bmcore.analysis.tables import ARM_NAMES
    from bmcore.domain import PRIMARIES, PRIMARY_NAMES
    from bmcore.review.votes import ROLE_NAMES

    with st.popover("Filter", icon=":material/filter_alt:"):
        roles = st.multiselect(
            "Readers",
            offered.roles,
            format_func=lambda role: ROLE_NAMES[role],
            placeholder="All roles",
            key="filter_roles",
        )
        arms = st.multiselect(
            "Phases",
            offered.arms,
            format_func=lambda arm: ARM_NAMES[arm],
            placeholder="All phases",
            key="filter_arms",
        )
        groups = []
        for what, label in BOXES.items():
            names = [ALL, *offered.groups[what]]
            found = st.selectbox(
                label,
                names,
                format_func=lambda name: "All cases" if name == ALL else group_words(name),
                key=f"filter_{what}",
            )
            if found != ALL:
                groups.append((what, found))
        category = st.selectbox(
            "One primary against the rest, for sensitivity, specificity and AUC",
            [str(p) for p in PRIMARIES],
            index=[str(p) for p in PRIMARIES].index(offered.category),
            format_func=lambda name: PRIMARY_NAMES[name],
            key="filter_category",
        )
    chosen = category if category != offered.category else None
    return Choice(tuple(roles), tuple(arms), tuple(groups), chosen)


def words(choice: Choice) -> str:
    """What is filtered, for the line above the results; empty where nothing is."""
    from bmcore.analysis.subgroups import group_words
    from bmcore.analysis.tables import ARM_NAMES
    from bmcore.review.votes import ROLE_NAMES

    parts = []
    if choice.roles:
        parts.append("readers: " + ", ".join(ROLE_NAMES[r].lower() for r in choice.roles))
    if choice.arms:
        parts.append("phases: " + ", ".join(ARM_NAMES[a].lower() for a in choice.arms))
    parts += [f"{BOXES[what].lower()}: {group_words(group)}" for what, group in choice.groups]
    return f"Only {'; '.join(parts)}." if parts else ""
