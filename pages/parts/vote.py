"""The vote form. Nothing is chosen beforehand; one form stores one vote, however often sent."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from bmcore.domain import BmcoreError, Prediction
from pages.parts import guard, loaders, reader
from pages.parts.guard import unexpected
from pages.parts.words import when

if TYPE_CHECKING:
    from bmcore.intake.library import CaseEntry

QUALITY = {
    1: "1 unusable",
    2: "2 poor",
    3: "3 fair",
    4: "4 good",
    5: "5 very good",
    0: "cannot judge",
}


@dataclass(frozen=True)
class Form:
    """One form on the screen. token: its idempotency key, and the ending of its widgets' keys."""

    case_id: str
    phase: str
    who: tuple[str, str] | None
    earlier: bool
    model_primary: str | None
    token: str

    @property
    def place(self) -> str:
        return f"vote form {self.case_id} {self.phase} {self.who}"

    def value(self, name: str) -> Any:
        return st.session_state.get(f"{name} {self.token}")


def draw(case: CaseEntry, prediction: Prediction | None, shown: bool) -> None:
    """The form for this case; ``shown``: the reader sees the models' answers (an aided vote)."""
    phase = "aided" if shown else "unaided"
    who = reader.current()
    words = "Your vote, with the models" if shown else "Your vote, without the models"
    st.subheader(words, anchor=False)
    earlier = _say_stored(case.case_id, phase, who)
    top = prediction.fused.top if prediction is not None and shown else None
    form = Form(case.case_id, phase, who, earlier, str(top) if top else None, "")
    form = replace(form, token=st.session_state.setdefault(form.place, uuid.uuid4().hex))
    box = st.expander("Change this vote") if earlier else st.container()
    ready = prediction is not None or bool(loaders.models().problem)
    with box.form(f"vote {form.token}", border=not earlier):
        _fields(form)
        st.form_submit_button(
            "Store vote", type="primary" if ready else "secondary", on_click=_send, args=(form,)
        )
    _say_problems(form)


def _fields(form: Form) -> None:
    from bmcore.review.votes import CHOICE_NAMES, PRIMARY_CHOICES

    st.radio(
        "Most likely primary",
        PRIMARY_CHOICES,
        index=None,
        format_func=lambda choice: CHOICE_NAMES[choice],
        horizontal=True,
        key=f"primary {form.token}",
    )
    st.number_input(
        "How sure are you? (0 to 100)",
        0,
        100,
        value=None,
        step=5,
        placeholder="0 is a guess, 100 is certain",
        key=f"confidence {form.token}",
    )
    if form.phase == "aided":
        st.radio(
            "Quality of the segmentation",
            list(QUALITY),
            index=None,
            format_func=lambda grade: QUALITY[grade],
            horizontal=True,
            key=f"quality {form.token}",
        )
    st.text_area("Comment (optional)", max_chars=4000, height=68, key=f"comment {form.token}")
    if form.earlier:
        st.text_input("Why do you change your vote?", key=f"reason {form.token}")


def _missing(form: Form) -> list[str]:
    """What must be filled in before the vote can be stored."""
    needed = {
        "the reader (name and role)": form.who is not None,
        "the primary": form.value("primary") is not None,
        "how sure you are": form.value("confidence") is not None,
        "the quality of the segmentation": form.phase == "unaided"
        or form.value("quality") is not None,
        "the reason for the change": not form.earlier or (form.value("reason") or "").strip(),
    }
    return [words for words, given in needed.items() if not given]


def _send(form: Form) -> None:
    """Store the vote before anything is drawn, so that leaving the page at once loses nothing.

    A second click finds the same token and stores nothing new. Problems wait for the next drawing.
    """
    missing = _missing(form)
    if missing:
        _note(form, [f"Not stored yet. Still missing: {', '.join(missing)}."])
        return
    try:
        guard.check("vote.store", form.case_id)
        _store(form)
    except BmcoreError as error:
        _note(form, ["Not stored.", *(finding.sentence for finding in error.findings)])
    except Exception:
        _note(form, [f"Not stored. {unexpected()}"])
    else:
        st.session_state.pop(form.place, None)
        st.session_state[_flash(form.case_id, form.phase)] = True


def _store(form: Form) -> None:
    from bmcore.review.votes import VoteDraft

    assert form.who is not None  # _missing has checked
    aided = form.phase == "aided"
    info = loaders.models().info
    rests = loaders.evidence(form.case_id, shown=aided)
    draft = VoteDraft(
        case_id=form.case_id,
        reader=form.who[0],
        role=form.who[1],
        phase=form.phase,
        primary=form.value("primary"),
        confidence=int(form.value("confidence")),
        segmentation_quality=form.value("quality") or None,
        comment=form.value("comment") or "",
        reason=form.value("reason") or None,
        idempotency_key=form.token,
        bundle_digest=info.digest if info else None,
        model_primary=form.model_primary,
        images_sha256=rests.images,
        prediction_run=rests.run,
        prediction_sha256=rests.prediction,
    )
    store = loaders.store()
    store.add_reader(*form.who)
    store.add_vote(draft)


def _note(form: Form, sentences: list[str]) -> None:
    st.session_state[f"vote problems {form.token}"] = sentences


def _say_problems(form: Form) -> None:
    sentences = st.session_state.pop(f"vote problems {form.token}", None)
    if sentences:
        st.error(sentences[0])
        if sentences[1:]:
            st.text("\n".join(sentences[1:]))


def _flash(case_id: str, phase: str) -> str:
    return f"just stored {case_id} {phase}"


def _earlier(case_id: str, phase: str, who: tuple[str, str] | None):
    """This reader's vote in force, or None."""
    if who is None:
        return None
    votes = loaders.store().current_votes(case_id, phase)
    return next((v for v in votes if v.reader.casefold() == who[0].casefold()), None)


def _say_stored(case_id: str, phase: str, who: tuple[str, str] | None) -> bool:
    """Show this reader's vote in force; True if there is one."""
    from bmcore.review.votes import CHOICE_NAMES

    vote = _earlier(case_id, phase, who)
    if vote is None:
        return False
    words = f"{CHOICE_NAMES[vote.primary]}, {vote.confidence} of 100, on {when(vote.created_at)}."
    if st.session_state.get(_flash(case_id, phase)):
        st.success(f"Stored: {words}", icon=":material/check:")
    else:
        st.info(f"Your vote: {words}")
    st.caption("A new vote takes the place of this one. The earlier one stays on record.")
    return True
