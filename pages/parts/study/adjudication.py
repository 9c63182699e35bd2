"""Disagreements and their consensus by a third reader; consensus masks for the next training."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import streamlit as st

from bmcore.domain import Case, Prediction
from bmcore.review import adjudicate, masks
from bmcore.review.adjudicate import Disagreement
from bmcore.review.reading_session import ReadingSession
from bmcore.review.study import Question, Study
from bmcore.review.votes import ROLE_NAMES, ROLES
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.study import questions as study_questions
from pages.parts.study.context import ARM_WORDS
from pages.parts.words import escaped, when

_MADE = "consensus masks made"


def draw(desk: ReadingSession) -> None:
    """The list of disagreements, and the form to settle the chosen one."""
    study = desk.version.study
    found = adjudicate.disagreements(loaders.store(), study.study)
    told = st.session_state.pop("settled", None)
    if told:
        st.success(told, icon=":material/gavel:")
    if any(desk.next(r.id) is not None for r in study.readers):
        st.warning("Readers are still at work. What is settled now may have to be settled again.")
    if not found:
        st.info("No two readers gave different answers to the same question so far.")
        return
    questions = {q.id: q for q in study.questions}
    st.markdown(f"**{sum(d.decision is None for d in found)} of {len(found)} are open**")
    st.dataframe(_table(study, questions, found), hide_index=True)
    chosen = st.selectbox(
        "Settle",
        range(len(found)),
        index=None,
        format_func=lambda n: _words(questions, found[n]),
        placeholder="Choose a disagreement",
        key="settle_box",
    )
    if chosen is not None:
        _draw_form(study, questions[found[chosen].question], found[chosen])


def _words(questions: dict[str, Question], d: Disagreement) -> str:
    state = "settled" if d.decision else "open"
    return f"{d.case_id}, {ARM_WORDS[d.arm]}: {questions[d.question].text} ({state})"


def _table(study: Study, questions: dict[str, Question], found: list[Disagreement]) -> pd.DataFrame:
    rows = []
    for d in found:
        question = questions[d.question]
        said = [
            f"{study.reader(a.reader).name}: {study_questions.in_words(question, a.value)}"
            for a in d.answers
        ]
        made = d.decision
        rows.append(
            {
                "Case": d.case_id,
                "Read": ARM_WORDS[d.arm],
                "Question": question.text,
                "Answers": " | ".join(said),
                "Consensus": study_questions.in_words(question, made.value) if made else "open",
                "Decided by": made.decided_by if made else "",
                "When": when(made.created_at) if made else "",
            }
        )
    return pd.DataFrame(rows)


def _draw_form(study: Study, question: Question, d: Disagreement) -> None:
    """The consensus: who decides must have given none of the answers."""
    token = f"settle {d.case_id} {d.arm} {d.question}"
    for a in d.answers:
        words = study_questions.in_words(question, a.value)
        st.text(f"{study.reader(a.reader).name}: {words}")
    shown = study_questions.shown_by(*(a.value for a in d.answers))
    study_questions.draw(question, token, shown)
    who, role = _third_reader(token)
    note = st.text_input("On what does the consensus rest?", key=f"note {token}", max_chars=2000)
    reason = None
    if d.decision is not None:
        reason = st.text_input(
            "Why is the earlier consensus replaced?", key=f"reason {token}", max_chars=2000
        )
    if st.button("Store the consensus", type="primary", key=f"store {token}"):
        guard.check("study.decide")
        value = study_questions.value(question, token, shown)
        lacking = study_questions.missing(question, token, value, shown)
        if lacking or not who or not role:
            need = lacking + ([] if who and role else ["who decides, with the role"])
            st.error(escaped(f"Not stored yet. Still missing: {'; '.join(need)}."))
            return
        store = loaders.store()
        store.add_reader(who, role)
        adjudicate.decide(store, d, value, decided_by=who, note=note, reason=reason or None)
        st.session_state["settled"] = escaped(
            f"Settled: {d.case_id}, {ARM_WORDS[d.arm]}, by {who}."
        )
        st.rerun()


def _third_reader(token: str) -> tuple[str, str | None]:
    user = guard.user()
    left, right = st.columns(2)
    if user.local:
        name = left.text_input("Who decides?", key=f"who {token}", max_chars=80)
    else:
        name = user.name
        left.text(f"Decided by {name}")
    known = {r.key: r.role for r in loaders.store().readers()}
    from bmcore.review.votes import Reader

    role = known.get(Reader(name, "other").key) if name.strip() else None
    if role is None:
        role = right.selectbox(
            "Role",
            ROLES,
            index=None,
            format_func=ROLE_NAMES.__getitem__,
            placeholder="Choose",
            key=f"role {token}",
        )
    return name.strip(), role


def draw_masks(desk: ReadingSession) -> None:
    """Write the cases with consensus masks on the server; the masks alone can be taken away."""
    st.markdown(
        "Each case with a mask that the readers agree on, in the layout that the training reads. "
        "A reader's mask is what was painted, or the models' mask without the rejected lesions."
    )
    method = st.segmented_control(
        "How the masks are brought together",
        masks.METHODS,
        default=masks.METHODS[0],
        format_func=lambda m: {"staple": "STAPLE"}.get(m, m.capitalize()),
        required=True,
        key="mask method",
    )
    if st.button("Write the masks", type="primary", icon=":material/save:"):
        guard.check("masks.export")
        name = desk.version.study.study
        out = loaders.home() / "exports" / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        with st.spinner("Bringing the masks together"):
            written = masks.write_consensus(desk, loaders.home(), out, str(method), _read)
        st.session_state[_MADE] = (out, written)
    if _MADE not in st.session_state:
        return
    out, written = st.session_state[_MADE]
    rows = {
        "Case": [w.case_id for w in written],
        "Mask": ["written" if w.path else "none" for w in written],
        "How, or why not": [w.words for w in written],
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    paths = [w.path for w in written if w.path]
    if paths:
        st.caption(f"On the computer that runs the dashboard, with the images: {escaped(str(out))}")
        guard.download(
            "masks.export",
            "Masks as ZIP",
            _zipped(paths),
            file_name=f"{out.name}.zip",
            mime="application/zip",
            key="masks zip",
        )


def _read(case_id: str) -> tuple[Case, Prediction | None]:
    return loaders.case(case_id), loaders.prediction(case_id)


def _zipped(paths: list[Path]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as packed:
        for path in paths:
            packed.write(path, f"{path.parent.name}/{path.name}")
    return memory.getvalue()
