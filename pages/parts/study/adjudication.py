"""Disagreements of readers, resolved beside the images by a third reader who sees no names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from bmcore.domain import ARM_WORDS, Prediction, Volume
from bmcore.review import adjudicate, disputes, exposure, marks, reader_masks, view_settings
from bmcore.review.adjudicate import Disagreement
from bmcore.review.disputes import CaseDispute, Seat
from bmcore.review.owner import Owner, drawer
from bmcore.review.reading_session import ReadingSession
from bmcore.review.study import Question, Study
from bmcore.review.votes import ROLE_NAMES, ROLES, Reader
from pages.parts import loaders, viewer
from pages.parts.access import guard
from pages.parts.access.guard import error_boundary
from pages.parts.case import reader
from pages.parts.study import questions as study_questions
from pages.parts.words import clinical, count, escaped, when
from pages.parts.words import place as lesion_place

_CASE, _TOLD, _NEXT, _OPEN = "dispute case", "dispute told", "dispute next", "dispute open"
_PLAIN, _MODELS = "Images alone", "The models' mask"


def draw(desk: ReadingSession) -> None:
    """How many are open, and one case with its images and all that its readers disagree on."""
    study = desk.version.study
    found = disputes.by_case(study, adjudicate.disagreements(loaders.store(), study.study))
    told = st.session_state.pop(_TOLD, None)
    if told:
        st.success(told, icon=":material/gavel:")
    if any(desk.next(r.id) is not None for r in study.readers):
        st.warning("Readers are still at work. What is resolved now may have to be resolved again.")
    if not found:
        st.info("So far no two readers have given different answers to the same question.")
        return
    left = sum(len(one.open) for one in found)
    total = sum(len(one.lines) for one in found)
    st.markdown(
        f"**{left} of {count(total, 'disagreement')} open**, in {count(len(found), 'case')}. "
        "Readers are named by letters, which change from case to case."
    )
    with st.expander("All disagreements", icon=":material/list:"):
        st.dataframe(_table(study, found), hide_index=True)
    chosen = _choose(found)
    st.session_state[_OPEN] = [one.case_id for one in found if one.open]
    if chosen is not None:
        _draw_case(desk, chosen)


def _choose(found: Sequence[CaseDispute]) -> CaseDispute | None:
    """The box of cases; it begins with the first that is open, and goes on after each."""
    cases = {one.case_id: one for one in found}
    first = next((one.case_id for one in found if one.open), found[0].case_id)
    asked = st.session_state.pop(_NEXT, None)
    if asked in cases or st.session_state.get(_CASE) not in cases:
        st.session_state[_CASE] = asked if asked in cases else first
    with st.container(horizontal=True, vertical_alignment="bottom"):
        case_id = st.selectbox("Case", list(cases), key=_CASE, width=320)
        if case_id in cases:
            open_ = len(cases[case_id].open)
            words = clinical(loaders.entry(case_id).clinical)
            st.text(f"{words}; {count(open_, 'disagreement')} open", width="content")
    return cases.get(case_id)


def _table(study: Study, found: Sequence[CaseDispute]) -> pd.DataFrame:
    asked = {q.id: q for q in study.questions}
    rows = []
    for one in found:
        for d in one.lines:
            question, made = asked[d.question], d.decision
            rows.append(
                {
                    "Case": d.case_id,
                    "Arm": ARM_WORDS[d.arm],
                    "Question": question.text,
                    "Answers": " | ".join(_answers(one, question, d)),
                    "Consensus": "open"
                    if made is None or d.open
                    else study_questions.in_words(question, made.value),
                    "Decided by": made.decided_by if made else "",
                    "When": when(made.created_at) if made else "",
                }
            )
    return pd.DataFrame(rows)


def _answers(one: CaseDispute, question: Question, d: Disagreement) -> list[str]:
    said = [(one.name(a), study_questions.in_words(question, a.value)) for a in d.answers]
    return [f"{name}: {words}" for name, words in sorted(said)]


def _draw_case(desk: ReadingSession, one: CaseDispute) -> None:
    left, right = st.columns([5, 4], gap="medium")
    with left, error_boundary():
        _draw_images(desk, one)
    with right, error_boundary():
        _draw_lines(desk, one)


# the images


@dataclass(frozen=True)
class _Layer:
    """What may lie over the images. marks: those of the reader, as the viewer wants them."""

    mask: Volume | None = None
    words: str = ""
    marks: Sequence[Mapping[str, Any]] = ()


def _draw_images(desk: ReadingSession, one: CaseDispute) -> None:
    """The viewer, with nobody's mask until one is asked for: the third reader looks first."""
    prediction = loaders.prediction(one.case_id)
    masked = reader_masks.were_shown(desk.version.study) and prediction is not None
    names = [_PLAIN, *([_MODELS] if masked else []), *sorted(one.letters.values())]
    chosen = st.segmented_control(
        "Shown over the images",
        names,
        default=_PLAIN,
        required=True,
        key=f"dispute layer {one.case_id}",
        help="As each reader left it: what was painted, or the models' mask without the lesions "
        "that this reader rejected; with the reader's own marks.",
    )
    layer = _Layer()
    if chosen != _PLAIN:
        if prediction is not None and masked:
            _note_shown(one.case_id)
        layer = _layer(desk, one, str(chosen), prediction if masked else None)
    overlays = viewer.Overlays()
    if layer.mask is not None and prediction is not None:
        overlays = viewer.Overlays(layer.mask, prediction.lesions, basis=prediction.mask)
    place = viewer.Desk(
        owner=reader.owner(),
        phase="aided",
        marks=layer.marks,
        settings=view_settings.load(loaders.home(), reader.owner()),
    )
    with st.container(key="viewer_side"):
        viewer.show(loaders.images(one.case_id), overlays, _jump(one.case_id, prediction), place)
    if layer.words:
        st.caption(escaped(layer.words))


def _jump_key(case_id: str) -> str:
    return f"dispute jump {case_id}"


def _jump(case_id: str, prediction: Prediction | None) -> viewer.Jump | None:
    """Where the last "Show" beside a lesion leads."""
    nonce, number = st.session_state.get(_jump_key(case_id), (0, None))
    found = [n for n in (prediction.lesions if prediction else ()) if n.number == number]
    return viewer.Jump(nonce, found[0].centroid_mm, number) if found else None


def _show(case_id: str, number: int | None, _: study_questions.Point | None) -> None:
    nonce, _before = st.session_state.get(_jump_key(case_id), (0, None))
    st.session_state[_jump_key(case_id)] = (nonce + 1, number)


def _note_shown(case_id: str) -> None:
    """Write that the models' segmentation goes to this user, before it does."""
    guard.check("study.decide")
    evidence = loaders.evidence(case_id, shown=True)
    who = reader.acting()
    store = loaders.store()
    if case_id not in store.shown_to(who):
        store.write(lambda c: exposure.record(c, who, case_id, evidence, arm="adjudication"))


def _layer(
    desk: ReadingSession, one: CaseDispute, chosen: str, prediction: Prediction | None
) -> _Layer:
    if chosen == _MODELS:
        return _Layer(prediction.mask if prediction else None, "The models' segmentation")
    seat = next(s for s, name in one.letters.items() if name == chosen)
    own = _marks(desk, one.case_id, seat)
    if prediction is None:
        return _Layer(None, f"{chosen}: {count(len(own), 'mark')}", own)
    gathered = reader_masks.gather(desk, loaders.home())
    found = reader_masks.of_readers(gathered, one.case_id, prediction.mask).get(seat)
    if found is None:
        return _Layer(None, f"{chosen} has not read the case with the models", own)
    if isinstance(found, str):
        return _Layer(None, f"{chosen}: {found}", own)
    words = found.words.split(", SHA-256")[0]
    return _Layer(found.mask, f"{chosen}: {words}; {count(len(own), 'mark')}", own)


def _marks(desk: ReadingSession, case_id: str, seat: Seat) -> list[Mapping[str, Any]]:
    """The marks that a reader left on the case at the first reading."""
    site, who = seat
    study = desk.version.study
    places = {a.place for a in desk.answers() if (a.site, a.reader, a.case_id) == (*seat, case_id)}
    names = {drawer(study, p) for p in places if p.occasion == 0 and p.reader == who}
    owners = [Owner(case_id, name) for name in sorted(names)]
    return marks.as_values([m for o in owners for m in marks.load(loaders.store(), o, site)])


# the answers, and the consensus


def _draw_lines(desk: ReadingSession, one: CaseDispute) -> None:
    """Every arm of the case: what was said, and the consensus, stored together with one note."""
    study = desk.version.study
    asked = {q.id: q for q in study.questions}
    places: dict[int, str] = {}
    if any(asked[d.question].kind == "lesions" for d in one.lines):
        places = _lesion_places(one.case_id)
    for d in one.lines:
        with st.container(border=True):
            question = asked[d.question]
            st.markdown(f"**{escaped(question.text)}** {ARM_WORDS[d.arm]}")
            st.text("\n".join(_answers(one, question, d)))
            if d.open:
                if d.decision is not None:
                    st.caption("Decided before an answer was added or changed; decide again.")
                show = partial(_show, one.case_id) if places else None
                study_questions.draw(question, _token(d), _shown(d, places), None, show)
                _offer_copy(question, d, one, places)
            else:
                _draw_made(question, d, places)
    if one.open:
        _draw_store(asked, one, places)
    else:
        st.success("Every disagreement on this case is resolved.", icon=":material/check:")


def _offer_copy(
    question: Question, d: Disagreement, one: CaseDispute, places: Mapping[int, str]
) -> None:
    """The first open arm of a question lends its answer to the later ones."""
    same = [other for other in one.open if other.question == d.question]
    if len(same) < 2 or d != same[0]:
        return

    def copy() -> None:
        value = study_questions.value(question, _token(d), _shown(d, places))
        if value is not None:
            for other in same[1:]:
                study_questions.fill(question, _token(other), value)

    st.button(
        "Same answer in the other arms",
        key=f"copy {_token(d)}",
        icon=":material/content_copy:",
        on_click=copy,
    )


def _lesion_places(case_id: str) -> dict[int, str]:
    """Where the models' lesions lie; that this is shown is written before."""
    prediction = loaders.prediction(case_id)
    if prediction is None:
        return {}
    _note_shown(case_id)
    return {n.number: lesion_place(n) for n in prediction.lesions}


def _shown(d: Disagreement, places: Mapping[int, str]) -> study_questions.Shown:
    """What the question is about: the lesions that were judged, with their places."""
    plain = study_questions.shown_by(*(a.value for a in d.answers))
    lesions = {n: places.get(n, words) for n, words in plain.lesions.items()}
    return study_questions.Shown(lesions, plain.marks)


def _draw_made(question: Question, d: Disagreement, places: Mapping[int, str]) -> None:
    made = d.decision
    assert made is not None
    st.markdown(f"**Consensus: {escaped(study_questions.in_words(question, made.value))}**")
    rests = f" It rests on: {made.note}" if made.note else ""
    st.caption(escaped(f"By {made.decided_by}, {when(made.created_at)}.{rests}"))
    with st.expander("Replace this consensus"):
        token, shown = _token(d), _shown(d, places)
        study_questions.draw(question, token, shown)
        reason = st.text_input("Why are you replacing it?", key=f"reason {token}", max_chars=2000)
        who, role = _third_reader(token)
        if st.button("Store the new consensus", key=f"replace {token}"):
            guard.check("study.decide")
            value = study_questions.value(question, token, shown)
            lacking = study_questions.missing(question, token, value, shown)
            if value is None and not lacking:
                lacking = [f"“{question.text}”"]
            if _complain([*lacking, *_people(who, role)]):
                return
            store = loaders.store()
            store.add_reader(who, str(role))
            adjudicate.decide(store, d, value, decided_by=who, reason=reason or None)
            st.session_state[_TOLD] = escaped(f"Replaced: {d.case_id}, {ARM_WORDS[d.arm]}.")
            st.rerun()


def _draw_store(asked: Mapping[str, Question], one: CaseDispute, places: Mapping[int, str]) -> None:
    """Who decides, on what it rests, and one button for all that was filled in."""
    token = f"resolve {one.case_id}"
    who, role = _third_reader("resolve")
    note = st.text_input("What does it rest on?", key=f"note {token}", max_chars=2000)
    if not st.button("Store the consensus", type="primary", key=f"store {token}"):
        st.caption("Lines that you leave empty stay open.")
        return
    guard.check("study.decide")
    settled, lacking = [], []
    for d in one.open:
        question, shown = asked[d.question], _shown(d, places)
        value = study_questions.value(question, _token(d), shown)
        if value is None:
            continue
        lacking += study_questions.missing(question, _token(d), value, shown)
        settled.append((d, value))
    if not settled:
        lacking.append("an answer to one of the questions")
    if _complain([*lacking, *_people(who, role)]):
        return
    store = loaders.store()
    store.add_reader(who, str(role))
    adjudicate.decide_all(store, settled, decided_by=who, note=note)
    words = count(len(settled), "disagreement")
    st.session_state[_TOLD] = escaped(f"Resolved: {words} on {one.case_id}, by {who}.")
    if len(settled) == len(one.open):
        st.session_state[_NEXT] = _after(one.case_id)
    st.rerun()


def _after(case_id: str) -> str | None:
    """The next case with an open disagreement, from the first again after the last."""
    asked = st.session_state.get(_OPEN, [])
    later = asked[asked.index(case_id) + 1 :] if case_id in asked else asked
    return next(iter([*later, *(c for c in asked if c != case_id)]), None)


def _complain(lacking: Sequence[str]) -> bool:
    if lacking:
        st.error(escaped(f"Not stored yet. Still missing: {'; '.join(lacking)}."))
    return bool(lacking)


def _people(who: str, role: str | None) -> list[str]:
    return [] if who and role else ["who decides, with the role"]


def _token(d: Disagreement) -> str:
    return f"resolve {d.case_id} {d.arm} {d.question}"


def _third_reader(token: str) -> tuple[str, str | None]:
    """Who decides: the account; on a computer without accounts a name, asked once."""
    user = guard.user()
    left, right = st.columns(2)
    if user.local:
        name = left.text_input("Who decides?", key=f"who {token}", max_chars=80)
    else:
        name = user.name
        left.text(f"Decided by {name}")
    known = {r.key: r.role for r in loaders.store().readers()}
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
