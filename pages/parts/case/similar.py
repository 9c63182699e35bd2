"""Similar cases: the nearest of those that this reader has read with the models' answers.

A case that the reader still has to read is left out altogether: that it lies near a case whose
answer is known would tell what the models see in it.
"""

from __future__ import annotations

import base64
from html import escape

import streamlit as st

from bmcore.domain import PRIMARY_NAMES, Prediction
from bmcore.inference.similar import COUNT, Similar, nearest
from bmcore.stats.estimate import decimals
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.case import reader
from pages.parts.words import clinical, escaped


def draw(prediction: Prediction) -> None:
    """Up to three cards; or why there are none."""
    st.markdown("**Similar cases**")
    if prediction.code is None:
        st.caption("No lesion was found, so there is nothing to compare.")
        return
    codes = loaders.codes()
    others = {e.case_id: e for e in loaders.entries() if e.case_id != prediction.case_id}
    read = {case_id: codes[case_id] for case_id in others if case_id in codes}
    voted = _voted()
    seen = _seen()
    open_ = {
        c: code
        for c, code in read.items()
        if c in voted and c in seen and guard.may("case.open", c)
    }
    found = nearest(loaders.bundle(), prediction, open_)
    closed = len(read) - len(open_)
    if found:
        for column, one in zip(st.columns(COUNT), found, strict=False):
            with column, st.container(key=f"similar {one.case_id}"):
                _draw_card(one)
        st.caption(
            "Closest in the image features of the models. Looking alike to the models does not "
            "mean having the same primary."
        )
    elif not read:
        st.caption("The models have read no other case with a lesion yet.")
    if closed:
        cases = "1 other case is" if closed == 1 else f"{closed} other cases are"
        st.caption(f"{cases} left out until you have read them and seen the models' answers.")


def _voted() -> set[str]:
    """The cases that this reader has a vote on: one question to the database for the whole list."""
    who = reader.current()
    if who is None:
        return set()
    votes = loaders.store().current_votes()
    return {v.case_id for v in votes if v.reader.casefold() == who[0].casefold()}


def _seen() -> set[str]:
    """The cases whose answers of the models this reader was sent."""
    who = reader.current()
    return set() if who is None else loaders.store().shown_to(who[0])


def _draw_card(one: Similar) -> None:
    entry = loaders.entry(one.case_id)
    picture = loaders.thumbnail(entry)
    if picture is not None:
        data = base64.b64encode(picture).decode()
        st.html(f'<img class="thumb" alt="" src="data:image/png;base64,{data}">')
    if st.button(escaped(one.case_id), key=f"open similar {one.case_id}", type="tertiary"):
        st.query_params["case"] = one.case_id
        st.rerun()
    lines = [f"<b>{escape(one.words.capitalize())}</b>", escape(clinical(entry.clinical))]
    lines += [escape(text) for text in _answers(one.case_id)]
    st.html(f'<div class="similar">{"<br>".join(lines)}</div>')


def _answers(case_id: str) -> list[str]:
    """What the models and this reader said of a case that the reader has read."""
    from bmcore.review.votes import CHOICE_NAMES

    lines = []
    other = loaders.prediction(case_id)
    if other is not None and other.fused.top is not None:
        if other.fused.abstains is not None:
            lines.append("Models: abstain")
        else:
            best = max(other.fused.probabilities or (0.0,))
            lines.append(f"Models: {PRIMARY_NAMES[other.fused.top]} {decimals(100 * best)}%")
    who = reader.current()
    for phase in ("aided", "unaided"):
        for vote in loaders.store().current_votes(case_id, phase):
            if who is not None and vote.reader.casefold() == who[0].casefold():
                return [*lines, f"You: {CHOICE_NAMES[vote.primary]}"]
    return lines
