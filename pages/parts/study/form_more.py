"""The later parts of the plan's form: practice cases, a blinded preference, free questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from bmcore.domain import ARM_WORDS
from bmcore.inference import archive
from bmcore.models.case_mix import counts_of
from bmcore.review import plan_draft
from bmcore.review.plan_question import SHOWN_IN
from pages.parts import loaders

KINDS = {
    "choice": "One choice",
    "choices": "Several choices",
    "number": "A number",
    "scale": "A scale",
    "text": "Text",
    "mask": "The corrected outline, confirmed",
}
CANDIDATES = {"models": "The models that are loaded", "reference": "The reference mask"}


def draw_practice(
    values: Mapping[str, Any], token: str, there: Sequence[str], cases: Sequence[str]
) -> list[str]:
    """Cases that are read first, with feedback, and counted nowhere."""
    free = [c for c in there if c not in cases]
    chosen = st.multiselect(
        "Practice cases, read first and counted nowhere",
        free,
        default=[c for c in values.get("practice", ()) if c in free],
        key=f"f practice {token} {len(free)}",
        persist_state="session",
        placeholder="None" if free else "Take a case out of the counted ones first",
        max_selections=50,
        help="After each, the reader is shown the reference and the models' answer.",
    )
    return list(chosen)


def draw_case_mix(values: Mapping[str, Any], token: str) -> dict[str, float] | None:
    """How common the primaries are where the cases come from; None where it is left open."""
    given = values.get("case_mix") or {}
    text = st.text_input(
        "How common the primaries are where the cases come from (optional)",
        ", ".join(f"{name}={number:g}" for name, number in given.items()),
        key=f"f mix {token}",
        persist_state="session",
        placeholder="breast=30, gi=12, sclc=15, melanoma=40, nsclc=90, rcc=14",
        help="Readers then see the models' answers for these shares beside the models' own.",
    )
    return counts_of(text)


def draw_preference(values: Mapping[str, Any], token: str) -> dict[str, Any] | None:
    """The two segmentations that are compared after the list; None where none are."""
    given = values.get("preference")
    asked = st.toggle(
        "After the list, compare two segmentations of each case blindly",
        given is not None,
        key=f"f prefer {token}",
        persist_state="session",
    )
    if not asked:
        return None
    others = {f"bundle:{d}": f"Other models, {d}" for d in archive.bundles(loaders.home())}
    known = (given or {}).get("candidates", ("models", "reference"))
    names = {**CANDIDATES, **others, **{c: f"Other models, {c[7:]}" for c in known if c[7:]
                                        and c.startswith("bundle:")}}  # fmt: skip
    left, right = st.columns(2)
    first = left.selectbox(
        "One segmentation",
        list(names),
        index=list(names).index(known[0]),
        format_func=names.__getitem__,
        key=f"f prefer one {token}",
        persist_state="session",
    )
    rest = [n for n in names if n != first]
    second = right.selectbox(
        "The other",
        rest,
        index=rest.index(known[1]) if known[1] in rest else 0,
        format_func=names.__getitem__,
        key=f"f prefer other {token} {first}",
        persist_state="session",
        help="Other models are listed once they have read a case in this home folder.",
    )
    made: dict[str, Any] = {"candidates": [first, second]}
    text = st.text_input(
        "What is asked",
        (given or {}).get("text", "Which segmentation is better?"),
        key=f"f prefer text {token}",
        persist_state="session",
        max_chars=400,
    )
    return {**made, "text": text.strip()} if text.strip() else made


def draw_free(
    questions: Sequence[Mapping[str, Any]], arms: Sequence[str], token: str
) -> list[dict[str, Any]]:
    """Questions of one's own: added, filled in and removed, each in a box of its own."""
    kept, drafts = f"f free rows {token}", f"f free drafts {token}"
    if kept not in st.session_state:
        st.session_state[drafts] = [plan_draft.draft_of(q) for q in questions]
        st.session_state[kept] = list(range(len(questions)))
    made = []
    for number in list(st.session_state[kept]):
        draft = st.session_state[drafts][number]
        with st.container(border=True):
            made.append(_draw_one(draft, arms, f"{token} {number}"))
            if st.button("Remove this question", key=f"f free gone {token} {number}"):
                st.session_state[kept].remove(number)
                st.rerun()
    names = {"": "An empty one", **{n: t for n, (t, _) in plan_draft.READY_MADE.items()}}
    left, right, _ = st.columns((2, 1, 2), vertical_alignment="bottom")
    start = left.selectbox(
        "Another question",
        list(names),
        format_func=names.__getitem__,
        key=f"f free start {token}",
        persist_state="session",
    )
    if right.button("Add it", key=f"f free add {token}", icon=":material/add:"):
        new = plan_draft.READY_MADE[start][1] if start else {"kind": "choice", "text": ""}
        number = len(st.session_state[drafts])
        taken = {q["id"] for q in made}
        st.session_state[drafts].append(plan_draft.draft_of(new, start or "q", taken))
        st.session_state[kept].append(number)
        st.rerun()
    return made


def _draw_one(draft: plan_draft.QuestionDraft, arms: Sequence[str], token: str) -> dict[str, Any]:
    """One question's widgets, those of its kind alone."""
    first = st.columns((1, 1, 3))
    name = first[0].text_input(
        "Short id", draft.id, key=f"f q id {token}", persist_state="session", max_chars=64
    )
    kind = first[1].selectbox(
        "Kind of answer",
        list(KINDS),
        index=list(KINDS).index(draft.kind),
        format_func=KINDS.__getitem__,
        key=f"f q kind {token}",
        persist_state="session",
    )
    text = first[2].text_input(
        "Question", draft.text, key=f"f q text {token}", persist_state="session", max_chars=400
    )
    more: dict[str, Any] = {}
    if kind in ("choice", "choices"):
        more["options"] = st.text_area(
            "Answers to choose from, one per line",
            draft.options,
            key=f"f q options {token}",
            persist_state="session",
            height=100,
        )
    elif kind in ("number", "scale"):
        more = _draw_limits(draft, kind, token)
    possible = [a for a in arms if a in SHOWN_IN.get(kind, ARM_WORDS)]
    chosen = st.pills(
        "Asked",
        possible,
        selection_mode="multi",
        default=[a for a in draft.arms or possible if a in possible],
        format_func=ARM_WORDS.__getitem__,
        key=f"f q arms {token} {kind} {len(possible)}",
        persist_state="session",
    )
    needed = st.toggle(
        "Must be answered", draft.required, key=f"f q needed {token}", persist_state="session"
    )
    told = plan_draft.QuestionDraft(
        id=name, kind=kind, text=text, required=needed, arms=tuple(chosen or possible), **more
    )
    return told.as_question(arms)


def _draw_limits(draft: plan_draft.QuestionDraft, kind: str, token: str) -> dict[str, Any]:
    columns = st.columns((1, 1, 2, 2))
    low = columns[0].number_input(
        "From", value=draft.low, key=f"f q low {token}", persist_state="session"
    )
    high = columns[1].number_input(
        "To", value=draft.high, key=f"f q high {token}", persist_state="session"
    )
    limits: dict[str, Any] = {"low": float(low), "high": float(high)}
    if kind == "scale":
        ends = [
            columns[2 + i].text_input(
                label, draft.ends[i], key=f"f q end {i} {token}", persist_state="session",
                max_chars=200,
            )
            for i, label in enumerate(("The lowest means", "The highest means"))
        ]  # fmt: skip
        return {**limits, "ends": (ends[0], ends[1])}
    unit = columns[2].text_input(
        "Unit", draft.unit, key=f"f q unit {token}", persist_state="session", max_chars=20
    )
    decimals = columns[3].number_input(
        "Decimal places", 0, 3, draft.decimals, key=f"f q digits {token}",
        persist_state="session",
    )  # fmt: skip
    return {**limits, "unit": unit, "decimals": int(decimals)}
