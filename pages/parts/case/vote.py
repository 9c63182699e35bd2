"""The vote form. Nothing is chosen beforehand; one form stores one vote, however often sent.

Until then what is filled in is a draft, kept at each change: it outlives a reload and other pages.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from bmcore.domain import BmcoreError, Prediction
from bmcore.review import vote_drafts
from bmcore.review.vote_drafts import Slot
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.access.guard import unexpected
from pages.parts.case import next_case, reader
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
FIELDS = ("primary", "confidence", "quality", "comment", "reason")
_TYPING = st.components.v2.component(
    "bmcore_typing", js=(Path(__file__).parent / "keep_typing.js").read_text(encoding="utf-8")
)


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

    @property
    def slot(self) -> Slot | None:
        """Where the draft lies: the reader's, else this browser window's; None where neither is."""
        from bmcore.review.votes import Reader

        if self.who is not None:
            return Slot(self.case_id, Reader(*self.who).key, self.phase)
        return self.nameless

    @property
    def nameless(self) -> Slot | None:
        """Of this window, before somebody says who is reading."""
        found = reader.window()
        return Slot(self.case_id, f"{reader.owner()} window {found}", self.phase) if found else None


def draw(case: CaseEntry, prediction: Prediction | None, shown: bool) -> None:
    """The form for this case; ``shown``: the reader sees the models' answers (an aided vote)."""
    phase = "aided" if shown else "unaided"
    who = reader.current()
    words = "Your vote, with the models" if shown else "Your vote, without the models"
    st.subheader(words, anchor=False)
    earlier = _say_stored(case.case_id, phase, who)
    if earlier:
        next_case.draw_after(case.case_id, strong=shown or prediction is None)
    top = prediction.fused.top if prediction is not None and shown else None
    form = Form(case.case_id, phase, who, earlier, str(top) if top else None, "")
    form = replace(form, token=st.session_state.setdefault(form.place, uuid.uuid4().hex))
    ready = prediction is not None or bool(loaders.models().problem)
    _draw_form(form, ready)


@guard.fragment("case.open", case=lambda form, ready: form.case_id)
def _draw_form(form: Form, ready: bool) -> None:
    """A fragment: what is filled in redraws the form alone, not the viewer."""
    if st.session_state.pop(f"vote sent {form.token}", False):
        st.rerun()  # the whole page: another window may have changed what the form asks for
    begun = _restore(form)
    with st.container(key="vote_form"):
        place = st.expander("Change this vote", expanded=begun) if form.earlier else None
        with place or st.container(border=True):
            _fields(form)
            st.button(
                "Store vote",
                type="primary" if ready else "secondary",
                key=f"store {form.token}",
                on_click=_send,
                args=(form,),
            )
            st.caption("What you fill in is kept as a draft until you store the vote.")
        _TYPING(data={"inside": ".st-key-vote_form"}, key="keep_typing")
    say_problems(form.case_id, form.phase)


def _restore(form: Form) -> bool:
    """Put the draft into the widgets where they have no value in this session; True where begun.

    A draft that was begun before the reader was named becomes the reader's, unless there is one.
    """
    if form.slot is not None and not _looked_up(form):
        found = _load(form)
        for name in FIELDS:
            if name in found and form.value(name) in (None, ""):
                st.session_state[f"{name} {form.token}"] = found[name]
        st.session_state[f"looked {form.token}"] = True
    begun = any(form.value(name) not in (None, "") for name in FIELDS)
    if begun and form.slot is not None and not st.session_state.get(f"kept {form.token}"):
        _save(form)  # filled in before this window had told its id, or taken over
    return begun


def _looked_up(form: Form) -> bool:
    """The draft is in the widgets; they forget it when another page is drawn."""
    there = any(f"{name} {form.token}" in st.session_state for name in FIELDS)
    return there and bool(st.session_state.get(f"looked {form.token}"))


def _load(form: Form) -> Mapping[str, Any]:
    assert form.slot is not None
    store = loaders.store()
    found = vote_drafts.load(store, form.slot)
    waiting = form.nameless if form.who is not None else None
    if not found and waiting is not None:
        found = vote_drafts.load(store, waiting)
        if found:
            vote_drafts.save(store, form.slot, found)
            vote_drafts.remove(store, waiting)
    return found


def _save(form: Form) -> None:
    """Keep the draft; runs before anything is drawn."""
    if form.slot is None:
        return  # the window has not told its id yet; the widgets hold it
    try:
        guard.check("vote.store", form.case_id)
        vote_drafts.save(loaders.store(), form.slot, {name: form.value(name) for name in FIELDS})
        st.session_state[f"kept {form.token}"] = True
    except BmcoreError as error:
        _note(form, ["The draft is not saved.", *(finding.sentence for finding in error.findings)])
    except Exception:
        _note(form, [f"The draft is not saved. {unexpected()}"])


def _fields(form: Form) -> None:
    from bmcore.review.votes import CHOICE_NAMES, PRIMARY_CHOICES

    how: dict[str, dict[str, Any]] = {
        name: {"key": f"{name} {form.token}", "on_change": _save, "args": (form,)}
        for name in FIELDS
    }
    st.radio(
        "Most likely primary",
        PRIMARY_CHOICES,
        index=None,
        format_func=lambda choice: CHOICE_NAMES[choice],
        horizontal=True,
        **how["primary"],
    )
    st.number_input(
        "How sure are you? (0 to 100)",
        0,
        100,
        value=None,
        step=5,
        placeholder="0 is a guess, 100 is certain",
        **how["confidence"],
    )
    if form.phase == "aided":
        st.radio(
            "Quality of the segmentation",
            list(QUALITY),
            index=None,
            format_func=lambda grade: QUALITY[grade],
            horizontal=True,
            **how["quality"],
        )
    st.text_area("Comment (optional)", max_chars=4000, height=68, **how["comment"])
    if form.earlier:
        st.text_input("Why are you changing your vote?", max_chars=4000, **how["reason"])


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
    st.session_state[f"vote sent {form.token}"] = True
    try:
        guard.check("vote.store", form.case_id)
        _store(form)
    except BmcoreError as error:
        _note(form, ["Not stored.", *(finding.sentence for finding in error.findings)])
    except Exception:
        _note(form, [f"Not stored. {unexpected()}"])
    else:
        _forget(form)
        st.session_state.pop(form.place, None)
        st.session_state[_flash(form.case_id, form.phase)] = True


def _forget(form: Form) -> None:
    """The vote is stored, so its draft goes."""
    try:
        if form.slot is not None:
            vote_drafts.remove(loaders.store(), form.slot)
    except BmcoreError as error:
        words = "The vote is stored, but its draft could not be removed."
        _note(form, [words, *(finding.sentence for finding in error.findings)])


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
    st.session_state[f"vote problems {form.case_id} {form.phase}"] = sentences


def say_problems(case_id: str, phase: str) -> None:
    """Why the vote of a phase was not stored, once; also where its form is no longer there."""
    sentences = st.session_state.pop(f"vote problems {case_id} {phase}", None)
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
    st.caption("A new vote replaces this one, which stays on record.")
    return True
