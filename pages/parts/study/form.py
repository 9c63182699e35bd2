"""A plan filled in on the page: widgets in, the text of a study.yaml out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from bmcore.domain import ARM_WORDS
from bmcore.review import plan, plan_form
from bmcore.review.plan_question import FREE
from bmcore.review.study import ARMS
from bmcore.stats.endpoint_choice import OF_MODELS
from bmcore.stats.readings import MODELS
from pages.parts import loaders
from pages.parts.study import form_more
from pages.parts.study.context import COMPARED
from pages.parts.words import escaped

KINDS = {
    "sequential": "One sitting: each case in all arms in turn",
    "crossover": "Crossover: each case once a period, in one arm",
}
MEASURES = {
    "accuracy": "Right answers",
    "balanced accuracy": "Balanced accuracy",
    "AUC": "AUC of one primary",
    "macro AUC": "Macro AUC (mean over the primaries)",
    "sensitivity": "Sensitivity for one primary",
    "specificity": "Specificity for one primary",
    "lesion sensitivity": "Lesions found",
    "false lesions": "False lesions per case",
    "decision time": "Decision time",
    "agreement": "Agreement between readers",
}
AIMS = {
    "superiority": "Superiority",
    "non-inferiority": "Non-inferiority",
    "equivalence": "Equivalence",
}
ROLES = ("radiologist", "neuroradiologist", "oncologist", "other")
_START, _MADE = "plan form start", "plan form"
_BLANK = "An empty plan"


def draw() -> str | None:
    """The form; the text of the plan once it was checked, until something is changed."""
    names = [_BLANK, *plan.studies(loaders.store())]
    start = st.selectbox(
        "Start from", names, key=_START, persist_state="session", on_change=_forget, width=420
    )
    values = _values(start)
    token = f"{values['study']} {values['seeds']['order']}"
    filled = {
        **_draw_what(values, token),
        **_draw_who(values, token),
        **_draw_asked(values, token),
    }
    text = plan_form.as_yaml(filled)
    done = st.session_state.get(_checked(token)) == text
    kind = "secondary" if done else "primary"
    if st.button("Check the plan", type=kind, icon=":material/fact_check:"):  # type: ignore[arg-type]
        st.session_state[_checked(token)] = text
        st.rerun()
    if st.session_state.get(_checked(token)) != text:
        if _checked(token) in st.session_state:
            st.caption("Changed since it was checked.")
        return None
    return text


def _values(start: str) -> dict[str, Any]:
    """What the form begins with; kept, so that seeds and id stay while it is filled in."""
    if _MADE not in st.session_state:
        store = loaders.store()
        if start == _BLANK:
            st.session_state[_MADE] = plan_form.blank(loaders.entries(), store)
        else:
            study = plan.versions(store, start)[-1].study
            st.session_state[_MADE] = plan_form.copied(study, store)
    found: dict[str, Any] = st.session_state[_MADE]
    return found


def _forget() -> None:
    st.session_state.pop(_MADE, None)


def _checked(token: str) -> str:
    return f"plan checked {token}"


def _draw_what(values: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Name, design and arms."""
    left, right = st.columns((1, 3))
    name = left.text_input(
        "Id",
        values["study"],
        key=f"f id {token}",
        persist_state="session",
        max_chars=64,
        help="Short: letters, digits, dots and dashes. It names the report's files.",
    )
    title = right.text_input(
        "Title", values["title"], key=f"f title {token}", persist_state="session", max_chars=400
    )
    design = values["design"]
    kind = st.radio(
        "Design",
        list(KINDS),
        index=list(KINDS).index(design["kind"]),
        format_func=KINDS.__getitem__,
        key=f"f kind {token}",
        persist_state="session",
        horizontal=True,
    )
    arms = st.pills(
        "Arms",
        ARMS,
        selection_mode="multi",
        default=design["arms"],
        format_func=ARM_WORDS.__getitem__,
        key=f"f arms {token}",
        persist_state="session",
    )
    made: dict[str, Any] = {"kind": kind, "arms": [arm for arm in ARMS if arm in arms]}
    if kind == "crossover":
        made["washout_days"] = st.number_input(
            "Days between two periods, at least",
            1,
            3650,
            design.get("washout_days", 28),
            key=f"f washout {token}",
            persist_state="session",
            width=260,
        )
    return {"study": name.strip(), "title": title.strip(), "design": made, "seeds": values["seeds"]}


def _draw_who(values: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Readers, cases and repeats."""
    st.markdown("**Readers**")
    rows = values["readers"] or [{"id": "r01", "name": "", "role": "radiologist", "years": 0.0}]
    table = st.data_editor(
        pd.DataFrame(rows)[["id", "name", "role", "years"]],
        num_rows="dynamic",
        hide_index=True,
        key=f"f readers {token}",
        column_config={
            "id": st.column_config.TextColumn(
                "Short id", help="The order of the reader's list is derived from it"
            ),
            "name": st.column_config.TextColumn("Name, as in the account", width="large"),
            "role": st.column_config.SelectboxColumn("Role", options=list(ROLES)),
            "years": st.column_config.NumberColumn("Years", min_value=0, max_value=80),
        },
    )
    readers = [
        {
            "id": str(r["id"] or "").strip(),
            "name": str(r["name"] or "").strip(),
            "role": r["role"],
            "years": float(r["years"] or 0),
        }
        for r in table.to_dict("records")
        if str(r["name"] or "").strip()
    ]
    there = [e.case_id for e in loaders.entries() if e.readable]
    known = [c for c in values["cases"] if c in there]
    cases = st.multiselect(
        f"Cases ({len(there)} are here)",
        there,
        default=known,
        key=f"f cases {token}",
        persist_state="session",
        placeholder="Choose cases",
    )
    practice = form_more.draw_practice(values, token, there, cases)
    mix = form_more.draw_case_mix(values, token)
    left, right, _ = st.columns((1, 1, 2))
    most = len(cases)
    repeats = left.number_input(
        "Cases read twice",
        0,
        max(0, most),
        min(values["repeats"]["count"], most),
        key=f"f repeats {token}",
        persist_state="session",
        help="Unannounced, to see how well each reader agrees with their own first reading.",
    )
    apart = 1
    if repeats:
        apart = right.number_input(
            "At least this many cases apart",
            1,
            max(1, most),
            1,
            key=f"f apart {token}",
            persist_state="session",
        )
    learnt = st.text_area(
        "Cases that the models learnt from, one per line",
        "\n".join(values["training_cases"]),
        key=f"f learnt {token}",
        persist_state="session",
        height=68,
        help="None of them may be read here.",
    )
    return {
        "readers": readers,
        "cases": list(cases),
        "training_cases": [c.strip() for c in learnt.splitlines() if c.strip()],
        "repeats": {"count": int(repeats), "min_distance": int(apart)},
        **({"practice": practice} if practice else {}),
        **({"case_mix": mix} if mix else {}),
    }


def _draw_asked(values: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Questions, endpoints, plan of the analysis."""
    arms = _arms(values, token)
    own = [q for q in values["questions"] if q["id"] not in plan_form.QUESTIONS]
    free = [q for q in own if q["kind"] in FREE]
    own = [q for q in own if q not in free]
    chosen = st.pills(
        "Questions",
        list(plan_form.QUESTIONS),
        selection_mode="multi",
        default=[q["id"] for q in values["questions"] if q["id"] in plan_form.QUESTIONS],
        format_func=str.capitalize,
        key=f"f questions {token}",
        persist_state="session",
    )
    if own:
        st.caption(
            escaped(f"And from the plan that was copied: {', '.join(q['id'] for q in own)}.")
        )
    st.markdown("**Questions of your own**")
    asked = form_more.draw_free(free, arms, token)
    preference = form_more.draw_preference(values, token)
    st.markdown("**Primary endpoint**")
    endpoint = _draw_endpoint(values["primary_endpoint"], arms, token)
    alone = MODELS in endpoint["compare"]
    possible = [
        m for m in MEASURES if m not in plan_form.NEEDS_PRIMARY and (m in OF_MODELS or not alone)
    ]
    others = st.multiselect(
        "Secondary endpoints, in order",
        possible,
        default=[
            e["measure"] for e in values.get("secondary_endpoints", ()) if e["measure"] in possible
        ],
        format_func=MEASURES.__getitem__,
        key=f"f others {token} {alone}",
        persist_state="session",
        help="Between the same two arms. Claimed in this order, each only if all before it were.",
    )
    words = st.text_area(
        "What will be computed",
        values["analysis_plan"],
        key=f"f analysis {token}",
        persist_state="session",
        placeholder=plan_form.analysis_words(endpoint, COMPARED),
        height=100,
        max_chars=4000,
    )
    made: dict[str, Any] = {
        "questions": [*plan_form.questions(chosen, arms), *own, *asked],
        **({"preference": preference} if preference else {}),
        "primary_endpoint": endpoint,
    }
    secondary = [_secondary(m, endpoint) for m in others if m != endpoint["measure"]]
    if secondary:
        made["secondary_endpoints"] = secondary
    made["analysis_plan"] = words.strip() or plan_form.analysis_words(endpoint, COMPARED)
    return made


def _secondary(measure: str, endpoint: Mapping[str, Any]) -> dict[str, Any]:
    made = {"measure": measure, "compare": endpoint["compare"]}
    return {**made, "readers": "fixed"} if measure == "agreement" else made


def _arms(values: Mapping[str, Any], token: str) -> list[str]:
    chosen = st.session_state.get(f"f arms {token}", values["design"]["arms"])
    return [arm for arm in ARMS if arm in chosen]


def _draw_endpoint(values: Mapping[str, Any], arms: list[str], token: str) -> dict[str, Any]:
    first = st.columns((2, 2, 2))
    known = values["measure"] if values["measure"] in MEASURES else "accuracy"
    measure = first[0].selectbox(
        "Measure",
        list(MEASURES),
        index=list(MEASURES).index(known),
        format_func=MEASURES.__getitem__,
        key=f"f measure {token}",
        persist_state="session",
    )
    there: list[str] = list(arms) if arms else list(ARMS[:2])
    if measure in OF_MODELS:
        there = [*there, MODELS]
    elif len(there) < 2:
        there = list(ARMS[:2])
    pair = [arm for arm in values["compare"] if arm in there]
    pair = pair if len(pair) == 2 else there[:2]
    control = first[1].selectbox(
        "Control arm",
        there,
        index=there.index(pair[0]),
        format_func=COMPARED.__getitem__,
        key=f"f control {token} {'-'.join(there)}",
        persist_state="session",
    )
    rest = [arm for arm in there if arm != control]
    new = first[2].selectbox(
        "Compared with it",
        rest,
        index=rest.index(pair[1]) if pair[1] in rest else 0,
        format_func=COMPARED.__getitem__,
        key=f"f new {token} {control} {'-'.join(there)}",
        persist_state="session",
    )
    made: dict[str, Any] = {"measure": measure, "compare": [control, new]}
    second = st.columns((2, 1, 2, 1))
    aim = second[0].selectbox(
        "To be shown",
        list(AIMS),
        index=list(AIMS).index(values.get("aim", "superiority")),
        format_func=AIMS.__getitem__,
        key=f"f aim {token}",
        persist_state="session",
    )
    made["aim"] = aim
    if aim != "superiority":
        made["margin"] = second[1].number_input(
            "Margin",
            0.001,
            5.0,
            values.get("margin") or 0.05,
            0.01,
            key=f"f margin {token}",
            persist_state="session",
            help="0.05 is 5 points; for a decision time, 5 per cent.",
        )
    if measure in plan_form.NEEDS_PRIMARY:
        options = plan_form.primaries()
        index = options.index(values["primary"]) if values.get("primary") in options else 0
        made["primary"] = second[2].selectbox(
            "For which primary",
            options,
            index=index,
            format_func=_primary_name,
            key=f"f primary {token}",
            persist_state="session",
        )
    made["alpha"] = second[3].number_input(
        "Alpha",
        0.001,
        0.2,
        float(values.get("alpha", 0.05)),
        0.005,
        format="%.3f",
        key=f"f alpha {token}",
        persist_state="session",
    )
    kind = "fixed" if measure == "agreement" else values.get("readers", "random")
    if measure != "agreement":
        random = st.toggle(
            "The result is to hold for readers like these, not only for these very readers",
            kind == "random",
            key=f"f kind of readers {token}",
            persist_state="session",
        )
        kind = "random" if random else "fixed"
    made["readers"] = kind
    return made


def _primary_name(primary: str) -> str:
    from bmcore.domain import PRIMARY_NAMES

    return PRIMARY_NAMES[primary]
