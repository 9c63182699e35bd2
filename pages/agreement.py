"""Votes and how far the readers agree, with each other and with the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.parts import charts, loaders
from pages.parts.guard import page
from pages.parts.words import when

if TYPE_CHECKING:
    from bmcore.report.agreement import PairAgreement, PhaseAgreement
    from bmcore.review.votes import Vote
    from bmcore.stats.estimate import Estimate


def draw_votes(votes: list[Vote], in_force: set[int]) -> None:
    """All votes, the newest first; earlier votes of a reader stay visible."""
    from bmcore.review.votes import CHOICE_NAMES, PHASE_NAMES, ROLE_NAMES

    rows = [
        {
            "Case": v.case_id,
            "Reader": v.reader,
            "Role": ROLE_NAMES[v.role],
            "When read": PHASE_NAMES[v.phase],
            "Primary": CHOICE_NAMES[v.primary],
            "Confidence": v.confidence,
            "Segmentation 1-5": str(v.segmentation_quality or ""),
            "Models' answer": CHOICE_NAMES[v.model_primary] if v.model_primary else "",
            "Counts": "yes" if v.id in in_force else "replaced",
            "Comment": v.comment,
            "Stored": when(v.created_at),
        }
        for v in reversed(votes)
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content" if len(rows) < 10 else 380)


def draw_estimate(column, words: str, estimate: Estimate, explanation: str) -> None:
    """A number with its interval and n below it."""
    shown = f"{estimate.value:.2f}" if estimate.defined else "not defined"
    column.metric(words, shown, help=f"{explanation} {estimate.method}")
    if not estimate.defined:
        column.caption(estimate.method)
    elif estimate.has_interval:
        column.caption(f"95 % interval {estimate.low:.2f} to {estimate.high:.2f}, n = {estimate.n}")
    else:
        column.caption(f"n = {estimate.n}; no interval: {estimate.method}")


def pair_table(pairs: tuple[PairAgreement, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Pair": [f"{p.a} and {p.b}" for p in pairs],
            "Cases": [p.n for p in pairs],
            "Same answer": [p.percent.text() for p in pairs],
            "Cohen's kappa": [p.kappa.text() for p in pairs],
        }
    )


def draw_phase(phase: PhaseAgreement) -> None:
    """Numbers, the map of pairs, and each reader beside the models."""
    st.markdown(phase.words)
    if not phase.cases:
        return
    if len(phase.readers) > 1:
        left, right, _ = st.columns(3)
        same = "Share of pairs of readers with the same answer, averaged over cases."
        draw_estimate(left, "Percent agreement (0 to 1)", phase.percent, same)
        beyond = "Agreement of all readers beyond chance: 0 is chance, 1 is complete."
        draw_estimate(right, "Fleiss' kappa", phase.fleiss, beyond)
        left, right = st.columns(2, gap="large")
        place = {name: n for n, name in enumerate(phase.readers)}
        grid: list[list[float | None]] = [[None] * len(place) for _ in place]
        for pair in phase.pairs:
            if pair.kappa.defined:
                grid[place[pair.a]][place[pair.b]] = pair.kappa.value
                grid[place[pair.b]][place[pair.a]] = pair.kappa.value
        left.markdown("**Cohen's kappa of each pair of readers**")
        left.plotly_chart(
            charts.kappa_map(phase.readers, grid),
            key=f"map {phase.phase}",
            config={"displayModeBar": False},
            alt="Cohen's kappa of each pair of readers; the table beside it has the numbers",
        )
        right.dataframe(pair_table(phase.pairs), hide_index=True)
    if any(p.n for p in phase.models):
        st.markdown("**Each reader beside the models' fused answer**")
        st.dataframe(pair_table(phase.models), hide_index=True)


def fused_answers() -> dict[str, str]:
    """The models' fused answer of each case that has one."""
    found = {e.case_id: loaders.prediction(e.case_id) for e in loaders.entries() if e.readable}
    return {c: str(p.fused.top) for c, p in found.items() if p is not None and p.fused.top}


with page("Agreement", "agreement.see"):
    from bmcore.report.dossier import agreement_summary
    from bmcore.review.votes import PHASE_NAMES, current

    st.header("Agreement", anchor=False)
    stored = loaders.store().votes()
    if not stored:
        st.info(
            "There are no votes yet. Open a case on the Review page and store the first one. "
            "Agreement can be computed once two readers have voted on the same cases."
        )
    else:
        summary = agreement_summary(stored, fused_answers())
        for part in summary.phases:
            st.subheader(f"{PHASE_NAMES[part.phase]} ({part.phase})", anchor=False)
            draw_phase(part)
        st.subheader("All votes", anchor=False)
        draw_votes(stored, {v.id for v in current(stored)})
