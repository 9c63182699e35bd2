"""What the Agreement and the Reports page rest on: free votes or a study, read once and kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from bmcore import disk
from bmcore.settings import settings
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.case import reader

if TYPE_CHECKING:
    from bmcore.analysis.readings import Choice, LesionMarks, StudyData
    from bmcore.analysis.results import Results
    from bmcore.domain import Prediction
    from bmcore.review.record import StudyRecord
    from bmcore.review.votes import Evidence

FREE = "Free votes"
T = TypeVar("T")
KEPT = "readings that were chosen"  # a box forgets its value when another page is drawn


@dataclass(frozen=True, eq=False)
class Picked:
    """Readings to compute on. record: of a study, else None; stamp: changes with what is stored."""

    source: StudyData
    marks: LesionMarks
    record: StudyRecord | None
    stamp: str

    @property
    def running(self) -> bool:
        return self.record is not None and not self.record.finished


def pick() -> str:
    """The box with free votes and every study; the name that is chosen."""
    from bmcore.review import plan

    names = [FREE, *plan.studies(loaders.store())]
    if len(names) == 1:
        return FREE
    kept = st.session_state.get(KEPT)
    index = names.index(kept) if kept in names else len(names) - 1
    found = st.selectbox("Readings of", names, index=index, width=320, key="readings_of")
    st.session_state[KEPT] = found
    return found


def left_out() -> frozenset[str]:
    """Cases on which results of free votes would tell this user what the models said, or which
    primary is known, before the own vote without the models is in and their answers were opened."""
    if not guard.may("vote.store"):
        return frozenset()
    from bmcore.inference import archive

    store, who, info = loaders.store(), reader.acting(), loaders.models().info
    predicted = archive.read_by(loaders.home(), info.digest) if info else set()
    here = {path.name for path in disk.below(loaders.home() / "cases")}
    telling = (predicted | set(known_primaries())) & here
    return frozenset(telling - store.shown_to(who) - (store.voted_by(who) - predicted))


def in_results(cases: Collection[str]) -> dict[str, Evidence]:
    """What results on these cases rest on; no image and no prediction is opened."""
    from bmcore.intake import library
    from bmcore.review.votes import Evidence

    info = loaders.models().info
    digest = info.digest if info else None
    found = {case_id: library.find_entry(loaders.home(), case_id) for case_id in cases}
    return {c: Evidence(e.images_sha256, digest) for c, e in found.items() if e is not None}


def note_what_is_shown(rests: Mapping[str, Evidence], where: str) -> None:
    """Write that the models' answers on these cases go to this user, before they do. where: on
    which page, as the arm of the exposure."""
    from bmcore.review import exposure

    who = reader.acting()

    def enter(connection: Any) -> None:
        for case_id, evidence in sorted(rests.items()):
            exposure.record(connection, who, case_id, evidence, arm=where)

    if rests:
        loaders.store().write(enter)


def gather(name: str, without: frozenset[str] = frozenset()) -> Picked:
    """Votes or answers with the cases they belong to. without: cases of free votes that are left
    out."""
    from bmcore.review.record import read_record

    store = loaders.store()
    if name == FREE:
        record, said = None, str(len(store.votes()))
    else:
        record = read_record(store, name)
        states = "".join(s.state[0] + "f" * s.flagged for s in record.sheets)
        counts = (len(record.versions), len(record.answers), len(record.decisions))
        said = f"{states} {counts}"
    parts = (str(loaders.home()), settings().url, name, said, *_stamps(), *sorted(without))
    stamp = "|".join(parts)
    source, marks = _gathered(stamp, name, record, without)
    return Picked(source, marks, record, stamp)


def is_large(name: str) -> bool:
    """True where the results are computed off the page: free votes, once there are many."""
    from bmcore.running import kept_results

    return name == FREE and loaders.store().count_votes() > kept_results.LARGE


def results(picked: Picked, choice: Choice) -> Results:
    """Computed once for what is stored and a filter."""
    return _results(picked.stamp, choice, picked)


def predictions() -> dict[str, Prediction]:
    """The newest predictions of the loaded models, without the voxels of their masks."""
    info = loaders.models().info
    if info is None:
        return {}
    return _predictions(loaders.home(), info.digest, _stamps()[0])


def known_primaries() -> dict[str, Any]:
    """The known primaries; none while the file that holds them cannot be read, with a warning."""
    from bmcore.domain import BmcoreError
    from bmcore.inference import demo

    try:
        return _truths(loaders.home(), " ".join(_stamps()[1::2]))
    except BmcoreError as refused:
        st.warning("The file with the known primaries cannot be used.")
        st.text("\n".join(f.sentence for f in refused.findings))
        return demo.truths(loaders.home())


@st.cache_resource(max_entries=2, show_spinner=False)
def _truths(home: Path, stamp: str) -> Any:
    from bmcore.inference import references

    return references.truths(home)


def _stamps() -> tuple[str, ...]:
    """Of predictions, cases, readers' marks and the known primaries."""
    from bmcore.review import marks

    home = loaders.home()
    tree = loaders._tree_stamp
    info = loaders.models().info
    return (
        f"{info.digest if info else 'none'} {tree(home / 'predictions', '*/*/*/prediction.json')}",
        tree(home / "cases", "*/case.json"),
        f"{loaders.store().read(marks.stamp)} {tree(home / 'drafts', '*/*/*')}",
        tree(home, "truth.*") + tree(home, "references.json") + tree(home, "demo-cases.json"),
    )


@st.cache_resource(max_entries=2, show_spinner="Reading the predictions")
def _predictions(home: Path, digest: str, stamp: str) -> Any:
    from bmcore.analysis import collect

    return collect.light_predictions(home, digest)


@st.cache_resource(max_entries=4, show_spinner="Reading votes and cases")
def _gathered(stamp: str, name: str, _record: StudyRecord | None, _without: frozenset[str]) -> Any:
    from bmcore.analysis import collect

    home, found = loaders.home(), predictions()
    facts = collect.case_facts(loaders.entries(), found, known_primaries())
    store = loaders.store()
    if _record is None:
        votes = [v for v in store.votes() if v.case_id not in _without]
        facts, found = _less(facts, _without), _less(found, _without)
        return collect.free_votes(home, store, votes, facts, found, store.readers())
    return collect.of_study(home, store, _record, facts, found)


def _less(of: Mapping[str, T], without: frozenset[str]) -> dict[str, T]:
    return {case_id: one for case_id, one in of.items() if case_id not in without}


@st.cache_resource(max_entries=24, show_spinner="Computing")
def _results(stamp: str, choice: Choice, _picked: Picked) -> Any:
    from bmcore.analysis.results import results as compute

    return compute(_picked.source, choice, _picked.marks)
