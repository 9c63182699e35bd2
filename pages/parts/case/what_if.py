"""What would change the answers: clinical values as toggles, answered at once.

The images are not read again: the models' image code of the stored prediction is used.
"""

from __future__ import annotations

from html import escape

import streamlit as st

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, Answer, ClinicalRecord, Prediction
from bmcore.stats.estimate import decimals
from pages.parts import loaders
from pages.parts.words import escaped

UNKNOWN = "not known"
_YES_NO = {True: "yes", False: "no", None: UNKNOWN}


def draw(prediction: Prediction) -> None:
    """Controls that begin with the patient's values, and how each probability moves."""
    from bmcore.inference import pipeline

    st.caption("Change a value: the answers move at once. Nothing is stored.")
    record = _controls(prediction)
    clinical, _, fused = pipeline.answers(
        record, prediction.code, loaders.bundle(), prediction.novelty
    )
    changed = [name for name in record.__dataclass_fields__ if _differs(prediction, record, name)]
    if fused.probabilities is None:
        st.html(_table(prediction.clinical, clinical))
        st.caption(f"Clinical data alone, because {escaped(fused.reason or '')}.")
    else:
        st.html(_table(prediction.fused, fused))
        st.caption("Images and clinical data together. Grey line: with the patient's own values.")
    if changed:
        st.markdown(f"**{_verdict(prediction, fused)}**")
    if prediction.bundle.synthetic:
        st.caption("Trained on synthetic data: these numbers say nothing about a patient.")


def _differs(prediction: Prediction, record: ClinicalRecord, name: str) -> bool:
    return getattr(record, name) != getattr(prediction.clinical_record, name)


def _controls(prediction: Prediction) -> ClinicalRecord:
    own = prediction.clinical_record
    case_id = prediction.case_id

    def choose(label: str, choices: list[str], value: str) -> str | None:
        chosen = st.segmented_control(
            label, choices, default=value, key=f"what if {label} {case_id}", required=True
        )
        return None if chosen in (None, UNKNOWN) else chosen

    left, right = st.columns(2)
    with left:
        age = st.number_input(
            "Age (years)",
            0.0,
            120.0,
            value=None if own.age_years is None else float(own.age_years),
            step=5.0,
            format="%.0f",
            placeholder=UNKNOWN,
            key=f"what if age {case_id}",
        )
    with right:
        packs = st.number_input(
            "Pack-years",
            0.0,
            300.0,
            value=None if own.pack_years is None else float(own.pack_years),
            step=10.0,
            format="%.0f",
            placeholder=UNKNOWN,
            key=f"what if packs {case_id}",
        )
    sex = choose("Sex", ["female", "male", UNKNOWN], own.sex or UNKNOWN)
    smoking = choose("Smoking", ["never", "former", "current", UNKNOWN], own.smoking or UNKNOWN)
    outside = choose(
        "Metastases outside the brain",
        list(_YES_NO.values()),
        _YES_NO[own.extracranial_metastases],
    )
    return ClinicalRecord(
        age_years=age,
        sex=sex,
        smoking=smoking,
        pack_years=packs,
        extracranial_metastases={"yes": True, "no": False}.get(outside or ""),
    )


def _table(before: Answer, after: Answer) -> str:
    assert before.probabilities is not None and after.probabilities is not None
    rows = []
    for primary, old, new in zip(PRIMARIES, before.probabilities, after.probabilities, strict=True):
        was, now = (f"{decimals(100 * x)}%" for x in (old, new))
        move = f"{was} → {now}" if was != now else now
        rows.append(
            f'<div class="move"><span>{escape(PRIMARY_NAMES[primary])}</span>'
            f'<span class="track"><i style="width:{new:.1%}"></i>'
            f'<u style="left:{old:.1%}"></u></span><b>{move}</b></div>'
        )
    return f'<div class="moves">{"".join(rows)}</div>'


def _verdict(prediction: Prediction, fused: Answer) -> str:
    old = prediction.fused.top
    if fused.top is None or old is None:
        return "There is no answer from images and clinical data together."
    if fused.top == old:
        return f"The leading answer stays {PRIMARY_NAMES[old]}."
    return f"The leading answer changes from {PRIMARY_NAMES[old]} to {PRIMARY_NAMES[fused.top]}."
