"""The three answers, and why: SHAP in the reader's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, Answer, Prediction, Primary
from bmcore.inference import case_mix, intervals, uncertainty
from pages.parts import loaders
from pages.parts.case import charts, similar
from pages.parts.words import best_guess, escaped

if TYPE_CHECKING:
    from bmcore.inference.explain import Attribution

SITE, STUDY = "this site", "this study"
NO_SHARES = {
    SITE: "The mix of primaries at this site is not set (BMCORE_CASE_MIX).",
    STUDY: "The plan of this study states no mix of primaries.",
}
DEMO_WORDS = "Trained on synthetic data: says nothing about a patient"
RECORD_WORDS = {
    "age_years": "age",
    "sex": "sex",
    "smoking": "smoking",
    "pack_years": "pack-years",
    "extracranial_metastases": "metastases outside the brain",
}


def draw(prediction: Prediction, alike: bool = True, whose: str = SITE) -> None:
    """The leading answer in words, the three as bars with their intervals, and what is missing.

    alike: with similar cases, where this reader may see them. whose: a key of ``NO_SHARES``, where
    the other shares of the primaries come from.
    """
    given = [a for a in prediction.answers if a.probabilities is not None]
    _draw_headline(prediction, given)
    ends = _intervals(prediction)
    st.plotly_chart(
        charts.answers(prediction.answers, ends),
        key="answers",
        config={"displayModeBar": False},
        alt="Probability of each primary from clinical data, from the images, and from both",
    )
    if given:
        st.caption(intervals.words(loaders.bundle()))
    _draw_standing(prediction)
    _draw_case_mix(prediction, whose)
    for answer in prediction.answers:
        if answer.probabilities is None:
            st.info(escaped(best_guess(answer)))
    if len({a.top for a in given if a.abstains is None}) > 1:
        st.warning("The answers disagree about the most likely primary.", icon=":material/compare:")
    missing = prediction.clinical_record.missing
    if missing:
        words = ", ".join(RECORD_WORDS[name] for name in missing)
        st.caption(f"Not known, so counted neither for nor against any primary: {words}.")
    if alike:
        similar.draw(prediction)


def _draw_headline(prediction: Prediction, given: Sequence[Answer]) -> None:
    """First what is no answer, then that the models are demo ones, then the answer that stands."""
    for sentence in uncertainty.abstaining(prediction.answers):
        st.warning(f"**{escaped(sentence)}**", icon=":material/block:")
    for finding in uncertainty.findings(prediction.novelty):
        words = finding.sentence[:1].upper() + finding.sentence[1:]
        st.error(escaped(words), icon=":material/report:")
    standing = [a for a in given if a.abstains is None]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if standing:
            headline = best_guess(standing[-1], prediction.clinical_record)
            st.markdown(f"**{escaped(headline)}**", width="content")
        if prediction.bundle.synthetic:
            st.html(f'<span class="demo">{DEMO_WORDS}</span>', width="content")


def _intervals(prediction: Prediction) -> tuple[tuple[charts.Interval, ...] | None, ...]:
    """The interval of each bar, answer by answer; None where there is none."""
    found = intervals.intervals(loaders.bundle(), prediction) or {}
    return tuple(found.get(a.kind) for a in prediction.answers)


def _draw_case_mix(prediction: Prediction, whose: str) -> None:
    """The same evidence with other shares of the primaries, and with all equally common."""
    lines = case_mix.sentences(prediction, whose)
    if not lines:
        return
    title = "With a different mix of primaries"
    with st.expander(title, expanded=prediction.site_shares is not None):
        st.markdown("\n".join(f"- {escaped(line)}" for line in lines))
        basis = case_mix.basis(prediction)
        if basis is not None:
            st.caption(escaped(basis))
        if prediction.site_shares is None:
            st.caption(NO_SHARES[whose])


def _draw_standing(prediction: Prediction) -> None:
    """Under the bars: each answer's prediction set, or that it abstains, in words."""
    weighed = [a for a in prediction.answers if a.prediction_set is not None]
    if weighed:
        st.markdown("\n".join(f"- {escaped(uncertainty.sentence(a))}" for a in weighed))
    elif any(a.probabilities is not None for a in prediction.answers):
        st.caption(
            f"There is {uncertainty.NO_CALIBRATION}: no prediction sets, no abstention, and no "
            "check whether the images are like those the models know."
        )


def draw_reasons(prediction: Prediction) -> None:
    """SHAP bars of one answer for one primary."""
    from bmcore.inference.explain import words_for

    given = {a.kind: a for a in prediction.answers if a.probabilities is not None}
    if not given:
        st.info("There is no answer to explain.")
        return
    kinds = list(given)
    kind = st.segmented_control(
        "Answer",
        kinds,
        default=kinds[-1],
        format_func=lambda k: charts.ANSWER_NAMES[k],
        key=f"why kind {prediction.case_id}",
        required=True,
    )
    top = given[kind or kinds[-1]].top
    primary = st.selectbox(
        "Primary",
        PRIMARIES,
        index=PRIMARIES.index(top) if top else 0,
        format_func=lambda p: PRIMARY_NAMES[p],
        key=f"why primary {prediction.case_id} {kind}",
    )
    why = _attribution(prediction, kind or kinds[-1], primary)
    names = [_bar_name(n, v) for n, v in zip(why.names, why.values, strict=True)]
    st.plotly_chart(
        charts.signed_bars(names, why.contributions, why.space),
        key="reasons",
        config={"displayModeBar": False},
        alt="What moved the answer towards or away from the chosen primary",
    )
    st.caption(words_for(primary))


def _bar_name(name: str, value: str) -> str:
    """For instance "Age: 61 years", "Pack-years: 20"; the images are one bar without a value."""
    from bmcore.inference.explain import IMAGE_BAR

    if name == IMAGE_BAR:
        return "All that the images show"
    return f"{name}: {value.removesuffix(' pack-years')}"


def _attribution(prediction: Prediction, kind: str, primary: Primary) -> Attribution:
    code = b"" if prediction.code is None else prediction.code.tobytes()
    content = prediction.clinical_vector.tobytes() + code
    return _cached_attribution(prediction.bundle.digest, content, kind, primary, prediction)


@st.cache_resource(max_entries=60, show_spinner="Working out the reasons")
def _cached_attribution(
    digest: str, content: bytes, kind: str, primary: Primary, _prediction: Prediction
) -> Attribution:
    from bmcore.inference import explain

    return explain.attribute(loaders.bundle(), _prediction, kind, primary)
