"""The vote form. Nothing is chosen beforehand; one form stores one vote, however often sent."""

from __future__ import annotations

import uuid

import streamlit as st

from bmcore.domain import Case, Prediction
from pages.parts import loaders, reader
from pages.parts.guard import shield
from pages.parts.words import when

QUALITY = {
    1: "1 unusable",
    2: "2 poor",
    3: "3 fair",
    4: "4 good",
    5: "5 very good",
    0: "cannot judge",
}


def draw(case: Case, prediction: Prediction | None, shown: bool) -> None:
    """The form for this case; ``shown``: the reader sees the models' answers (an aided vote)."""
    from bmcore.review.votes import CHOICE_NAMES, PRIMARY_CHOICES

    phase = "aided" if shown else "unaided"
    who = reader.current()
    st.subheader(
        "Your vote, with the models" if shown else "Your vote, without the models", anchor=False
    )
    _say_stored(case.case_id, phase, who)
    place = f"vote form {case.case_id} {phase} {who}"
    token = st.session_state.setdefault(place, uuid.uuid4().hex)
    earlier = _earlier(case.case_id, phase, who)
    ready = prediction is not None or bool(loaders.models().problem)
    box = st.expander("Change this vote") if earlier else st.container()
    with box.form(f"vote {token}", border=not earlier):
        primary = st.radio(
            "Most likely primary",
            PRIMARY_CHOICES,
            index=None,
            format_func=lambda choice: CHOICE_NAMES[choice],
            horizontal=True,
            key=f"primary {token}",
        )
        confidence = st.number_input(
            "How sure are you? (0 to 100)",
            0,
            100,
            value=None,
            step=5,
            placeholder="0 is a guess, 100 is certain",
            key=f"confidence {token}",
        )
        quality = None
        if shown:
            quality = st.radio(
                "Quality of the segmentation",
                list(QUALITY),
                index=None,
                format_func=lambda q: QUALITY[q],
                horizontal=True,
                key=f"quality {token}",
            )
        comment = st.text_area(
            "Comment (optional)", max_chars=4000, height=68, key=f"comment {token}"
        )
        reason = None
        if earlier:
            reason = st.text_input("Why do you change your vote?", key=f"reason {token}")
        sent = st.form_submit_button("Store vote", type="primary" if ready else "secondary")
    if sent:
        needed: dict[str, object] = {"the reader (name and role)": who, "the primary": primary}
        needed["how sure you are"] = confidence is not None
        if shown:
            needed["the quality of the segmentation"] = quality is not None
        if earlier:
            needed["the reason for the change"] = (reason or "").strip()
        missing = [words for words, given in needed.items() if not given]
        if missing:
            st.error(f"Not stored yet. Still missing: {', '.join(missing)}.")
            return
        with shield():
            answer = {"primary": primary, "confidence": int(confidence or 0), "comment": comment}
            answer |= {"reason": reason or None, "segmentation_quality": quality or None}
            _store(case.case_id, phase, prediction, answer, token)
            del st.session_state[place]
            st.rerun()


def _store(
    case_id: str, phase: str, prediction: Prediction | None, answer: dict, token: str
) -> None:
    """Register the reader and store the vote: one call each, no drawing in between."""
    from bmcore.review.votes import VoteDraft

    who = reader.current()
    assert who is not None  # checked by the caller
    top = prediction.fused.top if prediction is not None and phase == "aided" else None
    info = loaders.models().info
    draft = VoteDraft(
        case_id=case_id,
        reader=who[0],
        role=who[1],
        phase=phase,
        idempotency_key=token,
        bundle_digest=info.digest if info else None,
        model_primary=str(top) if top else None,
        **answer,
    )
    store = loaders.store()
    store.add_reader(*who)
    store.add_vote(draft)
    st.session_state[_flash(case_id, phase)] = True


def _flash(case_id: str, phase: str) -> str:
    return f"just stored {case_id} {phase}"


def _earlier(case_id: str, phase: str, who: tuple[str, str] | None):
    """This reader's vote in force, or None."""
    if who is None:
        return None
    votes = loaders.store().current_votes(case_id, phase)
    return next((v for v in votes if v.reader.casefold() == who[0].casefold()), None)


def _say_stored(case_id: str, phase: str, who: tuple[str, str] | None) -> None:
    from bmcore.review.votes import CHOICE_NAMES

    vote = _earlier(case_id, phase, who)
    if vote is None:
        return
    words = f"{CHOICE_NAMES[vote.primary]}, {vote.confidence} of 100, on {when(vote.created_at)}."
    if st.session_state.get(_flash(case_id, phase)):
        st.success(f"Stored: {words}", icon=":material/check:")
    else:
        st.info(f"Your vote: {words}")
    st.caption("A new vote takes the place of this one. The earlier one stays on record.")
